"""Where data lives on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pooch

ENVIRONMENT_VARIABLE = "ISOMORPH_DATA"


def cache_folder() -> Path:
    """Give the folder for downloads: ``ISOMORPH_CACHE``, or the system's own for caches."""
    return Path(os.environ.get("ISOMORPH_CACHE") or pooch.os_cache("isomorph"))


def data_folders(root: str | Path | None = None) -> list[Path]:
    """List the folders where data is looked for, in order."""
    if root is not None:
        return [Path(root).expanduser()]
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    return ([Path(named).expanduser()] if named else []) + [cache_folder() / "data"]


def find_data(name: str, files: Iterable[str], *, root: str | Path | None = None) -> Path:
    """Find the folder that holds a data set's files; touches no network.

    Parameters
    ----------
    name : str
        The data set's folder name.
    files : iterable of str
        Names of its files.
    root : str or Path, optional
        A folder that holds the files, or holds a folder `name` with them. By default
        ``ISOMORPH_DATA`` and then the cache are searched.

    Returns
    -------
    Path
        A folder that holds every file.

    Raises
    ------
    FileNotFoundError
        If they are nowhere; says which are missing where, and where to put them.
    """
    files = list(files)
    looked: list[str] = []
    for folder in data_folders(root):
        for place in (folder / name, folder):
            missing = [file for file in files if not (place / file).is_file()]
            if not missing:
                return place
            looked.append(f"{place} (missing {', '.join(missing)})")
            if len(missing) < len(files):
                break  # the right folder, but not whole: do not blame the one above it
    raise FileNotFoundError(
        f"{name}: expected {', '.join(files)}; looked in {'; '.join(looked)}. "
        f"Put the files in a folder {name!r} and name the folder above it by "
        f"{ENVIRONMENT_VARIABLE} or root=."
    )
