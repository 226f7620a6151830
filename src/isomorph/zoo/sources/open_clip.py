"""Source ``open_clip``: OpenCLIP's pairs of image and text encoders, every published weight set.

``open_clip/ViT-B-32`` is the image encoder, ``open_clip/ViT-B-32/text`` the text encoder. Each is
loaded without the other, under the library's names of modules.

The default weights of a pair are the last LAION-2B set that the library lists, else the first set.
"""

from __future__ import annotations

import copy
import functools
import json
import os
import re
import warnings
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from isomorph.zoo.architectures.clip_towers import (
    FORWARDS,
    TOWERS,
    fit_to_tower,
    keep_tower,
    split_tower,
)
from isomorph.zoo.huggingface.files import hub_file
from isomorph.zoo.preprocessing.image import ImagePreprocess
from isomorph.zoo.preprocessing.texts import OpenClipTokenizer
from isomorph.zoo.source import Loaded, Row, Source
from isomorph.zoo.tables.open_clip_facts import (
    architecture,
    family,
    license_of,
    n_params,
    train_data,
)
from isomorph.zoo.weights import fit_state_dict, read_state_dict

NAME = "open_clip"
_SMALL_TEXT = {"context_length": 8, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1}


def rows() -> Iterator[Row]:
    """List both towers of every architecture × published weight set."""
    settings = configs()
    for pair, sets in published().items():
        default = default_weights(list(sets))
        for weights, entry in sets.items():
            for tower in TOWERS:
                config = settings[pair]
                image = tower == "image"
                yield Row(
                    source=NAME,
                    name=pair if image else f"{pair}/text",
                    weights=weights,
                    default=weights == default,
                    modality="vision" if image else "language",
                    architecture=architecture(pair, config, tower),
                    family=family(pair, config) if image else "transformer",
                    task="image–text contrastive",
                    train_data=train_data(weights),
                    n_params=n_params(pair, tower),
                    input_size=(
                        _side(config) if image else config["text_cfg"].get("context_length", 77)
                    ),
                    license=license_of(pair, weights),
                    weights_bytes=n_params(pair, "bytes"),
                    url=_page(entry),
                )


def names() -> Iterator[str]:
    """Name both towers of every architecture, also of those without published weights."""
    for pair, config in configs().items():
        yield pair
        if _shipped(config):
            yield f"{pair}/text"


def default_weights(listed: list[str]) -> str:
    """Choose the weights that a pair's name alone means."""
    return next((name for name in reversed(listed) if name.startswith("laion2b")), listed[0])


def build(name: str) -> Loaded:
    """Build a tower as it is before training."""
    pair, tower = split_tower(name)
    sets = published().get(pair, {})
    entry = sets[default_weights(list(sets))] if sets else {}
    return _loaded(make_tower(configs()[pair], tower), pair, tower, entry)


def build_like(name: str, weights: str) -> Loaded:
    """Build a tower before training, as some published weights were trained."""
    pair, tower = split_tower(name)
    entry = published()[pair][weights]
    return _loaded(make_tower(_config_of(pair, entry), tower), pair, tower, entry)


def load(name: str, weights: str, progress: bool) -> Loaded:
    """Load published weights, from the hub's cache if they are there."""
    from isomorph.zoo.huggingface.files import quiet_hub

    pair, tower = split_tower(name)
    entry = published()[pair][weights]
    uid = f"{NAME}/{name}@{weights}"
    repository, file = os.path.split(entry["hf_hub"])
    with quiet_hub(progress):
        path = hub_file(repository, _files(file), uid)
    module = make_tower(_config_of(pair, entry), tower)
    state = fit_to_tower(read_state_dict(path), module)
    fit_state_dict(module, state, f"{path.name} of {repository} into {NAME}/{name}")
    return _loaded(module, pair, tower, entry)


def recognise(module: nn.Module) -> Loaded | None:
    """Find the preprocessing of a network that open_clip made: its image encoder's."""
    kind = type(module)
    if not kind.__module__.startswith("open_clip.") or not hasattr(module, "encode_image"):
        return None
    settings = getattr(getattr(module, "visual", None), "preprocess_cfg", None)
    return Loaded(module, image_preprocess(settings), FORWARDS["image"]) if settings else None


