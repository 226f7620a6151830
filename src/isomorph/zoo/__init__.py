"""The catalogue of models, and their sources."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isomorph.zoo.catalogue import list_models as list_models
    from isomorph.zoo.contrast_sets import contrasts as contrasts
    from isomorph.zoo.heads import ResidualHead as ResidualHead
    from isomorph.zoo.heads import add_head as add_head
    from isomorph.zoo.human_aligned import glocal as glocal
    from isomorph.zoo.load import load_model as load_model
    from isomorph.zoo.preprocessing.image import ImagePreprocess as ImagePreprocess
    from isomorph.zoo.recognise import as_model as as_model
    from isomorph.zoo.registered import model_sources as model_sources
    from isomorph.zoo.source import Loaded as Loaded
    from isomorph.zoo.source import Row as Row
    from isomorph.zoo.source import Source as Source
    from isomorph.zoo.sources.own import register_model as register_model

# Each name is imported when it is first used: whoever only asks the catalogue waits neither for
# torchvision nor for the extraction.
_FILE_OF = {
    "ImagePreprocess": "preprocessing.image",
    "Loaded": "source",
    "ResidualHead": "heads",
    "Row": "source",
    "Source": "source",
    "add_head": "heads",
    "as_model": "recognise",
    "contrasts": "contrast_sets",
    "glocal": "human_aligned",
    "list_models": "catalogue",
    "load_model": "load",
    "model_sources": "registered",
    "register_model": "sources.own",
}
__all__ = [*_FILE_OF]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _FILE_OF:
        found = getattr(_import_module(f"isomorph.zoo.{_FILE_OF[name]}"), name)
        # A submodule of the same name would take the name's place when it is imported.
        globals()[name] = found
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
