"""Source ``ipcl``: instance-prototype contrastive learning, of the Vision Sciences Lab at Harvard.

One architecture, trained with and without labels on objects, places and faces.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from isomorph.zoo.architectures.alexnet_gn import AlexNetGN
from isomorph.zoo.preprocessing.image import ImagePreprocess
from isomorph.zoo.source import Loaded, Row, Source
from isomorph.zoo.tables.published import default_of, load_published, rows_of

NAME = "ipcl"
# Trained on other data than ImageNet ("diets"), or as these were.
_GREY = {"imagenet1k_diet", "openimagesv6", "places2", "vggface2", "mixedx1", "mixedx3"}
_GREY |= {"augset2", "augset2_rep1"}


def rows() -> Iterator[Row]:
    """List the fifteen networks of the publication."""
    yield from rows_of(NAME)


def build(name: str) -> Loaded:
    """Build the network as it is before training."""
    return Loaded(_network(name), _preprocess(default_of(NAME, name).row.weights))


def load(name: str, weights: str, progress: bool) -> Loaded:
    """Load published weights, from torch's folder of checkpoints if they are there."""
    module = _network(name)
    load_published(module, NAME, name, weights, progress=progress)
    return Loaded(module, _preprocess(weights))


def _network(name: str) -> nn.Module:
    if name == "alexnet_gn_supervised":
        return AlexNetGN(1000, unit_length=False)
    return AlexNetGN()


def _preprocess(weights: str) -> ImagePreprocess:
    # The authors' for stimuli: nothing of the shorter side is cut. (They validate on ImageNet with
    # resize=256.)
    if weights in _GREY:
        return ImagePreprocess(resize=224, crop=224, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
    return ImagePreprocess(resize=224, crop=224)


SOURCE = Source(
    name=NAME,
    summary="AlexNet-GN by instance-prototype contrastive learning (Harvard)",
    rows=rows,
    build=build,
    load=load,
)
