"""Where preprocessed stimuli come from, by position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch

from isomorph.extraction.batches import batch_size_of, take
from isomorph.extraction.loaders import LoadedStimuli, is_loadable
from isomorph.extraction.model import Batch, Model
from isomorph.extraction.tokens import TokenisedTexts
from isomorph.stimuli import as_stimuli
from isomorph.storage import hash_array


class Provider(Protocol):
    """Preprocessed stimuli by position."""

    stimuli: Any
    ids: tuple[str, ...]
    groups: tuple[Any, ...] | None
    origin: str

    def item(self, i: int) -> torch.Tensor | Mapping[str, torch.Tensor]: ...

    def content_hashes(self) -> tuple[str, ...]: ...


def provide_stimuli(model: Model, stimuli: Any, on_error: str) -> tuple[Provider, tuple[str, ...]]:
    """Make a provider of whatever holds stimuli, and name the stimuli that are left out."""
    if isinstance(stimuli, torch.Tensor) or (
        isinstance(stimuli, Mapping)
        and stimuli
        and all(isinstance(value, torch.Tensor) for value in stimuli.values())
    ):
        return TensorStimuli(stimuli), ()
    if is_loadable(stimuli):
        return LoadedStimuli(model, stimuli), ()
    chosen = as_stimuli(stimuli)
    if model.preprocess is None:
        raise ValueError(
            f"{model.uid}: expected a preprocess= to turn stimuli into inputs, got none. Give "
            f"Model(module, preprocess), or pass the stimuli as one preprocessed tensor."
        )
    if len(chosen) == 0:
        raise ValueError("stimuli: expected one or more, got none.")
    chosen.check()
    skipped: tuple[str, ...] = ()
    if on_error == "skip":
        broken = chosen.broken()
        if len(broken) == len(chosen):
            raise ValueError(f"stimuli: none of the {len(chosen)} can be decoded.")
        if broken:
            skipped = tuple(chosen.ids[i] for i in broken)
            chosen = chosen.subset([i for i in range(len(chosen)) if i not in broken])
    if chosen.kind == "text":
        return TokenisedTexts(model, chosen), skipped
    return PreprocessedStimuli(model, chosen), skipped


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
        tensors = self.tensors if isinstance(self.tensors, Mapping) else {"": self.tensors}
        return tuple(
            hash_array(np.concatenate([_as_bytes(t[i]) for t in tensors.values()]))
            for i in range(len(self.ids))
        )


def _as_bytes(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
