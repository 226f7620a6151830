"""What a folder of features holds: the model, the stimuli and their order, layers, versions."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from isomorph.extraction.stored.differences import manifest_differences, version_differences
from isomorph.extraction.stored.formats import FORMATS
from isomorph.storage import canonical_json, hash_json

SCHEMA = 1
MANIFEST_NAME = "manifest.json"
DTYPES = ("float16", "float32", "float64")

_LONGEST_STEM = 120
_RESERVED = {"stimuli", "file_names", "manifest", "progress", "con", "prn", "aux", "nul"} | {
    f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10)
}


def stored_dtype(dtype: str) -> str:
    """Give the dtype in which values are kept on disk, wide enough to hold them exactly.

    Parameters
    ----------
    dtype : str
        A name as NumPy or torch writes it, for example ``"bfloat16"`` or ``"torch.float32"``.

    Returns
    -------
    str
        ``"float16"``, ``"float32"`` or ``"float64"``.

    Examples
    --------
    >>> stored_dtype("bfloat16"), stored_dtype("int64"), stored_dtype("uint8")
    ('float32', 'float64', 'float32')
    """
    name = str(dtype).removeprefix("torch.")
    if name in DTYPES:
        return name
    if name == "bfloat16" or name.startswith("float8") or name in ("bool", "int8", "uint8"):
        return "float32"
    if name in ("int16", "uint16"):
        return "float32"
    if name in ("int32", "uint32", "int64", "uint64"):
        return "float64"
    raise ValueError(
        f"dtype: expected real numbers, got {name!r}. Convert them with tensor_fn first."
    )


def file_stems(names: Sequence[str]) -> tuple[str, ...]:
    """Give each layer a file name without suffix that every file system takes.

    Letters, digits, ``.``, ``_`` and ``-`` stay; anything else becomes ``-``. Names that would
    be the same, also where the case of letters is not told apart, are numbered.

    Examples
    --------
    >>> file_stems(["features.10", "attn[0]", "(root)", "Attn-0"])
    ('features.10', 'attn-0-2', 'root', 'Attn-0')
    """
    stems = [_stem(name) for name in names]
    taken: set[str] = set()
    chosen: dict[int, str] = {}
    # Names that are safe as they are come first, so that they keep their own name.
    for index in sorted(range(len(names)), key=lambda index: stems[index] != names[index]):
        number, candidate = 1, stems[index]
        while candidate.lower() in taken:
            number += 1
            candidate = f"{stems[index]}-{number}"
        taken.add(candidate.lower())
        chosen[index] = candidate
    return tuple(chosen[index] for index in range(len(names)))


def _stem(name: str) -> str:
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "layer"
    if stem.lower().split(".")[0] in _RESERVED:  # Windows refuses "con.1" for its first part
        stem = f"layer-{stem}"
    if len(stem) > _LONGEST_STEM:
        stem = f"{stem[: _LONGEST_STEM - 9]}-{hash_json(name)[:8]}"
    return stem


@dataclass(frozen=True)
class StoredLayer:
    """A layer on disk.

    Parameters
    ----------
    name : str
        The layer's name in the plan.
    shape : tuple of int
        Shape of one stimulus's values as written; ``()`` for a single number.
    dtype : str
        ``"float16"``, ``"float32"`` or ``"float64"``.
    file : str
        Its file in the folder. Left empty, the manifest gives it one.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    file: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(size) for size in self.shape))
        if self.dtype not in DTYPES:
            raise ValueError(
                f"layer {self.name!r}: expected dtype {', '.join(DTYPES)}, got {self.dtype!r}. "
                "stored_dtype gives the one that holds the values exactly."
            )
        if min(self.shape, default=1) < 1:
            raise ValueError(
                f"layer {self.name!r}: expected at least one value a stimulus, got shape "
                f"{self.shape}. Leave the layer out."
            )
        if self.file != Path(self.file).name or "\\" in self.file or self.file == "..":
            raise ValueError(
                f"layer {self.name!r}: expected the name of a file in the folder, got "
                f"{self.file!r}."
            )

    @property
    def n_features(self) -> int:
        """Number of values a stimulus."""
        return prod(self.shape)

    @property
    def numpy_dtype(self) -> np.dtype:
        """The dtype in the order of bytes that files have everywhere."""
        return np.dtype(self.dtype).newbyteorder("<")


