"""Making image sets from folders, files, zip files, arrays and Pillow images."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from isomorph.stimuli.images import ImageSet, listing
from isomorph.stimuli.sources import (
    Archive,
    ArraySource,
    FileSource,
    PillowSource,
    ZipSource,
)

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")


def from_folder(folder: str | Path) -> ImageSet:
    """Take every image in a folder, in natural order (``img2`` before ``img10``).

    Parameters
    ----------
    folder : str or Path
        Its own files only, not those of folders in it. A file's id is its name with suffix.

    Returns
    -------
    ImageSet

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If there is no image in it.

    Examples
    --------
    >>> images = from_folder("faces/")  # doctest: +SKIP
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise FileNotFoundError(
            f"stimuli: expected a folder of images at {folder}, got {found} there. "
            f"Check the path (relative ones start at {Path.cwd()})."
        )
    paths = [path for path in folder.iterdir() if path.is_file() and _is_image(path.name)]
    if not paths:
        raise ValueError(
            f"stimuli: expected image files in {folder}, got {sum(1 for _ in folder.iterdir())} "
            f"other entries and no image ({' '.join(IMAGE_SUFFIXES)}). Folders inside it are not "
            f"searched; pass a list of paths to take images from several."
        )
    paths.sort(key=lambda path: natural_key(path.name))
    return from_files(paths, origin=f"folder {folder.name}, natural order")


def from_files(
    paths: Iterable[str | Path],
    ids: Sequence[str] | None = None,
    *,
    origin: str = "files, as given",
) -> ImageSet:
    """Take image files in the order given.

    Parameters
    ----------
    paths : iterable of str or Path
        The files.
    ids : sequence of str, optional
        By default the file names, which then must be unique.

    Returns
    -------
    ImageSet

    Raises
    ------
    FileNotFoundError
        If files are missing; shows up to five.
    """
    files = [Path(path).expanduser() for path in paths]
    missing = [str(path) for path in files if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"stimuli: expected {len(files)} files, but {len(missing)} are missing: "
            f"{listing(missing)}. Check the paths."
        )
    names = ids if ids is not None else [path.name for path in files]
    return ImageSet(tuple(names), tuple(FileSource(path) for path in files), origin=origin)


def from_arrays(
    arrays: np.ndarray | Sequence[np.ndarray],
    ids: Sequence[str] | None = None,
    *,
    metadata: pd.DataFrame | None = None,
) -> ImageSet:
    """Take images in memory.

    Parameters
    ----------
    arrays : ndarray (n, height, width, 3) uint8, or a sequence of arrays
        RGB, values 0 to 255; each (height, width, 3), or (height, width) for grey. The arrays of
        a sequence may differ in size. They are not copied: do not change them afterwards.
    ids : sequence of str, optional
        By default ``image-0``, ``image-1`` …
    metadata : DataFrame, optional
        One row an image.

    Returns
    -------
    ImageSet
    """
    sources = []
    for i, array in enumerate(arrays):
        array = np.asarray(array)
        good = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
        if array.dtype != np.uint8 or not good or array.size == 0:
            raise ValueError(
                f"stimuli: expected images of shape (height, width, 3) and dtype uint8, got "
                f"{array.shape} {array.dtype} at position {i}. Scale to 0–255, move the channels "
                f"to the last axis and convert with .astype(np.uint8)."
            )
        sources.append(ArraySource(array))
    names = ids if ids is not None else _numbered(len(sources))
    frame = pd.DataFrame() if metadata is None else metadata
    return ImageSet(tuple(names), tuple(sources), metadata=frame, origin="arrays, as given")


def from_images(images: Iterable[Image.Image], ids: Sequence[str] | None = None) -> ImageSet:
    """Take Pillow images in the order given; ids are ``image-0`` … unless given."""
    sources = tuple(PillowSource(image) for image in images)
    names = ids if ids is not None else _numbered(len(sources))
    return ImageSet(tuple(names), sources, origin="Pillow images, as given")


