"""`list_models` and `load_model`: every model by one name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from isomorph.extraction import Model
from isomorph.registry import Registry, unknown_name
from isomorph.zoo import torchvision
from isomorph.zoo.uid import parse_uid


@dataclass(frozen=True)
class Source:
    """A library that models come from.

    Parameters
    ----------
    name : str
        The first part of its uids.
    rows : callable
        Gives the catalogue's rows without building or downloading a model.
    names : callable
        Gives the names of its architectures.
    load : callable
        ``load(name: ModelName, weights, seed, progress=)`` gives a `Model`; `weights` is None for
        a random twin, a Path for a file, else the name of a weight set or ``"default"``.
    """

    name: str
    rows: Callable[[], list[dict[str, Any]]]
    names: Callable[[], list[str]]
    load: Callable[..., Model]


SOURCES: Registry[Source] = Registry("model source", "list_models() shows them all.")
SOURCES.add(
    torchvision.SOURCE,
    Source(torchvision.SOURCE, torchvision.rows, torchvision.names, torchvision.load),
)


def list_models(**equal_to: Any) -> pd.DataFrame:
    """List the models that can be loaded, one row for each published weight set.

    Every row is also there as its random twin: ``load_model(uid, weights=None)``.

    Parameters
    ----------
    **equal_to
        Column = value, to keep only such rows: ``source="torchvision"``, ``name="alexnet"``.

    Returns
    -------
    pandas.DataFrame
        Columns ``uid source name weights default modality task train_data n_params input_size
        weights_bytes url``. Nothing is downloaded or built.

    Examples
    --------
    >>> list_models(name="alexnet").uid.tolist()
    ['torchvision/alexnet@IMAGENET1K_V1']
    """
    frame = pd.DataFrame([row for source in SOURCES.values() for row in source.rows()])
    for column, value in equal_to.items():
        if column not in frame:
            raise unknown_name("column of list_models()", column, frame.columns)
        frame = frame[frame[column] == value]
    return frame.reset_index(drop=True)


def load_model(
    uid: str,
    weights: str | Path | None = "default",
    *,
    seed: int = 0,
    progress: bool = True,
) -> Model:
    """Load a model with its weights and its own preprocessing.

    Parameters
    ----------
    uid : str
        ``source/name`` or ``source/name@weights``: ``torchvision/alexnet``,
        ``torchvision/alexnet@IMAGENET1K_V1``, ``torchvision/alexnet@random-3``.
    weights : str, Path or None
        ``"default"`` (what the uid says, or the source's default), the name of a published weight
        set, a local ``.safetensors`` or ``.pth`` file, or None for the random twin: the
        architecture's own initialisation from `seed`.
    seed : int
        For the random twin.
    progress : bool
        Show the download.

    Returns
    -------
    Model
        In evaluation mode; unpacks as ``module, preprocess``. Its ``uid`` names the weights.

    Raises
    ------
    UnknownNameError
        If there is no such source, model or weight set; gives the nearest.
    FileNotFoundError
        If the weights are not here and cannot be downloaded; says where to put the file.
    ValueError
        If a file's weights do not fit the architecture; lists the differences.

    Examples
    --------
    >>> load_model("torchvision/squeezenet1_0", weights=None, seed=1).uid
    'torchvision/squeezenet1_0@random-1'
    """
    asked = parse_uid(uid)
    source = SOURCES[asked.source]
    if weights == "default" and asked.random_seed is not None:
        return source.load(asked, None, asked.random_seed, progress=progress)
    if weights == "default" and asked.weights:
        return source.load(asked, asked.weights, seed, progress=progress)
    if isinstance(weights, str) and weights != "default" and _is_file(weights):
        weights = Path(weights)
    if weights != "default" and asked.weights:
        raise ValueError(
            f"model: give weights once: {uid!r} names some, weights={str(weights)!r} others."
        )
    return source.load(asked, weights, seed, progress=progress)


def _is_file(weights: str) -> bool:
    path = Path(weights)
    return path.suffix in {".safetensors", ".pth", ".pt", ".bin", ".ckpt"} or path.is_file()
