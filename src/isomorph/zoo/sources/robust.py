"""Source ``robust``: ImageNet networks trained on adversarial pictures, by how strong these were.

Salman, Ilyas et al. (2020), NeurIPS. ``l2_eps3`` was trained on pictures changed by at most 3 in
Euclidean length (pixel values 0 to 1), ``linf_eps4.0`` by at most 4/255 at any pixel; ``l2_eps0``
is trained without.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torchvision import models

from isomorph.zoo.preprocessing.image import ImagePreprocess
from isomorph.zoo.source import Loaded, Row, Source, State
from isomorph.zoo.tables.published import load_published, rows_of

NAME = "robust"
# Parts of the training that the files hold too: the attacker has the network once more.
_TRAINING = ("attacker.", "normalizer.", "normalize.")


def rows() -> Iterator[Row]:
    """List every architecture with each strength of the attack."""
    yield from rows_of(NAME)


def build(name: str) -> Loaded:
    """Build an architecture as it is before training."""
    return Loaded(_network(name), ImagePreprocess())


def load(name: str, weights: str, progress: bool) -> Loaded:
    """Load published weights, from torch's folder of checkpoints if they are there."""
    module = _network(name)
    load_published(module, NAME, name, weights, adapt=adapt, progress=progress)
    return Loaded(module, ImagePreprocess())


def adapt(state: State, module: nn.Module) -> State:
    """Keep the network out of the model that was attacked."""
    plain = {name.removeprefix("module."): value for name, value in state.items()}
    if not any(name.startswith(_TRAINING) for name in plain):
        return state
    network = {name: value for name, value in plain.items() if not name.startswith(_TRAINING)}
    # Once for the attacked model, once more around networks that are torchvision's own.
    while network and all(name.startswith("model.") for name in network):
        network = {name.removeprefix("model."): value for name, value in network.items()}
    return network


def _network(name: str) -> nn.Module:
    if name == "wide_resnet50_4":
        block = models.resnet.Bottleneck
        return models.ResNet(block, [3, 4, 6, 3], width_per_group=256)
    return models.get_model(name, weights=None)


SOURCE = Source(
    name=NAME,
    summary="adversarially trained ImageNet networks (Madry Lab)",
    rows=rows,
    build=build,
    load=load,
    adapt=adapt,
)
