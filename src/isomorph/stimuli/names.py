"""Names, positions and the table of metadata that goes with them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

MAX_SHOWN = 5


def natural_key(name: str) -> tuple[tuple[str | int, ...], str]:
    """Give a sort key by which ``img2`` comes before ``img10``, on every machine alike.

    Examples
    --------
    >>> sorted(["img10", "img2", "Img1"], key=natural_key)
    ['Img1', 'img2', 'img10']
    """
    parts = re.split(r"([0-9]+)", name.casefold())
    # Every second part is a number. The name itself breaks ties such as img1 and img01.
    return tuple(int(part) if i % 2 else part for i, part in enumerate(parts)), name


def listing(names: Sequence[str]) -> str:
    """Join the first few names; say how many more there are."""
    more = f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else ""
    return (", ".join(names[:MAX_SHOWN]) + more) or "none"


def numbered(n: int, prefix: str = "image") -> list[str]:
    """Name `n` things by number: ``image-0`` …, as many digits as the last one needs."""
    width = len(str(max(n - 1, 0)))
    return [f"{prefix}-{i:0{width}d}" for i in range(n)]


def positions_of(indices: Sequence[int] | np.ndarray, n: int) -> np.ndarray:
    """Turn indices or a boolean mask over `n` stimuli into checked positions."""
    array = np.asarray(indices)
    if array.dtype == bool:
        if array.shape != (n,):
            raise ValueError(f"stimuli: expected a mask of shape ({n},), got {array.shape}.")
        array = np.flatnonzero(array)
    if array.ndim != 1 or array.dtype.kind not in "iu" or array.size == 0:
        raise ValueError(
            f"stimuli: expected one or more whole numbers as positions (or a mask that selects "
            f"some), got shape {array.shape}, dtype {array.dtype}."
        )
    if array.min() < 0 or array.max() >= n:
        raise IndexError(
            f"stimuli: expected positions from 0 to {n - 1}, got {array.min()} to {array.max()}."
        )
    return array.astype(np.int64)


def refuse_duplicates(ids: Sequence[str]) -> None:
    """Refuse ids that name more than one stimulus."""
    repeated = [name for name, count in Counter(ids).items() if count > 1]
    if repeated:
        raise ValueError(
            f"stimuli: expected one name a stimulus, but {len(repeated)} are there more than once: "
            f"{listing(repeated)}. Rename the files, or give ids=."
        )


def with_ids(metadata: pd.DataFrame, ids: Sequence[str]) -> pd.DataFrame:
    """Give the metadata with the ids as first column, after checking that they fit."""
    if metadata.empty and not len(metadata.columns):
        return pd.DataFrame({"stimulus_id": list(ids)})
    if len(metadata) != len(ids):
        raise ValueError(
            f"metadata: expected one row for each of the {len(ids)} stimuli, got {len(metadata)}."
        )
    frame = metadata.reset_index(drop=True)
    if "stimulus_id" in frame and list(frame["stimulus_id"].astype(str)) != list(ids):
        raise ValueError(
            "metadata: expected the column stimulus_id to hold the ids in their order, got other "
            "values. Sort the rows as the stimuli, or leave the column out."
        )
    others = frame.drop(columns="stimulus_id", errors="ignore")
    return pd.concat([pd.DataFrame({"stimulus_id": list(ids)}), others], axis=1)
