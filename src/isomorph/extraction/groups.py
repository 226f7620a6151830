"""Stimuli that belong together: the captions of an image, the frames of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from isomorph.registry import unknown_name

KINDS = ("mean", "stack")


@dataclass(frozen=True, eq=False)
class Grouping:
    """How stimuli are put together.

    Parameters
    ----------
    names : tuple of str
        The groups, in the order in which they first appear.
    order : np.ndarray, (n_stimuli,)
        Positions of the stimuli, group after group.
    sizes : tuple of int
        Stimuli in each group.
    kind : {"mean", "stack"}
        Average a group's maps, or put them side by side on a new second axis.
    """

    names: tuple[str, ...]
    order: np.ndarray
    sizes: tuple[int, ...]
    kind: str

    @classmethod
    def of(cls, groups: Sequence[Any] | None, kind: str) -> Grouping:
        """Read the labels of the stimuli.

        Raises
        ------
        ValueError
            If the stimuli have no groups, a label is missing, two labels read the same, or groups
            of different size are to be stacked.
        """
        if kind not in KINDS:
            raise unknown_name("way of grouping", kind, KINDS)
        if groups is None:
            raise ValueError(
                f"group: expected stimuli with groups for group={kind!r}, got a set without. Give "
                f"them (from_texts(texts, groups=…), frames(videos)), or leave group out."
            )
        labels = _names(groups)
        names = tuple(dict.fromkeys(labels))
        number = {name: position for position, name in enumerate(names)}
        index = np.array([number[label] for label in labels])
        sizes = tuple(np.bincount(index, minlength=len(names)).tolist())
        if kind == "stack" and len(set(sizes)) > 1:
            raise ValueError(
                f"group='stack': expected groups of one size, got {min(sizes)} to {max(sizes)} "
                f"stimuli. Use group='mean', or take as many of each."
            )
        return cls(names, np.argsort(index, kind="stable"), sizes, kind)

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of a group's map, from that of a stimulus."""
        return (self.sizes[0], *shape) if self.kind == "stack" else shape

    def apply(self, rows: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:
        """Put whole groups together, (n_stimuli, …) → (n_groups, …).

        Parameters
        ----------
        rows : torch.Tensor
            Group after group.
        sizes : sequence of int
            Stimuli in each group; they sum to the number of rows.
        """
        if len(set(sizes)) == 1:
            parts = rows.unflatten(0, (len(sizes), sizes[0]))
            return parts.mean(dim=1, dtype=_mean_dtype(rows)) if self.kind == "mean" else parts
        return torch.stack([p.mean(dim=0, dtype=_mean_dtype(p)) for p in rows.split(list(sizes))])


def _names(groups: Sequence[Any]) -> list[str]:
    """Labels as words; each must be there, and different ones must differ in words."""
    first: dict[str, Any] = {}
    for position, label in enumerate(groups):
        # NaN, with which tables mark what is missing, is the one value that differs from itself.
        if label is None or label != label:
            raise ValueError(
                f"group: expected a group for every stimulus, got {label!r} for stimulus "
                f"{position}. Fill it in, or leave that stimulus out."
            )
        known = first.setdefault(str(label), label)
        if known != label:
            raise ValueError(
                f"group: expected groups of different names, got {known!r} and {label!r} "
                f"({type(known).__name__} and {type(label).__name__}), which read the same. Give "
                f"all of them as text."
            )
    return [str(label) for label in groups]


def _mean_dtype(rows: torch.Tensor) -> torch.dtype:
    return torch.float64 if rows.dtype == torch.float64 else torch.float32
