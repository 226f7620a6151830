"""The catalogue as a whole: its vocabulary, its cache, plug-ins and models of one's own."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pandas as pd
import pytest
import torch
from torch import nn

from isomorph.registry import UnknownNameError
from isomorph.zoo import (
    ImagePreprocess,
    as_model,
    list_models,
    load_model,
    model_sources,
    register_model,
)
from isomorph.zoo import catalogue as catalogue_file
from isomorph.zoo.registered import OURS
from isomorph.zoo.source import COLUMNS, FAMILIES, MODALITIES, TASKS
from isomorph.zoo.sources import own


def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 2))


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch):
    monkeypatch.setattr(own, "_registered", {})


@pytest.mark.parametrize("source", sorted(model_sources()))
def test_rows_keep_to_the_vocabulary(source):
    if not model_sources()[source].installed:
        pytest.skip(f"{model_sources()[source].library} is not installed")
    rows = list(model_sources()[source].rows())
    assert rows or source == "own"
    uids = [row.uid for row in rows]
    assert len(set(uids)) == len(uids)
    defaults: dict[str, int] = {}
    for row in rows:
        assert row.source == source
        assert row.modality in MODALITIES, row
        assert row.family in FAMILIES, row
        # A task may say more in brackets: Taskonomy has a score of them.
        assert row.task in TASKS or row.task.partition(" (")[0] in TASKS, row
        assert row.architecture, row
        assert "@" not in row.name, row
        assert not row.weights.startswith(("random-", "file-", "state-")), row
        assert row.n_params is None or row.n_params > 1000, row
        defaults[row.name] = defaults.get(row.name, 0) + row.default
    assert all(count == 1 for count in defaults.values()), [
        name for name, count in defaults.items() if count != 1
    ]


def test_the_table():
    frame = list_models()
    assert tuple(frame) == COLUMNS
    assert frame["uid"].is_unique
    assert not frame[["source", "name", "weights", "architecture"]].isna().any().any()
    twins = list_models(random_twins=True, where="train_data == 'none'")
    assert len(twins) == frame.groupby(["source", "name"]).ngroups
    assert twins["uid"].str.endswith("@random-0").all()
    assert twins["uid"].is_unique


def test_bad_questions_are_told():
    with pytest.raises(TypeError, match="expected texts as query and where, got 5"):
        list_models(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="input_size: expected a number"):
        list_models(input_size="224")
    with pytest.raises(UnknownNameError, match="unknown model source 'tim'. Did you mean 'timm'"):
        list_models(source="tim")
    assert set(list_models(source="hf")["source"]) == {"transformers"}
    with pytest.raises(UnknownNameError, match=r"is named hf/google/vit-base-patch16-224"):
        load_model("google/vit-base-patch16-224")


def test_the_callers_table_is_a_copy():
    frame = list_models()
    frame.loc[0, "task"] = "mine"
    assert list_models().loc[0, "task"] != "mine"


def test_it_is_kept_and_read_back_equal(tmp_path, monkeypatch):
    monkeypatch.setenv("ISOMORPH_CACHE", str(tmp_path))
    catalogue_file._catalogue.cache_clear()
    first = list_models()
    files = list((tmp_path / "catalogue").iterdir())
    assert len(files) == 1
    catalogue_file._catalogue.cache_clear()
    monkeypatch.setattr(catalogue_file, "as_frame", None)  # nothing is made anew
    pd.testing.assert_frame_equal(list_models(), first)
    monkeypatch.undo()
    catalogue_file._catalogue.cache_clear()


def test_a_cache_that_is_broken_or_cannot_be_written_costs_only_time(tmp_path, monkeypatch):
    monkeypatch.setenv("ISOMORPH_CACHE", str(tmp_path))
    catalogue_file._catalogue.cache_clear()
    first = list_models()
    (file,) = (tmp_path / "catalogue").iterdir()
    file.write_bytes(b"junk")
    catalogue_file._catalogue.cache_clear()
    pd.testing.assert_frame_equal(list_models(), first)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ISOMORPH_CACHE", str(tmp_path / "file"))
    catalogue_file._catalogue.cache_clear()
    pd.testing.assert_frame_equal(list_models(), first)
    catalogue_file._catalogue.cache_clear()


def test_a_name_in_one_source_needs_none_and_in_several_says_which():
    assert load_model("squeezenet1_1", weights=None).uid == "torchvision/squeezenet1_1@random-0"
    names = {source.name: source for source in model_sources().values() if source.installed}
    if "timm" in names:
        with pytest.raises(ValueError, match=r"'resnet18' is in \d+ sources. Say .*timm/resnet18"):
            load_model("resnet18", weights=None)
    with pytest.raises(UnknownNameError, match=r"unknown model 'squeezenet1_2'.*squeezenet1_1"):
        load_model("squeezenet1_2")


def test_a_state_dict_can_be_given():
    state = load_model("torchvision/squeezenet1_1", weights=None, seed=5).module.state_dict()
    model = load_model("torchvision/squeezenet1_1", weights=state)
    assert model.uid.startswith("torchvision/squeezenet1_1@state-")
    assert all(torch.equal(state[name], w) for name, w in model.module.state_dict().items())
    again = load_model("torchvision/squeezenet1_1", weights=dict(reversed(state.items())))
    assert again.uid == model.uid
    with pytest.raises(ValueError, match="weights: the state dict into .* do not fit") as caught:
        load_model("torchvision/squeezenet1_1", weights={"a": torch.ones(2)})
    assert caught.value.unknown == ("a",)  # type: ignore[attr-defined]
    assert "features.0.weight" in caught.value.missing  # type: ignore[attr-defined]


def test_own_models_are_found_by_name():
    torch.manual_seed(0)
    trained = net()
    uid = register_model(
        "lab/tiny",
        lambda: trained,
        build=net,
        preprocess=ImagePreprocess(2, 2),
        train_data="Ecoset",
        n_params=62,
    )
    assert uid == "own/lab/tiny@trained"
    assert list_models(source="own")["uid"].tolist() == [uid]
    assert list_models(train_data="Ecoset", source="own")["n_params"].tolist() == [62]
    model = load_model(uid)
    assert model.module is trained
    assert model.uid == load_model("own/lab/tiny").uid == uid
    assert model.preprocess == ImagePreprocess(2, 2)
    twin = load_model("own/lab/tiny", weights=None, seed=3)
    assert twin.uid == "own/lab/tiny@random-3"
    assert twin.weights_hash() == load_model("own/lab/tiny@random-3").weights_hash()
    with pytest.raises(ValueError, match="'lab/tiny' is already registered"):
        register_model("lab/tiny", net)
    with pytest.raises(UnknownNameError, match=r"unknown own model 'lab/tin'.*'lab/tiny'"):
        load_model("own/lab/tin")


def test_own_models_say_what_they_lack():
    with pytest.raises(ValueError, match=r"expected load= .* or build= .*, got neither"):
        register_model("a")
    with pytest.raises(ValueError, match="expected a name without '@'"):
        register_model("a@b", net)
    with pytest.raises(TypeError, match="no column 'trained_on'. There are modality"):
        register_model("a", net, trained_on="x")
    register_model("trained-only", net)
    with pytest.raises(ValueError, match="there is no random twin"):
        load_model("own/trained-only", weights=None)
    assert register_model("untrained", build=net) == "own/untrained@random-0"
    assert "own/untrained@random-0" not in set(list_models()["uid"])
    with pytest.raises(ValueError, match="expected published weights, and there are none"):
        load_model("own/untrained")


def test_a_module_of_nobody_is_a_model_without_preprocessing():
    model = as_model(net(), uid="own/x")
    assert model.preprocess is None
    assert model.uid == "own/x"
    assert as_model(model) is model
    given = ImagePreprocess(2, 2)
    assert as_model(net(), given).preprocess is given
    with pytest.raises(TypeError, match=r"expected a torch.nn.Module"):
        as_model("alexnet")  # type: ignore[arg-type]


PLUGIN = """
from torch import nn
from isomorph.zoo import Loaded, Row, Source