def library_versions() -> dict[str, str]:
    """Versions of the libraries that decide numbers."""
    return {name: version(name) for name in ("isomorph", "torch", "numpy")}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Manifest:
    """What decided the features in a folder, and where they are.

    Parameters
    ----------
    model_uid : str
        The model's uid, which names its weights too.
    weights, structure : str
        Hashes of the weights' values and of the modules.
    preprocessing : str
        The preprocessing as text.
    stimulus_ids : tuple of str
        The first axis of every layer, in order.
    layers : tuple of StoredLayer
        In call order.
    stimulus_hashes : tuple of str
        Content hash of each stimulus, or empty if they were not taken.
    order : str
        In words, how the stimuli were ordered.
    labels, groups : tuple of str or None
        One for each stimulus.
    reduction : mapping
        What was done at the hook; plain values that JSON can hold.
    batch_size : int or None
        It decides no number beyond rounding.
    precision : str
        Of the forward pass.
    format : str
        A name in `FORMATS`.
    rows_per_file : int or None
        Split each layer into files of so many stimuli.
    versions : mapping
        Of the libraries; the device and how it was used.
    created : str
        When, in ISO 8601.
    sizes : mapping
        Bytes of every data file; empty until the extraction is complete.
    replaces : tuple of str
        Fingerprints of the manifests that the extraction began with, before a restart.
    inputs_hash : str
        Of what is exact in the inputs made of a few stimuli: names, dtypes, shapes, tokens.
    probes : mapping of str to tuple of str
        A few numbers of each layer, and of the inputs, for a few stimuli: one text for each. They
        are compared with a tolerance, and show what no name and no hash does.

    Examples
    --------
    >>> layer = StoredLayer("fc", (10,), "float32")
    >>> manifest = Manifest("mine@random-0", "1a2b", "3c4d", "none", ("a", "b"), (layer,))
    >>> manifest.layers[0].file, Manifest.from_json(manifest.to_json()) == manifest
    ('fc.npy', True)
    """

    model_uid: str
    weights: str
    structure: str
    preprocessing: str
    stimulus_ids: tuple[str, ...]
    layers: tuple[StoredLayer, ...]
    stimulus_hashes: tuple[str, ...] = ()
    order: str = ""
    labels: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None
    reduction: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int | None = None
    precision: str = "float32"
    format: str = "npy"
    rows_per_file: int | None = None
    versions: Mapping[str, str] = field(default_factory=library_versions)
    created: str = field(default_factory=_now)
    sizes: Mapping[str, int] = field(default_factory=dict)
    replaces: tuple[str, ...] = ()
    inputs_hash: str = ""
    probes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        put = object.__setattr__
        for name in ("stimulus_ids", "stimulus_hashes", "labels", "groups", "replaces"):
            values = getattr(self, name)
            put(self, name, None if values is None else tuple(str(value) for value in values))
        # As JSON gives it back, so that a manifest equals itself after a round trip.
        put(self, "reduction", json.loads(canonical_json(dict(self.reduction))))
        put(self, "probes", {name: tuple(words) for name, words in self.probes.items()})
        put(self, "layers", _with_files(tuple(self.layers), FORMATS[self.format].suffix))
        _check(self)

    @property
    def n_stimuli(self) -> int:
        """Number of rows of every layer."""
        return len(self.stimulus_ids)

    @property
    def complete(self) -> bool:
        """Whether every row of every layer is there, in its format."""
        return bool(self.sizes)

    @cached_property
    def by_name(self) -> dict[str, StoredLayer]:
        """The layers by their names."""
        return {layer.name: layer for layer in self.layers}

    def parts(self, layer: StoredLayer) -> tuple[tuple[int, int, str], ...]:
        """List a layer's files: the first row in it, the row after its last, its name."""
        step = self.rows_per_file
        if step is None:
            return ((0, self.n_stimuli, layer.file),)
        suffix = FORMATS[self.format].suffix
        stem = layer.file.removesuffix(suffix)
        bounds = [(a, min(a + step, self.n_stimuli)) for a in range(0, self.n_stimuli, step)]
        return tuple((a, b, f"{stem}.{a:07d}-{b:07d}{suffix}") for a, b in bounds)

    def fingerprint(self) -> str:
        """Hash what decides the numbers: not the names of model and files, nor the format."""
        return hash_json(
            {
                "schema": SCHEMA,
                "weights": self.weights,
                "structure": self.structure,
                "preprocessing": self.preprocessing,
                "stimuli": [self.stimulus_ids, self.stimulus_hashes, self.groups],
                "layers": [[layer.name, layer.shape, layer.dtype] for layer in self.layers],
                "reduction": self.reduction,
                "precision": self.precision,
                "inputs": self.inputs_hash,
            }
        )

    def differences(self, other: Manifest) -> list[str]:
        """Say in which ways this (stored) manifest is not the one asked for.

        Library versions, the batch size and the time are not among them: see
        `version_differences`.

        Parameters
        ----------
        other : Manifest
            What is asked for.

        Returns
        -------
        list of str
            One for each difference; empty if the folder holds what is asked for.
        """
        return manifest_differences(self, other)

    def version_differences(self, other: Manifest) -> list[str]:
        """Say which library versions differ from those asked for now; no error, a warning."""
        return version_differences(self.versions, other.versions)

    def to_json(self) -> str:
        """Write as JSON that people can read too."""
        content = {"schema": SCHEMA, "complete": self.complete, **asdict(self)}
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str = "manifest") -> Manifest:
        """Read what `to_json` wrote.

        Parameters
        ----------
        text : str
            JSON.
        source : str
            Where it comes from, for errors.

        Raises
        ------
        ValueError
            If it is no manifest, or one of a later schema.
        """
        try:
            content = dict(json.loads(text))
            schema = content.pop("schema")
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"{source}: expected a manifest of features (JSON), but it cannot be read as one "
                f"({error!r}). Choose another folder."
            ) from error
        if schema != SCHEMA:
            raise ValueError(
                f"{source}: expected schema {SCHEMA}, got {schema!r}. Read it with the version of "
                "isomorph that wrote it, or a later one."
            )
        content.pop("complete", None)
        try:
            layers = tuple(StoredLayer(**layer) for layer in content.pop("layers"))
            return cls(layers=layers, **content)
        except (TypeError, KeyError) as error:
            raise ValueError(f"{source}: it is damaged ({error}). Extract again.") from error


