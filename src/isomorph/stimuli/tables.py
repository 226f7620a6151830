"""Stimuli from the columns of tables: pandas DataFrames and Hugging Face datasets."""

from __future__ import annotations

import dataclasses
import io
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from PIL import Image

from isomorph.registry import unknown_name
from isomorph.stimuli.colour import check_header, to_rgb
from isomorph.stimuli.images import ImageSet
from isomorph.stimuli.names import listing, numbered
from isomorph.stimuli.readers import existing_files, from_arrays, from_files, from_images
from isomorph.stimuli.sources import check_image, read_image
from isomorph.stimuli.texts import TextSet, from_texts
from isomorph.stimuli.videos import VideoSet, from_videos
from isomorph.storage import hash_array, hash_bytes, hash_file

AnySet = ImageSet | TextSet | VideoSet


def from_frame(
    frame: pd.DataFrame,
    column: str,
    *,
    kind: Literal["image", "text", "video"] = "image",
    root: str | Path | None = None,
    id_column: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
) -> AnySet:
    """Take the stimuli that a column of a DataFrame holds, in the order of its rows.

    Parameters
    ----------
    frame : DataFrame
        One row a stimulus. Its other columns become the set's metadata.
    column : str
        Holds paths, Pillow images, arrays (height, width, 3) uint8, or texts.
    kind : {"image", "text", "video"}
        What the column holds: strings are paths for images and videos.
    root : str or Path, optional
        The folder that relative paths start from. By default the working folder.
    id_column : str, optional
        Holds the ids. By default ``stimulus_id`` if there is such a column; otherwise the files'
        names (the paths as they are, where names repeat), or numbers.
    label_column, group_column : str, optional
        Hold each stimulus's class (by default ``label`` if there is such a column) and group.

    Returns
    -------
    ImageSet, TextSet or VideoSet

    Raises
    ------
    KeyError
        If there is no such column.
    ValueError, TypeError, FileNotFoundError
        If cells are empty or of another type, or files are missing; shows up to five.

    Examples
    --------
    >>> table = pd.DataFrame({"caption": ["a cat", "a dog"], "animal": ["cat", "dog"]})
    >>> texts = from_frame(table, "caption", kind="text", label_column="animal")
    >>> texts.load(1), texts.labels
    ('a dog', ('cat', 'dog'))
    """
    if kind not in ("image", "text", "video"):
        raise ValueError(f'kind: expected "image", "text" or "video", got {kind!r}.')
    id_column = id_column or ("stimulus_id" if "stimulus_id" in frame else None)
    for name in (column, id_column, label_column, group_column):
        if name is not None and name not in frame:
            raise unknown_name("column", str(name), [str(one) for one in frame.columns])
    items = list(frame[column])
    absent = [str(row) for row, item in zip(frame.index, items, strict=True) if _is_absent(item)]
    if absent:
        raise ValueError(
            f"column {column!r}: expected a stimulus in each of the {len(frame)} rows, but "
            f"{len(absent)} are empty: row {listing(absent)}. Drop them with "
            f"frame.dropna(subset=[{column!r}])."
        )
    given = None if id_column is None else [str(name) for name in frame[id_column]]
    found = _from_items(items, kind, root, given, column)
    kept = frame.drop(columns="stimulus_id", errors="ignore").reset_index(drop=True)
    if not all(isinstance(item, str) for item in items):
        kept = kept.drop(columns=column)
    groups = None if group_column is None else tuple(frame[group_column])
    made = dataclasses.replace(
        found, metadata=kept, groups=groups, origin=f"column {column!r} of a table, in its order"
    )
    return made if label_column is None else made.with_labels(list(frame[label_column]))


def from_huggingface(
    dataset: Any,
    column: str | None = None,
    id_column: str | None = None,
    label_column: str | None = None,
) -> ImageSet | TextSet:
    """Take the images or texts of a Hugging Face dataset, in its order; decoded when asked for.

    Parameters
    ----------
    dataset : datasets.Dataset
        One split, not streamed.
    column : str, optional
        Which column. By default the only one with images; without any, the only one with texts.
    id_column : str, optional
        Holds the ids. By default ``image-0`` or ``text-0`` …
    label_column : str, optional
        Holds the classes. By default the only column of type ClassLabel, whose names are used.

    Returns
    -------
    ImageSet or TextSet

    Raises
    ------
    TypeError
        If it is a dictionary of splits, or streamed.
    ValueError, KeyError
        If no column or several could be meant; if there is no such column.

    Examples
    --------
    >>> images = from_huggingface(dataset, "image", label_column="label")  # doctest: +SKIP
    """
    features = _features(dataset)
    column = column or _only_column(features)
    classes = [name for name, feature in features.items() if _type(feature) == "ClassLabel"]
    if label_column is None and len(classes) == 1 and classes[0] != column:
        label_column = classes[0]
    for name in (column, id_column, label_column):
        if name is not None and name not in features:
            raise unknown_name("column", name, features)
    dataset = dataset.with_format(None) if hasattr(dataset, "with_format") else dataset
    ids = None if id_column is None else [str(name) for name in dataset[id_column]]
    origin = f"column {column!r} of a Hugging Face dataset, in its order"
    if _type(features[column]) == "Image":
        rows = _undecoded(dataset, column, features[column])
        sources = tuple(RowSource(rows, i) for i in range(len(dataset)))
        names = tuple(ids if ids is not None else numbered(len(dataset)))
        found = ImageSet(names, sources, origin=origin)
    else:
        found = from_texts(list(dataset[column]), ids, origin=origin)
    if label_column is None:
        return found
    names = getattr(features[label_column], "names", None)
    values = list(dataset[label_column])
    # A test split without labels has -1.
    known = [None if value is None or (names and value == -1) else value for value in values]
    labels = [names[value] if names and value is not None else value for value in known]
    return dataclasses.replace(found, metadata=pd.DataFrame({"label": labels}))


