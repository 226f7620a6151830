"""Every source there is: ours, those of installed plug-ins, and models registered by hand."""

from __future__ import annotations

import functools
from importlib import import_module
from importlib.metadata import entry_points

from isomorph.registry import Registry
from isomorph.zoo.source import Source

ENTRY_POINTS = "isomorph.sources"
OURS = (
    "torchvision",
    "timm",
    "keras",
    "own",
    "open_clip",
    "clip",
    "transformers",
    "sentence_transformers",
    "hub",
    "ipcl",
    "cornet",
    "taskonomy",
    "robust",
    "ecological",
    "dreamsim",
)


class Sources(Registry[Source]):
    """The registry of sources."""

    def __init__(self) -> None:
        super().__init__("model source", "list_models() shows them all.")


@functools.cache
def model_sources() -> Sources:
    """Give the registry, filled once: our own sources, then those that plug-ins bring.

    A distribution adds a source by an entry point of the group ``isomorph.sources`` that names a
    `Source`.
    """
    found = Sources()
    for name in OURS:
        found.add(name, import_module(f"isomorph.zoo.sources.{name}").SOURCE)
    for point in entry_points(group=ENTRY_POINTS):
        source = point.load()
        if not isinstance(source, Source):
            raise TypeError(
                f"entry point {point.name} of {ENTRY_POINTS}: expected a Source, got "
                f"{type(source).__name__} ({point.value}). Mend or uninstall that distribution."
            )
        found.add(source.name, source)
    return found
