"""Source ``timm``: every network and weight set of PyTorch Image Models."""

from __future__ import annotations

import functools
import math
import os
import pickle
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from isomorph.zoo.source import Loaded, Row, Source, State
from isomorph.zoo.tables.timm_tags import architecture, family, sizes, task, train_data

if TYPE_CHECKING:
    from torch import nn

    from isomorph.zoo.preprocessing.image import ImagePreprocess
    from isomorph.zoo.preprocessing.padded import PaddedPreprocess

NAME = "timm"
_SPDX = {
    "apache-2.0": "Apache-2.0",
    "mit": "MIT",
    "bsd-3-clause": "BSD-3-Clause",
    "cc-by-4.0": "CC-BY-4.0",
    "cc-by-nc-4.0": "CC-BY-NC-4.0",
    "dinov3-license": "DINOv3-License",
    "gemma": "Gemma",
    "unknown": "",
}


def names() -> list[str]:
    """Name the networks that the installed timm builds."""
    import timm

    return timm.list_models()


@functools.cache
def rows() -> tuple[Row, ...]:
    """List every network × published weight set, from timm's own registry."""
    import timm

    published = [name.partition(".")[::2] for name in timm.list_models(pretrained=True)]
    configs = {(name, tag): _config(name, tag) for name, tag in published}
    sides: dict[str, set[int]] = defaultdict(set)
    for (name, _), config in configs.items():
        sides[name].add(config.input_size[1])
    defaults = {name: _default_tag(name) for name in sides}
    return tuple(
        _row(name, tag, config, defaults[name] == tag, frozenset(sides[name]))
        for (name, tag), config in configs.items()
    )


def _row(name: str, tag: str, config: Any, default: bool, sides: frozenset[int]) -> Row:
    n_params, state_bytes = sizes().get(f"{name}.{tag}", (None, None))
    license = config.license or ""
    return Row(
        source=NAME,
        name=name,
        weights=tag,
        default=default,
        modality="vision",
        architecture=architecture(name, sides),
        family=family(name, _module(name).rpartition(".")[2]),
        task=task(name, tag),
        train_data=train_data(name, tag),
        n_params=n_params,
        input_size=config.input_size[1],
        license=_SPDX.get(license, license),
        weights_bytes=state_bytes,
        url=f"https://huggingface.co/{config.hf_hub_id}" if config.hf_hub_id else config.url,
    )


def build(name: str) -> Loaded:
    """Build a network as it is before training."""
    import timm

    module = timm.create_model(name, pretrained=False)
    return Loaded(module, _preprocess_of(module))


def build_like(name: str, weights: str) -> Loaded:
    """Build a network before training, with the head and the input size of published weights."""
    return build(f"{name}.{weights}")


def load(name: str, weights: str, progress: bool) -> Loaded:
    """Load published weights, from the cache of Hugging Face or torch if they are there."""
    import timm
    from safetensors import SafetensorError

    from isomorph.zoo.download import fetch_weights
    from isomorph.zoo.huggingface.files import hub_file, quiet_hub

    config, uid = _config(name, weights), f"{NAME}/{name}@{weights}"
    if config.hf_hub_id:
        with quiet_hub(progress):
            file = hub_file(config.hf_hub_id, ("model.safetensors", "pytorch_model.bin"), uid)
    else:
        file = fetch_weights(config.url, uid, sha256=_digits(config.url), progress=progress)
    try:
        # timm's own way for a file: it knows what to rename, and which head belongs to what.
        module = timm.create_model(
            f"{name}.{weights}", pretrained=True, pretrained_cfg_overlay={"file": str(file)}
        )
    except (RuntimeError, KeyError, SafetensorError, pickle.UnpicklingError) as error:
        pickled = isinstance(error, pickle.UnpicklingError)
        reason = "it holds more than tensors, and is not unpickled" if pickled else str(error)
        raise ValueError(
            f"weights: {file.name} cannot be loaded into {uid}: {reason}. Nothing was loaded. "
            f"Remove {file} to download it anew, or install a newer timm."
        ) from error
    return Loaded(module, _preprocess_of(module))


