"""`FeatureExtractor` and `extract_features`: a model's maps over a stimulus set."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch

from isomorph.extraction.inputs import Inputs
from isomorph.extraction.model import Model, resolve_device
from isomorph.extraction.needs import FeaturesNeed, Need, held_bytes
from isomorph.extraction.plan import Layer, Plan
from isomorph.extraction.stream import FalseDuplicateError, stream_layers
from isomorph.extraction.survey import SURVEY_SIZES, survey_model
from isomorph.storage import parse_size

# Of the memory that is free when the work starts: the maps, and the preprocessed stimuli kept
# for a second pass. The rest is for the model's own activations and the products.
MAPS_SHARE = 0.5
INPUTS_SHARE = 0.1


def available_memory(device: torch.device) -> int:
    """Bytes that can be taken on a device now (on the CPU, within the job's own limit)."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = psutil.virtual_memory().available
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        (
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
    ):
        if os.path.exists(limit) and os.path.exists(used):
            text = Path(limit).read_text().strip()
            if text != "max":
                free = min(free, max(int(text) - int(Path(used).read_text()), 0))
    return free


def memory_budget(memory_limit: int | str | None, device: torch.device) -> int:
    """Give the bytes that the maps of one pass may take; by default half of what is free."""
    if memory_limit is not None:
        return parse_size(memory_limit)
    return int(MAPS_SHARE * available_memory(device))


def inputs_budget() -> int:
    """Give the bytes that preprocessed stimuli may take between passes: they stay on the CPU."""
    return int(INPUTS_SHARE * available_memory(torch.device("cpu")))


def make_plan(
    model: Model,
    inputs: Inputs,
    *,
    layers: str | Iterable[str] | None = None,
    needs: Sequence[Need] = (FeaturesNeed(),),
    memory_limit: int | str | None = None,
    device: torch.device,
) -> Plan:
    """Survey the model with the first stimuli and schedule its passes.

    Parameters
    ----------
    model, inputs
        What to run, and over what.
    layers : str, iterable of str or None
        Names or globs of layers; None is every distinct one.
    needs : sequence of Need
        What will be asked of each layer; it decides what must be held.
    memory_limit : int, str or None
        Bytes (or ``"12MB"``) that the maps of one pass may take.
    device : torch.device
        Where to run.

    Returns
    -------
    Plan
        With its passes.
    """
    plan = survey_model(model, inputs.first(max(SURVEY_SIZES)), device=device)
    budget = memory_budget(memory_limit, device)
    chosen = plan.select(layers)
    if not chosen:
        left_out = "; ".join(f"{item.name}: {item.left_out}" for item in plan.layers[:3])
        raise ValueError(
            f"layers: expected one or more of {model.uid}, got none. "
            + (f"None can be read ({left_out})." if not plan.distinct else "Leave layers= out.")
        )
    return _schedule(plan, chosen, needs, len(inputs), budget)


def read_apart(plan: Plan, layer: Layer, needs: Sequence[Need]) -> Plan:
    """Mend a plan in which a layer was taken for a duplicate: read it too, on its own.

    Parameters
    ----------
    plan : Plan
        With its passes.
    layer : Layer
        From a `FalseDuplicateError`.
    needs : sequence of Need
        As the plan was made with.
    """
    scheduled = {name for names in plan.passes for name in names}
    mended = plan.promoted(layer.name)
    chosen = [item for item in mended.distinct if item.name in scheduled | {layer.name}]
    return _schedule(mended, chosen, needs, plan.n_stimuli, plan.memory_limit)


def _schedule(
    plan: Plan, chosen: Sequence[Layer], needs: Sequence[Need], n_stimuli: int, budget: int
) -> Plan:
    sizes = [held_bytes(tuple(needs), n_stimuli, layer.n_features) for layer in chosen]
    return plan.scheduled(chosen, sizes, n_stimuli=n_stimuli, memory_limit=budget)


class FeatureExtractor:
    """A model's layers over a stimulus set, in groups that fit the memory.

    Parameters
    ----------
    model : Model or torch.nn.Module
        What to run.
    stimuli
        An `ImageSet`, a folder, a list of files, uint8 arrays, or a tensor of preprocessed inputs.
    layers : str, iterable of str or None
        Names or globs (``"features.*"``); None is every distinct layer.
    memory_limit : int or str, optional
        What the maps of one group may take: bytes, or ``"12MB"``. By default half of what is free.
    batch_size : int
        Stimuli run through the model at once.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``.
    flatten : bool
        Give (n_stimuli, n_features) and not the map's own shape.
    progress : bool
        Show a progress bar.

    Notes
    -----
    The limit holds for one group. While you keep the last group, as a loop variable does, the next
    one is filled beside it: ``del maps`` at the end of the loop's body frees it first.

    Attributes
    ----------
    plan : Plan
        Every layer, its shape, bytes, duplicates and pass; ``print(extractor.plan)``.

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
        layers: str | Iterable[str] | None = None,
        memory_limit: int | str | None = None,
        batch_size: int = 64,
        device: str | torch.device = "auto",
        flatten: bool = False,
        progress: bool = True,
    ) -> None:
        self.model = model if isinstance(model, Model) else Model(model)
        self.device = resolve_device(device)
        self._inputs = Inputs(
            self.model, stimuli, batch_size=batch_size, keep_bytes=inputs_budget()
        )
        self.plan = make_plan(
            self.model,
            self._inputs,
            layers=layers,
            memory_limit=memory_limit,
            device=self.device,
        )
        self._flatten = flatten
        self._progress = progress

    def __repr__(self) -> str:
        return f"FeatureExtractor of {self.model.uid}: {self.plan.summary()}"

    def __len__(self) -> int:
        """Number of groups (forward passes)."""
        return len(self.plan.passes)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        """Yield one dict of {layer: (n_stimuli, ...) float32 tensor} for each forward pass."""
        try:
            yield from self._groups()
        except FalseDuplicateError as error:
            self.plan = read_apart(self.plan, error.layer, [FeaturesNeed()])
            raise RuntimeError(f"{error} The plan now reads it: iterate again.") from error

    def _groups(self) -> Iterator[dict[str, torch.Tensor]]:
        group: dict[str, torch.Tensor] = {}
        last = {names[-1] for names in self.plan.passes}
        need = FeaturesNeed()
        for layer, given in stream_layers(
            self.model,
            self._inputs,
            self.plan,
            [need],
            device=self.device,
            progress=self._progress,
        ):
            flat = given[need]
            group[layer.name] = flat if self._flatten else flat.view(len(flat), *layer.shape)
            if layer.name in last:
                yield group
                group = {}


def extract_features(
    model: Model | torch.nn.Module,
    stimuli: Any,
    layers: str | Iterable[str] | None = None,
    **options: Any,
) -> dict[str, torch.Tensor]:
    """Extract a model's maps over a stimulus set, all in memory.

    Parameters
    ----------
    model, stimuli, layers
        As in `FeatureExtractor`.
    **options
        The other options of `FeatureExtractor`.

    Returns
    -------
    dict of str to torch.Tensor
        {layer: (n_stimuli, ...)} float32, in call order.

    Raises
    ------
    MemoryError
        If the maps do not fit together; use `FeatureExtractor`, which gives them in groups.

    Examples
    --------
    >>> features = extract_features(model, "images/", layers=["features.10"])  # doctest: +SKIP
    """
    extractor = FeatureExtractor(model, stimuli, layers=layers, **options)
    if len(extractor) > 1:
        raise MemoryError(
            f"{extractor.plan.summary()}: more than one pass. Choose layers=, raise "
            f"memory_limit=, or iterate over a FeatureExtractor, which gives groups that fit."
        )
    return next(iter(extractor), {})
