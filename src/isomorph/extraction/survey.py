"""The survey: two tiny batches tell what every module gives, and where its stimuli are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from isomorph.extraction.model import Model, ready
from isomorph.extraction.outputs import BatchAxis, find_batch_axis, layer_name, leaves
from isomorph.extraction.plan import Layer, Plan
from isomorph.storage import hash_array

# Two sizes that share no factor with each other, so that an axis of 2 or 3 is not taken for one.
SURVEY_SIZES = (2, 3)


@dataclass
class _Capture:
    """One output, held so that its memory cannot be reused while identities are compared."""

    held: torch.Tensor
    copy: torch.Tensor
    version: int

    @property
    def identity(self) -> tuple[Any, ...]:
        tensor = self.held
        place = (
            tensor.untyped_storage().data_ptr(),
            tensor.storage_offset(),
            tensor.dtype,
            self.version,
        )
        if tensor.is_contiguous() and tensor.ndim and len(tensor) in SURVEY_SIZES:
            # A flattened view holds the same features of each stimulus in the same order.
            return (*place, len(tensor), tensor.numel())
        return (*place, tuple(tensor.shape), tensor.stride())

    @property
    def overwritten(self) -> bool:
        return self.held._version != self.version or not torch.equal(
            torch.nan_to_num(self.held), torch.nan_to_num(self.copy)
        )


def module_names(root: nn.Module) -> dict[nn.Module, str]:
    """Name every module once, by the first path that leads to it."""
    return {module: path for path, module in root.named_modules()}


def survey_model(model: Model, inputs: torch.Tensor, *, device: torch.device) -> Plan:
    """Run two tiny batches of different size and plan what can be read.

    Parameters
    ----------
    model : Model
        What to survey; it is left as it was.
    inputs : torch.Tensor
        At least as many preprocessed stimuli as the larger survey batch, shape (3, ...).
    device : torch.device
        Where to run.

    Returns
    -------
    Plan
        Every output in call order; duplicates point to their original.

    Raises
    ------
    ValueError
        If the two batches do not call the same modules in the same order.

    Notes
    -----
    Two outputs are duplicates if they are the same tensor or a flattened view of it (same memory,
    same version: an output that was overwritten in place in between is not the same), or if their
    flattened values are equal for both batches. Values that are constant over both batches prove
    nothing and do not make a duplicate; the stream checks the others over all stimuli.
    """
    n_small, n_large = SURVEY_SIZES
    inputs = inputs.to(device)
    with ready(model, device), torch.no_grad():
        small = _capture(model, inputs[:n_small])
        large = _capture(model, inputs[:n_large])
    if list(small) != list(large):
        changed = next(iter(set(small) ^ set(large)), next(iter(small), ("", 0, "")))
        raise ValueError(
            f"{model.uid}: its modules are not called in the same way for {n_small} and for "
            f"{n_large} stimuli (first seen at {layer_name(*changed)}); such a model cannot be "
            f"planned."
        )
    types = {path: type(module).__name__ for module, path in module_names(model.module).items()}
    layers = _mark_duplicates(
        [_describe(key, small[key], large[key], types[key[0]]) for key in small], small, large
    )
    called = {path for path, _, _ in small}
    silent = [path for path in module_names(model.module).values() if path not in called]
    never_called = tuple(path for path in silent if not _is_container(model.module, path))
    return Plan(layers=tuple(layers), never_called=never_called, model_uid=model.uid)


def _capture(model: Model, inputs: torch.Tensor) -> dict[tuple[str, int, str], _Capture]:
    captures: dict[tuple[str, int, str], _Capture] = {}
    calls: Counter[str] = Counter()

    def tap(path: str):
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            call = calls[path]
            calls[path] += 1
            for leaf, tensor in leaves(output):
                captures[path, call, leaf] = _Capture(
                    tensor, tensor.detach().clone(), tensor._version
                )

        return hook

    handles = [
        module.register_forward_hook(tap(path))
        for module, path in module_names(model.module).items()
    ]
    try:
        model(inputs.clone())  # a first in-place operation must not change the caller's inputs
    finally:
        for handle in handles:
            handle.remove()
    return captures


def _describe(
    key: tuple[str, int, str], small: _Capture, large: _Capture, module_type: str
) -> Layer:
    path, call, leaf = key
    tensor = small.copy
    found: BatchAxis | str = "its values are complex numbers"
    if not tensor.is_complex():
        found = find_batch_axis(tensor, large.copy, *SURVEY_SIZES)
    if isinstance(found, str):
        return Layer(
            path, call, leaf, module_type, tuple(tensor.shape), tensor.dtype, None, left_out=found
        )
    shape = tuple(found.stimuli_leading(tensor).shape[1:])
    empty = "it has no values" if 0 in shape else ""
    return Layer(
        path,
        call,
        leaf,
        module_type,
        shape,
        tensor.dtype,
        found,
        overwritten=small.overwritten,
        left_out=empty,
    )


def _mark_duplicates(
    layers: list[Layer],
    small: dict[tuple[str, int, str], _Capture],
    large: dict[tuple[str, int, str], _Capture],
) -> list[Layer]:
    by_identity: dict[tuple[Any, ...], str] = {}
    by_value: dict[tuple[str, str], str] = {}
    marked: list[Layer] = []
    index = 0
    for layer in layers:
        if layer.left_out:
            marked.append(layer)
            continue
        identity = (*small[layer.key].identity, *large[layer.key].identity)
        contents = [layer.flatten(run[layer.key].copy) for run in (small, large)]
        value = (_value_hash(contents[0]), _value_hash(contents[1]))
        tells = all(content.numel() and bool(content.min() < content.max()) for content in contents)
        original = by_identity.get(identity) or (by_value.get(value) if tells else None)
        if original:
            same = identity in by_identity
            marked.append(replace(layer, duplicate_of=original, same_tensor=same))
            by_identity.setdefault(identity, original)
            continue
        by_identity[identity] = layer.name
        by_value[value] = layer.name
        marked.append(replace(layer, index=index))
        index += 1
    return marked


def _value_hash(content: torch.Tensor) -> str:
    # Adding zero makes −0 and 0 the same bytes; bfloat16 is unknown to NumPy.
    content = content.to(torch.float64) if content.is_floating_point() else content
    return hash_array((content + 0).cpu().numpy())


def _is_container(root: nn.Module, path: str) -> bool:
    return isinstance(root.get_submodule(path), nn.ModuleList | nn.ModuleDict | nn.ParameterList)
