"""The survey: two tiny batches tell what every module gives, and where its stimuli are."""

from __future__ import annotations

import fnmatch
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from isomorph.extraction.axes import Output, channel_axes
from isomorph.extraction.batches import batch_size_of, fresh_on, take
from isomorph.extraction.duplicates import SURVEY_SIZES, Capture, Key, mark_duplicates
from isomorph.extraction.layer import Layer
from isomorph.extraction.model import Batch, Model, ready
from isomorph.extraction.operations import watch_operations
from isomorph.extraction.outputs import (
    MIXED,
    UNPROPORTIONAL,
    UNSTEADY,
    BatchAxis,
    find_batch_axis,
    forced_batch_axis,
    layer_name,
    leaves,
    turns_along,
)
from isomorph.extraction.plan import Plan
from isomorph.extraction.structure import block_paths, module_names
from isomorph.registry import unknown_name

InputDim = int | Mapping[str, int] | None


@dataclass
class _Run:
    """What one survey batch left: every output, and what went into the last weighted layer."""

    captures: dict[Key, Capture]
    head_input: Capture | None = None
    head_path: str = ""


def survey_model(
    model: Model,
    inputs: Batch,
    *,
    device: torch.device,
    input_dim: InputDim = None,
    ops: bool = False,
    precision: str = "float32",
    channels_last: bool = False,
) -> Plan:
    """Run two tiny batches of different size and plan what can be read.

    Parameters
    ----------
    model : Model
        What to survey; it is left as it was.
    inputs : torch.Tensor, (3, ...) or (6, ...), or mapping of str to such
        Preprocessed stimuli: three, or better six, from all over the set.
    device : torch.device
        Where to run.
    input_dim : int, mapping of str to int, or None
        The axis that holds the stimuli in a module's output, where what is found is not what is
        meant: for all outputs, or by name or glob of layers.
    ops : bool
        Plan the tensor operations too that no module owns: residual additions, attention maps.
    precision, channels_last
        As the model will be run (`ready`).

    Returns
    -------
    Plan
        Every output in call order; duplicates point to their original.

    Notes
    -----
    Two outputs are duplicates if they are the same tensor or a flattened view of it (same memory,
    same version: an output that was overwritten in place in between is not the same), or if their
    flattened values are equal for both batches. Values that are constant over both batches prove
    nothing and do not make a duplicate; the stream checks the others over all stimuli.

    A third batch holds two of the stimuli in reversed order behind another one. What then has other
    values (a recurrence over the batch), calls or shapes (experts that are chosen by the data) is
    left out: its rows cannot be told apart in a stream.
    """
    n_small, n_large = SURVEY_SIZES
    running = ready(model, device, precision=precision, channels_last=channels_last, unfused=ops)
    with running, torch.no_grad():

        def batch(rows: slice | list[int]) -> Batch:
            return fresh_on(take(inputs, rows), device, channels_last=channels_last)

        runs = [_run(model, batch(slice(0, n_small)), ops)]
        small = runs[0].captures
        # Copies are most of the survey's memory, and new memory most of its time: of the second
        # batch only what was written over in the first is copied.
        steady = {key for key, capture in small.items() if not capture.overwritten}
        runs.append(_run(model, batch(slice(0, n_large)), ops, steady))
        if any(capture.lost for capture in runs[1].captures.values()):
            runs[1] = _run(model, batch(slice(0, n_large)), ops)
        large = runs[1].captures
        _check_input_dim(input_dim, small | large)
        axes = _batch_axes(small, large, input_dim)
        # Known stimuli in other company: strangers first, then two in reversed order.
        more = batch_size_of(inputs) >= 2 * n_large
        strangers = list(range(n_large, 2 * n_large)) if more else [n_large - 1]
        found = {
            key: axis
            for key, axis in axes.items()
            if not isinstance(axis, str) and _asked_axis(layer_name(*key), input_dim) is None
        }
        turned = _turned(model, batch([*strangers, 1, 0]), ops, found, large)
    modules = {path: module for module, path in module_names(model.module).items()}
    blocks = block_paths(model.module)
    layers: list[Layer] = []
    for key in small | large | turned:
        module = modules.get(key[0])
        captures = [run[key] for run in (small, large) if key in run]
        layer = _describe(key, captures, axes.get(key, UNSTEADY), turned.get(key), module)
        layer = replace(
            layer,
            is_leaf=module is not None and next(module.children(), None) is None,
            is_block=key[0] in blocks,
        )
        layers.append(layer)
    unsteady = {key[0] for key in (small.keys() ^ large.keys()) | (large.keys() ^ turned.keys())}
    layers = _with_channels(layers, modules, small)
    layers = _without_siblings(_without(layers, unsteady), modules)
    layers = mark_duplicates(layers, small, large)
    called = {path for path, _, _ in small | large | turned}
    silent = [path for path in modules if path not in called]
    return Plan(
        layers=tuple(layers),
        never_called=tuple(path for path in silent if not _is_container(modules[path])),
        model_uid=model.uid,
        penultimate=_penultimate(layers, runs, blocks),
    )


