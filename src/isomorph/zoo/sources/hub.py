"""Source ``hub``: self-supervised networks from the addresses at which their authors publish them.

DINO, DINOv2, SwAV, DeepCluster v2, SeLa v2, VICReg, VICRegL, Barlow Twins, MAE, MoCo, iBOT, I-JEPA,
and of VISSL's zoo SimCLR, PIRL, NPID, RotNet and Jigsaw. Heads that only the training needs
(projections, prototypes, predictors, mask tokens) are left out: a network ends in its features.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from isomorph.zoo.architectures.published_names import adapt
from isomorph.zoo.architectures.resnet_widened import resnet
from isomorph.zoo.architectures.vit_published import vision_transformer
from isomorph.zoo.preprocessing.image import ImagePreprocess
from isomorph.zoo.source import Loaded, Row, Source
from isomorph.zoo.tables.published import default_of, load_published, rows_of

NAME = "hub"
# The others' authors evaluate on pictures resized bilinearly.
_BICUBIC = ("dino_", "dinov2_", "mae_", "ibot_", "ijepa_")


def rows() -> Iterator[Row]:
    """List every method with every architecture and length of training."""
    yield from rows_of(NAME)


def build(name: str) -> Loaded:
    """Build a network as it is before training."""
    return Loaded(_network(name), _preprocess(name))


def load(name: str, weights: str, progress: bool) -> Loaded:
    """Load published weights, from torch's folder of checkpoints if they are there."""
    module = _network(name)
    load_published(module, NAME, name, weights, adapt=adapt, progress=progress)
    return Loaded(module, _preprocess(name))


def _network(name: str) -> nn.Module:
    architecture = default_of(NAME, name).row.architecture
    if architecture.startswith("resnet"):
        return resnet(architecture)
    return vision_transformer(architecture, classifier=name.startswith("mae_finetuned"))


def _preprocess(name: str) -> ImagePreprocess:
    size = default_of(NAME, name).row.input_size
    assert size is not None
    interpolation = "bicubic" if name.startswith(_BICUBIC) else "bilinear"
    return ImagePreprocess(size * 256 // 224, size, interpolation)


SOURCE = Source(
    name=NAME,
    summary="DINO, SwAV, MAE and other self-supervised networks, from their authors",
    rows=rows,
    build=build,
    load=load,
    library="timm",
    adapt=adapt,
)
