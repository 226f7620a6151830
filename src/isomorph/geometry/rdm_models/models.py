"""Models of RDMs with something to be fitted: a choice, weights, a place between two RDMs.

Every one predicts a weighted sum of RDMs. What maximises the mean comparison with several measured
RDMs is found exactly: for the comparisons that are cosines in some metric (cosine, Pearson, the
whitened ones) the mean over RDMs is the inner product with their pool, and the best non-negative
sum is the projection of the pool onto the cone of the parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.optimize
from numpy.typing import ArrayLike

from isomorph.geometry.comparing.compare import (
    Comparison,
    as_vectors,
    compare_rdms,
    find_comparison,
)
from isomorph.geometry.comparing.pair_metrics import pair_metric
from isomorph.geometry.rdms.rdm import square, upper_triangle
from isomorph.storage import shown_by_shape

MIN_STIMULI = 3


@dataclass(frozen=True, eq=False, repr=False)
class FittedRDM:
    """The RDM that a model gives once it is fitted.

    Attributes
    ----------
    vector : np.ndarray, (n_pairs,)
        The weighted sum of the model's parts, over all its stimuli.
    weights : np.ndarray, (n_parts,)
        Of its RDMs, or of the RDMs of its features.
    score : float
        Mean comparison with the RDMs it was fitted to, over the stimuli it was fitted on.
    method : str
        The comparison that was maximised.
    ridge : float
        The shrinkage of the weights that was given, or chosen.

    Examples
    --------
    >>> fitted = FixedRDM([1.0, 2, 4]).fit([1.0, 2, 3])
    >>> fitted.predict()
    array([[0., 1., 2.],
           [1., 0., 4.],
           [2., 4., 0.]])
    """

    vector: np.ndarray
    weights: np.ndarray
    score: float
    method: str
    ridge: float = 0.0

    __repr__ = shown_by_shape

    def predict(self, stimuli: ArrayLike | None = None) -> np.ndarray:
        """The fitted RDM, (n, n), or that of some stimuli, in this order."""
        return subset_rdms(square(self.vector), stimuli)


class RDMModel(Protocol):
    """What `crossvalidate_rdm_model` takes: something that fits RDMs on some of the stimuli."""

    @property
    def n_stimuli(self) -> int:
        """Number of stimuli of the RDMs it predicts."""
        ...

    def fit(
        self, rdms: ArrayLike, method: str = "cosine", *, stimuli: ArrayLike | None = None
    ) -> FittedRDM:
        """Fit to RDMs over all stimuli, of which `stimuli` alone are looked at."""
        ...


def subset_rdms(rdms: np.ndarray, stimuli: ArrayLike | None) -> np.ndarray:
    """Square RDMs (…, n, n) of some stimuli, in this order."""
    if stimuli is None:
        return rdms
    index = np.asarray(stimuli)
    return rdms[..., index[:, None], index]


def _parts(rdms: ArrayLike, name: str, least: int = 1) -> np.ndarray:
    vectors = np.atleast_2d(as_vectors(rdms, name))
    if len(vectors) < least:
        raise ValueError(f"{name}: expected {least} or more RDMs, got {len(vectors)}.")
    if not np.isfinite(vectors).all():
        raise ValueError(
            f"{name}: {int((~np.isfinite(vectors)).sum())} dissimilarities are not finite. "
            "Leave those stimuli out."
        )
    return vectors


@dataclass(frozen=True, eq=False, repr=False)
class _PartsModel:
    """A model of RDMs that are given.

    Parameters
    ----------
    rdms : array_like, (n_rdms, n, n) or (n_rdms, n_pairs)
    """

    rdms: ArrayLike

    __repr__ = shown_by_shape

    def __post_init__(self) -> None:
        object.__setattr__(self, "rdms", _parts(self.rdms, "rdms", self._least()))

    @classmethod
    def _least(cls) -> int:
        return 1

    @property
    def n_stimuli(self) -> int:
        """Number of stimuli of the RDMs."""
        return len(square(np.asarray(self.rdms)[0]))

    def fit(
        self, rdms: ArrayLike, method: str = "cosine", *, stimuli: ArrayLike | None = None
    ) -> FittedRDM:
        """Fit to one or several measured RDMs.

        Parameters
        ----------
        rdms : array_like, (n, n), (n_pairs,), (n_rdms, n, n) or (n_rdms, n_pairs)
            Measured RDMs over the model's stimuli.
        method : str
            The comparison whose mean over the measured RDMs is maximised.
        stimuli : array_like of int, optional
            Fit on these stimuli alone.

        Returns
        -------
        FittedRDM
        """
        measured = measured_vectors(rdms, self.n_stimuli, stimuli)
        stimuli = fitted_stimuli(stimuli, self.n_stimuli)
        parts = np.asarray(self.rdms)
        seen = upper_triangle(subset_rdms(square(parts), stimuli))
        comparison = find_comparison(method)
        weights = self._weights(seen, measured, comparison, method)
        score = mean_comparison(weights @ seen, measured, method)
        return FittedRDM(weights @ parts, weights, score, method, getattr(self, "ridge", 0.0))

    def _weights(
        self, parts: np.ndarray, measured: np.ndarray, comparison: Comparison, method: str
    ) -> np.ndarray:
        raise NotImplementedError


def measured_vectors(rdms: ArrayLike, n_stimuli: int, stimuli: ArrayLike | None) -> np.ndarray:
    """Measured RDMs as vectors over the stimuli to fit on; an error where they do not match."""
    vectors = _parts(rdms, "rdms")
    squares = square(vectors)
    if squares.shape[1] != n_stimuli:
        raise ValueError(
            f"fit: expected measured RDMs of the model's {n_stimuli} stimuli, got "
            f"{squares.shape[1]}. Take the stimuli that both have."
        )
    return upper_triangle(subset_rdms(squares, fitted_stimuli(stimuli, n_stimuli)))


def fitted_stimuli(stimuli: ArrayLike | None, n_stimuli: int) -> np.ndarray:
    """Positions of the stimuli to fit on, each once; an error where they are none."""
    positions = np.arange(n_stimuli) if stimuli is None else np.asarray(stimuli)
    good = positions.ndim == 1 and positions.dtype.kind in "iu"
    different = set(positions.tolist()) if good else set()
    if not good or len(different) < len(positions) or not different <= set(range(n_stimuli)):
        raise ValueError(
            f"fit: expected stimuli as different positions from 0 to {n_stimuli - 1}, got "
            f"{positions.dtype} of shape {positions.shape}. Turn a mask into positions with "
            "np.flatnonzero."
        )
    if len(positions) < MIN_STIMULI:
        raise ValueError(f"fit: expected {MIN_STIMULI} or more stimuli, got {len(positions)}.")
    return positions


def mean_comparison(prediction: np.ndarray, measured: np.ndarray, method: str) -> float:
    """Mean comparison of one RDM vector with several."""
    return float(np.mean(np.asarray(compare_rdms(prediction[None], measured, method))))


@dataclass(frozen=True, eq=False, repr=False)
class FixedRDM(_PartsModel):
    """One RDM, with nothing to fit.

    Parameters
    ----------
    rdms : array_like, (n, n) or (n_pairs,)

    Examples
    --------
    >>> FixedRDM([1.0, 2, 4]).fit([[2.0, 4, 8]], "spearman").score
    1.0
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(np.asarray(self.rdms)) != 1:
            raise ValueError(
                f"FixedRDM: expected one RDM, got {len(np.asarray(self.rdms))}. "
                "SelectRDM chooses among several."
            )

    def _weights(
        self, parts: np.ndarray, measured: np.ndarray, comparison: Comparison, method: str
    ) -> np.ndarray:
        return np.ones(1)


