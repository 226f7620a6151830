"""Weights from local files, checked against the architecture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "model.")


def read_state_dict(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a state dict from a ``.safetensors``, ``.pth``, ``.pt`` or ``.bin`` file.

    Nothing is unpickled but tensors (``weights_only=True``). A checkpoint that keeps its weights
    under ``state_dict`` or ``model`` is unwrapped.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file holds no state dict.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"weights: no file at {path}.")
    if path.suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(path)
        except Exception as error:
            raise ValueError(
                f"weights: {path} is not a readable safetensors file: {error}."
            ) from error
    if path.suffix not in {".pth", ".pt", ".bin", ".ckpt"}:
        raise ValueError(
            f"weights: expected a .safetensors, .pth, .pt, .bin or .ckpt file, got {path.name}."
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"weights: {path} could not be read as tensors only ({type(error).__name__}). A file "
            f"that holds a whole pickled module is not loaded; save module.state_dict() instead."
        ) from error
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(
        isinstance(value, torch.Tensor) for value in content.values()
    ):
        raise ValueError(f"weights: {path} holds no state dict (names to tensors).")
    return dict(content)


def fit_state_dict(module: nn.Module, state: Mapping[str, torch.Tensor], what: str) -> None:
    """Load weights into a module, every name and shape in its place.

    Prefixes that wrappers leave (``module.``, ``model.``) are taken off when the names fit only
    without them.

    Parameters
    ----------
    module : torch.nn.Module
        Changed in place.
    state : mapping
        Names to tensors.
    what : str
        ``"weights.pth into torchvision/alexnet"``, for the error.

    Raises
    ------
    ValueError
        If names or shapes differ; lists the first of each kind and loads nothing.
    """
    expected = module.state_dict()
    stripped = _strip_prefix(dict(state), expected)
    missing = [name for name in expected if name not in stripped]
    extra = [name for name in stripped if name not in expected]
    shapes = [
        f"{name} {tuple(stripped[name].shape)} for {tuple(expected[name].shape)}"
        for name in expected
        if name in stripped and stripped[name].shape != expected[name].shape
    ]
    # A counter of BatchNorm that older files lack and that evaluation does not read.
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or extra or shapes:
        parts = [
            _shorten(label, names)
            for label, names in (("missing", missing), ("unknown", extra), ("shape", shapes))
            if names
        ]
        raise ValueError(
            f"weights: {what} do not fit: {'; '.join(parts)}. Nothing was loaded. Is it the file "
            f"of another architecture?"
        )
    module.load_state_dict(stripped, strict=False)


def _strip_prefix(state: dict[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    for prefix in _PREFIXES:
        if state and all(name.startswith(prefix) for name in state):
            without = {name.removeprefix(prefix): value for name, value in state.items()}
            if set(without) & set(expected):
                return _strip_prefix(without, expected)
    return state


def _shorten(label: str, names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{len(names)} {label} ({', '.join(names[:3])}{more})"
