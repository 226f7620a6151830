"""`load_model`: one name → the model with its own preprocessing."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from isomorph.extraction import Model, hash_state_dict
from isomorph.registry import unknown_name
from isomorph.storage import hash_file
from isomorph.zoo.registered import model_sources
from isomorph.zoo.source import Loaded, Row, Source, State
from isomorph.zoo.uid import ModelName, parse_uid
from isomorph.zoo.weights import fit_state_dict, read_state_dict

_GENERATORS = threading.RLock()
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
        do where one source has it. With weights from a file, a state dict or None, the weight set
        that it names says which head, input size and preprocessing the network has.
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
    if not isinstance(uid, str):
        raise TypeError(
            f"model: expected a name such as 'torchvision/alexnet', got {type(uid).__name__}. A "
            f"module of your own: isomorph.Model(module, preprocess)."
        )
    asked = _in_one_source(uid)
    source = _source(asked)
    source.need_library()
    if source.normalise is not None:
        asked = ModelName(source.name, *source.normalise(asked.name, asked.weights))
    rows = [row for row in source.rows() if row.name == asked.name]
    _check_name(source, asked.name, rows)
    known = {row.weights: row.default for row in rows}
    like = asked.weights if asked.random_seed is None else asked.random_like
    if isinstance(weights, str) and weights == "default":
        if asked.random_seed is None:
            weights = asked.weights or "default"
        else:
            weights, seed = None, asked.random_seed
    else:
        weights = _given(weights, known, uid, asked)
    told = like in known or source.open_ended
    if like and not told and not isinstance(weights, str):
        raise unknown_name(f"weights of {source.name}/{asked.name}", like, known)
    # What the default is like, `build` gives.
    like = "" if known.get(like, True) else like
    if isinstance(weights, str):
        loaded, label = _published(source, asked.name, weights, known, progress)
    else:
        loaded, label = _built(source, asked.name, like, weights, seed)
    return Model(
        module=loaded.module.eval(),
        preprocess=loaded.preprocess,
        forward=loaded.forward,
        uid=str(ModelName(source.name, asked.name, label)),
    )


def _given(weights: Any, known: Mapping[str, bool], uid: str, asked: ModelName) -> Any:
    """Check what the user gave as weights: a published name, a file or folder, or tensors."""
    if isinstance(weights, str) and weights not in known:
        path = Path(weights).expanduser()
        if path.is_dir():
            return str(path.absolute())  # a source that reads folders knows them by their path
        weights = path if path.suffix in SUFFIXES or path.is_file() else weights
    elif isinstance(weights, Path):
        path = weights.expanduser()
        weights = str(path.absolute()) if path.is_dir() else path
    if isinstance(weights, nn.Module) or not isinstance(weights, str | Path | Mapping | None):
        raise TypeError(
            f"weights: expected 'default', a published name, a file, a state dict or None, got "
            f"{type(weights).__name__}. Of a module, give module.state_dict()."
        )
    # A file of published weights is built as these are; another published name contradicts.
    if asked.weights and isinstance(weights, str) and not Path(weights).is_dir():
        raise ValueError(
            f"model: give weights once: {uid!r} names some, weights={weights!r} others."
        )
    return weights


def _published(
    source: Source, name: str, weights: str, known: Mapping[str, bool], progress: bool
) -> tuple[Loaded, str]:
    """Load published weights, with the label that the uid gives them."""
    if weights == "default":
        weights = next((label for label, default in known.items() if default), "")
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
    source: Source, name: str, like: str, weights: Path | State | None, seed: int
) -> tuple[Loaded, str]:
    """Build the architecture, with its own initialisation or given weights, and their label.

    `like` names the published weights whose head, input size and preprocessing it has.
    """
    # Read first: a file that cannot be read costs no building.
    state = read_state_dict(weights) if isinstance(weights, Path) else weights
    as_published = source.build_like if like else None
    with seeded(seed):
        loaded = as_published(name, like) if as_published is not None else source.build(name)
    if state is None:
        return loaded, f"random-{seed}" + (f"-{like}" if as_published is not None else "")
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


def _source(asked: ModelName) -> Source:
    if asked.source not in model_sources():
        hint = f"A model of the Hugging Face hub is named hf/{asked.source}/{asked.name}."
        raise unknown_name("model source", asked.source, model_sources(), hint)
    return model_sources()[asked.source]


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


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed every generator that an initialisation may draw from, and put them back afterwards.

    Weights are drawn on the CPU and in float32, whatever the caller's defaults: its generators give
    the same numbers on every machine (up to the last bit, where processors round another way).
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**63:
        raise ValueError(f"seed: expected a whole number from 0, got {seed!r}.")
    # The generators are the process's: two threads must not draw from them in turns.
    with _GENERATORS, contextlib.ExitStack() as stack:
        stack.callback(random.setstate, random.getstate())
        stack.callback(np.random.set_state, np.random.get_state())  # noqa: NPY002
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        stack.enter_context(torch.random.fork_rng(devices=[]))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.device("cpu"))
        torch.set_default_dtype(torch.float32)
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        yield
