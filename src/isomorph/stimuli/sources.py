"""Where one stimulus comes from; images in files, archives and memory."""

from __future__ import annotations

import io
import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from PIL import Image

from isomorph.stimuli.colour import check_header, to_rgb
from isomorph.storage import hash_array, hash_bytes, hash_file


class Source(Protocol):
    """One stimulus that can be read any number of times, from any thread."""

    @property
    def where(self) -> str:
        """Name the place in words, for error messages."""
        ...

    def read(self) -> Any:
        """Decode the stimulus: an image into RGB."""
        ...

    def check(self) -> None:
        """Raise an error if it is missing, empty or of no known format; decode nothing."""
        ...

    def content_hash(self) -> str:
        """Hash the stored bytes or values."""
        ...


def read_image(file: Path | BinaryIO) -> Image.Image:
    """Decode an image file into RGB."""
    with _opened(file) as image:
        check_header(image)
        image.load()
        return to_rgb(image)


def check_image(file: Path | BinaryIO, size: int) -> None:
    """Raise an error if a file of `size` bytes is empty or does not begin as an image."""
    if size == 0:
        raise ValueError("an empty file")
    with _opened(file) as image:
        check_header(image)


@contextmanager
def _opened(file: Path | BinaryIO) -> Iterator[Image.Image]:
    # Never by its path: Pillow then maps the file into memory, and the rows of a turned,
    # uncompressed grey TIFF come out scrambled (seen in Pillow 13.0).
    opened = file.open("rb") if isinstance(file, Path) else nullcontext(file)
    with opened as handle, Image.open(handle) as image:
        yield image


@dataclass(frozen=True)
class FileSource:
    """An image file."""

    path: Path

    @property
    def where(self) -> str:
        return str(self.path)

    def read(self) -> Image.Image:
        return read_image(self.path)

    def check(self) -> None:
        check_image(self.path, self.path.stat().st_size)

    def content_hash(self) -> str:
        return hash_file(self.path)


@dataclass(frozen=True, eq=False)
class ArraySource:
    """An image in memory: (height, width, 3) RGB or (height, width) grey, uint8."""

    array: np.ndarray
    where: str = "an array"

    def read(self) -> Image.Image:
        return Image.fromarray(self.array).convert("RGB")

    def check(self) -> None:
        """Do nothing: the array was checked when the set was made."""

    def content_hash(self) -> str:
        return hash_array(self.array)


@dataclass(frozen=True, eq=False)
class PillowSource:
    """A Pillow image that the user holds."""

    image: Image.Image
    where: str = "a Pillow image"

    def read(self) -> Image.Image:
        # A copy: decoding a lazily opened image in two threads at once is not safe, and what is
        # handed out must not let a caller draw on the stimulus.
        # It forgets the TIFF tags, which may say that 0 is white.
        return to_rgb(self.image.copy(), tags=getattr(self.image, "tag_v2", None))

    def check(self) -> None:
        check_header(self.image)

    def content_hash(self) -> str:
        return hash_array(np.asarray(self.read()))


@dataclass(frozen=True)
class DrawnSource:
    """An image that a function draws whenever it is asked for: ``draw(*arguments)``."""

    draw: Callable[..., np.ndarray]
    arguments: tuple[Any, ...]
    where: str

    def read(self) -> Image.Image:
        return Image.fromarray(self.draw(*self.arguments))

    def check(self) -> None:
        """Do nothing: what is drawn is always there."""

    def content_hash(self) -> str:
        return hash_array(self.draw(*self.arguments))


@dataclass
class Archive:
    """A zip file that stays open: reading its directory anew for each image costs more than it."""

    path: Path
    _handle: zipfile.ZipFile | None = field(default=None, repr=False)
    _process: int = field(default=0, repr=False)
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    def read(self, member: str) -> bytes:
        """Give one member's bytes, checked against the archive's checksum."""
        with self._lock:
            # A forked process shares the file's position with its parent: open it anew there.
            if self._handle is None or self._process != os.getpid():
                self._handle, self._process = zipfile.ZipFile(self.path), os.getpid()
            handle = self._handle
        return handle.read(member)  # ZipFile reads are safe between threads

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path = state["path"]
        self._handle, self._process, self._lock = None, 0, threading.Lock()


@dataclass(frozen=True)
class ZipSource:
    """An image inside a zip file."""

    archive: Archive
    member: str

    @property
    def where(self) -> str:
        return f"{self.archive.path}:{self.member}"

    def read(self) -> Image.Image:
        return read_image(io.BytesIO(self.archive.read(self.member)))

    def check(self) -> None:
        content = self.archive.read(self.member)
        check_image(io.BytesIO(content), len(content))

    def content_hash(self) -> str:
        return hash_bytes(self.archive.read(self.member))
