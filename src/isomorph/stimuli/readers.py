"""Making image sets from files, zip files, arrays and Pillow images."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from isomorph.stimuli.images import ImageSet
from isomorph.stimuli.names import listing, natural_key, numbered
from isomorph.stimuli.sources import (
    Archive,
    ArraySource,
    FileSource,
    PillowSource,
    ZipSource,
)

IMAGE_SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".eps", ".jp2", ".avif"),
)


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
    files = existing_files(paths)
    names = ids if ids is not None else [path.name for path in files]
    return ImageSet(tuple(names), tuple(FileSource(path) for path in files), origin=origin)


def existing_files(paths: Iterable[str | Path]) -> list[Path]:
    """Give the paths, each one to a file that is there."""
    files = [Path(path).expanduser() for path in paths]
    missing = [str(path) for path in files if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"stimuli: expected {len(files)} files, but {len(missing)} are missing: "
            f"{listing(missing)}. Check the paths (relative ones start at {Path.cwd()})."
        )
    return files


def from_arrays(
    arrays: np.ndarray | Sequence[np.ndarray],
    ids: Sequence[str] | None = None,
    *,
    metadata: pd.DataFrame | None = None,
) -> ImageSet:
    """Take images in memory.

    Parameters
    ----------
    arrays : ndarray (n, height, width, 3) or (n, height, width) uint8, or a sequence of arrays
        RGB, values 0 to 255, or grey. The arrays of a sequence, each (height, width, 3) or
        (height, width), may differ in size. They are not copied: do not change them afterwards.
    ids : sequence of str, optional
        By default ``image-0``, ``image-1`` …
    metadata : DataFrame, optional
        One row an image.

    Returns
    -------
    ImageSet

    Raises
    ------
    ValueError
        If a shape or dtype is another; says how to get there.
    """
    if isinstance(arrays, np.ndarray) and arrays.ndim == 3 and arrays.shape[2] in (1, 3, 4):
        # Its first axis would be taken for stimuli: a photograph for hundreds of grey stripes.
        raise ValueError(
            f"stimuli: expected images (n, height, width, 3), or (n, height, width) for grey, got "
            f"{arrays.shape}, which looks like one image. Pass array[None] for a set of one."
        )
    sources = []
    for i, array in enumerate(arrays):
        array = np.asarray(array)
        good = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
        if array.dtype != np.uint8 or not good or array.size == 0:
            raise ValueError(
                f"stimuli: expected images of shape (height, width, 3) and dtype uint8, got "
                f"{array.shape} {array.dtype} at position {i}. {_remedy(array)}"
            )
        sources.append(ArraySource(array))
    names = ids if ids is not None else numbered(len(sources))
    frame = pd.DataFrame() if metadata is None else metadata
    return ImageSet(tuple(names), tuple(sources), metadata=frame, origin="arrays, as given")


def _remedy(array: np.ndarray) -> str:
    """Say how an array that is no image of 8-bit RGB becomes one."""
    shape = array.shape
    steps = []
    if array.ndim == 3 and shape[2] != 3:
        if shape[0] in (1, 3, 4) and shape[2] not in (1, 4):
            steps.append("its channels come first: move them last with np.moveaxis(array, -3, -1)")
        elif shape[2] == 1:
            steps.append("take grey without an axis for channels: array[..., 0]")
        elif shape[2] == 4:
            steps.append('lay transparent images on white: Image.fromarray(array, "RGBA")')
    if array.dtype.kind == "f":
        unit = array.size and np.nanmin(array) >= 0 and np.nanmax(array) <= 1
        scale = "multiply by 255, round" if unit else "scale to 0–255, round"
        steps.append(f"{scale} and convert with .astype(np.uint8)")
    elif array.dtype != np.uint8:
        steps.append("scale to 0–255 and convert with .astype(np.uint8)")
    text = "; ".join(steps) or "give one array an image, channels last"
    return f"{text[0].upper()}{text[1:]}."


def from_images(images: Iterable[Image.Image], ids: Sequence[str] | None = None) -> ImageSet:
    """Take Pillow images in the order given; ids are ``image-0`` … unless given."""
    sources = tuple(PillowSource(image) for image in images)
    names = ids if ids is not None else numbered(len(sources))
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
        The id of a member is its file name, without the folders before it, unless two members
        have one name: then all ids are paths.

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
        chosen = [name for name in members if is_image(name) and "__MACOSX" not in name]
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
    ids = [name.rsplit("/", 1)[-1] for name in chosen]
    return ImageSet(
        tuple(ids if len(set(ids)) == len(ids) else chosen),
        tuple(ZipSource(shared, name) for name in chosen),
        origin=f"{path.name}, {'natural order' if names is None else 'as given'}",
    )


def is_image(name: str) -> bool:
    """Say whether a file's name is that of an image (hidden files are none)."""
    base = name.rsplit("/", 1)[-1]
    return not base.startswith(".") and base.lower().endswith(IMAGE_SUFFIXES)
