"""What an extraction costs, said before it is done."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from isomorph.extraction.inputs import Inputs
from isomorph.extraction.layer import Part
from isomorph.extraction.model import Model
from isomorph.extraction.plan import Plan
from isomorph.extraction.reductions import Reducer
from isomorph.extraction.sinks import Sink
from isomorph.extraction.stream import RunSettings, run_pass
from isomorph.storage import format_duration, format_size

# How much of the stimuli one timed batch may take, so that the estimate stays cheap.
PROBED_SHARE = 16
FEWEST_PROBED = 8
PROBED_BYTES = 128_000_000
MakeSinks = Callable[[tuple[Part, ...], int], Mapping[str, Sequence[Sink]]]


@dataclass(frozen=True)
class Estimate:
    """What an extraction will take.

    Parameters
    ----------
    seconds : float
        All passes, from one timed batch of each on this machine.
    bytes_held : int
        What the maps of the largest pass take; 0 if they are written to a disk.
    bytes_total : int
        What all maps take together: in memory, or on a disk.
    n_passes : int
    words : str
        What will be read.
    """

    seconds: float
    bytes_held: int
    bytes_total: int
    n_passes: int
    words: str

    def __str__(self) -> str:
        passes = f"{self.n_passes} forward pass{'es' if self.n_passes > 1 else ''}"
        total = format_size(self.bytes_total)
        held = f"{format_size(self.bytes_held)} of maps at a time, {total} in all"
        return (
            f"{self.words}\nabout {format_duration(self.seconds)} in {passes}; "
            f"{held if self.bytes_held else f'{total} to write'}"
        )


def estimate_passes(
    model: Model,
    inputs: Inputs,
    plan: Plan,
    settings: RunSettings,
    reducers: Mapping[str, Reducer],
    make_sinks: MakeSinks,
    *,
    to_disk: bool = False,
) -> Estimate:
    """Time one small batch of every pass, fresh memory and the disk; count bytes.

    Parameters
    ----------
    model, inputs, plan, settings, reducers
        As they will be run.
    make_sinks : callable
        ``make_sinks(parts, n_rows)`` gives the sinks of a pass for so many rows.
    to_disk : bool
        Whether the maps are written to files: one pass, and nothing is held.
    """
    if to_disk:
        layers = dict.fromkeys(part.layer for parts in plan.passes for part in parts)
        plan = replace(plan, passes=(tuple(map(Part, layers)),))
    seconds = 0.0
    held: list[int] = []
    total = 0
    n = inputs.n_stimuli
    probe = inputs.head(min(inputs.batch_size, max(FEWEST_PROBED, n // PROBED_SHARE)))
    # The first batch warms caches and kernels; it is not counted.
    _timed(model, probe, plan, plan.passes[0], settings, reducers, make_sinks)
    decode = _time_decoding(inputs)
    for parts in plan.passes:
        once = _timed(model, probe, plan, parts, settings, reducers, make_sinks)
        # Decoding runs beside the model: the slower of the two is what a pass takes.
        seconds += max(once / len(probe), decode) * len(inputs)
        sizes = [_part_bytes(plan, part, reducers) for part in parts]
        held.append(sum(sizes) * len(inputs))
        total += held[-1]
    # What one batch does not show: memory that is touched for the first time, and the disk.
    seconds += total * (_seconds_a_byte_on_disk() if to_disk else _seconds_a_fresh_byte())
    return Estimate(seconds, 0 if to_disk else max(held), total, len(plan.passes), plan.summary())


def _seconds_a_fresh_byte() -> float:
    start = time.perf_counter()
    torch.zeros(PROBED_BYTES // 4)
    return (time.perf_counter() - start) / PROBED_BYTES


def _seconds_a_byte_on_disk() -> float:
    with tempfile.TemporaryFile() as handle:
        start = time.perf_counter()
        handle.write(bytes(PROBED_BYTES))
        handle.flush()
        os.fsync(handle.fileno())
        return (time.perf_counter() - start) / PROBED_BYTES


def _timed(
    model: Model,
    probe: Any,
    plan: Plan,
    parts: tuple[Part, ...],
    settings: RunSettings,
    reducers: Mapping[str, Reducer],
    make_sinks: MakeSinks,
) -> float:
    start = time.perf_counter()
    run_pass(model, probe, plan, make_sinks(parts, len(probe)), settings, reducers=reducers)
    if settings.device.type == "cuda":
        torch.cuda.synchronize(settings.device)
    return time.perf_counter() - start


def _time_decoding(inputs: Inputs) -> float:
    """Seconds a row takes to decode, by all workers together."""
    start = time.perf_counter()
    n = min(FEWEST_PROBED, inputs.n_stimuli)
    inputs.first(n)
    each = (time.perf_counter() - start) / n * inputs.n_stimuli / len(inputs)
    return each / min(inputs.workers, torch.get_num_threads())


def _part_bytes(plan: Plan, part: Part, reducers: Mapping[str, Reducer]) -> int:
    reducer = reducers[part.layer]
    shape = plan.kept.get(part.layer, plan[part.layer].shape)
    width = math.prod(shape)
    if part.columns is not None:
        width = part.columns[1] - part.columns[0]
    return width * reducer.reduction.torch_dtype.itemsize
