"""Halves of repeated presentations, drawn within each stimulus."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def split_halves(
    present: np.ndarray, *, seed: int, n_draws: int = 20
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Draw two disjoint halves of the repeats of every stimulus.

    A stimulus with R repeats gives floor(R / 2) to each half; an odd one is left out at random,
    so that over the draws every repeat weighs the same. A stimulus with fewer than two repeats is
    in neither half.

    Parameters
    ----------
    present : bool array (n_stimuli, n_repetitions)
        Which repeats were measured.
    seed : int
        Seed of the draws; draws of different stimuli are independent.
    n_draws : int
        How many pairs of halves to draw.

    Yields
    ------
    first, second : bool arrays (n_stimuli, n_repetitions)
        The repeats in each half.

    Examples
    --------
    >>> first, second = next(split_halves(np.ones((3, 4), bool), seed=0))
    >>> first.sum(axis=1), (first & second).any()
    (array([2, 2, 2]), np.False_)
    """
    present = np.asarray(present)
    if present.ndim != 2 or present.dtype != bool:
        raise ValueError(
            f"present: expected a boolean array (n_stimuli, n_repetitions), got {present.dtype} "
            f"{present.shape}; of responses (n_stimuli, n_repetitions, n_neuroids) take "
            "present_repeats(responses)."
        )
    rng = np.random.default_rng(seed)
    size = (present.sum(axis=1) // 2)[:, None]
    for _ in range(n_draws):
        # Absent repeats sort behind all present ones; the place in a random order makes the half.
        keys = np.where(present, rng.random(present.shape), np.inf)
        place = np.argsort(np.argsort(keys, axis=1), axis=1)
        yield place < size, (place >= size) & (place < 2 * size)


def half_weights(
    present: np.ndarray, *, seed: int, n_draws: int = 20
) -> tuple[np.ndarray, np.ndarray]:
    """Weights that average the repeats of each half: two (n_draws, n_stimuli, n_repetitions).

    The weights of a stimulus sum to one, or to zero where it is in neither half.
    """
    halves = np.array(list(split_halves(present, seed=seed, n_draws=n_draws)), dtype=float)
    halves = halves.reshape(n_draws, 2, *np.shape(present))
    weights = halves / np.maximum(halves.sum(axis=-1, keepdims=True), 1.0)
    return weights[:, 0], weights[:, 1]


def present_repeats(responses: np.ndarray) -> np.ndarray:
    """Which repeats every neuroid was measured in: bool array (n_stimuli, n_repetitions)."""
    return np.logical_not(np.isnan(check_repeats(responses)).any(axis=2))


def presence_groups(responses: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Group neuroids that miss the same repeats.

    Where electrodes drop out, the halves of a neuroid must be drawn among its own repeats. Most
    data sets have one group.

    Returns
    -------
    list of (neuroids, present)
        Positions of the group's neuroids, and which repeats they have, bool
        (n_stimuli, n_repetitions). Ordered by the first neuroid of each group.
    """
    present = ~np.isnan(check_repeats(responses))
    first = present[:, :, :1]
    if (present == first).all():
        return [(np.arange(present.shape[2]), first[:, :, 0])] if present.shape[2] else []
    groups: dict[bytes, list[int]] = {}
    packed = np.packbits(present.reshape(-1, present.shape[2]), axis=0).T
    for neuroid, pattern in enumerate(np.ascontiguousarray(packed)):
        groups.setdefault(pattern.tobytes(), []).append(neuroid)
    return [(np.array(members), present[:, :, members[0]]) for members in groups.values()]


def check_repeats(responses: np.ndarray) -> np.ndarray:
    """Require a float array (n_stimuli, n_repetitions, n_neuroids) without infinities."""
    responses = np.asarray(responses)
    if responses.ndim != 3:
        raise ValueError(
            "responses: expected (n_stimuli, n_repetitions, n_neuroids), got shape "
            f"{responses.shape}; responses that are averaged over repeats have no split halves."
        )
    if not np.issubdtype(responses.dtype, np.floating):
        responses = responses.astype(float)
    n_infinite = int(np.isinf(responses).sum())
    if n_infinite:
        raise ValueError(
            f"responses: {n_infinite} values are infinite; mark missing repeats with NaN."
        )
    return responses
