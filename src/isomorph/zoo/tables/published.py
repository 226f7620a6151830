"""Checkpoints that publishers keep at addresses of their own: one table, one way to load them."""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources

from torch import nn

from isomorph.zoo.download import fetch_weights
from isomorph.zoo.source import Row, State
from isomorph.zoo.weights import fit_state_dict, read_state_dict

TABLE = "published.csv"


@dataclass(frozen=True)
class Published:
    """A checkpoint at its publisher's.

    Parameters
    ----------
    row : Row
        What the catalogue says of it.
    file_name : str
        Its name in the cache; the publisher's own, where that is not common to several.
    sha256 : str
        Of the file, or its first digits; empty where the publisher gives none.
    md5 : str
        The same, where the publisher gives this hash alone.
    seen_in : str
        Where the publisher gives address and hash.
    """

    row: Row
    file_name: str
    sha256: str
    md5: str
    seen_in: str


def rows_of(source: str) -> list[Row]:
    """List the catalogue's rows of a source."""
    return [entry.row for entry in published(source).values()]


@functools.cache
def published(source: str) -> Mapping[tuple[str, str], Published]:
    """Give the checkpoints of a source by name and weights."""
    return {
        (line["name"], line["weights"]): _entry(line)
        for line in _lines()
        if line["source"] == source
    }


def default_of(source: str, name: str) -> Published:
    """Give the default checkpoint of a name."""
    entries = published(source).values()
    return next(one for one in entries if one.row.name == name and one.row.default)


def load_published(
    module: nn.Module,
    source: str,
    name: str,
    weights: str,
    *,
    adapt: Callable[[State, nn.Module], State] | None = None,
    progress: bool = True,
) -> None:
    """Load published weights into a network, from the cache if they are there.

    Parameters
    ----------
    module : torch.nn.Module
        Changed in place.
    source, name, weights : str
    adapt : callable, optional
        ``adapt(state, module) -> state``: from the names in the file to those of the module.
    progress : bool
        Show the download.

    Raises
    ------
    FileNotFoundError, ConnectionError, OSError
        If the file is not here and cannot be had.
    ValueError
        If it is another file, or does not fit.
    """
    entry = published(source)[name, weights]
    file = fetch_weights(
        entry.row.url,
        entry.row.uid,
        sha256=entry.sha256,
        md5=entry.md5,
        file_name=entry.file_name,
        progress=progress,
    )
    state: State = read_state_dict(file)
    fit_state_dict(
        module,
        state if adapt is None else adapt(state, module),
        f"{file.name} into {source}/{name}",
    )


@functools.cache
def _lines() -> list[dict[str, str]]:
    file = resources.files("isomorph.zoo") / "tables" / TABLE
    lines = file.read_text(encoding="utf-8").splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def _entry(line: dict[str, str]) -> Published:
    row = Row(
        source=line["source"],
        name=line["name"],
        weights=line["weights"],
        default=line["default"] == "1",
        modality="vision",
        architecture=line["architecture"],
        family=line["family"],
        task=line["task"],
        train_data=line["train_data"],
        n_params=int(line["n_params"]),
        input_size=int(line["input_size"]),
        license=line["license"],
        weights_bytes=int(line["weights_bytes"]),
        url=line["url"],
    )
    return Published(row, line["file_name"], line["sha256"], line["md5"], line["seen_in"])
