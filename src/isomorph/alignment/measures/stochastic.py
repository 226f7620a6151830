"""Distances between representations whose responses to a stimulus vary from repeat to repeat."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist

from isomorph.registry import unknown_name

METHODS = ("gaussian", "energy")
ESTIMATORS = ("debiased", "biased")
_CONVERGED = 1e-11
# Steps from each start, and how many of the starts are followed further.
_TRIAL, _KEPT = 20, 3

# What a rotation is worth, and the rotation to try next.
Step = Callable[[np.ndarray], tuple[float, np.ndarray]]


def stochastic_shape_distance(
    first: ArrayLike,
    second: ArrayLike,
    *,
    method: str = "gaussian",
    alpha: float = 1.0,
    estimator: str = "debiased",
    n_restarts: int = 20,
    max_iterations: int = 500,
    seed: int = 0,
) -> float:
    """Distance of the distributions of responses to each stimulus, after the best rotation.

    √ min over rotations (and reflections) Q of the mean over stimuli of the squared distance
    between the responses of the first and those of the second turned by Q. Two networks of the
    same mean responses but other noise are told apart, where `Procrustes` sees no difference.

    The rotation is found by alternation (every step is a Procrustes problem, none makes it worse)
    from the rotation that aligns the means, from the one that aligns the principal axes and from
    random ones; the best few are followed to their end. The minimum need not be the global one, so
    that the value is an upper bound; more restarts can only lower it.

    Parameters
    ----------
    first, second : array_like, (n_stimuli, n_repeats, n_features)
        Single repeats over the same stimuli; numbers of repeats and features may differ (fewer
        features are filled up with zeros). The mean over all stimuli and repeats is subtracted.
    method : {"gaussian", "energy"}
        ``"gaussian"``: α·(squared distance of the means) + (2 − α)·(squared Bures distance of the
        covariances), which for α = 1 is the 2-Wasserstein distance of Gaussians. ``"energy"``:
        the energy distance, 2·E|x − y| − E|x − x′| − E|y − y′|, of any distributions.
    alpha : float
        From 0 (covariances only) to 2 (means only); ``"gaussian"`` only.
    estimator : {"debiased", "biased"}
        For ``"energy"``: whether E|x − x′| is taken over distinct repeats only. Debiased squares
        may be negative by chance: then the value is minus the root of their size (as it is for a
        representation and itself, whose repeats are not independent). Biased ones are
        never negative, but grow as repeats get fewer. Those of ``"gaussian"`` are always biased
        upwards by noise in the means and covariances.
    n_restarts : int
        Random rotations to start from besides those of the means and the principal axes.
    max_iterations : int
        Steps of each alternation at most; it ends sooner where a step no longer matters.
    seed : int

    Returns
    -------
    float
        In units of the features (``"energy"``: of their root). Where the two are the same up to
        rotation, ``"energy"`` comes down to about 1e-3 of their size only, its slope being
        infinite there.

    Raises
    ------
    ValueError
        If shapes do not fit, there are fewer than 2 repeats, a number is missing, or an option is
        out of range.
    UnknownNameError
        If there is no such method or estimator.

    Notes
    -----
    With n stimuli, r repeats and p features, p no more than n·r: n·r²·p + p³ a step. It is meant
    for tens of stimuli, repeats and features.

    References
    ----------
    Duong, Zhou, Nassar, Berman, Olieslagers & Williams (2023), ICLR.

    Examples
    --------
    >>> responses = np.random.default_rng(0).standard_normal((6, 10, 3))
    >>> turned = responses[:, :, ::-1]
    >>> round(stochastic_shape_distance(responses, turned), 5)
    0.0
    """
    for kind, name, known in (("method", method, METHODS), ("estimator", estimator, ESTIMATORS)):
        if name not in known:
            raise unknown_name(kind, name, known)
    if not 0 <= alpha <= 2 or n_restarts < 0 or max_iterations < 1:
        raise ValueError(
            "stochastic_shape_distance: expected alpha from 0 to 2, n_restarts of 0 or more and "
            f"max_iterations of 1 or more, got {alpha}, {n_restarts} and {max_iterations}."
        )
    one, other = _aligned(first, second)
    if method == "gaussian":
        squared = _gaussian(
            one, other, alpha, _starts(one, other, n_restarts, seed), max_iterations
        )
    else:
        starts = _starts(one, other, n_restarts, seed)
        squared = _energy(one, other, estimator == "biased", starts, max_iterations)
    return float(np.sign(squared) * np.sqrt(abs(squared)))


def _aligned(first: ArrayLike, second: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Centred responses in as few features as hold them, the same number on both sides."""
    sides = [np.asarray(side, dtype=np.float64) for side in (first, second)]
    shapes = [side.shape for side in sides]
    if any(len(shape) != 3 or shape[1] < 2 or 0 in shape for shape in shapes) or (
        shapes[0][0] != shapes[1][0]
    ):
        raise ValueError(
            "stochastic_shape_distance: expected (n_stimuli, n_repeats, n_features) with the same "
            f"stimuli and 2 repeats or more on both sides, got {shapes[0]} and {shapes[1]}."
        )
    if not all(np.isfinite(side).all() for side in sides):
        raise ValueError(
            "stochastic_shape_distance: expected finite numbers. Leave out stimuli or repeats with "
            "missing responses."
        )
    turned = [_on_own_axes(side - side.mean(axis=(0, 1))) for side in sides]
    width = max(side.shape[2] for side in turned)
    first_side, second_side = (
        np.pad(side, ((0, 0), (0, 0), (0, width - side.shape[2]))) for side in turned
    )
    return first_side, second_side


