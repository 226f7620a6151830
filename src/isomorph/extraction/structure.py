"""What can be told from a model's modules alone: their names, and its repeated blocks."""

from __future__ import annotations

from collections import Counter

from torch import nn


def module_names(root: nn.Module) -> dict[nn.Module, str]:
    """Name every module once, by the first path that leads to it.

    A compiled part is named as what it holds; its wrapper is passed over.
    """
    names: dict[nn.Module, str] = {}
    for path, module in root.named_modules():
        if isinstance(getattr(module, "_orig_mod", None), nn.Module):
            continue
        parts = [part for part in path.split(".") if part != "_orig_mod"]
        names[module] = ".".join(parts)
    return names


def block_paths(root: nn.Module) -> frozenset[str]:
    """Find the repeated units of a model: residual blocks, transformer layers.

    A block is the outermost module with parts of its own whose class occurs more than once (a
    ResNet's ``layer1.0``, a transformer's ``encoder.layers.encoder_layer_0``). Containers
    (``Sequential``, ``ModuleList``) of such modules are looked into; so are modules that occur once
    and hold a container.

    Parameters
    ----------
    root : torch.nn.Module

    Returns
    -------
    frozenset of str
        Their paths; empty for a model that is no more than a chain of simple layers.
    """
    names = module_names(root)
    counts = Counter(type(module) for module in names)
    found: set[str] = set()

    def look(module: nn.Module) -> None:
        for child in module.children():
            if child not in names or not any(True for _ in child.children()):
                continue
            holds_parts = any(any(True for _ in part.children()) for part in child.children())
            container = isinstance(child, nn.Sequential | nn.ModuleList | nn.ModuleDict)
            if container and holds_parts:
                look(child)
            elif counts[type(child)] > 1 and type(child) not in (nn.Sequential, nn.ModuleList):
                found.add(names[child])
            elif _holds_container(child):
                look(child)

    look(root)
    return frozenset(found)


def _holds_container(module: nn.Module) -> bool:
    return any(
        isinstance(part, nn.Sequential | nn.ModuleList | nn.ModuleDict)
        for part in module.modules()
        if part is not module
    )
