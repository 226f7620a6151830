"""Networks of transformers: which class, which of its encoders, and how it is called."""

from __future__ import annotations

import contextlib
import inspect
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

Batch = torch.Tensor | Mapping[str, torch.Tensor]

# Pairs of encoders: the parts of each, at the root.
DUAL = {
    "image": ("vision_model", "visual_projection", "image_model", "image_projection"),
    "text": ("text_model", "text_projection"),
}
DUAL_TYPES = (
    *("align", "altclip", "blip", "chinese_clip", "clip", "flava", "groupvit", "metaclip_2"),
    *("siglip", "siglip2"),
)
VIDEO_TYPES = ("timesformer", "videomae", "vivit", "vjepa2")


def run_images(module: nn.Module, inputs: Batch) -> Any:
    """Show pictures or clips to a network that calls them ``pixel_values``."""
    return module(**(inputs if isinstance(inputs, Mapping) else {"pixel_values": inputs}))


def run_whole_images(module: Any, inputs: Batch) -> Any:
    """Show whole pictures to a masked autoencoder's encoder, the patches in their own order.

    It would hide most patches by chance and shuffle the rest.
    """
    given = dict(inputs) if isinstance(inputs, Mapping) else {"pixel_values": inputs}
    pixels = given["pixel_values"]
    size: Any = module.config.patch_size
    sides = (size, size) if isinstance(size, int) else size
    n_patches = (pixels.shape[-2] // sides[0]) * (pixels.shape[-1] // sides[1])
    order = torch.arange(n_patches, device=pixels.device, dtype=pixels.dtype)
    return module(**given, noise=order.expand(len(pixels), -1))


def run_texts(module: nn.Module, inputs: Batch) -> Any:
    """Show token ids, and which of them are real, to a language model."""
    return module(**_texts(inputs))


def run_causal(module: nn.Module, inputs: Batch) -> Any:
    """As `run_texts`; where padding stands in front, positions are counted from the first token."""
    given = _texts(inputs)
    mask = given.get("attention_mask")
    if mask is not None and "position_ids" not in given and bool((mask[:, 0] == 0).any()):
        taken = inspect.signature(module.forward).parameters
        if "position_ids" in taken:
            given["position_ids"] = (mask.long().cumsum(-1) - 1).clamp(min=0)
    return module(**given)


def run_encoder(module: Any, inputs: Batch) -> Any:
    """Show texts to the encoder of an encoder–decoder."""
    return module.encoder(**_texts(inputs))


def run_image_tower(module: Any, inputs: Batch) -> Any:
    """Give the image embedding of a pair of encoders."""
    given = inputs if isinstance(inputs, Mapping) else {"pixel_values": inputs}
    return module.get_image_features(**given)


def run_text_tower(module: Any, inputs: Batch) -> Any:
    """Give the text embedding of a pair of encoders."""
    given = _texts(inputs)
    taken = inspect.signature(module.get_text_features).parameters
    return module.get_text_features(**{name: given[name] for name in given if name in taken})


def _texts(inputs: Batch) -> dict[str, torch.Tensor]:
    return dict(inputs) if isinstance(inputs, Mapping) else {"input_ids": inputs}


def is_dual(config: Any) -> bool:
    """Whether a configuration is of a pair of encoders."""
    return config.model_type in DUAL_TYPES


def modality(config: Any, tower: str = "image") -> str:
    """Say what a network is shown: ``vision``, ``video`` or ``language``.

    Parameters
    ----------
    config : transformers configuration
    tower : {"image", "text"}
        Of a pair of encoders.
    """
    if is_dual(config):
        return "vision" if tower == "image" else "language"
    if config.model_type in VIDEO_TYPES:
        return "video"
    return "vision" if _main_input(config) == "pixel_values" else "language"


def _main_input(config: Any) -> str:
    from transformers import AutoModel

    kind: Any = AutoModel._model_mapping[type(config)]
    kind = kind[0] if isinstance(kind, tuple | list) else kind
    return kind.main_input_name


def prepare_config(config: Any) -> Any:
    """Set what makes a network a function of its input alone: no cache, no masking by chance."""
    for part in (config, *vars(config).values()):
        if getattr(part, "use_cache", None):
            part.use_cache = False
    if hasattr(config, "mask_ratio") and config.model_type == "vit_mae":
        config.mask_ratio = 0.0
    return config


def forward_of(config: Any, tower: str) -> Callable[[nn.Module, Any], Any]:
    """Choose how a network is called."""
    if is_dual(config):
        return run_image_tower if tower == "image" else run_text_tower
    if modality(config) in ("vision", "video"):
        return run_whole_images if config.model_type == "vit_mae" else run_images
    if getattr(config, "is_encoder_decoder", False):
        return run_encoder
    return run_texts if _both_ways(config) else run_causal


def _both_ways(config: Any) -> bool:
    """Whether a language model reads in both directions (BERT), as far as the library says."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    kind = config.model_type
    return (
        kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES or kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    )


def keep_encoder(module: Any, tower: str) -> nn.Module:
    """Take from a network what is never called: the other encoder of a pair, the decoder."""
    config = module.config
    if is_dual(config):
        unused = [
            name for name in (*module._modules, *module._parameters) if name not in DUAL[tower]
        ]
    elif getattr(config, "is_encoder_decoder", False) and hasattr(module, "encoder"):
        unused = [name for name in module._modules if name not in ("encoder", "shared")]
    else:
        unused = []
    for name in unused:
        delattr(module, name)
    return module


@contextlib.contextmanager
def quiet_library() -> Iterator[None]:
    """Keep the library's notes on what it builds, and on what it fills in, out of the log."""
    from transformers.utils import logging as theirs

    before = theirs.get_verbosity()
    bar = theirs.is_progress_bar_enabled()
    theirs.set_verbosity(logging.ERROR)
    theirs.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        theirs.set_verbosity(before)
        if bar:
            theirs.enable_progress_bar()
