"""Choosing layers: by name, glob, class, predicate, word or relative depth."""

from __future__ import annotations

import fnmatch
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from isomorph.extraction.layer import Layer
from isomorph.registry import unknown_name

if TYPE_CHECKING:
    from isomorph.extraction.plan import Plan

logger = logging.getLogger(__name__)

WORDS = ("all", "leaves", "blocks", "penultimate")
LayerAsked = str | float | type[nn.Module] | Callable[[Layer], bool]
LayersAsked = LayerAsked | Iterable[LayerAsked] | None


def choose_layers(plan: Plan, asked: LayersAsked) -> tuple[Layer, ...]:
    """Choose distinct layers; `Plan.select` documents what may be asked.

    Returns
    -------
    tuple of Layer
        In index order, each once.
    """
    if asked is None:
        return plan.distinct
    items: list[Any]
    if isinstance(asked, str | float | int | np.floating | type) or callable(asked):
        items = [asked]
    else:
        items = list(asked)
    wanted: set[str] = set()
    unwanted: set[str] = set()
    only_unwanted = True
    for item in items:
        if isinstance(item, str) and item.startswith("!"):
            found = {layer.name for layer in plan.layers if _named(layer, item[1:])}
            unwanted |= found
            if not found:
                raise unknown_name("layer", item[1:], plan.names(), plan.hint)
            continue
        only_unwanted = False
        wanted.update(layer.duplicate_of or layer.name for layer in _fitting(plan, item))
    if only_unwanted and unwanted:
        wanted = set(plan.names())
    return tuple(layer for layer in plan.distinct if layer.name in wanted - unwanted)


def _named(layer: Layer, name: str) -> bool:
    return name in (layer.name, layer.module_type) or fnmatch.fnmatchcase(layer.name, name)


def _fitting(plan: Plan, item: Any) -> Sequence[Layer]:
    if isinstance(item, np.floating):
        item = float(item)
    if isinstance(item, nn.Module):
        raise TypeError(
            f"layers: expected names or classes, got a module ({type(item).__name__}). Name it as "
            f"the plan does."
        )
    if isinstance(item, bool | int):
        raise TypeError(
            f"layers: expected names, words, classes, predicates or depths from 0.0 to 1.0, got "
            f"{item!r}. Write a depth with a point (0.5, 1.0)."
        )
    if isinstance(item, float):
        return [_at_depth(plan, item)]
    if isinstance(item, type):
        return _of_class(plan, item)
    if callable(item):
        try:
            chosen = [layer for layer in plan.distinct if item(layer)]
        except Exception as error:
            raise ValueError(
                f"layers: the predicate {item!r} raised {type(error).__name__}: {error}. It is "
                f"called with a Layer (name, shape, module_type, …)."
            ) from error
        if not chosen:
            raise ValueError(f"layers: the predicate {item!r} fits none of {plan.model_uid}.")
        return chosen
    if not isinstance(item, str):
        raise TypeError(
            f"layers: expected names, words, classes, predicates or depths, got "
            f"{type(item).__name__}."
        )
    if item in WORDS:
        return _by_word(plan, item)
    if re.fullmatch(r"\d*\.\d+", item) and not any(layer.name == item for layer in plan.layers):
        return [_at_depth(plan, float(item))]
    return _by_name(plan, item)


def _at_depth(plan: Plan, depth: float) -> Layer:
    if not 0 <= depth <= 1:
        raise ValueError(
            f"layers: expected a relative depth from 0.0 (the first layer) to 1.0 (the last), got "
            f"{depth}."
        )
    return plan.distinct[round(depth * (len(plan.distinct) - 1))]


def _of_class(plan: Plan, kind: type) -> list[Layer]:
    found = [
        layer
        for layer in plan.layers
        if layer.module_class is not None and issubclass(layer.module_class, kind)
    ]
    readable = [layer for layer in found if not layer.left_out]
    if not readable:
        types = sorted({layer.module_type for layer in plan.layers})
        raise ValueError(
            f"layers: expected modules of class {kind.__name__}, {plan.model_uid} calls none that "
            f"can be read. It has {', '.join(types)}."
        )
    return readable


def _by_word(plan: Plan, word: str) -> Sequence[Layer]:
    if any(layer.name == word for layer in plan.layers):
        logger.warning(
            "layers=%r is taken as the word, not as the module of that name; for the module write "
            "%r.",
            word,
            f"{word[:-1]}[{word[-1]}]",
        )
    if word == "all":
        return plan.distinct
    if word == "penultimate":
        if not plan.penultimate:
            raise ValueError(f"layers: {plan.model_uid} has no layer before its last one.")
        return [plan[plan.penultimate]]
    attribute = {"leaves": "is_leaf", "blocks": "is_block"}[word]
    found = [layer for layer in plan.layers if getattr(layer, attribute) and not layer.left_out]
    if not found:
        other = "leaves" if word == "blocks" else "all"
        raise ValueError(
            f"layers: {plan.model_uid} has no {word} (no repeated module with parts of its own). "
            f"Use layers={other!r}, or names."
        )
    return found


def _by_name(plan: Plan, name: str) -> list[Layer]:
    found = [layer for layer in plan.layers if layer.name == name]
    found = found or [layer for layer in plan.layers if fnmatch.fnmatchcase(layer.name, name)]
    found = found or [layer for layer in plan.layers if layer.module_type == name]
    readable = [layer for layer in found if not layer.left_out]
    if readable:
        return readable
    if found:
        raise ValueError(
            f"layer {name!r} cannot be read: {found[0].left_out}."
            + (
                " Where you know better, name the axis of the stimuli by input_dim=."
                if "batch" in found[0].left_out
                else ""
            )
        )
    if name in plan.never_called:
        raise ValueError(
            f"layer {name!r} cannot be read: the forward pass never calls this module "
            f"(it may be fused into its parent). Choose its parent or a neighbour."
        )
    known = [layer.name for layer in plan.layers] + list(WORDS)
    raise unknown_name("layer", name, known, plan.hint)
