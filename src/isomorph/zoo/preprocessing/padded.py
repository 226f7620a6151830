"""Preprocessing that keeps the shape of pictures: the whole picture on a ground, or its middle."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from PIL import Image
from torchvision.transforms import functional
from torchvision.transforms.functional import InterpolationMode

from isomorph.zoo.preprocessing.image import IMAGENET_MEAN, IMAGENET_STD


@dataclass(frozen=True)
class PaddedPreprocess:
    """Resize a picture in proportion to a box, then crop or pad it to the input's size.

    Parameters
    ----------
    box : tuple of int
        (height, width) that the picture is resized to.
    size : tuple of int
        (height, width) of what comes out; the middle is cut out, what is missing is padded.
    whole : bool
        True: the whole picture lies inside the box; False: it covers the box.
    interpolation : str
        As in `ImagePreprocess`.
    mean, std : tuple of float
        Of the three channels, on the scale from 0 to 1.
    fill : tuple of int
        Colour of the ground, 0 to 255.
    """

    box: tuple[int, int]
    size: tuple[int, int]
    whole: bool = True
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    fill: tuple[int, ...] = (0, 0, 0)

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """(3, height, width) float32."""
        picture: Any = image if image.mode == "RGB" else image.convert("RGB")
        height, width = picture.height, picture.width
        ratios = (height / self.box[0], width / self.box[1])
        ratio = max(ratios) if self.whole else min(ratios)
        size = [round(height / ratio), round(width / ratio)]
        picture = functional.resize(picture, size, InterpolationMode(self.interpolation))
        picture = self._fitted(picture)
        values = functional.pil_to_tensor(picture).to(torch.float32).div(255)
        return functional.normalize(values, list(self.mean), list(self.std))

    def _fitted(self, picture: Any) -> Any:
        down, right = (max(0, a - b) for a, b in zip(self.size, picture.size[::-1], strict=True))
        sides = [right // 2, down // 2, (right + 1) // 2, (down + 1) // 2]
        fill: Any = list(self.fill)
        picture = functional.pad(picture, sides, fill)
        top = round((picture.height - self.size[0]) / 2)
        left = round((picture.width - self.size[1]) / 2)
        return functional.crop(picture, top, left, *self.size)

    @property
    def input_size(self) -> int:
        """Height of what comes out."""
        return self.size[0]

    def describe(self) -> dict[str, Any]:
        """Plain values, as they are written to a file."""
        return asdict(self)
