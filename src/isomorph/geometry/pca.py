"""Exact principal components, by whichever of Gram and covariance is smaller."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from isomorph.geometry.columns import (
    BLOCK_BYTES,
    as_features,
    column_slices,
    require_finite,
    working_dtype,
)
from isomorph.geometry.gram import grams
from isomorph.storage import shown_by_shape

# How far above the rounding of the products an eigenvalue must be to count as variance.
_ABOVE_ROUNDING = 8


@dataclass(frozen=True, eq=False, repr=False)
class PrincipalComponents:
    """Principal components of features over stimuli.

    Parameters
    ----------
    mean : np.ndarray, (n_features,), float64
        Mean of the features over the stimuli.
    components : np.ndarray, (n_components, n_features)
        Orthonormal rows, the largest variance first; in each the entry of the largest size is
        positive. float64 for float64 features, else float32.
    scores : np.ndarray, (n_stimuli, n_components), float64
        The centred features along the components.
    explained_variance : np.ndarray, (n_components,), float64
        Variance of the scores, with n_stimuli − 1 in the denominator.
    total_variance : float
        Of all the features together, whatever is kept of it.
    rank : int
        How many components have a variance above rounding.
    """

    mean: np.ndarray
    components: np.ndarray
    scores: np.ndarray
    explained_variance: np.ndarray
    total_variance: float
    rank: int

    __repr__ = shown_by_shape

    @property
    def n_components(self) -> int:
        """Number of components."""
        return len(self.explained_variance)

    @property
    def explained_variance_ratio(self) -> np.ndarray:
        """Share of the total variance, (n_components,); NaN if nothing varies."""
        if self.total_variance <= 0:
            return np.full(self.n_components, np.nan)
        return self.explained_variance / self.total_variance

    def transform(self, features: torch.Tensor | np.ndarray) -> np.ndarray:
        """Scores of other stimuli, (n_stimuli, n_features, …) → (n_stimuli, n_components)."""
        matrix = as_features(features)
        p = matrix.shape[1]
        if p != len(self.mean):
            raise ValueError(
                f"features: expected {len(self.mean)} features, as the components have, got {p}."
            )
        return _projected(matrix, self.mean, self.components.T)

    def inverse_transform(self, scores: np.ndarray) -> np.ndarray:
        """Features from scores, (n_stimuli, n_components) → (n_stimuli, n_features)."""
        return np.asarray(scores) @ self.components + self.mean


def principal_components(
    features: torch.Tensor | np.ndarray, n_components: int | None = None
) -> PrincipalComponents:
    """Principal component analysis of features over stimuli, exact for any number of features.

    The eigenvectors come from the (n_stimuli, n_stimuli) Gram where there are at least as many
    features as stimuli, from the (n_features, n_features) covariance otherwise; either in float64.

    Parameters
    ----------
    features : torch.Tensor or np.ndarray, (n_stimuli, n_features, …)
        Worked on in float64 if they are float64, else in float32; neither changed nor copied as a
        whole.
    n_components : int, optional
        How many to keep, up to min(n_stimuli, n_features); by default all that have variance. What
        is asked for beyond those has a variance of 0, zero scores and a zero component.

    Returns
    -------
    PrincipalComponents

    Raises
    ------
    ValueError
        If there are fewer than 2 stimuli, or n_components is out of range.
    NonFiniteError
        If a feature is not finite.

    Notes
    -----
    The signs are those of scikit-learn's ``PCA`` (from version 1.5 on).

    References
    ----------
    Jolliffe & Cadima (2016), Philosophical Transactions of the Royal Society A 374(2065).

    Examples
    --------
    >>> pca = principal_components(np.array([[0.0, 0], [3, 4], [6, 8]]))
    >>> pca.components.round(2), pca.explained_variance.round(2)
    (array([[0.6, 0.8]]), array([25.]))
    """
    matrix = as_features(features)
    n, p = matrix.shape
    if n < 2:
        raise ValueError(f"features: expected at least 2 stimuli, got {n}.")
    if n_components is not None and not 1 <= n_components <= min(n, p):
        raise ValueError(
            f"n_components: expected 1 to {min(n, p)}, the smaller of {n} stimuli and {p} "
            f"features, got {n_components}. Leave it out for all that have variance."
        )
    mean = _column_means(matrix)
    wide = p >= n
    kernel = grams(matrix)[0].centred() if wide else _scatter(matrix, mean)
    resolution = torch.finfo(working_dtype(matrix) if wide else torch.float64).eps
    values, vectors, rank = _decomposed(kernel, resolution)
    kept = rank if n_components is None else min(rank, n_components)
    values, vectors = values[:kept], vectors[:, :kept]
    if wide:
        scores = vectors * np.sqrt(values)
        components = _components(matrix, mean, vectors / np.sqrt(values))
    else:
        components = vectors.T.astype(_numpy_dtype(matrix))
        scores = _projected(matrix, mean, vectors)
    largest = components[np.arange(kept), np.abs(components).argmax(axis=1)]
    signs = np.where(largest < 0, -1.0, 1.0)
    spare = 0 if n_components is None else n_components - kept
    return PrincipalComponents(
        mean=mean,
        components=np.pad(
            components * signs[:, None].astype(components.dtype), [(0, spare), (0, 0)]
        ),
        scores=np.pad(scores * signs, [(0, 0), (0, spare)]),
        explained_variance=np.pad(values / (n - 1), (0, spare)),
        total_variance=float(np.trace(kernel)) / (n - 1),
        rank=rank,
    )


def _numpy_dtype(matrix: torch.Tensor) -> type:
    return np.float64 if working_dtype(matrix) == torch.float64 else np.float32


def _column_means(matrix: torch.Tensor) -> np.ndarray:
    means, dtype = np.empty(matrix.shape[1]), working_dtype(matrix)
    for columns in column_slices(matrix, BLOCK_BYTES):
        block = matrix[:, columns].to(dtype)
        # From the first row on, so that neither an offset nor a constant column is rounded.
        deviation = (block - block[0]).mean(dim=0, dtype=torch.float64)
        means[columns] = (block[0].double() + deviation).cpu().numpy()
    require_finite(matrix, torch.from_numpy(means), BLOCK_BYTES)
    return means


def _like(values: np.ndarray, block: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(block.device, block.dtype)


def _shifted(matrix: torch.Tensor, columns: slice, mean: np.ndarray) -> torch.Tensor:
    """A block of columns less their mean, as the working type holds it: deviations keep digits."""
    block = matrix[:, columns].to(working_dtype(matrix))
    return block - _like(mean[columns], block)


def _scatter(matrix: torch.Tensor, mean: np.ndarray) -> np.ndarray:
    """Xcᵀ Xc, (n_features, n_features), some stimuli at a time, in float64."""
    n, p = matrix.shape
    total = torch.zeros(p, p, dtype=torch.float64, device=matrix.device)
    for rows in torch.arange(n).split(max(1, BLOCK_BYTES // (8 * p))):
        block = matrix[int(rows[0]) : int(rows[-1]) + 1].double()
        block = block - _like(mean, block)
        total += block.T @ block
    return total.cpu().numpy()


def _decomposed(kernel: np.ndarray, resolution: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Eigenvalues and vectors, the largest first, and how many stand above rounding."""
    values, vectors = np.linalg.eigh(kernel)
    values, vectors = values[::-1].copy(), vectors[:, ::-1].copy()
    # The largest eigenvalue of a symmetric matrix of independent errors e is about 2 e √n.
    scale = max(values[0], np.trace(kernel) / len(values) ** 0.5)
    return values, vectors, int((values > _ABOVE_ROUNDING * resolution * scale).sum())


def _components(matrix: torch.Tensor, mean: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Unit combinations of the stimuli, (n_components, n_features), from scaled vectors."""
    found = np.empty((vectors.shape[1], matrix.shape[1]), dtype=_numpy_dtype(matrix))
    # The vectors' sums are zero, so what the mean is rounded by drops out.
    for columns in column_slices(matrix, BLOCK_BYTES):
        block = _shifted(matrix, columns, mean)
        found[:, columns] = (_like(vectors, block).T @ block).cpu().numpy()
    return found


def _projected(matrix: torch.Tensor, mean: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Centred features along directions (n_features, n_directions), float64."""
    scores = torch.zeros(
        len(matrix), directions.shape[1], dtype=torch.float64, device=matrix.device
    )
    for columns in column_slices(matrix, BLOCK_BYTES):
        block = _shifted(matrix, columns, mean)
        scores += (block @ _like(directions[columns], block)).double()
    require_finite(matrix, scores, BLOCK_BYTES)
    rounded = mean - mean.astype(_numpy_dtype(matrix))
    return scores.cpu().numpy() - rounded @ directions
