"""timm's transformers, set up as published self-supervised checkpoints need them."""

from __future__ import annotations

from typing import Any

from torch import nn

# Names in timm, where it is not the architecture's with the size of the input behind it.
_TIMM: dict[str, tuple[str, dict[str, Any]]] = {
    "vit_small_patch16_heads12": ("vit_small_patch16_224", {"num_heads": 12}),
    "vit_huge_patch16_gap": ("vit_huge_patch16_gap_448", {}),
}


def vision_transformer(architecture: str, *, classifier: bool = False) -> nn.Module:
    """Build a transformer of timm's for the input that the published weights are used with.

    Parameters
    ----------
    architecture : str
        ``vit_base_patch16``, ``xcit_small_12_p16``, ``vit_base_patch14_reg4_dinov2``, …
    classifier : bool
        Average the patches and classify 1000 kinds; else the class token is given (of I-JEPA's,
        which have none, the average of the patches).
    """
    import timm

    options: dict[str, Any]
    name, options = _TIMM.get(architecture, (f"{architecture}_224", {}))
    if architecture.endswith("_dinov2"):
        # Published for 518 pixels, used with 224: the embeddings of places are resampled once.
        name, options = architecture, {"img_size": 224}
    if classifier:
        options = {**options, "num_classes": 1000, "global_pool": "avg"}
    else:
        options = {**options, "num_classes": 0}
    return timm.create_model(name, pretrained=False, **options)
