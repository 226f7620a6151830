"""How well predictions match responses, per target."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from isomorph.registry import Registry

# A column varies if its spread exceeds this many roundings of its largest value.
_ROUNDINGS = 8


def pearson_r(predictions: ArrayLike, responses: ArrayLike) -> np.ndarray:
    """Pearson correlation of each column.

    Parameters
    ----------
    predictions, responses : array_like, (n_stimuli, t)

    Returns
    -------
    np.ndarray, (t,), float64
        NaN where either column is constant or holds a NaN.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> pearson_r([[1.0], [2], [4]], [[2.0], [4], [8]]).round(6)
    array([1.])
    """
    predicted, measured = _pair(predictions, responses)
    x, y = (_unit(array) for array in (predicted, measured))
    return np.clip((x * y).sum(axis=0), -1, 1)


def r2(predictions: ArrayLike, responses: ArrayLike) -> np.ndarray:
    """Coefficient of determination of each column, 1 − Σ(y − ŷ)² / Σ(y − ȳ)².

    Parameters
    ----------
    predictions, responses : array_like, (n_stimuli, t)

    Returns
    -------
    np.ndarray, (t,), float64
        At most 1; negative where the mean would predict better. NaN where the response is constant
        or a column holds a NaN.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> r2([[1.0], [2], [3]], [[1.0], [2], [3]])
    array([1.])
    """
    predicted, measured = _pair(predictions, responses)
    return _explained(measured - predicted, measured)


def explained_variance(predictions: ArrayLike, responses: ArrayLike) -> np.ndarray:
    """Explained variance of each column, 1 − var(y − ŷ) / var(y): `r2` but for a constant offset.

    Parameters
    ----------
    predictions, responses : array_like, (n_stimuli, t)

    Returns
    -------
    np.ndarray, (t,), float64
        As for `r2`.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> explained_variance([[2.0], [3], [4]], [[1.0], [2], [3]])
    array([1.])
    """
    predicted, measured = _pair(predictions, responses)
    residuals = measured - predicted
    return _explained(residuals - residuals.mean(axis=0), measured)


SCORE_TYPES: Registry[Callable[[ArrayLike, ArrayLike], np.ndarray]] = Registry("score type")
SCORE_TYPES.add("pearsonr", pearson_r)
SCORE_TYPES.add("r2", r2)
SCORE_TYPES.add("explained_variance", explained_variance)


def _pair(predictions: ArrayLike, responses: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    predicted = np.asarray(predictions, dtype=np.float64)
    measured = np.asarray(responses, dtype=np.float64)
    if predicted.ndim != 2 or predicted.shape != measured.shape or len(predicted) == 0:
        raise ValueError(
            "score: expected predictions and responses of one shape, (n_stimuli, n_targets), got "
            f"{predicted.shape} and {measured.shape}. Give a single target an axis: y[:, None]."
        )
    return predicted, measured


def _constant(columns: np.ndarray) -> np.ndarray:
    """Columns that do not vary beyond rounding, (t,) of bool."""
    rounding = _ROUNDINGS * np.finfo(np.float64).eps * np.abs(columns).max(axis=0)
    return np.ptp(columns, axis=0) <= rounding


def _unit(columns: np.ndarray) -> np.ndarray:
    """Columns centred and of length one; NaN where constant."""
    centred = columns - columns.mean(axis=0)
    scale = np.where(_constant(columns), np.nan, np.abs(centred).max(axis=0))
    # Scaled by the largest first: squares of tiny values must not underflow.
    centred = centred / scale
    return centred / np.linalg.norm(centred, axis=0)


def _explained(residuals: np.ndarray, measured: np.ndarray) -> np.ndarray:
    total = ((measured - measured.mean(axis=0)) ** 2).sum(axis=0)
    total = np.where(_constant(measured), np.nan, total)
    return 1 - (residuals**2).sum(axis=0) / total
