"""Bytes that survive a kill: durable small files, files of rows, the lock of a folder."""

from __future__ import annotations

import errno
import io
import logging
import os
import re
import shutil
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from isomorph.storage import format_size

logger = logging.getLogger(__name__)

LOCK_NAME = ".lock"
TEMPORARY_SUFFIX = ".tmp"

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
# A single system call moves less than 2 GiB on Linux and macOS.
_LARGEST_CALL = 1 << 30


class DiskFullError(OSError):
    """The disk, or the quota, or the largest size of a file, is used up."""


@contextmanager
def explain_full_disk(what: str, path: Path, kept: Callable[[], str]) -> Iterator[None]:
    """Turn the system's error for a full disk into one that says what is kept and what to do.

    Parameters
    ----------
    what : str
        What was being written: the layer and its rows.
    path : Path
        The file being written.
    kept : callable
        Says what is safe on disk, as a sentence.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        if not is_full(error):
            raise
        free = shutil.disk_usage(path.parent).free
        raise DiskFullError(
            f"{what}: no room to write {path} ({error}). {kept()} Free some space "
            f"({format_size(free)} is free there now) or raise the quota, then make the same call "
            f"again: it goes on from there."
        ) from error


def is_full(error: BaseException) -> bool:
    """Tell whether an error means a full disk; HDF5 and others say it in their text only."""
    if isinstance(error, DiskFullError):
        return False  # explained already
    numbers = {int(number) for number in re.findall(r"errno = (\d+)", str(error))}
    return getattr(error, "errno", None) in _FULL or bool(numbers & _FULL)


def durable_write(path: Path, content: str | bytes) -> None:
    """Write a small file so that it is there whole, or as before, even after a power cut.

    Unlike `isomorph.storage.atomic_write` the temporary name is fixed: the caller holds the
    folder's lock, and what a kill leaves behind is overwritten by the next call.
    """
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    data = content.encode() if isinstance(content, str) else content
    with temporary.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, path)
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Wait until a file, or every file of a folder, is on the disk."""
    for item in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if item.is_file():
            with item.open("rb+") as handle:
                os.fsync(handle.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until a folder's list of names is on the disk, where the system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(handle)
    except OSError:  # some network file systems refuse; the names are theirs to keep
        pass
    finally:
        os.close(handle)


@lru_cache(maxsize=4096)  # asked for with every write
def npy_header(shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    """Give the bytes before the values in a ``.npy`` file, as `numpy.save` writes them."""
    buffer = io.BytesIO()
    head = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, head)
    return buffer.getvalue()


@dataclass(frozen=True)
class RowFile:
    """A ``.npy`` file whose rows are written and read in any order, without mapping it.

    A mapped file on a full disk ends the process by SIGBUS; system calls give an error. And pages
    that are read by calls do not count as this process's memory.

    Parameters
    ----------
    path : Path
        The file.
    shape : tuple of int
        Shape of the whole array, (n_rows, ...).
    dtype : numpy.dtype
        Little-endian dtype of the values.

    Examples
    --------
    >>> rows = RowFile(Path("fc.npy.partial"), (100, 10), np.dtype("<f4"))  # doctest: +SKIP
    >>> rows.allocate()  # doctest: +SKIP
    >>> rows.write(20, np.zeros((5, 10), "<f4"))  # doctest: +SKIP
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def header(self) -> bytes:
        """The bytes before the first row."""
        return npy_header(self.shape, self.dtype)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def n_bytes(self) -> int:
        """Bytes of the whole file."""
        return len(self.header) + self.shape[0] * self.row_bytes

    def __len__(self) -> int:
        return self.shape[0]

    def allocate(self) -> None:
        """Make the file at its full size, claiming the space now where the system can."""
        with self.path.open("wb") as handle:
            handle.write(self.header)
            handle.flush()
            claim(handle, self.n_bytes)
            os.fsync(handle.fileno())

    def is_whole(self) -> bool:
        """Tell whether the file is there with its header and at its size."""
        if not self.path.is_file() or self.path.stat().st_size != self.n_bytes:
            return False
        with self.path.open("rb") as handle:
            return handle.read(len(self.header)) == self.header

    def write(self, start: int, rows: np.ndarray) -> None:
        """Write rows (b, ...) of this dtype at a position."""
        view = memoryview(np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data)
        offset = len(self.header) + start * self.row_bytes
        with self.path.open("rb+", buffering=0) as handle:
            while view:
                part = view[:_LARGEST_CALL]
                if hasattr(os, "pwrite"):
                    done = os.pwrite(handle.fileno(), part, offset)
                else:
                    handle.seek(offset)
                    done = handle.write(part) or 0
                view, offset = view[done:], offset + done

    def sync(self) -> None:
        """Wait until the rows are on the disk."""
        sync_file(self.path)

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Read rows into memory, (stop - start, ...)."""
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise ValueError(f"rows: expected a slice with step 1, got {step}.")
        values = np.fromfile(
            self.path,
            dtype=self.dtype,
            count=max(stop - start, 0) * prod(self.shape[1:]),
            offset=len(self.header) + start * self.row_bytes,
        )
        return values.reshape(max(stop - start, 0), *self.shape[1:])


@dataclass(frozen=True)
class RowSlice:
    """Some rows of a `RowFile`, as a writer of a format takes them."""

    file: RowFile
    start: int
    stop: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of these rows, (stop - start, ...)."""
        return (self.stop - self.start, *self.file.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """Dtype of the values."""
        return self.file.dtype

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Read rows, counted from the first of these."""
        start, stop, _ = rows.indices(self.stop - self.start)
        return self.file[self.start + start : self.start + stop]


def claim(handle: IO[bytes], n_bytes: int) -> None:
    """Give a file its full size, and the room for it where the system can."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(handle.fileno(), 0, n_bytes)
            return
        except OSError as error:
            if is_full(error):
                raise
            logger.debug("%s: space cannot be claimed ahead: %s", handle.name, error)
    handle.truncate(n_bytes)


def exactly(rows: np.ndarray, dtype: np.dtype, layer: str) -> np.ndarray:
    """Convert rows to the stored dtype; refuse what it cannot hold exactly."""
    if np.can_cast(rows.dtype, dtype, "safe") and rows.dtype.kind in "fb":
        return rows.astype(dtype, copy=False)
    if rows.dtype.kind in "fiub":
        with np.errstate(over="ignore", invalid="ignore"):
            values = rows.astype(dtype)
            same = (values.astype(rows.dtype) == rows) & (values == rows)
        if np.all(same | (rows != rows)):
            return values
    raise ValueError(
        f"layer {layer!r}: got {rows.dtype} values that {dtype.name} cannot hold exactly. Convert "
        "them before, or make the manifest with stored_dtype of their dtype."
    )


def join_intervals(intervals: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join ranges (start, stop) that touch or overlap.

    Examples
    --------
    >>> join_intervals([(4, 6), (0, 2), (2, 3)])
    [(0, 3), (4, 6)]
    """
    joined: list[tuple[int, int]] = []
    for start, stop in sorted(intervals):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return joined


class FolderLock:
    """Keep a second writer out of a folder; a kill frees the lock.

    Parameters
    ----------
    folder : Path
        It must exist; the lock is a file in it.

    Raises
    ------
    BlockingIOError
        If another process (or this one) is writing there.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK_NAME
        while True:
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _lock(self._handle, folder)
                # Whoever held it may have removed the file between our opening and locking it.
                if os.path.samestat(os.fstat(self._handle), self._path.stat()):
                    break
            except FileNotFoundError:
                pass
            except BaseException:
                os.close(self._handle)
                raise
            os.close(self._handle)
        os.ftruncate(self._handle, 0)
        os.write(self._handle, str(os.getpid()).encode())
        _held.add(self)

    def release(self) -> None:
        """Free the folder."""
        self._path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Close the file, which frees the lock unless another process has the same file open."""
        _held.discard(self)
        os.close(self._handle)


def _lock(handle: int, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        logger.debug("%s: no file locks on this system", folder)
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(handle, 32).decode(errors="replace").strip()
        raise BlockingIOError(
            f"folder: {folder} is being written to by another extraction"
            + (f" (process {holder})" if holder else "")
            + ". Wait until it has finished, or choose another folder."
        ) from None
    except OSError as error:
        logger.warning("%s: this file system has no locks (%s); going on", folder, error)


def _close_inherited() -> None:
    for lock in list(_held):
        lock.close()


# A worker process that is forked inherits the open file, and with it the lock: it would keep the
# folder locked for as long as it outlives a killed parent. So workers close it at once.
_held: weakref.WeakSet[FolderLock] = weakref.WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited)
