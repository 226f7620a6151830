"""Batches of preprocessed stimuli, decoded ahead of the model."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch

from isomorph.extraction.model import Model
from isomorph.stimuli import ImageSet, as_stimuli

DECODE_THREADS = 4


class Inputs:
    """The stimuli as the model takes them, batch after batch.

    Decoding and preprocessing run in threads one batch ahead of the model (Pillow and torch
    release the interpreter lock for the heavy part). Preprocessed batches are kept for the next
    pass if all of them fit in `keep_bytes`.

    Parameters
    ----------
    model : Model
        Whose preprocessing to apply.
    stimuli : ImageSet or torch.Tensor or what `as_stimuli` takes
        A tensor is taken as preprocessed already, first axis stimuli.
    batch_size : int
        Stimuli a batch.
    keep_bytes : int
        How much memory the preprocessed stimuli may take between passes.
    """

    def __init__(
        self, model: Model, stimuli: Any, *, batch_size: int = 64, keep_bytes: int = 0
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size: expected 1 or more, got {batch_size}.")
        self.model = model
        self.stimuli: ImageSet | torch.Tensor = (
            stimuli if isinstance(stimuli, torch.Tensor) else as_stimuli(stimuli)
        )
        if not isinstance(self.stimuli, torch.Tensor) and model.preprocess is None:
            raise ValueError(
                f"{model.uid}: expected a preprocess= to turn images into inputs, got none. Give "
                f"Model(module, preprocess), or pass the stimuli as one preprocessed tensor."
            )
        if len(self.stimuli) == 0:
            raise ValueError("stimuli: expected one or more, got none.")
        self.batch_size = batch_size
        self._keep_bytes = keep_bytes
        self._kept: dict[int, torch.Tensor] = {}

    def __len__(self) -> int:
        return len(self.stimuli)

    def first(self, n: int) -> torch.Tensor:
        """Give the first `n` inputs as one batch; fewer stimuli are repeated to make `n`."""
        return self._stack([self._load(i % len(self)) for i in range(n)])

    def batches(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield (position of the first stimulus, batch)."""
        starts = range(0, len(self), self.batch_size)
        if isinstance(self.stimuli, torch.Tensor):
            for start in starts:
                yield start, self.stimuli[start : start + self.batch_size]
            return
        with ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="isomorph-decode") as pool:
            ahead: dict[int, list[Future[torch.Tensor]]] = {}
            try:
                for start in starts:
                    for soon in (start, start + self.batch_size):
                        if soon < len(self) and soon not in ahead and soon not in self._kept:
                            stop = min(soon + self.batch_size, len(self))
                            ahead[soon] = [pool.submit(self._load, i) for i in range(soon, stop)]
                    yield start, self._batch(start, ahead.pop(start, []))
            finally:
                for futures in ahead.values():
                    for future in futures:
                        future.cancel()

    def _batch(self, start: int, futures: list[Future[torch.Tensor]]) -> torch.Tensor:
        if start in self._kept:
            return self._kept[start]
        batch = self._stack([future.result() for future in futures])
        if batch[0].nbytes * len(self) <= self._keep_bytes:
            self._kept[start] = batch
        return batch

    def _load(self, i: int) -> torch.Tensor:
        if isinstance(self.stimuli, torch.Tensor):
            return self.stimuli[i]
        assert self.model.preprocess is not None
        item = self.model.preprocess(self.stimuli.load(i))
        if not isinstance(item, torch.Tensor):
            raise TypeError(
                f"{self.model.uid}: expected preprocess= to turn a PIL image into a tensor, got "
                f"{type(item).__name__}."
            )
        return item

    def _stack(self, items: list[torch.Tensor]) -> torch.Tensor:
        shapes = {tuple(item.shape) for item in items}
        if len(shapes) > 1:
            raise ValueError(
                f"{self.model.uid}: expected preprocessing to give every stimulus one shape, got "
                f"{sorted(shapes)}. Resize to a fixed size in preprocess=."
            )
        return torch.stack(items)
