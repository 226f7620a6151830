"""Partial least squares regression, as Brain-Score fits it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigh
from scipy.sparse.linalg import ArpackNoConvergence, eigsh

from isomorph.encoding.linear import check_arrays, column_means

BRAIN_SCORE_COMPONENTS = 25
_EPS = float(np.finfo(np.float64).eps)
# Up to this size a full decomposition is as quick as an iteration.
_SMALL = 48


@dataclass(frozen=True, eq=False)
class PLSFit:
    """Weights of a partial least squares regression.

    Parameters
    ----------
    coefficients : np.ndarray, (p, t)
    feature_mean : np.ndarray, (p,)
    response_mean : np.ndarray, (t,)
    n_components : int
        How many were found: fewer than asked where features or responses had no more to give.
    """

    coefficients: np.ndarray
    feature_mean: np.ndarray
    response_mean: np.ndarray
    n_components: int

    def predict(self, features: ArrayLike) -> np.ndarray:
        """Predictions (n, t) for features (n, p)."""
        new = np.asarray(features, dtype=np.float64)
        return self.response_mean + (new - self.feature_mean) @ self.coefficients


def pls_regression(
    features: ArrayLike, responses: ArrayLike, n_components: int = BRAIN_SCORE_COMPONENTS
) -> PLSFit:
    """Partial least squares regression (PLS2) of all targets together, features unscaled.

    Each component's weights are the first left singular vector of (features left)ᵀ responses,
    taken exactly, where scikit-learn's ``PLSRegression(scale=False)`` iterates towards it until a
    tolerance. The targets share their components: a target's prediction depends on which others it
    is fitted with.

    Parameters
    ----------
    features : array_like, (n, p)
        For a wide layer take `isometric_coordinates` first, which leaves the predictions as they
        are: the method is equivariant to rotation.
    responses : array_like, (n, t)
    n_components : int
        From 1 to the smaller of n − 1 and p. Brain-Score's 25 by default.

    Returns
    -------
    PLSFit

    Raises
    ------
    ValueError
        If shapes do not fit, a value is not finite, or there are more components than that.

    References
    ----------
    Wold (1975); Wegelin (2000), A survey of partial least squares methods; Schrimpf et al. (2018),
    Brain-Score, bioRxiv 407007.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((20, 6))
    >>> fit = pls_regression(x, x[:, :2], n_components=6)
    >>> bool(np.allclose(fit.predict(x), x[:, :2]))
    True
    """
    x, y, _ = check_arrays("pls_regression", features, responses, np.asarray(features)[:0])
    most = min(len(x) - 1, x.shape[1])
    if not 1 <= n_components <= most:
        raise ValueError(
            f"pls_regression: expected 1 to {most} components (of {len(x)} stimuli and "
            f"{x.shape[1]} features), got {n_components}."
        )
    centre, mean = column_means(x), column_means(y)
    left, targets = x - centre, _narrow(y - mean)
    sizes = np.linalg.norm(left), np.linalg.norm(targets)
    # What rounding leaves of features that are used up: of the arithmetic, and of a large offset
    # that they came with.
    rounding = max(len(x) * _EPS * sizes[0], 4 * _EPS * np.sqrt(len(x)) * np.linalg.norm(centre))
    weights, loadings, scores = [], [], []
    for _ in range(n_components):
        shared = left.T @ targets
        used_up = np.linalg.norm(left) <= rounding
        if used_up or np.linalg.norm(shared) <= len(x) * _EPS * sizes[0] * sizes[1]:
            break
        weight = _first_left_vector(shared)
        score = left @ weight
        loading = left.T @ score / (score @ score)
        left = left - np.outer(score, loading)
        targets = targets - np.outer(score, score @ targets / (score @ score))
        weights.append(weight)
        loadings.append(loading)
        scores.append(score)
    if not weights:
        empty = np.zeros((x.shape[1], y.shape[1]))
        return PLSFit(empty, centre, mean, 0)
    w, p, t = (np.stack(parts, axis=1) for parts in (weights, loadings, scores))
    of_targets = (t / (t**2).sum(axis=0)).T @ (y - mean)
    coefficients = w @ np.linalg.solve(p.T @ w, of_targets)
    return PLSFit(coefficients, centre, mean, len(weights))


def _narrow(targets: np.ndarray) -> np.ndarray:
    """Targets in as many columns as stimuli: weights depend on their products alone."""
    if targets.shape[1] <= len(targets):
        return targets
    left, sizes, _ = np.linalg.svd(targets, full_matrices=False)
    return left * sizes


def _first_left_vector(matrix: np.ndarray) -> np.ndarray:
    """First left singular vector."""
    if matrix.shape[1] == 1:
        return matrix[:, 0] / np.linalg.norm(matrix)
    if min(matrix.shape) <= _SMALL:
        return np.linalg.svd(matrix, full_matrices=False)[0][:, 0]
    tall = matrix.shape[0] > matrix.shape[1]
    product = matrix.T @ matrix if tall else matrix @ matrix.T
    start = product[:, np.argmax(np.diag(product))]
    try:
        vector = eigsh(product, k=1, which="LA", v0=start, tol=0)[1][:, 0]
    except ArpackNoConvergence:  # the first two are nearly alike
        last = len(product) - 1
        vector = eigh(product, subset_by_index=(last, last))[1][:, 0]
    vector = matrix @ vector if tall else vector
    return vector / np.linalg.norm(vector)
