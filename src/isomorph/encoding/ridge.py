"""Ridge regression in its dual form, exact over all features, with exact leave-one-out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike

from isomorph.registry import unknown_name

CRITERIA = ("squared_error", "pearson")
_CHUNK_BYTES = 64_000_000


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """Ridge regression of t targets (neuroids), a penalty for each chosen by leave-one-out.

    Parameters
    ----------
    alphas : np.ndarray, (t,)
        Chosen penalty; NaN where there was nothing to choose by: a constant target, or a kernel
        that is zero. Predictions are then the training mean.
    alpha_index : np.ndarray of int, (t,)
        Its position in ``grid``; −1 where there is none.
    loo_predictions : np.ndarray, (n_train, t)
        Each training stimulus predicted from the others, in the units of the responses.
    predictions : np.ndarray, (n_test, t)
        Test stimuli predicted from the training stimuli.
    loo_score : np.ndarray, (t,)
        The criterion at the chosen penalty, larger is better: minus the mean squared leave-one-out
        error, or the Pearson r of leave-one-out predictions. NaN where no penalty was chosen.
    edge_share : float
        Share of the targets with a penalty whose penalty is the first or last of the grid.
    grid : np.ndarray, (n_alphas,)
    """

    alphas: np.ndarray
    alpha_index: np.ndarray
    loo_predictions: np.ndarray
    predictions: np.ndarray
    loo_score: np.ndarray
    edge_share: float
    grid: np.ndarray


def ridge_loo(
    kernel_train: np.ndarray | torch.Tensor,
    responses: np.ndarray | torch.Tensor,
    alphas: ArrayLike,
    *,
    kernel_test: np.ndarray | torch.Tensor | None = None,
    criterion: Literal["squared_error", "pearson"] = "squared_error",
    chunk_targets: int | None = None,
) -> RidgeFit:
    """Ridge regression with an intercept, its penalty chosen per target by exact leave-one-out.

    With K the centred training kernel and H = K(K + αI)⁻¹ + 11ᵀ/n, which refits the intercept too,
    the prediction of stimulus i from the others is yᵢ − (yᵢ − ŷᵢ)/(1 − Hᵢᵢ). One
    eigendecomposition, from which the constant vector is taken out, serves every penalty. (The
    form without the 1/n leaks on a centred kernel, each row of which is minus the sum of the
    others.)

    Parameters
    ----------
    kernel_train : np.ndarray or torch.Tensor, (n, n)
        Products of the features of the training stimuli. Centred or not: it is centred here.
    responses : np.ndarray or torch.Tensor, (n, t)
    alphas : array_like, (n_alphas,)
        Penalties, positive and increasing.
    kernel_test : np.ndarray or torch.Tensor, (m, n), optional
        Products of the test with the training stimuli, centred exactly where kernel_train is.
    criterion : {"squared_error", "pearson"}
        Smallest squared error, or largest Pearson r, of the leave-one-out predictions. Ties go to
        the smaller penalty.
    chunk_targets : int, optional
        How many targets at a time. Results do not depend on it beyond rounding.

    Returns
    -------
    RidgeFit
        In float64. Computed on the device of the kernel.

    Raises
    ------
    ValueError
        If shapes do not fit, a value is not finite, or the penalties are not positive and
        increasing.

    References
    ----------
    Hastie, Tibshirani & Friedman (2009), The Elements of Statistical Learning, section 7.10.

    Examples
    --------
    >>> features = np.random.default_rng(0).standard_normal((20, 50))
    >>> fit = ridge_loo(features @ features.T, features[:, :3], [1, 10, 100])
    >>> fit.loo_predictions.shape
    (20, 3)
    """
    if criterion not in CRITERIA:
        raise unknown_name("criterion", criterion, CRITERIA)
    kernel, across, y, penalties = _checked(kernel_train, kernel_test, responses, alphas)
    spectrum = _decompose(kernel, across, penalties)
    n, t = y.shape
    width = max(1, _CHUNK_BYTES // (8 * n)) if chunk_targets is None else chunk_targets
    if width < 1:
        raise ValueError(f"ridge_loo: expected chunk_targets of 1 or more, got {width}.")
    parts = [_fit(spectrum, y[:, start : start + width], criterion) for start in range(0, t, width)]
    grid = penalties.cpu().numpy()
    index, loo, predictions, score = (
        torch.cat([part[field] for part in parts], dim=-1).cpu().numpy() for field in range(4)
    )
    chosen = index >= 0
    at_edge = (index[chosen] == 0) | (index[chosen] == len(grid) - 1)
    return RidgeFit(
        alphas=np.where(chosen, grid[index], np.nan),
        alpha_index=index,
        loo_predictions=loo,
        predictions=predictions,
        loo_score=score,
        edge_share=float(at_edge.mean()) if chosen.any() else float("nan"),
        grid=grid,
    )


@dataclass(frozen=True)
class _Spectrum:
    """The centred kernel's eigenvectors but the constant one, and what each penalty makes of them.

    vectors (n, n−1); shrink (n−1, n_alphas) is α/(λ+α), the share of a component that a penalty
    leaves unexplained; remainder (n, n_alphas) is 1 − h − 1/n; weights (n−1, n_alphas) is 1/(λ+α);
    test (m, n−1) is the test kernel times the vectors.
    """

    vectors: torch.Tensor
    shrink: torch.Tensor
    remainder: torch.Tensor
    weights: torch.Tensor
    test: torch.Tensor
    silent: bool


def _decompose(kernel: torch.Tensor, across: torch.Tensor, alphas: torch.Tensor) -> _Spectrum:
    """Centre the kernels, then one eigendecomposition for all penalties."""
    n, eps = len(kernel), torch.finfo(torch.float64).eps
    rows = kernel.mean(dim=0)
    centred = kernel - rows[:, None] - rows[None, :] + rows.mean()
    trace = float(centred.trace())
    silent = trace <= 16 * eps * float(kernel.diagonal().abs().sum())
    if silent:
        centred, trace = torch.zeros_like(centred), 1.0
    # Kernels that are centred already are left as they are by this.
    test = across - across.mean(dim=1, keepdim=True) - rows + rows.mean()
    # The constant vector is an eigenvector with eigenvalue 0, but mixes with other null vectors.
    # Lifted above all others (the largest is at most the trace) it comes out alone and is dropped.
    values, vectors = torch.linalg.eigh(centred + 2 * trace / n)
    values, vectors = values[:-1], vectors[:, :-1]
    # Eigenvalues within rounding of 0 are 0: a tiny penalty must not bring them to life.
    null = values <= 2 * n * eps * trace
    values = values.masked_fill(null, 0)[:, None]
    shrink = alphas / (values + alphas)
    return _Spectrum(
        vectors=vectors,
        shrink=shrink,
        # Summed rather than subtracted from 1: it keeps its digits where the fit interpolates.
        remainder=vectors.square() @ shrink,
        weights=(1 / (values + alphas)).masked_fill(null[:, None], 0),
        test=test @ vectors,
        silent=silent,
    )


def _fit(
    spectrum: _Spectrum, y: torch.Tensor, criterion: str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """alpha_index, loo_predictions, predictions and loo_score of one chunk of targets."""
    constant = y.amin(dim=0) == y.amax(dim=0)
    # The mean of a constant is rounded; the constant is not.
    mean = torch.where(constant, y[0], y.mean(dim=0))
    centred = y - mean
    components = spectrum.vectors.T @ centred
    best = torch.full_like(mean, -torch.inf)
    index = torch.full_like(mean, -1, dtype=torch.int64)
    for position in range(spectrum.shrink.shape[1]):
        errors = spectrum.vectors @ (spectrum.shrink[:, position, None] * components)
        errors /= spectrum.remainder[:, position, None]
        score = _criterion(errors, centred, criterion)
        # Strictly better only: a tie stays with the smaller penalty.
        better = score > best
        best, index = torch.where(better, score, best), index.masked_fill(better, position)
    undefined = constant | (index < 0) | spectrum.silent
    chosen = index.clamp(min=0)
    errors = spectrum.vectors @ (spectrum.shrink[:, chosen] * components)
    errors /= spectrum.remainder[:, chosen]
    predictions = mean + spectrum.test @ (spectrum.weights[:, chosen] * components)
    return (
        index.masked_fill(undefined, -1),
        y - errors,
        predictions,
        best.masked_fill(undefined, torch.nan),
    )


def _criterion(errors: torch.Tensor, centred: torch.Tensor, criterion: str) -> torch.Tensor:
    """Score of leave-one-out errors per target, larger is better."""
    if criterion == "squared_error":
        return -errors.square().mean(dim=0)
    predicted = centred - errors
    predicted -= predicted.mean(dim=0)
    lengths = torch.linalg.vector_norm(predicted, dim=0) * torch.linalg.vector_norm(centred, dim=0)
    return (predicted * centred).sum(dim=0) / lengths


def _checked(
    kernel_train: np.ndarray | torch.Tensor,
    kernel_test: np.ndarray | torch.Tensor | None,
    responses: np.ndarray | torch.Tensor,
    alphas: ArrayLike,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Kernels, responses and penalties as float64 tensors on the kernel's device."""
    kernel = torch.as_tensor(kernel_train).detach().double()
    n = len(kernel)
    if kernel.shape != (n, n) or n < 2:
        raise ValueError(
            "ridge_loo: expected a training kernel of shape (n, n) with n of 2 or more, "
            f"got {tuple(kernel.shape)}."
        )
    y = torch.as_tensor(responses).detach().to(kernel)
    if y.ndim != 2 or len(y) != n or y.shape[1] == 0:
        raise ValueError(
            f"ridge_loo: expected responses of shape ({n}, n_targets) for a kernel of {n} training "
            f"stimuli, got {tuple(y.shape)}."
        )
    across = kernel[:0] if kernel_test is None else torch.as_tensor(kernel_test).detach().to(kernel)
    if across.ndim != 2 or across.shape[1] != n:
        raise ValueError(
            f"ridge_loo: expected a test kernel of shape (n_test, {n}), got {tuple(across.shape)}."
        )
    for name, tensor in (("kernel_train", kernel), ("kernel_test", across), ("responses", y)):
        bad = int((~torch.isfinite(tensor)).sum())
        if bad:
            raise ValueError(
                f"ridge_loo: {bad} of {tensor.numel()} values of {name} are not finite. "
                "Drop those stimuli or targets first."
            )
    grid = torch.as_tensor(np.array(alphas, dtype=np.float64), device=kernel.device)
    if grid.ndim != 1 or not len(grid) or not bool((grid > 0).all() & (grid.diff() > 0).all()):
        raise ValueError(
            "ridge_loo: expected alphas that are positive and increase, for example "
            f"np.logspace(-1, 5, 7), got {grid.tolist()}."
        )
    return kernel, across, y, grid