@dataclass(frozen=True, eq=False, repr=False)
class SelectRDM(_PartsModel):
    """The one of several RDMs that the measured ones agree with most.

    Parameters
    ----------
    rdms : array_like, (n_rdms, n, n) or (n_rdms, n_pairs)

    Examples
    --------
    >>> SelectRDM([[3.0, 2, 1], [1, 2, 4]]).fit([[1.0, 2, 3]], "spearman").weights
    array([0., 1.])
    """

    def _weights(
        self, parts: np.ndarray, measured: np.ndarray, comparison: Comparison, method: str
    ) -> np.ndarray:
        scores = np.asarray(compare_rdms(parts, measured, method)).mean(axis=1)
        if np.isnan(scores).all():
            raise ValueError(
                f"SelectRDM: no RDM can be compared with the measured ones by {method!r}: each is "
                "constant, or a measured one is."
            )
        return np.eye(len(parts))[np.nanargmax(scores)]


@dataclass(frozen=True, eq=False, repr=False)
class WeightedRDM(_PartsModel):
    """A weighted sum of RDMs, the weights not negative.

    Squared distances of independent sets of features add up, so that a weight is the squared gain
    of a set of features, which is why it cannot be negative.

    Parameters
    ----------
    rdms : array_like, (n_rdms, n, n) or (n_rdms, n_pairs)
    ridge : float
        Shrinkage of the weights: the penalty is `ridge` times the sum of the squared weights, each
        in units of its RDM's length (in the metric of the comparison). 0: none.
    non_negative : bool
        False: weights of any sign, whose sum need not be a set of squared distances.

    Examples
    --------
    >>> parts = np.array([[1.0, 2, 4], [1, 0, 0], [0, 5, 0]])
    >>> WeightedRDM(parts).fit(2 * parts[0] + parts[1]).weights.round(6)
    array([2., 1., 0.])
    """

    ridge: float = 0.0
    non_negative: bool = True

    def _weights(
        self, parts: np.ndarray, measured: np.ndarray, comparison: Comparison, method: str
    ) -> np.ndarray:
        metric = pair_metric(method)
        applied = metric(parts)
        target = pooled(measured, comparison)
        return regressed(
            parts @ applied.T, applied @ target, ridge=self.ridge, non_negative=self.non_negative
        )


