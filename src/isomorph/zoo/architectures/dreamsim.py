"""DreamSim: transformers tuned on human judgements of which of two pictures is nearer to a third.

Fu, Tamir, Sundaram et al. (2023), NeurIPS. What was learnt are low-rank additions to some matrices;
here they are added in, so that the networks are plain ones.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from isomorph.zoo.preprocessing.image import IMAGENET_MEAN, IMAGENET_STD

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
WIDTH = 768  # of ViT-B
EMBEDDED = 512  # CLIP's space


@dataclass(frozen=True)
class BranchKind:
    """What a branch is made of.

    Parameters
    ----------
    name : str
        The publisher's: ``dino_vitb16``.
    patch : int
        Side of a patch in pixels.
    clip : bool
        CLIP's kind of ViT, projected to CLIP's space; else the class token before the last norm.
    quick_gelu : bool
        OpenAI's approximation.
    dinov2 : bool
        With layer scale, and places resampled.
    """

    name: str
    patch: int = 16
    clip: bool = False
    quick_gelu: bool = False
    dinov2: bool = False


KINDS = {
    kind.name: kind
    for kind in (
        BranchKind("dino_vitb16"),
        BranchKind("synclr_vitb16"),
        BranchKind("dinov2_vitb14", 14, dinov2=True),
        BranchKind("clip_vitb16", 16, clip=True, quick_gelu=True),
        BranchKind("clip_vitb32", 32, clip=True, quick_gelu=True),
        BranchKind("open_clip_vitb16", 16, clip=True),
        BranchKind("open_clip_vitb32", 32, clip=True),
    )
}


class Normalise(nn.Module):
    """Take the mean of each channel from pictures with values 0 to 1, and divide by the spread."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(n, 3, height, width) to the same."""
        return (images - self.mean) / self.std  # pyright: ignore[reportOperatorIssue]


class Branch(nn.Module):
    """One transformer with its own normalisation of the pictures."""

    def __init__(self, kind: BranchKind) -> None:
        super().__init__()
        mean, std = (CLIP_MEAN, CLIP_STD) if kind.clip else (IMAGENET_MEAN, IMAGENET_STD)
        self.normalise = Normalise(mean, std)
        self.network = _transformer(kind)
        self.proj = nn.Linear(WIDTH, EMBEDDED, bias=False) if kind.clip else nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(n, 3, 224, 224) to (n, 768), or (n, 512) of CLIP's."""
        return self.proj(self.network(self.normalise(images)))


class CentredUnit(nn.Module):
    """Take from every row its mean, and divide it by its length."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """(n, features) to the same."""
        rows = rows - rows.mean(1, keepdim=True)
        return rows / rows.norm(dim=1, keepdim=True)


class DreamSim(nn.Module):
    """Branches side by side; the cosine of two pictures' rows is their similarity.

    Parameters
    ----------
    kinds : sequence of BranchKind
    """

    def __init__(self, kinds: Sequence[BranchKind]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(Branch(kind) for kind in kinds)
        self.embedding = CentredUnit()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(n, 3, 224, 224), values 0 to 1, to (n, features)."""
        return self.embedding(torch.cat([branch(images) for branch in self.branches], dim=1))


def _transformer(kind: BranchKind) -> nn.Module:
    import timm
    from timm.layers.activations import QuickGELU
    from timm.models.vision_transformer import VisionTransformer

    if kind.dinov2:
        network = timm.create_model("vit_base_patch14_dinov2", img_size=224, num_classes=0)
        network.norm = nn.Identity()
        return network
    options: dict[str, Any] = {"patch_size": kind.patch, "num_classes": 0}
    if not kind.clip:
        norm = functools.partial(nn.LayerNorm, eps=1e-6)
        return VisionTransformer(**options, norm_layer=norm, final_norm=False)
    options |= {"act_layer": QuickGELU if kind.quick_gelu else nn.GELU}
    norm = functools.partial(nn.LayerNorm, eps=1e-5)
    network = VisionTransformer(**options, pre_norm=True, norm_layer=norm)
    # The published files have a bias here, which CLIP itself has not.
    side = kind.patch
    network.patch_embed.proj = nn.Conv2d(3, WIDTH, side, side)
    return network
