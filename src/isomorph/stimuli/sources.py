"""Where one image comes from, and how it becomes 8-bit RGB."""

from __future__ import annotations

import io
import os
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image, ImageOps

from isomorph.storage import hash_array, hash_bytes, hash_file

_SIXTEEN_BIT = ("I", "I;16", "I;16B", "I;16L", "I;16N")
_WHITE_8 = 255


class Source(Protocol):
    """One image that can be read any number of times, from any thread."""

    @property
    def where(self) -> str:
        """Name the place in words, for error messages."""
        ...

    def read(self) -> Image.Image:
        """Decode the image into RGB."""
        ...

    def content_hash(self) -> str:
        """Hash the stored bytes or pixels."""
        ...


def to_rgb(image: Image.Image) -> Image.Image:
    """Turn any decoded image into upright 8-bit RGB.

    The rotation that EXIF asks for is applied. Transparent images are laid on white. 16-bit
    greyscale is divided by 257, so that black stays 0 and white becomes 255; so are 32-bit
    integers, unless none is above 255, where nothing tells 8 bits from a dark 16-bit image.
    Greyscale, palette and CMYK images are converted; of an animation the first frame is taken.

    Parameters
    ----------
    image : PIL.Image.Image
        Any mode but 32-bit float or integers beyond 16 bits, whose range is not known.

    Returns
    -------
    PIL.Image.Image
        Mode RGB.

    Raises
    ------
    ValueError
        If the pixel values have no known range.

    Examples
    --------
    >>> to_rgb(Image.new("LA", (2, 2), (0, 0))).getpixel((0, 0))
    (255, 255, 255)
    """
    image = ImageOps.exif_transpose(image)
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in _SIXTEEN_BIT:
        values = np.asarray(image).astype(np.int64)
        if image.mode == "I" and values.min() >= 0 and values.max() <= _WHITE_8:
            raise ValueError(
                f"expected pixels of 8 or 16 bits, got mode 'I' (32-bit integers) up to "
                f"{values.max()}: 8 or 16 bits? Save the image as 8-bit greyscale ('L') or 16-bit "
                f"('I;16')"
            )
        if values.min() >= 0 and values.max() <= 65535:
            return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in (*_SIXTEEN_BIT, "F"):
        raise ValueError(
            f"expected pixels of 8 or 16 bits, got mode {image.mode!r}, whose range is not known. "
            f"Save the image with 8 bits a channel"
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


@dataclass(frozen=True)
class FileSource:
    """An image file."""

    path: Path

    @property
    def where(self) -> str:
        return str(self.path)

    def read(self) -> Image.Image:
        with Image.open(self.path) as image:
            image.load()
            return to_rgb(image)

    def content_hash(self) -> str:
        return hash_file(self.path)


@dataclass(frozen=True, eq=False)
class ArraySource:
    """An image in memory: (height, width, 3) RGB or (height, width) grey, uint8."""

    array: np.ndarray
    where: str = "an array"

    def read(self) -> Image.Image:
        return Image.fromarray(self.array).convert("RGB")

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
        return to_rgb(self.image.copy())

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
        with Image.open(io.BytesIO(self.archive.read(self.member))) as image:
            image.load()
            return to_rgb(image)

    def content_hash(self) -> str:
        return hash_bytes(self.archive.read(self.member))
