"""Batches on their way through the model: tensors, or named ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from isomorph.extraction.model import Batch

# Names, in a batch of named tensors, of what the model is not given by name: inputs that it takes
# as one plain tensor, and a mask of the padding that it has no use for.
PLAIN = ""
PADDING_MASK = "(padding mask)"


@dataclass(frozen=True)
class Step:
    """One batch on its way through the model.

    Parameters
    ----------
    inputs : Batch
        What the model takes.
    start : int
        Position of its first row among the rows that come out (stimuli, or groups of them).
    sizes : tuple of int or None
        How many stimuli each row is made of, where stimuli are grouped.
    """

    inputs: Batch
    start: int
    sizes: tuple[int, ...] | None = None

    @property
    def n_stimuli(self) -> int:
        """How many stimuli run through the model."""
        return batch_size_of(self.inputs)

    @property
    def n_rows(self) -> int:
        """How many rows come out."""
        return self.n_stimuli if self.sizes is None else len(self.sizes)

    @property
    def mask(self) -> torch.Tensor | None:
        """(n_stimuli, n_tokens), 1 where a token is real; None where nothing is padded."""
        if isinstance(self.inputs, Mapping):
            return self.inputs.get(PADDING_MASK, self.inputs.get("attention_mask"))
        return None

    def halves(self) -> tuple[Step, Step]:
        """Two steps of half the rows each."""
        rows = self.n_rows // 2
        middle = rows if self.sizes is None else sum(self.sizes[:rows])
        sizes = (None, None) if self.sizes is None else (self.sizes[:rows], self.sizes[rows:])
        return (
            Step(take(self.inputs, slice(0, middle)), self.start, sizes[0]),
            Step(take(self.inputs, slice(middle, None)), self.start + rows, sizes[1]),
        )


def batch_size_of(batch: Batch) -> int:
    """Number of stimuli in a batch."""
    return len(next(iter(batch.values()))) if isinstance(batch, Mapping) else len(batch)


def take(batch: Batch, rows: slice | list[int]) -> Batch:
    """Some stimuli of a batch."""
    if isinstance(batch, Mapping):
        return {name: tensor[rows] for name, tensor in batch.items()}
    return batch[rows]


def fresh_on(batch: Batch, device: torch.device, *, channels_last: bool = False) -> Batch:
    """Give what the model takes, on a device.

    It is a copy: a model's first operation may be in place, and batches are kept.
    """
    if isinstance(batch, Mapping):
        batch = {name: tensor for name, tensor in batch.items() if name != PADDING_MASK}
        if set(batch) == {PLAIN}:
            batch = batch[PLAIN]
    if isinstance(batch, Mapping):
        return {name: _fresh(tensor, device) for name, tensor in batch.items()}
    moved = _fresh(batch, device)
    if channels_last and moved.ndim == 4:
        moved = moved.contiguous(memory_format=torch.channels_last)
    return moved


def _fresh(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    return tensor.to(device, non_blocking=True) if tensor.device != device else tensor.clone()
