"""Weights from local files, checked against the architecture."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors.torch
import torch
from torch import nn

logger = logging.getLogger(__name__)

# In the order in which training code nests them.
_WRAPPERS = (
    *("classy_state_dict", "base_model", "target_encoder"),
    *("state_dict", "model_state_dict", "model", "model_state", "trunk"),
)
_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".tar", ".torch")
# Published checkpoints hold settings and scores of the training beside tensors. These types carry
# numbers and words alone, and loading them runs no code of the file.
_scalar: Any = np.float64(0).__reduce__()[0]
_HARMLESS = [
    *(argparse.Namespace, np.dtype, _scalar),
    *((_scalar, f"numpy.{room}.multiarray.scalar") for room in ("core", "_core")),
    *(type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "bool")),
]
# What wrappers leave: data-parallel training, Lightning, torch.compile.
_PREFIXES = ("module.", "model.", "_orig_mod.", "network.", "net.", "backbone.", "encoder.")


class WeightsMismatchError(ValueError):
    """Weights that do not fit an architecture.

    Attributes
    ----------
    missing, unknown : tuple of str
        Names that the architecture has and the weights lack, and the reverse.
    shapes : mapping of str to (tuple of int, tuple of int)
        Where a shape differs: that of the weights, and that of the architecture.
    """

    def __init__(
        self,
        what: str,
        missing: Sequence[str],
        unknown: Sequence[str],
        shapes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]],
    ) -> None:
        self.missing, self.unknown, self.shapes = tuple(missing), tuple(unknown), dict(shapes)
        wrong = [f"{name} {found} for {planned}" for name, (found, planned) in shapes.items()]
        listed = (("missing", self.missing), ("unknown", self.unknown), ("shape", wrong))
        words = "; ".join(_shorten(label, names) for label, names in listed if names)
        super().__init__(
            f"weights: {what} do not fit: {words}. Nothing was loaded. Is it the file of another "
            f"architecture? The error's missing, unknown and shapes have all of them."
        )


def read_state_dict(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a state dict from a ``.safetensors``, ``.pth``, ``.pt`` or ``.bin`` file.

    Nothing is unpickled but tensors, numbers and words (``weights_only=True``). A checkpoint that
    keeps its weights under ``state_dict`` or ``model`` is unwrapped.

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
    if path.suffix not in _SUFFIXES:
        raise ValueError(
            f"weights: expected a .safetensors, .pth, .pt, .bin or .ckpt file, got {path.name}."
        )
    try:
        content = load_tensors(path)
    except Exception as error:
        raise ValueError(
            f"weights: {path} could not be read as tensors only ({type(error).__name__}). A file "
            f"that holds a whole pickled module is not loaded; save module.state_dict() instead."
        ) from error
    return state_dict_in(content, str(path))


def load_tensors(file: Path | BinaryIO) -> Any:
    """Read what `torch.save` wrote, if it is made of tensors, numbers and words alone."""
    with torch.serialization.safe_globals(_HARMLESS):
        return torch.load(file, map_location="cpu", weights_only=True)


def state_dict_in(content: Any, what: str) -> dict[str, torch.Tensor]:
    """Find the state dict in a checkpoint; `what` names it in the error."""
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(
        isinstance(value, torch.Tensor) for value in content.values()
    ):
        raise ValueError(f"weights: {what} holds no state dict (names to tensors).")
    return dict(content)


def fit_state_dict(module: nn.Module, state: Mapping[str, torch.Tensor], what: str) -> None:
    """Load weights into a module, every name and shape in its place.

    Prefixes that wrappers leave (``module.``, ``model.``, ``_orig_mod.``) are taken off when the
    names fit only without them.

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
    WeightsMismatchError
        If names or shapes differ (a `ValueError`); lists the first of each kind and loads nothing.
    """
    expected = module.state_dict()
    _check_tensors(state, what)
    stripped = dict(state)
    if set(stripped) != set(expected):
        stripped = _strip_prefix(stripped, expected)
    # A counter of BatchNorm that older files lack and that evaluation does not read.
    missing = [
        name
        for name in expected
        if name not in stripped and not name.endswith("num_batches_tracked")
    ]
    unknown = [name for name in stripped if name not in expected]
    shapes = {
        name: (tuple(stripped[name].shape), tuple(expected[name].shape))
        for name in expected
        if name in stripped and stripped[name].shape != expected[name].shape
    }
    if missing or unknown or shapes:
        raise WeightsMismatchError(what, missing, unknown, shapes)
    for name, tensor in expected.items():
        given = stripped.get(name)
        if given is not None and given.is_floating_point() != tensor.is_floating_point():
            raise ValueError(
                f"weights: {what}: expected {tensor.dtype} for {name}, got {given.dtype}. "
                f"Quantised weights are not decoded. Nothing was loaded."
            )
    module.load_state_dict(stripped, strict=False)


def _check_tensors(state: Any, what: str) -> None:
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise TypeError(
                f"weights: {what}: expected names and tensors, got {type(name).__name__} and "
                f"{type(value).__name__} ({name!r}). Give module.state_dict()."
            )
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            logger.warning("weights: %s hold values that are not finite, in %s.", what, name)
            return


def _strip_prefix(state: dict[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    for prefix in _PREFIXES:
        if state and all(name.startswith(prefix) for name in state):
            without = {name.removeprefix(prefix): value for name, value in state.items()}
            if set(without) & set(expected):
                return _strip_prefix(without, expected)
    return state


def _shorten(label: str, names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{len(names)} {label} ({', '.join(names[:3])}{more})"
