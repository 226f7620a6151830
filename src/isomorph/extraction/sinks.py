"""Sinks: what takes a layer's output at its hook, row block after row block."""

from __future__ import annotations

import logging
from typing import Any, Protocol

import numpy as np
import scipy.sparse
import torch

from isomorph.extraction.layer import Layer
from isomorph.geometry import Moments, RunningMoments, project, sparse_projection_matrix

logger = logging.getLogger(__name__)


class Sink(Protocol):
    """Takes rows in order; the same rows may come again after a batch that ran out of memory."""

    def take(self, start: int, rows: torch.Tensor) -> None:
        """Take (n_rows, ...) that begin at row `start`; copy what is kept."""
        ...

    def give(self) -> Any:
        """Give what was made of all rows."""
        ...


class BufferSink:
    """Keeps rows, or some of their flattened features, in a buffer.

    Parameters
    ----------
    buffer : torch.Tensor, (n_rows, n_features)
    columns : tuple of (int, int) or None
        Which of the flattened features.
    layer : str
        Its name, for what is said of it.

    Raises
    ------
    ValueError
        If rows of another width come.
    RuntimeError
        If rows are left out.
    """

    def __init__(
        self, buffer: torch.Tensor, columns: tuple[int, int] | None = None, layer: str = ""
    ) -> None:
        self.buffer, self._columns, self._layer = buffer, columns, layer
        self._filled = 0
        self._overflow = Overflow(layer)

    def take(self, start: int, rows: torch.Tensor) -> None:
        flat = _flat(rows)
        if self._columns is not None:
            flat = flat[:, slice(*self._columns)]
        # A copy would spread one column over all.
        if flat.shape[1] != self.buffer.shape[1]:
            raise ValueError(
                f"layer {self._layer}: expected {self.buffer.shape[1]} features for each "
                f"stimulus, got {flat.shape[1]} for a batch of {len(flat)}."
            )
        if start > self._filled:
            raise RuntimeError(self._hole(f"{start} come"))
        self._filled = max(self._filled, start + len(flat))
        kept = self.buffer[start : start + len(flat)]
        kept.copy_(flat)
        self._overflow.check(flat, kept)

    def give(self) -> torch.Tensor:
        if self._filled < len(self.buffer):
            raise RuntimeError(self._hole(f"{len(self.buffer)} are the end"))
        return self.buffer

    def _hole(self, then: str) -> str:
        return (
            f"layer {self._layer}: expected its rows one after the other, got {self._filled} "
            f"before row {then}. Something called the model while it was read."
        )


class Overflow:
    """Warns, once for a layer, where a dtype is too narrow for finite values.

    Parameters
    ----------
    layer : str
    """

    def __init__(self, layer: str) -> None:
        self._layer, self._said = layer, False

    def check(self, rows: torch.Tensor, kept: torch.Tensor) -> None:
        """Compare rows as they came with what is kept of them, of the same shape."""
        # No other dtype that is kept has a smaller range than those of networks.
        if self._said or kept.dtype != torch.float16 or rows.dtype == torch.float16:
            return
        over = kept.isinf() & rows.isfinite()
        if bool(over.any()):
            self._said = True
            logger.warning(
                "layer %s: %d values of a batch are too large for float16 and are kept as "
                "infinite (the largest: %.3g). Use dtype='bfloat16' or 'float32'.",
                self._layer,
                int(over.sum()),
                float(rows[over].abs().max()),
            )


class ProjectionSink:
    """Projects rows as scikit-learn's ``SparseRandomProjection`` would."""

    def __init__(self, n_rows: int, n_features: int, n_components: int, seed: int) -> None:
        self._matrix: scipy.sparse.csr_matrix = sparse_projection_matrix(
            n_features, n_components, seed=seed
        )
        self._projected = np.empty((n_rows, n_components), np.float32)

    def take(self, start: int, rows: torch.Tensor) -> None:
        self._projected[start : start + len(rows)] = project(rows, self._matrix)

    def give(self) -> np.ndarray:
        return self._projected


class MomentsSink:
    """Sums each feature's moments."""

    def __init__(self, n_features: int, device: torch.device) -> None:
        self._running = RunningMoments(n_features, device)

    def take(self, start: int, rows: torch.Tensor) -> None:
        # Unlike a buffer, a sum must not see a row twice.
        fresh = max(self._running.n - start, 0)
        if fresh < len(rows):
            self._running.add(_flat(rows[fresh:]))

    def give(self) -> Moments:
        return self._running.moments()


class Echo:
    """Checks that two layers taken for duplicates have the same values, batch by batch."""

    def __init__(self, originals: set[str]) -> None:
        self._originals = originals
        self._last: dict[str, torch.Tensor] = {}

    def clear(self) -> None:
        """Forget the last batch."""
        self._last.clear()

    def hear(self, layer: Layer, rows: torch.Tensor) -> None:
        """Keep an original's batch until its duplicates have come."""
        if layer.name in self._originals:
            self._last[layer.name] = _flat(rows).clone()

    def same(self, layer: Layer, rows: torch.Tensor) -> bool:
        """Whether a duplicate has its original's values."""
        first, second = self._last[layer.duplicate_of], _flat(rows)
        if torch.equal(first, second):
            return True
        return torch.equal(first.isnan(), second.isnan()) and torch.equal(
            torch.nan_to_num(first.float()), torch.nan_to_num(second.float())
        )


def _flat(rows: torch.Tensor) -> torch.Tensor:
    """(n_stimuli, …) → (n_stimuli, n_features); one number a stimulus is one feature."""
    return rows.flatten(start_dim=1) if rows.ndim > 1 else rows[:, None]
