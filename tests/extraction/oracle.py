"""An oracle for extraction: hooks that clone, and all in which the engine differs from them.

It shares nothing with the engine: it walks the modules, names the outputs and finds the stimuli in
them by itself, from plain forward passes over batches of different size.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from isomorph.extraction import FeatureExtractor, Model

N = 4  # stimuli, in one batch: equality can then be bitwise
Key = tuple[str, int, str]
NO_OUTPUT = nn.ModuleList | nn.ModuleDict | nn.ParameterList | nn.ParameterDict
# What a leaf of an output may be besides a tensor. A cache of keys and values is the state that a
# language model hands to its next call, and no map of its own.
NO_MAP = {"NoneType", "int", "float", "bool", "str", "Size", "DynamicCache", "EncoderDecoderCache"}


@dataclass
class Oracle:
    """What one plain forward pass gave: clones of all tensors, in the order of the calls."""

    maps: dict[Key, torch.Tensor] = field(default_factory=dict)
    held: dict[Key, torch.Tensor] = field(default_factory=dict)
    other: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)


def walk(module: nn.Module, path: str = "", met: set[int] | None = None) -> Iterator:
    """Yield (path, module), each module once."""
    met = set() if met is None else met
    if id(module) in met:
        return
    met.add(id(module))
    yield path, module
    for name, child in module.named_children():
        yield from walk(child, f"{path}.{name}" if path else name, met)


def tensors_in(output: Any) -> Iterator[tuple[str, Any]]:
    """Yield (place, leaf); leaves that are no tensors too."""
    if dataclasses.is_dataclass(output):
        fields = [f.name for f in dataclasses.fields(output)]
        parts = [(name, getattr(output, name)) for name in fields]
    elif isinstance(output, Mapping):
        parts = list(output.items())
    elif isinstance(output, (list, tuple)) and not isinstance(output, torch.Size):
        parts = list(enumerate(output))
    else:
        yield "", output
        return
    for name, part in parts:
        for place, leaf in tensors_in(part):
            yield f"[{name}]{place}", leaf


def listen(module: nn.Module, batch: Any) -> Oracle:
    """Clone every output in its hook during one plain forward pass."""
    heard = Oracle()
    calls: Counter[str] = Counter()

    def hook_of(path: str):
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            for place, leaf in tensors_in(output):
                if isinstance(leaf, torch.Tensor):
                    heard.maps[path, calls[path], place] = leaf.detach().clone()
                    heard.held[path, calls[path], place] = leaf
                else:
                    heard.other.add(type(leaf).__name__)
            calls[path] += 1

        return hook

    parts = list(walk(module))
    handles = [part.register_forward_hook(hook_of(path)) for path, part in parts]
    module.eval()
    try:
        with torch.no_grad():
            module(**copied(batch)) if isinstance(batch, dict) else module(copied(batch))
    finally:
        for handle in handles:
            handle.remove()
    heard.silent = {
        path for path, part in parts if not calls[path] and not isinstance(part, NO_OUTPUT)
    }
    return heard


def copied(batch: Any) -> Any:
    if isinstance(batch, dict):
        return {name: tensor.clone() for name, tensor in batch.items()}
    return batch.clone()


@dataclass(frozen=True)
class Place:
    """Where the stimuli are: `share` entries of an axis each, together or a batch apart."""

    axis: int
    share: int
    together: bool

    def rows(self, raw: torch.Tensor) -> torch.Tensor:
        """(n, features), stimulus by stimulus."""
        n = raw.shape[self.axis] // self.share
        picks = torch.arange(n * self.share)
        picks = picks.view(n, self.share) if self.together else picks.view(self.share, n).T
        return torch.stack([raw.index_select(self.axis, pick).flatten() for pick in picks])


def find_place(few: torch.Tensor | None, many: torch.Tensor | None, sizes: tuple[int, int]):
    """Find the stimuli in an output for two batches; a word where there are none.

    The words are those by which `true_reasons` knows what a plan may say.
    """
    if few is None or many is None:
        return "in the same way for every batch"
    if few.is_complex():
        return "complex"
    if few.ndim != many.ndim or few.shape == many.shape:
        return "does not scale"
    changed = [
        axis for axis, (a, b) in enumerate(zip(few.shape, many.shape, strict=True)) if a != b
    ]
    if len(changed) > 1:
        return "more than one axis"
    (axis,) = changed
    if many.shape[axis] * sizes[0] != few.shape[axis] * sizes[1] or few.shape[axis] % sizes[0]:
        return "not in proportion"
    if not few.numel():
        return "no values"
    if not (torch.isfinite(few.double()).all() and torch.isfinite(many.double()).all()):
        return "not finite"
    share = few.shape[axis] // sizes[0]
    best, place = min(
        (
            (distance(p.rows(few), p.rows(many)[: sizes[0]]), p)
            for p in (Place(axis, share, True), Place(axis, share, False))
        ),
        key=lambda found: found[0],
    )
    return place if best < 0.01 else "values change with its batch"


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference relative to the spread of the values (a batch of another size rounds)."""
    a, b = a.double(), b.double()
    spread = a.std(correction=0) + 1e-3 * a.abs().max()
    return float((a - b).abs().max() / spread) if bool(spread) else float((a != b).any())


