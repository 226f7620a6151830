"""How any image becomes upright 8-bit RGB."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import EpsImagePlugin, Image, ImageOps

_SIXTEEN_BIT = ("I", "I;16", "I;16B", "I;16L", "I;16N")
_WHITE_8, _WHITE_16 = 255, 65535
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # TIFF 6.0, section 8


def to_rgb(image: Image.Image, *, tags: Mapping[int, Any] | None = None) -> Image.Image:
    """Turn any decoded image into upright 8-bit RGB.

    The rotation that EXIF asks for is applied. Transparent images are laid on white. 16-bit
    greyscale is divided by 257, so that black stays 0 and white becomes 255; so are 32-bit
    integers, unless none is above 255, where nothing tells 8 bits from a dark 16-bit image. TIFFs
    of 12 bits, and those whose 0 is white, are scaled accordingly. Greyscale, palette and CMYK
    images are converted; of an animation the first frame, of several pages the first is taken.
    Colour profiles are not applied, as in torchvision.

    Parameters
    ----------
    image : PIL.Image.Image
        Any mode but 32-bit float or integers beyond 16 bits, whose range is not known.
    tags : mapping, optional
        The tags of the TIFF file, where `image` is a copy that has lost them.

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
    known: Mapping[int, Any] = tags or getattr(image, "tag_v2", None) or {}
    image = ImageOps.exif_transpose(image)
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    check_header(image)
    if image.mode in _SIXTEEN_BIT:
        bits = known.get(_BITS_PER_SAMPLE, (16,))[0]
        inverted = image.mode != "I" and known.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
        return _from_deep_grey(image, 4095 if bits == 12 else _WHITE_16, inverted)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def check_header(image: Image.Image) -> None:
    """Refuse an image that cannot become RGB, before it is decoded.

    Raises
    ------
    ValueError
        If its pixels have no known range.
    RuntimeError
        If it is an EPS file and Ghostscript, which draws these, is not installed.
    """
    if image.mode == "F":
        raise ValueError(
            "expected pixels of 8 or 16 bits, got mode 'F', whose range is not known. Save the "
            "image with 8 bits a channel (values from 0 to 1: multiply by 255 and round)"
        )
    if image.format == "EPS" and not EpsImagePlugin.has_ghostscript():
        raise RuntimeError(
            "an EPS file, which Ghostscript draws, and no Ghostscript on this machine. Install it "
            "(apt install ghostscript, brew install ghostscript), or convert the image to PNG"
        )


def _from_deep_grey(image: Image.Image, white: int, inverted: bool) -> Image.Image:
    """Scale greyscale of more than 8 bits so that `white` becomes 255."""
    values = np.asarray(image).astype(np.int64)
    if image.mode == "I" and values.min() >= 0 and values.max() <= _WHITE_8:
        raise ValueError(
            f"expected pixels of 8 or 16 bits, got mode 'I' (32-bit integers) up to "
            f"{values.max()}: 8 or 16 bits? Save the image as 8-bit greyscale ('L') or 16-bit "
            f"('I;16')"
        )
    if values.min() < 0 or values.max() > white:
        raise ValueError(
            f"expected pixels of 8 or 16 bits, got mode {image.mode!r} with values from "
            f"{values.min()} to {values.max()}, whose range is not known. Save the image with 8 "
            f"bits a channel"
        )
    # Rounded to nearest: white is odd, so that there are no ties.
    eight = (values * _WHITE_8 + white // 2) // white
    return Image.fromarray((_WHITE_8 - eight if inverted else eight).astype(np.uint8)).convert(
        "RGB"
    )
