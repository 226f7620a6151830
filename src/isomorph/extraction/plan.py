"""The plan: every output of a model, what is distinct, and in which pass it is read."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pandas as pd
import torch

from isomorph.extraction.outputs import BatchAxis, layer_name
from isomorph.registry import unknown_name
from isomorph.storage import format_size


@dataclass(frozen=True)
class Layer:
    """One output of one call of one module.

    Parameters
    ----------
    path, call, leaf : str, int, str
        Which module, which of its calls, which tensor of its output.
    module_type : str
        The module's class name.
    shape : tuple of int
        Shape for one stimulus.
    dtype : torch.dtype
        As the model gives it.
    batch : BatchAxis or None
        Where the stimuli are; None if they could not be found.
    index : int or None
        Position in call order among the distinct layers; None for one that is not read.
    duplicate_of : str
        The layer that holds the same values; empty for a distinct one.
    same_tensor : bool
        Whether a duplicate is the same tensor, or only equal in value on both survey batches.
    overwritten : bool
        Whether a later operation of the model writes over this output in place.
    left_out : str
        Why the layer is not read; empty if it is.
    """

    path: str
    call: int
    leaf: str
    module_type: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    batch: BatchAxis | None
    index: int | None = None
    duplicate_of: str = ""
    same_tensor: bool = False
    overwritten: bool = False
    left_out: str = ""

    @property
    def name(self) -> str:
        """``features.10``, ``layer1.0.relu#1``, ``attn[0]``."""
        return layer_name(self.path, self.call, self.leaf)

    @property
    def key(self) -> tuple[str, int, str]:
        """What identifies the layer during a forward pass."""
        return self.path, self.call, self.leaf

    @property
    def n_features(self) -> int:
        """Number of features of one stimulus."""
        return math.prod(self.shape)

    def n_bytes(self, n_stimuli: int) -> int:
        """Bytes of the layer's float32 map over the stimuli."""
        return 4 * n_stimuli * self.n_features

    def flatten(self, output: torch.Tensor) -> torch.Tensor:
        """Turn the module's raw output into (n_stimuli in the batch, n_features)."""
        assert self.batch is not None
        rows = self.batch.stimuli_leading(output)
        return rows.reshape(rows.shape[0], -1)


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
    passes : tuple of tuple of str
        Names of the layers read in each forward pass.
    memory_limit : int
        Bytes that the maps of one pass may take together.
    """

    layers: tuple[Layer, ...]
    never_called: tuple[str, ...] = ()
    model_uid: str = ""
    n_stimuli: int = 0
    passes: tuple[tuple[str, ...], ...] = ()
    memory_limit: int = 0

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
        raise unknown_name(
            "layer",
            name,
            self.names(),
            self._hint,
        )

    @property
    def _hint(self) -> str:
        return f"Layers of {self.model_uid}: print(plan), or --dry-run on the command line."

    def names(self) -> list[str]:
        """Names of the distinct layers."""
        return [layer.name for layer in self.distinct]

    def select(self, layers: str | Iterable[str] | None) -> tuple[Layer, ...]:
        """Choose distinct layers by name or glob; a duplicate's name gives its original.

        Parameters
        ----------
        layers : str, iterable of str or None
            Names or globs (``"features.*"``); None is all of them.

        Returns
        -------
        tuple of Layer
            In index order.

        Raises
        ------
        UnknownNameError
            If a name fits no layer; gives the nearest.
        ValueError
            If a named layer cannot be read; gives the reason.
        """
        if layers is None:
            return self.distinct
        wanted: set[str] = set()
        for name in [layers] if isinstance(layers, str) else layers:
            exact = [layer for layer in self.layers if layer.name == name]
            found = exact or [
                layer for layer in self.layers if fnmatch.fnmatchcase(layer.name, name)
            ]
            readable = [layer for layer in found if not layer.left_out]
            if found and not readable:
                raise ValueError(f"layer {name!r} cannot be read: {found[0].left_out}.")
            if not found and name in self.never_called:
                raise ValueError(
                    f"layer {name!r} cannot be read: the forward pass never calls this module "
                    f"(it may be fused into its parent). Choose its parent or a neighbour."
                )
            if not found:
                known = [layer.name for layer in self.layers]
                raise unknown_name(
                    "layer",
                    name,
                    known,
                    self._hint,
                )
            wanted.update(layer.duplicate_of or layer.name for layer in readable)
        return tuple(layer for layer in self.distinct if layer.name in wanted)

    def promoted(self, name: str) -> Plan:
        """Make a duplicate a layer of its own; indices are counted anew."""
        layers: list[Layer] = []
        index = 0
        for layer in self.layers:
            if layer.name == name:
                layer = replace(layer, duplicate_of="", same_tensor=False)
            if not layer.left_out and not layer.duplicate_of:
                layer = replace(layer, index=index)
                index += 1
            layers.append(layer)
        return replace(self, layers=tuple(layers))

    def scheduled(
        self, layers: Sequence[Layer], sizes: Sequence[int], *, n_stimuli: int, memory_limit: int
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

        Returns
        -------
        Plan
            This plan with its passes.

        Raises
        ------
        MemoryError
            If one layer alone does not fit.
        """
        passes: list[list[str]] = []
        room = 0
        for layer, size in zip(layers, sizes, strict=True):
            if size > memory_limit:
                raise MemoryError(
                    f"layer {layer.name}: expected at most {format_size(memory_limit)} (the memory "
                    f"limit), needs {format_size(size)} for {n_stimuli} stimuli. Raise "
                    f"memory_limit=, leave the layer out by layers=, or use fewer stimuli."
                )
            if not passes or size > room:
                passes.append([])
                room = memory_limit
            passes[-1].append(layer.name)
            room -= size
        return replace(
            self,
            n_stimuli=n_stimuli,
            passes=tuple(map(tuple, passes)),
            memory_limit=memory_limit,
        )

    def to_frame(self) -> pd.DataFrame:
        """Give the plan as a table, one row an output."""
        in_pass = {name: number for number, names in enumerate(self.passes) for name in names}
        return pd.DataFrame(
            {
                "index": pd.array([layer.index for layer in self.layers], dtype="Int64"),
                "layer": [layer.name for layer in self.layers],
                "type": [layer.module_type for layer in self.layers],
                "shape": ["×".join(map(str, layer.shape)) for layer in self.layers],
                "n_features": [layer.n_features for layer in self.layers],
                "n_bytes": [layer.n_bytes(self.n_stimuli or 1) for layer in self.layers],
                "pass": pd.array([in_pass.get(layer.name) for layer in self.layers], dtype="Int64"),
                "duplicate_of": [layer.duplicate_of for layer in self.layers],
                "overwritten": [layer.overwritten for layer in self.layers],
                "left_out": [layer.left_out for layer in self.layers],
            }
        )

    def summary(self) -> str:
        """Say in a few words what will be read and what it costs."""
        scheduled = {name for names in self.passes for name in names}
        read = [layer for layer in self.distinct if not self.passes or layer.name in scheduled]
        duplicates = sum(bool(layer.duplicate_of) for layer in self.layers)
        size = format_size(sum(layer.n_bytes(self.n_stimuli or 1) for layer in read))
        words = (
            f"{len(read)} of {len(self.distinct)} distinct layers ({duplicates} duplicates), "
            f"{sum(layer.n_features for layer in read):,} features, {size} for "
            f"{self.n_stimuli or 1} stimuli"
        )
        if self.passes:
            words += (
                f"; {len(self.passes)} forward pass{'es' if len(self.passes) > 1 else ''} within "
                f"{format_size(self.memory_limit)}"
            )
        left_out = [layer.name for layer in self.layers if layer.left_out]
        if left_out:
            words += f"; left out: {', '.join(left_out)}"
        return words

    def __repr__(self) -> str:
        return f"Plan of {self.model_uid}: {self.summary()}"

    def __str__(self) -> str:
        frame = self.to_frame()
        frame["size"] = frame.pop("n_bytes").map(format_size)
        frame["note"] = [_note(layer) for layer in self.layers]
        shown = frame[["index", "layer", "type", "shape", "n_features", "size", "pass", "note"]]
        table = shown.astype("string").fillna("").to_string(index=False)
        lines = [f"{self.model_uid}: {self.summary()}", table]
        if self.never_called:
            lines.append(f"never called: {', '.join(self.never_called)}")
        return "\n".join(lines)


def _note(layer: Layer) -> str:
    if layer.left_out:
        return f"left out: {layer.left_out}"
    if layer.duplicate_of:
        return f"{'is' if layer.same_tensor else 'equals'} {layer.duplicate_of}"
    return "overwritten in place later" if layer.overwritten else ""
