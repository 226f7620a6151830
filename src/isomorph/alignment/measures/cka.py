"""CKA, in all its estimators and kernels, whole or from minibatches, and the RV coefficient."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from isomorph.alignment.ceilings import cka_ceiling
from isomorph.alignment.measure import Measure, UndefinedScoreError, add_measure
from isomorph.alignment.measures.kernels import (
    DISTANCE_FORMS,
    form_option,
    in_form,
    off_diagonal,
    products,
    reorder_vector,
    spread_kernel,
    u_centred,
    unit_vector,
    with_diagonal,
)
from isomorph.alignment.metric import Option
from isomorph.geometry import Gram, doubly_centred, grams, rdm_from_gram
from isomorph.registry import unknown_name

logger = logging.getLogger(__name__)

KERNELS = ("linear", "rbf", "laplace", "cosine")
ESTIMATORS = ("debiased", "biased", "lange")
_FLAT = "no pair of stimuli differs from the others: the centred kernel of one side is zero"


def read_positive(text: str) -> float:
    """Read a number above 0."""
    value = float(text)
    if not (value > 0 and np.isfinite(value)):
        raise ValueError("expected a number above 0.")
    return value


def kernel_of(gram: Gram, kernel: str, sigma: float) -> np.ndarray:
    """A kernel over the stimuli, (n, n), up to what centring takes away; float64."""
    if kernel == "linear":
        return spread_kernel(gram)
    if kernel == "cosine":
        distances = rdm_from_gram(gram, "cosine")
        if np.isnan(distances).any():
            raise UndefinedScoreError("a stimulus has no features but zeros, and so no cosine")
        return -distances
    distances = rdm_from_gram(gram, "euclidean")
    median = float(np.median(distances[np.triu_indices(len(distances), 1)]))
    if not median > 0:
        raise UndefinedScoreError(
            "the median distance between stimuli is zero, by which the kernel's width is set"
        )
    scaled = distances / (sigma * median)
    return np.exp(-(scaled**2) / 2) if kernel == "rbf" else np.exp(-scaled)


def centred_vector(kernel: np.ndarray, estimator: str) -> np.ndarray:
    """A centred kernel as a vector: its products with another's are their HSIC, up to a factor."""
    if estimator == "debiased":
        return off_diagonal(u_centred(kernel))
    centred = doubly_centred(kernel)
    return with_diagonal(centred) if estimator == "biased" else off_diagonal(centred)


def _unit(kernel: np.ndarray, estimator: str, resolution: float) -> np.ndarray:
    eps = float(np.finfo(np.float64).eps)
    centred, raw = (float(np.linalg.norm(part)) for part in (doubly_centred(kernel), kernel))
    floor = 16 * max(resolution * centred, eps * raw)
    return unit_vector(centred_vector(kernel, estimator), floor, _FLAT)


def _prepare(gram: Gram, kernel: str, estimator: str, sigma: float, **_form: Any) -> np.ndarray:
    return _unit(kernel_of(gram, kernel, sigma), estimator, gram.resolution)


def _cka(first: np.ndarray, second: np.ndarray, form: str, **_options: Any) -> float:
    return float(in_form(np.vdot(first, second), form))


def _cka_table(
    firsts: Sequence[np.ndarray], seconds: Sequence[np.ndarray], form: str, **_options: Any
) -> np.ndarray:
    return in_form(products(firsts, seconds), form)


def _check_cka(options: Mapping[str, Any]) -> None:
    if options["sigma"] != 1.0 and options["kernel"] not in ("rbf", "laplace"):
        raise ValueError(
            f"CKA: sigma is the width of the kernels rbf and laplace, got "
            f"kernel={options['kernel']!r}. Leave sigma out."
        )


KERNEL_OPTIONS = {
    "kernel": Option(
        "linear",
        KERNELS,
        summary="linear (centred features); rbf exp(−d²/2σ²) and laplace exp(−d/σ) of the "
        "Euclidean distances d; cosine of the features as they are",
    ),
    "sigma": Option(
        1.0, read=read_positive, summary="σ, as a fraction of the median distance between stimuli"
    ),
}

