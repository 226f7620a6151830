"""The stream: every distinct layer read at its hook, before anything can write over it."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from isomorph.extraction.batches import Step, batch_size_of, fresh_on
from isomorph.extraction.inputs import Inputs
from isomorph.extraction.layer import Layer
from isomorph.extraction.model import Batch, Model, ready
from isomorph.extraction.operations import watch_operations
from isomorph.extraction.outputs import leaves
from isomorph.extraction.plan import Plan
from isomorph.extraction.reductions import Reducer
from isomorph.extraction.sinks import Echo, Sink
from isomorph.extraction.structure import module_names
from isomorph.stimuli import listing

logger = logging.getLogger(__name__)


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


class AbsentLayersError(RuntimeError):
    """Layers that the survey's stimuli called, and others do not.

    Attributes
    ----------
    names : tuple of str
    """

    def __init__(self, model: Model, names: Sequence[str]) -> None:
        super().__init__(_unsteady_words(model, "did not appear", names))
        self.names = tuple(names)


class _LastLayerReadError(BaseException):
    """Ends a forward pass after the last layer that is needed; never leaves this module."""


@dataclass(frozen=True)
class RunSettings:
    """How a model is run.

    Parameters
    ----------
    device : torch.device
    precision : {"float32", "bfloat16", "float16"}
    channels_last : bool
        Memory layout of images and of convolutions' weights.
    ops : bool
        Whether operations are read too; the model then runs unfused.
    """

    device: torch.device
    precision: str = "float32"
    channels_last: bool = False
    ops: bool = False


@contextmanager
def taps(
    model: Model, layers: Sequence[Layer], consume: Callable[[Layer, torch.Tensor], None]
) -> Iterator[Callable[[Batch], None]]:
    """Hook the layers, and yield a function that runs one batch through them.

    Parameters
    ----------
    model : Model
        Must be ready (evaluation mode, on its device).
    layers : sequence of Layer
        Which outputs to read.
    consume : callable
        Called as ``consume(layer, rows)`` with the layer's (n_stimuli, *layer.shape) output, inside
        the hook: it must take what it needs at once, since the model may write over it next.

    Yields
    ------
    callable
        ``run(batch)``. The pass stops after the last layer asked for.

    Raises
    ------
    RuntimeError
        From ``run``, if a layer does not appear, or not in its planned shape.
    """
    names = module_names(model.module)
    reader = _Reader(model, layers, consume)
    paths = {layer.path for layer in layers}
    with ExitStack() as stack:
        for module, path in names.items():
            if path in paths:
                stack.callback(module.register_forward_hook(reader.hook(path)).remove)
        reset = None
        if any(":" in path for path in paths):
            reset = stack.enter_context(watch_operations(model.module, names, reader.operation))

        def run(batch: Batch) -> None:
            if reset is not None:
                reset()
            reader.run(batch)

        yield run


class _Reader:
    """Reads the wanted outputs of one forward pass after another, and counts what has come."""

    def __init__(
        self,
        model: Model,
        layers: Sequence[Layer],
        consume: Callable[[Layer, torch.Tensor], None],
    ) -> None:
        self.model = model
        self.wanted = {layer.key: layer for layer in layers}
        self.consume = consume
        self.calls: Counter[str] = Counter()
        self.seen: set[tuple[str, int, str]] = set()
        self.unsteady: list[str] = []
        self.size = 0
        self.owner = 0
        self.consuming = False

    def run(self, batch: Batch) -> None:
        """Run one batch; stop after the last layer that is wanted."""
        self.owner = threading.get_ident()
        self.calls.clear()
        self.seen.clear()
        self.unsteady.clear()
        self.size = batch_size_of(batch)
        try:
            self.model(batch)
        except _LastLayerReadError:
            return
        finally:
            # Also where the pass was ended early, and where it broke for that very reason.
            if self.unsteady:
                words = _unsteady_words(self.model, "changed their shape", self.unsteady)
                raise RuntimeError(words)
        missing = [layer.name for key, layer in self.wanted.items() if key not in self.seen]
        if missing:
            raise AbsentLayersError(self.model, missing)

    def hook(self, path: str) -> Callable[[nn.Module, Any, Any], None]:
        """Give the forward hook of the module at a path."""

        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            if self.elsewhere():
                return
            call = self.calls[path]
            self.calls[path] += 1
            for leaf, tensor in leaves(output):
                self.read((path, call, leaf), tensor)
            self.stop_after_last()

        return hook

    def operation(self, path: str, op: str, call: int, tensor: torch.Tensor) -> None:
        """Read what an operation outside the leaf modules gave."""
        if self.elsewhere():
            return
        self.read((f"{path}:{op}", call, ""), tensor)
        self.stop_after_last()

    def elsewhere(self) -> bool:
        """Whether a call is none of the pass: another thread's, or made while an output is read."""
        return self.consuming or threading.get_ident() != self.owner

    def read(self, key: tuple[str, int, str], tensor: torch.Tensor) -> None:
        """Hand a wanted output on, if it is as planned."""
        layer = self.wanted.get(key)
        if layer is None:
            return
        self.consuming = True
        try:
            rows = _rows_of(layer, tensor.detach(), self.size)
            if rows is None:
                planned, got = _shown((self.size, *layer.shape)), _shown(tensor.shape)
                self.unsteady.append(f"{layer.name} (planned {planned}, got {got})")
            else:
                self.consume(layer, rows)
        finally:
            self.consuming = False
        self.seen.add(key)

    def stop_after_last(self) -> None:
        """End the forward pass when nothing more is wanted."""
        if len(self.seen) == len(self.wanted):
            raise _LastLayerReadError


