"""Heads: a model that ends in a small network of one's own, put on any of its layers."""

from __future__ import annotations

import copy
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from isomorph.extraction import Model
from isomorph.extraction.outputs import leaves
from isomorph.registry import unknown_name

_LAYER = re.compile(r"(?P<path>[^#\[]*)(?:#(?P<call>\d+))?(?P<leaf>(?:\[\w+\])*)")
POOLS = ("flatten", "first_token", "mean_token", "mean_place")


class ResidualHead(nn.Module):
    """What DreamSim's first version learnt: a hidden layer whose output is added to its input.

    Parameters
    ----------
    n_features : int
        That come, and go out.
    hidden : int
        Units of the hidden layer.
    """

    def __init__(self, n_features: int, hidden: int = 512) -> None:
        super().__init__()
        self.fc1 = nn.Linear(n_features, hidden)
        self.fc2 = nn.Linear(hidden, n_features)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(n_stimuli, n_features) to the same."""
        return self.fc2(functional.relu(self.fc1(features))) + features


def add_head(
    model: Model, layer: str, head: nn.Module, name: str = "head", *, pool: str = "flatten"
) -> Model:
    """Put a network on a layer of a model; its output is the new model's.

    Parameters
    ----------
    model : Model
        Not changed; the new one shares its weights.
    layer : str
        As the survey names it: ``avgpool``, ``relu#1`` (a second call), ``attn[0]`` (a part of an
        output), ``(root)`` (what the model gives).
    head : torch.nn.Module
        Takes (n_stimuli, n_features).
    name : str
        The head's, as a layer of its own, and in the uid: ``…+name``.
    pool : {"flatten", "first_token", "mean_token", "mean_place"}
        What becomes of the layer's output first: all of it in one row; the first token (class
        token) or the mean over the tokens of (n, tokens, features), without the padding where the
        batch has an ``attention_mask``; the mean over the places of (n, channels, height, width).

    Returns
    -------
    Model
        Runs the whole network, then the head.

    Raises
    ------
    UnknownNameError
        If there is no such layer or pool; gives the nearest.
    ValueError
        If the name is taken, or is none for a layer. When it runs: if the layer is not called, or
        its output cannot be pooled so.

    Examples
    --------
    >>> from isomorph.zoo import load_model
    >>> resnet = load_model("torchvision/resnet18", weights=None)
    >>> tuned = add_head(resnet, "avgpool", ResidualHead(512))
    >>> tuned.uid, tuned(torch.zeros(1, 3, 64, 64)).shape
    ('torchvision/resnet18@random-0+head', torch.Size([1, 512]))
    """
    if pool not in POOLS:
        raise unknown_name("pool", pool, POOLS)
    if not isinstance(head, nn.Module):
        raise TypeError(f"head: expected a torch.nn.Module, got {type(head).__name__}.")
    _check_name(model, name)
    tapped = _Tapped(model, layer, pool)
    module = WithHead(model.module, tapped, head, name)
    forward = None if model.forward is None else _as_one
    return replace(model, module=module, forward=forward, uid=f"{model.uid}+{name}")


def _check_name(model: Model, name: str) -> None:
    """Refuse what cannot name a layer, or names another already."""
    if not name.isidentifier() or name.startswith("_"):
        raise ValueError(
            f"name: expected a word of letters, digits and _ that begins with a letter, got "
            f"{name!r}."
        )
    if hasattr(model.module, name) or hasattr(WithHead, name):
        raise ValueError(
            f"name: expected a word that {model.uid} has no part of, got {name!r}. Choose another."
        )


def _as_one(module: nn.Module, inputs: Any) -> Any:
    """Hand the inputs on as they are; the model's own way of calling is inside."""
    return module(inputs)


class WithHead(nn.Module):
    """A network's parts under their own names, and a head as one part more."""

    def __init__(self, module: nn.Module, tapped: _Tapped, head: nn.Module, name: str) -> None:
        super().__init__()
        # The very same tables, so that what moves one network moves the other.
        self._parameters = module._parameters
        self._buffers = module._buffers
        self._non_persistent_buffers_set = module._non_persistent_buffers_set
        self._modules = {**module._modules, name: head}
        self.training = module.training
        self._kind = f"{type(module).__name__}+{name}"
        self._head_name = name
        self._tapped = tapped

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Run the network, then the head on the layer's output."""
        head = self.get_submodule(self._head_name)
        return head(self._tapped(self.training, inputs, named))

    def _get_name(self) -> str:
        return self._kind


