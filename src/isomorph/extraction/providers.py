"""Where preprocessed stimuli come from, by position."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import torch

from isomorph.extraction.batches import batch_size_of, take
from isomorph.extraction.loaders import LoadedStimuli, hash_item, is_loadable, same_item
from isomorph.extraction.model import Batch, Model
from isomorph.extraction.tokens import TokenisedTexts
from isomorph.stimuli import as_stimuli

logger = logging.getLogger(__name__)

# A transform that flips every other stimulus gives the first one another way round in 7 of 8 times.
_LOADS = 4


class Provider(Protocol):
    """Preprocessed stimuli by position."""

    stimuli: Any
    ids: tuple[str, ...]
    groups: tuple[Any, ...] | None
    origin: str

    def item(self, i: int) -> torch.Tensor | Mapping[str, torch.Tensor]: ...

    def content_hashes(self) -> tuple[str, ...]: ...


def provide_stimuli(model: Model, stimuli: Any, on_error: str) -> tuple[Provider, tuple[str, ...]]:
    """Make a provider of whatever holds stimuli, and name the stimuli that are left out.

    Parameters
    ----------
    model : Model
        Whose preprocessing to apply.
    stimuli
        What `Inputs` takes.
    on_error : {"raise", "skip"}
        With ``"skip"`` every stimulus is loaded once, and those that cannot be are left out.

    Raises
    ------
    ValueError
        If there is nothing to load, or if a stimulus is another tensor each time it is loaded.
    """
    _refuse_loose_tensors(stimuli)
    if isinstance(stimuli, torch.Tensor) or (
        isinstance(stimuli, Mapping)
        and stimuli
        and all(isinstance(value, torch.Tensor) for value in stimuli.values())
    ):
        return TensorStimuli(stimuli), ()
    if is_loadable(stimuli):
        loaded = LoadedStimuli(model, stimuli)
        broken = _broken(loaded) if on_error == "skip" else []
        skipped = tuple(loaded.ids[i] for i in broken)
        loaded.without(broken)
        loaded.check_company()
        _check_fixed(loaded)
        return loaded, skipped
    chosen = as_stimuli(stimuli)
    if model.preprocess is None:
        raise ValueError(
            f"{model.uid}: expected a preprocess= to turn stimuli into inputs, got none. Give "
            f"Model(module, preprocess), let isomorph.as_model(module) find what modules of known "
            f"libraries carry, or pass the stimuli as one preprocessed tensor."
        )
    if len(chosen) == 0:
        raise ValueError("stimuli: expected one or more, got none.")
    texts, skipped = chosen.kind == "text", ()
    if on_error != "skip":
        chosen.check()
    else:
        broken = (
            list(chosen.broken(progress=False))
            if texts
            else _broken(PreprocessedStimuli(model, chosen))
        )
        skipped = tuple(chosen.ids[i] for i in broken)
        if len(broken) == len(chosen):
            raise ValueError(f"stimuli: none of the {len(chosen)} can be decoded.")
        gone = set(broken)
        chosen = chosen.subset([i for i in range(len(chosen)) if i not in gone])
    if texts:
        return TokenisedTexts(model, chosen), skipped
    provider = PreprocessedStimuli(model, chosen)
    _check_fixed(provider)
    return provider, skipped


def _refuse_loose_tensors(stimuli: Any) -> None:
    several = isinstance(stimuli, list | tuple) and bool(stimuli)
    if several and all(isinstance(one, torch.Tensor) for one in stimuli):
        raise TypeError(
            f"stimuli: expected one tensor of preprocessed inputs, first axis stimuli, got "
            f"{len(stimuli)} tensors. Stack them: torch.stack(stimuli)."
        )
    if isinstance(stimuli, np.ndarray) and stimuli.dtype.kind in "fc":
        raise TypeError(
            f"stimuli: expected images as uint8, or preprocessed inputs as a tensor, got an array "
            f"of {stimuli.dtype}. Give torch.from_numpy(stimuli) if it is what the model takes."
        )


def _broken(provider: Provider) -> list[int]:
    """Load every stimulus once, and give the positions of those that cannot be."""

    def reason(i: int) -> str:
        try:
            provider.item(i)
        except (ValueError, OSError) as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(thread_name_prefix="isomorph-check") as pool:
        reasons = list(pool.map(reason, range(len(provider.ids))))
    broken = [i for i, words in enumerate(reasons) if words]
    if len(broken) == len(reasons):
        raise ValueError(f"stimuli: none of the {len(reasons)} can be loaded. {reasons[0]}")
    for i in broken:
        logger.info("left out: %s", reasons[i])
    return broken


def _check_fixed(provider: Provider) -> None:
    """Refuse what is random: every pass, and every row, would be of other inputs."""
    first = provider.item(0)
    if not all(same_item(first, provider.item(0)) for _ in range(_LOADS - 1)):
        raise ValueError(
            f"stimulus {provider.ids[0]!r}: expected the same tensor whenever it is loaded, got "
            f"another one each time. Leave random augmentation (crops, flips, noise) out of the "
            f"transform or preprocess, as for testing."
        )


class PreprocessedStimuli:
    """Images or clips, decoded and preprocessed when they are asked for."""

    def __init__(self, model: Model, stimuli: Any) -> None:
        self.model, self.stimuli = model, stimuli
        self.ids, self.groups, self.origin = stimuli.ids, stimuli.groups, stimuli.origin

    def item(self, i: int) -> torch.Tensor:
        assert self.model.preprocess is not None
        loaded = self.stimuli.load(i)
        try:
            item = self.model.preprocess(loaded)
        except Exception as error:
            raise ValueError(
                f"stimulus {self.ids[i]!r}: {self.model.uid} cannot preprocess it "
                f"({type(error).__name__}: {error})."
            ) from error
        if isinstance(item, Mapping):  # an image processor: {"pixel_values": (1, 3, …)}
            item = _only_tensor(self.model, item)
        if not isinstance(item, torch.Tensor):
            raise TypeError(
                f"{self.model.uid}: expected preprocess= to turn a PIL image into a tensor, got "
                f"{type(item).__name__}."
            )
        return item

    def content_hashes(self) -> tuple[str, ...]:
        return self.stimuli.content_hashes()


def _only_tensor(model: Model, item: Mapping[str, Any]) -> torch.Tensor:
    value = item.get("pixel_values", next(iter(item.values()), None))
    value = value[0] if isinstance(value, list | tuple) and len(value) == 1 else value
    tensor = torch.as_tensor(np.asarray(value)) if not isinstance(value, torch.Tensor) else value
    return tensor[0] if tensor.ndim > 3 and len(tensor) == 1 else tensor


class TensorStimuli:
    """One tensor, or named ones, of preprocessed stimuli."""

    origin = "a tensor, as given"
    groups: tuple[Any, ...] | None = None

    def __init__(self, tensors: torch.Tensor | Mapping[str, torch.Tensor]) -> None:
        sizes = {len(t) for t in tensors.values()} if isinstance(tensors, Mapping) else set()
        if len(sizes) > 1:
            raise ValueError(
                f"stimuli: expected named tensors of one length, got {sorted(sizes)} stimuli."
            )
        n = batch_size_of(tensors)
        if not n:
            raise ValueError("stimuli: expected one or more, got none.")
        self.stimuli = self.tensors = tensors
        width = len(str(n - 1))
        self.ids = tuple(f"stimulus-{i:0{width}d}" for i in range(n))

    def item(self, i: int) -> Any:
        if isinstance(self.tensors, Mapping):
            return {name: tensor[i] for name, tensor in self.tensors.items()}
        return self.tensors[i]

    def batch(self, positions: np.ndarray) -> Batch:
        """Give these stimuli at once: a slice of the tensor, which is not copied."""
        first, last = int(positions[0]), int(positions[-1]) + 1
        return take(self.tensors, slice(first, last))

    def content_hashes(self) -> tuple[str, ...]:
        return tuple(hash_item(self.item(i)) for i in range(len(self.ids)))
