"""Source ``cornet``: CORnet-Z, R, RT and S, networks with one area for each of the brain's four."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import nn

from isomorph.zoo.architectures.cornet import cornet_r, cornet_rt, cornet_s, cornet_z
from isomorph.zoo.preprocessing.image import ImagePreprocess
from isomorph.zoo.source import Loaded, Row, Source
from isomorph.zoo.tables.published import load_published, rows_of

NAME = "cornet"
_BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "cornet_z": cornet_z,
    "cornet_r": cornet_r,
    "cornet_rt": cornet_rt,
    "cornet_s": cornet_s,
}


def rows() -> Iterator[Row]:
    """List the four."""
    yield from rows_of(NAME)


def build(name: str) -> Loaded:
    """Build a network as it is before training."""
    return Loaded(_BUILDERS[name](), ImagePreprocess())


def load(name: str, weights: str, progress: bool) -> Loaded:
    """Load published weights, from torch's folder of checkpoints if they are there."""
    module = _BUILDERS[name]()
    load_published(module, NAME, name, weights, progress=progress)
    return Loaded(module, ImagePreprocess())


SOURCE = Source(
    name=NAME,
    summary="CORnets, with areas V1, V2, V4 and IT (DiCarlo Lab)",
    rows=rows,
    build=build,
    load=load,
)
