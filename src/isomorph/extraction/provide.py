"""What metrics and statistics asked of each layer, out of the stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from isomorph.extraction.inputs import Inputs
from isomorph.extraction.layer import Layer, Part
from isomorph.extraction.memory import room, spilled
from isomorph.extraction.model import Model
from isomorph.extraction.needs import (
    FeaturesNeed,
    GramNeed,
    MomentsNeed,
    Need,
    ProjectionNeed,
    holds_maps,
)
from isomorph.extraction.plan import Plan
from isomorph.extraction.sinks import BufferSink, MomentsSink, ProjectionSink, Sink
from isomorph.extraction.stream import RunSettings, run_pass
from isomorph.geometry import NonFiniteError, grams

Given = Mapping[Need, Any]


def stream_layers(
    model: Model,
    inputs: Inputs,
    plan: Plan,
    needs: Sequence[Need],
    *,
    device: torch.device,
    progress: bool = True,
    spill: str | Path | None = None,
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
    spill : str or Path, optional
        Folder for the maps that the plan holds in files.

    Yields
    ------
    layer : Layer
    given : mapping of Need to value
        `Gram` for a `GramNeed`; (n_stimuli, n_components) array for a `ProjectionNeed`; `Moments`
        for a `MomentsNeed`; (n_stimuli, n_features) float32 tensor for a `FeaturesNeed`. It is
        released after the next step of the iteration. Where a Gram is asked of features that are
        not finite, every value is the `NonFiniteError`.
    """
    n = len(inputs)
    work = sum(plan[part.layer].n_bytes(n) for parts in plan.passes for part in parts)
    # Maps that nobody keeps share one piece of memory over the passes: fresh memory is slow.
    reuse = not any(isinstance(need, FeaturesNeed) for need in needs)
    slab = _slab(plan, n, device) if holds_maps(needs) and reuse else None
    bar = tqdm(
        total=2 * work,
        unit="B",
        unit_scale=True,
        disable=not progress,
        leave=False,
        bar_format="{desc:<34.34} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}",
    )
    with bar:
        for number, parts in enumerate(plan.passes, start=1):
            bar.set_description_str(f"forward pass {number} of {len(plan.passes)}")
            share = sum(plan[part.layer].n_bytes(n) for part in parts) / n
            sinks = _sinks(plan, parts, needs, n, device, slab, spill)
            run_pass(
                model,
                inputs,
                plan,
                {name: list(kinds.values()) for name, kinds in sinks.items()},
                RunSettings(device),
                tick=lambda stimuli, share=share: bar.update(int(share * stimuli)),
            )
            for part in parts:
                layer = plan[part.layer]
                bar.set_description_str(layer.name)
                yield layer, _provide(sinks.pop(layer.name), needs)
                bar.update(layer.n_bytes(n))


def _slab(plan: Plan, n_stimuli: int, device: torch.device) -> torch.Tensor:
    """Memory for the maps of the largest pass."""
    sizes = [
        sum(plan[part.layer].n_features for part in parts if not part.spilled)
        for parts in plan.passes
    ]
    return room((n_stimuli * max(sizes),), device)


def _sinks(
    plan: Plan,
    parts: Sequence[Part],
    needs: Sequence[Need],
    n: int,
    device: torch.device,
    slab: torch.Tensor | None,
    spill: str | Path | None,
) -> dict[str, dict[Need | str, Sink]]:
    """The sinks of each layer of a pass, by need; a map that several share is under ``"map"``."""
    found: dict[str, dict[Need | str, Sink]] = {}
    first = 0
    for part in parts:
        layer = plan[part.layer]
        sinks: dict[Need | str, Sink] = {}
        if holds_maps(needs):
            shape = (n, layer.n_features)
            if part.spilled:
                buffer = spilled(shape, spill)
            elif slab is None:
                buffer = room(shape, device)
            else:
                last = first + n * layer.n_features
                buffer, first = slab[first:last].view(shape), last
            sinks["map"] = BufferSink(buffer)
        for need in needs:
            if isinstance(need, ProjectionNeed):
                sinks[need] = ProjectionSink(n, layer.n_features, need.n_components, need.seed)
            elif isinstance(need, MomentsNeed):
                sinks[need] = MomentsSink(layer.n_features, device)
        found[part.layer] = sinks
    return found


def _provide(sinks: Mapping[Need | str, Sink], needs: Sequence[Need]) -> Given:
    given: dict[Need, Any] = {need: sinks[need].give() for need in needs if need in sinks}
    wanted = [need for need in needs if isinstance(need, GramNeed)]
    buffer = sinks["map"].give() if "map" in sinks else None
    if wanted:
        assert buffer is not None
        # All of a layer's Grams come from one walk over its map.
        try:
            found = grams(buffer, [need.scaling for need in wanted])
        except NonFiniteError as error:
            # One such layer must not cost the others their scores: whoever asks is told.
            return dict.fromkeys(needs, error)
        given.update(zip(wanted, found, strict=True))
    for need in needs:
        if isinstance(need, FeaturesNeed):
            given[need] = buffer
    return given
