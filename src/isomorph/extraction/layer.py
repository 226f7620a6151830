"""`Layer`: one output of one call of one module; `Part`: what of it one pass reads."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from isomorph.extraction.outputs import BatchAxis, layer_name


@dataclass(frozen=True)
class Layer:
    """One output of one call of one module, or of one operation that no module owns.

    Parameters
    ----------
    path, call, leaf : str, int, str
        Which module, which of its calls, which tensor of its output. An operation's path is that
        of the module it runs in and its own name, ``layer1.0:add``.
    module_type : str
        The module's class name, or the operation's.
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
    same_tensor_as : str
        The first layer that is the very same tensor; empty for a duplicate that was only found
        equal in value on the survey batches, which the stream checks over all stimuli.
    overwritten : bool
        Whether a later operation of the model writes over this output in place.
    left_out : str
        Why the layer is not read; empty if it is.
    channels : int or None
        Which axis of `shape` holds the channels: the last of tokens, the first of most maps.
    is_leaf, is_block : bool
        Whether the module has no parts; whether it is one of the model's repeated blocks.
    module_class : type or None
        The module's class; None for an operation.
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
    same_tensor_as: str = ""
    overwritten: bool = False
    left_out: str = ""
    channels: int | None = None
    is_leaf: bool = False
    is_block: bool = False
    module_class: type[nn.Module] | None = None

    @property
    def name(self) -> str:
        """``features.10``, ``layer1.0.relu#1``, ``attn[0]``, ``layer1.0:add``."""
        return layer_name(self.path, self.call, self.leaf)

    @property
    def same_tensor(self) -> bool:
        """Whether a duplicate is the same tensor as its original, and not only equal in value."""
        return bool(self.duplicate_of) and self.same_tensor_as == self.duplicate_of

    @property
    def key(self) -> tuple[str, int, str]:
        """What identifies the layer during a forward pass."""
        return self.path, self.call, self.leaf

    @property
    def kind(self) -> str:
        """``"vector"`` (one axis), ``"tokens"`` (tokens × channels), or ``"map"``."""
        if len(self.shape) <= 1:
            return "vector"
        return "tokens" if len(self.shape) == 2 and self.channels == 1 else "map"

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


@dataclass(frozen=True)
class Part:
    """A layer, or some of its features, in one forward pass.

    Parameters
    ----------
    layer : str
        Its name.
    columns : tuple of (int, int) or None
        First and last (excluded) of the flattened features; None is all of them.
    spilled : bool
        Whether the map is held in a file and not in memory.
    """

    layer: str
    columns: tuple[int, int] | None = None
    spilled: bool = False

    @property
    def name(self) -> str:
        """``features.0``, or ``features.0[:, 0:5000]`` for some of its features."""
        if self.columns is None:
            return self.layer
        return f"{self.layer}[:, {self.columns[0]}:{self.columns[1]}]"
