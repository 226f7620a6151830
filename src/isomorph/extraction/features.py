"""`Features`: a group of maps in memory, with the names of their rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from isomorph.extraction.plan import Plan


class Features(dict[str, Any]):
    """A dict of {layer: (n_rows, …) map}, in call order, that knows what its rows are.

    A duplicate layer's name gives the map of its original, in its own shape.

    Attributes
    ----------
    ids : tuple of str
        What each row belongs to: the stimuli, or their groups.
    plan : Plan
        How the maps were read.
    """

    def __init__(self, ids: tuple[str, ...], plan: Plan) -> None:
        super().__init__()
        self.ids, self.plan = ids, plan

    def __missing__(self, name: str) -> Any:
        layer = self.plan[name]  # names the nearest if there is no such layer
        if layer.duplicate_of and layer.duplicate_of in self:
            found = self[layer.duplicate_of]
            if found.ndim > 2 and tuple(found.shape[1:]) == self.plan[layer.duplicate_of].shape:
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
    "__len__",
    "__contains__",
    "keys",
    "values",
    "items",
    "get",
):
    setattr(Group, _name, _guarded(_name))


def as_kind(tensor: torch.Tensor, output: str) -> torch.Tensor | np.ndarray:
    """Give a map as a tensor, or as an array on the CPU (bfloat16 as float32)."""
    if output == "torch":
        return tensor
    tensor = tensor.cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