def normalise(name: str, weights: str) -> tuple[str, str]:
    """Take timm's own spelling apart: ``resnet50.a1_in1k``; no name of a network has a dot.

    Examples
    --------
    >>> normalise("resnet50.a1_in1k", ""), normalise("resnet50.a1_in1k", "random-0")
    (('resnet50', 'a1_in1k'), ('resnet50', 'random-0'))
    """
    bare, _, tag = name.partition(".")
    random = weights.startswith("random-")
    if tag and (random or weights in ("", tag)):
        return bare, weights or tag
    return name, weights


def adapt(state: State, module: nn.Module) -> State:
    """Bring names of published files into timm's, as timm does where it knows the publisher."""
    expected = module.state_dict()
    if set(state) == set(expected):
        return state
    filter_names = _filter_of(module)
    if filter_names is None:
        return state
    try:
        found = filter_names(dict(state), module)
    except (KeyError, RuntimeError, AttributeError, AssertionError):
        return state  # of another network: its own names tell best what differs
    return found if isinstance(found, Mapping) else state


def recognise(module: nn.Module) -> Loaded | None:
    """Find the preprocessing of a network that was made with timm."""
    if "timm" not in sys.modules or not isinstance(
        getattr(module, "pretrained_cfg", None), Mapping
    ):
        return None
    if not any(kind.__module__.startswith("timm.") for kind in type(module).__mro__):
        return None
    return Loaded(module, _preprocess_of(module))


def _preprocess_of(module: nn.Module) -> ImagePreprocess | PaddedPreprocess | None:
    from timm.data.config import resolve_model_data_config

    from isomorph.zoo.preprocessing.image import ImagePreprocess
    from isomorph.zoo.preprocessing.padded import PaddedPreprocess

    config = resolve_model_data_config(module)
    channels, height, width = config["input_size"]
    if channels != 3:
        return None
    box = tuple(math.floor(side / config["crop_pct"]) for side in (height, width))
    look: dict[str, Any] = {
        "interpolation": config["interpolation"],
        "mean": tuple(config["mean"]),
        "std": tuple(config["std"]),
    }
    crop = height if height == width else (height, width)
    if config["crop_mode"] == "squash":
        return ImagePreprocess(resize=(box[0], box[1]), crop=crop, **look)
    if config["crop_mode"] == "border":
        fill = tuple(round(255 * value) for value in config["mean"])
        return PaddedPreprocess((box[0], box[1]), (height, width), fill=fill, **look)
    if box[0] != box[1]:
        return PaddedPreprocess((box[0], box[1]), (height, width), whole=False, **look)
    return ImagePreprocess(resize=box[0], crop=crop, **look)


def _config(name: str, tag: str) -> Any:
    import timm

    found = timm.get_pretrained_cfg(f"{name}.{tag}")
    assert found is not None
    return found


def _default_tag(name: str) -> str:
    import timm

    found = timm.get_pretrained_cfg(name)
    return (found.tag or "") if found is not None and found.has_weights else ""


def _module(name: str) -> str:
    import timm

    return timm.model_entrypoint(name).__module__


def _filter_of(module: nn.Module) -> Callable[..., Any] | None:
    config = getattr(module, "pretrained_cfg", None) or {}
    name = str(config.get("architecture", ""))
    part = sys.modules.get(_module(name)) if name in names() else None
    return getattr(part, "checkpoint_filter_fn", None)


def _digits(url: str) -> str:
    """Read the first digits of a file's hash from its name, where it ends in them."""
    found = re.search(r"-([0-9a-f]{8,})\.", os.path.basename(url))
    return found[1] if found else ""


SOURCE = Source(
    name=NAME,
    summary="PyTorch Image Models",
    rows=rows,
    build=build,
    load=load,
    names=names,
    library="timm",
    adapt=adapt,
    build_like=build_like,
    normalise=normalise,
    recognise=recognise,
)
