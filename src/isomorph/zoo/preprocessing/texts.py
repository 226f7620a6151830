"""Preprocessing of texts as data: which tokenizer, and how long a text may be."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class OpenClipTokenizer:
    """Turn a text into the tokens that a text tower of open_clip takes.

    Parameters
    ----------
    architecture : str
        Whose tokenizer, by open_clip's name: ``ViT-B-32``. Most are in the library itself; those of
        Hugging Face are read from its cache, or downloaded, when the first text comes.
    context_length : int
        Tokens of every text: longer ones are cut, shorter ones padded.

    Examples
    --------
    >>> tokens = OpenClipTokenizer("ViT-B-32", 77)("a cat")  # doctest: +SKIP
    >>> tokens["text"].shape, tokens["attention_mask"].sum()  # doctest: +SKIP
    (torch.Size([77]), tensor(4))
    """

    architecture: str
    context_length: int

    def __call__(self, text: str) -> dict[str, torch.Tensor]:
        """``text``: (context_length,); ``attention_mask``: 1 up to the end of the text.

        The network is given the tokens alone; the mask says which of them are the text's.
        """
        tokenizer = _open_clip_tokenizer(self.architecture)
        tokens = tokenizer(text, context_length=self.context_length)[0]
        inner = getattr(tokenizer, "tokenizer", None)
        padding = getattr(inner, "pad_token_id", None) or 0
        last = int((tokens != padding).nonzero().max()) + 1 if (tokens != padding).any() else 0
        # Some end a text with the sign that pads it: the first of them belongs to the text.
        if inner is not None and padding == inner.eos_token_id:
            last = min(last + 1, len(tokens))
        mask = (torch.arange(len(tokens)) < last).long()
        return {"text": tokens, "attention_mask": mask}


@functools.lru_cache(maxsize=8)
def _open_clip_tokenizer(architecture: str) -> Any:
    import open_clip

    from isomorph.zoo.huggingface.files import hub_caches, not_in_cache

    settings = (open_clip.get_model_config(architecture) or {}).get("text_cfg", {})
    repository = settings.get("hf_tokenizer_name", "")
    if not repository:
        return open_clip.get_tokenizer(architecture)
    last: Exception | None = None
    for cache in hub_caches():
        try:
            return open_clip.get_tokenizer(architecture, cache_dir=str(cache))
        except (OSError, ValueError) as error:
            last = error
    uid = f"open_clip/{architecture}/text"
    raise FileNotFoundError(f"its tokenizer: {not_in_cache(repository, uid, last)}") from last


@dataclass(frozen=True)
class HubTokenizer:
    """Turn a text into the named tensors that a language model takes; read when it is first used.

    A language model's random twin has this one: it is built without its vocabulary, which is part
    of what is published with the weights.

    Parameters
    ----------
    repository : str
        ``ORG/NAME`` on the hub of Hugging Face, or a folder.
    revision : str
        Branch, tag or commit.
    padding_side : {"right", "left"}
        Where a text that is shorter than others gets its padding.
    """

    repository: str
    revision: str = "main"
    padding_side: str = "right"

    def __call__(self, text: str, **options: Any) -> Any:
        """``input_ids``, ``attention_mask`` and what else the tokenizer gives."""
        return self.tokenizer(text, **options)

    @property
    def tokenizer(self) -> Any:
        """The tokenizer itself, from the cache or downloaded into it."""
        return _hub_tokenizer(self.repository, self.revision, self.padding_side)

    @property
    def pad_token_id(self) -> int | None:
        """What a shorter text is filled with."""
        return self.tokenizer.pad_token_id

    @property
    def model_max_length(self) -> int:
        """Tokens after which a text is cut."""
        return self.tokenizer.model_max_length


@functools.lru_cache(maxsize=8)
def _hub_tokenizer(repository: str, revision: str, padding_side: str) -> Any:
    from isomorph.zoo.huggingface.files import hub_folder

    folder = Path(repository).expanduser()
    if not folder.is_dir():
        uid = f"transformers/{repository}"
        folder = hub_folder(repository, uid, revision=revision, whole=has_vocabulary)
    return read_tokenizer(folder, repository, padding_side=padding_side)


def read_tokenizer(folder: Path, name: str = "", *, padding_side: str = "right") -> Any:
    """Read a tokenizer from a folder.

    Parameters
    ----------
    folder : Path
    name : str
        What it calls itself; by default nothing, and not the folder: the same tokenizer has the
        same fingerprint on every machine.
    padding_side : str
        Padding stands behind a text, whatever the tokenizer's own habit (which is made for
        generating): what comes after a text cannot change what a causal model makes of it.

    Raises
    ------
    FileNotFoundError
        If there is none in it.
    """
    from transformers import AutoTokenizer

    if not has_vocabulary(folder):
        raise FileNotFoundError(
            f"expected a tokenizer (tokenizer.json, vocab.txt, …) in {folder}, got none. Save it "
            f"there: tokenizer.save_pretrained(folder)."
        )
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    tokenizer.padding_side = padding_side
    tokenizer.name_or_path = name
    return tokenizer


_VOCABULARIES = (
    *("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "tokenizer.model"),
    *("sentencepiece.bpe.model", "sentencepiece.model", "tekken.json"),
)


def has_vocabulary(folder: Path) -> bool:
    """Whether a folder holds a tokenizer's vocabulary."""
    return any((folder / name).is_file() for name in _VOCABULARIES)
