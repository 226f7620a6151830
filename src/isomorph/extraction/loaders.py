"""Torch data sets and loaders as stimuli."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler

from isomorph.extraction.model import Model
from isomorph.storage import hash_array, hash_file


def is_loadable(stimuli: Any) -> bool:
    """Whether stimuli are a torch ``Dataset`` or ``DataLoader``."""
    return isinstance(stimuli, Dataset | DataLoader)


class LoadedStimuli:
    """A torch ``Dataset``, or the one that a ``DataLoader`` reads, by position.

    An item may be an input, a pair (input, label), or named tensors. Of a loader, the data set and
    the way to make batches are used; threads decode here, so that its worker processes are not.
    Names are the paths of an ``ImageFolder``, else numbers.

    Raises
    ------
    ValueError
        If the order is not fixed (shuffled, or a stream), or there is nothing in it.
    """

    groups: tuple[Any, ...] | None = None

    def __init__(self, model: Model, stimuli: Any) -> None:
        self.model = model
        self._collate: Callable[[list[Any]], Any] | None = None
        positions: list[int] | None = None
        dataset: Any = stimuli
        if isinstance(stimuli, DataLoader):
            dataset = stimuli.dataset
            positions = _positions(stimuli)
            self._collate = stimuli.collate_fn
        if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
            raise ValueError(
                "stimuli: expected a data set with a length and an order, got a stream "
                f"({type(dataset).__name__}). Every pass must see the same stimuli in the same "
                "order: read it into a list, or give a map-style data set."
            )
        self.dataset = self.stimuli = dataset
        self._positions = list(range(len(dataset))) if positions is None else positions
        if not self._positions:
            raise ValueError("stimuli: expected one or more, got an empty data set.")
        self.ids = _names(dataset, self._positions)
        self.origin = f"{type(dataset).__name__}, in its own order"

    def item(self, i: int) -> Any:
        try:
            loaded = self.dataset[self._positions[i]]
        except Exception as error:
            raise ValueError(
                f"stimulus {self.ids[i]!r}: the data set cannot give it "
                f"({type(error).__name__}: {error})."
            ) from error
        if self._collate is not None:
            loaded = _first_row(self._collate([loaded]))
        if isinstance(loaded, tuple | list):
            loaded = loaded[0]
        if isinstance(loaded, Mapping):
            named = {k: torch.as_tensor(v) for k, v in loaded.items() if _is_input(k, v)}
            if named:
                return named
        if isinstance(loaded, np.ndarray):
            loaded = torch.from_numpy(loaded)
        if not isinstance(loaded, torch.Tensor) and self.model.preprocess is not None:
            loaded = self.model.preprocess(loaded)
        if not isinstance(loaded, torch.Tensor):
            raise TypeError(
                f"stimulus {self.ids[i]!r}: expected the data set to give a tensor, a pair "
                f"(tensor, label) or named tensors, got {type(loaded).__name__}. Give it a "
                f"transform, or Model(module, preprocess)."
            )
        return loaded

    def content_hashes(self) -> tuple[str, ...]:
        samples = getattr(self.dataset, "samples", None)
        if samples is not None:
            return tuple(hash_file(samples[i][0]) for i in self._positions)
        return tuple(_hash(self.item(i)) for i in range(len(self.ids)))


def _is_input(name: str, value: Any) -> bool:
    number = isinstance(value, torch.Tensor | np.ndarray | list)
    return number and name not in ("label", "labels", "target", "targets")


def _first_row(batch: Any) -> Any:
    if isinstance(batch, Mapping):
        return {name: value[0] for name, value in batch.items()}
    if isinstance(batch, tuple | list):
        return batch[0][0]
    return batch[0]


def _positions(loader: DataLoader[Any]) -> list[int]:
    sampler = loader.sampler
    if isinstance(sampler, RandomSampler):
        raise ValueError(
            "stimuli: expected a DataLoader with a fixed order, got one that shuffles: features "
            "could not be matched with their stimuli. Make it with shuffle=False."
        )
    if isinstance(loader.dataset, IterableDataset) or sampler is None:
        return []
    return [int(i) for i in sampler]


def _names(dataset: Any, positions: list[int]) -> tuple[str, ...]:
    samples = getattr(dataset, "samples", None)  # torchvision's ImageFolder
    if samples is not None and samples and isinstance(samples[0], tuple):
        root = Path(str(getattr(dataset, "root", "")))
        paths = [Path(str(samples[i][0])) for i in positions]
        names = [str(p.relative_to(root)) if p.is_relative_to(root) else p.name for p in paths]
        if len(set(names)) == len(names):
            return tuple(names)
    width = len(str(max(positions)))
    return tuple(f"stimulus-{i:0{width}d}" for i in positions)


def _hash(item: Any) -> str:
    tensors = item.values() if isinstance(item, Mapping) else [item]
    parts = [t.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy() for t in tensors]
    return hash_array(np.concatenate(parts))
