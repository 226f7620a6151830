"""Preprocessing of video clips as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import functional
from torchvision.transforms.functional import InterpolationMode

from isomorph.zoo.preprocessing.image import IMAGENET_MEAN, IMAGENET_STD


@dataclass(frozen=True)
class ClipPreprocess:
    """Turn the frames of a clip into one input: resize, crop the centre, scale, normalise.

    Parameters
    ----------
    resize : int or tuple of int
        Length of the shorter side, or (height, width). Frames are resized as tensors and without
        antialiasing, as the published video models were trained.
    crop : int or tuple of int
        Side or (height, width) that is cut from the centre.
    interpolation : str
        ``nearest``, ``bilinear`` or ``bicubic``.
    mean, std : tuple of float
        Of the three channels, on the scale from 0 to 1.
    n_frames : int or None
        How many frames the network takes; None if any number.
    min_frames : int
        How many it needs at least.

    Examples
    --------
    >>> preprocess = ClipPreprocess(resize=(128, 171), crop=112)
    >>> preprocess(np.zeros((8, 240, 320, 3), np.uint8)).shape
    torch.Size([3, 8, 112, 112])
    """

    resize: int | tuple[int, int] = 256
    crop: int | tuple[int, int] = 224
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    n_frames: int | None = None
    min_frames: int = 1

    def __call__(self, clip: np.ndarray | torch.Tensor | Sequence[Image.Image]) -> torch.Tensor:
        """(frames, height, width, 3) uint8, or PIL images → (3, frames, height, width) float32."""
        frames = _as_frames(clip)
        self._check(len(frames))
        pictures = frames.permute(0, 3, 1, 2).contiguous()
        size = [self.resize] if isinstance(self.resize, int) else list(self.resize)
        mode = InterpolationMode(self.interpolation)
        pictures = functional.resize(pictures, size, mode, antialias=False)
        sides = self.crop if isinstance(self.crop, tuple) else (self.crop, self.crop)
        pictures = functional.center_crop(pictures, list(sides))
        values = pictures.to(torch.float32).div(255)
        values = functional.normalize(values, list(self.mean), list(self.std))
        return values.permute(1, 0, 2, 3)

    def _check(self, n: int) -> None:
        if self.n_frames is not None and n != self.n_frames:
            raise ValueError(
                f"expected a clip of {self.n_frames} frames, got {n}. Choose them with "
                f"from_videos(..., n_frames={self.n_frames})"
            )
        if n < self.min_frames:
            raise ValueError(
                f"expected a clip of {self.min_frames} frames or more, got {n}. Choose them with "
                f"from_videos(..., n_frames={self.min_frames}) or more"
            )

    @property
    def input_size(self) -> int:
        """Height of what comes out."""
        return self.crop[0] if isinstance(self.crop, tuple) else self.crop

    def describe(self) -> dict[str, Any]:
        """Plain values, as they are written to a file."""
        return asdict(self)


def _as_frames(clip: np.ndarray | torch.Tensor | Sequence[Image.Image]) -> torch.Tensor:
    if isinstance(clip, Image.Image):
        raise ValueError("expected the frames of a clip, got one image. Take from_videos(...)")
    if isinstance(clip, np.ndarray):
        frames = torch.from_numpy(np.ascontiguousarray(clip))
    elif isinstance(clip, torch.Tensor):
        frames = clip
    else:
        frames = torch.stack(
            [torch.from_numpy(np.array(frame.convert("RGB"), np.uint8)) for frame in clip]
        )
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != torch.uint8:
        raise ValueError(
            f"expected frames as (n_frames, height, width, 3) uint8, got "
            f"{tuple(frames.shape)} of {frames.dtype}"
        )
    return frames
