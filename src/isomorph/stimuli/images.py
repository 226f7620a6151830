"""`ImageSet`: an ordered, named set of images, read when they are asked for."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from isomorph.registry import unknown_name
from isomorph.stimuli.sources import Source

_THREADS = min(8, os.cpu_count() or 1)
_SHOWN = 5

T = TypeVar("T")


class StimulusSet(Protocol):
    """What every set of stimuli offers: the order that the first axis of every array follows."""

    @property
    def ids(self) -> tuple[str, ...]: ...

    @property
    def metadata(self) -> pd.DataFrame: ...

    def __len__(self) -> int: ...

    def load(self, i: int) -> Any: ...

    def content_hashes(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet:
    """An ordered set of named images; nothing is decoded before it is asked for.

    Make one with `from_folder`, `from_files`, `from_arrays`, `from_images`, `from_zip` or
    `as_stimuli`.

    Parameters
    ----------
    ids : tuple of str
        One unique name for each image, in the order that every array's first axis follows.
    sources : tuple of Source
        Where each image is read from.
    metadata : DataFrame, optional
        One row a stimulus, index 0 … n − 1; a column ``stimulus_id`` equal to `ids` is put first.
    groups : tuple, optional
        One label a stimulus; stimuli of one group belong together when data are split.
    origin : str
        Where the set comes from and how it was ordered, in words.

    Examples
    --------
    >>> from isomorph.stimuli import from_arrays
    >>> images = from_arrays(np.zeros((2, 8, 8, 3), np.uint8), ids=["a", "b"])
    >>> len(images), images.ids, images.load(0).size
    (2, ('a', 'b'), (8, 8))
    """

    ids: tuple[str, ...]
    sources: tuple[Source, ...]
    metadata: pd.DataFrame = field(default_factory=pd.DataFrame)
    groups: tuple[Any, ...] | None = None
    origin: str = "given"
    _cache: dict[str, Any] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        ids = tuple(str(name) for name in self.ids)
        object.__setattr__(self, "ids", ids)
        if not ids:
            raise ValueError("stimuli: expected one or more images, got none.")
        if len(self.sources) != len(ids):
            raise ValueError(
                f"stimuli: expected one id an image, got {len(ids)} ids for {len(self.sources)} "
                f"images. Give as many ids as images."
            )
        _refuse_duplicates(ids)
        object.__setattr__(self, "metadata", _with_ids(self.metadata, ids))
        if self.groups is not None and len(self.groups) != len(ids):
            raise ValueError(
                f"groups: expected one label for each of the {len(ids)} stimuli, got "
                f"{len(self.groups)}."
            )

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        shown = ", ".join(self.ids[:3]) + (", …" if len(self) > 3 else "")
        return f"ImageSet({len(self)} images: {shown}; {self.origin})"

    def load(self, i: int) -> Image.Image:
        """Decode image `i` into RGB.

        Raises
        ------
        ValueError
            If it cannot be decoded; names the stimulus and the place it is read from.
        """
        try:
            return self.sources[i].read()
        except Exception as error:
            raise ValueError(
                f"stimulus {self.ids[i]!r}: expected an image that can be decoded, got "
                f"{_reason(error)} ({self.sources[i].where}). Replace the file or leave it out."
            ) from error

    def position(self, stimulus_id: str) -> int:
        """Give the position of a stimulus by its id."""
        if "positions" not in self._cache:
            self._cache["positions"] = {name: i for i, name in enumerate(self.ids)}
        try:
            return self._cache["positions"][stimulus_id]
        except KeyError:
            raise unknown_name("stimulus", stimulus_id, self.ids) from None

    def content_hashes(self) -> tuple[str, ...]:
        """Hash each stimulus: the bytes of its file, or its pixels where it is not a file.

        Computed once, in threads. A file in a folder and the same file in a zip have one hash.
        """
        if "hashes" not in self._cache:
            self._cache["hashes"] = tuple(
                _in_threads(lambda source: source.content_hash(), self.sources)
            )
        return self._cache["hashes"]

    def subset(self, indices: Sequence[int] | np.ndarray) -> ImageSet:
        """Give the stimuli at these positions, in this order (or where a boolean mask is true)."""
        positions = positions_of(indices, len(self))
        return ImageSet(
            ids=tuple(self.ids[i] for i in positions),
            sources=tuple(self.sources[i] for i in positions),
            metadata=self.metadata.iloc[positions],
            groups=None if self.groups is None else tuple(self.groups[i] for i in positions),
            origin=self.origin,
        )

    def verify(self, *, progress: bool = True) -> None:
        """Decode every image once, so that a broken one is found before the long work starts.

        Parameters
        ----------
        progress : bool
            Show a progress bar.

        Raises
        ------
        ValueError
            One error for all images that cannot be decoded; shows up to five.
        """

        def problem(i: int) -> str | None:
            try:
                self.sources[i].read()
            except Exception as error:
                return f"{self.ids[i]} ({self.sources[i].where}: {_reason(error)})"
            return None

        found = _in_threads(problem, range(len(self)), "decoding" if progress else None)
        broken = [text for text in found if text is not None]
        if broken:
            more = f"; and {len(broken) - _SHOWN} more" if len(broken) > _SHOWN else ""
            raise ValueError(
                f"stimuli: expected {len(self)} images that can be decoded, but {len(broken)} "
                f"cannot: {'; '.join(broken[:_SHOWN])}{more}. Replace these files, or leave them "
                f"out together with their responses."
            )


def positions_of(indices: Sequence[int] | np.ndarray, n: int) -> np.ndarray:
    """Turn indices or a boolean mask over `n` stimuli into checked positions."""
    array = np.asarray(indices)
    if array.dtype == bool:
        if array.shape != (n,):
            raise ValueError(f"stimuli: expected a mask of shape ({n},), got {array.shape}.")
        array = np.flatnonzero(array)
    if array.ndim != 1 or array.dtype.kind not in "iu" or array.size == 0:
        raise ValueError(
            f"stimuli: expected one or more whole numbers as positions (or a mask that selects "
            f"some), got shape {array.shape}, dtype {array.dtype}."
        )
    if array.min() < 0 or array.max() >= n:
        raise IndexError(
            f"stimuli: expected positions from 0 to {n - 1}, got {array.min()} to {array.max()}."
        )
    return array.astype(np.int64)


def listing(names: Sequence[str]) -> str:
    """Join the first few names; say how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) + more) or "none"


