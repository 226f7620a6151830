"""Source ``torchvision``: its classification models with every published weight set."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision import models
from torchvision.models import WeightsEnum

from isomorph.extraction import Model
from isomorph.registry import unknown_name
from isomorph.storage import hash_file
from isomorph.zoo.uid import ModelName
from isomorph.zoo.weights import fit_state_dict, read_state_dict

SOURCE = "torchvision"


def names() -> list[str]:
    """Name the classification architectures that the installed torchvision builds."""
    return models.list_models(module=models)


def rows() -> list[dict[str, Any]]:
    """List every architecture × published weight set, from torchvision's own metadata."""
    listed: list[dict[str, Any]] = []
    for name in names():
        weights = models.get_model_weights(name)
        for entry in weights:
            meta = entry.meta
            listed.append(
                {
                    "uid": f"{SOURCE}/{name}@{entry.name}",
                    "source": SOURCE,
                    "name": name,
                    "weights": entry.name,
                    "default": entry == _default(weights),
                    "modality": "vision",
                    "task": "classification",
                    "train_data": _train_data(entry),
                    "n_params": meta.get("num_params"),
                    "input_size": _input_size(entry),
                    "weights_bytes": int(1e6 * meta.get("_file_size", 0)) or None,
                    "url": entry.url,
                }
            )
    return listed


def load(
    asked: ModelName, weights: str | Path | None, seed: int, *, progress: bool = True
) -> Model:
    """Load a classification model; see `isomorph.load_model`."""
    if asked.name not in names():
        hint = "list_models(source='torchvision') shows them all."
        raise unknown_name("torchvision model", asked.name, names(), hint)
    published = models.get_model_weights(asked.name)
    transforms = _default(published).transforms()
    if weights is None:
        module, label = _build(asked.name, seed), f"random-{seed}"
    elif isinstance(weights, Path):
        module = _build(asked.name, seed)
        fit_state_dict(
            module, read_state_dict(weights), f"{weights.name} into {SOURCE}/{asked.name}"
        )
        label = f"file-{hash_file(weights)[:8]}"
    else:
        entry = _find_weights(asked.name, weights, published)
        state = _fetch(entry, f"{SOURCE}/{asked.name}", progress)
        module, label, transforms = _build(asked.name, seed), entry.name, entry.transforms()
        fit_state_dict(module, state, f"{entry.name} into {SOURCE}/{asked.name}")
    return Model(
        module=module.eval(),
        preprocess=transforms,
        uid=str(ModelName(SOURCE, asked.name, label)),
        preprocess_spec=repr(transforms),
    )


def _build(name: str, seed: int) -> nn.Module:
    builder: Callable[..., nn.Module] = models.get_model_builder(name)
    options: dict[str, Any] = {"weights": None}
    network = name in {"googlenet", "inception_v3"}
    if network:
        # Their auxiliary heads are part of the published weights and silent in evaluation;
        # init_weights is said, since torchvision warns of a change of its default.
        options |= {"init_weights": True}
    if "aux_logits" in inspect.signature(builder).parameters:
        options |= {"aux_logits": True}
    # The generator's state comes back after the block: no global random state is left changed.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return builder(**options)


def _default(published: Any) -> WeightsEnum:
    return published.DEFAULT


def _find_weights(name: str, weights: str, published: Any) -> WeightsEnum:
    if weights == "default":
        return _default(published)
    known = [entry.name for entry in published]
    if weights not in known:
        raise unknown_name(
            f"weights of {SOURCE}/{name}",
            weights,
            known,
            "weights=None gives the random twin; a local file is named by its path.",
        )
    return published[weights]


def _fetch(entry: WeightsEnum, uid: str, progress: bool) -> dict[str, Any]:
    file = Path(torch.hub.get_dir()) / "checkpoints" / os.path.basename(entry.url)
    try:
        return dict(entry.get_state_dict(progress=progress, check_hash=True, weights_only=True))
    except OSError as error:
        raise FileNotFoundError(
            f"{uid}: the weights {entry.name} are not on this machine and could not be downloaded "
            f"from {entry.url} ({type(error).__name__}). Download that address elsewhere and put "
            f"the file at {file}, or name a local file by weights=FILE. weights=None gives the "
            f"random twin."
        ) from error


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
