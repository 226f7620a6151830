"""The stream: every distinct layer read at its hook, before anything can write over it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from isomorph.extraction.inputs import Inputs
from isomorph.extraction.model import Model, ready
from isomorph.extraction.needs import FeaturesNeed, GramNeed, Need, ProjectionNeed
from isomorph.extraction.outputs import leaves
from isomorph.extraction.plan import Layer, Plan
from isomorph.extraction.survey import module_names
from isomorph.geometry import Gram, NonFiniteError, grams, project, sparse_projection_matrix

Given = Mapping[Need, Any]


class FalseDuplicateError(RuntimeError):
    """A layer that equalled another for the survey's stimuli, but not for all.

    Attributes
    ----------
    layer : Layer
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__(
            f"layer {layer.name} equals {layer.duplicate_of} for the stimuli of the survey, but "
            f"not for all stimuli: it is a layer of its own."
        )
        self.layer = layer


class _LastLayerReadError(BaseException):
    """Ends a forward pass after the last layer that is needed; never leaves this module."""


@contextmanager
def taps(
    model: Model, layers: Sequence[Layer], consume: Callable[[Layer, torch.Tensor], None]
) -> Iterator[Callable[[torch.Tensor], None]]:
    """Hook the layers, and yield a function that runs one batch through them.

    Parameters
    ----------
    model : Model
        Must be ready (evaluation mode, on its device).
    layers : sequence of Layer
        Which outputs to read.
    consume : callable
        Called as ``consume(layer, flat)`` with the layer's (batch, n_features) output, inside the
        hook: it must take what it needs at once, since the model may write over it next.

    Yields
    ------
    callable
        ``run(batch)``. The pass stops after the last layer asked for.

    Raises
    ------
    RuntimeError
        From ``run``, if a layer does not appear, or not in its planned shape.
    """
    wanted = {layer.key: layer for layer in layers}
    paths = {layer.path for layer in layers}
    calls: Counter[str] = Counter()
    seen: set[tuple[str, int, str]] = set()
    size = 0

    def tap(path: str):
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            call = calls[path]
            calls[path] += 1
            for leaf, tensor in leaves(output):
                layer = wanted.get((path, call, leaf))
                if layer is None:
                    continue
                consume(layer, _checked(layer, tensor.detach(), size))
                seen.add(layer.key)
            if len(seen) == len(wanted):
                raise _LastLayerReadError

        return hook

    def run(batch: torch.Tensor) -> None:
        nonlocal size
        calls.clear()
        seen.clear()
        size = len(batch)
        try:
            model(batch)
        except _LastLayerReadError:
            return
        missing = [layer.name for layer in layers if layer.key not in seen]
        if missing:
            raise RuntimeError(
                f"{model.uid}: planned layers did not appear: {', '.join(missing[:5])}. The model "
                f"took another path than in the survey; survey again with these stimuli."
            )

    handles = [
        module.register_forward_hook(tap(path))
        for module, path in module_names(model.module).items()
        if path in paths
    ]
    try:
        yield run
    finally:
        for handle in handles:
            handle.remove()


def _checked(layer: Layer, output: torch.Tensor, size: int) -> torch.Tensor:
    assert layer.batch is not None
    rows = layer.batch.stimuli_leading(output)
    if tuple(rows.shape) != (size, *layer.shape):
        raise RuntimeError(
            f"layer {layer.name}: planned ({size}, {', '.join(map(str, layer.shape))}), got "
            f"{tuple(rows.shape)}. The model took another path than in the survey; survey again "
            f"with these stimuli."
        )
    return rows.reshape(size, -1)


def stream_layers(
    model: Model,
    inputs: Inputs,
    plan: Plan,
    needs: Sequence[Need],
    *,
    device: torch.device,
    progress: bool = True,
) -> Iterator[tuple[Layer, Given]]:
    """Run the planned passes and yield what was asked of each layer.

    Parameters
    ----------
    model : Model
        Left as it was afterwards.
    inputs : Inputs
        The stimuli.
    plan : Plan
        With its passes (`Plan.scheduled`).
    needs : sequence of Need
        What to provide of every layer.
    device : torch.device
        Where the model runs and the maps are held.
    progress : bool
        Whether to show a progress bar.

    Yields
    ------
    layer : Layer
    given : mapping of Need to value
        `Gram` for a `GramNeed`; (n_stimuli, n_components) array for a `ProjectionNeed`;
        (n_stimuli, n_features) float32 tensor for a `FeaturesNeed`. It is released after the next
        step of the iteration. Where a Gram is asked of features that are not finite, every value
        is the `NonFiniteError`.
    """
    n = len(inputs)
    work = sum(plan[name].n_bytes(n) for names in plan.passes for name in names)
    # Maps that nobody keeps share one piece of memory over the passes: fresh memory is slow.
    reuse = not any(isinstance(need, FeaturesNeed) for need in needs)
    slab: torch.Tensor | None = None
    bar = tqdm(
        total=2 * work,
        unit="B",
        unit_scale=True,
        disable=not progress,
        leave=False,
        bar_format="{desc:<34.34} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}",
    )
    with bar:
        for number, names in enumerate(plan.passes, start=1):
            layers = [plan[name] for name in names]
            echoes = [
                layer
                for layer in plan.layers
                if layer.duplicate_of in names and not layer.same_tensor
            ]
            size = sum(layer.n_bytes(n) for layer in layers)
            if slab is None or not reuse:
                slab = _slab(plan, n, device) if _holds_maps(needs) and reuse else None
            bar.set_description_str(f"forward pass {number} of {len(plan.passes)}")
            share = size / n
            held = run_pass(
                model,
                inputs,
                layers,
                needs,
                echoes=echoes,
                device=device,
                slab=slab,
                tick=lambda stimuli, share=share: bar.update(int(share * stimuli)),
            )
            for layer in layers:
                bar.set_description_str(layer.name)
                buffer, projections = held.pop(layer.name)
                yield layer, _provide(buffer, projections, needs)
                del buffer, projections
                bar.update(layer.n_bytes(n))