@dataclass
class Rows:
    """One column of a dataset, read a row at a time by one thread at a time."""

    dataset: Any
    column: str
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    def read(self, i: int) -> Any:
        with self._lock:
            return self.dataset[i][self.column]

    def __getstate__(self) -> dict[str, Any]:
        return {"dataset": self.dataset, "column": self.column}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.dataset, self.column, self._lock = state["dataset"], state["column"], threading.Lock()


@dataclass(frozen=True)
class RowSource:
    """An image in a row of a dataset: its file's bytes, the file's path, or a Pillow image."""

    rows: Rows
    i: int

    @property
    def where(self) -> str:
        return f"column {self.rows.column!r}, row {self.i}"

    def read(self) -> Image.Image:
        found = self._stored()
        return to_rgb(found) if isinstance(found, Image.Image) else read_image(_opened(found))

    def check(self) -> None:
        found = self._stored()
        if isinstance(found, Image.Image):
            check_header(found)
        elif isinstance(found, Path):
            check_image(found, found.stat().st_size)
        else:
            check_image(io.BytesIO(found), len(found))

    def content_hash(self) -> str:
        found = self._stored()
        if isinstance(found, Image.Image):
            return hash_array(np.asarray(to_rgb(found)))
        return hash_file(found) if isinstance(found, Path) else hash_bytes(found)

    def _stored(self) -> bytes | Path | Image.Image:
        found = self.rows.read(self.i)
        if isinstance(found, Image.Image):
            return found.copy()
        if isinstance(found, dict) and found.get("bytes") is not None:
            return found["bytes"]
        if isinstance(found, dict) and found.get("path"):
            return Path(found["path"])
        raise ValueError(f"expected an image, got {type(found).__name__}")


def _opened(found: bytes | Path) -> Path | io.BytesIO:
    return found if isinstance(found, Path) else io.BytesIO(found)


def _from_items(
    items: list[Any],
    kind: str,
    root: str | Path | None,
    ids: list[str] | None,
    column: str,
) -> AnySet:
    """Make the set that the cells of a column hold."""
    if kind == "text":
        return from_texts(items, ids)
    if all(isinstance(item, str | Path) for item in items):
        base = Path(root).expanduser() if root is not None else Path()
        paths = existing_files(base / Path(item).expanduser() for item in items)
        names = [path.name for path in paths]
        ids = ids or (names if len(set(names)) == len(names) else [str(item) for item in items])
        return from_files(paths, ids) if kind == "image" else from_videos(paths, ids=ids)
    if kind == "image" and all(isinstance(item, Image.Image) for item in items):
        return from_images(items, ids)
    if kind == "image" and all(isinstance(item, np.ndarray) for item in items):
        return from_arrays(items, ids)
    types = sorted({type(item).__name__ for item in items})
    raise TypeError(
        f"column {column!r}: expected paths{', Pillow images or arrays' if kind == 'image' else ''}"
        f", all of one type, got {', '.join(types)}. Name another column; for sentences pass "
        f'kind="text".'
    )


def _is_absent(item: Any) -> bool:
    return item is None or item is pd.NA or (isinstance(item, float) and np.isnan(item))


def _features(dataset: Any) -> dict[str, Any]:
    """Check that a dataset is one split with rows to choose from; give its columns' types."""
    if isinstance(dataset, dict):
        keys = [str(key) for key in dataset]
        raise TypeError(
            f"stimuli: expected one split of a dataset, got a dictionary of {listing(keys)}. "
            f"Choose one, as in dataset[{keys[0] if keys else 'train'!r}]."
        )
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise TypeError(
            f"stimuli: expected a dataset with rows to choose from, got {type(dataset).__name__}. "
            f"Load it without streaming=True."
        )
    return dict(dataset.features)


def _only_column(features: dict[str, Any]) -> str:
    """Give the only column with images, or, without any, the only one with texts."""
    images = [name for name, feature in features.items() if _type(feature) == "Image"]
    texts = [
        name
        for name, feature in features.items()
        if getattr(feature, "dtype", None) in ("string", "large_string")
    ]
    meant = images or texts
    if len(meant) != 1:
        raise ValueError(
            f"column: expected one column of images, or one of texts, got {len(images)} and "
            f"{len(texts)} among {listing(list(features))}. Name it with column=."
        )
    return meant[0]


def _undecoded(dataset: Any, column: str, feature: Any) -> Rows:
    """Give the images as they are stored: their bytes are hashed, and decoded as any file's are."""
    if hasattr(dataset, "select_columns"):
        dataset = dataset.select_columns(column)
    if hasattr(dataset, "cast_column") and dataclasses.is_dataclass(feature):
        dataset = dataset.cast_column(column, dataclasses.replace(feature, decode=False))  # type: ignore[arg-type]
    return Rows(dataset, column)


def _type(feature: Any) -> str:
    return type(feature).__name__
