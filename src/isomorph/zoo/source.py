"""`Source`: where models come from, and `Row`: what the catalogue says of one."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import nn

State = Mapping[str, torch.Tensor]

MODALITIES = ("vision", "language", "video", "vision-language", "audio")
FAMILIES = ("convolutional", "transformer", "hybrid", "recurrent", "mlp")
TASKS = (
    "classification",
    "multi-label classification",
    "video classification",
    "semantic segmentation",
    "object detection",
    "keypoint detection",
    "depth estimation",
    "self-supervised (contrastive)",
    "self-supervised (clustering)",
    "self-supervised (redundancy reduction)",
    "self-supervised (self-distillation)",
    "self-supervised (masked modelling)",
    "self-supervised (pretext task)",
    "image–text contrastive",
    "image–text generative",
    "causal language modelling",
    "masked language modelling",
    "text-to-text",
    "sentence embedding",
    "perceptual similarity",
    "mid-level vision",
    "other",
)


@dataclass(frozen=True)
class Row:
    """One weight set in the catalogue.

    Parameters
    ----------
    source, name, weights : str
        The parts of its uid, ``source/name@weights``.
    default : bool
        Whether ``source/name`` alone means these weights; true of one weight set a name.
    modality, family, task : str
        Of `MODALITIES`, `FAMILIES`, `TASKS`. The task is what the weights were trained on last.
    architecture : str
        The same word for the same network in every source and with any weights: ``resnet50``.
    train_data : str
        The data that the weights saw, the last first: ``ImageNet-1K``, ``LAION-2B``,
        ``ImageNet-1K, ImageNet-22K``.
    n_params : int or None
        Parameters of the module that is loaded: of a CLIP, those of one tower.
    input_size : int or None
        Height of the input in pixels, or the longest text in tokens.
    license : str
        SPDX identifier where there is one (``Apache-2.0``), else the publisher's word; empty if
        the publisher says nothing.
    weights_bytes : int or None
        Size of the file; where that is not published, of the state dict.
    url : str
        Where the weights come from, or a page that tells.
    """

    source: str
    name: str
    weights: str
    default: bool
    modality: str
    architecture: str
    family: str
    task: str
    train_data: str
    n_params: int | None = None
    input_size: int | None = None
    license: str = ""
    weights_bytes: int | None = None
    url: str = ""

    @property
    def uid(self) -> str:
        """``source/name@weights``."""
        return f"{self.source}/{self.name}@{self.weights}"


COLUMNS = ("uid", *(field.name for field in fields(Row)))


@dataclass(frozen=True)
class Loaded:
    """A module as a source gives it.

    Parameters
    ----------
    module : torch.nn.Module
    preprocess : callable or None
        As in `isomorph.Model`.
    forward : callable, optional
        As in `isomorph.Model`.
    label : str
        What the uid says of the weights where it is more than was asked for (a revision).
    """

    module: nn.Module
    preprocess: Callable[[Any], Any] | None
    forward: Callable[[nn.Module, Any], Any] | None = None
    label: str = ""


@dataclass(frozen=True)
class Source:
    """A library or a publisher that models come from; the plug-in of this room.

    Parameters
    ----------
    name : str
        The first part of its uids.
    summary : str
        One line for `isomorph doctor`.
    rows : callable
        ``rows() -> iterable of Row``: the catalogue's, without building or downloading a model.
    build : callable
        ``build(name) -> Loaded``: the architecture with its own initialisation and the
        preprocessing of its default weights. The random generators are seeded by the caller.
    load : callable
        ``load(name, weights, progress) -> Loaded``: published weights, which `rows` names.
    names : callable, optional
        ``names() -> iterable of str``: architectures that `build` knows; by default those of rows.
    library : str
        The optional library that it needs, by the name it is imported by; empty for none.
    extra : str
        The extra of isomorph that installs the library.
    adapt : callable, optional
        ``adapt(state, module) -> state``: brings the names of a file's weights into the module's.
    build_like : callable, optional
        ``build_like(name, weights) -> Loaded``: as `build`, with the head, the input size and the
        preprocessing of a published weight set: for a local file of these weights.
    normalise : callable, optional
        ``normalise(name, weights) -> (name, weights)``: other spellings of a name, for one that
        ``resnet50.a1_in1k`` is ``resnet50`` with the weights ``a1_in1k``.
    recognise : callable, optional
        ``recognise(module) -> Loaded or None``: for a module that the user made with this library,
        its preprocessing (and call), found from what the module carries; None if the
        module is none of this library's or carries nothing. Imports nothing that is not imported.
    fixed : bool
        Whether `rows` change only with the version of the library, so that they may be kept.
    open_ended : bool
        Whether names and weights beyond those of `rows` can be loaded too (a hub).
    """

    name: str
    summary: str
    rows: Callable[[], Iterable[Row]]
    build: Callable[[str], Loaded]
    load: Callable[[str, str, bool], Loaded]
    names: Callable[[], Iterable[str]] | None = None
    library: str = ""
    extra: str = "zoo"
    adapt: Callable[[State, nn.Module], State] | None = None
    build_like: Callable[[str, str], Loaded] | None = None
    normalise: Callable[[str, str], tuple[str, str]] | None = None
    recognise: Callable[[nn.Module], Loaded | None] | None = None
    fixed: bool = True
    open_ended: bool = False

    @property
    def installed(self) -> bool:
        """Whether its library is there; nothing is imported."""
        return not self.library or importlib.util.find_spec(self.library) is not None

    def need_library(self) -> None:
        """Raise an error that names the extra to install if its library is missing."""
        if not self.installed:
            raise ImportError(
                f"source {self.name}: expected the library {self.library}, which is not "
                f"installed. Run: pip install 'isomorph[{self.extra}]'."
            )
