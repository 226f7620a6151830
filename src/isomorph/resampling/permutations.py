"""Seeded permutations of the stimuli, for null distributions; in blocks where these are grouped."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from isomorph.registry import unknown_name

EXCHANGES = ("within", "whole")
"""What is exchanged where stimuli are grouped: those of one group, or groups as wholes."""


def permutation_orders(
    n: int,
    n_permutations: int,
    *,
    blocks: Sequence[Hashable] | np.ndarray | None = None,
    exchange: str = "within",
    seed: int = 0,
) -> np.ndarray:
    """Random orders of n stimuli.

    Parameters
    ----------
    n : int
        Number of stimuli, at least 2.
    n_permutations : int
    blocks : sequence of length n, optional
        A label for each stimulus; None: all stimuli are exchangeable.
    exchange : {"within", "whole"}
        ``"within"``: stimuli change places inside their block only (sessions, categories: what
        differs between blocks is kept out of the test). ``"whole"``: blocks change places with
        blocks of the same size, the stimuli inside keep their order (frames of a clip, a stretch of
        a recording: stimuli that are not exchangeable one by one).
    seed : int

    Returns
    -------
    np.ndarray of int, (n_permutations, n)
        Row k says which stimulus comes to each place.

    Raises
    ------
    ValueError
        If there is nothing to exchange, or the numbers do not fit.

    References
    ----------
    Winkler, Webster, Vidaurre, Nichols & Smith (2015), NeuroImage 123:253-268.

    Examples
    --------
    >>> permutation_orders(4, 2, blocks=["a", "a", "b", "b"], seed=1).shape
    (2, 4)
    """
    if n < 2 or n_permutations < 1:
        raise ValueError(
            f"permutation_orders: expected 2 or more stimuli and 1 or more permutations, got {n} "
            f"and {n_permutations}."
        )
    if exchange not in EXCHANGES:
        raise unknown_name("exchange", exchange, EXCHANGES)
    labels = [0] * n if blocks is None else list(blocks)
    if len(labels) != n:
        raise ValueError(
            f"permutation_orders: expected a block for each of the {n} stimuli, got {len(labels)}."
        )
    where: dict[Hashable, list[int]] = {}
    for position, label in enumerate(labels):
        where.setdefault(label, []).append(position)
    members = [np.array(positions) for positions in where.values()]
    rng = np.random.default_rng(seed)
    if blocks is None or exchange == "within":
        return _within(members, n_permutations, n, rng)
    return _whole(members, n_permutations, n, rng)


def _within(
    members: list[np.ndarray], n_permutations: int, n: int, rng: np.random.Generator
) -> np.ndarray:
    if max(map(len, members)) < 2:
        raise ValueError(
            "permutation_orders: every block holds one stimulus, so nothing can be exchanged "
            "within. Leave blocks out, or take larger ones."
        )
    orders = np.tile(np.arange(n), (n_permutations, 1))
    for places in members:
        orders[:, places] = rng.permuted(orders[:, places], axis=1)
    return orders


def _whole(
    members: list[np.ndarray], n_permutations: int, n: int, rng: np.random.Generator
) -> np.ndarray:
    by_size: dict[int, list[np.ndarray]] = {}
    for places in members:
        by_size.setdefault(len(places), []).append(places)
    if max(map(len, by_size.values())) < 2:
        raise ValueError(
            f"permutation_orders: no two of the {len(members)} blocks have the same size, so none "
            "can be exchanged as a whole. Cut them to one size, or pass exchange='within'."
        )
    orders = np.tile(np.arange(n), (n_permutations, 1))
    for alike in by_size.values():
        places = np.stack(alike)  # (n_blocks, size)
        shuffled = rng.permuted(np.tile(np.arange(len(alike)), (n_permutations, 1)), axis=1)
        orders[:, places.reshape(-1)] = places[shuffled].reshape(n_permutations, -1)
    return orders
