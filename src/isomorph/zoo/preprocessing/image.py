"""Preprocessing of images as data: printed, fingerprinted, changed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:  # who only reads the catalogue does not wait for them
    import torch

INTERPOLATIONS = ("nearest", "nearest-exact", "bilinear", "bicubic", "box", "hamming", "lanczos")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ImagePreprocess:
    """Turn a picture into one input: resize, crop the centre, scale, normalise.

    Parameters
    ----------
    resize : int, tuple of int, or None
        Length of the shorter side (the other in proportion), or (height, width); None leaves the
        size.
    crop : int, tuple of int, or None
        Side or (height, width) that is cut from the centre; smaller pictures are padded with 0.
    interpolation : str
        ``nearest``, ``bilinear``, ``bicubic``, ``lanczos``, ``box`` or ``hamming``, as Pillow does
        them (antialiased).
    mean, std : tuple of float
        Of the three channels, on the scale that `divide_by` leaves.
    divide_by : float
        Pixel values, 0 to 255, are divided by it first.
    channels : {"RGB", "BGR"}
        Order of the channels, which `mean` and `std` follow.

    Examples
    --------
    >>> preprocess = ImagePreprocess(resize=256, crop=224)
    >>> preprocess(Image.new("RGB", (640, 480))).shape
    torch.Size([3, 224, 224])

    One thing changed, ``dataclasses.replace(model.preprocess, crop=None, resize=(224, 224))`` makes
    a model see whole pictures, squeezed into a square.
    """

    resize: int | tuple[int, int] | None = 256
    crop: int | tuple[int, int] | None = 224
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    divide_by: float = 255.0
    channels: str = "RGB"

    def __post_init__(self) -> None:
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"interpolation: expected one of {', '.join(INTERPOLATIONS)}, got "
                f"{self.interpolation!r}."
            )
        if self.channels not in ("RGB", "BGR"):
            raise ValueError(f"channels: expected 'RGB' or 'BGR', got {self.channels!r}.")
        for name in ("resize", "crop", "mean", "std"):
            value = getattr(self, name)
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """(3, height, width) float32."""
        import torch
        from torchvision.transforms import InterpolationMode, functional

        picture: Any = image if image.mode == "RGB" else image.convert("RGB")
        if self.resize is not None:
            size = [self.resize] if isinstance(self.resize, int) else list(self.resize)
            picture = functional.resize(picture, size, InterpolationMode(self.interpolation))
        if self.crop is not None:
            sides = self.crop if isinstance(self.crop, tuple) else (self.crop, self.crop)
            picture = functional.center_crop(picture, list(sides))
        values = functional.pil_to_tensor(picture).to(torch.float32).div(self.divide_by)
        if self.channels == "BGR":
            values = values.flip(0)
        return functional.normalize(values, list(self.mean), list(self.std))

    @property
    def input_size(self) -> int | None:
        """Height of what comes out; None where it follows the picture."""
        last = self.crop if self.crop is not None else self.resize
        if isinstance(last, tuple):
            return last[0]
        return last if self.crop is not None else None

    def describe(self) -> dict[str, Any]:
        """Plain values, as they are written to a file."""
        return asdict(self)
