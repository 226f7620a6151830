"""Frozen splits of the stimuli into a training and a test part."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

_SWAPPED = "_swapped"


@dataclass(frozen=True, eq=False)
class Split:
    """Which stimuli train and which test, by position.

    Two splits are equal if their positions and names are; a split can be a dictionary key.

    Parameters
    ----------
    train, test : array_like of int
        Positions of the stimuli. Held as sorted, read-only int64 arrays.
    train_name, test_name : str
        What the two parts are called in the column ``cv_split`` of the results.

    Examples
    --------
    >>> Split(train=[2, 0], test=[1, 3]).train
    array([0, 2])
    """

    train: np.ndarray
    test: np.ndarray
    train_name: str = "train"
    test_name: str = "test"

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            positions = np.sort(_positions(getattr(self, part), part))
            positions.flags.writeable = False
            object.__setattr__(self, part, positions)

    def _content(self) -> tuple[bytes, bytes, str, str]:
        return self.train.tobytes(), self.test.tobytes(), self.train_name, self.test_name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Split) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())


def odd_even(n: int) -> Split:
    """Split n stimuli: even positions (0, 2, …) train, odd positions test.

    Parameters
    ----------
    n : int
        Number of stimuli, at least 4.

    Returns
    -------
    Split

    Raises
    ------
    ValueError
        If there are fewer than 4 stimuli.

    Examples
    --------
    >>> odd_even(5).test
    array([1, 3])
    """
    if n < 4:
        raise ValueError(
            f"odd_even: expected at least 4 stimuli (2 to train, 2 to test), got {n}. "
            "Score more stimuli together."
        )
    positions = np.arange(n)
    return Split(train=positions[::2], test=positions[1::2])


def swapped(split: Split) -> Split:
    """Exchange the training and the test part, for scores in both directions.

    The names get the ending ``_swapped``, so that the rows of a results table stay apart;
    swapping again gives the first split back.

    Examples
    --------
    >>> swapped(odd_even(4)).train, swapped(odd_even(4)).train_name
    (array([1, 3]), 'train_swapped')
    """
    names = [
        name.removesuffix(_SWAPPED) if name.endswith(_SWAPPED) else name + _SWAPPED
        for name in (split.train_name, split.test_name)
    ]
    return Split(split.test, split.train, *names)


def is_swapped(split: Split) -> bool:
    """Tell a split that `swapped` made."""
    return split.test_name.endswith(_SWAPPED)


def kfold(
    n: int,
    k: int,
    *,
    seed: int | None = None,
    groups: Sequence[Hashable] | np.ndarray | None = None,
) -> tuple[Split, ...]:
    """K folds; each tests once on its part and trains on all the others.

    Parameters
    ----------
    n : int
        Number of stimuli.
    k : int
        Number of folds, at least 2.
    seed : int, optional
        None: contiguous folds, in the order of the stimuli. A number: shuffled by it.
    groups : sequence of length n, optional
        Stimuli of one group (captions of one image, frames of one clip) stay in one fold. Folds
        then hold equal numbers of groups, not of stimuli.

    Returns
    -------
    tuple of Split
        Test parts are named ``fold0``, ``fold1``, …, training parts ``fold0_train``, ….

    Raises
    ------
    ValueError
        If there are fewer groups (or stimuli) than folds, or groups of another length.

    Examples
    --------
    >>> [fold.test.tolist() for fold in kfold(5, 2)]
    [[0, 1, 2], [3, 4]]
    """
    if groups is not None and len(groups) != n:
        raise ValueError(
            f"kfold: expected one group for each of the {n} stimuli, got {len(groups)}."
        )
    labels = list(range(n)) if groups is None else [_plain(group) for group in groups]
    # The order of first appearance keeps contiguous folds contiguous, whatever the labels are.
    code = {label: index for index, label in enumerate(dict.fromkeys(labels))}
    if not 2 <= k <= len(code):
        unit = "stimuli" if groups is None else "groups"
        raise ValueError(
            f"kfold: expected between 2 and {len(code)} folds ({len(code)} {unit}), got {k}."
        )
    codes = np.array([code[label] for label in labels])
    order = np.arange(len(code))
    if seed is not None:
        order = np.random.default_rng(seed).permutation(order)
    return tuple(
        Split(
            train=np.flatnonzero(~held_out),
            test=np.flatnonzero(held_out),
            train_name=f"fold{fold}_train",
            test_name=f"fold{fold}",
        )
        for fold, part in enumerate(np.array_split(order, k))
        for held_out in [np.isin(codes, part)]
    )


def given(train: ArrayLike, test: ArrayLike, n: int) -> Split:
    """Check a split that somebody else made.

    Parameters
    ----------
    train, test : array_like of int
        Positions of the stimuli, 0 to n − 1; together they need not be all of them.
    n : int
        Number of stimuli.

    Returns
    -------
    Split

    Raises
    ------
    ValueError
        If a part is empty, names a stimulus twice or one out of range, or if the parts overlap.

    Examples
    --------
    >>> given([0, 1], [2], 4).test
    array([2])
    """
    parts = {"train": _positions(train, "train"), "test": _positions(test, "test")}
    for name, positions in parts.items():
        if positions.size == 0:
            raise ValueError(f"split: {name} is empty. Give it at least one stimulus.")
        outside = positions[(positions < 0) | (positions >= n)]
        if outside.size:
            raise ValueError(
                f"split: {name} expected positions from 0 to {n - 1} ({n} stimuli), "
                f"got {_some(outside)}."
            )
        unique, counts = np.unique(positions, return_counts=True)
        if unique.size < positions.size:
            raise ValueError(
                f"split: {name} names {_some(unique[counts > 1])} more than once. "
                "Name each stimulus once."
            )
    both = np.intersect1d(parts["train"], parts["test"])
    if both.size:
        raise ValueError(
            f"split: train and test share {both.size} stimuli ({_some(both)}). "
            "Take them out of one of the two."
        )
    return Split(parts["train"], parts["test"])


def _positions(values: ArrayLike, name: str) -> np.ndarray:
    """Positions as a fresh int64 vector; masks and fractions are refused."""
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(
            f"split: {name} expected a list of whole-number positions, got "
            f"{array.dtype} of shape {array.shape}. "
            "Turn a mask into positions: np.flatnonzero(mask)."
        )
    return array.astype(np.int64)


def _plain(group: Hashable) -> Hashable:
    """NumPy scalars as Python ones, so that equal groups hash alike."""
    return group.item() if isinstance(group, np.generic) else group


def _some(positions: np.ndarray) -> str:
    shown = ", ".join(str(position) for position in positions[:5])
    return shown + (", …" if positions.size > 5 else "")
