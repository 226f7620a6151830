"""`load_model`: one name → the model with its own preprocessing."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from isomorph.extraction import Model, describe_callable, hash_state_dict
from isomorph.registry import unknown_name
from isomorph.storage import hash_file
from isomorph.zoo.registered import model_sources
from isomorph.zoo.source import Loaded, Row, Source, State
from isomorph.zoo.uid import ModelName, parse_uid
from isomorph.zoo.weights import fit_state_dict, read_state_dict

SUFFIXES = {".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar", ".torch"}


def load_model(
    uid: str,
    weights: str | Path | State | None = "default",
    *,
    seed: int = 0,
    progress: bool = True,
) -> Model:
    """Load a model with its weights and its own preprocessing.

    Parameters
    ----------
    uid : str
        ``source/name`` or ``source/name@weights``: ``torchvision/alexnet``,
        ``torchvision/alexnet@IMAGENET1K_V1``, ``torchvision/alexnet@random-3``. A name alone will
        do where one source has it.
    weights : str, Path, mapping or None
        ``"default"`` (what the uid says, or the source's default), the name of a published weight
        set, a local ``.safetensors`` or ``.pth`` file, a state dict, or None for the random twin:
        the architecture's own initialisation from `seed`.
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
    ImportError
        If the source's library is not installed; names the extra that installs it.
    FileNotFoundError
        If the weights are not here and cannot be downloaded; says where to put the file.
    ValueError
        If weights do not fit the architecture; lists the differences.

    Examples
    --------
    >>> load_model("torchvision/squeezenet1_0", weights=None, seed=1).uid
    'torchvision/squeezenet1_0@random-1'
    """
    asked = _in_one_source(uid)
    source = model_sources()[asked.source]
    source.need_library()
    if source.normalise is not None:
        asked = ModelName(source.name, *source.normalise(asked.name, asked.weights))
    if not isinstance(weights, str) or weights != "default":
        if asked.weights:
            given = weights if isinstance(weights, str | Path | None) else "a state dict"
            raise ValueError(
                f"model: give weights once: {uid!r} names some, weights={given!r} others."
            )
    elif asked.random_seed is not None:
        weights, seed = None, asked.random_seed
    else:
        weights = asked.weights or "default"
    if isinstance(weights, Path) and weights.is_dir():
        weights = str(weights)  # a source that reads folders knows them by name
    if isinstance(weights, str) and _is_file(weights):
        weights = Path(weights)
    rows = [row for row in source.rows() if row.name == asked.name]
    _check_name(source, asked.name, rows)
    if isinstance(weights, str):
        loaded, label = _published(source, asked.name, weights, rows, progress)
    else:
        loaded, label = _built(source, asked.name, weights, seed)
    return Model(
        module=loaded.module.eval(),
        preprocess=loaded.preprocess,
        forward=loaded.forward,
        uid=str(ModelName(source.name, asked.name, label)),
        preprocess_spec=describe_callable(loaded.preprocess) if loaded.preprocess else "",
    )


def _published(
    source: Source, name: str, weights: str, rows: list[Row], progress: bool
) -> tuple[Loaded, str]:
    """Load published weights, with the label that the uid gives them."""
    known = [row.weights for row in rows]
    if weights == "default":
        weights = next((row.weights for row in rows if row.default), "")
        if not weights and not source.open_ended:
            raise ValueError(
                f"{source.name}/{name}: expected published weights, and there are none. "
                f"weights=None gives the random twin; a local file is named by weights=FILE."
            )
    elif weights not in known and not source.open_ended:
        raise unknown_name(
            f"weights of {source.name}/{name}",
            weights,
            known,
            "weights=None gives the random twin; a local file is named by its path.",
        )
    loaded = source.load(name, weights, progress)
    return loaded, loaded.label or weights


def _built(
    source: Source, name: str, weights: Path | State | None, seed: int
) -> tuple[Loaded, str]:
    """Build the architecture, with its own initialisation or given weights, and their label."""
    # Read first: a file that cannot be read costs no building.
    state = read_state_dict(weights) if isinstance(weights, Path) else weights
    with seeded(seed):
        loaded = source.build(name)
    if state is None:
        return loaded, f"random-{seed}"
    what = weights.name if isinstance(weights, Path) else "the state dict"
    adapt = source.adapt
    fit_state_dict(
        loaded.module,
        state if adapt is None else adapt(state, loaded.module),
        f"{what} into {source.name}/{name}",
    )
    if isinstance(weights, Path):
        return loaded, f"file-{hash_file(weights)[:8]}"
    return loaded, f"state-{hash_state_dict(loaded.module.state_dict())[:8]}"


def _in_one_source(uid: str) -> ModelName:
    """Take a uid apart; a name without a source is looked for in all of them."""
    if "/" in uid:
        return parse_uid(uid)
    name, _, weights = uid.partition("@")
    there: dict[str, list[str]] = {source.name: _names(source) for source in _installed()}
    found = [source for source, names in there.items() if name in names]
    if len(found) == 1:
        return ModelName(found[0], name, weights)
    if found:
        words = " or ".join(f"{source}/{name}" for source in found)
        raise ValueError(f"model: {uid!r} is in {len(found)} sources. Say {words}.")
    known = [f"{source}/{name}" for source, names in there.items() for name in names]
    known += [name for names in there.values() for name in names]
    raise unknown_name("model", name, known, "list_models() shows them all.")


def _installed() -> list[Source]:
    return [source for source in model_sources().values() if source.installed]


def _names(source: Source) -> list[str]:
    if source.names is not None:
        return list(source.names())
    return list(dict.fromkeys(row.name for row in source.rows()))


def _check_name(source: Source, name: str, rows: list[Row]) -> None:
    if rows or source.open_ended:
        return
    names = _names(source)
    if name not in names:
        hint = f"list_models(source={source.name!r}) shows them all."
        raise unknown_name(f"{source.name} model", name, names, hint)


def _is_file(weights: str) -> bool:
    path = Path(weights)
    return path.suffix in SUFFIXES or path.is_file()


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed every generator that an initialisation may draw from, and put them back afterwards.

    Weights are drawn on the CPU, whose generators give the same numbers on every machine.
    """
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
