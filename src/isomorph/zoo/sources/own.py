"""Source ``own``: models that the user registers, to be found by name like all others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from isomorph.zoo.source import COLUMNS, Loaded, Row, Source

NAME = "own"
TRAINED = "trained"
Maker = Callable[[], nn.Module]
_SET_HERE = {"uid", "source", "name", "weights", "default"}


@dataclass(frozen=True)
class _Own:
    row: Row
    load: Maker | None
    build: Maker | None
    preprocess: Callable[[Any], Any] | None
    forward: Callable[[nn.Module, Any], Any] | None


_registered: dict[str, _Own] = {}


def register_model(
    name: str,
    load: Maker | None = None,
    *,
    build: Maker | None = None,
    preprocess: Callable[[Any], Any] | None = None,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    **columns: Any,
) -> str:
    """Add a model of one's own to the catalogue, for this process.

    Parameters
    ----------
    name : str
        What comes after ``own/`` in its uid.
    load : callable, optional
        Makes the trained network: ``load() -> torch.nn.Module``. Called when it is asked for.
    build : callable, optional
        Makes the network as it is before training, for the random twin and for weights from files.
    preprocess, forward : callable, optional
        As in `isomorph.Model`.
    **columns
        What the catalogue says of it: ``task="classification"``, ``train_data="Ecoset"``, … By
        default ``modality="vision"``, and the name as architecture.

    Returns
    -------
    str
        Its uid, for `load_model`.

    Raises
    ------
    ValueError
        If neither `load` nor `build` is given, the name is taken or holds an ``@``.
    TypeError
        If a column does not exist.

    Notes
    -----
    Other processes (of a sweep) do not know it. A package that others install brings its models by
    an entry point of the group ``isomorph.sources`` that names a `Source`.

    Examples
    --------
    >>> register_model("tiny", build=lambda: nn.Linear(4, 2), task="other")
    'own/tiny@random-0'
    """
    if load is None and build is None:
        raise ValueError(
            f"register_model({name!r}): expected load= (gives the trained module) or build= (gives "
            f"the untrained one), got neither."
        )
    if not name or "@" in name:
        raise ValueError(f"register_model: expected a name without '@', got {name!r}.")
    if name in _registered:
        raise ValueError(f"register_model: {name!r} is already registered. Choose another name.")
    unknown = [column for column in columns if column not in COLUMNS or column in _SET_HERE]
    if unknown:
        known = ", ".join(column for column in COLUMNS if column not in _SET_HERE)
        raise TypeError(f"register_model: no column {unknown[0]!r}. There are {known}.")
    plain = {"modality": "vision", "architecture": name, "family": "", "task": "other"}
    facts: dict[str, Any] = {**plain, "train_data": "", **columns}
    row = Row(source=NAME, name=name, weights=TRAINED, default=True, **facts)
    _registered[name] = _Own(row, load, build, preprocess, forward)
    return row.uid if load is not None else f"{NAME}/{name}@random-0"


def rows() -> list[Row]:
    """List the trained ones."""
    return [own.row for own in _registered.values() if own.load is not None]


def names() -> list[str]:
    """Name all of them."""
    return list(_registered)


def build(name: str) -> Loaded:
    """Make a network as it is before training."""
    own = _registered[name]
    if own.build is None:
        raise ValueError(
            f"{NAME}/{name}: expected build=, which gives the untrained network, in "
            f"register_model(); it has none, and so there is no random twin."
        )
    return Loaded(own.build(), own.preprocess, own.forward)


def load(name: str, weights: str, progress: bool) -> Loaded:
    """Make a trained network."""
    own = _registered[name]
    assert own.load is not None
    return Loaded(own.load(), own.preprocess, own.forward)


SOURCE = Source(
    name=NAME,
    summary="models that register_model() added",
    rows=rows,
    build=build,
    load=load,
    names=names,
    fixed=False,
)