@dataclass(frozen=True, eq=False, repr=False)
class InterpolateRDM(_PartsModel):
    """A place on the way through several RDMs in their order: between two neighbours.

    Parameters
    ----------
    rdms : array_like, (n_rdms, n, n) or (n_rdms, n_pairs)
        Two or more: successive layers, or a model at several levels of a parameter.

    Examples
    --------
    >>> way = np.array([[1.0, 2, 4], [1, 0, 0], [0, 5, 0]])
    >>> InterpolateRDM(way).fit(0.25 * way[1] + 0.75 * way[2]).weights.round(6)
    array([0.  , 0.25, 0.75])
    """

    @classmethod
    def _least(cls) -> int:
        return 2

    def _weights(
        self, parts: np.ndarray, measured: np.ndarray, comparison: Comparison, method: str
    ) -> np.ndarray:
        metric = pair_metric(method)
        applied = metric(parts)
        products = parts @ applied.T
        with_target = applied @ pooled(measured, comparison)
        best, best_cosine = np.zeros(len(parts)), -np.inf
        for i in range(len(parts) - 1):
            for share in _candidates(products[i : i + 2, i : i + 2], with_target[i : i + 2]):
                weights = np.zeros(len(parts))
                weights[i : i + 2] = 1 - share, share
                length = weights @ products @ weights
                cosine = weights @ with_target / np.sqrt(length) if length > 0 else -np.inf
                if cosine > best_cosine:
                    best, best_cosine = weights, cosine
        return best


def _candidates(products: np.ndarray, with_target: np.ndarray) -> Sequence[float]:
    """The ends of the way between two RDMs, and where the cosine's slope is zero.

    With weights 1 − t and t the slope of (c₀ + c₁ t) / |a + b t| vanishes at one t alone.
    """
    a, b, c = products[0, 0], products[0, 1], products[1, 1]
    first, second = with_target
    numerator = second * a - first * b
    denominator = numerator + first * c - second * b
    inside = numerator / denominator if denominator != 0 else 0.0
    return (0.0, 1.0, float(inside)) if 0 < inside < 1 else (0.0, 1.0)


def pooled(measured: np.ndarray, comparison: Comparison) -> np.ndarray:
    """The RDM that the measured ones agree with most, on their scale: (n_pairs,)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        total = comparison.pool(measured).sum(axis=0)
    if not np.isfinite(total).all():
        raise ValueError(
            "fit: a measured RDM is constant (or zero), so that nothing can be compared with it. "
            "Leave it out."
        )
    size = float((measured @ total).mean() / (total @ total))
    return total * size if size > 0 else total


def regressed(
    products: np.ndarray, with_target: np.ndarray, *, ridge: float, non_negative: bool
) -> np.ndarray:
    """Weights w of least w'Mw − 2 b'w + ridge Σ M_ii w_i², from M and b.

    Parameters
    ----------
    products : np.ndarray, (n_parts, n_parts)
        M, inner products of the parts.
    with_target : np.ndarray, (n_parts,)
        b, their inner products with the target.
    ridge : float
    non_negative : bool

    Returns
    -------
    np.ndarray, (n_parts,)
        Of all best ones, if there are several, the shortest where signs are free.
    """
    if not ridge >= 0:
        raise ValueError(f"ridge: expected 0 or more, got {ridge}.")
    lengths = np.sqrt(np.maximum(products.diagonal(), 0))
    usable = lengths > 1e-12 * lengths.max(initial=0)
    weights = np.zeros(len(lengths))
    if not usable.any():
        return weights
    lengths = lengths[usable]
    system = products[np.ix_(usable, usable)] / np.outer(lengths, lengths)
    system[np.diag_indices(len(system))] += ridge
    values, axes = np.linalg.eigh((system + system.T) / 2)
    kept = values > 1e-13 * values[-1]
    root = np.sqrt(values[kept])
    target = (axes[:, kept].T @ (with_target[usable] / lengths)) / root
    if non_negative:
        found = scipy.optimize.nnls(root[:, None] * axes[:, kept].T, target)[0]
    else:
        found = axes[:, kept] @ (target / root)
    weights[usable] = found / lengths
    return weights
