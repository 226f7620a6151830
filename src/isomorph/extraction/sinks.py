"""Sinks: what takes a layer's output at its hook, row block after row block."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import scipy.sparse
import torch

from isomorph.extraction.layer import Layer
from isomorph.geometry import Moments, RunningMoments, project, sparse_projection_matrix


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
    """

    def __init__(self, buffer: torch.Tensor, columns: tuple[int, int] | None = None) -> None:
        self.buffer, self._columns = buffer, columns

    def take(self, start: int, rows: torch.Tensor) -> None:
        flat = rows.flatten(start_dim=1)
        if self._columns is not None:
            flat = flat[:, slice(*self._columns)]
        self.buffer[start : start + len(flat)].copy_(flat)

    def give(self) -> torch.Tensor:
        return self.buffer


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
            self._running.add(rows[fresh:].flatten(start_dim=1))

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
            self._last[layer.name] = rows.flatten(start_dim=1).clone()

    def same(self, layer: Layer, rows: torch.Tensor) -> bool:
        """Whether a duplicate has its original's values."""
        first, second = self._last[layer.duplicate_of], rows.flatten(start_dim=1)
        if torch.equal(first, second):
            return True
        return torch.equal(first.isnan(), second.isnan()) and torch.equal(
            torch.nan_to_num(first.float()), torch.nan_to_num(second.float())
        )