def read_manifest(folder: str | Path) -> Manifest | None:
    """Read a folder's manifest; None if it has none."""
    path = Path(folder).expanduser() / MANIFEST_NAME
    if not path.is_file():
        return None
    return Manifest.from_json(path.read_text(encoding="utf-8"), source=os.fspath(path))


def _with_files(layers: tuple[StoredLayer, ...], suffix: str) -> tuple[StoredLayer, ...]:
    if all(layer.file for layer in layers):
        return layers
    stems = file_stems([layer.name for layer in layers])
    return tuple(
        replace(layer, file=stem + suffix) for layer, stem in zip(layers, stems, strict=True)
    )


def _check(manifest: Manifest) -> None:
    n = manifest.n_stimuli
    if not n or not manifest.layers:
        raise ValueError(
            f"manifest: expected at least one stimulus and one layer, got {n} and "
            f"{len(manifest.layers)}."
        )
    for name in ("stimulus_hashes", "labels", "groups"):
        values = getattr(manifest, name)
        if values and len(values) != n:
            raise ValueError(f"{name}: expected one for each of {n} stimuli, got {len(values)}.")
    broken = [name for name in manifest.stimulus_ids if "\n" in name or "\r" in name]
    if broken:
        raise ValueError(
            f"stimulus_ids: expected names of one line, got {broken[0]!r}. Rename the stimuli."
        )
    for what, names in (
        ("layers", [layer.name for layer in manifest.layers]),
        ("files", [layer.file.lower() for layer in manifest.layers]),
    ):
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ValueError(f"{what}: expected each once, got {', '.join(twice)} more than once.")
    rows = manifest.rows_per_file
    if rows is not None and rows < 1:
        raise ValueError(f"rows_per_file: expected at least 1, got {rows}. Leave it out.")
    if rows is not None and not FORMATS[manifest.format].splits:
        raise ValueError(
            f"rows_per_file: format {manifest.format!r} holds a layer in chunks of rows already. "
            "Leave it out."
        )
