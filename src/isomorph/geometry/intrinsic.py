"""Intrinsic dimension: of the manifold that the stimuli lie on, from their nearest neighbours."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch

from isomorph.geometry.gram import Gram, grams
from isomorph.registry import unknown_name

Average = Literal["harmonic", "mean"]
# Two stimuli are the same where their squared distance is within the float64 rounding of the sums
# of squares that it is the difference of. `grams` sees to it that this suffices for float32.
_ROUNDING = 1e-14


def two_nn_dimension(features: Gram | torch.Tensor | np.ndarray, *, discard: float = 0.1) -> float:
    """Intrinsic dimension from the two nearest neighbours of each stimulus.

    The ratio μ of the distances to the second and to the first neighbour has the distribution
    function 1 − μ^−d wherever the density is about constant that far. d is the slope of a line
    through the origin, fitted by least squares to −log(1 − rank / n) against log μ.

    Parameters
    ----------
    features : Gram, torch.Tensor or np.ndarray
        The features, (n_stimuli, n_features, …), or their Gram. Stimuli with the same features
        count once.
    discard : float
        Share of the stimuli, those with the largest ratios, that the fit leaves out; from 0 to
        below 1, 0.1 in the paper.

    Returns
    -------
    float
        NaN with fewer than 3 distinct stimuli, or if they are equidistant.

    Raises
    ------
    ValueError
        If ``discard`` is not such a share.

    Notes
    -----
    With few stimuli it is too low on manifolds of many dimensions: n stimuli hardly show more than
    2 log₂ n of them (Eckmann & Ruelle 1992).

    References
    ----------
    Facco, d'Errico, Rodriguez & Laio (2017), Scientific Reports 7, 12140; Ansuini et al. (2019),
    NeurIPS (of the layers of networks).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> plane = rng.uniform(size=(500, 2)) @ rng.standard_normal((2, 30))
    >>> round(two_nn_dimension(plane))
    2
    """
    if not 0 <= discard < 1:
        raise ValueError(
            f"discard: expected a share of the stimuli, 0 ≤ discard < 1, got {discard}."
        )
    nearest = _nearest_squares(features, 2)
    n = len(nearest)
    if n < 3:
        return float("nan")
    ratios = np.sort(np.log(nearest[:, 1] / nearest[:, 0]) / 2)
    # The last rank has nothing above it: its logarithm is infinite.
    kept = min(max(1, int(n * (1 - discard))), n - 1)
    x, y = ratios[:kept], -np.log1p(-np.arange(1, kept + 1) / n)
    return float(x @ y / (x @ x)) if x[-1] > _ROUNDING else float("nan")


def maximum_likelihood_dimension(
    features: Gram | torch.Tensor | np.ndarray,
    *,
    n_neighbours: int = 20,
    average: Average = "harmonic",
) -> float:
    """Intrinsic dimension by maximum likelihood, from the distances to the k nearest neighbours.

    At each stimulus 1/d is estimated by the mean of log(T_k / T_j) over its neighbours j < k, T_j
    the distance to the j-th.

    Parameters
    ----------
    features : Gram, torch.Tensor or np.ndarray
        The features, (n_stimuli, n_features, …), or their Gram. Stimuli with the same features
        count once.
    n_neighbours : int
        k, at least 2.
    average : {"harmonic", "mean"}
        ``"harmonic"`` averages 1/d over the stimuli, which is the likelihood of all together;
        ``"mean"`` averages d, as first published: too high where k is small.

    Returns
    -------
    float
        NaN if there are no more than k distinct stimuli, or they are equidistant.

    Raises
    ------
    ValueError
        If ``n_neighbours`` is less than 2.
    KeyError
        If there is no such average.

    References
    ----------
    Levina & Bickel (2004), NIPS 17; MacKay & Ghahramani (2005), a comment on it (the harmonic
    average).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> plane = rng.uniform(size=(500, 2)) @ rng.standard_normal((2, 30))
    >>> round(maximum_likelihood_dimension(plane))
    2
    """
    if n_neighbours < 2:
        raise ValueError(f"n_neighbours: expected at least 2, got {n_neighbours}.")
    if average not in get_args(Average):
        raise unknown_name("average", average, get_args(Average))
    nearest = _nearest_squares(features, n_neighbours)
    if len(nearest) <= n_neighbours:
        return float("nan")
    inverse = (np.log(nearest[:, -1:]) - np.log(nearest[:, :-1])).mean(axis=1) / 2
    if average == "harmonic":
        inverse = inverse.mean(keepdims=True)
    return float((1 / inverse).mean()) if inverse.min() > _ROUNDING else float("nan")


def _nearest_squares(features: Gram | torch.Tensor | np.ndarray, k: int) -> np.ndarray:
    """Squared distances of the distinct stimuli to their k nearest, in rising order, (n, ≤ k)."""
    gram = features if isinstance(features, Gram) else grams(features)[0]
    diagonal = gram.products.diagonal()
    sums = diagonal[:, None] + diagonal
    squares = np.maximum(sums - 2 * gram.products, 0)
    same = squares <= _ROUNDING * sums
    first = np.flatnonzero(~np.tril(same, -1).any(axis=1))
    squares = squares[np.ix_(first, first)]
    np.fill_diagonal(squares, np.inf)
    k = min(k, len(first) - 1)
    return np.sort(np.partition(squares, k - 1, axis=1)[:, :k], axis=1) if k else squares[:, :0]
