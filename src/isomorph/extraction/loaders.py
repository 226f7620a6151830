"""Torch data sets and loaders as stimuli."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
    default_collate,
)

from isomorph.extraction.describe import describe_callable
from isomorph.extraction.model import Model
from isomorph.storage import hash_array, hash_file, hash_json

_RANDOM = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)
# What torchvision's data sets call what they do to an item.
_TRANSFORMS = ("transform", "transforms")


def is_loadable(stimuli: Any) -> bool:
    """Whether stimuli are a torch ``Dataset`` or ``DataLoader``."""
    return isinstance(stimuli, Dataset | DataLoader)


class LoadedStimuli:
    """A torch ``Dataset``, or the one that a ``DataLoader`` reads, by position.

    An item may be an input, a pair (input, label), or named tensors. Of a loader, the data set,
    the order and the way to make batches are used; threads decode here, so that its worker
    processes are not. Names are the paths of an ``ImageFolder``, else numbers.

    Raises
    ------
    ValueError
        If the order is not fixed (shuffled, or a stream), a stimulus comes twice or is dropped,
        there are no single stimuli, or there is nothing in it.
    """

    groups: tuple[Any, ...] | None = None

    def __init__(self, model: Model, stimuli: Any) -> None:
        self.model = model
        self._collate: Callable[[list[Any]], Any] | None = None
        self._shapes: dict[str, tuple[int, ...]] | None = None
        loader = stimuli if isinstance(stimuli, DataLoader) else None
        dataset: Any = stimuli if loader is None else loader.dataset
        if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
            raise ValueError(
                "stimuli: expected a data set with a length and an order, got a stream "
                f"({type(dataset).__name__}). Every pass must see the same stimuli in the same "
                "order: read it into a list, or give a map-style data set."
            )
        self._positions = list(range(len(dataset)))
        if loader is not None:
            self._positions = _positions(loader)
            self._collate = loader.collate_fn
        self.dataset = self.stimuli = dataset
        if not self._positions:
            raise ValueError("stimuli: expected one or more, got an empty data set.")
        self.ids = _names(dataset, self._positions)
        self.origin = f"{type(dataset).__name__}, in its own order"

    def without(self, rows: Sequence[int]) -> None:
        """Leave out the stimuli at these positions."""
        left = [row for row in range(len(self.ids)) if row not in set(rows)]
        self._positions = [self._positions[row] for row in left]
        self.ids = tuple(self.ids[row] for row in left)

    def item(self, i: int) -> Any:
        loaded = self._read(i)
        if self._collate is not None:
            loaded = self._collated([loaded], 0)
        item = self._as_input(loaded, i)
        if self._shapes is not None and _shapes(item) != self._shapes:
            raise ValueError(
                f"stimulus {self.ids[i]!r}: expected collate_fn to give every stimulus one shape, "
                f"got {_shown(self._shapes)} for the first and {_shown(_shapes(item))} for this "
                f"one. It is given one at a time: pad all to one length in the data set."
            )
        return item

    def check_company(self) -> None:
        """Refuse a ``collate_fn`` that gives a stimulus other values in other batches."""
        if not self._collates_in_its_own_way:
            return
        self._shapes = _shapes(self.item(0))
        pair = [self._read(i) for i in range(min(2, len(self.ids)))]
        for row, loaded in enumerate(pair):
            together = self._as_input(self._collated(pair, row), row)
            if not same_item(together, self._as_input(self._collated([loaded], 0), row)):
                raise ValueError(
                    f"stimuli: expected collate_fn to give a stimulus the same values whatever "
                    f"batch it is in, but {self.ids[row]!r} differs when it comes with another: "
                    f"collate_fn pads to its batch, or uses it as a whole. Do in the data set what "
                    f"collate_fn does, to one length for all."
                )

    def content_hashes(self) -> tuple[str, ...]:
        files = _files(self.dataset)
        if files is not None and not self._collates_in_its_own_way:
            return tuple(hash_file(files[i]) for i in self._positions)
        return tuple(hash_item(self.item(i)) for i in range(len(self.ids)))

    @property
    def _collates_in_its_own_way(self) -> bool:
        return self._collate not in (None, default_collate)

    def _read(self, i: int) -> Any:
        try:
            return self.dataset[self._positions[i]]
        except Exception as error:
            raise ValueError(
                f"stimulus {self.ids[i]!r}: the data set cannot give it "
                f"({type(error).__name__}: {error})."
            ) from error

    def _collated(self, items: list[Any], row: int) -> Any:
        assert self._collate is not None
        batch = self._collate(items)
        if isinstance(batch, Mapping):
            return {name: value[row] for name, value in batch.items()}
        return batch[0][row] if isinstance(batch, tuple | list) else batch[row]

    def _as_input(self, loaded: Any, i: int) -> Any:
        if isinstance(loaded, tuple | list):
            loaded = loaded[0]
        if isinstance(loaded, Mapping):
            named = {k: torch.as_tensor(v) for k, v in loaded.items() if _is_input(k, v)}
            if named:
                return named
        if isinstance(loaded, np.ndarray):
            loaded = torch.from_numpy(loaded)
        if not isinstance(loaded, torch.Tensor) and self.model.preprocess is not None:
            try:
                loaded = self.model.preprocess(loaded)
            except Exception as error:
                raise ValueError(
                    f"stimulus {self.ids[i]!r}: {self.model.uid} cannot preprocess it "
                    f"({type(error).__name__}: {error})."
                ) from error
        if not isinstance(loaded, torch.Tensor):
            raise TypeError(
                f"stimulus {self.ids[i]!r}: expected the data set to give a tensor, a pair "
                f"(tensor, label) or named tensors, got {type(loaded).__name__}. Give it a "
                f"transform, or Model(module, preprocess)."
            )
        return loaded


def describe_data_set(dataset: Any) -> str:
    """Say what a data set does to its items, as far as it says so itself."""
    if isinstance(dataset, torch.utils.data.Subset):
        return describe_data_set(dataset.dataset)
    found = [getattr(dataset, name, None) for name in _TRANSFORMS]
    # torchvision keeps the same transform under both names.
    transform = next((one for one in found if callable(one)), None)
    return "" if transform is None else f"data set: {describe_callable(transform)}"


def hash_item(item: Any) -> str:
    """Hash one input: names, dtypes, shapes and values."""
    named = item if isinstance(item, Mapping) else {"": item}
    return hash_json(
        [
            [name, str(t.dtype), list(t.shape), hash_array(_as_bytes(t))]
            for name, t in sorted(named.items())
        ]
    )


def same_item(one: Any, other: Any) -> bool:
    """Whether two inputs are the same but for rounding."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same_item(one[k], other[k]) for k in one)
    if isinstance(one, Mapping) or isinstance(other, Mapping):
        return False
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.equal(one, other) or (
        one.is_floating_point() and torch.allclose(one, other, rtol=1e-4, equal_nan=True)
    )


