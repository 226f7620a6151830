"""Source ``dreamsim``: networks tuned on human judgements of similarity (NIGHTS).

The published files hold low-rank additions (LoRA) beside the networks that they are for. They are
added to the weights here, so neither the package ``dreamsim`` nor ``peft`` is needed.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from isomorph.zoo.architectures.dreamsim import KINDS, BranchKind, DreamSim
from isomorph.zoo.architectures.published_names import adapt as hub_adapt
from isomorph.zoo.download import fetch_weights
from isomorph.zoo.preprocessing.image import ImagePreprocess
from isomorph.zoo.source import Loaded, Row, Source
from isomorph.zoo.tables.published import default_of, published, rows_of
from isomorph.zoo.weights import fit_state_dict, load_tensors, read_state_dict, state_dict_in

NAME = "dreamsim"
# Each branch takes the mean and spread of the data that it was trained on first.
PREPROCESS = ImagePreprocess((224, 224), None, "bicubic", mean=(0.0,) * 3, std=(1.0,) * 3)
_BRANCHES = {"ensemble": ("dino_vitb16", "clip_vitb16", "open_clip_vitb16")}
# Networks that are not in DreamSim's files but at their own publishers'.
_ELSEWHERE = {"dino_vitb16", "dinov2_vitb14"}
_IN_ARCHIVE = {"synclr_vitb16": "synclr_vit_b_16.pth"}
_LORA = re.compile(r".*extractor_list\.(\d+)\.model\.(.+)\.lora_([AB])(?:\.\w+)?\.weight")

State = dict[str, torch.Tensor]


def rows() -> Iterator[Row]:
    """List the ensemble and the single networks."""
    yield from rows_of(NAME)


def build(name: str) -> Loaded:
    """Build the networks as they are before any training."""
    return Loaded(_network(name), PREPROCESS)


def load(name: str, weights: str, progress: bool) -> Loaded:
    """Load published weights, from torch's folder of checkpoints if they are there."""
    entry = published(NAME)[name, weights]
    uid = entry.row.uid
    file = fetch_weights(
        entry.row.url, uid, sha256=entry.sha256, file_name=entry.file_name, progress=progress
    )
    module = _network(name)
    try:
        with zipfile.ZipFile(file) as archive:
            state = _state(archive, module, name, uid, progress)
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"{uid}: expected a zip archive at {file} ({error}). Remove it to download it anew."
        ) from error
    fit_state_dict(module, state, f"{file.name} into {NAME}/{name}")
    return Loaded(module, PREPROCESS)


def _kinds(name: str) -> list[BranchKind]:
    return [KINDS[branch] for branch in _BRANCHES.get(name, (name,))]


def _network(name: str) -> DreamSim:
    return DreamSim(_kinds(name))


def _state(
    archive: zipfile.ZipFile, module: DreamSim, name: str, uid: str, progress: bool
) -> State:
    """Put the branches together and add what was learnt from people."""
    state: State = {}
    for place, kind in enumerate(_kinds(name)):
        if kind.name in _ELSEWHERE:
            found = read_state_dict(_fetch_elsewhere(kind.name, uid, progress))
            found = hub_adapt(found, module.branches[place].network)  # pyright: ignore
            found = {key: value for key, value in found.items() if not key.startswith("norm.")}
            named = {f"network.{key}": value for key, value in found.items()}
        else:
            named = _named(_content(archive, _archive_name(kind.name), uid), kind)
        state |= {f"branches.{place}.{key}": value for key, value in named.items()}
    return _with_additions(state, archive, "ensemble" if name == "ensemble" else f"{name}_single")


def _fetch_elsewhere(branch: str, uid: str, progress: bool) -> Path:
    entry = default_of("hub", branch)
    return fetch_weights(entry.row.url, uid, file_name=entry.file_name, progress=progress)


def _archive_name(branch: str) -> str:
    return _IN_ARCHIVE.get(branch, f"{branch}_pretrain.pth.tar")


def _content(archive: zipfile.ZipFile, file: str, uid: str) -> State:
    content = load_tensors(io.BytesIO(_read(archive, file)))
    return state_dict_in(content, f"{file} of {uid}")


def _read(archive: zipfile.ZipFile, file: str) -> bytes:
    found = [member for member in archive.namelist() if f"/{member}".endswith(f"/{file}")]
    if len(found) != 1:
        raise ValueError(
            f"{archive.filename}: expected one file {file} inside, got {len(found)}. Is it another "
            f"model's archive?"
        )
    return archive.read(found[0])


def _named(weights: State, kind: BranchKind) -> State:
    """From the names of DINO's code, in which the files are written, to this module's."""
    if not kind.clip:
        plain = {key.removeprefix("module.visual."): value for key, value in weights.items()}
        plain = {key: value for key, value in plain.items() if not key.startswith("norm.")}
        return {f"network.{key}": value for key, value in plain.items()}
    named = {
        f"network.{key.replace('pos_drop.', 'norm_pre.')}": value
        for key, value in weights.items()
        if key != "proj"
    }
    return named | {"proj.weight": weights["proj"].T.contiguous()}


def _with_additions(state: State, archive: zipfile.ZipFile, tag: str) -> State:
    """Add B A, scaled, to each matrix that has such an addition."""
    settings: dict[str, Any] = json.loads(_read(archive, f"{tag}_lora/adapter_config.json"))
    scale = settings["lora_alpha"] / settings["r"]
    pairs: dict[str, State] = {}
    for key, value in _additions(archive, tag).items():
        match = _LORA.fullmatch(key)
        if match is None:
            raise ValueError(f"{archive.filename}: expected additions to layers alone, got {key}.")
        pairs.setdefault(f"branches.{match[1]}.network.{match[2]}.weight", {})[match[3]] = value
    if not pairs or not pairs.keys() <= state.keys():
        strange = sorted(pairs.keys() - state.keys())[:3]
        raise ValueError(
            f"{archive.filename}: expected additions to weights of {tag}, got {strange or 'none'}."
        )
    merged = dict(state)
    for key, pair in pairs.items():
        merged[key] = state[key] + scale * (pair["B"] @ pair["A"])
    return merged


def _additions(archive: zipfile.ZipFile, tag: str) -> State:
    inside = f"{tag}_lora/adapter_model"
    if any(member.endswith(f"{inside}.safetensors") for member in archive.namelist()):
        return safetensors.torch.load(_read(archive, f"{inside}.safetensors"))
    return load_tensors(io.BytesIO(_read(archive, f"{inside}.bin")))


SOURCE = Source(
    name=NAME,
    summary="DreamSim, tuned on human judgements of similarity",
    rows=rows,
    build=build,
    load=load,
    library="timm",
)
