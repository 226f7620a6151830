"""Banded ridge: several feature spaces, each with a penalty of its own, for every target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from isomorph.encoding.kernels import relative_alphas
from isomorph.encoding.kfold import Folds, FoldSearch, dual_fold, read_folds
from isomorph.encoding.ridge import (
    LooSearch,
    Refit,
    chosen_alphas,
    target_chunks,
)
from isomorph.encoding.selection import Criterion, check_criterion, choose, criterion_scores
from isomorph.encoding.spectrum import (
    Spectrum,
    centred_targets,
    centred_test_kernel,
    dual_spectrum,
    read_kernel,
    read_penalties,
    read_targets,
    read_test_kernel,
)
from isomorph.storage import shown_by_shape

# A candidate whose score, found in float32, lies further than this share below the best so far
# cannot be the best.
_CLOSE = 1e-4
# Decompositions that are kept for the final fit, instead of being made again.
_KEPT_BYTES = 256_000_000


@dataclass(frozen=True, eq=False)
class BandedFit:
    """Ridge regression of t targets on b feature spaces (bands).

    The penalty of band b is alphas / gammas[b]; a band with gamma 0 is left out.

    Parameters
    ----------
    alphas : np.ndarray, (t,)
        NaN where there was nothing to choose by; predictions are then the training mean.
    alpha_index : np.ndarray of int, (t,)
    gammas : np.ndarray, (b, t)
        Share of each band in the kernel.
    candidate : np.ndarray of int, (t,)
        Which of the candidates the gammas are; −1 where there is none.
    scores : np.ndarray, (n_candidates, t)
        The criterion of every candidate, at its best penalty; larger is better. Those that never
        were near the best are exact to six digits.
    cv_predictions : np.ndarray, (n_train, t)
        Held-out predictions of the chosen candidate and penalty.
    cv_score : np.ndarray, (t,)
    predictions : np.ndarray, (m, t)
        Of the test stimuli.
    band_predictions : np.ndarray, (b, m, t)
        What each band adds: they sum to ``predictions - intercept``.
    intercept : np.ndarray, (t,)
    coefficients : np.ndarray, (n_train, t)
        Dual; the weights of band b are gammas[b] × (its centred features)ᵀ @ coefficients.
    candidates : np.ndarray, (n_candidates, b)
    grid : np.ndarray, (n_alphas,)
    edge_share : float
        Share of the targets whose alpha is the first or last of the grid.
    """

    alphas: np.ndarray
    alpha_index: np.ndarray
    gammas: np.ndarray
    candidate: np.ndarray
    scores: np.ndarray
    cv_predictions: np.ndarray
    cv_score: np.ndarray
    predictions: np.ndarray
    band_predictions: np.ndarray
    intercept: np.ndarray
    coefficients: np.ndarray
    candidates: np.ndarray
    grid: np.ndarray
    edge_share: float

    __repr__ = shown_by_shape

    @property
    def deltas(self) -> np.ndarray:
        """log(gammas / alphas), (b, t): minus the logarithm of each band's penalty."""
        with np.errstate(divide="ignore"):
            return np.log(self.gammas / self.alphas)


