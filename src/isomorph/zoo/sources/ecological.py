"""Source ``ecological``: networks trained on what people see, or on shape without texture.

Ecoset (Mehrer et al. 2021, PNAS): 565 kinds of things that people name often and that can be
touched; networks trained by the authors of THINGSvision. Stylized-ImageNet (Geirhos et al. 2019,
ICLR): every texture replaced by that of a painting.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn
from torchvision import models

from isomorph.zoo.preprocessing.image import ImagePreprocess
from isomorph.zoo.source import Loaded, Row, Source
from isomorph.zoo.tables.published import load_published, rows_of

NAME = "ecological"
N_ECOSET = 565


def rows() -> Iterator[Row]:
    """List the networks."""
    yield from rows_of(NAME)


def build(name: str) -> Loaded:
    """Build a network as it is before training."""
    return Loaded(_network(name), ImagePreprocess())


def load(name: str, weights: str, progress: bool) -> Loaded:
    """Load published weights, from torch's folder of checkpoints if they are there."""
    module = _network(name)
    load_published(module, NAME, name, weights, progress=progress)
    return Loaded(module, ImagePreprocess())


def _network(name: str) -> nn.Module:
    architecture, _, data = name.rpartition("_")
    options: dict[str, Any] = {"num_classes": N_ECOSET if data == "ecoset" else 1000}
    if architecture == "inception_v3":
        # Said, since torchvision warns of a change of its default.
        options |= {"init_weights": True}
    return models.get_model(architecture, weights=None, **options)


SOURCE = Source(
    name=NAME,
    summary="networks trained on Ecoset and on Stylized-ImageNet",
    rows=rows,
    build=build,
    load=load,
)
