"""Walk over the columns of a feature matrix in blocks: conversion, moments, weights.

A layer may be larger than what is free, so nothing here copies more than one block of columns, and
nothing changes its input.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from isomorph.registry import unknown_name

BLOCK_BYTES = 64_000_000
SCALING_KINDS = ("floored", "standard")


@dataclass(frozen=True)
class Scaling:
    """Divide each column by its spread over the training stimuli.

    Parameters
    ----------
    stimuli : sequence of int
        Positions of the training stimuli; their mean is subtracted too.
    kind : {"floored", "standard"}
        ``"floored"`` divides by sqrt(s² + mean s²), s² the population variance of the column over
        the training stimuli and mean s² its mean over all columns: a unit that is silent on all but
        one training stimulus has a tiny s and would explode on a test stimulus. If no column
        varies, nothing is divided. ``"standard"`` divides by s, or by 1 where the column is
        constant, as scikit-learn's ``StandardScaler`` does.

    Examples
    --------
    >>> Scaling(range(0, 6, 2)).stimuli
    (0, 2, 4)
    """

    stimuli: tuple[int, ...]
    kind: Literal["floored", "standard"] = "floored"

    def __post_init__(self) -> None:
        if self.kind not in SCALING_KINDS:
            raise unknown_name("scaling", self.kind, SCALING_KINDS)
        object.__setattr__(self, "stimuli", tuple(int(position) for position in self.stimuli))
        if not self.stimuli:
            raise ValueError("Scaling: expected at least one training stimulus, got none.")


@dataclass(frozen=True)
class ColumnScale:
    """What a scaling does to each column: (x − shift) · weight, both (n_features,)."""

    shift: torch.Tensor
    weight: torch.Tensor


def as_tensor(array: torch.Tensor | np.ndarray) -> torch.Tensor:
    """A tensor on an array's memory, which may be read-only (a mapped file): nothing is written."""
    if isinstance(array, torch.Tensor):
        return array
    array = np.asarray(array)  # a list or a table of pandas as well
    if any(stride < 0 for stride in array.strides):  # a reversed view, which torch has not
        array = array.copy()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writ")
        return torch.as_tensor(array)


def as_features(features: torch.Tensor | np.ndarray) -> torch.Tensor:
    """Features as a two-dimensional tensor, (n_stimuli, n_features), without a copy where possible.

    Raises
    ------
    ValueError
        If there is no feature axis, nothing in it, or the numbers are complex.
    """
    tensor = as_tensor(features)
    if tensor.ndim < 2 or tensor.numel() == 0 or tensor.is_complex():
        raise ValueError(
            "features: expected real numbers of shape (n_stimuli, n_features, …), stimuli first, "
            f"got {tensor.dtype} of shape {tuple(tensor.shape)}."
        )
    return tensor.detach().flatten(start_dim=1)


def working_dtype(features: torch.Tensor) -> torch.dtype:
    """float64 stays; everything else (half, integers, bytes) is worked on in float32."""
    return torch.float64 if features.dtype == torch.float64 else torch.float32


def column_slices(features: torch.Tensor, block_bytes: int) -> Iterator[slice]:
    """Slices of the columns, each block of which takes about ``block_bytes``."""
    n, p = features.shape
    width = max(1, block_bytes // (n * working_dtype(features).itemsize))
    return (slice(start, min(start + width, p)) for start in range(0, p, width))


def _rows(features: torch.Tensor, stimuli: Sequence[int]) -> torch.Tensor | None:
    """A view of evenly spaced rows (every second one, say), or None where they are not."""
    first, last = stimuli[0], stimuli[-1]
    step = stimuli[1] - first if len(stimuli) > 1 else 1
    if step > 0 and list(stimuli) == list(range(first, last + 1, step)):
        return features[first : last + 1 : step]
    return None


def column_scale(
    features: torch.Tensor, scaling: Scaling, block_bytes: int = BLOCK_BYTES
) -> ColumnScale:
    """Shift and weight of every column under a scaling, in one walk over the training rows.

    Parameters
    ----------
    features : torch.Tensor, (n_stimuli, n_features)
    scaling : Scaling
    block_bytes : int
        Size of a block of columns.

    Returns
    -------
    ColumnScale

    Raises
    ------
    ValueError
        If a training stimulus is out of range.
    NonFiniteError
        If a feature is not finite.
    """
    n, p = features.shape
    if min(scaling.stimuli) < 0 or max(scaling.stimuli) >= n:
        raise ValueError(
            f"Scaling: expected training stimuli from 0 to {n - 1}, got {min(scaling.stimuli)} to "
            f"{max(scaling.stimuli)}. Give positions among the stimuli of the features."
        )
    dtype, device = working_dtype(features), features.device
    means = torch.empty(p, dtype=dtype, device=device)
    variances = torch.empty(p, dtype=torch.float64, device=device)
    view = _rows(features, scaling.stimuli)
    index = torch.as_tensor(scaling.stimuli, device=device)
    for columns in column_slices(features, block_bytes):
        chosen = features[:, columns].index_select(0, index) if view is None else view[:, columns]
        means[columns], variances[columns] = _moments(chosen.to(dtype))
    require_finite(features, means, block_bytes)
    return ColumnScale(means, _weights(variances, scaling.kind).to(dtype))


def _moments(block: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and population variance of each column, (p,); exact for a constant column."""
    mean = block.mean(dim=0)
    # Two passes: the mean is subtracted before squaring, so nothing cancels.
    centred = block - mean
    variance = centred.square_().mean(dim=0).double()
    # A constant column's mean may be rounded, which leaves a tiny false variance. Only columns
    # whose variance is within reach of that rounding are looked at again.
    rounding = block.shape[0] * torch.finfo(block.dtype).eps * mean.double().abs()
    doubtful = torch.nonzero((variance > 0) & (variance <= rounding.square())).flatten()
    if doubtful.numel():
        first = block[0, doubtful]
        constant = (block[:, doubtful] == first).all(dim=0)
        variance[doubtful[constant]] = 0
        mean[doubtful[constant]] = first[constant]
    return mean, variance


def _weights(variances: torch.Tensor, kind: str) -> torch.Tensor:
    if kind == "floored":
        variances = variances + variances.mean()
    return torch.where(variances > 0, variances.clamp(min=0).rsqrt(), 1.0)


class NonFiniteError(ValueError):
    """Features that are not finite, or whose squares are not.

    Examples
    --------
    >>> issubclass(NonFiniteError, ValueError)
    True
    """


def require_finite(features: torch.Tensor, sums: torch.Tensor, block_bytes: int) -> None:
    """Raise if sums over the features are not finite, and say how many features are not."""
    if bool(torch.isfinite(sums).all()):
        return
    bad = sum(
        int((~torch.isfinite(features[:, columns])).sum())
        for columns in column_slices(features, block_bytes)
    )
    if bad:
        raise NonFiniteError(
            f"features: {bad} of {features.numel()} values are not finite (NaN or infinite). "
            "Check the model's inputs and precision, or leave this layer out."
        )
    raise NonFiniteError(
        f"features: values too large to be squared in {working_dtype(features)}. "
        "Pass them as float64."
    )