def _reason(error: Exception) -> str:
    text = str(error).strip().splitlines()
    # Pillow's message names a place that the caller names already, or an object in memory.
    if type(error).__name__ == "UnidentifiedImageError":
        return "not an image in a known format"
    return text[0].rstrip(".") if text else type(error).__name__


def _refuse_duplicates(ids: tuple[str, ...]) -> None:
    repeated = [name for name, count in Counter(ids).items() if count > 1]
    if repeated:
        raise ValueError(
            f"stimuli: expected one name a stimulus, but {len(repeated)} are there more than once: "
            f"{listing(repeated)}. Rename the files, or give ids=."
        )


def _with_ids(metadata: pd.DataFrame, ids: tuple[str, ...]) -> pd.DataFrame:
    """Give the metadata with the ids as first column, after checking that they fit."""
    if metadata.empty and not len(metadata.columns):
        return pd.DataFrame({"stimulus_id": list(ids)})
    if len(metadata) != len(ids):
        raise ValueError(
            f"metadata: expected one row for each of the {len(ids)} stimuli, got {len(metadata)}."
        )
    frame = metadata.reset_index(drop=True)
    if "stimulus_id" in frame and list(frame["stimulus_id"].astype(str)) != list(ids):
        raise ValueError(
            "metadata: expected the column stimulus_id to hold the ids in their order, got other "
            "values. Sort the rows as the stimuli, or leave the column out."
        )
    others = frame.drop(columns="stimulus_id", errors="ignore")
    return pd.concat([pd.DataFrame({"stimulus_id": list(ids)}), others], axis=1)


def _in_threads(
    function: Callable[[Any], T], items: Iterable[Any], description: str | None = None
) -> list[T]:
    todo = list(items)
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="isomorph-stimuli") as pool:
        answers = pool.map(function, todo)
        return list(
            tqdm(answers, total=len(todo), desc=description, unit="image", disable=not description)
        )