def _rows_of(layer: Layer, output: torch.Tensor, size: int) -> torch.Tensor | None:
    """Give a layer's output, stimuli first; None if it is not as planned."""
    assert layer.batch is not None
    if output.ndim <= layer.batch.axis:
        return None
    rows = layer.batch.stimuli_leading(output)
    return rows if tuple(rows.shape) == (size, *layer.shape) else None


def _shown(shape: Sequence[int]) -> str:
    return f"({', '.join(map(str, shape))})"


def _unsteady_words(model: Model, what: str, names: Sequence[str]) -> str:
    excluded = {name.partition(" ")[0].partition("#")[0].partition("[")[0] for name in names}
    return (
        f"{model.uid}: {len(names)} planned layers {what}: {listing(names)}. Expected the same for "
        f"all stimuli; the model's path depends on their values. Leave them out, as in layers="
        f"{[f'!{name}' for name in sorted(excluded)[:5]]}."
    )


def run_pass(
    model: Model,
    inputs: Inputs,
    plan: Plan,
    sinks: Mapping[str, Sequence[Sink]],
    settings: RunSettings,
    *,
    reducers: Mapping[str, Reducer] | None = None,
    start: int = 0,
    stop: int | None = None,
    tick: Callable[[int], Any] = lambda _: None,
) -> None:
    """Run the stimuli through the model once, handing each layer's rows to its sinks.

    Parameters
    ----------
    model : Model
        Left as it was afterwards.
    inputs : Inputs
    plan : Plan
        In which layers that equal another are marked; they are compared with it on the way.
    sinks : mapping of str to sequence of Sink
        For each layer to read.
    settings : RunSettings
    reducers : mapping of str to Reducer, optional
        What is kept of a layer's output; without one, all of it.
    start, stop : int
        First row, which must be the first of a batch, and the row to stop at.
    tick : callable
        Told the number of stimuli after each batch.

    Raises
    ------
    FalseDuplicateError
        Where a layer taken for another's duplicate has other values.
    """
    layers = [plan[name] for name in sinks]
    echoes = [
        layer for layer in plan.layers if layer.duplicate_of in sinks and not layer.same_tensor_as
    ]
    kept = _Kept(model, inputs, sinks, reducers, Echo({layer.duplicate_of for layer in echoes}))
    with (
        ready(
            model,
            settings.device,
            precision=settings.precision,
            channels_last=settings.channels_last,
            unfused=settings.ops,
        ),
        # Not inference_mode: what a model keeps of its forward pass (masks, tables) could never be
        # trained with again, and what uses gradients inside could not run.
        torch.no_grad(),
        taps(model, [*layers, *echoes], kept.consume) as run,
    ):
        for work in inputs.steps(start):
            if stop is not None and work.start >= stop:
                break
            _run_step(run, work, kept, settings)
            tick(work.n_stimuli)


class _Kept:
    """What is done with each layer's rows of the step that is running."""

    def __init__(
        self,
        model: Model,
        inputs: Inputs,
        sinks: Mapping[str, Sequence[Sink]],
        reducers: Mapping[str, Reducer] | None,
        echo: Echo,
    ) -> None:
        self.model = model
        self.grouping = inputs.grouping
        self.sinks = sinks
        self.reducers = reducers
        self.echo = echo
        self.step = Step(torch.empty(0), 0)

    def consume(self, layer: Layer, rows: torch.Tensor) -> None:
        """Reduce, group and sink a layer's rows; compare those of a duplicate."""
        if layer.duplicate_of:
            self._check_duplicate(layer, rows)
            return
        self.echo.hear(layer, rows)
        if self.reducers is not None:
            rows = self.reducers[layer.name](rows, self.step.mask)
        if self.step.sizes is not None and self.grouping is not None:
            rows = self.grouping.apply(rows, self.step.sizes)
        for sink in self.sinks[layer.name]:
            sink.take(self.step.start, rows)

    def _check_duplicate(self, layer: Layer, rows: torch.Tensor) -> None:
        try:
            same = self.echo.same(layer, rows)
        except KeyError:
            words = _unsteady_words(self.model, "came in another order", [layer.name])
            raise RuntimeError(words) from None
        if not same:
            raise FalseDuplicateError(layer)


def _run_step(run: Callable[[Batch], None], work: Step, kept: _Kept, settings: RunSettings) -> None:
    """Run one step; where the GPU has no room for it, its halves."""
    kept.step = work
    try:
        run(fresh_on(work.inputs, settings.device, channels_last=settings.channels_last))
        return
    except torch.cuda.OutOfMemoryError as error:
        reason = str(error).partition(".")[0]
    finally:
        kept.echo.clear()
    # Outside the handler: inside it, the error would hold on to the batch's memory.
    uid = kept.model.uid
    if work.n_rows < 2:
        raise RuntimeError(
            f"{uid}: expected room on {settings.device} for a batch of "
            f"{work.n_stimuli}{' (a group is never cut)' if work.sizes else ''}, got {reason}. "
            f"Lower memory_limit=, use precision='bfloat16', or device='cpu'."
        )
    torch.cuda.empty_cache()
    logger.warning(
        "%s: out of memory on %s with %d stimuli a batch; going on with %d.",
        uid,
        settings.device,
        work.n_stimuli,
        work.halves()[0].n_stimuli,
    )
    for half in work.halves():
        _run_step(run, half, kept, settings)