add_measure(
    Measure(
        name="CKA",
        compute=_cka,
        prepare=_prepare,
        reorder=reorder_vector,
        table=_cka_table,
        needs="gram",
        options={
            **KERNEL_OPTIONS,
            "estimator": Option(
                "debiased",
                ESTIMATORS,
                summary="HSIC by its unbiased U-statistic; the plain one, which rises to 1 for "
                "noise of many features; or the plain one without the diagonal",
            ),
            "form": form_option(),
        },
        range=(-1.0, 1.0),
        symmetric=True,
        invariances=frozenset({"permutation", "rotation", "isotropic scaling", "translation"}),
        summary="Centred kernel alignment; debiased unless told otherwise, so that noise scores 0.",
        reference="Kornblith, Norouzi, Lee & Hinton 2019, ICML; debiased: Song et al. 2012, JMLR "
        "13, and Murphy, Zylberberg & Fyshe 2024; lange: Lange et al. 2023",
        distance_forms=DISTANCE_FORMS,
        ceiling=cka_ceiling,
        check=_check_cka,
    )
)


class RunningCKA:
    """Debiased CKA of two representations that come in batches of stimuli, never held whole.

    The three unbiased HSICs are summed over the batches, each kernel centred within its batch
    before it is multiplied (so that a large common mean cannot enter), and divided once at the
    end. Batches count by their degrees of freedom, n(n − 3); of equal size, this is the mean of
    Nguyen et al. It estimates the same number as CKA over all stimuli at once.

    Parameters
    ----------
    kernel : {"linear", "rbf", "laplace", "cosine"}
    sigma : float
        Width of ``rbf`` and ``laplace``, as a fraction of the batch's median distance.

    References
    ----------
    Nguyen, Raghu & Kornblith (2021), ICLR.

    Examples
    --------
    >>> running = RunningCKA()
    >>> rng = np.random.default_rng(0)
    >>> for _ in range(3):
    ...     batch = rng.standard_normal((8, 5))
    ...     running.add(batch, 2 * batch + 1)
    >>> round(running.value(), 6)
    1.0
    """

    def __init__(self, kernel: str = "linear", sigma: float = 1.0) -> None:
        if kernel not in KERNELS:
            raise unknown_name("kernel", kernel, KERNELS)
        self.kernel = kernel
        self.sigma = read_positive(str(sigma))
        self._sums = np.zeros(3)
        self._floor = 0.0

    def add(self, first: np.ndarray | torch.Tensor, second: np.ndarray | torch.Tensor) -> None:
        """Add a batch: features (n, n_features, …) of both, over the same 4 stimuli or more."""
        sides = [grams(side)[0] for side in (first, second)]
        counts = [side.n_stimuli for side in sides]
        if counts[0] != counts[1] or counts[0] < 4:
            raise ValueError(
                "cka_minibatch: expected batches of the same 4 or more stimuli on both sides, got "
                f"{counts[0]} and {counts[1]}. Leave out a short last batch."
            )
        kernels = [kernel_of(side, self.kernel, self.sigma) for side in sides]
        one, other = (centred_vector(kernel, "debiased") for kernel in kernels)
        self._sums += one @ other, one @ one, other @ other
        rounding = (16 * max(side.resolution for side in sides)) ** 2
        self._floor += rounding * min(float(np.vdot(kernel, kernel)) for kernel in kernels)

    def value(self) -> float:
        """CKA of what has come so far; NaN if one side has not varied."""
        cross, first, second = self._sums
        if min(first, second) <= self._floor:
            logger.warning("cka_minibatch is undefined: %s.", _FLAT)
            return float("nan")
        return float(cross / np.sqrt(first * second))