class _Tapped:
    """Runs a network and gives one layer's output, pooled.

    Not a module, so that the network inside is not listed twice.
    """

    def __init__(self, model: Model, layer: str, pool: str) -> None:
        match = _LAYER.fullmatch(layer.removeprefix("(root)"))
        modules = dict(model.module.named_modules())
        if match is None or match["path"] not in modules:
            raise unknown_name(f"layer of {model.uid}", layer, [name for name in modules if name])
        # Its own flag for training, the same parts.
        self.network = copy.copy(model.module)
        self.run: Callable[[nn.Module, Any], Any] | None = model.forward
        self.layer, self.pool = layer, pool
        self.path, self.leaf = match["path"], match["leaf"]
        self.call = int(match["call"] or 0)

    def __call__(
        self, training: bool, inputs: tuple[Any, ...], named: Mapping[str, Any]
    ) -> torch.Tensor:
        self.network.training = training
        n_stimuli = len(next(_tensors((*inputs, *named.values()))))
        mask = _attention_mask((*inputs, named))
        # The layers are the network's own, which other threads may be running too.
        ours = threading.get_ident()
        n_calls = 0
        kept: list[torch.Tensor] = []

        def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
            nonlocal n_calls
            if threading.get_ident() != ours:
                return
            if n_calls == self.call:
                # Copied, since what follows may write over it.
                kept.append(self._pooled(output, n_stimuli, mask).clone())
            n_calls += 1

        tapped = self.network.get_submodule(self.path) if self.path else self.network
        handle = tapped.register_forward_hook(keep)
        try:
            if self.run is not None:
                self.run(self.network, *inputs)
            else:
                self.network(*inputs, **named)
        finally:
            handle.remove()
        if not kept:
            raise ValueError(
                f"layer {self.layer!r}: expected {self.call + 1} call(s), got {n_calls}: the "
                f"network does not use it so. FeatureExtractor(model, …).plan shows what it uses."
            )
        return kept[0]

    def _pooled(self, output: Any, n_stimuli: int, mask: torch.Tensor | None) -> torch.Tensor:
        found = dict(leaves(output))
        if self.leaf not in found:
            places = ", ".join(f"{self.layer}{place}" for place in found) or "no tensor"
            raise ValueError(f"layer {self.layer!r}: it gives {places}. Name one of them.")
        tensor = found[self.leaf]
        if tensor.ndim < 2 or len(tensor) != n_stimuli:
            raise ValueError(
                f"layer {self.layer!r}: expected an output with the {n_stimuli} stimuli first, got "
                f"shape {tuple(tensor.shape)}. Choose another layer."
            )
        if self.pool == "flatten":
            return tensor.flatten(1)
        n_axes = 4 if self.pool == "mean_place" else 3
        if tensor.ndim != n_axes:
            raise ValueError(
                f"layer {self.layer!r}: pool={self.pool!r} expects {n_axes} axes, got shape "
                f"{tuple(tensor.shape)}. pool='flatten' takes any."
            )
        if self.pool == "mean_place":
            return tensor.mean((2, 3))
        if self.pool == "first_token":
            return tensor[:, 0]
        if mask is None or mask.shape != tensor.shape[:2]:
            return tensor.mean(1)
        kept = mask.to(tensor)[..., None]
        return (tensor.masked_fill(kept == 0, 0) * kept).sum(1) / kept.sum(1)


def _tensors(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    """Give the tensors of a batch, those of a mapping too."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, Mapping):
            yield from _tensors(value.values())


def _attention_mask(values: Iterable[Any]) -> torch.Tensor | None:
    """Find which tokens of a batch of texts are real; None where it does not say."""
    found = [value.get("attention_mask") for value in values if isinstance(value, Mapping)]
    return next((mask for mask in found if isinstance(mask, torch.Tensor)), None)
