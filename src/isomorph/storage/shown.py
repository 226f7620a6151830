"""How a result shows itself: arrays by their shape, so that a terminal is not flooded."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any


def shown_by_shape(self: Any) -> str:
    """Write a dataclass in a line, its arrays by their shapes: for use as ``__repr__``.

    Examples
    --------
    >>> import numpy as np
    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Fit:
    ...     scores: np.ndarray
    ...     share: float
    ...     __repr__ = shown_by_shape
    >>> Fit(np.zeros((3, 2)), 0.5)
    Fit(scores=(3, 2), share=0.5)
    """
    parts = [f"{item.name}={_short(getattr(self, item.name))}" for item in fields(self)]
    return f"{type(self).__name__}({', '.join(parts)})"


def _short(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if shape is not None and len(shape):
        return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
    if is_dataclass(value):
        return f"{type(value).__name__}(…)"
    if isinstance(value, list | tuple) and len(value) > 3:
        return f"{len(value)} of {type(value[0]).__name__}"
    return f"{float(value):.6g}" if isinstance(value, float) else repr(value)