def _run(model: Model, inputs: Batch, ops: bool, steady: Collection[Key] = ()) -> _Run:
    """Hold every output of one batch; those of `steady` keys without a copy."""
    run = _Run({})

    def keep(key: Key, tensor: torch.Tensor) -> None:
        run.captures[key] = Capture.of(tensor, copied=key not in steady)

    def read(path: str, module: nn.Module, args: Any) -> None:
        if _is_weighted_leaf(module) and args and isinstance(args[0], torch.Tensor):
            run.head_input, run.head_path = Capture.of(args[0], copied=False), path

    _watch(model, inputs, ops, keep, read)
    return run


def _turned(
    model: Model,
    inputs: Batch,
    ops: bool,
    axes: Mapping[Key, BatchAxis],
    large: Mapping[Key, Capture],
) -> dict[Key, str | Capture]:
    """Compare each output with what its stimuli gave before, and say what is wrong with it.

    Nothing is held but outputs that never came before.
    """
    found: dict[Key, str | Capture] = {}

    def compare(key: Key, tensor: torch.Tensor) -> None:
        if key not in large:
            found[key] = Capture.of(tensor)
            return
        axis = axes.get(key)
        found[key] = turns_along(axis, large[key].copy, tensor) if axis else ""

    _watch(model, inputs, ops, compare)
    return found


def _watch(
    model: Model,
    inputs: Batch,
    ops: bool,
    take_output: Callable[[Key, torch.Tensor], None],
    take_input: Callable[[str, nn.Module, Any], None] = lambda _path, _module, _args: None,
) -> None:
    """Run one batch, and hand on every output under its key, as it comes."""
    calls: Counter[str] = Counter()
    names = module_names(model.module)
    owner = threading.get_ident()

    def tap(path: str):
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if threading.get_ident() != owner:
                return
            call = calls[path]
            calls[path] += 1
            found = list(leaves(output))
            # A module that does nothing else hands its input on as its own answer.
            own = [item for item in found if not _handed_on(item[1], inputs)] or found
            for leaf, tensor in own:
                take_output((path, call, leaf), tensor)
            take_input(path, module, args)

        return hook

    def watch(path: str, op: str, call: int, tensor: torch.Tensor) -> None:
        take_output((f"{path}:{op}", call, ""), tensor)

    with ExitStack() as stack:
        for module, path in names.items():
            stack.callback(module.register_forward_hook(tap(path)).remove)
        if ops:
            stack.enter_context(watch_operations(model.module, names, watch))()
        model(inputs)


def _handed_on(tensor: torch.Tensor, inputs: Batch) -> bool:
    """Whether an output is token ids, or a mask, that the model was given and passes through."""
    given = inputs.values() if isinstance(inputs, Mapping) else [inputs]
    return not tensor.is_floating_point() and any(tensor is one for one in given)


def _is_weighted_leaf(module: nn.Module) -> bool:
    weighted = isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)
    return weighted and next(module.children(), None) is None


def _batch_axes(
    small: Mapping[Key, Capture], large: Mapping[Key, Capture], input_dim: InputDim
) -> dict[Key, BatchAxis | str]:
    """Find where each output of both batches holds its stimuli, or why that is not known."""
    axes: dict[Key, BatchAxis | str] = {}
    for key in small.keys() & large.keys():
        first, second = small[key], large[key]
        asked = _asked_axis(layer_name(*key), input_dim)
        if first.reason or second.reason:
            axes[key] = first.reason or second.reason
        elif first.copy.is_complex():
            axes[key] = "its values are complex numbers"
        elif asked is None:
            axes[key] = find_batch_axis(first.copy, second.copy, *SURVEY_SIZES)
        else:
            axes[key] = forced_batch_axis(first.copy, second.copy, *SURVEY_SIZES, asked)
    return axes


def _describe(
    key: Key,
    captures: Sequence[Capture],
    found: BatchAxis | str,
    turned: str | Capture | None,
    module: nn.Module | None,
) -> Layer:
    """Describe an output: `captures` of the first two batches, and what the third said of it."""
    path, call, leaf = key
    present = captures[0] if captures else turned
    assert isinstance(present, Capture)
    tensor = present.copy
    kind = type(module) if module is not None else None
    name = kind.__name__ if kind is not None else path.rpartition(":")[2]
    layer = Layer(
        path, call, leaf, name, tuple(tensor.shape), tensor.dtype, None, module_class=kind
    )
    if len(captures) < 2 or not isinstance(turned, str):
        return replace(layer, left_out=UNSTEADY)
    if isinstance(found, str) or turned:
        return replace(layer, left_out=found if isinstance(found, str) else turned)
    shape = tuple(found.stimuli_leading(tensor).shape[1:])
    return replace(
        layer,
        shape=shape,
        batch=found,
        overwritten=present.overwritten,
        left_out="it has no values" if 0 in shape else "",
    )


