"""Images stacked in one data set of an HDF5 file, such as the stimuli of NSD."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from PIL import Image

from isomorph.stimuli.images import ImageSet
from isomorph.stimuli.names import listing
from isomorph.storage import hash_array

_PREFIXES = {"imgBrick": "nsd"}  # whose numbers NSD's own tables call nsdId


@dataclass
class Brick:
    """A data set (n, height, width[, 3]) of an HDF5 file that stays open between reads."""

    path: Path
    dataset: str
    _open: Any = field(default=None, repr=False)
    _process: int = field(default_factory=os.getpid, repr=False)
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    def read(self, index: int) -> np.ndarray:
        """Read one image."""
        if self._process != os.getpid():
            # A forked process shares the file's position with its parent: open it anew there. The
            # lock may be held by a thread that the new process does not have.
            self._open, self._lock, self._process = None, threading.Lock(), os.getpid()
        with self._lock:
            if self._open is None:
                self._open = h5py.File(self.path, "r")[self.dataset]
            return self._open[index]

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "dataset": self.dataset}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path, self.dataset = state["path"], state["dataset"]
        self._open, self._process, self._lock = None, os.getpid(), threading.Lock()


@dataclass(frozen=True)
class BrickSource:
    """One image of a brick."""

    brick: Brick
    index: int

    @property
    def where(self) -> str:
        return f"{self.brick.path}:{self.brick.dataset}[{self.index}]"

    def read(self) -> Image.Image:
        return Image.fromarray(self.brick.read(self.index)).convert("RGB")

    def check(self) -> None:
        """Look whether the file is still there; its shape was checked when the set was made."""
        self.brick.path.stat()

    def content_hash(self) -> str:
        return hash_array(self.brick.read(self.index))


def from_hdf5(
    path: str | Path,
    dataset: str = "imgBrick",
    indices: Sequence[int] | np.ndarray | None = None,
    ids: Sequence[str] | None = None,
) -> ImageSet:
    """Take images from an HDF5 file, such as ``nsd_stimuli.hdf5``; each is read when asked for.

    Parameters
    ----------
    path : str or Path
        The file.
    dataset : str
        A data set (n, height, width, 3) RGB or (n, height, width) grey, uint8. That of NSD is
        called ``imgBrick`` and has the shape (73000, 425, 425, 3).
    indices : sequence of int, optional
        Which images, in this order; 0 is the first (NSD's ``nsdId``; the numbers in its
        ``nsd_expdesign.mat`` begin at 1). By default all.
    ids : sequence of str, optional
        By default the name of the data set and the index: ``nsd-00042`` for ``imgBrick``.

    Returns
    -------
    ImageSet
        The metadata column ``index`` holds the position in the data set.

    Raises
    ------
    FileNotFoundError, ValueError, IndexError
        If there is no such file; if it is no HDF5, has no such data set (names those it has), or
        one of another shape or dtype; if indices repeat; if one is not in the data set.

    Examples
    --------
    >>> images = from_hdf5("nsd_stimuli.hdf5", indices=[2950, 2990])  # doctest: +SKIP
    >>> images.ids  # doctest: +SKIP
    ('nsd-02950', 'nsd-02990')
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"stimuli: expected an HDF5 file at {path}. Check the path.")
    n = _count(path, dataset)
    chosen = np.arange(n) if indices is None else np.asarray(indices)
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu" or not chosen.size:
        raise ValueError(
            f"indices: expected one or more whole numbers, got shape {chosen.shape}, dtype "
            f"{chosen.dtype}."
        )
    outside = [str(i) for i in chosen if not 0 <= i < n]
    if outside:
        raise IndexError(
            f"indices: expected 0 to {n - 1} for {dataset!r} in {path.name}, got "
            f"{listing(outside)}. If they count from 1, subtract 1."
        )
    values, counts = np.unique(chosen, return_counts=True)
    if len(values) < len(chosen):
        repeated = listing([str(i) for i in values[counts > 1]])
        raise ValueError(
            f"indices: expected each image once, got {repeated} more than once. Take numpy.unique "
            f"of them; the responses say which image each of them belongs to."
        )
    prefix, width = _PREFIXES.get(dataset, dataset.strip("/").replace("/", "-")), len(str(n - 1))
    names = ids if ids is not None else [f"{prefix}-{i:0{width}d}" for i in chosen]
    brick = Brick(path, dataset)
    order = "in its order" if indices is None else "in the order of indices="
    return ImageSet(
        tuple(names),
        tuple(BrickSource(brick, int(i)) for i in chosen),
        metadata=pd.DataFrame({"index": chosen.astype(np.int64)}),
        origin=f"{path.name}:{dataset}, {order}",
    )


def _count(path: Path, name: str) -> int:
    """Check a data set of an HDF5 file; give the number of images in it."""
    try:
        with h5py.File(path, "r") as file:
            found: dict[str, h5py.Dataset] = {}
            file.visititems(
                lambda key, item: (
                    found.update({key: item}) if isinstance(item, h5py.Dataset) else None
                )
            )
            held = [f"{key} {item.shape} {item.dtype}" for key, item in found.items()]
            item = found.get(name.strip("/"))
            if item is None:
                raise ValueError(
                    f"stimuli: expected a data set {name!r} in {path}, got {listing(held)}. Name "
                    f"one of them with dataset=."
                )
            good = len(item.shape) == 3 or (len(item.shape) == 4 and item.shape[3] == 3)
            if not good or item.dtype != np.uint8 or not item.size:
                raise ValueError(
                    f"stimuli: expected {name!r} in {path} to have shape (n, height, width, 3) or "
                    f"(n, height, width) and dtype uint8, got {item.shape} {item.dtype}. The file "
                    f"holds {listing(held)}. Name another with dataset=, or convert it: channels "
                    f"last, 0 to 255."
                )
            return int(item.shape[0])
    except OSError as error:
        raise ValueError(
            f"stimuli: expected an HDF5 file at {path}, got one that cannot be read ({error}). "
            f"Fetch it again."
        ) from error