def extracted(module: nn.Module, batch: Any, **options: Any):
    """Give the engine's plan and its maps, flattened."""
    options = {"batch_size": N, "flatten": True, "progress": False, "device": "cpu", **options}
    extractor = FeatureExtractor(Model(module), batch, **options)
    maps: dict[str, torch.Tensor] = {}
    for group in extractor:
        maps.update({name: features.clone() for name, features in group.items()})
    # A layer that the stimuli show to be no duplicate comes in a pass of its own, after the others.
    order = [layer.name for layer in extractor.plan.layers]
    names = sorted(maps, key=lambda name: order.index(name.partition("[:")[0]))  # slices stay put
    return extractor.plan, {name: maps[name] for name in names}


def differences(module: nn.Module, stimuli: Any, **options: Any) -> list[str]:
    """Say everything in which the engine and the oracle do not agree; empty is right."""
    plan, maps = extracted(module, stimuli(N), **options)
    heard = {n: listen(module, stimuli(n)) for n in (2, 3, N)}
    truth = heard[N]
    found = [f"leaf of type {name}" for name in truth.other - NO_MAP]
    planned = [layer.key for layer in plan.layers]
    found += [f"missing in the plan: {key}" for key in truth.maps if key not in planned]
    steady = [key for key in planned if key in truth.maps]
    if steady != [key for key in truth.maps if key in planned]:
        found.append("not in the order of the calls")
    if truth.silent != set(plan.never_called):
        found.append(f"never called: {truth.silent ^ set(plan.never_called)}")
    if list(maps) != [layer.name for layer in plan.layers if layer.index is not None]:
        found.append("maps are not those of the plan")
    flat: dict[str, torch.Tensor] = {}
    for layer in plan.layers:
        raws = [heard[n].maps.get(layer.key) for n in (2, 3, N)]
        places = [find_place(raws[0], raws[1], (2, 3)), find_place(raws[1], raws[2], (3, N))]
        words = {place for place in places if isinstance(place, str)}
        if layer.left_out:
            if not any(word in layer.left_out for word in words):
                found.append(f"{layer.name}: left out ({layer.left_out}), found {places}")
        elif words:
            found.append(f"{layer.name}: planned, but {words}")
        else:
            # Planned and found in both pairs: compare with the batch of the same size.
            assert raws[2] is not None
            flat[layer.name] = places[1].rows(raws[2])
            found += wrong_values(layer, flat, maps, raws[2])
            found += unmarked(layer, truth)
    return found + missed_duplicates(plan, flat)


def wrong_values(
    layer: Any, flat: dict[str, torch.Tensor], maps: dict[str, torch.Tensor], raw: torch.Tensor
) -> list[str]:
    truth = flat[layer.name]
    if layer.duplicate_of:
        same = torch.equal(truth, flat[layer.duplicate_of])
        return [] if same else [f"{layer.name}: not equal to {layer.duplicate_of}"]
    found = []
    if not torch.equal(maps[layer.name], truth.float()):
        found.append(f"{layer.name}: other values")
    if not torch.equal(layer.flatten(raw), truth):
        found.append(f"{layer.name}: flattened in another way")
    if maps[layer.name].dtype != torch.float32 or layer.n_features != truth.shape[1]:
        found.append(f"{layer.name}: planned {layer.shape}, got {tuple(raw.shape)}")
    return found


def unmarked(layer: Any, truth: Oracle) -> list[str]:
    """Whether a map that is written over later is said to be."""
    held, cloned = truth.held[layer.key], truth.maps[layer.key]
    if layer.overwritten or torch.equal(nan_free(held), nan_free(cloned)):
        return []
    return [f"{layer.name}: is overwritten, and not marked"]


def false_identities(plan: Any, module: nn.Module, batch: Any) -> list[str]:
    """Layers of which the plan says that they are the same tensor as another, and are not."""
    held = listen(module, batch).held
    return [
        f"{layer.name}: not the same tensor as {layer.duplicate_of}"
        for layer in plan.layers
        if layer.same_tensor
        and held[layer.key].data_ptr() != held[plan[layer.duplicate_of].key].data_ptr()
    ]


def nan_free(tensor: torch.Tensor) -> torch.Tensor:
    return torch.nan_to_num(tensor) if tensor.is_floating_point() else tensor


def missed_duplicates(plan: Any, flat: dict[str, torch.Tensor]) -> list[str]:
    """Distinct layers whose values, all of them, are another's; constants prove nothing."""
    first: dict[tuple[Any, ...], str] = {}
    found = []
    for layer in plan.layers:
        values = flat.get(layer.name)
        if values is None or layer.duplicate_of or bool((values[:2] == values[0, 0]).all()):
            continue
        key = (values.dtype, values.shape, float(values.double().sum()))
        if key in first and torch.equal(values, flat[first[key]]):
            found.append(f"{layer.name}: equal to {first[key]}, and no duplicate in the plan")
        first.setdefault(key, layer.name)
    return found