def cka_minibatch(
    batches: Iterable[tuple[np.ndarray | torch.Tensor, np.ndarray | torch.Tensor]],
    *,
    kernel: str = "linear",
    sigma: float = 1.0,
) -> float:
    """Debiased CKA from batches of stimuli, in the memory of one batch.

    Parameters
    ----------
    batches : iterable of pairs
        Features of both representations, (n, n_features, …), over the same stimuli; 4 or more a
        batch. With 32 or more the estimate is nearly that over all stimuli at once.
    kernel : {"linear", "rbf", "laplace", "cosine"}
    sigma : float
        Width of ``rbf`` and ``laplace``, as a fraction of the batch's median distance.

    Returns
    -------
    float
        NaN, with a logged reason, where one side does not vary.

    Raises
    ------
    ValueError
        If a batch has fewer than 4 stimuli, or other numbers of stimuli on the two sides.

    References
    ----------
    Nguyen, Raghu & Kornblith (2021), ICLR.

    Examples
    --------
    >>> features = np.random.default_rng(0).standard_normal((40, 6))
    >>> round(cka_minibatch(zip(features.reshape(4, 10, 6), features.reshape(4, 10, 6))), 6)
    1.0
    """
    running = RunningCKA(kernel, sigma)
    for first, second in batches:
        running.add(first, second)
    return running.value()


@dataclass(frozen=True, eq=False)
class _Scatter:
    """A kernel as a unit vector, and how many dimensions it spreads over: (tr K)² / tr(K²)."""

    vector: np.ndarray
    dimensions: float
    n_stimuli: int


def _prepare_rv(gram: Gram, estimator: str, **_form: Any) -> _Scatter:
    kernel = kernel_of(gram, "linear", 1.0)
    vector = _unit(kernel, "lange" if estimator == "modified" else "biased", gram.resolution)
    dimensions = float(np.trace(kernel) ** 2 / np.vdot(kernel, kernel))
    return _Scatter(vector, dimensions, len(kernel))


def _reorder_rv(item: _Scatter, order: np.ndarray) -> _Scatter:
    return replace(item, vector=reorder_vector(item.vector, order))


def _rv_table(
    firsts: Sequence[_Scatter], seconds: Sequence[_Scatter], estimator: str, form: str
) -> np.ndarray:
    values = products([item.vector for item in firsts], [item.vector for item in seconds])
    if estimator == "adjusted":
        spreads = [np.array([item.dimensions for item in side]) for side in (firsts, seconds)]
        chance = np.sqrt(np.outer(*spreads)) / (firsts[0].n_stimuli - 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            adjusted = (values - chance) / (1 - chance)
        values = np.where(chance < 1 - 1e-9, adjusted, np.nan)
    return in_form(values, form)


def _rv(first: _Scatter, second: _Scatter, estimator: str, form: str) -> float:
    value = float(_rv_table([first], [second], estimator, form)[0, 0])
    if np.isnan(value):
        raise UndefinedScoreError(
            "both sides spread evenly over all dimensions that the stimuli allow: RV is 1 by chance"
        )
    return value


def _check_rv(options: Mapping[str, Any]) -> None:
    if options["estimator"] == "adjusted" and options["form"] != "score":
        raise ValueError(
            f"RV: form={options['form']!r} needs a cosine; the adjusted RV is not. "
            "Use estimator=plain or estimator=modified."
        )


add_measure(
    Measure(
        name="RV",
        compute=_rv,
        prepare=_prepare_rv,
        reorder=_reorder_rv,
        table=_rv_table,
        needs="gram",
        options={
            "estimator": Option(
                "adjusted",
                ("adjusted", "plain", "modified"),
                summary="(RV − chance) / (1 − chance), chance its mean over all orders of the "
                "stimuli; the plain RV, which is biased linear CKA; or RV₂, without the diagonal",
            ),
            "form": form_option(),
        },
        range=(-np.inf, 1.0),
        symmetric=True,
        invariances=frozenset({"permutation", "rotation", "isotropic scaling", "translation"}),
        summary="RV coefficient: correlation of two configurations; adjusted for chance.",
        reference="Robert & Escoufier 1976, Appl. Stat. 25; adjusted: El Ghaziri & Qannari 2015, "
        "Food Qual. Prefer. 40; modified: Smilde et al. 2009, Bioinformatics 25",
        distance_forms=DISTANCE_FORMS,
        min_stimuli=3,
        check=_check_rv,
    )
)
