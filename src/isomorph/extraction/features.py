"""`Features`: a group of maps in memory, with the names of their rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from isomorph.extraction.layer import Layer
from isomorph.extraction.plan import Plan
from isomorph.extraction.reductions import Reduction


class Features(dict[str, Any]):
    """A dict of {layer: (n_rows, …) map}, in call order, that knows what its rows are.

    A duplicate layer's name gives the map of its original, in its own shape.

    Attributes
    ----------
    ids : tuple of str
        What each row belongs to: the stimuli, or their groups.
    plan : Plan
        How the maps were read.
    reduction : Reduction
        What of them was kept.
    """

    def __init__(
        self, ids: tuple[str, ...], plan: Plan, reduction: Reduction | None = None
    ) -> None:
        super().__init__()
        self.ids, self.plan, self.reduction = ids, plan, reduction or Reduction()

    def __missing__(self, name: str) -> Any:
        layer = self.plan[name]  # names the nearest if there is no such layer
        if layer.duplicate_of and layer.duplicate_of in self:
            found, original = self[layer.duplicate_of], self.plan[layer.duplicate_of]
            if not self.reduction.treats_alike(original, layer):
                raise KeyError(_reduced_otherwise(layer, original, self.reduction))
            if found.ndim > 2 and tuple(found.shape[1:]) == original.shape:
                return found.reshape(len(found), *layer.shape)
            return found
        here = ", ".join(list(self)[:5])
        raise KeyError(
            f"layer {name!r} is not among these ({here}{', …' if len(self) > 5 else ''})"
        )

    def __repr__(self) -> str:
        lines = [f"Features of {self.plan.model_uid}: {len(self)} layers, {len(self.ids)} rows"]
        lines += [f"  {name}: {tuple(item.shape)}" for name, item in list(super().items())[:12]]
        return "\n".join(lines + ([f"  … {len(self) - 12} more"] if len(self) > 12 else []))


def _reduced_otherwise(layer: Layer, original: Layer, reduction: Reduction) -> str:
    asked = {name: value for name, value in reduction.describe().items() if name != "dtype"}
    given = ", ".join("tensor_fn=" if k == "tensor_fn" else f"{k}={v!r}" for k, v in asked.items())
    shape = ", ".join(["len(rows)", *map(str, layer.shape)])
    return (
        f"layer {layer.name!r} ({_shown(layer)}) has the values of {original.name!r} "
        f"({_shown(original)}), which was read in its place; {given} keeps something else of that "
        f"shape. Ask for {original.name!r}, or for {layer.name!r} by a tensor_fn= that brings "
        f"{original.name!r} into its shape, lambda rows: rows.reshape({shape}), and reduces it "
        f"there."
    )


def _shown(layer: Layer) -> str:
    return f"{layer.kind} of {'×'.join(map(str, layer.shape)) or '1'}"


class Group(Features):
    """One group of a `FeatureExtractor`; emptied when the next is asked for.

    So that two groups never lie in memory at once. Asked for something afterwards, it says so and
    does not pass for empty.
    """

    _released = False

    def release(self) -> None:
        """Let go of the maps."""
        super().clear()
        self._released = True

    def __repr__(self) -> str:
        return "Group (released)" if self._released else super().__repr__()

    def _open(self) -> None:
        if self._released:
            raise RuntimeError(
                "this group of maps was released when the next one was asked for, so that both "
                "need not lie in memory. Use each group inside the loop, or keep maps of your own: "
                "kept.update(maps)."
            )


def _guarded(name: str) -> Callable[..., Any]:
    plain = getattr(dict, name)

    def method(self: Group, *args: Any, **options: Any) -> Any:
        self._open()
        return plain(self, *args, **options)

    method.__name__ = name
    method.__doc__ = plain.__doc__
    return method


for _name in (
    "__getitem__",
    "__iter__",
    "__reversed__",
    "__len__",
    "__contains__",
    "__eq__",
    "__ne__",
    "__or__",
    "__ror__",
    "__ior__",
    "copy",
    "keys",
    "values",
    "items",
    "get",
    "pop",
    "popitem",
    "setdefault",
):
    setattr(Group, _name, _guarded(_name))


def as_kind(tensor: torch.Tensor, output: str) -> torch.Tensor | np.ndarray:
    """Give a map as a tensor, or as an array on the CPU (bfloat16 as float32)."""
    if output == "torch":
        return tensor
    tensor = tensor.cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
