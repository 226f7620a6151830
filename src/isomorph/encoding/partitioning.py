"""Whose variance it is: unique and shared shares of feature spaces, and the product measure.

Several feature spaces that predict the same responses overlap. Fitting every subset of them tells
what each predicts alone and what any of them share; the product measure splits the R² of one joint
model whose prediction is the sum over the spaces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from isomorph.encoding.kernels import centre_kernels, relative_alphas
from isomorph.encoding.ridge import ridge_loo
from isomorph.encoding.scores import SCORE_TYPES
from isomorph.geometry import grams

MAX_SPACES = 4
TOTAL = "total"

Fit = Callable[[list[np.ndarray], list[np.ndarray], np.ndarray], np.ndarray]


def product_measure(predictions: ArrayLike, responses: ArrayLike) -> np.ndarray:
    """Split the R² of a joint prediction among the feature spaces that sum to it.

    Space b gets Σ ŷ_b (2 y − ŷ) / Σ y², with y centred over the stimuli and ŷ the sum of all ŷ_b:
    its own term and half of what it shares with each other one. A space can get a negative share.

    Parameters
    ----------
    predictions : array_like, (n_spaces, n_stimuli, t)
        Each space's part of the prediction, without the intercept.
    responses : array_like, (n_stimuli, t)
        Centred here, not in place.

    Returns
    -------
    np.ndarray, (n_spaces, t)
        Sums over the spaces to 1 − Σ (y − ŷ)² / Σ y², y centred. NaN where a response is constant
        or a value missing.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    References
    ----------
    Pratt (1987), Dividing the indivisible; Dupré la Tour, Eickenberg, Nunez-Elizalde & Gallant
    (2022), NeuroImage 264, 119728.

    Examples
    --------
    >>> y = np.array([[-1.0], [0], [1]])
    >>> product_measure([0.5 * y, 0.5 * y], y).tolist()
    [[0.5], [0.5]]
    """
    parts = np.asarray(predictions, dtype=np.float64)
    measured = np.asarray(responses, dtype=np.float64)
    if parts.ndim != 3 or measured.ndim != 2 or parts.shape[1:] != measured.shape:
        raise ValueError(
            "product_measure: expected predictions of shape (n_spaces, n_stimuli, n_targets) and "
            f"responses of (n_stimuli, n_targets), got {parts.shape} and {measured.shape}."
        )
    centred = measured - measured.mean(axis=0)
    constant = np.ptp(measured, axis=0) <= 8 * np.finfo(float).eps * np.abs(measured).max(axis=0)
    total = np.where(constant, np.nan, (centred**2).sum(axis=0))
    return np.einsum("bnt,nt->bt", parts, 2 * centred - parts.sum(axis=0)) / total


def commonality(
    explained: Mapping[tuple[str, ...], ArrayLike],
) -> dict[tuple[str, ...], np.ndarray]:
    """Unique and shared explained variance of feature spaces, from that of every subset of them.

    The part of a subset S is what exactly its spaces explain together and no other space does:
    −Σ over T ⊆ S of (−1)^|T| R(T ∪ rest), with R(∅) = 0. Parts of one space are unique, the others
    shared; they add up to what all spaces explain together. Shared parts can be negative
    (suppression).

    Parameters
    ----------
    explained : mapping of tuple of str to array_like
        Explained variance (r² or R²) of each non-empty subset of the spaces, named by its spaces.
        Any shape, the same for all.

    Returns
    -------
    dict of tuple of str to np.ndarray
        The same keys, in the same order.

    Raises
    ------
    ValueError
        If a subset is missing.

    References
    ----------
    Seibold & McPhee (1979), Human Communication Research 5, 355–365; de Heer, Huth, Griffiths,
    Gallant & Theunissen (2017), Journal of Neuroscience 37, 6539–6557.

    Examples
    --------
    >>> parts = commonality({("a",): 0.5, ("b",): 0.4, ("a", "b"): 0.6})
    >>> {name: round(float(value), 6) for name, value in parts.items()}
    {('a',): 0.2, ('b',): 0.1, ('a', 'b'): 0.3}
    """
    names = tuple(dict.fromkeys(name for subset in explained for name in subset))
    known = {frozenset(subset): np.asarray(value, float) for subset, value in explained.items()}
    for subset in subsets_of(names):
        if frozenset(subset) not in known:
            raise ValueError(
                f"commonality: expected the explained variance of every subset of "
                f"{', '.join(names)}, got none for {' + '.join(subset)}."
            )
    known[frozenset()] = np.zeros_like(next(iter(known.values())))
    parts = {}
    for subset in explained:
        rest = frozenset(names) - frozenset(subset)
        part = np.zeros_like(known[frozenset()])
        for inner in [(), *subsets_of(subset)]:
            part -= (-1.0) ** len(inner) * known[rest | frozenset(inner)]
        parts[subset] = part
    return parts


def subsets_of(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Every non-empty subset, smaller ones first."""
    return [
        subset for size in range(1, len(names) + 1) for subset in combinations(tuple(names), size)
    ]


