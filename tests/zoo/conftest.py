"""Fixtures for sources whose weights lie at addresses of their publishers'."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from isomorph.zoo.tables import published

Keep = Callable[..., Path]


@pytest.fixture
def weights_folder(tmp_path, monkeypatch) -> Path:
    """The folder of the cache that weights are looked for in; empty, and the only one."""
    monkeypatch.setenv("ISOMORPH_CACHE", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    folder = tmp_path / "weights"
    folder.mkdir()
    return folder


@pytest.fixture
def keep_checkpoint(weights_folder, monkeypatch) -> Keep:
    """``keep(source, name, weights, content)``: as if the publisher's file had been downloaded.

    `content` is saved under the published name, if asked for in the format that torch wrote before
    version 1.6; where the table has a hash, it is replaced by this file's.
    """

    def keep(
        source: str, name: str, weights: str, content: Any, *, old_format: bool = False
    ) -> Path:
        entries = dict(published.published(source))
        entry = entries[name, weights]
        file = weights_folder / entry.file_name
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            torch.save(content, file, _use_new_zipfile_serialization=not old_format)
        entries[name, weights] = replace(
            entry,
            sha256=hashlib.sha256(file.read_bytes()).hexdigest()[: len(entry.sha256)],
            md5=hashlib.md5(file.read_bytes()).hexdigest()[: len(entry.md5)],
        )
        table = published.published

        def patched(asked: str):
            return entries if asked == source else table(asked)

        monkeypatch.setattr(published, "published", patched)
        return file

    return keep


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Random pictures: upright and lying, smaller and larger than what networks take."""
    rng = np.random.default_rng(0)
    sizes = [(300, 400), (400, 300), (224, 224), (256, 256), (97, 350), (533, 241)]
    return [Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)) for size in sizes]


@pytest.fixture(scope="session")
def plain_vit() -> Callable[..., torch.Tensor]:
    """A transformer's forward pass in float64, from nothing but the names that DINO's code has.

    ``plain_vit(state, images, patch, heads, …)`` gives the tokens after the last norm.
    """
    return _plain_vit


def _plain_vit(
    state: dict[str, torch.Tensor],
    images: torch.Tensor,
    patch: int,
    heads: int,
    *,
    places: torch.Tensor | None = None,
    before: str = "",
    last_norm: bool = True,
    eps: float = 1e-6,
    gelu: Callable[[torch.Tensor], torch.Tensor] = functional.gelu,
) -> torch.Tensor:
    weights = {name: value.double() for name, value in state.items()}

    def linear(name: str, rows: torch.Tensor) -> torch.Tensor:
        return rows @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name: str, rows: torch.Tensor) -> torch.Tensor:
        spread = rows.var(-1, unbiased=False, keepdim=True).add(eps).sqrt()
        rows = (rows - rows.mean(-1, keepdim=True)) / spread
        return rows * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    n, width = len(images), weights["norm.weight"].numel()
    # Each patch of the picture in a row: what a convolution with its own stride sees.
    cut = images.double().unfold(2, patch, patch).unfold(3, patch, patch)
    cut = cut.permute(0, 2, 3, 1, 4, 5).reshape(n, -1, 3 * patch * patch)
    tokens = cut @ weights["patch_embed.proj.weight"].reshape(width, -1).T
    tokens = tokens + weights["patch_embed.proj.bias"]
    tokens = torch.cat([weights["cls_token"].expand(n, -1, -1), tokens], 1)
    tokens = tokens + (weights["pos_embed"] if places is None else places.double())
    if "register_tokens" in weights:
        registers = weights["register_tokens"].expand(n, -1, -1)
        tokens = torch.cat([tokens[:, :1], registers, tokens[:, 1:]], 1)
    if before:
        tokens = norm(before, tokens)
    depth = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))
    for block in (f"blocks.{i}" for i in range(depth)):
        rows = linear(f"{block}.attn.qkv", norm(f"{block}.norm1", tokens))
        q, k, v = rows.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        attention = (q @ k.transpose(-1, -2) / (width / heads) ** 0.5).softmax(-1)
        rows = linear(f"{block}.attn.proj", (attention @ v).transpose(1, 2).flatten(2))
        tokens = tokens + weights.get(f"{block}.ls1.gamma", 1) * rows
        rows = gelu(linear(f"{block}.mlp.fc1", norm(f"{block}.norm2", tokens)))
        rows = linear(f"{block}.mlp.fc2", rows)
        tokens = tokens + weights.get(f"{block}.ls2.gamma", 1) * rows
    return norm("norm", tokens) if last_norm else tokens
