"""`TextSet`: an ordered, named set of texts, such as sentences or the captions of images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from isomorph.stimuli.names import listing, numbered
from isomorph.stimuli.protocol import Kind
from isomorph.stimuli.sets import SourceSet
from isomorph.storage import hash_bytes


@dataclass(frozen=True)
class TextSource:
    """A text in memory."""

    text: str
    where: str = "a text"

    def read(self) -> str:
        return self.text

    def check(self) -> None:
        """Do nothing: the text was checked when the set was made."""

    def content_hash(self) -> str:
        return hash_bytes(self.text.encode())


@dataclass(frozen=True, eq=False, repr=False)
class TextSet(SourceSet):
    """An ordered set of named texts.

    Make one with `from_texts`, `from_text_file`, `from_frame` or `from_huggingface`. The
    parameters are those of `ImageSet`.

    Examples
    --------
    >>> texts = from_texts(["a cat", "two dogs"])
    >>> texts.ids, texts.load(1)
    (('text-0', 'text-1'), 'two dogs')
    """

    kind: ClassVar[Kind] = "text"

    def load(self, i: int) -> str:
        """Give text `i`."""
        return super().load(i)

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts, in order."""
        return tuple(source.read() for source in self.sources)


def from_texts(
    texts: Iterable[str] | Mapping[str, str | Sequence[str]],
    ids: Sequence[str] | None = None,
    groups: Sequence[Any] | None = None,
    *,
    metadata: pd.DataFrame | None = None,
    origin: str = "texts, as given",
) -> TextSet:
    """Take texts in the order given.

    Parameters
    ----------
    texts : iterable of str, or mapping of str to str or sequence of str
        One text a stimulus. Of a mapping, the keys are the ids; where they have several texts,
        such as the captions of an image, the ids are ``img1#0``, ``img1#1`` … and the groups are
        the keys.
    ids : sequence of str, optional
        By default ``text-0``, ``text-1`` …
    groups : sequence, optional
        One label a text: texts of one group belong together.
    metadata : DataFrame, optional
        One row a text.

    Returns
    -------
    TextSet

    Raises
    ------
    TypeError
        If something is no text.
    ValueError
        If a text is empty; shows up to five.

    Examples
    --------
    >>> captions = from_texts({"cat.jpg": ["a cat", "a pet"], "dog.jpg": ["a dog"]})
    >>> captions.ids, captions.groups
    (('cat.jpg#0', 'cat.jpg#1', 'dog.jpg#0'), ('cat.jpg', 'cat.jpg', 'dog.jpg'))
    """
    if isinstance(texts, str):
        raise TypeError("texts: expected several texts, got one str. Pass [text] for a set of one.")
    if isinstance(texts, Mapping):
        if ids is not None or groups is not None:
            raise ValueError(
                "texts: expected either a mapping, whose keys are the ids and groups, or ids= and "
                "groups=, got both. Leave them out."
            )
        texts, ids, groups = _unfold(texts)
    items = list(texts)
    names = [str(name) for name in ids] if ids is not None else numbered(len(items), "text")
    for i, text in enumerate(items):
        if not isinstance(text, str):
            raise TypeError(
                f"texts: expected str, got {type(text).__name__} ({text!r}) at position {i}. "
                f"Convert it, or leave it out."
            )
    empty = [name for name, text in zip(names, items, strict=False) if not text.strip()]
    if empty:
        raise ValueError(
            f"texts: expected {len(items)} texts, but {len(empty)} are empty: {listing(empty)}. "
            f"Leave them out together with their responses."
        )
    return TextSet(
        tuple(names),
        tuple(TextSource(text) for text in items),
        metadata=pd.DataFrame() if metadata is None else metadata,
        groups=None if groups is None else tuple(groups),
        origin=origin,
    )


def from_text_file(path: str | Path, ids: Sequence[str] | None = None) -> TextSet:
    """Take the lines of a text file (UTF-8), one text a line.

    Parameters
    ----------
    path : str or Path
        The file. Spaces at the ends of a line are part of its text.
    ids : sequence of str, optional
        By default ``text-0``, ``text-1`` …

    Returns
    -------
    TextSet

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file; if it is no UTF-8, or a line is empty: names the lines.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"texts: expected a text file at {path}. Check the path.")
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"texts: expected UTF-8 in {path}, got {error.reason} at byte {error.start}. Save it "
            f"with that encoding."
        ) from error
    # Not splitlines, which also parts a text at form feeds and other rare characters.
    lines = content.removesuffix("\n").split("\n")
    empty = [f"line {i}" for i, line in enumerate(lines, start=1) if not line.strip()]
    if empty:
        raise ValueError(
            f"texts: expected one text a line in {path}, but {len(empty)} lines are empty: "
            f"{listing(empty)}. Take them out."
        )
    return from_texts(lines, ids, origin=f"{path.name}, line by line")


def _unfold(
    texts: Mapping[str, str | Sequence[str]],
) -> tuple[list[str], list[str], list[str] | None]:
    """Give the texts of a mapping, an id for each, and the key it belongs to."""
    if all(isinstance(text, str) for text in texts.values()):
        return [str(text) for text in texts.values()], [str(key) for key in texts], None
    found, ids, groups = [], [], []
    for key, several in texts.items():
        several = [several] if isinstance(several, str) else list(several)
        if not several:
            raise ValueError(
                f"texts: expected one or more texts for {key!r}, got none. Leave it out."
            )
        found += several
        ids += [f"{key}#{i}" for i in range(len(several))]
        groups += [str(key)] * len(several)
    return found, ids, groups