def _config_of(pair: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Give the settings of a pair as some weights were trained.

    The architecture of that name may have plain GELU where the weights had the quick one; the
    library then warns and goes on.
    """
    config = copy.deepcopy(configs()[pair])
    config["quick_gelu"] = bool(config.get("quick_gelu") or entry.get("quick_gelu"))
    return config


def make_tower(config: dict[str, Any], tower: str) -> nn.Module:
    """Make one tower; its weights are those that it has in the whole network of the same seed."""
    from open_clip.coca_model import CoCa
    from open_clip.model import CLIP, CustomTextCLIP

    config = copy.deepcopy(config)
    hub_name = config["text_cfg"].get("hf_model_name", "")
    custom = config.pop("custom_text", False) or bool(hub_name)
    coca = "multimodal_cfg" in config
    if tower == "image" and not coca:
        # Made after the image encoder and thrown away: a small one will do.
        config["text_cfg"] = dict(_SMALL_TEXT)
    elif hub_name:
        from isomorph.zoo.huggingface.configs import config_folder

        config["text_cfg"] |= {
            "hf_model_name": str(config_folder(hub_name)),
            "hf_model_pretrained": False,
        }
    config["vision_cfg"]["timm_model_pretrained"] = False
    kind: Any = CoCa if coca else CustomTextCLIP if custom else CLIP
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return keep_tower(kind(**config), tower)


def image_preprocess(settings: dict[str, Any]) -> ImagePreprocess:
    """Say open_clip's settings of preprocessing in our words.

    Parameters
    ----------
    settings : dict
        ``size mean std interpolation resize_mode``, as the library keeps them.
    """
    size = settings.get("size", 224)
    sides = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
    mode = settings.get("resize_mode", "shortest")
    if mode not in ("shortest", "squash") or (mode == "shortest" and sides[0] != sides[1]):
        raise ValueError(
            f"open_clip: expected preprocessing that resizes the shortest side or squashes, got "
            f"{mode!r} to {sides}. Give preprocess= yourself: open_clip.image_transform_v2."
        )
    return ImagePreprocess(
        resize=sides[0] if mode == "shortest" else sides,
        crop=sides[0] if mode == "shortest" else None,
        interpolation=settings.get("interpolation", "bicubic"),
        mean=tuple(settings["mean"]),
        std=tuple(settings["std"]),
    )


def _loaded(module: nn.Module, pair: str, tower: str, entry: dict[str, Any]) -> Loaded:
    if tower == "text":
        length = configs()[pair]["text_cfg"].get("context_length", 77)
        return Loaded(module, OpenClipTokenizer(pair, length), FORWARDS["text"])
    from open_clip.model import set_model_preprocess_cfg
    from open_clip.transform import PreprocessCfg, merge_preprocess_dict

    settings = merge_preprocess_dict(PreprocessCfg(), entry)
    settings["size"] = getattr(module.visual, "image_size", settings["size"])
    set_model_preprocess_cfg(module, settings)
    return Loaded(module, image_preprocess(settings), FORWARDS["image"])


@functools.cache
def _light() -> ModuleType:
    """The library's list of weights, without importing the library (which takes seconds)."""
    spec = find_spec("open_clip")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    import sys

    package = ModuleType("_isomorph_open_clip")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules[package.__name__] = package
    try:
        return import_module(f"{package.__name__}.pretrained")
    except Exception:  # another version of the library may be laid out in another way
        return import_module("open_clip.pretrained")


@functools.cache
def published() -> dict[str, dict[str, dict[str, Any]]]:
    """Every pair's weight sets with their addresses and preprocessing."""
    library = _light()
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for pair, tag in library.list_pretrained():
        entry = library.get_pretrained_cfg(pair, tag)
        if entry.get("hf_hub"):
            found.setdefault(pair, {})[tag] = entry
    return found


@functools.cache
def configs() -> dict[str, dict[str, Any]]:
    """The library's settings of every architecture."""
    spec = find_spec("open_clip")
    assert spec is not None
    assert spec.origin is not None
    files = sorted((Path(spec.origin).parent / "model_configs").glob("*.json"))
    found = {file.stem: json.loads(file.read_text()) for file in files}
    whole = {"embed_dim", "vision_cfg", "text_cfg"}
    return {name: config for name, config in found.items() if whole <= set(config)}


def _shipped(config: dict[str, Any]) -> bool:
    """Whether the text tower can be built without asking the hub what it is."""
    hub_name = config["text_cfg"].get("hf_model_name", "")
    if not hub_name:
        return True
    from isomorph.zoo.huggingface.configs import is_shipped

    return is_shipped(hub_name)


def _files(file: str) -> list[str]:
    plain = file or "open_clip_pytorch_model.bin"
    safe = "open_clip_model.safetensors" if not file else re.sub(r"\.(bin|pth)$", "", file)
    return [safe if safe.endswith(".safetensors") else f"{safe}.safetensors", plain]


def _side(config: dict[str, Any]) -> int:
    size = config["vision_cfg"].get("image_size", 224)
    return int(size if isinstance(size, int) else size[0])


def _page(entry: dict[str, Any]) -> str:
    return f"https://huggingface.co/{os.path.split(entry['hf_hub'])[0]}"


SOURCE = Source(
    name=NAME,
    summary="OpenCLIP's image and text encoders",
    rows=rows,
    build=build,
    load=load,
    names=names,
    library="open_clip",
    adapt=fit_to_tower,
    build_like=build_like,
    recognise=recognise,
)