def partition_variance(
    spaces: Mapping[str, ArrayLike],
    responses: ArrayLike,
    train: ArrayLike,
    test: ArrayLike,
    *,
    score: str = "r2",
    fit: Fit | None = None,
) -> pd.DataFrame:
    """Partition the held-out variance that two to four feature spaces explain.

    Every subset of the spaces is fitted on the training stimuli and scored on the test stimuli.
    By default by ridge on the sum of the spaces' kernels, each scaled to a mean diagonal of one so
    that a wide space does not rule a narrow one, with each target's penalty by leave-one-out.

    Parameters
    ----------
    spaces : mapping of str to array_like, (n_stimuli, n_features)
        Features of each space, over the same stimuli.
    responses : array_like, (n_stimuli, t)
    train, test : array_like of int
        Positions of the stimuli.
    score : {"r2", "squared_r"}
        Held-out R², which can be negative, or the squared Pearson r (0 where r is negative).
    fit : callable, optional
        ``fit(kernels_train, kernels_test, responses_train)`` gives predictions (n_test, t), from
        lists of centred kernels (n_train, n_train) and (n_test, n_train): for example banded ridge.

    Returns
    -------
    pandas.DataFrame
        One row a target and part: ``target`` (position), ``part`` (spaces joined by " + ", or
        ``total``), ``kind`` (``unique``, ``shared``, ``total``), ``explained`` (the variance of
        that part) and ``model`` (what those spaces explain when fitted by themselves).

    Raises
    ------
    ValueError
        If there are not two to four spaces, the numbers of stimuli differ, or training and test
        stimuli overlap.

    References
    ----------
    Lescroart, Stansbury & Gallant (2015), Frontiers in Computational Neuroscience 9:135.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> first, second = rng.standard_normal((2, 40, 5))
    >>> spaces = {"a": first, "b": second}
    >>> table = partition_variance(spaces, first[:, :2], range(30), range(30, 40))
    >>> table[table.target == 0].part.tolist()
    ['a', 'b', 'a + b', 'total']
    """
    if not 2 <= len(spaces) <= MAX_SPACES:
        raise ValueError(
            f"partition_variance: expected 2 to {MAX_SPACES} feature spaces, got {len(spaces)}."
        )
    measured = np.asarray(responses, dtype=np.float64)
    counts = {name: len(np.asarray(values)) for name, values in spaces.items()}
    if measured.ndim != 2 or set(counts.values()) != {len(measured)}:
        raise ValueError(
            f"partition_variance: expected features and responses (n_stimuli, n_targets) of the "
            f"same stimuli, got responses of shape {measured.shape} and stimuli {counts}."
        )
    scorer = _scorer(score)
    rows, held_out = np.asarray(train), np.asarray(test)
    shared = np.intersect1d(rows, held_out)
    if len(shared):
        raise ValueError(
            f"partition_variance: expected test stimuli that are not trained on, got "
            f"{len(shared)} that are. Take them out of one of the two."
        )
    kernels = {name: _unit_kernels(values, rows, held_out) for name, values in spaces.items()}
    fit = _joint_ridge if fit is None else fit
    explained = {}
    for subset in subsets_of(tuple(spaces)):
        pairs = [kernels[name] for name in subset]
        predicted = fit([a for a, _ in pairs], [b for _, b in pairs], measured[rows])
        explained[subset] = scorer(predicted, measured[held_out])
    return _table(explained, commonality(explained))


def _scorer(score: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    if score == "r2":
        return SCORE_TYPES["r2"]
    if score == "squared_r":
        return _squared_r
    raise ValueError(f"partition_variance: expected score 'r2' or 'squared_r', got {score!r}.")


def _squared_r(predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
    r = SCORE_TYPES["pearsonr"](predicted, actual)
    # A constant prediction explains nothing; of a constant response nothing can be said.
    varies = np.ptp(actual, axis=0) > 0
    return np.where(np.isnan(r) & varies, 0.0, np.maximum(r, 0) ** 2)


def _unit_kernels(
    features: ArrayLike, train: np.ndarray, test: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Centred kernels of one space, with a mean diagonal of one over the training stimuli."""
    among, across = centre_kernels(grams(np.asarray(features))[0], train, test)
    size = np.trace(among) / len(among)
    return (among / size, across / size) if size > 0 else (among, across)


def _joint_ridge(
    kernels_train: list[np.ndarray], kernels_test: list[np.ndarray], responses: np.ndarray
) -> np.ndarray:
    kernel = np.sum(kernels_train, axis=0)
    across = np.sum(kernels_test, axis=0)
    return ridge_loo(kernel, responses, relative_alphas(kernel), kernel_test=across).predictions


def _table(
    explained: Mapping[tuple[str, ...], np.ndarray], parts: Mapping[tuple[str, ...], np.ndarray]
) -> pd.DataFrame:
    whole = max(explained, key=len)
    n_targets = len(explained[whole])
    columns = [
        (" + ".join(subset), "unique" if len(subset) == 1 else "shared", parts[subset], values)
        for subset, values in explained.items()
    ]
    columns.append((TOTAL, TOTAL, explained[whole], explained[whole]))
    return pd.DataFrame(
        {
            "target": np.repeat(np.arange(n_targets), len(columns)),
            "part": [name for name, *_ in columns] * n_targets,
            "kind": [kind for _, kind, *_ in columns] * n_targets,
            "explained": np.stack([part for *_, part, _ in columns], axis=1).ravel(),
            "model": np.stack([alone for *_, alone in columns], axis=1).ravel(),
        }
    )
