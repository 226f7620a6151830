"""Source ``taskonomy``: one encoder trained on twenty-five visual tasks, on the same pictures."""

from __future__ import annotations

from collections.abc import Iterator

from isomorph.zoo.architectures.taskonomy import TaskonomyEncoder
from isomorph.zoo.preprocessing.image import ImagePreprocess
from isomorph.zoo.source import Loaded, Row, Source
from isomorph.zoo.tables.published import load_published, rows_of

NAME = "taskonomy"
# Pixel values from -1 to 1.
PREPROCESS = ImagePreprocess(resize=256, crop=256, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def rows() -> Iterator[Row]:
    """List an encoder for each task."""
    yield from rows_of(NAME)


def build(name: str) -> Loaded:
    """Build the encoder as it is before training."""
    return Loaded(TaskonomyEncoder(), PREPROCESS)


def load(name: str, weights: str, progress: bool) -> Loaded:
    """Load the encoder of a task, from torch's folder of checkpoints if it is there."""
    module = TaskonomyEncoder()
    load_published(module, NAME, name, weights, progress=progress)
    return Loaded(module, PREPROCESS)


SOURCE = Source(
    name=NAME,
    summary="Taskonomy's encoders, one for each of 25 tasks",
    rows=rows,
    build=build,
    load=load,
)
