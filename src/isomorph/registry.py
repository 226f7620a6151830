"""A small typed registry: names to entries, with the nearest names when one is not there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeVar

Entry = TypeVar("Entry")


def unknown_name(kind: str, name: str, known: Iterable[str], hint: str = "") -> KeyError:
    """Build the error for a name that does not exist, with the nearest ones.

    Parameters
    ----------
    kind : str
        What the name should have named, for example ``"metric"``.
    name : str
        What was asked for.
    known : iterable of str
        Every name that exists.
    hint : str
        A closing sentence: where to see all names.

    Returns
    -------
    KeyError
        To be raised by the caller.
    """
    names = sorted(known)
    by_lower = {candidate.lower(): candidate for candidate in names}
    near = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)
    if near:
        found = "Did you mean " + " or ".join(repr(by_lower[key]) for key in near) + "?"
    elif not names:
        found = "There are none yet."
    elif len(names) <= 12:
        found = "Known: " + ", ".join(names) + "."
    else:
        found = f"{len(names)} are known."
    return UnknownNameError(f"unknown {kind} {name!r}. {found} {hint}".rstrip())


class UnknownNameError(KeyError):
    """A name that is not in a registry; its message reads as a sentence."""

    def __str__(self) -> str:
        # KeyError shows the repr of its argument, which turns a message into a quoted string.
        return str(self.args[0])


class Registry(Mapping[str, Entry], Generic[Entry]):
    """Named entries of one kind.

    Parameters
    ----------
    kind : str
        What the entries are, for error messages.
    hint : str
        Where a user can list them.

    Examples
    --------
    >>> colours = Registry("colour")
    >>> colours.add("red", 1)
    1
    >>> colours["red"]
    1
    """

    def __init__(self, kind: str, hint: str = "") -> None:
        self.kind = kind
        self.hint = hint
        self._entries: dict[str, Entry] = {}

    def add(self, name: str, entry: Entry) -> Entry:
        """Add an entry; a name can be taken once only."""
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is already registered. Choose another name.")
        self._entries[name] = entry
        return entry

    def __getitem__(self, name: str) -> Entry:
        try:
            return self._entries[name]
        except (KeyError, TypeError):
            raise unknown_name(self.kind, str(name), self._entries, self.hint) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        # Mapping's own version would build the did-you-mean message for every miss.
        return name in self._entries