def dirichlet_candidates(n_bands: int, n_candidates: int, seed: int = 0) -> np.ndarray:
    """Random shares of the bands, (n_candidates, n_bands), each row summing to 1.

    The first is equal shares; the others are drawn from Dirichlet distributions of concentration
    .1 (nearly one band alone) and 1 (anything), in turn.

    References
    ----------
    Dupré la Tour, Eickenberg, Nunez-Elizalde & Gallant (2022), NeuroImage 264:119728.

    Examples
    --------
    >>> dirichlet_candidates(2, 5).sum(axis=1).round(6).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    if n_bands < 1 or n_candidates < 1:
        raise ValueError(
            f"dirichlet_candidates: expected 1 band and 1 candidate or more, got {n_bands} and "
            f"{n_candidates}."
        )
    rng = np.random.default_rng(seed)
    rows = [np.full(n_bands, 1 / n_bands)]
    for number in range(1, n_candidates):
        rows.append(rng.dirichlet(np.full(n_bands, 0.1 if number % 2 else 1.0)))
    return np.array(rows)


def banded_ridge(
    kernels_train: Sequence[np.ndarray | torch.Tensor],
    responses: np.ndarray | torch.Tensor,
    alphas: ArrayLike | None = None,
    *,
    gammas: int | ArrayLike = 50,
    folds: Folds | None = None,
    kernels_test: Sequence[np.ndarray | torch.Tensor] | None = None,
    criterion: Criterion = "squared_error",
    seed: int = 0,
) -> BandedFit:
    """Ridge regression on several feature spaces, with a penalty for each space and target.

    Random search: for each candidate the kernel is the weighted sum Σ gamma_b K_b, of which one
    eigendecomposition serves all penalties and targets. Each target takes the candidate and the
    penalty that predict it best when held out.

    Parameters
    ----------
    kernels_train : sequence of b arrays, (n, n)
        One kernel for each band, of comparable scale (divide by the mean diagonal).
    responses : np.ndarray or torch.Tensor, (n, t)
    alphas : array_like, (n_alphas,), optional
        Penalties, positive and increasing. By default `relative_alphas` of the mean kernel.
    gammas : int or (n_candidates, b) array
        How many candidates to draw (see `dirichlet_candidates`), or the candidates themselves.
    folds : sequence of int arrays, optional
        Positions that each fold holds out, as in `ridge_cv`; by default leave-one-out, exact.
    kernels_test : sequence of b arrays, (m, n), optional
    criterion : {"squared_error", "pearson"}
    seed : int
        For the drawn candidates.

    Returns
    -------
    BandedFit
        In float64.

    Raises
    ------
    ValueError
        If shapes do not fit, a value is not finite, gammas are negative, or the penalties are not
        positive and increasing.

    References
    ----------
    Nunez-Elizalde, Huth & Gallant (2019), NeuroImage 197:482; Dupré la Tour et al. (2022),
    NeuroImage 264:119728.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.standard_normal((2, 30, 100))
    >>> fit = banded_ridge([a @ a.T, b @ b.T], a[:, :4], gammas=[[1, 0], [0, 1], [0.5, 0.5]])
    >>> fit.gammas.shape
    (2, 4)
    """
    check_criterion(criterion)
    kernels, across = _read_kernels(kernels_train, kernels_test)
    y = read_targets(responses, kernels[0], "banded_ridge")
    if alphas is None:
        alphas = relative_alphas(torch.stack(kernels).mean(dim=0).cpu().numpy())
    penalties = read_penalties(alphas, y.device, "banded_ridge")
    candidates = _read_candidates(gammas, len(kernels), seed)
    held_out = None if folds is None else read_folds(folds, len(y))
    kept: dict[int, Spectrum] = {}
    found = _search(kernels, y, penalties, candidates, held_out, criterion, kept)
    refitted: dict[str, Any] = _refit(kernels, across, y, penalties, candidates, found, kept)
    shares = candidates[found.candidate].T
    shares[:, found.candidate < 0] = np.nan
    return BandedFit(
        **chosen_alphas(found.index.cpu().numpy(), penalties.cpu().numpy()),
        gammas=shares,
        candidate=found.candidate,
        scores=found.scores.cpu().numpy(),
        cv_predictions=found.held_out.double().cpu().numpy(),
        cv_score=found.best.cpu().numpy(),
        candidates=candidates,
        **refitted,
    )


@dataclass(frozen=True)
class _Found:
    """Of each target: chosen penalty and candidate (−1: none), its score, what it predicts."""

    index: torch.Tensor
    candidate: np.ndarray
    best: torch.Tensor
    held_out: torch.Tensor
    scores: torch.Tensor


def _search(
    kernels: list[torch.Tensor],
    y: torch.Tensor,
    alphas: torch.Tensor,
    candidates: np.ndarray,
    folds: list[np.ndarray] | None,
    criterion: str,
    kept: dict[int, Spectrum],
) -> _Found:
    """Search the candidates; what is `kept` are decompositions of those that won for a target."""
    centred, mean, constant = centred_targets(y)
    index = torch.full_like(mean, -1, dtype=torch.int64)
    winner = index.clone()
    best = torch.full_like(mean, -torch.inf)
    held_out = mean.to(y.dtype).expand_as(y).clone()
    scores = best.new_full((len(candidates), y.shape[1]), torch.nan)
    covered = slice(None) if folds is None else np.sort(np.concatenate(folds))
    for number, shares in enumerate(candidates):
        kernel = _mixed(kernels, shares)
        if float(kernel.trace() - kernel.sum() / len(kernel)) <= 0:
            continue
        if folds is None:
            kept[number] = dual_spectrum(kernel)
            search = LooSearch(kept[number], alphas, criterion)
        else:
            search = FoldSearch([dual_fold(kernel, rows, alphas) for rows in folds], criterion)
        for chunk in target_chunks(y):
            parts = search.prepare(centred[:, chunk])
            table = search.scores(parts)
            chosen = choose(table, constant[chunk])
            score = table.gather(0, chosen.clamp(min=0)[None])[0]
            scores[number, chunk] = score.masked_fill(chosen < 0, torch.nan)
            # The search rounds: held-out errors decide among what may be the best so far.
            contenders = (chosen >= 0) & ~(score < best[chunk] - _CLOSE * best[chunk].abs())
            columns = torch.nonzero(contenders).flatten()
            if len(columns) < len(chosen):
                parts = tuple(part[:, columns] for part in parts)
            errors = search.errors(parts, chosen[columns])
            exact = criterion_scores(errors[covered], parts[0][covered], criterion).to(best.dtype)
            scores[number, columns + chunk.start] = exact
            # Strictly better only: a tie stays with the earlier candidate.
            better = torch.nonzero(exact > best[columns + chunk.start]).flatten()
            at = columns[better] + chunk.start
            best[at], index[at], winner[at] = exact[better], chosen[columns[better]], number
            held_out[:, at] = y[:, at] - errors[:, better]
        room = _KEPT_BYTES // (8 * len(y) ** 2)
        wanted = [each for each in kept if each in set(winner.tolist())][:room]
        for other in kept.keys() - wanted:
            del kept[other]
    return _Found(
        index, winner.cpu().numpy(), best.masked_fill(index < 0, torch.nan), held_out, scores
    )


def _refit(
    kernels: list[torch.Tensor],
    across: list[torch.Tensor],
    y: torch.Tensor,
    alphas: torch.Tensor,
    candidates: np.ndarray,
    found: _Found,
    kept: dict[int, Spectrum],
) -> dict[str, np.ndarray]:
    """Fit each target on all training stimuli at its candidate and penalty."""
    centred, mean, _ = centred_targets(y)
    m = len(across[0])
    tests = [
        centred_test_kernel(kernel, test) for kernel, test in zip(kernels, across, strict=True)
    ]
    coefficients = torch.zeros_like(y)
    by_band = y.new_zeros(len(kernels), m, y.shape[1])
    for number in np.unique(found.candidate[found.candidate >= 0]):
        columns = torch.tensor(np.flatnonzero(found.candidate == number), device=y.device)
        spectrum = kept.get(int(number)) or dual_spectrum(_mixed(kernels, candidates[number]))
        refit = Refit(spectrum, spectrum.vectors[:0], alphas, coefficients=True)
        for part in columns.split(target_chunks(y)[0].stop):
            _, dual = refit((centred[:, part],), found.index[part], False)
            assert dual is not None
            coefficients[:, part] = dual
            for band, test in enumerate(tests):
                by_band[band][:, part] = float(candidates[number, band]) * (
                    test.to(dual.dtype) @ dual
                )
    return {
        "predictions": (by_band.sum(dim=0) + mean).cpu().numpy(),
        "band_predictions": by_band.double().cpu().numpy(),
        "intercept": mean.cpu().numpy(),
        "coefficients": coefficients.double().cpu().numpy(),
    }


def _mixed(kernels: list[torch.Tensor], shares: np.ndarray) -> torch.Tensor:
    mixed = torch.zeros_like(kernels[0])
    for kernel, share in zip(kernels, shares, strict=True):
        mixed.add_(kernel, alpha=float(share))
    return mixed


def _read_kernels(
    kernels_train: Sequence[np.ndarray | torch.Tensor],
    kernels_test: Sequence[np.ndarray | torch.Tensor] | None,
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    kernels = [read_kernel(kernel, "banded_ridge") for kernel in kernels_train]
    shapes = {tuple(kernel.shape) for kernel in kernels}
    if len(shapes) != 1:
        raise ValueError(
            f"banded_ridge: expected one or more kernels of one shape, got {sorted(shapes)}."
        )
    given = [None] * len(kernels) if kernels_test is None else list(kernels_test)
    if len(given) != len(kernels):
        raise ValueError(
            f"banded_ridge: expected {len(kernels)} test kernels, one for each band, got "
            f"{len(given)}."
        )
    kernels = [kernel.to(kernels[0].device) for kernel in kernels]
    across = [
        read_test_kernel(test, kernel, "banded_ridge")
        for test, kernel in zip(given, kernels, strict=True)
    ]
    if len({len(test) for test in across}) > 1:
        raise ValueError(
            "banded_ridge: expected test kernels of the same stimuli, got "
            f"{[len(test) for test in across]} test stimuli."
        )
    return kernels, across


def _read_candidates(gammas: int | ArrayLike, n_bands: int, seed: int) -> np.ndarray:
    if isinstance(gammas, int | np.integer):
        return dirichlet_candidates(n_bands, int(gammas), seed)
    candidates = np.array(gammas, dtype=np.float64)
    if candidates.ndim != 2 or candidates.shape[1] != n_bands or not len(candidates):
        raise ValueError(
            f"banded_ridge: expected gammas of shape (n_candidates, {n_bands}), one column for "
            f"each band, got {candidates.shape}."
        )
    if not np.isfinite(candidates).all() or (candidates < 0).any():
        raise ValueError("banded_ridge: expected gammas that are finite and not negative.")
    return candidates
