"""Measure what timm and Keras do not publish: parameters and bytes of every network.

``python -m isomorph.zoo.tables.measure timm`` (or ``keras``) writes the table of the installed
version anew. Nothing is downloaded. timm's networks are built without values, on torch's ``meta``
device; those of Keras with random ones.
"""

from __future__ import annotations

import csv
import inspect
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm

logger = logging.getLogger(__name__)
HERE = Path(__file__).parent
Measured = tuple[str | int, ...]
COLUMNS = {
    "timm": ("timm_sizes.csv", "name", "n_params", "state_bytes"),
    "keras": ("keras.csv", "name", "n_params", "state_bytes", "input_size", "url"),
}


def measure_timm() -> Iterator[Measured]:
    """Build every network of timm, with the options of every weight set."""
    import timm

    for name in tqdm(timm.list_models(pretrained=True)):
        try:
            with torch.device("meta"):
                module = timm.create_model(name, pretrained=False)
        except Exception:
            logger.warning("%s cannot be built without values, and is left out", name)
            continue
        yield name, *size_of(module)


def measure_keras() -> Iterator[Measured]:
    """Build every network of keras.applications, and note which file it asks for."""
    from isomorph.zoo.architectures.keras_layers import KerasNetwork
    from isomorph.zoo.sources.keras import build_network, import_keras

    known = vars(import_keras().applications)
    for name in tqdm(sorted(name for name, value in known.items() if inspect.isfunction(value))):
        asked: list[Any] = []
        try:
            network = build_network(name, lambda one, asked=asked: asked.append(one) or "")
        except ValueError as error:
            logger.warning("%s is left out: %s", name, error)
            continue
        yield name, *size_of(KerasNetwork(network)), network.input_shape[1], asked[0].url


def size_of(module: nn.Module) -> tuple[int, int]:
    """Count the parameters of a network, and the bytes of its state dict."""
    n_params = sum(parameter.numel() for parameter in module.parameters())
    state = module.state_dict().values()
    return n_params, sum(value.numel() * value.element_size() for value in state)


def write(library: str, measure: Callable[[], Iterator[Measured]]) -> Path:
    """Write the table of a library."""
    name, *columns = COLUMNS[library]
    file = HERE / name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = sorted(measure())
    with file.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(columns)
        rows.writerows(found)
    return file


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    for word in sys.argv[1:]:
        logger.info("%s", write(word, {"timm": measure_timm, "keras": measure_keras}[word]))
