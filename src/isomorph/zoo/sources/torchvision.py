"""Source ``torchvision``: its classification models with every published weight set."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from typing import Any

from torch import nn
from torchvision import models
from torchvision.models import WeightsEnum

from isomorph.zoo.download import fetch_weights
from isomorph.zoo.source import Loaded, Row, Source
from isomorph.zoo.weights import fit_state_dict, read_state_dict

NAME = "torchvision"


def names() -> list[str]:
    """Name the classification architectures that the installed torchvision builds."""
    return models.list_models(module=models)


def rows() -> Iterator[Row]:
    """List every architecture × published weight set, from torchvision's own metadata."""
    for name in names():
        published: Any = models.get_model_weights(name)
        for entry in published:
            meta = entry.meta
            yield Row(
                source=NAME,
                name=name,
                weights=entry.name,
                default=entry == published.DEFAULT,
                modality="vision",
                architecture=name,
                family="convolutional",
                task="classification",
                train_data=_train_data(entry),
                n_params=meta.get("num_params"),
                input_size=_input_size(entry),
                license="BSD-3-Clause",
                weights_bytes=int(1e6 * meta.get("_file_size", 0)) or None,
                url=entry.url,
            )


def build(name: str) -> Loaded:
    """Build an architecture as it is before training."""
    published: Any = models.get_model_weights(name)
    return Loaded(_build(name), published.DEFAULT.transforms())


def load(name: str, weights: str, progress: bool) -> Loaded:
    """Load published weights, from torch's folder of checkpoints if they are there."""
    published: Any = models.get_model_weights(name)
    entry = published[weights]
    uid = f"{NAME}/{name}@{weights}"
    # The file's name ends in the first digits of its hash.
    digits = os.path.basename(entry.url).rpartition("-")[2].partition(".")[0]
    file = fetch_weights(entry.url, uid, sha256=digits, progress=progress)
    module = _build(name)
    fit_state_dict(module, read_state_dict(file), f"{file.name} into {NAME}/{name}")
    return Loaded(module, entry.transforms())


def _build(name: str) -> nn.Module:
    builder = models.get_model_builder(name)
    options: dict[str, Any] = {"weights": None}
    if name in {"googlenet", "inception_v3"}:
        # Said, since torchvision warns of a change of its default.
        options |= {"init_weights": True}
    if "aux_logits" in inspect.signature(builder).parameters:
        # Auxiliary heads are part of the published weights and silent in evaluation.
        options |= {"aux_logits": True}
    return builder(**options)


def _train_data(entry: WeightsEnum) -> str:
    name = entry.name.upper()
    if "IMAGENET22K" in name or "IMAGENET21K" in name:
        return "ImageNet-22K"
    if "SWAG" in name:
        return "Instagram-3.6B (SWAG), ImageNet-1K"
    return "ImageNet-1K" if "IMAGENET1K" in name else entry.name


def _input_size(entry: WeightsEnum) -> int | None:
    crop = getattr(entry.transforms(), "crop_size", None)
    return int(crop[0]) if crop else None


SOURCE = Source(
    name=NAME,
    summary="torchvision's models",
    rows=rows,
    build=build,
    load=load,
    names=names,
    distribution="torchvision",
)
