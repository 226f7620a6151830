"""Image sets from folders: flat, one folder a class, or in the order that a file gives."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from isomorph.stimuli.images import ImageSet
from isomorph.stimuli.names import listing, natural_key
from isomorph.stimuli.protocol import StimulusSet
from isomorph.stimuli.readers import IMAGE_SUFFIXES, from_files, is_image
from isomorph.stimuli.sources import FileSource
from isomorph.storage import atomic_write

logger = logging.getLogger(__name__)


def from_folder(folder: str | Path, *, order: str | Path | Sequence[str] | None = None) -> ImageSet:
    """Take every image in a folder, in natural order (``img2`` before ``img10``).

    Parameters
    ----------
    folder : str or Path
        Its own files only, not those of folders in it. A file's id is its name with suffix.
    order : str, Path or sequence of str, optional
        A text file with one name or path a line, such as ``file_names.txt`` of THINGSvision, or
        the names themselves. They are taken in that order, and no others. A line may name a file
        in a folder inside `folder` (``cat/01.jpg``, whose id this is then), or be a path on
        another machine, of which as much of the end is used as there is here.

    Returns
    -------
    ImageSet

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or no file for a line of the order; shows up to five.
    ValueError
        If there is no image in it, or the order names a file twice.

    Examples
    --------
    >>> images = from_folder("faces/")  # doctest: +SKIP
    >>> same = from_folder("faces/", order="features/file_names.txt")  # doctest: +SKIP
    """
    folder = existing_folder(folder)
    if order is not None:
        return _in_order(folder, order)
    paths = image_files(folder)
    if not paths:
        hint = "pass a list of paths to take images from several"
        if class_folders(folder):
            hint = "from_class_folders takes one folder a class, and " + hint
        raise ValueError(
            f"stimuli: expected image files in {folder}, got {sum(1 for _ in folder.iterdir())} "
            f"other entries and no image ({' '.join(IMAGE_SUFFIXES)}). Folders inside it are not "
            f"searched; {hint}."
        )
    return from_files(paths, origin=f"folder {folder.name}, natural order")


def from_class_folders(
    root: str | Path,
    *,
    classes: Sequence[str] | None = None,
    per_class: int | None = None,
    seed: int = 0,
) -> ImageSet:
    """Take the images in the folders of a folder, each of which is a class.

    Parameters
    ----------
    root : str or Path
        Holds one folder a class; images may lie in folders inside these.
    classes : sequence of str, optional
        Which classes, in which order. By default all in natural order.
    per_class : int, optional
        Draw this many of each class, with `seed`. By default all.
    seed : int
        For `per_class`.

    Returns
    -------
    ImageSet
        Ids such as ``cat/01.jpg``; the metadata column ``label`` holds the class. Class after
        class, in natural order of the names within each.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If a class is not there or has no image, or fewer than `per_class`.

    Examples
    --------
    >>> images = from_class_folders("things/", per_class=5, seed=0)  # doctest: +SKIP
    >>> images.labels[:6]  # doctest: +SKIP
    ('aardvark', 'aardvark', 'aardvark', 'aardvark', 'aardvark', 'abacus')
    """
    root = existing_folder(root)
    found = class_folders(root)
    if classes is not None:
        missing = [name for name in classes if name not in found]
        if missing:
            raise ValueError(
                f"stimuli: expected {len(classes)} class folders in {root}, but {len(missing)} are "
                f"not there or hold no image: {listing(missing)}. It has {listing(list(found))}."
            )
        found = {name: found[name] for name in classes}
    if not found:
        raise ValueError(
            f"stimuli: expected folders with images in {root}, one a class, got none. For a folder "
            f"that holds the images itself use from_folder."
        )
    empty = [path.name for path in _folders_in(root) if path.name not in found]
    if empty and classes is None:
        logger.warning("%s: folders without images are no classes: %s", root, listing(empty))
    beside = image_files(root)
    if beside:
        logger.warning(
            "%s: %d images that lie beside the class folders are left out", root, len(beside)
        )
    paths = [path for files in found.values() for path in files]
    images = ImageSet(
        tuple(path.relative_to(root).as_posix() for path in paths),
        tuple(FileSource(path) for path in paths),
        metadata=pd.DataFrame({"label": [name for name, files in found.items() for _ in files]}),
        origin=f"class folders of {root.name}, "
        + ("natural order" if classes is None else "classes as given, natural order within"),
    )
    return images if per_class is None else images.per_class(per_class, seed)


def write_order(stimuli: StimulusSet, path: str | Path) -> Path:
    """Write the ids, one a line, as THINGSvision's ``file_names.txt``; `from_folder` reads it.

    Parameters
    ----------
    stimuli : StimulusSet
        In the order to record.
    path : str or Path
        The text file to write.

    Returns
    -------
    Path
        The file.
    """
    broken = [name for name in stimuli.ids if len(name.splitlines()) != 1]
    if broken:
        raise ValueError(
            f"stimuli: expected names of one line, got {listing([repr(name) for name in broken])}. "
            f"Give other ids=."
        )
    path = Path(path).expanduser()
    with atomic_write(path) as temporary:
        temporary.write_text("".join(f"{name}\n" for name in stimuli.ids), encoding="utf-8")
    return path


def existing_folder(folder: str | Path) -> Path:
    """Give the folder, which is there."""
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise FileNotFoundError(
            f"stimuli: expected a folder of images at {folder}, got {found} there. "
            f"Check the path (relative ones start at {Path.cwd()})."
        )
    return folder


def image_files(folder: Path) -> list[Path]:
    """Give the image files of a folder itself, in natural order."""
    files = [path for path in folder.iterdir() if path.is_file() and is_image(path.name)]
    return sorted(files, key=lambda path: natural_key(path.name))


def class_folders(root: Path) -> dict[str, list[Path]]:
    """Give the folders in a folder that hold images, and these, all in natural order."""
    found = {}
    for folder in _folders_in(root):
        paths = [
            Path(place) / name
            for place, _, names in os.walk(folder)
            for name in names
            if is_image(name)
        ]
        if paths:
            key = {path: natural_key(path.relative_to(root).as_posix()) for path in paths}
            found[folder.name] = sorted(paths, key=key.__getitem__)
    return found


def _folders_in(root: Path) -> list[Path]:
    """Give the folders in a folder, but hidden ones, in natural order."""
    folders = [path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return sorted(folders, key=lambda path: natural_key(path.name))


def _in_order(folder: Path, order: str | Path | Sequence[str]) -> ImageSet:
    """Take the files that an order names."""
    if isinstance(order, str | Path):
        place = Path(order).expanduser()
        place = place if place.is_file() or place.is_absolute() else folder / place
        if not place.is_file():
            raise FileNotFoundError(
                f"order: expected a text file at {order}, got nothing there. Check the path."
            )
        lines, said = place.read_text(encoding="utf-8-sig").splitlines(), place.name
    else:
        lines, said = [str(name) for name in order], "order="
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise ValueError(f"order: expected one file name a line in {said}, got none.")
    found = {line: _file_of(folder, line) for line in lines}
    missing = [line for line, path in found.items() if path is None]
    if missing:
        raise FileNotFoundError(
            f"order: expected {len(lines)} files in {folder}, but {len(missing)} that {said} names "
            f"are missing: {listing(missing)}. Check that it was written for this folder."
        )
    paths = [path for path in (found[line] for line in lines) if path is not None]
    if len(set(paths)) < len(paths):
        twice = [path.name for path, count in Counter(paths).items() if count > 1]
        raise ValueError(
            f"order: expected each file of {folder} once in {said}, but {len(twice)} are named "
            f"more than once: {listing(twice)}. Check that it was written for this folder."
        )
    left_out = len(image_files(folder)) - sum(path.parent == folder for path in paths)
    if left_out > 0:
        logger.info("%s: %d images that %s does not name are left out", folder, left_out, said)
    ids = [path.relative_to(folder).as_posix() for path in paths]
    labels = [name.split("/")[0] for name in ids if "/" in name]
    return ImageSet(
        tuple(ids),
        tuple(FileSource(path) for path in paths),
        metadata=pd.DataFrame({"label": labels} if len(labels) == len(ids) else {}),
        origin=f"folder {folder.name}, in the order of {said}",
    )


def _file_of(folder: Path, line: str) -> Path | None:
    """Find the file in a folder that a line means: by the longest end of its path that is there."""
    for name in (line, line.strip()):
        parts = PurePosixPath(name.replace("\\", "/")).parts
        parts = parts[1:] if parts and parts[0] == "/" else parts
        for start in range(len(parts)):
            path = folder.joinpath(*parts[start:])
            if ".." not in parts[start:] and path.is_file():
                return path
    return None
