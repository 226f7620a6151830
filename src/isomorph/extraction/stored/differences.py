"""In which ways a stored manifest is not the one asked for, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isomorph.extraction.stored.manifest import Manifest

# What a reader is shown of a long text, and of a long list of names.
_TEXT_SHOWN = 80
_NAMES_SHOWN = 5
_HASH_SHOWN = 8

_TEXTS = (
    ("model", "model_uid"),
    ("preprocessing", "preprocessing"),
    ("precision", "precision"),
    ("format", "format"),
    ("rows_per_file", "rows_per_file"),
)


def manifest_differences(stored: Manifest, asked: Manifest) -> list[str]:
    """Say what differs between what a folder holds and what is asked for.

    Parameters
    ----------
    stored, asked : Manifest
        The folder's, and the caller's.

    Returns
    -------
    list of str
        One for each difference: ``"weights: stored 1a2b3c4d…, asked for 5e6f7a8b…"``.
    """
    return [
        *_text_differences(stored, asked),
        *_stimulus_differences(stored, asked),
        *_layer_differences(stored, asked),
        *_reduction_differences(stored.reduction, asked.reduction),
    ]


def _text_differences(stored: Manifest, asked: Manifest) -> Iterator[str]:
    for word in ("weights", "structure"):
        ours, theirs = getattr(stored, word), getattr(asked, word)
        if ours != theirs:
            one, other = ours[:_HASH_SHOWN], theirs[:_HASH_SHOWN]
            if one == other or max(len(ours), len(theirs)) <= _HASH_SHOWN:
                yield f"{word}: stored {ours}, asked for {theirs}"
            else:
                yield f"{word}: stored {one}…, asked for {other}…"
    for word, name in _TEXTS:
        ours, theirs = getattr(stored, name), getattr(asked, name)
        if ours != theirs:
            one, other = _around_first_difference(str(ours), str(theirs))
            yield f"{word}: stored {one}, asked for {other}"


def _stimulus_differences(stored: Manifest, asked: Manifest) -> Iterator[str]:
    ours, theirs = stored.stimulus_ids, asked.stimulus_ids
    if set(ours) != set(theirs) or len(ours) != len(theirs):
        parts = [f"stored {len(ours)}, asked for {len(theirs)}"]
        parts += _missing(ours, theirs)
        yield "stimuli: " + "; ".join(parts)
    elif ours != theirs:
        yield f"stimuli: the order differs, {_first_difference(ours, theirs)}"
    if stored.stimulus_hashes and asked.stimulus_hashes:
        now = dict(zip(theirs, asked.stimulus_hashes, strict=True))
        before = zip(ours, stored.stimulus_hashes, strict=True)
        changed = [name for name, content in before if now.get(name, content) != content]
        if changed:
            have = "has" if len(changed) == 1 else "have"
            yield f"stimuli: {len(changed)} {have} other content: {_names(changed)}"
    if len(ours) == len(theirs):
        for word in ("labels", "groups"):
            one, other = getattr(stored, word), getattr(asked, word)
            if (one is None) != (other is None):
                there, wanted = ("none", "some") if one is None else ("some", "none")
                yield f"{word}: stored {there}, asked for {wanted}"
            elif one != other:
                yield f"{word}: differ, {_first_difference(one, other)}"


def _layer_differences(stored: Manifest, asked: Manifest) -> Iterator[str]:
    ours = {layer.name: layer for layer in stored.layers}
    theirs = {layer.name: layer for layer in asked.layers}
    if missing := _missing(list(ours), list(theirs)):
        yield "layers: " + "; ".join(missing)
    elif list(ours) != list(theirs):
        yield f"layers: the order differs, {_first_difference(list(ours), list(theirs))}"
    for name, layer in ours.items():
        other = theirs.get(name, layer)
        if (layer.shape, layer.dtype) != (other.shape, other.dtype):
            yield (
                f"layers: {name!r} is stored as {layer.shape} {layer.dtype}, asked for as "
                f"{other.shape} {other.dtype}"
            )


def _reduction_differences(stored: Any, asked: Any) -> Iterator[str]:
    for key in sorted({*stored, *asked}):
        ours, theirs = stored.get(key), asked.get(key)
        if ours != theirs:
            yield f"reduction: {key} stored {ours!r}, asked for {theirs!r}"


def _missing(ours: Iterable[str], theirs: Iterable[str]) -> list[str]:
    ours, theirs = list(ours), list(theirs)
    known, wanted = set(ours), set(theirs)
    parts = []
    if new := [name for name in theirs if name not in known]:
        parts.append(f"not stored: {_names(new)}")
    if old := [name for name in ours if name not in wanted]:
        parts.append(f"not asked for: {_names(old)}")
    return parts


def _first_difference(ours: Sequence[str], theirs: Sequence[str]) -> str:
    pairs = enumerate(zip(ours, theirs, strict=True))
    position, one, other = next((i, a, b) for i, (a, b) in pairs if a != b)
    return f"first at position {position}: stored {one!r}, asked for {other!r}"


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_NAMES_SHOWN])
    rest = len(names) - _NAMES_SHOWN
    return f"{shown} and {rest} more" if rest > 0 else shown


def _around_first_difference(one: str, other: str) -> tuple[str, str]:
    """Shorten two long texts so that what differs is in what is left."""
    pairs = enumerate(zip(one, other, strict=False))
    same = next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))
    start = max(same - _TEXT_SHOWN // 2, 0)
    if max(len(one), len(other)) <= 2 * _TEXT_SHOWN:
        start, length = 0, 2 * _TEXT_SHOWN
    else:
        length = _TEXT_SHOWN

    def cut(text: str) -> str:
        before, after = "…" if start else "", "…" if len(text) > start + length else ""
        return repr(f"{before}{text[start : start + length]}{after}")

    return cut(one), cut(other)
