"""Ridge regression whose penalty is chosen by k-fold cross-validation, in its dual form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from isomorph.encoding.ridge import Refit, RidgeFit, assemble, target_chunks
from isomorph.encoding.selection import (
    Criterion,
    check_criterion,
    criterion_scores,
    grid_scores,
)
from isomorph.encoding.spectrum import (
    CHUNK_BYTES,
    Spectrum,
    centred_test_kernel,
    dual_spectrum,
    read_kernel,
    read_penalties,
    read_targets,
    read_test_kernel,
)

Folds = Sequence[ArrayLike]


def ridge_cv(
    kernel_train: np.ndarray | torch.Tensor,
    responses: np.ndarray | torch.Tensor,
    alphas: ArrayLike,
    folds: Folds,
    *,
    kernel_folds: Sequence[np.ndarray | torch.Tensor] | None = None,
    kernel_test: np.ndarray | torch.Tensor | None = None,
    criterion: Criterion = "squared_error",
    alpha_per_target: bool = True,
    coefficients: bool = False,
    held_out: bool = True,
    chunk_targets: int | None = None,
) -> RidgeFit:
    """Ridge regression in its dual form, its penalty chosen by k-fold cross-validation.

    Every fold centres its own training stimuli and fits its own intercept; one kernel serves all
    folds. Where the features are scaled, the scaling belongs inside the fold too, which gives each
    fold a kernel of its own (``kernel_folds``). The model is then fitted again on all stimuli.

    Parameters
    ----------
    kernel_train : np.ndarray or torch.Tensor, (n, n)
        Products of the features of the training stimuli. Centred or not.
    responses : np.ndarray or torch.Tensor, (n, t)
    alphas : array_like, (n_alphas,)
        Penalties, positive and increasing.
    folds : sequence of int arrays
        Positions that each fold holds out; the rest trains. Disjoint; what none holds out always
        trains. Keep groups and time series together: neighbours in time, or captions of one image,
        in two folds tell each other's answers.
    kernel_folds : sequence of (n, n) arrays, optional
        For each fold its own kernel of all n stimuli, scaled by that fold's training stimuli.
    kernel_test : np.ndarray or torch.Tensor, (m, n), optional
        Products of the test with the training stimuli, centred exactly where kernel_train is.
    criterion : {"squared_error", "pearson"}
        Smallest squared error, or largest Pearson r, of the held-out predictions of all folds
        together. With as many folds as stimuli this is `ridge_loo`.
    alpha_per_target, coefficients, chunk_targets
        As in `ridge_loo`.
    held_out : bool
        Whether to give the held-out predictions. Without them ``cv_predictions`` has no rows, and
        the scores are those of the search, exact to six digits.

    Returns
    -------
    RidgeFit
        In float64. Computed on the device of the kernel; the products with float32 responses in
        float32, which is as precise as these are.

    Raises
    ------
    ValueError
        If shapes do not fit, folds overlap or leave fewer than 2 stimuli to train, a value is not
        finite, or the penalties are not positive and increasing.

    References
    ----------
    Hastie, Tibshirani & Friedman (2009), The Elements of Statistical Learning, section 7.10.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((20, 50))
    >>> folds = np.array_split(np.arange(20), 5)
    >>> ridge_cv(x @ x.T, x[:, :3], [1, 10, 100], folds).cv_predictions.shape
    (20, 3)
    """
    check_criterion(criterion)
    kernel = read_kernel(kernel_train, "ridge_cv")
    across = read_test_kernel(kernel_test, kernel, "ridge_cv")
    y = read_targets(responses, kernel, "ridge_cv")
    penalties = read_penalties(alphas, kernel.device, "ridge_cv")
    parts = read_folds(folds, len(kernel))
    kernels = _fold_kernels(kernel, kernel_folds, len(parts))
    # Without test stimuli or coefficients no model of all stimuli is needed.
    whole = len(across) > 0 or coefficients
    spectrum = dual_spectrum(kernel) if whole else _only_whether_silent(kernel)
    return assemble(
        y,
        FoldSearch(
            [dual_fold(one, rows, penalties) for one, rows in zip(kernels, parts, strict=True)],
            criterion,
        ),
        Refit(
            spectrum,
            centred_test_kernel(kernel, across) @ spectrum.vectors if whole else across,
            penalties,
            coefficients,
        ),
        alpha_per_target=alpha_per_target,
        chunks=target_chunks(y, chunk_targets),
        held_out=held_out,
    )


@dataclass(frozen=True)
class Fold:
    """What predicts a fold's held-out stimuli from the others.

    Parameters
    ----------
    train, held_out : torch.Tensor of int
    maps : torch.Tensor, (n_alphas, n_held_out, n_train), float64
        Prediction = map @ responses, the intercept included.
    """

    train: torch.Tensor
    held_out: torch.Tensor
    maps: torch.Tensor


def dual_fold(kernel: torch.Tensor, rows: np.ndarray, alphas: torch.Tensor) -> Fold:
    """Make a fold's maps from the kernel of all stimuli, (n, n)."""
    held_out = torch.tensor(rows, device=kernel.device)
    train = torch.tensor(np.setdiff1d(np.arange(len(kernel)), rows), device=kernel.device)
    among, across = kernel[train][:, train], kernel[held_out][:, train]
    spectrum = dual_spectrum(among)
    return spectrum_fold(
        spectrum, centred_test_kernel(among, across) @ spectrum.vectors, train, held_out, alphas
    )


