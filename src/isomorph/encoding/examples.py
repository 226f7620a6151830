"""Which examples of each class are learned from: a few, drawn, or all but a fold."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.model_selection import StratifiedGroupKFold


def draw_shots(classes: ArrayLike, shots: int, n_draws: int, seed: int = 0) -> list[np.ndarray]:
    """Draw the same number of examples of each class, several times.

    Parameters
    ----------
    classes : array_like, (n,)
    shots : int
        Examples of each class.
    n_draws, seed : int

    Returns
    -------
    list of int array
        Rows, in rising order.

    Raises
    ------
    ValueError
        If a class has fewer examples than that.

    Examples
    --------
    >>> [len(rows) for rows in draw_shots(["a", "a", "b", "b"], 1, 3)]
    [2, 2, 2]
    """
    labels = np.asarray(classes)
    names, counts = np.unique(labels, return_counts=True)
    if shots < 1 or n_draws < 1:
        raise ValueError(
            f"few shots: expected shots and draws of 1 or more, got {shots}, {n_draws}."
        )
    few = [f"{name} ({count})" for name, count in zip(names, counts, strict=True) if count < shots]
    if few:
        raise ValueError(
            f"few shots: expected {shots} or more examples of each class to draw from, got fewer "
            f"of {', '.join(few[:5])}. Ask for fewer shots, or leave these classes out."
        )
    rng = np.random.default_rng(seed)
    rows = [np.flatnonzero(labels == name) for name in names]
    return [
        np.sort(np.concatenate([rng.choice(own, shots, replace=False) for own in rows]))
        for _ in range(n_draws)
    ]


def stratified_folds(
    classes: ArrayLike, k: int = 5, groups: ArrayLike | None = None
) -> list[np.ndarray]:
    """Split rows in folds that hold about the same share of each class.

    Nothing is drawn: of each class a fold holds rows that follow one another, so that neighbours,
    which are often alike (frames, variants of one object), are mostly held out together.

    Parameters
    ----------
    classes : array_like, (n,)
    k : int
        How many; fewer where the rarest class has fewer members (or groups), but at least 2.
    groups : array_like, (n,), optional
        Rows of one group (frames of one clip) stay in one fold.

    Returns
    -------
    list of int array
        Rows that each fold holds out, in their order.

    Raises
    ------
    ValueError
        If a class has one member (or one group) only, or groups of several classes cannot be held
        out without all examples of a class.

    Examples
    --------
    >>> [fold.tolist() for fold in stratified_folds(["a", "a", "b", "b"], 2)]
    [[0, 2], [1, 3]]
    """
    labels = np.asarray(classes)
    names, which, counts = np.unique(labels, return_inverse=True, return_counts=True)
    unit = "examples"
    if groups is not None:
        unit = "groups of examples"
        counts = np.array([len(np.unique(np.asarray(groups)[labels == name])) for name in names])
    single = [str(name) for name, count in zip(names, counts, strict=True) if count < 2]
    if single:
        raise ValueError(
            f"classes: expected two {unit} or more of each, got one of {', '.join(single[:5])}. "
            f"Leave these stimuli out, or join the classes."
        )
    k = max(2, min(k, int(counts.min())))
    if groups is None:
        fold_of = _spread(which, k)
        return [np.flatnonzero(fold_of == fold) for fold in range(k)]
    _, first, group_of = np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    if (which == which[first][group_of]).all():  # each group is of one class: they are the members
        order = np.argsort(first)
        fold_of_group = np.empty(len(first), dtype=int)
        fold_of_group[order] = _spread(which[first[order]], k)
        return [np.flatnonzero(fold_of_group[group_of] == fold) for fold in range(k)]
    return _mixed_folds(labels, group_of, k)


def _spread(which: np.ndarray, k: int) -> np.ndarray:
    """The fold of each member; those of a class follow one another."""
    fold_of = np.empty(len(which), dtype=int)
    start = 0
    for number, count in enumerate(np.bincount(which)):
        # Each class begins at another fold, so that what does not divide evenly is spread.
        fold_of[which == number] = (start + np.arange(count) * k // count) % k
        start += int(count)
    return fold_of


def _mixed_folds(labels: np.ndarray, groups: np.ndarray, k: int) -> list[np.ndarray]:
    """Folds of groups that hold several classes each; every class stays in every training set."""
    n_classes = len(np.unique(labels))
    for folds in range(min(k, len(np.unique(groups))), 1, -1):
        found = [
            held_out for _, held_out in StratifiedGroupKFold(folds).split(labels, labels, groups)
        ]
        if all(
            len(held_out) and len(np.unique(np.delete(labels, held_out))) == n_classes
            for held_out in found
        ):
            return found
    raise ValueError(
        "classes: expected groups of stimuli that can be held out without all examples of a class, "
        "got none. Leave classes of few groups out, or give smaller groups."
    )
