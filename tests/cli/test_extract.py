"""`isomorph extract`: the plan as a table, features in a folder, errors in one message."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import isomorph as iso
from isomorph.cli.main import app

MODEL = ["extract", "torchvision/squeezenet1_1@random-0"]


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(3):
        pixels = rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def test_show_needs_no_stimuli_and_prints_every_layer():
    done = run(*MODEL, "--show")
    assert done.exit_code == 0, done.output
    header = next(line for line in done.output.splitlines() if "layer" in line and "type" in line)
    assert header.split() == [
        "index",
        "layer",
        "type",
        "shape",
        "features",
        "bytes",
        *["same", "as"],
        "note",
    ]
    for words in ("features.3.squeeze_activation", "16×55×55", "48,400", "193.6 KB", "Conv2d"):
        assert words in done.output
    assert "…" not in done.output


def test_show_of_chosen_layers_alone():
    done = run(*MODEL, "--show", "--layers", "features.0 0.5 penultimate", "--pool", "mean")
    assert done.exit_code == 0, done.output
    rows = [line for line in done.output.splitlines() if "features." in line]
    assert len(rows) == 3
    assert "64×111×111" in rows[0]


def test_features_are_written_and_found_complete(images, tmp_path):
    out = tmp_path / "out"
    command = [
        *[*MODEL, "--stimuli", images, "--layers", "blocks", "--pool", "mean"],
        *["--out", out, "--no-progress"],
    ]
    done = run(*command)
    assert done.exit_code == 0, done.output
    assert "Pre-flight" in done.output
    assert "wrote 8 layers of 3 stimuli" in done.output
    stored = iso.load_features(out)
    assert stored.ids == ("0.png", "1.png", "2.png")
    model = iso.load_model("torchvision/squeezenet1_1", weights=None)
    expected = iso.extract_features(model, images, "blocks", pool="mean", progress=False)
    for name, item in expected.items():
        np.testing.assert_array_equal(stored[name], item.numpy())
    assert run(*command).exit_code == 0


def test_dry_run_writes_nothing(images, tmp_path):
    done = run(*MODEL, "-s", images, "--out", tmp_path / "out", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "about" in done.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "OUT"], "--stimuli: expected a folder"),
        (["-s", "IMAGES"], "--out: expected a folder to write to"),
        (["-s", "NOWHERE", "--out", "OUT"], "got nothing there"),
        (["-s", "IMAGES", "--out", "OUT", "--layers", "featurs.3"], "Did you mean 'features.3'"),
        (["-s", "IMAGES", "--out", "OUT", "--layers", "1.5"], "from 0.0 (the first layer)"),
        (["-s", "IMAGES", "--out", "OUT", "--pool", "avg"], "unknown pooling 'avg'"),
        (["-s", "IMAGES", "--out", "OUT", "--format", "pickle"], "unknown format"),
        (["-s", "IMAGES", "--out", "OUT", "--project", "-3"], "expected 1 or more components"),
        (["--show", "--tokens", "cls"], "gives tokens"),
    ],
)
def test_mistakes_are_one_message_and_leave_nothing(arguments, message, images, tmp_path):
    places = {"IMAGES": images, "OUT": tmp_path / "out", "NOWHERE": tmp_path / "nowhere"}
    done = run(*MODEL, "--no-progress", *[places.get(item, item) for item in arguments])
    assert done.exit_code == 2, done.output
    assert message in done.output.replace("\n", " ")
    assert "Traceback" not in done.output
    assert not (tmp_path / "out").exists()
