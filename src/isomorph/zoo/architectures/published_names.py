"""From the names of weights in self-supervised checkpoints to those of torchvision and timm."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from isomorph.zoo.source import State

Weights = dict[str, torch.Tensor]

# Of two encoders, the one whose features the authors use; all else in such a file is training.
_ENCODERS = ("module.base_encoder.", "module.encoder_q.")
_PREFIXES = ("module.", "backbone.", "_feature_blocks.")
# Of no use after the training.
_TRAINING = ("projection_head.", "prototypes", "mask_token", "masked_embed", "teacher_temp")
_CLASSIFIERS = ("fc.", "head.")


def adapt(state: State, module: nn.Module) -> State:
    """Bring the weights of a published checkpoint into the names that the network has.

    What is left out is named above, and nothing else: weights that are neither used nor known stay
    and are refused when they are loaded.

    Parameters
    ----------
    state : mapping
        As read from the file.
    module : torch.nn.Module
        A ResNet of torchvision's or a transformer of timm's.
    """
    weights = _encoder(dict(state))
    expected = module.state_dict()
    left_out = _TRAINING
    # torchvision's and timm's own heads, which a network that ends in features has not.
    left_out += tuple(
        head for head in _CLASSIFIERS if not any(name.startswith(head) for name in expected)
    )
    weights = {name: value for name, value in weights.items() if not name.startswith(left_out)}
    if "pos_embed" in weights and "pos_embed" in expected:
        weights = _dinov2(weights, expected)
    if "cls_attn_blocks.0.attn.q.weight" in expected:
        weights = _xcit(weights)
    return weights


def _encoder(weights: Weights) -> Weights:
    for prefix in _ENCODERS:
        if any(name.startswith(prefix) for name in weights):
            kept = {name: value for name, value in weights.items() if name.startswith(prefix)}
            return {name.removeprefix(prefix): value for name, value in kept.items()}
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    return weights


def _dinov2(weights: Weights, expected: State) -> Weights:
    """DINOv2: places resampled, registers apart, and timm's names of gated networks."""
    renamed = {
        re.sub(r"\.mlp\.w3\.", ".mlp.fc2.", re.sub(r"\.mlp\.w12\.", ".mlp.fc1.", name)): value
        for name, value in weights.items()
    }
    places, registers = renamed["pos_embed"], renamed.pop("register_tokens", None)
    n_patches = expected["pos_embed"].shape[1] - (registers is None)
    if registers is None and places.shape == expected["pos_embed"].shape:
        return renamed
    if places.shape[1] - 1 != n_patches:
        places = resample_places(places, round(n_patches**0.5), antialias=registers is not None)
    if registers is not None:
        # timm adds places to patches alone.
        renamed["cls_token"] = renamed["cls_token"] + places[:, :1]
        renamed["reg_token"], places = registers, places[:, 1:]
    renamed["pos_embed"] = places
    return renamed


def resample_places(places: torch.Tensor, side: int, *, antialias: bool) -> torch.Tensor:
    """Resample the embeddings of places to another grid, as DINOv2 does it in its forward pass.

    Parameters
    ----------
    places : torch.Tensor, (1, 1 + old side², channels)
        The class token's first.
    side : int
        Of the new grid.
    antialias : bool
        As the networks with registers do; those without scale by a tenth of a patch too much, and
        so do their authors.
    """
    old = round((places.shape[1] - 1) ** 0.5)
    grid = places[:, 1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
    target: dict[str, Any] = {"size": (side, side)}
    if not antialias:
        target = {"scale_factor": ((side + 0.1) / old,) * 2}
    grid = functional.interpolate(grid, mode="bicubic", antialias=antialias, **target)
    return torch.cat([places[:, :1], grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def _xcit(weights: Weights) -> Weights:
    """XCiT: timm asks with the class token alone, and so has three matrices in place of one."""
    renamed: Weights = {}
    for name, value in weights.items():
        match = re.fullmatch(r"(cls_attn_blocks\.\d+\.attn\.)qkv\.(weight|bias)", name)
        if match:
            for letter, part in zip("qkv", value.chunk(3), strict=True):
                renamed[f"{match[1]}{letter}.{match[2]}"] = part
        else:
            renamed[name.replace("pos_embeder.", "pos_embed.")] = value
    return renamed