def _as_bytes(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


def _shapes(item: Any) -> dict[str, tuple[int, ...]]:
    named = item if isinstance(item, Mapping) else {"": item}
    return {name: tuple(tensor.shape) for name, tensor in named.items()}


def _shown(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}".strip() for name, shape in shapes.items())


def _is_input(name: str, value: Any) -> bool:
    number = isinstance(value, torch.Tensor | np.ndarray | list)
    return number and name not in ("label", "labels", "target", "targets")


def _positions(loader: DataLoader[Any]) -> list[int]:
    """Give the order in which a loader reads its data set."""
    batches: Any = loader.batch_sampler
    if batches is None:
        raise ValueError(
            "stimuli: expected a DataLoader that makes batches of single stimuli, got one with "
            "batch_size=None, whose items may be batches already. Give a batch_size=, or the data "
            "set itself if its items are single stimuli."
        )
    sampler = getattr(batches, "sampler", None)
    if isinstance(sampler, _RANDOM) or isinstance(loader.sampler, _RANDOM):
        raise ValueError(_NOT_FIXED)
    n = len(loader.dataset)  # type: ignore[arg-type]
    # A seed of its own for the draws: they must not move the caller's random numbers on.
    with torch.random.fork_rng(devices=[]):
        order, again = _draw(batches, n), _draw(batches, n)
        n_drawn = len(list(itertools.islice(sampler, n + 1))) if sampler is not None else 0
    if order != again:
        raise ValueError(_NOT_FIXED)
    twice, count = Counter(order).most_common(1)[0] if order else (0, 0)
    if count > 1:
        raise ValueError(
            f"stimuli: expected a DataLoader that gives each stimulus once, got number {twice} "
            f"more than once. Give torch.utils.data.Subset(dataset, positions) in a plain loader."
        )
    if getattr(batches, "drop_last", False) and n_drawn > len(order):
        raise ValueError(
            f"stimuli: expected a DataLoader that gives all its stimuli, got one that drops the "
            f"last {n_drawn - len(order)} (drop_last=True). Make it with drop_last=False."
        )
    return order


_NOT_FIXED = (
    "stimuli: expected a DataLoader with a fixed order, got one that shuffles: features could not "
    "be matched with their stimuli. Make it with shuffle=False, or with a sampler that gives the "
    "same order each time."
)


def _draw(batches: Any, n_stimuli: int) -> list[int]:
    """Draw all positions once; one too many where they have no end."""
    positions = itertools.chain.from_iterable(batches)
    return [int(i) for i in itertools.islice(positions, n_stimuli + 1)]


def _files(dataset: Any) -> list[str] | None:
    """The files of torchvision's ``ImageFolder`` and the like; None if there are none."""
    samples = getattr(dataset, "samples", None)
    if not isinstance(samples, list) or not samples:
        return None
    if not all(isinstance(one, tuple) and isinstance(one[0], str | Path) for one in samples):
        return None
    files = [str(one[0]) for one in samples]
    return files if Path(files[0]).is_file() else None


def _names(dataset: Any, positions: list[int]) -> tuple[str, ...]:
    files = _files(dataset)
    if files is not None:
        root = Path(str(getattr(dataset, "root", "")))
        paths = [Path(files[i]) for i in positions]
        names = [str(p.relative_to(root)) if p.is_relative_to(root) else p.name for p in paths]
        if len(set(names)) == len(names):
            return tuple(names)
    width = len(str(max(positions)))
    return tuple(f"stimulus-{i:0{width}d}" for i in positions)
