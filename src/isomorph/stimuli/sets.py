"""What every set of stimuli offers: names, order, labels, groups, subsets, and a check of all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from isomorph.registry import unknown_name
from isomorph.stimuli.names import (
    MAX_SHOWN,
    listing,
    natural_key,
    positions_of,
    refuse_duplicates,
    with_ids,
)
from isomorph.stimuli.protocol import Kind
from isomorph.stimuli.sources import Source

_THREADS = min(8, os.cpu_count() or 1)

T = TypeVar("T")
SetType = TypeVar("SetType", bound="SourceSet")


@dataclass(frozen=True, eq=False, repr=False)
class SourceSet:
    """What image, text and video sets share; make one of these, not a `SourceSet`.

    Parameters
    ----------
    ids : tuple of str
        One unique name for each stimulus, in the order that every array's first axis follows.
    sources : tuple of Source
        Where each stimulus is read from.
    metadata : DataFrame, optional
        One row a stimulus, index 0 … n − 1; a column ``stimulus_id`` equal to `ids` is put first.
        A column ``label`` holds the class of each.
    groups : tuple, optional
        One label a stimulus; stimuli of one group belong together when data are split, and their
        features can be averaged or stacked. Groups need not be contiguous.
    origin : str
        Where the set comes from and how it was ordered, in words.
    """

    ids: tuple[str, ...]
    sources: tuple[Source, ...]
    metadata: pd.DataFrame = field(default_factory=pd.DataFrame)
    groups: tuple[Any, ...] | None = None
    origin: str = "given"
    _cache: dict[str, Any] = field(default_factory=dict, init=False)

    kind: ClassVar[Kind]

    def __post_init__(self) -> None:
        ids = tuple(str(name) for name in self.ids)
        object.__setattr__(self, "ids", ids)
        if not ids:
            raise ValueError(f"stimuli: expected one or more {self.kind}s, got none.")
        if len(self.sources) != len(ids):
            raise ValueError(
                f"stimuli: expected one id for each {self.kind}, got {len(ids)} ids for "
                f"{len(self.sources)} {self.kind}s. Give as many ids as {self.kind}s."
            )
        refuse_duplicates(ids)
        object.__setattr__(self, "metadata", with_ids(self.metadata, ids))
        if self.groups is not None:
            object.__setattr__(self, "groups", tuple(self.groups))
            self._refuse_other_length("groups", self.groups)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        shown = ", ".join(self.ids[:3]) + (", …" if len(self) > 3 else "")
        return f"{type(self).__name__}({len(self)} {self.kind}s: {shown}; {self.origin})"

    def load(self, i: int) -> Any:
        """Decode stimulus `i`.

        Raises
        ------
        ValueError
            If it cannot be decoded; names the stimulus and the place it is read from.
        """
        try:
            return self.sources[i].read()
        except Exception as error:
            raise ValueError(
                f"stimulus {self.ids[i]!r}: expected {_ARTICLE[self.kind]} {self.kind} that can be "
                f"decoded, got {reason(error)} ({self.sources[i].where}). Replace the file or "
                f"leave it out."
            ) from error

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The class of each stimulus, from the metadata's column ``label``; None without one."""
        if "label" not in self.metadata:
            return None
        column = self.metadata["label"]
        missing = [name for name, gone in zip(self.ids, column.isna(), strict=True) if gone]
        if missing:
            raise ValueError(
                f"label: expected a class for each of the {len(self)} stimuli, but {len(missing)} "
                f"have none: {listing(missing)}. Leave them out with .subset, or give "
                f".with_labels([...])."
            )
        return tuple(str(label) for label in column)

    def position(self, stimulus_id: str) -> int:
        """Give the position of a stimulus by its id."""
        if "positions" not in self._cache:
            self._cache["positions"] = {name: i for i, name in enumerate(self.ids)}
        try:
            return self._cache["positions"][stimulus_id]
        except KeyError:
            raise unknown_name("stimulus", stimulus_id, self.ids) from None

    def content_hashes(self) -> tuple[str, ...]:
        """Hash each stimulus: the bytes of its file, or its values where it is not a file.

        Computed once, in threads. A file in a folder and the same file in a zip have one hash.
        """
        if "hashes" not in self._cache:
            self._cache["hashes"] = tuple(
                in_threads(lambda source: source.content_hash(), self.sources)
            )
        return self._cache["hashes"]

    def subset(self: SetType, indices: Sequence[int] | np.ndarray) -> SetType:
        """Give the stimuli at these positions, in this order (or where a boolean mask is true)."""
        positions = positions_of(indices, len(self))
        return replace(
            self,
            ids=tuple(self.ids[i] for i in positions),
            sources=tuple(self.sources[i] for i in positions),
            metadata=self.metadata.iloc[positions],
            groups=None if self.groups is None else tuple(self.groups[i] for i in positions),
        )

    def with_labels(self: SetType, labels: Sequence[Any] | None) -> SetType:
        """Give the same stimuli with these classes, one each (None takes the labels away)."""
        plain = self.metadata.drop(columns="label", errors="ignore")
        if labels is None:
            return replace(self, metadata=plain)
        self._refuse_other_length("labels", labels)
        return replace(self, metadata=plain.assign(label=[str(label) for label in labels]))

    def with_groups(self: SetType, groups: Sequence[Any] | None) -> SetType:
        """Give the same stimuli in these groups, one label each (None takes them away)."""
        return replace(self, groups=None if groups is None else tuple(groups))

    def sample(self: SetType, n: int, seed: int) -> SetType:
        """Draw `n` stimuli at random; they stay in their order.

        Parameters
        ----------
        n : int
            How many, at most as many as there are.
        seed : int
            The same seed draws the same stimuli.
        """
        if not 1 <= n <= len(self):
            raise ValueError(f"n: expected 1 to {len(self)}, the number of stimuli, got {n}.")
        chosen = np.random.default_rng(seed).choice(len(self), n, replace=False)
        return replace(self.subset(np.sort(chosen)), origin=f"{self.origin}, {n} of seed {seed}")

    def per_class(self: SetType, n: int, seed: int) -> SetType:
        """Draw `n` stimuli of each class at random; they stay in their order.

        What is drawn of a class depends on the seed, its name and its stimuli alone.

        Raises
        ------
        ValueError
            If there are no labels, or a class has fewer than `n`.
        """
        if n < 1:
            raise ValueError(f"n: expected 1 or more for each class, got {n}.")
        members = self._members()
        short = {name: len(rows) for name, rows in members.items() if len(rows) < n}
        if short:
            few = listing([f"{name} ({count})" for name, count in short.items()])
            raise ValueError(
                f"stimuli: expected {n} or more {self.kind}s in each of the {len(members)} "
                f"classes, but {len(short)} have fewer: {few}. Ask for {min(short.values())} or "
                f"fewer, or leave these classes out."
            )
        chosen = [
            np.random.default_rng([seed, *name.encode()]).choice(rows, n, replace=False)
            for name, rows in members.items()
        ]
        origin = f"{self.origin}, {n} a class of seed {seed}"
        return replace(self.subset(np.sort(np.concatenate(chosen))), origin=origin)

    def order_by_label(self) -> np.ndarray:
        """Give the positions that sort the stimuli by class, in natural order of the classes.

        Within a class they stay in their order. For an RDM whose axes go class by class.
        """
        return np.concatenate([np.asarray(rows, np.int64) for rows in self._members().values()])

    def check(self) -> None:
        """Refuse a set with stimuli that are missing, unreadable, empty or of no known format.

        Cheap: headers are read, nothing is decoded. A file that breaks off in the middle is found
        by `verify`.

        Raises
        ------
        ValueError
            One error for all of them; shows up to five.
        """
        self._refuse(self._problems("check", None), "be read")

    def broken(self, *, progress: bool = True) -> dict[int, str]:
        """Decode every stimulus once and give the positions of those that cannot be, with reasons.

        Parameters
        ----------
        progress : bool
            Show a progress bar.

        Returns
        -------
        dict of int to str
            In ascending order; empty where all is well.

        Examples
        --------
        >>> skip = stimuli.broken()  # doctest: +SKIP
        >>> whole = stimuli.subset([i for i in range(len(stimuli)) if i not in skip])  # doctest: +SKIP
        """  # noqa: E501
        return self._problems("read", "decoding" if progress else None)

    def verify(self, *, progress: bool = True) -> None:
        """Decode every stimulus once, so that a broken one is found before the long work starts.

        Parameters
        ----------
        progress : bool
            Show a progress bar.

        Raises
        ------
        ValueError
            One error for all that cannot be decoded; shows up to five.
        """
        self._refuse(self.broken(progress=progress), "be decoded")

    def _problems(
        self, action: Literal["check", "read"], description: str | None
    ) -> dict[int, str]:
        def problem(source: Source) -> str | None:
            try:
                getattr(source, action)()
            except Exception as error:
                return f"{source.where}: {reason(error)}"
            return None

        found = in_threads(problem, self.sources, description, unit=self.kind)
        return {i: text for i, text in enumerate(found) if text is not None}

    def _refuse(self, problems: Mapping[int, str], what: str) -> None:
        if not problems:
            return
        shown = [f"{self.ids[i]} ({text})" for i, text in list(problems.items())[:MAX_SHOWN]]
        more = f"; and {len(problems) - MAX_SHOWN} more" if len(problems) > MAX_SHOWN else ""
        raise ValueError(
            f"stimuli: expected {len(self)} {self.kind}s that can {what}, but {len(problems)} "
            f"cannot: {'; '.join(shown)}{more}. Replace these files, or leave them out together "
            f"with their responses."
        )

    def _refuse_other_length(self, name: str, values: Sequence[Any]) -> None:
        if len(values) != len(self):
            raise ValueError(
                f"{name}: expected one label for each of the {len(self)} stimuli, got "
                f"{len(values)}."
            )

    def _members(self) -> dict[str, list[int]]:
        """Give the positions of each class's stimuli, classes in natural order."""
        labels = self.labels
        if labels is None:
            raise ValueError(
                f"label: expected a class for each of the {len(self)} stimuli, got no labels. Give "
                f".with_labels([...]), or make the set with from_class_folders."
            )
        members: dict[str, list[int]] = {name: [] for name in sorted(set(labels), key=natural_key)}
        for i, name in enumerate(labels):
            members[name].append(i)
        return members


