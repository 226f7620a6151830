"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes the name only if the block succeeds.

    Parameters
    ----------
    path : str or Path
        The file to be; its folder is made if needed.

    Yields
    ------
    Path
        Where to write. It keeps the suffix of `path`, since many writers read the suffix.

    Examples
    --------
    >>> with atomic_write(folder / "scores.csv") as temporary:  # doctest: +SKIP
    ...     frame.to_csv(temporary)
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp gives 0600; a shared lab folder needs more.
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_folder(path: str | Path, name: str) -> Path:
    """Refuse a folder that cannot be written to, before long work is done for it.

    Parameters
    ----------
    path : str or Path
        The folder; it need not exist, and is not made here.
    name : str
        The argument that named it, for the error.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If it, or the nearest folder above it that exists, is a file or may not be written to.
    """
    path = Path(path).expanduser()
    nearest = path
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise ValueError(f"{name}: expected a folder, but {nearest} is a file.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ValueError(f"{name}: {nearest} may not be written to. Choose another folder.")
    return path
