"""Source ``clip``: OpenAI's nine CLIP models, from the addresses that they were published at.

``clip/ViT-B-32`` is the image encoder, ``clip/ViT-B-32/text`` the text encoder; ``ViT-B/32`` is
understood too. The networks are open_clip's with QuickGELU, as OpenAI trained them, in float32.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from isomorph.zoo.architectures.clip_towers import FORWARDS, TOWERS, fit_to_tower, split_tower
from isomorph.zoo.download import fetch_weights
from isomorph.zoo.preprocessing.image import ImagePreprocess
from isomorph.zoo.preprocessing.texts import OpenClipTokenizer
from isomorph.zoo.source import Loaded, Row, Source, State
from isomorph.zoo.sources.open_clip import configs, make_tower
from isomorph.zoo.tables.open_clip_facts import architecture, n_params
from isomorph.zoo.weights import fit_state_dict

NAME = "clip"
WEIGHTS = "openai"
_AT = "https://openaipublic.azureedge.net/clip/models"
# SHA-256 of each file, which its address holds too (OpenAI's clip.py reads it there).
HASHES = {
    "RN50": "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762",
    "RN101": "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599",
    "RN50x4": "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd",
    "RN50x16": "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa",
    "RN50x64": "be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c",
    "ViT-B-32": "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
    "ViT-B-16": "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f",
    "ViT-L-14": "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
    "ViT-L-14-336": "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
}
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)


def rows() -> Iterator[Row]:
    """List both towers of each."""
    settings = configs()
    for pair in HASHES:
        for tower in TOWERS:
            image = tower == "image"
            yield Row(
                source=NAME,
                name=pair if image else f"{pair}/text",
                weights=WEIGHTS,
                default=True,
                modality="vision" if image else "language",
                architecture=architecture(pair, settings[pair], tower),
                family="convolutional" if image and pair.startswith("RN") else "transformer",
                task="image–text contrastive",
                train_data="WIT-400M",
                n_params=n_params(pair, tower),
                input_size=settings[pair]["vision_cfg"]["image_size"] if image else 77,
                license="MIT",
                url=address(pair),
            )


def normalise(name: str, weights: str) -> tuple[str, str]:
    """Understand OpenAI's own spelling.

    Examples
    --------
    >>> normalise("ViT-L/14", "336px"), normalise("ViT-B/32/text", "openai")
    (('ViT-L-14-336', ''), ('ViT-B-32/text', 'openai'))
    """
    if weights.startswith("336px"):  # what follows an @ is taken for weights
        size, _, weights = weights.partition("@")
        name += f"-336{size.removeprefix('336px')}"
    pair = name.removesuffix("/text")
    return pair.replace("/", "-") + name[len(pair) :], weights


def build(name: str) -> Loaded:
    """Build a tower as it is before training."""
    pair, tower = split_tower(name)
    config: dict[str, Any] = copy.deepcopy(configs()[pair]) | {"quick_gelu": True}
    module = make_tower(config, tower)
    if tower == "text":
        return Loaded(module, OpenClipTokenizer(pair, 77), FORWARDS["text"])
    side = config["vision_cfg"]["image_size"]
    preprocess = ImagePreprocess(side, side, "bicubic", _MEAN, _STD)
    return Loaded(module, preprocess, FORWARDS["image"])


def load(name: str, weights: str, progress: bool) -> Loaded:
    """Load the published weights; the file's hash is checked before it is opened."""
    pair, _ = split_tower(name)
    uid = f"{NAME}/{name}@{weights}"
    file = fetch_weights(
        address(pair), uid, sha256=HASHES[pair], progress=progress, also=(own_cache(),)
    )
    loaded = build(name)
    state = fit_to_tower(read_archive(file), loaded.module)
    fit_state_dict(loaded.module, state, f"{file.name} into {NAME}/{name}")
    return loaded


def address(pair: str) -> str:
    """Give the address of a model's file."""
    name = "ViT-L-14-336px" if pair == "ViT-L-14-336" else pair
    return f"{_AT}/{HASHES[pair]}/{name}.pt"


def own_cache() -> Path:
    """Give the folder in which OpenAI's library, and open_clip, keep these files."""
    return Path("~/.cache/clip").expanduser()


def read_archive(file: Path) -> State:
    """Read the tensors of a TorchScript archive.

    It may hold compiled code, which torch loads but does not run here; `load` opens no file whose
    hash is not OpenAI's.
    """
    with warnings.catch_warnings():
        # The format is deprecated; these files are in no other.
        warnings.filterwarnings("ignore", message=".*torch.jit.*")
        module: Any = torch.jit.load(file, map_location="cpu")
    return {name: value.detach().float() for name, value in module.state_dict().items()}


SOURCE = Source(
    name=NAME,
    summary="OpenAI's nine CLIP models",
    rows=rows,
    build=build,
    load=load,
    library="open_clip",
    adapt=fit_to_tower,
    normalise=normalise,
)
