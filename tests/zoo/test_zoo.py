"""Names, weights and preprocessing of models."""

from __future__ import annotations

import dataclasses
import os
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torchvision import models

from isomorph.registry import UnknownNameError
from isomorph.zoo import list_models, load_model
from isomorph.zoo.uid import ModelName, parse_uid

SMALL = "torchvision/squeezenet1_1"


def test_the_catalogue_lists_every_published_classification_weight_set():
    frame = list_models(source="torchvision", task="classification")
    expected = {
        f"torchvision/{name}@{entry.name}"
        for name in models.list_models(module=models)
        for entry in models.get_model_weights(name)
    }
    assert set(frame["uid"]) == expected
    assert frame["uid"].is_unique
    row = frame.set_index("uid").loc["torchvision/alexnet@IMAGENET1K_V1"]
    assert row["n_params"] == sum(p.numel() for p in models.alexnet(weights=None).parameters())
    assert row["input_size"] == 224
    assert row["default"]
    assert (frame.groupby("name")["default"].sum() == 1).all()


def test_queries_of_the_catalogue():
    assert list_models(name="alexnet")["uid"].tolist() == ["torchvision/alexnet@IMAGENET1K_V1"]
    with pytest.raises(UnknownNameError, match="unknown column of list_models.*'train_data'"):
        list_models(train_dat="x")


def test_uids_are_taken_apart():
    assert parse_uid("torchvision/alexnet") == ModelName("torchvision", "alexnet", "")
    assert parse_uid("torchvision/alexnet@random-12").random_seed == 12
    assert parse_uid("torchvision/alexnet@IMAGENET1K_V1").random_seed is None
    with pytest.raises(ValueError, match="expected source/name or source/name@weights"):
        parse_uid("alexnet")


def test_random_twin_is_seeded_and_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first = load_model(SMALL, weights=None, seed=1)
    assert torch.equal(torch.rand(2), expected)
    again = load_model(f"{SMALL}@random-1")
    other = load_model(SMALL, weights=None, seed=2)
    assert first.uid == again.uid == f"{SMALL}@random-1"
    assert first.weights_hash() == again.weights_hash() != other.weights_hash()
    assert first.fingerprint() != other.fingerprint()


def test_random_twin_has_the_architectures_own_initialisation():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        expected = models.squeezenet1_1(weights=None).state_dict()
    found = load_model(SMALL, weights=None).module.state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_models_come_in_evaluation_mode_with_their_own_transforms():
    module, preprocess = load_model(SMALL, weights=None)
    assert not module.training
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8))
    expected = models.SqueezeNet1_1_Weights.IMAGENET1K_V1.transforms()(picture)
    assert torch.equal(preprocess(picture), expected)


@pytest.mark.parametrize("form", ["safetensors", "pth", "wrapped", "prefixed"])
def test_local_files_load_strictly_and_name_the_model(form, tmp_path):
    state = load_model(SMALL, weights=None, seed=7).module.state_dict()
    path = tmp_path / ("net.safetensors" if form == "safetensors" else "net.pth")
    if form == "safetensors":
        safetensors.torch.save_file(state, path)
    elif form == "pth":
        torch.save(state, path)
    elif form == "wrapped":
        torch.save({"state_dict": state, "epoch": 3}, path)
    else:
        torch.save({f"module.{name}": value for name, value in state.items()}, path)
    model = load_model(SMALL, weights=str(path))
    loaded = model.module.state_dict()
    assert all(torch.equal(state[name], loaded[name]) for name in state)
    assert model.uid.startswith(f"{SMALL}@file-")
    assert len(model.uid.rpartition("-")[2]) == 8


def test_weights_of_another_architecture_list_the_differences(tmp_path):
    path = tmp_path / "resnet.pth"
    torch.save(models.resnet18(weights=None).state_dict(), path)
    with pytest.raises(ValueError, match="do not fit") as caught:
        load_model(SMALL, weights=path)
    message = str(caught.value)
    assert "52 missing (features.0.weight" in message
    assert "unknown (conv1.weight" in message
    assert "Nothing was loaded" in message


def test_weights_of_another_shape_list_the_shapes(tmp_path):
    state = load_model(SMALL, weights=None).module.state_dict()
    state["classifier.1.weight"] = state["classifier.1.weight"][:10]
    path = tmp_path / "net.pth"
    torch.save(state, path)
    with pytest.raises(ValueError, match=r"1 shape \(classifier\.1\.weight \(10, 512, 1, 1\) for"):
        load_model(SMALL, weights=path)


