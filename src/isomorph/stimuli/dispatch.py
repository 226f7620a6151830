"""`as_stimuli`: a set of stimuli from whatever holds some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import pandas as pd
from PIL import Image

from isomorph.stimuli.bricks import from_hdf5
from isomorph.stimuli.folders import class_folders, from_class_folders, from_folder, image_files
from isomorph.stimuli.images import ImageSet
from isomorph.stimuli.names import listing
from isomorph.stimuli.readers import (
    from_arrays,
    from_files,
    from_images,
    from_zip,
    is_image,
)
from isomorph.stimuli.tables import AnySet, from_frame, from_huggingface
from isomorph.stimuli.texts import TextSet, from_texts
from isomorph.stimuli.videos import VideoSet, from_videos, is_video

SetType = TypeVar("SetType", ImageSet, TextSet, VideoSet)


@overload
def as_stimuli(stimuli: SetType) -> SetType: ...
@overload
def as_stimuli(stimuli: np.ndarray) -> ImageSet: ...
@overload
def as_stimuli(stimuli: Any) -> AnySet: ...


def as_stimuli(stimuli: Any) -> AnySet:
    """Make a set of stimuli of whatever holds some.

    Parameters
    ----------
    stimuli : ImageSet, TextSet, VideoSet, str, Path, ndarray, DataFrame, dataset or sequence
        A set (given back as it is); a folder of images, of class folders or of videos; a zip file;
        an HDF5 file with NSD's ``imgBrick``; an image or video file; an array (n, height, width,
        3) or (n, height, width) uint8; a sequence of paths, arrays or Pillow images; a DataFrame
        with one column of these; a Hugging Face dataset; a mapping of names to texts.

    Returns
    -------
    ImageSet, TextSet or VideoSet

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        If it is none of these; says which function makes a set of it.
    """
    if isinstance(stimuli, ImageSet | TextSet | VideoSet):
        return stimuli
    if isinstance(stimuli, str | Path):
        return _from_path(Path(stimuli).expanduser())
    if isinstance(stimuli, pd.DataFrame):
        return from_frame(stimuli, _usable_column(stimuli), kind=_kind_of(stimuli))
    if hasattr(stimuli, "column_names"):
        return from_huggingface(stimuli)
    if isinstance(stimuli, np.ndarray) and stimuli.dtype.kind not in "OUS":
        return from_arrays(stimuli)
    if isinstance(stimuli, Sequence | np.ndarray):
        items = list(stimuli)
        if items and all(isinstance(item, str | Path) for item in items):
            return _from_paths(items)
        if all(isinstance(item, Image.Image) for item in items):
            return from_images(items)
        if all(isinstance(item, np.ndarray) for item in items):
            return from_arrays(items)
    if isinstance(stimuli, Mapping) and stimuli and all(map(_is_text, stimuli.values())):
        return from_texts(stimuli)
    raise TypeError(
        f"stimuli: expected an ImageSet, a folder, a zip file, paths, Pillow images, a uint8 array "
        f"(n, height, width, 3), a DataFrame, a Hugging Face dataset or {{name: text}}, got "
        f"{type(stimuli).__name__}. Make a set with stimuli.from_arrays, from_files or from_texts."
    )


def _is_text(value: Any) -> bool:
    """Whether a value is a text, or several."""
    several = isinstance(value, Sequence) and bool(value) and isinstance(value[0], str)
    return isinstance(value, str) or several


def _from_path(path: Path) -> AnySet:
    """Make a set of a folder or a single file."""
    if path.is_dir():
        return _from_directory(path)
    suffix = path.suffix.lower()
    if suffix == ".zip":
        return from_zip(path)
    if suffix in (".h5", ".hdf5"):
        return from_hdf5(path)
    if suffix in (".txt", ".csv", ".tsv") and path.is_file():
        raise TypeError(
            f"stimuli: expected stimuli at {path}, got a text file. Texts line by line are read by "
            f"stimuli.from_text_file, images in the order of a file by stimuli.from_folder(folder, "
            f"order=...), and a table's column by stimuli.from_frame."
        )
    if not path.is_file():
        return from_folder(path)  # which says what is there instead
    return _from_paths([path])


def _from_directory(folder: Path) -> AnySet:
    """Make a set of a folder's images, else its class folders, else its videos."""
    if image_files(folder):
        return from_folder(folder)
    if class_folders(folder):
        return from_class_folders(folder)
    if any(is_video(path.name) for path in folder.iterdir()):
        return from_videos(folder)
    return from_folder(folder)  # which says what is there instead


def _from_paths(paths: list[str | Path]) -> AnySet:
    """Make a set of files: all images, or all videos."""
    videos = [str(path) for path in paths if is_video(path)]
    if len(videos) == len(paths):
        return from_videos(paths)
    if videos:
        raise ValueError(
            f"stimuli: expected images or videos, got both: {len(videos)} of {len(paths)} files "
            f"are videos ({listing(videos)}). Make a set of each, or take the videos' frames with "
            f"stimuli.frames."
        )
    names = [path for path in paths if isinstance(path, str)]
    there = any(Path(path).expanduser().exists() for path in paths)
    if len(names) == len(paths) and not there and not any(is_image(name) for name in names):
        raise ValueError(
            f"stimuli: expected paths of images or videos, got {len(names)} strings that are no "
            f"files, such as {names[0]!r}. For texts make a set with stimuli.from_texts."
        )
    return from_files(paths)


def _usable_column(frame: pd.DataFrame) -> str:
    """Give the only column of a table that holds images or videos."""
    usable = [str(name) for name in frame.columns if _holds_stimuli(frame[name])]
    if len(usable) != 1:
        raise ValueError(
            f"stimuli: expected a table with one column of image or video files, Pillow images or "
            f"arrays, got {len(usable)}{' (' + listing(usable) + ')' if usable else ''} among "
            f"{listing([str(name) for name in frame.columns])}. Name it with "
            f'stimuli.from_frame(frame, column), for texts with kind="text".'
        )
    return usable[0]


def _kind_of(frame: pd.DataFrame) -> Any:
    column = frame[_usable_column(frame)]
    return "video" if all(isinstance(x, str | Path) and is_video(x) for x in column) else "image"


def _holds_stimuli(column: pd.Series) -> bool:
    items = list(column)
    if items and all(isinstance(item, str | Path) for item in items):
        # Names with a suffix are meant as files; which are missing is for `from_frame` to say.
        return all(is_image(str(item)) or is_video(item) for item in items)
    return bool(items) and all(isinstance(item, Image.Image | np.ndarray) for item in items)