_ARTICLE = {"image": "an", "text": "a", "video": "a"}


def group_order(groups: Iterable[Any]) -> tuple[tuple[Any, ...], np.ndarray]:
    """Name the groups in order of first appearance, and say to which each stimulus belongs.

    Parameters
    ----------
    groups : iterable
        One label a stimulus; those of one group need not stand together.

    Returns
    -------
    names : tuple
        (n_groups,) the different labels.
    index : ndarray
        (n_stimuli,) int64, the position of each stimulus's group in `names`.

    Examples
    --------
    >>> group_order(["b", "a", "b"])
    (('b', 'a'), array([0, 1, 0]))
    """
    positions: dict[Any, int] = {}
    index = [positions.setdefault(label, len(positions)) for label in groups]
    return tuple(positions), np.array(index, dtype=np.int64)


def reason(error: Exception) -> str:
    """Give an error's message in a few words, without the place, which the caller names."""
    if type(error).__name__ == "UnidentifiedImageError":
        return "not an image in a known format"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).strip().splitlines()
    return text[0].rstrip(".") if text else type(error).__name__


def in_threads(
    function: Callable[[Any], T],
    items: Iterable[Any],
    description: str | None = None,
    unit: str = "stimulus",
) -> list[T]:
    """Apply a function to each item in a few threads; results come in the items' order."""
    todo = list(items)
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="isomorph-stimuli") as pool:
        answers = pool.map(function, todo)
        return list(
            tqdm(answers, total=len(todo), desc=description, unit=unit, disable=not description)
        )
