"""One tower of a CLIP-like network: its image encoder or its text encoder, under its own names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from isomorph.zoo.source import State

TOWERS = ("image", "text")
# All that is not the image encoder, at the root or under `text`; an old file keeps it at the root.
_SHARED = ("logit_scale", "logit_bias", "text_decoder")


def encode_image(module: Any, inputs: torch.Tensor) -> torch.Tensor:
    """Give the image embedding, of the length that it has before it is compared."""
    return module.encode_image(inputs, normalize=False)


def encode_text(module: Any, inputs: torch.Tensor | Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Give the text embedding, of the length that it has before it is compared."""
    tokens = inputs["text"] if isinstance(inputs, Mapping) else inputs
    return module.encode_text(tokens, normalize=False)


FORWARDS = {"image": encode_image, "text": encode_text}


def keep_tower(module: nn.Module, tower: str) -> nn.Module:
    """Take from a CLIP what the encoder of one tower never calls; names stay as they are."""
    for name in [*module._modules, *module._parameters]:
        if _tower_of(name) != tower:
            delattr(module, name)
    return module


def tower_state(state: State, tower: str) -> dict[str, torch.Tensor]:
    """Give the weights of one tower out of those of both."""
    return {name: value for name, value in state.items() if _tower_of(name) == tower}


def _tower_of(name: str) -> str:
    first = name.partition(".")[0]
    if first in _SHARED:
        return ""
    return "image" if first == "visual" else "text"


def split_tower(name: str) -> tuple[str, str]:
    """Take ``ViT-B-32/text`` apart: the name of the pair, and which tower.

    Examples
    --------
    >>> split_tower("ViT-B-32"), split_tower("ViT-B-32/text")
    (('ViT-B-32', 'image'), ('ViT-B-32', 'text'))
    """
    pair, _, word = name.partition("/")
    return pair, "text" if word == "text" else "image"


def fit_to_tower(state: State, module: nn.Module) -> dict[str, torch.Tensor]:
    """Bring the weights of a whole CLIP file into the form that one tower of open_clip has.

    What open_clip does when it loads a file: names of other authors' files, text towers that older
    files keep at the root, buffers that are no longer kept, position embeddings for another size of
    image or length of text.
    """
    from open_clip.convert import convert_state_dict
    from open_clip.model import (
        convert_to_custom_text_state_dict,
        resize_pos_embed,
        resize_text_pos_embed,
    )

    tower = "image" if hasattr(module, "visual") else "text"
    whole = {name.removeprefix("module."): value for name, value in state.items()}
    for name in ("input_resolution", "context_length", "vocab_size"):
        whole.pop(name, None)
    whole = convert_state_dict(module, whole)  # pyright: ignore[reportArgumentType]
    if "positional_embedding" in whole and not _text_at_root(module):
        whole = convert_to_custom_text_state_dict(whole)
    found = tower_state(whole, tower)
    if tower == "image":
        resize_pos_embed(found, module)
    else:
        found.pop("text.transformer.embeddings.position_ids", None)
        resize_text_pos_embed(found, module)
    return {name: value.float() for name, value in found.items()}


def _text_at_root(module: nn.Module) -> bool:
    return type(module).__name__ == "CLIP"
