"""Taking a module's output apart: tensors inside tuples, dicts and dataclasses, by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import torch

UNPROPORTIONAL = "grows with the batch, but not in proportion"
COMPARED_FEATURES = 16_384
UNSTEADY = "not called in the same way for every batch"
MIXED = "a stimulus's values change with its batch (random, or stimuli are mixed)"


def leaves(output: Any, key: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Yield every tensor of a module's output with its place in it.

    A lone tensor has the place ``""``; a tuple's second ``"[1]"``; a dict's or dataclass's
    ``"[name]"``; nested ones join, ``"[0][name]"``. What is no tensor is passed over.

    Examples
    --------
    >>> [place for place, _ in leaves((torch.ones(2), {"attn": torch.ones(2)}))]
    ['[0]', '[1][attn]']
    """
    if isinstance(output, torch.Tensor):
        yield key, output
    elif isinstance(output, Mapping):
        for name, item in output.items():
            yield from leaves(item, f"{key}[{name}]")
    elif isinstance(output, tuple | list):
        for index, item in enumerate(output):
            yield from leaves(item, f"{key}[{index}]")
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        for part in dataclasses.fields(output):
            yield from leaves(getattr(output, part.name), f"{key}[{part.name}]")


def layer_name(path: str, call: int, leaf: str) -> str:
    """Name a layer: its path, ``#1`` for a module's second call, and the place in its output."""
    return f"{path or '(root)'}{f'#{call}' if call else ''}{leaf}"


@dataclasses.dataclass(frozen=True)
class BatchAxis:
    """Where the stimuli are in a module's output.

    Parameters
    ----------
    axis : int
        The axis that grows with the batch.
    factor : int
        How many entries of that axis belong to one stimulus (the windows of window attention).
    stimuli_first : bool
        Whether, with a factor, a stimulus's entries lie together (batch × windows) or apart.
    """

    axis: int
    factor: int = 1
    stimuli_first: bool = True

    def stimuli_leading(self, output: torch.Tensor) -> torch.Tensor:
        """Give the output as (n_stimuli, ...), a view where that is possible."""
        if self.factor > 1:
            size = output.shape[self.axis] // self.factor
            parts = (size, self.factor) if self.stimuli_first else (self.factor, size)
            output = output.unflatten(self.axis, parts)
            return output.movedim(self.axis + (0 if self.stimuli_first else 1), 0)
        return output.movedim(self.axis, 0) if self.axis else output


def forced_batch_axis(
    small: torch.Tensor, large: torch.Tensor, n_small: int, n_large: int, axis: int
) -> BatchAxis | str:
    """Take the axis that a caller named, if its length fits the number of stimuli.

    Parameters
    ----------
    small, large : torch.Tensor
        A module's output for `n_small` and for `n_large` stimuli.
    n_small, n_large : int
        Numbers of stimuli, different.
    axis : int
        Counted from the end if negative.

    Returns
    -------
    BatchAxis or str
        The axis, or the reason why it cannot be that one.
    """
    if not -small.ndim <= axis < small.ndim or small.ndim != large.ndim:
        return f"input_dim names axis {axis}, but it has {small.ndim}"
    axis %= small.ndim
    factor, rest = divmod(small.shape[axis], n_small)
    if rest or not factor or large.shape[axis] != factor * n_large:
        return (
            f"input_dim names axis {axis}, which has {small.shape[axis]} entries for {n_small} "
            f"stimuli and {large.shape[axis]} for {n_large}"
        )
    others = [i for i in range(small.ndim) if i != axis and small.shape[i] != large.shape[i]]
    if others:
        return f"input_dim names axis {axis}, but axis {others[0]} changes with the batch too"
    return BatchAxis(axis, factor)


def find_batch_axis(
    small: torch.Tensor, large: torch.Tensor, n_small: int, n_large: int
) -> BatchAxis | str:
    """Find the axis that holds the stimuli, from the outputs for two batches.

    The larger batch begins with the stimuli of the smaller one, so that an axis is not only found
    by its growth but checked: the values of the shared stimuli must agree.

    Parameters
    ----------
    small, large : torch.Tensor
        A module's output for `n_small` and for `n_large` stimuli.
    n_small, n_large : int
        Numbers of stimuli, different.

    Returns
    -------
    BatchAxis or str
        The axis, or the reason why there is none.
    """
    if small.ndim != large.ndim or small.ndim == 0:
        return "does not scale with the batch"
    grown = [axis for axis in range(small.ndim) if small.shape[axis] != large.shape[axis]]
    if not grown:
        return "does not scale with the batch"
    if len(grown) > 1:
        return "more than one axis changes with the batch"
    axis = grown[0]
    factor, rest = divmod(small.shape[axis], n_small)
    if rest or not factor or large.shape[axis] != factor * n_large:
        return UNPROPORTIONAL
    orders = (True,) if factor == 1 else (True, False)
    candidates = [BatchAxis(axis, factor, stimuli_first) for stimuli_first in orders]
    for candidate in candidates:
        first = _some(candidate.stimuli_leading(small))
        second = _some(candidate.stimuli_leading(large)[:n_small])
        if not (torch.isfinite(first).all() and torch.isfinite(second).all()):
            return "it holds values that are not finite (NaN or infinite)"
        if _agree(first, second):
            return candidate
    return MIXED


def turns_along(found: BatchAxis, large: torch.Tensor, turned: torch.Tensor) -> str:
    """Say what is wrong if two stimuli, in reversed order behind others, have other values.

    Parameters
    ----------
    found : BatchAxis
    large, turned : torch.Tensor
        A module's output for stimuli (0, 1, 2), and for some others and then (1, 0).

    Returns
    -------
    str
        The reason why the output cannot be read; empty if all is well.
    """
    shapes = [list(output.shape) for output in (large, turned)]
    lengths = [shape.pop(found.axis) if len(shape) > found.axis else 0 for shape in shapes]
    if shapes[0] != shapes[1] or lengths[1] % found.factor:
        return UNSTEADY
    first = _some(found.stimuli_leading(large))[[1, 0]]
    second = _some(found.stimuli_leading(turned))[-2:]
    return "" if first.shape == second.shape and _agree(first, second) else MIXED


def _some(rows: torch.Tensor) -> torch.Tensor:
    """Some features of every stimulus, from all over: enough to tell stimuli apart."""
    flat = rows.flatten(start_dim=1) if rows.ndim > 1 else rows[:, None]
    # An odd step does not fall in with the sizes of images.
    step = (flat.shape[1] // COMPARED_FEATURES) | 1
    return flat[:, ::step]


def _agree(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Equal up to the rounding that another batch size brings."""
    if not first.is_floating_point():
        return torch.equal(first, second)
    if not first.numel():
        return True
    first, second = first.double(), second.double()
    # Against the spread of the values and not their size, which an offset makes as large as it
    # likes; and against the rounding of that size.
    tolerance = 1e-2 * first.std(correction=0) + 1e-5 * first.abs().max()
    return bool(((first - second).abs() <= tolerance).all())