def _on_own_axes(responses: np.ndarray) -> np.ndarray:
    """Turn responses onto their principal axes: an isometry to no more features than rows.

    Whatever rotation they came in, the random starts then mean the same. Of an axis and its
    opposite the one is taken on which large responses are positive.
    """
    n, r, p = responses.shape
    left, lengths, _ = np.linalg.svd(responses.reshape(n * r, p), full_matrices=False)
    scores = left * lengths
    signs = np.where((scores**3).sum(axis=0) < 0, -1.0, 1.0)
    return (scores * signs).reshape(n, r, -1)


def _polar(matrix: np.ndarray) -> np.ndarray:
    """Nearest orthogonal matrices (…, k, l): the maximiser of the inner product."""
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    return left @ right


def _starts(
    first: np.ndarray, second: np.ndarray, n_restarts: int, seed: int
) -> Iterator[np.ndarray]:
    """Rotations to start from: that of the means, that of the principal axes, random ones."""
    yield _polar(second.mean(axis=1).T @ first.mean(axis=1))
    width = first.shape[2]
    yield np.eye(width)
    rng = np.random.default_rng(seed)
    for _ in range(n_restarts):
        yield _polar(rng.standard_normal((width, width)))


def _search(starts: Iterator[np.ndarray], step: Step, max_iterations: int) -> float:
    """Alternate a little from every start, and on from the best few; the smallest value."""
    tried = [_descend(start, step, min(_TRIAL, max_iterations)) for start in starts]
    tried.sort(key=lambda reached: reached[0])
    return min(_descend(rotation, step, max_iterations)[0] for _, rotation in tried[:_KEPT])


def _descend(rotation: np.ndarray, step: Step, iterations: int) -> tuple[float, np.ndarray]:
    value = np.inf
    for _ in range(iterations):
        last = value
        value, following = step(rotation)
        if last - value <= _CONVERGED * abs(value):
            break
        rotation = following
    return value, rotation


def _gaussian(
    first: np.ndarray,
    second: np.ndarray,
    alpha: float,
    starts: Iterator[np.ndarray],
    max_iterations: int,
) -> float:
    means = [side.mean(axis=1) for side in (first, second)]
    # Covariance = D'D: its Bures distance needs no root of it, only singular values of D₁QD₂'.
    spreads = [
        (side - side.mean(axis=1, keepdims=True)) / np.sqrt(side.shape[1] - 1)
        for side in (first, second)
    ]
    weights = (alpha, 2 - alpha)
    parts = [(means[side] ** 2).sum() * weights[0] for side in (0, 1)]
    parts += [(spreads[side] ** 2).sum() * weights[1] for side in (0, 1)]
    total = float(sum(parts))

    def step(rotation: np.ndarray) -> tuple[float, np.ndarray]:
        turned = spreads[1] @ rotation
        left, lengths, right = np.linalg.svd(
            turned @ spreads[0].transpose(0, 2, 1), full_matrices=False
        )
        cross = means[1].T @ means[0]
        shared = alpha * np.vdot(cross, rotation) + (2 - alpha) * lengths.sum()
        matched = (spreads[1].transpose(0, 2, 1) @ (left @ right) @ spreads[0]).sum(axis=0)
        return total - 2 * float(shared), _polar(alpha * cross + (2 - alpha) * matched)

    # Rounding of the two sums that cancel is not a distance.
    squared = _search(starts, step, max_iterations)
    return 0.0 if squared <= 64 * np.finfo(np.float64).eps * total else squared / len(first)


def _energy(
    first: np.ndarray,
    second: np.ndarray,
    biased: bool,
    starts: Iterator[np.ndarray],
    max_iterations: int,
) -> float:
    within = sum(_mean_distance_within(side, biased) for side in (first, second))
    floor = 1e-12 * max(float(np.abs(first).max()), float(np.abs(second).max()), 1e-300)

    def step(rotation: np.ndarray) -> tuple[float, np.ndarray]:
        distances = _distances(first, second @ rotation)
        # |d| ≤ (d² / d₀ + d₀) / 2, touching at the present distances d₀: a Procrustes problem.
        pulls = second.transpose(0, 2, 1) @ (1 / np.maximum(distances, floor)).transpose(0, 2, 1)
        return float(distances.mean()), _polar((pulls @ first).sum(axis=0))

    return 2 * _search(starts, step, max_iterations) - within


def _distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Euclidean distances between repeats of a stimulus, (n, r, s); of equal ones exactly 0."""
    return np.stack([cdist(one, other) for one, other in zip(first, second, strict=True)])


def _mean_distance_within(responses: np.ndarray, biased: bool) -> float:
    """Mean over stimuli of the mean distance between two repeats."""
    distances = _distances(responses, responses)
    r = responses.shape[1]
    return float(distances.sum(axis=(1, 2)).mean() / (r * r if biased else r * (r - 1)))