def test_files_that_are_no_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match="weights: no file at"):
        load_model(SMALL, weights=tmp_path / "none.pth")
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    with pytest.raises(ValueError, match="is not a readable safetensors file"):
        load_model(SMALL, weights=tmp_path / "junk.safetensors")
    (tmp_path / "table.csv").write_text("a,b")
    with pytest.raises(ValueError, match="expected a .safetensors, .pth"):
        load_model(SMALL, weights=tmp_path / "table.csv")
    torch.save({"loss": [1, 2]}, tmp_path / "log.pth")
    with pytest.raises(ValueError, match="holds no state dict"):
        load_model(SMALL, weights=tmp_path / "log.pth")


class Evil:
    def __reduce__(self):
        return (os.system, ("touch pwned",))


def test_nothing_is_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="could not be read as tensors only"):
        load_model(SMALL, weights=tmp_path / "evil.pth")
    assert not (tmp_path / "pwned").exists()


def test_weights_that_cannot_be_downloaded_say_where_to_put_the_file(tmp_path, monkeypatch):
    def no_network(*_args, **_kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    with pytest.raises(FileNotFoundError) as caught:
        load_model(SMALL)
    message = str(caught.value)
    assert str(tmp_path / "checkpoints" / "squeezenet1_1-b8a52dc0.pth") in message
    assert "weights=FILE" in message
    assert "weights=None gives the random twin" in message


def test_unknown_names_get_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown model source 'torchvison'.*'torchvision'"):
        load_model("torchvison/alexnet")
    with pytest.raises(UnknownNameError, match="unknown torchvision model 'alexnett'.*'alexnet'"):
        load_model("torchvision/alexnett")
    with pytest.raises(
        UnknownNameError, match=r"unknown weights of torchvision/alexnet 'IMAGENET1K_V9'"
    ):
        load_model("torchvision/alexnet@IMAGENET1K_V9")
    with pytest.raises(ValueError, match="give weights once"):
        load_model("torchvision/alexnet@random-0", weights="IMAGENET1K_V1")


def test_the_real_network_knows_a_cat(data_folder):
    model = load_model(
        "torchvision/squeezenet1_0",
        weights=data_folder / "squeezenet1_0" / "squeezenet1_0.safetensors",
    )
    names = (data_folder / "squeezenet1_0" / "imagenet1000_classes.txt").read_text().splitlines()
    with Image.open(data_folder / "photos" / "cat.bmp") as picture, torch.inference_mode():
        best = int(model(model.preprocess(picture.convert("RGB"))[None]).argmax())
    assert "cat" in names[best].lower()


def test_a_published_uid_gives_its_twin():
    for row in list_models(source="torchvision", name="squeezenet1_1")["uid"]:
        assert load_model(row, weights=None).uid == f"{SMALL}@random-0"


def test_a_changed_preprocessing_changes_the_fingerprint():
    model = load_model(SMALL, weights=None)
    other = dataclasses.replace(
        model, preprocess=dataclasses.replace(model.preprocess, crop=None, resize=(64, 64))
    )
    assert other.uid == model.uid
    assert other.preprocess_spec != model.preprocess_spec
    assert other.fingerprint() != model.fingerprint()
    assert dataclasses.replace(model).fingerprint() == model.fingerprint()


def test_twins_do_not_depend_on_threads_or_the_callers_defaults():
    expected = load_model(SMALL, weights=None).weights_hash()
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda _: load_model(SMALL, weights=None).weights_hash(), range(8))
        assert set(found) == {expected}
    torch.set_default_dtype(torch.float64)
    try:
        assert load_model(SMALL, weights=None).weights_hash() == expected
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.inference_mode():
        model = load_model(SMALL, weights=None)
    assert not any(weight.is_inference() for weight in model.module.parameters())
    assert model.weights_hash() == expected


@pytest.mark.parametrize("seed", [-1, True, 1.5, 2**64, "3"])
def test_seeds_are_whole_numbers(seed):
    with pytest.raises(ValueError, match="seed: expected a whole number from 0, got"):
        load_model(SMALL, weights=None, seed=seed)


def test_what_is_no_weights_is_told():
    with pytest.raises(TypeError, match=r"got Linear. Of a module, give module.state_dict"):
        load_model(SMALL, weights=torch.nn.Linear(2, 2))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="got int"):
        load_model(SMALL, weights=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"expected names and tensors, got str and ndarray"):
        load_model(SMALL, weights={"a": np.zeros(3)})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="expected a name such as"):
        load_model(None)  # type: ignore[arg-type]
    state = load_model(SMALL, weights=None).module.state_dict()
    coded = {name: (100 * value).to(torch.int8) for name, value in state.items()}
    with pytest.raises(ValueError, match="got torch.int8. Quantised weights are not decoded"):
        load_model(SMALL, weights=coded)
