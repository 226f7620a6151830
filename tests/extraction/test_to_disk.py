"""Features on disk: the same numbers as in memory, whatever interrupts the work."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import datasets, transforms

from isomorph.extraction import FeatureExtractor, Model, extract_features, to_disk
from isomorph.extraction.stored import differences
from isomorph.extraction.stored.contents import PROGRESS_NAME
from isomorph.extraction.stored.formats import FORMATS
from isomorph.extraction.stored.manifest import read_manifest
from isomorph.stimuli import from_arrays, from_texts


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(144, 5))


@pytest.fixture
def inputs():
    return torch.randn(11, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_every_format_holds_what_memory_holds(format, inputs, tmp_path):
    expected = extract_features(network(), inputs, progress=False, batch_size=4)
    found = extract_features(
        network(), inputs, out=tmp_path / "f", format=format, batch_size=4, progress=False
    )
    assert list(found) == list(expected)
    assert found.ids == expected.ids
    for name, item in expected.items():
        stored = np.asarray(found[name]).reshape(item.shape)
        np.testing.assert_array_equal(stored, item.numpy())


@pytest.mark.parametrize(
    "options",
    [
        {"pool": "max"},
        {"project": 20, "seed": 1},
        {"dtype": "float16"},
        {"dtype": "bfloat16"},
        {"flatten": True},
        {"layers": [nn.ReLU, 1.0]},
        {"tensor_fn": lambda rows: rows.flatten(1)[:, :3]},
    ],
    ids=lambda options: next(iter(options)),
)
def test_reductions_are_written_as_they_are_kept(options, inputs, tmp_path):
    expected = extract_features(network(), inputs, progress=False, **options)
    found = extract_features(network(), inputs, out=tmp_path, progress=False, **options)
    assert list(found) == list(expected)
    for name, item in expected.items():
        assert found[name].shape == tuple(item.shape)
        wide = item.float() if item.dtype == torch.bfloat16 else item
        np.testing.assert_array_equal(found[name], wide.numpy())


def test_groups_are_written_as_their_rows(tmp_path):
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.embed = nn.Embedding(30, 4)

        def forward(self, ids):
            return self.embed(ids)

    def tokens(text):
        return torch.tensor([ord(letter) - 96 for letter in text])

    stimuli = from_texts(["cat", "dog", "cow", "ant", "bee"], groups=[2, 1, 2, 1, 2])
    model = Model(Bag(), tokens)
    options = {"group": "mean", "pool": "mean", "progress": False}
    expected = extract_features(model, stimuli, batch_size=2, **options)
    found = extract_features(model, stimuli, batch_size=2, out=tmp_path, **options)
    assert found.ids == ("2", "1")
    np.testing.assert_array_equal(found["embed"], expected["embed"].numpy())


# A forward pass that is slow enough to be killed in the middle, and a commit after each batch.
SLOW = """
import sys, time, torch
from torch import nn
from isomorph.extraction import extract_features, to_disk

