"""torchvision's detectors as networks that a survey can read: their pictures, and their call."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.nn import functional
from torchvision.ops import FrozenBatchNorm2d
from torchvision.transforms.functional import pil_to_tensor

from isomorph.zoo.preprocessing.image import IMAGENET_MEAN, IMAGENET_STD

# Trained with these norms in the backbone: BatchNorm whose statistics never move. Of some the
# published weights want an epsilon of 0.
FROZEN = {
    "fasterrcnn_mobilenet_v3_large_320_fpn": 1e-5,
    "fasterrcnn_mobilenet_v3_large_fpn": 1e-5,
    "fasterrcnn_resnet50_fpn": 0.0,
    "fcos_resnet50_fpn": 1e-5,
    "keypointrcnn_resnet50_fpn": 0.0,
    "maskrcnn_resnet50_fpn": 0.0,
    "retinanet_resnet50_fpn": 0.0,
}


@dataclass(frozen=True)
class DetectionPreprocess:
    """Turn a picture into one input of a detector: scale, normalise, resize, pad.

    Parameters
    ----------
    shorter, longer : int
        The picture is resized so that its shorter side has this length, or its longer side that
        one if it would get longer.
    fixed : tuple of int or None
        (width, height) to resize to instead, whatever the shape.
    mean, std : tuple of float
        Of the three channels, on the scale from 0 to 1.
    multiple : int
        Height and width are padded with 0, at the bottom and on the right, to a multiple of it.

    Notes
    -----
    Pictures of different shapes become inputs of different sizes, which cannot be in one batch:
    crop them, or set `fixed` by ``dataclasses.replace``.
    """

    shorter: int = 800
    longer: int = 1333
    fixed: tuple[int, int] | None = None
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    multiple: int = 32

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """(3, height, width) float32."""
        picture = image if image.mode == "RGB" else image.convert("RGB")
        values = pil_to_tensor(picture).to(torch.float32).div(255)
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        values = (values - mean[:, None, None]) / std[:, None, None]
        size: dict[str, Any]
        if self.fixed is not None:
            size = {"size": [self.fixed[1], self.fixed[0]]}
        else:
            low, high = sorted(values.shape[-2:])
            factor = min(self.shorter / low, self.longer / high)
            size = {"scale_factor": factor, "recompute_scale_factor": True}
        values = functional.interpolate(values[None], mode="bilinear", align_corners=False, **size)
        height, width = (
            math.ceil(side / self.multiple) * self.multiple for side in values.shape[-2:]
        )
        padding = (0, width - values.shape[-1], 0, height - values.shape[-2])
        return functional.pad(values, padding)[0]

    @property
    def input_size(self) -> int | None:
        """Height of what comes out; None where it follows the picture."""
        return self.fixed[1] if self.fixed is not None else None

    def describe(self) -> dict[str, Any]:
        """Plain values, as they are written to a file."""
        return asdict(self)


def detection_preprocess(module: nn.Module) -> DetectionPreprocess:
    """Take the preprocessing that a torchvision detector holds inside."""
    inside: Any = module.transform
    return DetectionPreprocess(
        shorter=inside.min_size[-1],
        longer=inside.max_size,
        fixed=tuple(inside.fixed_size) if inside.fixed_size is not None else None,
        mean=tuple(inside.image_mean),
        std=tuple(inside.image_std),
        multiple=inside.size_divisible,
    )


def run_detector(module: Any, inputs: torch.Tensor) -> dict[str, Any]:
    """Run the parts of a detector that see every stimulus alike: backbone, pyramid, dense heads.

    A detector answers with lists of boxes, another number for each picture, and what its second
    stage computes belongs to boxes and not to pictures: neither is a feature map over stimuli.
    """
    features = module.backbone(inputs)
    if isinstance(features, torch.Tensor):
        features = {"0": features}
    maps = list(features.values())
    if hasattr(module, "rpn"):
        objectness, boxes = module.rpn.head(maps)
        return {**features, "objectness": objectness, "boxes": boxes}
    return {**features, **module.head(maps)}


def freeze_norms(module: nn.Module, eps: float) -> None:
    """Put frozen norms in the place of fresh batch norms, in place."""
    for name, part in module.named_children():
        if isinstance(part, nn.BatchNorm2d):
            setattr(module, name, FrozenBatchNorm2d(part.num_features, eps=eps))
        else:
            freeze_norms(part, eps)
