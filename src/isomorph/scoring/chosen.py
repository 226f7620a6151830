"""The choice of a layer, for the scores as they are and for every permutation at once.

The rule is that of `select_layers`; a table of all permutations would be millions of rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

FOLD = re.compile(r"fold\d+")


@dataclass(frozen=True, eq=False)
class Chosen:
    """What the chosen layers score.

    Parameters
    ----------
    values : (n_columns,) array
        Reported score of each column's own chosen layer; NaN where there is none.
    layer : int or None
        The layer chosen in the first column (over folds, the most frequent).
    cv_split : str
        ``test``, ``folds`` or ``all``.
    reported : tuple of str
        Splits that the reported score comes from.
    reason : str
        Why the first column has no score.
    """

    values: np.ndarray
    layer: int | None
    cv_split: str
    reported: tuple[str, ...]
    reason: str = ""


def choose(scores: Mapping[str, np.ndarray], *, larger_is_better: bool = True) -> Chosen:
    """Choose a layer in every column by one split, and report it on another.

    Parameters
    ----------
    scores : mapping of str to (n_layers, n_columns) array
        By ``cv_split``, layers in call order. Columns are data sets that share their layers: the
        measured one first, then its permutations.
    larger_is_better : bool

    Returns
    -------
    Chosen
        On ``train``, reported on ``test``; else the layer for each fold on the others; else on
        ``all``, in sample.

    Examples
    --------
    >>> train, test = np.array([[0.1], [0.9]]), np.array([[0.3], [0.2]])
    >>> choose({"train": train, "test": test}).values
    array([0.2])
    """
    sign = 1.0 if larger_is_better else -1.0
    folds = sorted((name for name in scores if FOLD.fullmatch(name)), key=lambda f: int(f[4:]))
    if "train" in scores and "test" in scores:
        return _held_out(scores["train"], scores["test"], sign, "test")
    if len(folds) > 1:
        return _over_folds(scores, folds, sign)
    if "all" in scores:
        return _held_out(scores["all"], scores["all"], sign, "all")
    n_columns = next(iter(scores.values())).shape[1]
    reason = "there is no split to choose a layer by"
    return Chosen(np.full(n_columns, np.nan), None, "test", (), reason)


def _best(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First best layer of each column, and whether it has one."""
    known = np.asarray(~np.isnan(values).all(axis=0))
    return np.where(np.isnan(values), -np.inf, values).argmax(axis=0), known


def _held_out(criterion: np.ndarray, report: np.ndarray, sign: float, split: str) -> Chosen:
    best, known = _best(sign * criterion)
    values = np.where(known, report[best, np.arange(report.shape[1])], np.nan)
    if not known[0]:
        return Chosen(values, None, split, (split,), "no layer has a score to choose by")
    return Chosen(values, int(best[0]), split, (split,))


def _over_folds(scores: Mapping[str, np.ndarray], folds: list[str], sign: float) -> Chosen:
    stack = np.stack([scores[fold] for fold in folds])  # (n_folds, n_layers, n_columns)
    usable = np.asarray(~np.isnan(stack[:, :, 0]).all(axis=1))
    stack, folds = stack[usable], [fold for fold, use in zip(folds, usable, strict=True) if use]
    n_layers, n_columns = stack.shape[1:]
    if len(folds) < 2:
        reason = "fewer than two folds have scores"
        return Chosen(np.full(n_columns, np.nan), None, "folds", tuple(folds), reason)
    columns = np.arange(n_columns)
    picked, picks = [], []
    for number, held_out in enumerate(stack):
        best, known = _best(sign * np.delete(stack, number, axis=0).mean(axis=0))
        picked.append(np.where(known, held_out[best, columns], np.nan))
        picks.append(int(best[0]) if known[0] else -1)
    values = np.mean(picked, axis=0)
    if min(picks) < 0:
        reason = "no layer has a score in every fold but one"
        return Chosen(values, None, "folds", tuple(folds), reason)
    return Chosen(
        values, int(np.bincount(picks, minlength=n_layers).argmax()), "folds", tuple(folds)
    )
