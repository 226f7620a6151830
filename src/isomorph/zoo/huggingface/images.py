"""Preprocessing of images and clips as transformers does it, as data.

The library's processors (those that ``AutoImageProcessor`` gives, version 5) resize tensors of
whole numbers and scale and normalise in one step, which gives other bits than Pillow and
torchvision's transforms do (`isomorph.zoo.ImagePreprocess`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image

logger = logging.getLogger(__name__)

_INTERPOLATION = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}


@dataclass(frozen=True)
class TensorPreprocess:
    """Turn a picture into one input: resize as a tensor, crop the centre, scale and normalise.

    Parameters
    ----------
    resize : int, tuple of int, or None
        Length of the shorter side (the other in proportion), or (height, width); None leaves the
        size.
    crop : tuple of int, or None
        (height, width) that is cut from the centre; smaller pictures are padded with 0.
    interpolation : str
        ``nearest``, ``bilinear``, ``bicubic``, ``lanczos``; antialiased.
    mean, std : tuple of float, or None
        Of the three channels, on the scale that `rescale` leaves; None does not normalise.
    rescale : float or None
        Pixel values, 0 to 255, are multiplied by it.
    rescale_first : bool
        Before resizing, and not together with the normalisation.

    Examples
    --------
    >>> TensorPreprocess(resize=(224, 224))(Image.new("RGB", (640, 480))).shape
    torch.Size([3, 224, 224])
    """

    resize: int | tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    interpolation: str = "bilinear"
    mean: tuple[float, ...] | None = (0.5, 0.5, 0.5)
    std: tuple[float, ...] | None = (0.5, 0.5, 0.5)
    rescale: float | None = 1 / 255
    rescale_first: bool = False

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """(3, height, width) float32."""
        from torchvision.transforms.v2 import functional  # who asks the catalogue waits not for it

        picture = image if image.mode == "RGB" else image.convert("RGB")
        values: Any = functional.pil_to_tensor(picture)
        if self.rescale_first and self.rescale is not None:
            values = values * self.rescale
        if self.resize is not None:
            values = functional.resize(
                values,
                list(self._size(values)),
                interpolation=functional.InterpolationMode(self.interpolation),
                antialias=True,
            )
        if self.crop is not None:
            values = self._cropped(values, *self.crop)
        later = None if self.rescale_first else self.rescale
        if self.mean is None or self.std is None:
            return values.float() if later is None else values * later
        scale = 1.0 if later is None else 1.0 / later
        mean, std = torch.tensor(self.mean) * scale, torch.tensor(self.std) * scale
        return functional.normalize(values.to(torch.float32), mean, std)  # pyright: ignore

    def _size(self, values: torch.Tensor) -> tuple[int, int]:
        if isinstance(self.resize, tuple):
            return self.resize
        assert self.resize is not None
        height, width = values.shape[-2:]
        if width <= height:
            return int(self.resize * height / width), self.resize
        return self.resize, int(self.resize * width / height)

    def _cropped(self, values: torch.Tensor, height: int, width: int) -> torch.Tensor:
        from torchvision.transforms.v2 import functional

        missing = max(height - values.shape[-2], 0), max(width - values.shape[-1], 0)
        if any(missing):
            around = [
                missing[1] // 2,
                missing[0] // 2,
                (missing[1] + 1) // 2,
                (missing[0] + 1) // 2,
            ]
            values = functional.pad(values, around)
        top, left = (values.shape[-2] - height) // 2, (values.shape[-1] - width) // 2
        return functional.crop(values, top, left, height, width)

    @property
    def input_size(self) -> int | None:
        """Height of what comes out; None where it follows the picture."""
        last = self.crop or self.resize
        return last[0] if isinstance(last, tuple) else None


@dataclass(frozen=True)
class FramesPreprocess:
    """Turn the frames of a clip into one input.

    Parameters
    ----------
    frame : TensorPreprocess
        Done to every frame.
    n_frames : int
        That the network takes: chosen evenly, the middles of equal parts; of a shorter clip, some
        are shown again.
    """

    frame: TensorPreprocess
    n_frames: int

    def __call__(self, clip: Any) -> torch.Tensor:
        """(n_frames, 3, height, width) float32 of a (frames, height, width, 3) array."""
        at = _spread(len(clip), self.n_frames)
        pictures = {i: self.frame(_picture(clip[i])) for i in dict.fromkeys(at)}
        return torch.stack([pictures[i] for i in at])


@dataclass(frozen=True)
class ProcessedFrames:
    """Turn the frames of a clip into one input by one of the library's own processors.

    Parameters
    ----------
    processor : transformers image processor
        Given the frames of a clip as a list.
    n_frames : int
        As in `FramesPreprocess`.
    """

    processor: Any
    n_frames: int

    def __call__(self, clip: Any) -> torch.Tensor:
        """(n_frames, 3, height, width) of a (frames, height, width, 3) array."""
        frames = [_picture(clip[i]) for i in _spread(len(clip), self.n_frames)]
        return self.processor(frames, return_tensors="pt")["pixel_values"][0]


def _spread(n: int, n_wanted: int) -> list[int]:
    """The middles of equal parts."""
    return ((np.arange(n_wanted) + 0.5) * n / n_wanted).astype(int).tolist()


def _picture(frame: Any) -> Image.Image:
    return frame if isinstance(frame, Image.Image) else Image.fromarray(np.asarray(frame))


def as_data(processor: Any) -> Callable[[Any], Any]:
    """Say what one of the library's image processors does, as data.

    Where the data does not give the very bits that the processor gives for two pictures, the
    processor itself is the preprocessing.

    Parameters
    ----------
    processor : transformers image processor

    Returns
    -------
    TensorPreprocess, or the processor
    """
    try:
        read = _read(processor)
        theirs = [(image, _theirs(processor, image)) for image in _probes()]
        for ours in (read, replace(read, rescale_first=True)):
            if all(torch.equal(ours(image), values) for image, values in theirs):
                return ours
    except (AttributeError, TypeError, ValueError, KeyError, RuntimeError) as error:
        logger.debug("%s is kept as it is: %s", type(processor).__name__, error)
        return processor
    return processor


def _read(processor: Any) -> TensorPreprocess:
    size = _sides(processor.size)
    resize: int | tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    if processor.do_resize:
        resize = size.get("shortest_edge") or (size["height"], size["width"])
    fraction = getattr(processor, "crop_pct", None)
    if fraction is not None and isinstance(resize, int):
        # Small inputs are cut from larger ones, large ones are squeezed.
        side = resize
        resize, crop = (int(side / fraction), (side, side)) if side < 384 else ((side, side), None)
    if getattr(processor, "do_center_crop", None):
        crop = (_sides(processor.crop_size)["height"], _sides(processor.crop_size)["width"])
    mean, std = processor.image_mean, processor.image_std
    wide = bool(processor.do_normalize)
    return TensorPreprocess(
        resize=resize,
        crop=crop,
        interpolation=_INTERPOLATION[int(getattr(processor, "resample", None) or 2)],
        mean=tuple(mean) if wide else None,
        std=tuple(std) if wide else None,
        rescale=float(processor.rescale_factor) if processor.do_rescale else None,
    )


def _sides(size: Any) -> dict[str, int]:
    """The sides that a size names; it is a dict, or an object of the library."""
    values = size if isinstance(size, Mapping) else vars(size)
    return {name: value for name, value in values.items() if value}


def _theirs(processor: Any, image: Image.Image) -> torch.Tensor:
    values = processor(image, return_tensors="pt")["pixel_values"]
    while values.ndim > 3 and len(values) == 1:
        values = values[0]
    return values


def _probes() -> list[Image.Image]:
    """A landscape and a portrait, of noise: every rounding shows."""
    rng = np.random.default_rng(0)
    shapes = ((151, 233, 3), (401, 300, 3))
    return [Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)) for shape in shapes]
