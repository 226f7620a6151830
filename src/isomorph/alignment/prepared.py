"""Both sides of a comparison: what a measure does with one item alone, then with two.

A table of many items by many does the work of each item once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from isomorph.geometry import Gram, as_tensor

if TYPE_CHECKING:
    from isomorph.alignment.measure import Measure


class UndefinedScoreError(ValueError):
    """Two representations that a measure says nothing of; its message is the reason in the table.

    A lower-case clause without an end: "the layer's features are constant".
    """


@dataclass(frozen=True, eq=False)
class Prepared:
    """One side of a comparison, after a measure's `prepare`.

    Parameters
    ----------
    n_stimuli : int
    content : object
        What the measure's `compute` takes; None where the item is undefined.
    reason : str
        Why it is undefined.
    """

    n_stimuli: int
    content: Any
    reason: str = ""


def prepare_item(
    measure: Measure, item: Gram | torch.Tensor, options: Mapping[str, Any]
) -> Prepared:
    """Do a measure's work on one item alone; the reason where the item is undefined."""
    n_stimuli = item.n_stimuli if isinstance(item, Gram) else len(item)
    if n_stimuli < measure.min_stimuli:
        reason = f"{n_stimuli} stimuli; {measure.name} needs {measure.min_stimuli}"
        return Prepared(n_stimuli, None, reason)
    if measure.prepare is None:
        return Prepared(n_stimuli, item)
    try:
        return Prepared(n_stimuli, measure.prepare(item, **options))
    except UndefinedScoreError as error:
        return Prepared(n_stimuli, None, str(error))


def compare_prepared(
    measure: Measure,
    firsts: Sequence[Prepared],
    seconds: Sequence[Prepared],
    options: Mapping[str, Any],
) -> tuple[np.ndarray, Counter[str]]:
    """Compare every prepared item with every other.

    Returns
    -------
    values : np.ndarray, (n_first, n_second)
        NaN where undefined.
    reasons : Counter
        Why, and for how many pairs.
    """
    values = np.full((len(firsts), len(seconds)), np.nan)
    reasons: Counter[str] = Counter()
    mirrored = measure.symmetric and firsts is seconds
    if measure.table is not None:
        rows = [i for i, item in enumerate(firsts) if not item.reason]
        columns = [j for j, item in enumerate(seconds) if not item.reason]
        if rows and columns:
            found = measure.table(
                [firsts[i].content for i in rows], [seconds[j].content for j in columns], **options
            )
            values[np.ix_(rows, columns)] = found
    for i, one in enumerate(firsts):
        for j, other in enumerate(seconds):
            if mirrored and j < i:
                values[i, j] = values[j, i]
                continue
            if np.isnan(values[i, j]):
                values[i, j], reason = value_of_prepared(measure, one, other, options)
                reasons.update([reason] * (2 if mirrored and j > i else 1) if reason else [])
    return values, reasons


def value_of_prepared(
    measure: Measure, first: Prepared, second: Prepared, options: Mapping[str, Any]
) -> tuple[float, str]:
    """Compute a measure of prepared items; NaN and the reason where it is undefined."""
    reason = first.reason or second.reason
    if reason:
        return float("nan"), reason
    try:
        value = float(measure.compute(first.content, second.content, **options))
    except UndefinedScoreError as error:
        return float("nan"), str(error)
    return value, "" if np.isfinite(value) else f"{measure.name} gave {value}"


def value_of(
    measure: Measure, first: Any, second: Any, options: Mapping[str, Any]
) -> tuple[float, str]:
    """Compute a measure of Grams or features; NaN and the reason where it is undefined."""
    sides = [prepare_item(measure, item, options) for item in (first, second)]
    return value_of_prepared(measure, sides[0], sides[1], options)


def finite_features(features: torch.Tensor | ArrayLike) -> torch.Tensor:
    """Features as a finite float tensor (n_stimuli, n_features); float64 stays."""
    tensor = as_tensor(features).detach()  # pyright: ignore[reportArgumentType]
    if tensor.ndim == 0 or tensor.numel() == 0:
        raise ValueError(
            "features: expected (n_stimuli, n_features, ...) with one or more of each, got "
            f"{tuple(tensor.shape)}."
        )
    flat = tensor.reshape(len(tensor), -1)
    flat = flat if flat.dtype == torch.float64 else flat.float()
    bad = int((~torch.isfinite(flat)).sum())
    if bad:
        raise ValueError(
            f"features: expected finite numbers, got {bad} of {flat.numel()} that are not. "
            "Leave those stimuli out."
        )
    return flat