def from_zip(path: str | Path, names: Sequence[str] | None = None) -> ImageSet:
    """Take the images in a zip file without unpacking it.

    Parameters
    ----------
    path : str or Path
        The zip file.
    names : sequence of str, optional
        Members to take, in this order. By default all images, in natural order.

    Returns
    -------
    ImageSet
        The id of a member is its file name, without the folders before it.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file; if it is no zip file, or lacks a member or any image.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"stimuli: expected a zip file at {path}. Check the path.")
    try:
        with zipfile.ZipFile(path) as archive:
            members = [item.filename for item in archive.infolist() if not item.is_dir()]
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"stimuli: expected a zip file at {path}, got one that cannot be read ({error}). "
            f"Fetch it again."
        ) from error
    if names is None:
        chosen = [name for name in members if _is_image(name) and "__MACOSX" not in name]
        chosen.sort(key=natural_key)
    else:
        chosen = list(names)
        missing = sorted(set(chosen) - set(members), key=natural_key)
        if missing:
            raise ValueError(
                f"stimuli: expected {len(chosen)} members in {path}, but {len(missing)} are not "
                f"there: {listing(missing)}. It holds {listing(members)}."
            )
    if not chosen:
        raise ValueError(f"stimuli: expected images in {path}, got {len(members)} other members.")
    shared = Archive(path)
    return ImageSet(
        tuple(name.rsplit("/", 1)[-1] for name in chosen),
        tuple(ZipSource(shared, name) for name in chosen),
        origin=f"{path.name}, {'natural order' if names is None else 'as given'}",
    )


def as_stimuli(stimuli: Any) -> ImageSet:
    """Make an `ImageSet` of whatever holds images.

    Parameters
    ----------
    stimuli : ImageSet, str, Path, ndarray or sequence
        A set (given back as it is), a folder, a zip file, an image file, an array
        (n, height, width, 3) uint8, or a sequence of paths, arrays or Pillow images.

    Returns
    -------
    ImageSet

    Raises
    ------
    TypeError
        If it is none of these.
    """
    if isinstance(stimuli, ImageSet):
        return stimuli
    if isinstance(stimuli, str | Path):
        path = Path(stimuli).expanduser()
        if path.suffix.lower() == ".zip":
            return from_zip(path)
        return from_files([path]) if path.is_file() else from_folder(path)
    if isinstance(stimuli, np.ndarray) and stimuli.dtype.kind not in "OUS":
        return from_arrays(stimuli)
    if isinstance(stimuli, Sequence | np.ndarray):
        items = list(stimuli)
        if all(isinstance(item, str | Path) for item in items):
            return from_files(items)
        if all(isinstance(item, Image.Image) for item in items):
            return from_images(items)
        if all(isinstance(item, np.ndarray) for item in items):
            return from_arrays(items)
    got = type(stimuli).__name__
    raise TypeError(
        f"stimuli: expected an ImageSet, a folder, a zip file, paths, Pillow images or a uint8 "
        f"array (n, height, width, 3), got {got}. Make a set with stimuli.from_arrays or "
        f"stimuli.from_files."
    )


def natural_key(name: str) -> tuple[tuple[str | int, ...], str]:
    """Give a sort key by which ``img2`` comes before ``img10``, on every machine alike.

    Examples
    --------
    >>> sorted(["img10", "img2", "Img1"], key=natural_key)
    ['Img1', 'img2', 'img10']
    """
    parts = re.split(r"([0-9]+)", name.casefold())
    # Every second part is a number. The name itself breaks ties such as img1 and img01.
    return tuple(int(part) if i % 2 else part for i, part in enumerate(parts)), name


def _is_image(name: str) -> bool:
    base = name.rsplit("/", 1)[-1]
    return not base.startswith(".") and base.lower().endswith(IMAGE_SUFFIXES)


def _numbered(n: int) -> list[str]:
    width = len(str(max(n - 1, 0)))
    return [f"image-{i:0{width}d}" for i in range(n)]