def _holds_maps(needs: Sequence[Need]) -> bool:
    return any(isinstance(need, GramNeed | FeaturesNeed) for need in needs)


def _slab(plan: Plan, n_stimuli: int, device: torch.device) -> torch.Tensor:
    """Memory for the maps of the largest pass."""
    features = (sum(plan[name].n_features for name in names) for names in plan.passes)
    return torch.empty(n_stimuli * max(features), dtype=torch.float32, device=device)


def _buffers(
    layers: Sequence[Layer], n_stimuli: int, device: torch.device, slab: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    """A (n_stimuli, n_features) float32 buffer for each layer, out of the slab if there is one."""
    buffers: dict[str, torch.Tensor] = {}
    start = 0
    for layer in layers:
        shape = (n_stimuli, layer.n_features)
        if slab is None:
            buffers[layer.name] = torch.empty(shape, dtype=torch.float32, device=device)
            continue
        stop = start + n_stimuli * layer.n_features
        buffers[layer.name] = slab[start:stop].view(shape)
        start = stop
    return buffers


def run_pass(
    model: Model,
    inputs: Inputs,
    layers: Sequence[Layer],
    needs: Sequence[Need],
    *,
    echoes: Sequence[Layer] = (),
    device: torch.device,
    slab: torch.Tensor | None = None,
    tick: Callable[[int], Any] = lambda _: None,
) -> dict[str, tuple[torch.Tensor | None, dict[ProjectionNeed, np.ndarray]]]:
    """Run one forward pass over all stimuli, filling each layer's buffer and projections.

    `echoes` are layers that had the values of another one in the survey: they are compared with
    it, and not kept. Raises `FalseDuplicateError` where they differ.
    """
    keep_map = _holds_maps(needs)
    projected = [need for need in needs if isinstance(need, ProjectionNeed)]
    buffers = _buffers(layers, len(inputs), device, slab) if keep_map else {}
    matrices = {
        (layer.name, need): sparse_projection_matrix(
            layer.n_features, need.n_components, seed=need.seed
        )
        for layer in layers
        for need in projected
    }
    projections: dict[str, dict[ProjectionNeed, np.ndarray]] = {
        layer.name: {
            need: np.empty((len(inputs), need.n_components), np.float32) for need in projected
        }
        for layer in layers
    }
    watched = [*layers, *echoes] if keep_map else layers
    start = 0

    def consume(layer: Layer, flat: torch.Tensor) -> None:
        rows = slice(start, start + len(flat))
        if layer.duplicate_of:
            if not torch.equal(buffers[layer.duplicate_of][rows], flat.float()):
                raise FalseDuplicateError(layer)
            return
        if keep_map:
            buffers[layer.name][rows].copy_(flat)
        for need in projected:
            projections[layer.name][need][rows] = project(flat, matrices[layer.name, need])

    with ready(model, device), torch.inference_mode(), taps(model, watched, consume) as run:
        for position, batch in inputs.batches():
            start = position
            # Cloned, since a model's first operation may be in place and kept batches are reused.
            run(batch.to(device) if batch.device != device else batch.clone())
            tick(len(batch))
    return {layer.name: (buffers.get(layer.name), projections[layer.name]) for layer in layers}


def _provide(
    buffer: torch.Tensor | None,
    projections: Mapping[ProjectionNeed, np.ndarray],
    needs: Sequence[Need],
) -> Given:
    given: dict[Need, Any] = {**projections}
    wanted = [need for need in needs if isinstance(need, GramNeed)]
    if wanted:
        assert buffer is not None
        # All of a layer's Grams come from one walk over its map.
        try:
            found: list[Gram] = grams(buffer, [need.scaling for need in wanted])
        except NonFiniteError as error:
            # One such layer must not cost the others their scores: whoever asks is told.
            return dict.fromkeys(needs, error)
        given.update(zip(wanted, found, strict=True))
    for need in needs:
        if isinstance(need, FeaturesNeed):
            given[need] = buffer
    return given