def _check_input_dim(input_dim: InputDim, keys: Mapping[Key, Any]) -> None:
    if input_dim is None or (isinstance(input_dim, int) and not isinstance(input_dim, bool)):
        return
    if not isinstance(input_dim, Mapping):
        raise TypeError(
            f"input_dim: expected an axis (a whole number), or a mapping of layers to axes, got "
            f"{input_dim!r}."
        )
    names = [layer_name(*key) for key in keys]
    for asked in input_dim:
        if not any(name == asked or fnmatch.fnmatchcase(name, asked) for name in names):
            raise unknown_name("layer", asked, names, "It is named by input_dim=.")


def _asked_axis(name: str, input_dim: InputDim) -> int | None:
    if not isinstance(input_dim, Mapping):
        return input_dim
    if name in input_dim:
        return input_dim[name]
    return next((dim for glob, dim in input_dim.items() if fnmatch.fnmatchcase(name, glob)), None)


def _with_channels(
    layers: list[Layer], modules: Mapping[str, nn.Module], small: Mapping[Key, Capture]
) -> list[Layer]:
    outputs: dict[Key, Output] = {}
    for layer in layers:
        if layer.batch is not None and not layer.left_out:
            rows = layer.batch.stimuli_leading(small[layer.key].held)
            module = modules.get(layer.path)
            outputs[layer.key] = Output(layer.path, layer.shape, module, rows.stride()[1:])
    axes = dict(zip(outputs, channel_axes(list(outputs.values())), strict=True))
    return [replace(layer, channels=axes.get(layer.key)) for layer in layers]


def _without(layers: list[Layer], unsteady: set[str]) -> list[Layer]:
    """Leave out all calls of a module whose calls depend on the batch."""
    return [
        replace(layer, left_out=layer.left_out or UNSTEADY) if layer.path in unsteady else layer
        for layer in layers
    ]


def _without_siblings(layers: list[Layer], modules: Mapping[str, nn.Module]) -> list[Layer]:
    """Leave out the experts of a mixture together: a few may look steady by chance.

    Experts are the modules of one ``ModuleList``; if a part of one is unsteady, so is the same part
    of the others.
    """
    parts: set[tuple[str, str]] = set()
    for layer in layers:
        if layer.left_out in (UNSTEADY, UNPROPORTIONAL, MIXED):
            parts.update(_places(layer.path, modules))
    return [
        replace(layer, left_out=UNSTEADY)
        if not layer.left_out and parts.intersection(_places(layer.path, modules))
        else layer
        for layer in layers
    ]


def _places(path: str, modules: Mapping[str, nn.Module]) -> list[tuple[str, str]]:
    """Split a path at each list of like modules: (the list, the path below its item)."""
    names = path.split(".")
    found: list[tuple[str, str]] = []
    for depth in range(1, len(names)):
        above = ".".join(names[:depth])
        items = modules.get(above)
        if isinstance(items, nn.ModuleList) and len({type(item) for item in items}) == 1:
            found.append((above, ".".join(names[depth + 1 :])))
    return found


def _penultimate(layers: list[Layer], runs: list[_Run], blocks: Collection[str]) -> str:
    """The layer that the last weighted one (a classifier, say) reads; empty if there is none.

    Where that input is no module's output (one token of a sequence), it is the layer before it.
    A model whose last weighted layer is part of a block has no classifier: what it gives is what a
    classifier would read.
    """
    distinct = [layer for layer in layers if layer.index is not None]
    run = runs[0]
    parts = run.head_path.split(".")
    if any(".".join(parts[:depth]) in blocks for depth in range(1, len(parts) + 1)):
        given = [layer for layer in layers if not layer.path and not layer.left_out]
        return (given[0].duplicate_of or given[0].name) if given else distinct[-1].name
    if run.head_input is None or len(distinct) < 2:
        return distinct[-2].name if len(distinct) > 1 else ""
    for layer in reversed(layers):
        if not layer.left_out and run.captures[layer.key].identity == run.head_input.identity:
            return layer.duplicate_of or layer.name
    head = [layer.index for layer in distinct if layer.path == run.head_path]
    before = max((head[-1] or 0) - 1, 0) if head else len(distinct) - 2
    return distinct[before].name


def _is_container(module: nn.Module) -> bool:
    return isinstance(module, nn.ModuleList | nn.ModuleDict | nn.ParameterList)