def spectrum_fold(
    spectrum: Spectrum,
    test: torch.Tensor,
    train: torch.Tensor,
    held_out: torch.Tensor,
    alphas: torch.Tensor,
) -> Fold:
    """Make a fold's maps from a decomposition; ``test`` is its held-out kernel × vectors."""
    weighted = test[None] * spectrum.inverse(alphas).T[:, None, :]
    maps = (weighted.flatten(end_dim=1) @ spectrum.vectors.T).view(len(alphas), len(test), -1)
    return Fold(train, held_out, maps + 1 / len(train))


class FoldSearch:
    """K folds: the maps of each, times the targets."""

    def __init__(self, folds: Sequence[Fold], criterion: str) -> None:
        self.folds, self.criterion = folds, criterion

    def prepare(self, centred: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The responses alone."""
        return (centred,)

    def scores(self, parts: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """The criterion of every penalty and target over all folds, (n_alphas, t)."""
        by_errors = self.criterion == "squared_error"
        found = self._squared_errors if by_errors else self._correlations
        return grid_scores(found, parts, self.criterion)

    def errors(self, parts: tuple[torch.Tensor, ...], index: torch.Tensor) -> torch.Tensor:
        """Held-out errors at each target's own penalty, (n, t)."""
        [centred] = parts
        order = torch.argsort(index)
        # Targets of one penalty side by side: then one product serves them all.
        targets, counts = centred[:, order], torch.bincount(index).tolist()
        errors = torch.full_like(targets, torch.nan)
        for fold in self.folds:
            train, wrong, start = targets[fold.train], targets[fold.held_out], 0
            for position, count in enumerate(counts):
                columns = slice(start, start + count)
                wrong[:, columns] -= fold.maps[position].to(train.dtype) @ train[:, columns]
                start += count
            errors[fold.held_out] = wrong
        return errors[:, torch.argsort(order)]

    def _squared_errors(self, targets: torch.Tensor) -> torch.Tensor:
        n_alphas, t = len(self.folds[0].maps), targets.shape[1]
        total = targets.new_zeros(n_alphas, t)
        # Predictions of all penalties at once, as many targets at a time as fit.
        rows = n_alphas * max(len(fold.held_out) for fold in self.folds)
        width = max(1, CHUNK_BYTES // (targets.element_size() * rows))
        for fold in self.folds:
            maps = fold.maps.flatten(end_dim=1).to(targets.dtype)
            train, actual = targets[fold.train], targets[fold.held_out]
            for start in range(0, t, width):
                chunk = slice(start, start + width)
                errors = (maps @ train[:, chunk]).view(n_alphas, len(actual), -1)
                errors -= actual[:, chunk]
                total[:, chunk] += errors.square_().sum(dim=1)
        return -total / sum(len(fold.held_out) for fold in self.folds)

    def _correlations(self, targets: torch.Tensor) -> torch.Tensor:
        actual = torch.cat([targets[fold.held_out] for fold in self.folds])
        found = targets.new_empty(len(self.folds[0].maps), targets.shape[1])
        for position in range(len(found)):
            predicted = [
                fold.maps[position].to(targets.dtype) @ targets[fold.train] for fold in self.folds
            ]
            found[position] = criterion_scores(
                actual - torch.cat(predicted), actual, self.criterion
            )
        return found


def read_folds(folds: Folds, n: int) -> list[np.ndarray]:
    """Check held-out positions.

    Raises
    ------
    ValueError
        If there are fewer than 2 folds, one is empty, they overlap, name a stimulus that does not
        exist, or leave fewer than 2 stimuli to train.
    """
    arrays = [np.asarray(fold) for fold in folds]
    if len(arrays) < 2 or any(
        a.ndim != 1 or not a.size or a.dtype.kind not in "iu" for a in arrays
    ):
        raise ValueError(
            "folds: expected at least 2 lists of positions, none of them empty, got "
            f"{[a.shape for a in arrays]}. Fewer stimuli than folds leave some empty."
        )
    every = np.concatenate(arrays)
    if every.min() < 0 or every.max() >= n or len(np.unique(every)) < len(every):
        raise ValueError(
            f"folds: expected positions from 0 to {n - 1}, each held out once at most, got "
            f"{every.min()} to {every.max()}, {len(every) - len(np.unique(every))} of them again."
        )
    largest = max(len(a) for a in arrays)
    if n - largest < 2:
        raise ValueError(
            f"folds: expected at least 2 stimuli left to train, got {n - largest} of {n} beside a "
            f"fold of {largest}. Take more folds."
        )
    return arrays


def _fold_kernels(
    kernel: torch.Tensor, given: Sequence[np.ndarray | torch.Tensor] | None, count: int
) -> list[torch.Tensor]:
    if given is None:
        return [kernel] * count
    kernels = [read_kernel(one, "ridge_cv", "kernel of a fold").to(kernel) for one in given]
    if len(kernels) != count or any(one.shape != kernel.shape for one in kernels):
        raise ValueError(
            f"ridge_cv: expected kernel_folds of {count} kernels, one for each fold, of shape "
            f"{tuple(kernel.shape)}, got {[tuple(one.shape) for one in kernels]}."
        )
    return kernels


def _only_whether_silent(kernel: torch.Tensor) -> Spectrum:
    """A stand-in for a decomposition that nothing but `silent` will be asked of."""
    eps = torch.finfo(kernel.dtype).eps
    trace = float(kernel.trace() - kernel.sum() / len(kernel))
    varies = trace > 16 * eps * float(kernel.diagonal().abs().sum())
    return Spectrum(kernel[:, :0], torch.full((1,), float(varies), device=kernel.device))
