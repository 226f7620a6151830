"""Model names: ``source/name@weights``."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Short words that people write for a source.
ALIASES = {"hf": "transformers", "huggingface": "transformers", "sbert": "sentence_transformers"}
_TWIN = re.compile(r"random-(\d+)(?:-(.+))?")


@dataclass(frozen=True)
class ModelName:
    """A model uid taken apart.

    Parameters
    ----------
    source : str
        ``torchvision``.
    name : str
        ``alexnet``, ``facebook/dinov2-base``.
    weights : str
        ``IMAGENET1K_V1``, ``random-0``, ``random-0-dino``, ``file-1a2b3c4d``; empty for the
        source's default.
    """

    source: str
    name: str
    weights: str = ""

    def __str__(self) -> str:
        return f"{self.source}/{self.name}" + (f"@{self.weights}" if self.weights else "")

    @property
    def random_seed(self) -> int | None:
        """The seed of a random twin, None for other weights."""
        match = _TWIN.fullmatch(self.weights)
        return int(match[1]) if match else None

    @property
    def random_like(self) -> str:
        """The published weights whose head and preprocessing a twin has; empty for the default."""
        match = _TWIN.fullmatch(self.weights)
        return match[2] or "" if match else ""


def parse_uid(uid: str) -> ModelName:
    """Take a uid apart.

    Raises
    ------
    ValueError
        If it has no source.

    Examples
    --------
    >>> parse_uid("torchvision/alexnet@random-0")
    ModelName(source='torchvision', name='alexnet', weights='random-0')
    >>> parse_uid("hf/facebook/dinov2-base").source
    'transformers'
    """
    match = re.fullmatch(r"([\w-]+)/([^@]+)(?:@(.+))?", uid.strip())
    if not match:
        raise ValueError(
            f"model: expected source/name or source/name@weights (torchvision/alexnet), got "
            f"{uid!r}. list_models() shows the names."
        )
    source = ALIASES.get(match[1], match[1])
    return ModelName(source, match[2], match[3] or "")
