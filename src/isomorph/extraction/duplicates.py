"""Which outputs are the same: by identity of memory, or by value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from isomorph.extraction.layer import Layer

# Two sizes that share no factor with each other, so that an axis of 2 or 3 is not taken for one.
SURVEY_SIZES = (2, 3)
GLANCED = 64

Key = tuple[str, int, str]


def _version(tensor: torch.Tensor) -> int:
    """Count the changes of a tensor; those that a module kept from inference mode count none."""
    return -1 if tensor.is_inference() else tensor._version


@dataclass
class Capture:
    """One output, held so that its memory cannot be reused while identities are compared."""

    held: torch.Tensor
    copy: torch.Tensor
    version: int
    reason: str = ""

    @classmethod
    def of(cls, tensor: torch.Tensor, *, copied: bool = True) -> Capture:
        """Hold an output; without a copy, its values are those of the moment they are read."""
        reason = _unreadable(tensor)
        if reason:
            return cls(torch.empty(0), torch.empty(0), 0, reason)
        values = tensor.detach()
        return cls(tensor, values.clone() if copied else values, _version(tensor))

    @property
    def lost(self) -> bool:
        """Whether the values were written over and no copy was made."""
        same_memory = self.copy.data_ptr() == self.held.data_ptr()
        return same_memory and _version(self.held) != self.version

    @property
    def identity(self) -> tuple[Any, ...]:
        tensor = self.held
        place = (
            tensor.untyped_storage().data_ptr(),
            tensor.storage_offset(),
            tensor.dtype,
            self.version,
        )
        if tensor.is_contiguous() and tensor.ndim and len(tensor) in SURVEY_SIZES:
            # A flattened view holds the same features of each stimulus in the same order.
            return (*place, len(tensor), tensor.numel())
        return (*place, tuple(tensor.shape), tensor.stride())

    @property
    def overwritten(self) -> bool:
        if _version(self.held) != self.version:
            return True
        return not torch.equal(self.held, self.copy) and not torch.equal(
            torch.nan_to_num(self.held), torch.nan_to_num(self.copy)
        )


def _unreadable(tensor: torch.Tensor) -> str:
    """Why a tensor's values cannot be read as an array; empty if they can."""
    if tensor.is_nested:
        return "its values are a nested tensor"
    if tensor.layout != torch.strided:
        return "its values are sparse"
    if tensor.is_quantized:
        return "its values are quantised"
    return "it holds no values (meta)" if tensor.is_meta else ""


def mark_duplicates(
    layers: list[Layer], small: Mapping[Key, Capture], large: Mapping[Key, Capture]
) -> list[Layer]:
    """Mark the layers that are the same tensor as an earlier one, or have its values.

    Parameters
    ----------
    layers : list of Layer
        In call order, without indices.
    small, large : mapping of key to Capture
        What the two survey batches left.

    Returns
    -------
    list of Layer
        With ``duplicate_of`` or ``index``. An operation whose very result a module returns is that
        module's layer.
    """
    by_identity: dict[tuple[Any, ...], tuple[str, Layer]] = {}  # the first one, its original
    by_glance: dict[tuple[Any, ...], list[Layer]] = {}
    marked: list[Layer] = []
    index = 0
    owners = _owners(layers, small, large)
    for layer in layers:
        if layer.left_out or layer.name in owners:
            marked.append(layer)
            continue
        contents = _contents(layer, small, large)
        identity = (*small[layer.key].identity, *large[layer.key].identity)
        first, original = by_identity.get(identity, ("", None))
        # The same memory and version, and yet other values: something wrote past torch's counter.
        if original is not None and not _equal(contents, _contents(original, small, large)):
            first, original = "", None
        glance = _glance(contents)
        if original is None and _tells(contents):
            original = next(
                (
                    other
                    for other in by_glance.get(glance, [])
                    if _equal(contents, _contents(other, small, large))
                ),
                None,
            )
        if original is not None:
            by_identity.setdefault(identity, (layer.name, original))
            marked.append(replace(layer, duplicate_of=original.name, same_tensor_as=first))
            continue
        by_identity[identity] = (layer.name, layer)
        by_glance.setdefault(glance, []).append(layer)
        marked.append(replace(layer, index=index))
        index += 1
    by_name = {layer.name: layer for layer in marked}
    return [
        replace(
            layer,
            duplicate_of=by_name[owners[layer.name]].duplicate_of or owners[layer.name],
            same_tensor_as=by_name[owners[layer.name]].same_tensor_as or owners[layer.name],
        )
        if layer.name in owners
        else layer
        for layer in marked
    ]


def _owners(
    layers: list[Layer], small: Mapping[Key, Capture], large: Mapping[Key, Capture]
) -> dict[str, str]:
    """Operations whose very result a module returns, and that module's layer: it is read there."""
    modules: dict[tuple[Any, ...], str] = {}
    operations: dict[str, tuple[Any, ...]] = {}
    for layer in layers:
        if layer.left_out:
            continue
        identity = (*small[layer.key].identity, *large[layer.key].identity)
        if layer.module_class is None:
            operations[layer.name] = identity
        else:
            modules.setdefault(identity, layer.name)
    return {name: modules[key] for name, key in operations.items() if key in modules}


def _contents(
    layer: Layer, small: Mapping[Key, Capture], large: Mapping[Key, Capture]
) -> tuple[torch.Tensor, torch.Tensor]:
    """A layer's flattened values for both batches."""
    return layer.flatten(small[layer.key].copy), layer.flatten(large[layer.key].copy)


def _equal(
    first: tuple[torch.Tensor, torch.Tensor], second: tuple[torch.Tensor, torch.Tensor]
) -> bool:
    return all(
        a.shape == b.shape and torch.equal(a, b.to(a.dtype))
        for a, b in zip(first, second, strict=True)
    )


def _tells(contents: tuple[torch.Tensor, torch.Tensor]) -> bool:
    """Whether values say something: two silent layers are not the same layer."""
    return all(item.numel() and bool(item.min() < item.max()) for item in contents)


def _glance(contents: tuple[torch.Tensor, torch.Tensor]) -> tuple[Any, ...]:
    """A few values, alike for equal layers: only those that share it are compared whole."""
    large = contents[1]
    step = max(1, large.shape[1] // GLANCED)
    # Adding zero makes −0 and 0 alike.
    return large.shape[1], *(large[-1, ::step].double() + 0).tolist()
