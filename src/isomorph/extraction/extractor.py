"""`FeatureExtractor`: a model's maps over a stimulus set, in groups that fit the memory."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from tqdm.auto import tqdm

from isomorph.extraction.estimate import Estimate, estimate_passes
from isomorph.extraction.features import Group, as_kind
from isomorph.extraction.inputs import Inputs
from isomorph.extraction.layer import Layer, Part
from isomorph.extraction.memory import MemoryLimit, inputs_budget, memory_budget, room
from isomorph.extraction.model import Model, resolve_device
from isomorph.extraction.plan import Plan
from isomorph.extraction.planning import chosen_layers, survey_inputs
from isomorph.extraction.reductions import Reducer, Reduction, check_tokens
from isomorph.extraction.selection import LayersAsked
from isomorph.extraction.sinks import BufferSink
from isomorph.extraction.stream import (
    AbsentLayersError,
    FalseDuplicateError,
    RunSettings,
    run_pass,
)
from isomorph.extraction.to_disk import write_features
from isomorph.registry import unknown_name
from isomorph.storage import show_log_in_notebooks

logger = logging.getLogger(__name__)

OUTPUTS = ("torch", "numpy")


class FeatureExtractor:
    """A model's layers over a stimulus set, in groups that fit the memory.

    Parameters
    ----------
    model : Model or torch.nn.Module
        What to run.
    stimuli
        Anything that holds stimuli: a set (`as_stimuli` tells what makes one), a folder, files,
        uint8 arrays, a torch ``Dataset`` or ``DataLoader``, or a tensor of preprocessed inputs
        (or a mapping of named ones), first axis stimuli.
    layers
        Names, globs, ``"leaves"``, ``"blocks"``, ``"penultimate"``, classes of modules, relative
        depths (0.0 to 1.0), predicates, or a list of these (`Plan.select`). None is every distinct
        layer.
    memory_limit : int, float or str, optional
        What the maps of one group may take: bytes, ``"12MB"``, or a share of what is free
        (``0.25``, ``"25%"``). By default half of what is free. A layer that alone exceeds it comes
        in slices of its features, ``features.0[:, 0:5000]``, flattened.
    batch_size : int
        Stimuli run through the model at once.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``.
    flatten : bool
        Give (n_stimuli, n_features) and not the map's own shape.
    pool, tokens, tensor_fn, project, seed, dtype
        What is kept of each output, computed at the hook: see `Reduction`.
    group : {"mean", "stack"}, optional
        One row for each group of stimuli (the captions of an image, the frames of a clip): their
        mean, or all of them on a new second axis.
    input_dim : int or mapping of str to int, optional
        The axis of the stimuli in a module's output, where what was found is not what is meant; for
        all outputs, or by name or glob.
    ops : bool
        Read tensor operations too that no module owns: residual additions, attention maps.
    precision : {"float32", "bfloat16", "float16"}
        The last two run the model in automatic mixed precision.
    channels_last : bool
        Lay images and convolutions out with the channels last.
    workers : int, optional
        Threads that decode stimuli.
    on_error : {"raise", "skip"}
        What to do with a stimulus that cannot be decoded; ``skipped`` names those left out.
    output : {"torch", "numpy"}
        Give tensors, or arrays on the CPU.
    progress : bool
        Show a progress bar.

    Attributes
    ----------
    plan : Plan
        Every layer, its shape, bytes, duplicates and pass; ``print(extractor.plan)``.
    ids : tuple of str
        What each row belongs to: the stimuli, or their groups.
    skipped : tuple of str
        Stimuli left out by ``on_error="skip"``.
    reducers : dict of str to Reducer
        What is kept of each layer that is read.

    Notes
    -----
    The limit holds for one group: a group is emptied when the next one is asked for.

    Examples
    --------
    >>> extractor = FeatureExtractor(model, stimuli, memory_limit="12MB")  # doctest: +SKIP
    >>> for maps in extractor:  # doctest: +SKIP
    ...     for layer, features in maps.items():
    ...         ...
    """

    def __init__(
        self,
        model: Model | torch.nn.Module,
        stimuli: Any,
        *,
        layers: LayersAsked = None,
        memory_limit: MemoryLimit = None,
        batch_size: int = 64,
        device: str | torch.device = "auto",
        flatten: bool = False,
        pool: str | None = None,
        tokens: str | int | None = None,
        tensor_fn: Callable[[torch.Tensor], torch.Tensor] | None = None,
        project: int | None = None,
        seed: int = 0,
        dtype: str | torch.dtype = "float32",
        group: str | None = None,
        input_dim: int | Mapping[str, int] | None = None,
        ops: bool = False,
        precision: str = "float32",
        channels_last: bool = False,
        workers: int | None = None,
        on_error: str = "raise",
        output: str = "torch",
        progress: bool = True,
    ) -> None:
        show_log_in_notebooks()
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ValueError(f"seed: expected a whole number of 0 or more, got {seed!r}.")
        if output not in OUTPUTS:
            raise unknown_name("output", output, OUTPUTS)
        self.model = (model if isinstance(model, Model) else Model(model)).with_true_uid()
        self.reduction = Reduction(tokens, pool, tensor_fn, project, seed, cast(str, dtype))
        self.settings = RunSettings(resolve_device(device), precision, channels_last, ops)
        budget = memory_budget(memory_limit, self.settings.device)
        self.inputs = Inputs(
            self.model,
            stimuli,
            batch_size=batch_size,
            workers=workers,
            group=group,
            on_error=on_error,
        )
        self._flatten, self._output, self._progress = flatten, output, progress
        plan = survey_inputs(self.model, self.inputs, self.settings, input_dim=input_dim)
        self._schedule(plan, chosen_layers(plan, layers), budget)
        self.inputs.keep_bytes = self._room_for_inputs(memory_limit)
        warning = check_tokens(
            self.reduction, self.plan.read(), has_class_token=_has_class_token(self.model)
        )
        if warning:
            logger.warning("%s: %s", self.model.uid, warning)
        if self.inputs.skipped:
            logger.warning(
                "%d stimuli cannot be decoded and are left out: %s",
                len(self.inputs.skipped),
                ", ".join(self.inputs.skipped[:5]),
            )

    @property
    def ids(self) -> tuple[str, ...]:
        return self.inputs.ids

    @property
    def skipped(self) -> tuple[str, ...]:
        return self.inputs.skipped

    def __repr__(self) -> str:
        return f"FeatureExtractor of {self.model.uid}: {self.plan.summary()}"

    def __len__(self) -> int:
        """Number of groups (forward passes)."""
        return len(self.plan.passes)

    def shape_of(self, layer: str) -> tuple[int, ...]:
        """Shape of one row of what is given of a layer."""
        shape = self.reducers[layer].shape
        if self.inputs.grouping is not None:
            shape = self.inputs.grouping.shape(shape)
        return (math.prod(shape),) if self._flatten else shape

    def estimate(self, *, to_disk: bool = False) -> Estimate:
        """Say what the extraction costs; one small batch of each pass is timed, nothing is kept.

        Parameters
        ----------
        to_disk : bool
            Whether the maps are to be written (`write`), which takes one pass and holds nothing.
        """
        while True:
            try:
                return estimate_passes(
                    self.model,
                    self.inputs,
                    self.plan,
                    self.settings,
                    self.reducers,
                    self._sinks,
                    to_disk=to_disk,
                )
            except FalseDuplicateError as error:
                logger.warning("%s It is read too.", error)
                self.read_apart(error.layer)

    def write(self, folder: str | Path, **options: Any) -> Any:
        """Write all layers to a folder in one forward pass; see `extract_features`."""
        self.inputs.keep_bytes = 0
        return write_features(self, folder, progress=self._progress, **options)

    def __iter__(self) -> Iterator[Group]:
        """Yield one dict of {layer: (n_rows, ...) map} for each forward pass.

        A layer that was taken for a duplicate by chance is read in a pass of its own (with a
        warning) as soon as the stimuli show it.
        """
        with tqdm(
            total=len(self.plan.passes) * self.inputs.n_stimuli,
            unit="stimulus",
            disable=not self._progress,
            leave=False,
        ) as bar:
            number = 0
            while number < len(self.plan.passes):
                if len(self.plan.passes) > 1:
                    bar.set_description_str(f"forward pass {number + 1} of {len(self.plan.passes)}")
                before = bar.n
                try:
                    group = self._group(self.plan.passes[number], bar.update)
                except FalseDuplicateError as error:
                    logger.warning("%s It is read too.", error)
                    self._insert_passes(error.layer, number + 1)
                    bar.update(before - bar.n)
                    bar.total = len(self.plan.passes) * self.inputs.n_stimuli
                    continue
                except AbsentLayersError as error:
                    plan = self.plan.without(error.names, "not called for all stimuli")
                    if not plan.passes:
                        raise
                    logger.warning("%s They are left out.", str(error).partition(" Leave")[0])
                    self.plan = plan
                    bar.update(before - bar.n)
                    continue
                yield group
                number += 1
                if number < len(self.plan.passes):
                    group.release()
                del group

    def read_apart(self, layer: Layer) -> None:
        """Mend the plan, in which a layer was taken for a duplicate: read it too, on its own."""
        read = {item.name for item in self.plan.read()} | {layer.name}
        plan = self.plan.promoted(layer.name)
        chosen = tuple(item for item in plan.distinct if item.name in read)
        self._schedule(plan, chosen, plan.memory_limit)

    def _insert_passes(self, layer: Layer, position: int) -> None:
        """As `read_apart`, while groups are being given: the layer comes in passes of its own."""
        passes, reducers = self.plan.passes, self.reducers
        plan = self.plan.promoted(layer.name)
        self._schedule(plan, (plan[layer.name],), plan.memory_limit)
        own = self.plan.passes
        self.reducers |= reducers
        self.plan = replace(
            self.plan,
            passes=(*passes[:position], *own, *passes[position:]),
            kept={**plan.kept, **self.plan.kept},
        )

    def _schedule(self, plan: Plan, chosen: tuple[Layer, ...], budget: int) -> None:
        self.reducers = {layer.name: Reducer(self.reduction, layer) for layer in chosen}
        self.plan = plan
        n = len(self.inputs)
        width = self.reduction.torch_dtype.itemsize
        shapes = {layer.name: self.shape_of(layer.name) for layer in chosen}
        self.plan = plan.scheduled(
            chosen,
            [width * n * math.prod(shapes[layer.name]) for layer in chosen],
            n_stimuli=n,
            memory_limit=budget,
            kept={
                layer.name: shapes[layer.name]
                for layer in chosen
                if math.prod(shapes[layer.name]) != layer.n_features
            },
            itemsize=width,
        )

    def _room_for_inputs(self, memory_limit: MemoryLimit) -> int:
        """Bytes that preprocessed stimuli may take between passes; a limit that was given holds."""
        if len(self.plan.passes) < 2:
            return 0
        if memory_limit is None:
            return inputs_budget()
        n = len(self.inputs)
        held = [
            sum(self._width(part) * n * self.plan.itemsize for part in parts)
            for parts in self.plan.passes
        ]
        return max(self.plan.memory_limit - max(held), 0)

    def _width(self, part: Part) -> int:
        """Number of kept features of a part."""
        if part.columns is not None:
            return part.columns[1] - part.columns[0]
        return math.prod(self.shape_of(part.layer))

    def _sinks(self, parts: tuple[Part, ...], n_rows: int) -> dict[str, list[BufferSink]]:
        """Give a buffer for each part of a pass."""
        sinks: dict[str, list[BufferSink]] = {}
        for part in parts:
            shape = (n_rows, self._width(part))
            buffer = room(shape, self.settings.device, self.reduction.torch_dtype)
            sinks[part.layer] = [BufferSink(buffer, part.columns, part.layer)]
        return sinks

    def _group(self, parts: tuple[Part, ...], tick: Callable[[int], Any]) -> Group:
        sinks = self._sinks(parts, len(self.inputs))
        run_pass(
            self.model,
            self.inputs,
            self.plan,
            sinks,
            self.settings,
            reducers=None if self.reduction.keeps_all else self.reducers,
            tick=tick,
        )
        group = Group(self.ids, self.plan, self.reduction)
        for part in parts:
            buffer = sinks.pop(part.layer)[0].give()
            if part.columns is None:
                buffer = buffer.view(len(buffer), *self.shape_of(part.layer))
            group[part.name] = as_kind(buffer, self._output)
        return group


def _has_class_token(model: Model) -> bool:
    names = [name for name, _ in model.module.named_parameters()]
    if any("cls" in name or "class_" in name for name in names):
        return True
    return hasattr(model.preprocess, "cls_token_id")