to_disk.SECONDS_BETWEEN_COMMITS = 0
torch.manual_seed(0)
torch.set_num_threads(1)
module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(144, 5))
inputs = torch.randn(40, 3, 8, 8, generator=torch.Generator().manual_seed(0))
pause = float(sys.argv[3])
module[3].register_forward_hook(lambda *_: time.sleep(pause))
extract_features(
    module, inputs, out=sys.argv[1], format=sys.argv[2], batch_size=2, progress=False
)
print("done", flush=True)
"""


def run_slow(folder: Path, format: str, pause: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, str(folder), format, str(pause)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def wait_for_progress(folder: Path) -> None:
    """Wait until two more commits were made."""
    seen: set[str] = set()
    until = time.monotonic() + 60
    while len(seen) < 3 and time.monotonic() < until:
        with contextlib.suppress(FileNotFoundError):
            seen.add((folder / PROGRESS_NAME).read_text())
        time.sleep(0.01)


def digests(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.is_file() and path.suffix != ".json"
    }


@pytest.mark.slow
@pytest.mark.parametrize("format", ["npy", "hdf5"])
def test_a_killed_extraction_goes_on_and_gives_the_same_bytes(format, tmp_path):
    with run_slow(tmp_path / "whole", format, 0) as whole:
        assert "done" in whole.communicate(timeout=120)[0]
    killed = 0
    for _ in range(3):
        with run_slow(tmp_path / "cut", format, 0.15) as work:
            wait_for_progress(tmp_path / "cut")
            if work.poll() is None:
                work.send_signal(signal.SIGKILL)
                killed += 1
        assert not (tmp_path / "cut" / f"0.{format}").exists()  # nothing half-written has its name
    assert killed == 3
    with pytest.raises(ValueError, match=r"\d+ of 40"):
        to_disk.load_features(tmp_path / "cut")
    with run_slow(tmp_path / "cut", format, 0) as last:
        assert "done" in last.communicate(timeout=120)[0]
    assert digests(tmp_path / "cut") == digests(tmp_path / "whole")


def interrupted(module, inputs, folder, after: int, **options):
    """Run until the model has seen so many batches, then break."""
    seen = 0

    def count(*_):
        nonlocal seen
        seen += 1
        if seen > after:
            raise KeyboardInterrupt

    handle = module[3].register_forward_hook(count)
    with pytest.raises(KeyboardInterrupt):
        extract_features(module, inputs, out=folder, progress=False, **options)
    handle.remove()


def test_what_is_done_is_not_done_again(inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(to_disk, "SECONDS_BETWEEN_COMMITS", 0)
    module = network()
    interrupted(
        module, inputs, tmp_path / "a", 3 + 1 + 3, batch_size=2
    )  # survey, probe, three batches
    sizes = []
    handle = module[0].register_forward_hook(lambda _m, args, _o: sizes.append(len(args[0])))
    found = extract_features(module, inputs, out=tmp_path / "a", progress=False, batch_size=2)
    handle.remove()
    assert sizes == [2, 3, 5, 3, 2, 2, 1]  # the survey, the probe, and what was left
    expected = extract_features(module, inputs, batch_size=2, progress=False)
    for name, item in expected.items():
        np.testing.assert_array_equal(found[name], item.numpy())


def test_an_interruption_keeps_every_whole_batch(inputs, tmp_path):
    interrupted(network(), inputs, tmp_path / "a", 4 + 3, batch_size=2)
    with pytest.raises(ValueError, match=r"6 of 11"):
        to_disk.load_features(tmp_path / "a")


def test_another_batch_size_goes_on_in_the_first_one(inputs, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(to_disk, "SECONDS_BETWEEN_COMMITS", 0)
    module = network()
    interrupted(module, inputs, tmp_path / "a", 3 + 1 + 2, batch_size=3)
    found = extract_features(module, inputs, out=tmp_path / "a", progress=False, batch_size=5)
    assert "going on with 3, as the folder was begun, and not 5" in caplog.text
    expected = extract_features(module, inputs, batch_size=3, progress=False)
    np.testing.assert_array_equal(found["3"], expected["3"].numpy())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": network(1)}, r"weights: stored \w+…, asked for \w+…"),
        ({"stimuli": "flipped"}, "stimuli: the order differs"),
        ({"preprocess": "other"}, "preprocessing"),
        ({"pool": "mean"}, "reduction|shape"),
        ({"layers": "0"}, "layers"),
        ({"precision": "bfloat16"}, "precision"),
    ],
)
def test_a_folder_with_something_else_is_refused(change, message, tmp_path):
    arrays = np.random.default_rng(0).integers(0, 255, (5, 8, 8, 3), dtype=np.uint8)
    images = from_arrays(arrays, ids=list("abcde"))

    def first(image):
        return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1) / 255

    def other(image):
        return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1) / 127

    extract_features(Model(network(), first), images, out=tmp_path, progress=False)
    before = digests(tmp_path)
    change = dict(change)
    stimuli = images.subset([4, 3, 2, 1, 0]) if change.pop("stimuli", "") else images
    model = Model(change.pop("model", network()), other if change.pop("preprocess", "") else first)
    with pytest.raises(ValueError, match=message):
        extract_features(model, stimuli, out=tmp_path, progress=False, **change)
    assert digests(tmp_path) == before
    found = extract_features(model, stimuli, out=tmp_path, progress=False, overwrite=True, **change)
    assert found.ids == stimuli.ids


class Clipped(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.clip = nn.Linear(4, 4), nn.Hardtanh(-50, 50)

    def forward(self, x):
        return self.clip(self.layer(x)) + 1


@pytest.mark.parametrize("place", [7, 4])  # 4 is among the few that are run for the manifest
def test_a_duplicate_by_chance_becomes_a_layer_on_disk_too(place, tmp_path):
    inputs = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    inputs[place] *= 1000
    found = extract_features(Clipped(), inputs, out=tmp_path, batch_size=4, progress=False)
    assert list(found) == ["layer", "clip", "(root)"]
    np.testing.assert_array_equal(found["clip"], np.clip(found["layer"], -50, 50))
    again = extract_features(Clipped(), inputs, out=tmp_path, batch_size=4, progress=False)
    assert list(again) == ["layer", "clip", "(root)"]


def test_writing_needs_one_pass_whatever_the_limit(inputs, tmp_path):
    extractor = FeatureExtractor(network(), inputs, memory_limit=7_000, progress=False)
    assert len(extractor) > 1
    passes = []
    extractor.model.module[0].register_forward_hook(lambda *_: passes.append(1))
    extractor.write(tmp_path)
    assert len(passes) == 2  # a few stimuli for the manifest, and all of them


class Scaled(nn.Sequential):
    """Does something that neither its repr nor its saved weights show."""

    def __init__(self, kind, value):
        torch.manual_seed(0)
        super().__init__(nn.Linear(4, 3), nn.Linear(3, 2))
        self.kind = kind
        if kind == "buffer":
            self.register_buffer("value", torch.tensor(float(value)), persistent=False)
        else:
            self.value = [torch.relu, torch.tanh][value - 1] if kind == "function" else value

    def forward(self, x):
        if self.kind == "function":
            return super().forward(self.value(x))
        return self[1](self[0](x) * (1 + self.value / 100))


@pytest.mark.parametrize("kind", ["buffer", "function", "number"])
def test_a_change_that_no_name_shows_is_noticed_by_the_values(kind, tmp_path):
    inputs = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    extract_features(Scaled(kind, 1), inputs, out=tmp_path, progress=False)
    extract_features(Scaled(kind, 1), inputs, out=tmp_path, batch_size=2, progress=False)
    before = digests(tmp_path)
    with pytest.raises(ValueError, match=r"values: layers? .*'1'.* other values than when .*now"):
        extract_features(Scaled(kind, 2), inputs, out=tmp_path, progress=False)
    assert digests(tmp_path) == before
    found = extract_features(Scaled(kind, 2), inputs, out=tmp_path, progress=False, overwrite=True)
    expected = extract_features(Scaled(kind, 2), inputs, progress=False)
    np.testing.assert_array_equal(found["1"], expected["1"])


def test_another_tensor_fn_is_noticed(tmp_path):
    inputs = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))

    def scaled(by):
        return lambda rows: rows * by

    module, options = nn.Linear(4, 3), {"out": tmp_path, "progress": False}
    extract_features(module, inputs, tensor_fn=scaled(1), **options)
    extract_features(module, inputs, tensor_fn=scaled(1), **options)
    with pytest.raises(ValueError, match="reduction: tensor_fn stored .*, asked for"):
        extract_features(module, inputs, tensor_fn=scaled(2), **options)


def pictures(folder):
    rng = np.random.default_rng(0)
    for name in "abcd":
        (folder / "c").mkdir(parents=True, exist_ok=True)
        array = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(array).save(folder / "c" / f"{name}.png")
    return folder


class Brightened(datasets.ImageFolder):
    """Does something to its items that it calls no transform."""

    by = 1.0

    def __getitem__(self, index):
        return super().__getitem__(index)[0] * self.by


def test_another_transform_of_a_data_set_is_noticed(tmp_path):
    folder, out = pictures(tmp_path / "images"), tmp_path / "features"
    plain, centred = transforms.ToTensor(), transforms.Normalize(0.5, 0.5)
    module = network()
    extract_features(module, datasets.ImageFolder(folder, plain), out=out, progress=False)
    extract_features(
        module, datasets.ImageFolder(folder, transforms.ToTensor()), out=out, progress=False
    )
    other = datasets.ImageFolder(folder, transforms.Compose([plain, centred]))
    with pytest.raises(
        ValueError, match=r"preprocessing: stored 'data set: ToTensor\(\).*Normalize"
    ):
        extract_features(module, other, out=out, progress=False)


def test_inputs_that_change_where_nothing_says_so_are_noticed(tmp_path):
    folder, out = pictures(tmp_path / "images"), tmp_path / "features"
    module, dataset = network(), Brightened(folder, transforms.ToTensor())
    extract_features(module, dataset, out=out, progress=False)
    extract_features(module, dataset, out=out, progress=False)
    dataset.by = 1.01
    with pytest.raises(ValueError, match="inputs: the same stimuli are other inputs .*stored.*now"):
        extract_features(module, dataset, out=out, progress=False)

    class Words:
        shift = 0

        def __call__(self, text):
            return torch.tensor([ord(letter) - 96 + self.shift for letter in text])

    torch.manual_seed(0)
    model = Model(nn.Embedding(30, 4), Words(), preprocess_spec="letters")
    texts = from_texts(["cat", "dog", "cow", "ant", "bee"])
    extract_features(model, texts, out=tmp_path / "texts", progress=False)
    Words.shift = 1
    with pytest.raises(ValueError, match="inputs: the same stimuli are other inputs than"):
        extract_features(model, texts, out=tmp_path / "texts", progress=False)


@pytest.mark.parametrize("options", [{}, {"dtype": "bfloat16"}, {"precision": "bfloat16"}])
def test_rounding_is_no_difference(options, inputs, tmp_path):
    module = network()
    extract_features(module, inputs, out=tmp_path, batch_size=5, progress=False, **options)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        again = extract_features(
            module, inputs, out=tmp_path, batch_size=2, progress=False, **options
        )
    finally:
        torch.set_num_threads(threads)
    assert list(again) == list(extract_features(module, inputs, progress=False))


def test_the_manifest_says_what_a_few_stimuli_give(inputs, tmp_path):
    expected = extract_features(network(), inputs, pool="max", progress=False)
    extract_features(network(), inputs, pool="max", out=tmp_path, progress=False)
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    assert set(manifest.probes) == {differences.INPUTS, *expected}
    for name, item in {**expected, differences.INPUTS: inputs}.items():
        flat = item.flatten(start_dim=1).double()
        for words, row in zip(manifest.probes[name], (0, 10, 5), strict=True):
            numbers = np.array(words.split(), dtype=float)
            n = min(8, flat.shape[1])
            places = np.linspace(0, flat.shape[1] - 1, n).astype(int)
            np.testing.assert_allclose(numbers[:n], flat[row, places], rtol=2e-5, atol=1e-6)
            np.testing.assert_allclose(numbers[-2], flat[row].mean(), rtol=2e-5, atol=1e-6)
            np.testing.assert_allclose(numbers[-1], (flat[row] ** 2).mean() ** 0.5, rtol=2e-5)
    assert manifest.versions["device"] == ("cuda" if torch.cuda.is_available() else "cpu")


def test_groups_and_labels_are_kept_where_every_stimulus_is_a_row(tmp_path):
    def tokens(text):
        return torch.tensor([ord(letter) - 96 for letter in text])

    model = Model(nn.Embedding(30, 4), tokens)
    stimuli = from_texts(["cat", "dog", "cow"], groups=[2, 1, 2])
    extract_features(model, stimuli, out=tmp_path / "each", progress=False)
    extract_features(model, stimuli, group="mean", out=tmp_path / "groups", progress=False)
    each, grouped = read_manifest(tmp_path / "each"), read_manifest(tmp_path / "groups")
    assert each is not None
    assert each.groups == ("2", "1", "2")
    assert grouped is not None
    assert grouped.groups is None
    assert grouped.stimulus_ids == ("2", "1")


def test_a_folder_without_a_name_is_refused(inputs):
    with pytest.raises(ValueError, match="expected the name of a folder, got ''|empty name"):
        FeatureExtractor(network(), inputs, progress=False).write("")
