"""In which ways a stored manifest is not the one asked for, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from isomorph.extraction.stored.manifest import Manifest

# What a reader is shown of a long text, and of a long list of names.
_TEXT_SHOWN = 80
_NAMES_SHOWN = 5
_HASH_SHOWN = 8
# Of a layer's largest probed number. Sums round differently on another machine, with other threads,
# and much more so in half precision; decoding gives the same everywhere but for its last digits.
INPUTS_TOLERANCE = 1e-3
TOLERANCE = 1e-3
HALF_TOLERANCE = 5e-2
INPUTS = "(inputs)"

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
        *_value_differences(stored, asked),
    ]


def version_differences(stored: Mapping[str, str], asked: Mapping[str, str]) -> list[str]:
    """Say which versions differ: ``"torch: stored with 2.6, now 2.7"``."""
    return [
        f"{name}: stored with {stored.get(name)}, now {asked.get(name)}"
        for name in sorted({*stored, *asked})
        if stored.get(name) != asked.get(name)
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


def _value_differences(stored: Manifest, asked: Manifest) -> Iterator[str]:
    """Compare what a few stimuli gave, where nothing else explains that they give others now."""
    causes = ("weights", "structure", "preprocessing", "stimulus_ids", "reduction", "precision")
    if any(getattr(stored, name) != getattr(asked, name) for name in causes):
        return
    if stored.stimulus_hashes and stored.stimulus_hashes != asked.stimulus_hashes:
        return
    exact = stored.inputs_hash and asked.inputs_hash
    found = _probe_difference(stored.probes, asked.probes, INPUTS, INPUTS_TOLERANCE)
    if found or (exact and stored.inputs_hash != asked.inputs_hash):
        yield (
            f"inputs: the same stimuli are other inputs than when the folder was begun"
            f"{f' ({found})' if found else ''}. A transform of the data set, the preprocessing, or "
            f"what a library does in it changed in a way that no name shows"
        )
        return
    others = _other_values(stored, asked)
    if others:
        name, found = next(iter(others.items()))
        more = f"layers {_names(list(others))} give" if len(others) > 1 else f"layer {name!r} gives"
        yield (
            f"values: {more} other values than when the folder was begun ({found} in {name!r}). "
            f"The model, its preprocessing, tensor_fn, input_dim or the like changed in a way that "
            f"no name shows: a number or function that a module holds, a buffer that is not saved"
        )


def _other_values(stored: Manifest, asked: Manifest) -> dict[str, str]:
    """The layers whose probes differ, each with how."""
    half = "16" in stored.precision or "16" in str(stored.reduction.get("dtype"))
    tolerance = HALF_TOLERANCE if half else TOLERANCE
    found = {
        layer.name: _probe_difference(stored.probes, asked.probes, layer.name, tolerance)
        for layer in stored.layers
    }
    return {name: words for name, words in found.items() if words}


def _probe_difference(
    stored: Mapping[str, Sequence[str]],
    asked: Mapping[str, Sequence[str]],
    name: str,
    tolerance: float,
) -> str:
    """Give the two numbers that differ most, as words; empty if all agree."""
    if name not in stored or name not in asked:
        return ""
    ours, theirs = _numbers(stored[name]), _numbers(asked[name])
    if ours.shape != theirs.shape:
        return f"stored {len(ours)} numbers, now {len(theirs)}"
    if not len(ours):
        return ""
    finite = np.isfinite(ours) & np.isfinite(theirs)
    scale = np.abs(ours[finite]).max(initial=0.0)
    with np.errstate(invalid="ignore"):
        apart = np.where(finite, np.abs(ours - theirs), np.inf)
    # Infinite or not a number in both is the same.
    apart[~np.isfinite(ours) & ~np.isfinite(theirs)] = 0.0
    worst = int(apart.argmax())
    if apart[worst] <= tolerance * scale:
        return ""
    return f"stored {ours[worst]:.5g}, now {theirs[worst]:.5g}"


def _numbers(words: Sequence[str]) -> np.ndarray:
    return np.array([float(word) for line in words for word in line.split()])


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
