"""Texts as the model takes them: tokenised, and padded to the longest of the set."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from isomorph.extraction.batches import PADDING_MASK, PLAIN
from isomorph.extraction.model import Model


class TokenisedTexts:
    """Texts run through a model's tokenizer once; every text is padded to the longest.

    One length for all keeps a map's shape the same whatever the batch. Where the tokenizer gives
    no ``attention_mask`` but lists of different length, one is made: for the model, if it takes it
    by name, and for the reductions in any case.
    """

    def __init__(self, model: Model, stimuli: Any) -> None:
        self.model, self.stimuli = model, stimuli
        self.ids, self.groups, self.origin = stimuli.ids, stimuli.groups, stimuli.origin
        encoded = [self._encode(i) for i in range(len(stimuli))]
        self._items = _padded(model, encoded)

    def _encode(self, i: int) -> dict[str, torch.Tensor]:
        preprocess = self.model.preprocess
        assert preprocess is not None
        text = self.stimuli.load(i)
        try:
            # Hugging Face tokenizers cut a text that is too long for the model only if told to.
            options = {"truncation": True} if hasattr(preprocess, "model_max_length") else {}
            encoded = preprocess(text, **options)
        except Exception as error:
            raise ValueError(
                f"stimulus {self.ids[i]!r}: {self.model.uid} cannot tokenise it "
                f"({type(error).__name__}: {error})."
            ) from error
        encoded = getattr(encoded, "data", encoded) if hasattr(encoded, "keys") else encoded
        if isinstance(encoded, Mapping):
            return {name: _row(values) for name, values in encoded.items()}
        return {PLAIN: _row(encoded)}

    def item(self, i: int) -> torch.Tensor | dict[str, torch.Tensor]:
        return self._items[i]

    def content_hashes(self) -> tuple[str, ...]:
        return self.stimuli.content_hashes()


def _row(values: Any) -> torch.Tensor:
    tensor = torch.as_tensor(values)
    return tensor[0] if tensor.ndim == 2 and len(tensor) == 1 else tensor


def _padded(model: Model, encoded: list[dict[str, torch.Tensor]]) -> list[Any]:
    tokenizer = model.preprocess
    longest = {name: max(len(item[name]) for item in encoded) for name in encoded[0]}
    shorter = any(len(item[name]) < longest[name] for item in encoded for name in item)
    pad = getattr(tokenizer, "pad_token_id", None)
    left = getattr(tokenizer, "padding_side", "right") == "left"
    mask = "attention_mask" if PLAIN not in longest and _takes_mask(model) else PADDING_MASK
    items: list[Any] = []
    for item in encoded:
        if shorter and "attention_mask" not in item:
            n_tokens = len(next(iter(item.values())))
            item = {**item, mask: torch.ones(n_tokens, dtype=torch.long)}
        full = {}
        for name, values in item.items():
            fill = pad if name in (PLAIN, "input_ids") and pad is not None else 0
            missing = longest.get(name, max(longest.values())) - len(values)
            padding = torch.full((missing,), fill, dtype=values.dtype)
            full[name] = torch.cat([padding, values] if left else [values, padding])
        items.append(full[PLAIN] if set(full) == {PLAIN} else full)
    return items


def _takes_mask(model: Model) -> bool:
    if model.forward is not None:
        return True
    taken = inspect.signature(model.module.forward).parameters
    return "attention_mask" in taken or any(p.kind is p.VAR_KEYWORD for p in taken.values())
