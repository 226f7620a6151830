"""The manifest: a round trip, what it is a fingerprint of, what it says of differences."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from isomorph.extraction.stored.manifest import (
    DTYPES,
    Manifest,
    StoredLayer,
    file_stems,
    read_manifest,
    stored_dtype,
)

IDS = ("a.png", "b.png", "c.png", "d.png")


def make(**changes) -> Manifest:
    layers = (StoredLayer("features.0", (2, 3), "float32"), StoredLayer("fc", (5,), "float16"))
    plain: dict = {
        "model_uid": "mine/net@random-0",
        "weights": "1a2b3c4d5e6f",
        "structure": "77aa88bb99cc",
        "preprocessing": "resize 224, centre crop 224",
        "stimulus_ids": IDS,
        "stimulus_hashes": ("h0", "h1", "h2", "h3"),
        "layers": layers,
        "reduction": {"pool": "mean", "size": (3, 3)},
        "labels": ("x", "x", "y", "y"),
        "groups": ("g0", "g0", "g1", "g1"),
        "inputs_hash": "i1",
        "probes": {"fc": ("1 2 3",), "(inputs)": ("1 2",)},
    }
    return Manifest(**(plain | changes))


def test_json_round_trip():
    manifest = make(format="hdf5", rows_per_file=2, batch_size=8, order="natural")
    again = Manifest.from_json(manifest.to_json())
    assert again == manifest
    assert again.fingerprint() == manifest.fingerprint()
    assert not again.differences(manifest)
    content = json.loads(manifest.to_json())
    assert content["schema"] == 1
    assert content["complete"] is False
    assert content["layers"][0]["file"] == "features.0.h5"


def test_versions_and_time_are_recorded():
    manifest = make()
    assert manifest.versions["numpy"] == np.__version__
    assert set(manifest.versions) == {"isomorph", "torch", "numpy"}
    assert manifest.created.startswith("20")


# For each field: another value, whether it decides the numbers, and what is said.
CHANGES = {
    "model_uid": ("other", False, r"model: stored 'mine/net@random-0', asked for 'other'"),
    "weights": ("3c4d9999aaaa", True, r"weights: stored 1a2b3c4d…, asked for 3c4d9999…"),
    "structure": ("1", True, r"structure: stored 77aa88bb…, asked for 1…"),
    "preprocessing": ("resize 256", True, r"preprocessing: stored 'resize 224, .*'resize 256'"),
    "stimulus_ids": (
        ("a.png", "b.png", "d.png", "c.png"),
        True,
        r"stimuli: the order differs, first at position 2: stored 'c.png', asked for 'd.png'",
    ),
    "stimulus_hashes": (
        ("h0", "H1", "h2", "H3"),
        True,
        r"stimuli: 2 have other content: 'b.png', 'd.png'",
    ),
    "layers": (
        (StoredLayer("features.0", (2, 3), "float32"), StoredLayer("fd", (5,), "float16")),
        True,
        r"layers: not stored: 'fd'; not asked for: 'fc'",
    ),
    "labels": (("x", "y", "y", "y"), False, r"labels: differ, first at position 1: stored 'x'"),
    "groups": (None, True, r"groups: stored some, asked for none"),
    "reduction": ({"pool": "max"}, True, r"reduction: pool stored 'mean', asked for 'max'"),
    "precision": ("bfloat16", True, r"precision: stored 'float32', asked for 'bfloat16'"),
    "format": ("csv", False, r"format: stored 'npy', asked for 'csv'"),
    "rows_per_file": (2, False, r"rows_per_file: stored 'None', asked for '2'"),
    # What decides no number beyond rounding, or nothing at all.
    "order": ("shuffled", False, None),
    "batch_size": (7, False, None),
    "versions": ({"torch": "1.0"}, False, None),
    "created": ("2001-01-01", False, None),
    "sizes": ({"fc.npy": 1}, False, None),
    "replaces": (("ff",), False, None),
    "inputs_hash": ("i2", True, r"inputs: the same stimuli are other inputs than when"),
    # Compared with a tolerance, and so no part of a hash.
    "probes": (
        {"fc": ("1 2 3.1",)},
        False,
        r"values: layer 'fc' gives other values .*\(stored 3, now 3.1 in 'fc'\)",
    ),
}


def test_the_table_of_changes_has_every_field():
    assert set(CHANGES) == set(Manifest.__dataclass_fields__)


@pytest.mark.parametrize("field", CHANGES)
def test_each_field_counts_as_it_should(field):
    value, decides, said = CHANGES[field]
    stored, asked = make(), make(**{field: value})
    assert (stored.fingerprint() != asked.fingerprint()) == decides
    differences = stored.differences(asked)
    if said is None:
        assert differences == []
    else:
        assert any(re.search(said, text) for text in differences), differences


def test_other_stimuli_are_counted_and_named():
    asked = make(
        stimulus_ids=("a.png", "b.png", "z.png"),
        stimulus_hashes=(),
        labels=None,
        groups=None,
    )
    (text,) = make().differences(asked)
    assert text == (
        "stimuli: stored 4, asked for 3; not stored: 'z.png'; not asked for: 'c.png', 'd.png'"
    )
    many = [f"{i}.png" for i in range(20)]
    text = make().differences(
        make(stimulus_ids=(*IDS, *many), stimulus_hashes=(), labels=(), groups=())
    )[0]
    assert "'4.png' and 15 more" in text


def test_content_is_compared_by_stimulus_not_by_position():
    asked = make(
        stimulus_ids=("b.png", "a.png", "c.png", "d.png"),
        stimulus_hashes=("h1", "h0", "h2", "other"),
        labels=("x", "x", "y", "y"),
    )
    differences = make().differences(asked)
    assert any("order differs, first at position 0" in text for text in differences)
    assert "stimuli: 1 has other content: 'd.png'" in differences


def test_layers_that_differ_in_shape_type_or_order():
    first, second = make().layers
    swapped = make().differences(make(layers=(second, first)))
    assert swapped == [
        "layers: the order differs, first at position 0: stored 'features.0', asked for 'fc'"
    ]
    other = make().differences(make(layers=(replace(first, shape=(6,), dtype="float16"), second)))
    assert other == ["layers: 'features.0' is stored as (2, 3) float32, asked for as (6,) float16"]


def test_long_texts_are_cut_around_what_differs():
    long = "step " * 200
    (text,) = make(preprocessing=long + "A" + long).differences(
        make(preprocessing=long + "B" + long)
    )
    assert len(text) < 250
    assert "step Astep" in text
    assert "step Bstep" in text


def test_versions_that_differ_are_said():
    asked = make(versions={"isomorph": "9", "numpy": np.__version__})
    stored = make(versions={"isomorph": "1", "numpy": np.__version__, "torch": "2"})
    assert stored.version_differences(asked) == [
        "isomorph: stored with 1, now 9",
        "torch: stored with 2, now None",
    ]


def test_file_names_are_safe_readable_and_unique():
    names = [
        "features.10",
        "layer1.0.relu#1",
        "attn[0]",
        "(root)",
        "blocks.0.attn:softmax",
        "Relu",
        "relu",
        "attn-0",
        "a/b\\c",
        "../../etc/passwd",
        "stimuli",
        "file_names",
        "con",
        "con.1",
        "名",
        "名字",
        "x" * 400,
        "x" * 401,
        ".hidden.",
    ]
    stems = file_stems(names)
    assert stems[:6] == (
        "features.10",
        "layer1.0.relu-1",
        "attn-0-2",
        "root",
        "blocks.0.attn-softmax",
        "Relu",
    )
    assert stems[7] == "attn-0"
    assert len({stem.lower() for stem in stems}) == len(names)
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    for stem in stems:
        assert set(stem) <= allowed
        assert stem[0] not in ".-"
        assert len(stem) < 200
        assert stem.lower() not in {"stimuli", "file_names", "manifest", "progress"}
        assert stem.split(".")[0].lower() != "con"


def test_file_names_are_unique_for_any_names():
    rng = np.random.default_rng(0)
    alphabet = list("aA.-_#[0/")
    names = sorted({"".join(rng.choice(alphabet, size=rng.integers(1, 6))) for _ in range(3000)})
    stems = file_stems(names)
    assert len({stem.lower() for stem in stems}) == len(names)
    for name, stem in zip(names, stems, strict=True):
        assert stem == file_stems([name])[0] or "-" in stem


def test_parts_cover_the_rows():
    manifest = make(rows_per_file=3)
    assert manifest.parts(manifest.layers[0]) == (
        (0, 3, "features.0.0000000-0000003.npy"),
        (3, 4, "features.0.0000003-0000004.npy"),
    )
    assert make().parts(make().layers[1]) == ((0, 4, "fc.npy"),)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("torch.float16", "float16"),
        ("bfloat16", "float32"),
        ("float8_e4m3fn", "float32"),
        ("float64", "float64"),
        ("uint8", "float32"),
        ("bool", "float32"),
        ("int16", "float32"),
        ("int32", "float64"),
    ],
)
def test_stored_dtype_holds_every_value(name, expected):
    assert stored_dtype(name) == expected
    assert expected in DTYPES
    kind = getattr(np, name.removeprefix("torch."), None) if "float" not in name else None
    if kind is not None and name != "bool":
        ends = np.array([np.iinfo(kind).min, np.iinfo(kind).max], dtype=kind)
        np.testing.assert_array_equal(ends.astype(expected).astype(kind), ends)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stimulus_ids": ()}, "at least one stimulus and one layer, got 0 and 2"),
        ({"layers": ()}, "at least one stimulus and one layer, got 4 and 0"),
        ({"labels": ("x",)}, "labels: expected one for each of 4 stimuli, got 1"),
        ({"stimulus_hashes": ("x",)}, "stimulus_hashes: expected one for each of 4"),
        ({"stimulus_ids": ("a", "b\nc", "d", "e")}, "names of one line, got 'b\\\\nc'"),
        ({"layers": (StoredLayer("a", (1,), "float32"),) * 2}, "layers: expected each once, got a"),
        ({"rows_per_file": 0}, "rows_per_file: expected at least 1, got 0"),
        ({"rows_per_file": 2, "format": "zarr"}, "in chunks of rows already"),
    ],
)
def test_bad_manifests_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_bad_layers_are_refused():
    with pytest.raises(
        ValueError, match="'fc': expected dtype float16, float32, float64, got 'int64'"
    ):
        StoredLayer("fc", (3,), "int64")
    with pytest.raises(ValueError, match="at least one value a stimulus, got shape"):
        StoredLayer("fc", (3, 0), "float32")
    for file in ("../x.npy", "/etc/passwd", "a\\b.npy", ".."):
        with pytest.raises(ValueError, match="name of a file in the folder"):
            StoredLayer("fc", (3,), "float32", file)
    with pytest.raises(KeyError, match="unknown format 'hdf'"):
        make(format="hdf")
    with pytest.raises(
        ValueError, match="float16, float32 or float64|real numbers, got 'complex64'"
    ):
        stored_dtype("complex64")


@pytest.mark.parametrize(
    ("before", "now", "precision", "differs"),
    [
        ("1 2 3", "1.002 2 3", "float32", False),
        ("1 2 3", "1.004 2 3", "float32", True),
        ("1 2 3", "1.1 2 3", "bfloat16", False),
        ("1 2 3", "1.2 2 3", "bfloat16", True),
        ("1e-9 2e-9", "1e-9 2.1e-9", "float32", True),
        ("0 0", "0 0", "float32", False),
        ("0 0", "0 1e-9", "float32", True),
        ("nan inf 1", "nan inf 1", "float32", False),
        ("nan inf 1", "0 inf 1", "float32", True),
        ("nan nan", "nan nan", "float32", False),
        ("1 2", "1 2 3", "float32", True),
    ],
)
def test_probes_are_compared_with_a_tolerance(before, now, precision, differs):
    stored = make(probes={"fc": (before,)}, precision=precision)
    asked = make(probes={"fc": (now,)}, precision=precision)
    assert Manifest.from_json(stored.to_json()) == stored
    assert bool(stored.differences(asked)) == differs
    assert bool(
        make(probes={"(inputs)": (before,)}).differences(make(probes={"(inputs)": (now,)}))
    ) == (differs or precision == "bfloat16")


def test_values_are_told_of_only_where_nothing_else_explains_them():
    other = {"features.0": ("9 9",), "fc": ("9 9 9",)}
    stored = make(probes={"features.0": ("1 2",), "fc": ("1 2 3",)})
    (text,) = stored.differences(make(probes=other))
    assert "layers 'features.0', 'fc' give other values" in text
    (text,) = stored.differences(make(probes=other, weights="3c4d9999aaaa"))
    assert text.startswith("weights:")
    (text,) = stored.differences(make(probes=other, inputs_hash="i2"))
    assert text.startswith("inputs:")
    # What an earlier version wrote has none, and a layer may be asked for that was not probed.
    assert make(probes={}, inputs_hash="").differences(make(probes=other, inputs_hash="i2")) == []
    assert make(probes={"x": ("1",)}).differences(make(probes={"fc": ("1 2 3",)})) == []


def test_damaged_and_later_manifests_are_refused(tmp_path):
    assert read_manifest(tmp_path) is None
    path = tmp_path / "manifest.json"
    for text, message in (
        ("{", "cannot be read as one"),
        ("[1]", "cannot be read as one"),
        ('{"schema": 99}', "expected schema 1, got 99"),
        ('{"schema": 1, "layers": []}', "damaged"),
        ('{"schema": 1}', "damaged"),
        (make().to_json().replace('"features.0.npy"', '"../up.npy"'), "name of a file"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_manifest(tmp_path)
    path.write_text(make().to_json(), encoding="utf-8")
    assert read_manifest(tmp_path) == make(created=read_manifest(tmp_path).created)
