"""Batches of preprocessed stimuli, decoded ahead of the model."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from isomorph.extraction.batches import Step, batch_size_of
from isomorph.extraction.groups import Grouping
from isomorph.extraction.model import Batch, Model
from isomorph.extraction.providers import provide_stimuli

DECODE_THREADS = max(4, min(8, os.cpu_count() or 1))


class Inputs:
    """The stimuli as the model takes them, batch after batch.

    Decoding and preprocessing run in threads one batch ahead of the model (Pillow and torch
    release the interpreter lock for the heavy part). Preprocessed batches are kept for the next
    pass if all of them fit in `keep_bytes`.

    Parameters
    ----------
    model : Model
        Whose preprocessing to apply.
    stimuli
        What `as_stimuli` takes; a tensor, or a mapping of named tensors, taken as preprocessed,
        first axis stimuli; a torch ``Dataset`` or ``DataLoader`` whose order is fixed.
    batch_size : int
        Stimuli a batch.
    keep_bytes : int
        How much memory the preprocessed stimuli may take between passes.
    workers : int, optional
        Threads that decode.
    group : {"mean", "stack"}, optional
        Give one row for each group of stimuli (the captions of an image, the frames of a clip).
    on_error : {"raise", "skip"}
        What to do with a stimulus that cannot be decoded. ``"skip"`` decodes all of them once
        before the work starts, to know which are left.

    Attributes
    ----------
    ids : tuple of str
        Names of the rows that come out: stimuli, or groups.
    stimuli
        The set that the rows are made of, in its own order.
    skipped : tuple of str
        Stimuli that were left out.
    keep_bytes : int
        As given; 0 where one pass is enough and nothing need be kept for the next.
    """

    def __init__(
        self,
        model: Model,
        stimuli: Any,
        *,
        batch_size: int = 64,
        keep_bytes: int = 0,
        workers: int | None = None,
        group: str | None = None,
        on_error: str = "raise",
    ) -> None:
        _check_options(batch_size, workers, on_error)
        self.model = model
        self._provider, self.skipped = provide_stimuli(model, stimuli, on_error)
        self.stimuli = self._provider.stimuli
        self.workers = workers or DECODE_THREADS
        self.grouping = Grouping.of(self._provider.groups, group) if group else None
        self.keep_bytes = keep_bytes
        self._kept: dict[int, Batch] = {}
        self._order = (
            np.arange(len(self._provider.ids)) if self.grouping is None else self.grouping.order
        )
        self._n_rows = len(self.ids)
        self.cut(batch_size)

    @property
    def ids(self) -> tuple[str, ...]:
        return self._provider.ids if self.grouping is None else self.grouping.names

    @property
    def stimulus_ids(self) -> tuple[str, ...]:
        """Names of all stimuli, in the order of the set."""
        return self._provider.ids

    @property
    def origin(self) -> str:
        """Where the order comes from, in words."""
        return self._provider.origin

    def __len__(self) -> int:
        """Number of rows that come out."""
        return self._n_rows

    @property
    def n_stimuli(self) -> int:
        """Number of stimuli that run through the model."""
        return len(self._provider.ids)

    def content_hashes(self) -> tuple[str, ...]:
        """Hash each stimulus."""
        return self._provider.content_hashes()

    def first(self, n: int) -> Batch:
        """Give the first `n` inputs as one batch; fewer stimuli are repeated to make `n`."""
        return self._stack([self._load(i % self.n_stimuli) for i in range(n)])

    def spread(self, n: int) -> Batch:
        """Give `n` inputs from all over the set as one batch, so that they are of several kinds.

        The halves of the batch are spread too; fewer stimuli are repeated.
        """
        places = np.linspace(0, self.n_stimuli - 1, n).round().astype(int)
        order = np.concatenate([places[::2], places[1::2]])
        return self._stack([self._load(int(i)) for i in order])

    def head(self, n: int) -> Inputs:
        """Give the first rows, of `n` stimuli or a few more, as one batch."""
        rows, last = min(n, len(self)), min(n, self.n_stimuli)
        if self.grouping is not None:
            sizes = np.cumsum(self.grouping.sizes)
            rows = int(np.searchsorted(sizes, last)) + 1
            last = int(sizes[rows - 1])
        part = copy.copy(self)
        part._spans, part._n_rows, part._kept = [(0, 0, last)], rows, {}
        return part

    def starts(self) -> list[int]:
        """Give the row at which each batch starts, and the number of rows at the end."""
        return [start for start, _, _ in self._spans] + [len(self)]

    def steps(self, start: int = 0) -> Iterator[Step]:
        """Yield the batches from the row `start` on, which must be the first of a batch."""
        spans = [span for span in self._spans if span[0] >= start]
        ready = getattr(self._provider, "batch", None)
        if ready is not None:
            for row, first, last in spans:
                yield Step(ready(self._order[first:last]), row, self._sizes(row, first, last))
            return
        with ThreadPoolExecutor(self.workers, thread_name_prefix="isomorph-decode") as pool:
            ahead: dict[int, list[Future[Any]]] = {}
            try:
                for number, (row, first, last) in enumerate(spans):
                    for soon in spans[number : number + 2]:
                        if soon[0] not in ahead and soon[0] not in self._kept:
                            which = self._order[soon[1] : soon[2]]
                            ahead[soon[0]] = [pool.submit(self._load, int(i)) for i in which]
                    batch = self._batch(row, ahead.pop(row, []))
                    yield Step(batch, row, self._sizes(row, first, last))
            finally:
                for futures in ahead.values():
                    for future in futures:
                        future.cancel()

    def cut(self, batch_size: int) -> None:
        """Cut the stimuli into batches. A group is never cut: a batch may be larger than asked."""
        self.batch_size = batch_size
        self._kept.clear()
        # (first row, first position, last position) of each batch.
        self._spans: list[tuple[int, int, int]] = []
        sizes = (1,) * self.n_stimuli if self.grouping is None else self.grouping.sizes
        row = first = last = 0
        for number, size in enumerate(sizes):
            if last > first and last - first + size > batch_size:
                self._spans.append((row, first, last))
                row, first = number, last
            last += size
        self._spans.append((row, first, last))
        if self.grouping is None and len(self._spans) > 1 and batch_size > 2:
            self._spare_the_last()

    def _spare_the_last(self) -> None:
        """Let the last batch have two: some models squeeze a batch of one away."""
        _, before, middle = self._spans[-2]
        row, first, last = self._spans[-1]
        if last - first == 1:
            self._spans[-2:] = [(before, before, middle - 1), (row - 1, first - 1, last)]

    def stimuli_before(self, row: int) -> int:
        """Number of stimuli in the batches before a row."""
        return sum(last - first for start, first, last in self._spans if start < row)

    def _sizes(self, row: int, first: int, last: int) -> tuple[int, ...] | None:
        if self.grouping is None:
            return None
        sizes: list[int] = []
        while sum(sizes) < last - first:
            sizes.append(self.grouping.sizes[row + len(sizes)])
        return tuple(sizes)

    def _batch(self, start: int, futures: list[Future[Any]]) -> Batch:
        if start in self._kept:
            return self._kept[start]
        batch = self._stack([future.result() for future in futures])
        if _bytes_of(batch) / batch_size_of(batch) * self.n_stimuli <= self.keep_bytes:
            self._kept[start] = batch
        return batch

    def _load(self, i: int) -> Any:
        return self._provider.item(i)

    def _stack(self, items: Sequence[Any]) -> Batch:
        if isinstance(items[0], Mapping):
            return {name: self._stack([item[name] for item in items]) for name in items[0]}  # type: ignore[misc]
        shapes = {tuple(item.shape) for item in items}
        if len(shapes) > 1:
            raise ValueError(
                f"{self.model.uid}: expected preprocessing to give every stimulus one shape, got "
                f"{sorted(shapes)}. Resize to a fixed size in preprocess=."
            )
        return torch.stack(list(items))


def _check_options(batch_size: int, workers: int | None, on_error: str) -> None:
    for name, value in (("batch_size", batch_size), ("workers", workers)):
        if value is None and name == "workers":
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}: expected a whole number of 1 or more, got {value!r}.")
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error: expected 'raise' or 'skip', got {on_error!r}.")


def _bytes_of(batch: Batch) -> int:
    tensors = batch.values() if isinstance(batch, Mapping) else [batch]
    return sum(tensor.nbytes for tensor in tensors)
