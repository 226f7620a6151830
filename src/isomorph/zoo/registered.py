"""Every source there is: ours, those of installed plug-ins, and models registered by hand."""

from __future__ import annotations

import functools
import logging
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from isomorph.registry import Registry

if TYPE_CHECKING:
    from isomorph.zoo.source import Source

logger = logging.getLogger(__name__)

ENTRY_POINTS = "isomorph.sources"
# Ours, in the catalogue's order, each with what its rows depend on: the optional library that must
# be there, and the distribution whose version they follow. Said here, so that a catalogue that is
# kept can be read without importing a single source.
OURS: dict[str, tuple[str, str]] = {
    "torchvision": ("", "torchvision"),
    "timm": ("timm", "timm"),
    "keras": ("keras", "keras"),
    "open_clip": ("open_clip", "open_clip_torch"),
    "clip": ("open_clip", "open_clip_torch"),
    "transformers": ("transformers", "transformers"),
    "sentence_transformers": ("sentence_transformers", "sentence-transformers"),
    "hub": ("timm", ""),
    "ipcl": ("", ""),
    "cornet": ("", ""),
    "taskonomy": ("", ""),
    "robust": ("", ""),
    "ecological": ("", ""),
    "dreamsim": ("timm", ""),
    "own": ("", ""),
}


@functools.cache
def plug_ins() -> tuple[EntryPoint, ...]:
    """List what other distributions bring; nothing is imported."""
    return tuple(entry_points(group=ENTRY_POINTS))


@functools.cache
def model_sources() -> Registry[Source]:
    """Give the registry, filled once: our own sources, then those that plug-ins bring.

    A distribution adds a source by an entry point of the group ``isomorph.sources`` that names a
    `Source`.
    """
    from isomorph.zoo.source import Source

    found: Registry[Source] = Registry("model source", "list_models() shows them all.")
    for name in OURS:
        found.add(name, import_module(f"isomorph.zoo.sources.{name}").SOURCE)
    for point in plug_ins():
        try:
            source = point.load()
        except Exception as error:  # the others are still to be had
            logger.warning(
                "source %s, which another distribution brings (%s), is left out: %s: %s",
                *(point.name, point.value, type(error).__name__, error),
            )
            continue
        if not isinstance(source, Source) or source.name in found:
            got = "a name that is taken" if isinstance(source, Source) else type(source).__name__
            logger.warning(
                "entry point %s of %s is left out: expected a Source with a name of its own, got "
                "%s (%s). Mend or uninstall that distribution.",
                *(point.name, ENTRY_POINTS, got, point.value),
            )
            continue
        found.add(source.name, source)
    return found
