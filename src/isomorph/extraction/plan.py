"""The plan: every output of a model, what is distinct, and in which pass it is read."""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from isomorph.extraction.layer import Layer, Part
from isomorph.extraction.selection import LayersAsked, choose_layers
from isomorph.registry import unknown_name
from isomorph.stimuli import listing
from isomorph.storage import format_size


@dataclass(frozen=True, repr=False)
class Plan:
    """What a survey found, and how the maps will be read.

    Parameters
    ----------
    layers : tuple of Layer
        Every output in call order, duplicates and left-out ones included.
    never_called : tuple of str
        Modules that the forward pass does not call (often fused, as
        ``nn.MultiheadAttention.out_proj``): they have no output to read.
    model_uid : str
        Whose plan it is.
    n_stimuli : int
        For how many stimuli.
    passes : tuple of tuple of Part
        The layers read in each forward pass.
    memory_limit : int
        Bytes that the maps of one pass may take together.
    penultimate : str
        The layer that the model's last weighted layer reads.
    kept : mapping of str to tuple of int
        Shape for one stimulus of what is kept of a layer, where that is not its whole map.
    itemsize : int
        Bytes of one kept number.
    """

    layers: tuple[Layer, ...]
    never_called: tuple[str, ...] = ()
    model_uid: str = ""
    n_stimuli: int = 0
    passes: tuple[tuple[Part, ...], ...] = ()
    memory_limit: int = 0
    penultimate: str = ""
    kept: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    itemsize: int = 4

    @property
    def distinct(self) -> tuple[Layer, ...]:
        """The layers that are read, in index order."""
        return tuple(layer for layer in self.layers if layer.index is not None)

    @property
    def n_features(self) -> int:
        """Number of distinct features of one stimulus."""
        return sum(layer.n_features for layer in self.distinct)

    def __getitem__(self, name: str) -> Layer:
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise unknown_name("layer", name, self.names(), self.hint)

    @property
    def hint(self) -> str:
        """Where to see the names."""
        return f"Layers of {self.model_uid}: print(plan), or isomorph extract MODEL --show."

    def names(self) -> list[str]:
        """Names of the distinct layers."""
        return [layer.name for layer in self.distinct]

    def select(self, layers: LayersAsked) -> tuple[Layer, ...]:
        """Choose distinct layers; a duplicate's name gives its original.

        Parameters
        ----------
        layers : None, str, float, class, callable, or an iterable of them
            - a name, or a glob (``"features.*"``);
            - a name or glob after ``!`` leaves those out (of all, if nothing else is asked);
            - a class of modules (``nn.Conv2d``), or its name where no layer is called so;
            - ``"all"``; ``"leaves"``: modules without parts; ``"blocks"``: the model's repeated
              units; ``"penultimate"``: what the classifier reads, or, without one, what the model
              gives;
            - a relative depth, from 0.0 (the first distinct layer) to 1.0 (the last);
            - a predicate ``f(layer: Layer) -> bool``.

        Returns
        -------
        tuple of Layer
            In index order, each once.

        Raises
        ------
        UnknownNameError
            If a name fits no layer; gives the nearest.
        ValueError
            If what is named cannot be read, or nothing fits; gives the reason.

        Examples
        --------
        >>> plan.select(["features.0", nn.Linear, 0.5])  # doctest: +SKIP
        """
        return choose_layers(self, layers)

    def promoted(self, name: str) -> Plan:
        """Make a duplicate a layer of its own, with those that are the same tensor as it."""
        layers: list[Layer] = []
        index = 0
        for layer in self.layers:
            if layer.name == name:
                layer = replace(layer, duplicate_of="", same_tensor_as="")
            elif layer.same_tensor_as == name:
                layer = replace(layer, duplicate_of=name)
            if not layer.left_out and not layer.duplicate_of:
                layer = replace(layer, index=index)
                index += 1
            layers.append(layer)
        return replace(self, layers=tuple(layers))

    def without(self, names: Collection[str], reason: str) -> Plan:
        """Leave layers out of the plan and of its passes; indices stay."""
        layers = tuple(
            replace(layer, index=None, left_out=reason)
            if layer.name in names or layer.duplicate_of in names
            else layer
            for layer in self.layers
        )
        passes = [tuple(part for part in parts if part.layer not in names) for parts in self.passes]
        return replace(self, layers=layers, passes=tuple(filter(None, passes)))

    def scheduled(
        self,
        layers: Sequence[Layer],
        sizes: Sequence[int],
        *,
        n_stimuli: int,
        memory_limit: int,
        oversize: str = "slice",
        kept: Mapping[str, tuple[int, ...]] | None = None,
        itemsize: int = 4,
    ) -> Plan:
        """Group layers, in call order, into forward passes that fit the memory limit.

        Parameters
        ----------
        layers : sequence of Layer
            Which to read.
        sizes : sequence of int
            Bytes that each holds until its pass ends.
        n_stimuli : int
            For how many stimuli.
        memory_limit : int
            Bytes that the layers of one pass may hold together.
        oversize : {"slice", "spill"}
            What to do with a layer that alone exceeds the limit: read some of its features in each
            of several passes, or hold it in a file.
        kept : mapping of str to tuple of int, optional
            Shape for one stimulus of what is kept of a layer, where that is not its whole map.
        itemsize : int
            Bytes of one kept number.

        Returns
        -------
        Plan
            This plan with its passes.

        Raises
        ------
        MemoryError
            If one feature of one layer alone does not fit.
        """
        passes: list[list[Part]] = []
        room = 0
        kept = kept or {}
        for layer, size in zip(layers, sizes, strict=True):
            if size > memory_limit and oversize == "spill":
                # Alone in its pass: the map lies in a file, what is made of it takes the room.
                passes.append([Part(layer.name, spilled=True)])
                room = 0
                continue
            if size > memory_limit:
                shape = kept.get(layer.name, layer.shape)
                columns = _slices(layer.name, math.prod(shape), size, memory_limit, n_stimuli)
                passes.extend([Part(layer.name, part)] for part in columns)
                room = 0
                continue
            if not passes or size > room:
                passes.append([])
                room = memory_limit
            passes[-1].append(Part(layer.name))
            room -= size
        return replace(
            self,
            n_stimuli=n_stimuli,
            passes=tuple(map(tuple, passes)),
            memory_limit=memory_limit,
            kept=dict(kept),
            itemsize=itemsize,
        )

    def in_one_pass(self) -> Plan:
        """Read all layers in one pass: those of the first in memory, the others held in files."""
        if len(self.passes) < 2:
            return self
        first, *others = self.passes
        later = tuple(replace(part, spilled=True) for parts in others for part in parts)
        return replace(self, passes=((*first, *later),))

    def read(self) -> tuple[Layer, ...]:
        """The layers that the passes read, in index order; all distinct ones before scheduling."""
        names = {part.layer for parts in self.passes for part in parts}
        return tuple(layer for layer in self.distinct if not self.passes or layer.name in names)

    def kept_bytes(self, layer: Layer) -> int:
        """Bytes of what is kept of a layer over all stimuli."""
        shape = self.kept.get(layer.name, layer.shape)
        return self.itemsize * (self.n_stimuli or 1) * math.prod(shape)

    def to_frame(self) -> pd.DataFrame:
        """Give the plan as a table, one row an output."""
        in_pass: dict[str, int] = {}
        for number, parts in enumerate(self.passes):
            for part in parts:
                in_pass.setdefault(part.layer, number)
        frame = pd.DataFrame(
            {
                "index": pd.array([layer.index for layer in self.layers], dtype="Int64"),
                "layer": [layer.name for layer in self.layers],
                "type": [layer.module_type for layer in self.layers],
                "kind": [layer.kind if not layer.left_out else "" for layer in self.layers],
                "shape": ["×".join(map(str, layer.shape)) for layer in self.layers],
                "kept": [
                    "×".join(map(str, self.kept.get(layer.name, ()))) for layer in self.layers
                ],
                "n_features": [layer.n_features for layer in self.layers],
                "n_bytes": [self.kept_bytes(layer) for layer in self.layers],
                "pass": pd.array([in_pass.get(layer.name) for layer in self.layers], dtype="Int64"),
                "duplicate_of": [layer.duplicate_of for layer in self.layers],
                "overwritten": [layer.overwritten for layer in self.layers],
                "left_out": [layer.left_out for layer in self.layers],
            }
        )
        return frame if self.kept else frame.drop(columns="kept")

    def summary(self) -> str:
        """Say in a few words what will be read and what it costs."""
        read = self.read()
        duplicates = sum(bool(layer.duplicate_of) for layer in self.layers)
        size = format_size(sum(self.kept_bytes(layer) for layer in read))
        rows = sum(self.kept_bytes(layer) for layer in read) // (
            self.itemsize * (self.n_stimuli or 1)
        )
        reduced = f" ({rows:,} kept)" if self.kept else ""
        words = (
            f"{len(read)} of {len(self.distinct)} distinct layers ({duplicates} duplicates), "
            f"{sum(layer.n_features for layer in read):,} features{reduced}, {size} for "
            f"{self.n_stimuli or 1} {'stimulus' if self.n_stimuli == 1 else 'stimuli'}"
        )
        if self.passes:
            words += (
                f"; {len(self.passes)} forward pass{'es' if len(self.passes) > 1 else ''} within "
                f"{format_size(self.memory_limit)}"
            )
        parts = [part for parts in self.passes for part in parts]
        sliced = len({part.layer for part in parts if part.columns is not None})
        spilled = sum(part.spilled for part in parts)
        words += f"; {sliced} larger than that, in slices" if sliced else ""
        words += f"; {spilled} held in files" if spilled else ""
        left_out = [layer.name for layer in self.layers if layer.left_out]
        if left_out:
            words += f"; left out: {listing(left_out)}"
        return words

    def __repr__(self) -> str:
        return f"Plan of {self.model_uid}: {self.summary()}"

    def __str__(self) -> str:
        table = self._shown().to_string(index=False)
        lines = [f"{self.model_uid}: {self.summary()}", table, self._silent()]
        return "\n".join(line for line in lines if line)

    def _repr_html_(self) -> str:
        """What a notebook shows: the summary, and the table in a box that scrolls."""
        table = self._shown().to_html(index=False, border=0)
        box = f'<div style="max-height: 30em; overflow: auto">{table}</div>'
        words = (f"{self.model_uid}: {self.summary()}", self._silent())
        above, below = (f"<p>{html.escape(text)}</p>" if text else "" for text in words)
        return f"{above}{box}{below}"

    def _shown(self) -> pd.DataFrame:
        """The table's columns that people read, as text."""
        frame = self.to_frame()
        frame["size"] = frame.pop("n_bytes").map(format_size)
        frame["note"] = [_note(layer) for layer in self.layers]
        kept = ["kept"] if self.kept else []
        columns = ["index", "layer", "type", "shape", *kept, "n_features", "size", "pass", "note"]
        return frame[columns].astype("string").fillna("")

    def _silent(self) -> str:
        """Name the modules that are never called; a whole branch by its top alone."""
        silent = set(self.never_called)
        tops = [
            path for path in self.never_called if not any(above in silent for above in _above(path))
        ]
        return f"never called: {listing(tops)}" if tops else ""


def _above(path: str) -> list[str]:
    """The paths of the modules that hold this one."""
    parts = path.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts))]


def _slices(
    name: str, n_features: int, size: int, memory_limit: int, n_stimuli: int
) -> list[tuple[int, int]]:
    """Cut a layer's features into equal runs, each of which fits."""
    width = int(memory_limit * n_features / size)
    if width < 1:
        raise MemoryError(
            f"layer {name}: expected at least {format_size(size / n_features)} (one feature of "
            f"{n_stimuli} stimuli), got a memory limit of {format_size(memory_limit)}. Raise "
            f"memory_limit=, or use fewer stimuli."
        )
    n_parts = math.ceil(n_features / width)
    cuts = [round(i * n_features / n_parts) for i in range(n_parts + 1)]
    return list(itertools.pairwise(cuts))


def _note(layer: Layer) -> str:
    if layer.left_out:
        return f"left out: {layer.left_out}"
    if layer.duplicate_of:
        return f"{'is' if layer.same_tensor else 'equals'} {layer.duplicate_of}"
    return "overwritten in place later" if layer.overwritten else ""