def rows():
    yield Row("mylab", "net", "v1", True, "vision", "mynet", "mlp", "other", "MyData", 9)


def build(name):
    return Loaded(nn.Linear(2, 3), None)


SOURCE = Source("mylab", "my lab's networks", rows, build, lambda name, weights, _: build(name))
WRONG = 3
TAKEN = Source("timm", "not timm", rows, build, lambda name, weights, _: build(name))
"""
SCRIPT = """
import isomorph as iso
print(iso.list_models(source="mylab").uid.tolist())
print(iso.load_model("mylab/net").uid, iso.load_model("net", weights=None, seed=2).uid)
"""


def run_with_plugin(folder, target, script=SCRIPT):
    (folder / "myplugin.py").write_text(textwrap.dedent(PLUGIN))
    info = folder / "myplugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: myplugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[isomorph.sources]\nmylab = myplugin:{target}\n")
    return subprocess.run(
        [sys.executable, "-c", script],
        env={
            "PYTHONPATH": str(folder),
            "ISOMORPH_CACHE": str(folder / "cache"),
            "HOME": str(folder),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_distribution_brings_a_source_by_an_entry_point(tmp_path):
    done = run_with_plugin(tmp_path, "SOURCE")
    assert done.stdout.split("\n")[:2] == [
        "['mylab/net@v1']",
        "mylab/net@v1 mylab/net@random-2",
    ], done.stderr


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("WRONG", "expected a Source with a name of its own, got int"),
        ("TAKEN", "expected a Source with a name of its own, got a name that is taken"),
        ("MISSING", "is left out: AttributeError"),
    ],
)
def test_a_plug_in_that_is_broken_is_named_and_the_others_stay(tmp_path, target, words):
    script = "import isomorph as iso; print(len(iso.list_models()) > 100)"
    done = run_with_plugin(tmp_path, target, script)
    assert done.stdout.strip() == "True"
    assert words in done.stderr
    assert "mylab" in done.stderr


def test_what_is_said_of_ours_is_true():
    for name, (library, _) in OURS.items():
        assert model_sources()[name].name == name
        assert model_sources()[name].library == library


def test_a_catalogue_that_is_kept_is_read_without_importing_a_library(tmp_path):
    code = "import isomorph as iso, sys; n = len(iso.list_models()); heavy = {'torch', 'timm'}"
    code += "; print(n, sorted(heavy & set(sys.modules)))"
    environment = {"ISOMORPH_CACHE": str(tmp_path), "HOME": str(tmp_path), "PYTHONWARNINGS": ""}

    def ask():
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip().splitlines()[-1]

    first, second = ask(), ask()
    assert second == f"{first.split()[0]} []"
    assert int(first.split()[0]) == len(list_models())
