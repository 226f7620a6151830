"""Sets that differ in one factor, against a loop that checks what they promise."""

from __future__ import annotations

import itertools

import pandas as pd
import pytest

from isomorph.registry import UnknownNameError
from isomorph.zoo import contrasts, list_models
from isomorph.zoo.contrast_sets import AGREE, SIZE_FACTOR, series
from isomorph.zoo.source import COLUMNS


def row(name, **columns):
    plain = {
        "uid": f"s/{name}@w",
        "source": "s",
        "name": name,
        "weights": "w",
        "default": True,
        "modality": "vision",
        "architecture": name,
        "family": "convolutional",
        "task": "classification",
        "train_data": "ImageNet-1K",
        "n_params": 10_000_000,
        "input_size": 224,
        "license": "",
        "weights_bytes": 1,
        "url": "",
    }
    return plain | columns


def table(*rows):
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"n_params": "Int64"})


@pytest.fixture(scope="module")
def models():
    return list_models()


@pytest.mark.parametrize("factor", sorted(AGREE))
def test_models_of_a_set_agree_in_all_but_the_factor(factor, models):
    sets = contrasts(factor, models)
    assert not sets.empty
    agree = [column for column in AGREE[factor] if column != "series"]
    for _, part in sets.groupby("contrast"):
        assert part["level"].nunique() >= 2
        assert part["uid"].is_unique
        for column in agree:
            assert part[column].astype(str).nunique() == 1, (column, part)
        if factor == "size":
            assert part["architecture"].map(series).nunique() == 1
            heads = part.groupby("architecture")
            assert heads["level"].nunique().eq(1).all()
            assert (heads["n_params"].min() == heads["level"].first()).all()
            assert part["architecture"].nunique() >= 2
            assert part["level"].max() >= 1.05 * part["level"].min()
        if factor == "architecture":
            assert part["n_params"].max() <= SIZE_FACTOR * part["n_params"].min()
        if factor == "pretrained":
            assert sorted(part["level"]) == ["pretrained", "random"]
            assert part["input_size"].nunique(dropna=False) == 1
    assert (sets["factor"] == factor).all()


def test_no_size_is_missed(models):
    """Every two architectures of one series and other sizes, found by two loops."""
    known = models[(models["train_data"] != "") & models["n_params"].notna()].copy()
    known = known[known["input_size"].notna()]
    known["series"] = known["architecture"].map(series)
    found = set(contrasts("size", models)["uid"])
    wanted = set()
    for _, part in known.groupby(list(AGREE["size"])):
        smallest = part.groupby("architecture")["n_params"].min()
        if any(1.05 * min(a, b) <= max(a, b) for a, b in itertools.combinations(list(smallest), 2)):
            wanted |= set(part["uid"])
    assert wanted == found


def test_another_head_is_no_other_size():
    frame = table(
        row("resnet50", uid="s/a@w", n_params=25_600_000),
        row("resnet50", uid="s/b@w", n_params=44_000_000),
    )
    assert contrasts("size", frame).empty
    frame = pd.concat([frame, table(row("resnet101", uid="s/c@w", n_params=44_500_000))])
    sets = contrasts("size", frame)
    assert sets["uid"].tolist() == ["s/a@w", "s/b@w", "s/c@w"]
    assert sets["level"].tolist() == [25_600_000, 25_600_000, 44_500_000]
    assert sets["n_params"].tolist() == [25_600_000, 44_000_000, 44_500_000]
    # VGG-11 and VGG-13 are as large as each other.
    frame = table(row("vgg11", n_params=132_900_000), row("vgg13", n_params=133_000_000))
    assert contrasts("size", frame).empty


def test_levels_of_size_are_counted_in_steps_of_a_twentieth():
    counts = [10_000_000, 10_400_000, 10_800_000]
    names = ["net18", "net34", "net50"]
    frame = table(*(row(n, n_params=count) for n, count in zip(names, counts, strict=True)))
    assert len(contrasts("size", frame)) == 3
    assert contrasts("size", frame, min_levels=3).empty


@pytest.mark.parametrize("factor", ["train_data", "task"])
def test_no_pair_is_missed(factor, models):
    """Every two models that differ in the factor alone, found by two loops."""
    known = models[(models["train_data"] != "") & (models["task"] != "")]
    known = known[known["input_size"].notna()]
    agree = ["modality", "architecture", "train_data", "task", "input_size"]
    agree.remove(factor)
    wanted = set()
    for _, part in known.groupby(agree):
        for (_, a), (_, b) in itertools.combinations(part.head(12).iterrows(), 2):
            if a[factor] != b[factor]:
                wanted |= {a["uid"], b["uid"]}
    assert wanted
    assert wanted <= set(contrasts(factor, models)["uid"])


@pytest.mark.parametrize("factor", ["train_data", "task"])
def test_another_input_size_is_another_set(factor):
    frame = table(row("a"), row("a", uid="s/b@w", input_size=384, **{factor: "other"}))
    assert contrasts(factor, frame).empty
    frame["input_size"] = 224
    assert len(contrasts(factor, frame)) == 2


def test_a_factor_that_does_not_vary_makes_no_set():
    frame = table(row("a"), row("b", task="object detection"))
    assert contrasts("task", frame).empty
    assert list(contrasts("task", frame)) == ["contrast", "factor", "level", *COLUMNS]
    # Other architectures, but of other sizes too.
    frame = table(row("a"), row("b", n_params=13_000_000))
    assert contrasts("architecture", frame).empty
    frame = table(row("a"), row("b", n_params=12_000_000))
    assert contrasts("architecture", frame)["level"].tolist() == ["a", "b"]


def test_what_is_not_known_does_not_agree():
    frame = table(row("a", train_data=""), row("b", train_data=""))
    assert contrasts("architecture", frame).empty
    frame = table(row("a", n_params=None), row("b", n_params=None))
    assert contrasts("architecture", frame).empty


def test_a_trained_network_stands_beside_its_twin():
    sets = contrasts("pretrained", list_models(source="torchvision", name="alexnet"))
    assert dict(zip(sets["level"], sets["uid"], strict=True)) == {
        "pretrained": "torchvision/alexnet@IMAGENET1K_V1",
        "random": "torchvision/alexnet@random-0",
    }


def test_the_twin_stands_beside_the_default_weights_alone():
    frame = table(
        row("a", uid="s/a@big", default=False, input_size=384),
        row("a", uid="s/a@w"),
        row("a", uid="s/a@dino", default=False, task="self-supervised (self-distillation)"),
        row("a", uid="z/a@w", source="z", input_size=64),
    )
    sets = contrasts("pretrained", frame)
    assert sets["contrast"].tolist() == ["s · a"] * 2 + ["z · a"] * 2
    assert sets["uid"].tolist() == ["s/a@w", "s/a@random-0", "z/a@w", "z/a@random-0"]
    assert sets["input_size"].tolist() == [224, 224, 64, 64]
    # Twins that are in the table already are the same ones.
    twins = list_models(source="torchvision", name="alexnet", random_twins=True)
    assert len(contrasts("pretrained", twins)) == 2


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("resnet18", "resnet152", True),
        ("vit_tiny_patch16", "vit_large_patch16", True),
        ("vit_base_patch16", "vit_base_patch32", False),
        ("convnext_tiny", "convnextv2_tiny", False),
        ("efficientnet_b0", "efficientnet_b7", True),
        ("vgg11", "vgg19", True),
        ("vgg11", "vgg11_bn", False),
        ("swin_t", "swin_b", True),
        ("resnet50", "resnext50", False),
        ("mobilenetv1_100", "mobilenetv2_100", False),
        ("mobilenetv3_small_050", "mobilenetv3_large_100", True),
        ("xcit_tiny_12_p8", "xcit_tiny_12_p16", False),
        ("xcit_tiny_12_p8", "xcit_small_24_p8", True),
        ("vit_medium_patch16_reg1_gap", "vit_base_patch16_reg4_gap", False),
        ("eva02_large_patch14", "eva_large_patch14", False),
        ("vit_base_patch14_dinov2", "vit_base_patch14_dinov3", False),
        ("deit3_small_patch16", "deit_small_patch16", False),
        ("beit_base_patch16", "beit3_base_patch16", False),
        ("resnetv2_50", "resnet50", False),
        ("resnetv2_50", "resnetv2_101", True),
        ("focalnet_large_fl3", "focalnet_large_fl4", False),
        ("pythia_160m", "pythia_1.4b", True),
        ("bloom_560m", "bloom_1b7", True),
        ("qwen2_5_0_5b", "qwen2_5_7b", True),
        ("qwen2_7b", "qwen2_5_7b", False),
        ("llama_2_7b", "llama_3_8b", False),
        ("t5_small", "t5_3b", True),
        ("test_vit", "test_vit2", False),
    ],
)
def test_series(first, second, same):
    assert (series(first) == series(second)) is same


def test_errors():
    with pytest.raises(UnknownNameError, match="unknown factor 'tasks'. Did you mean 'task'"):
        contrasts("tasks")
    with pytest.raises(ValueError, match="expected rows of list_models.., got a table without uid"):
        contrasts("task", pd.DataFrame({"a": [1]}))


_NEEDED = {
    "size": ("uid", "modality", "architecture", "n_params", "task", "train_data", "input_size"),
    "task": ("uid", "modality", "architecture", "task", "train_data", "input_size"),
    "pretrained": ("uid", "source", "name", "default", "train_data"),
}


@pytest.mark.parametrize("factor", sorted(_NEEDED))
def test_columns_that_are_missing_are_named(factor):
    whole = table(row("resnet18"), row("resnet50", n_params=25_000_000))
    for column in _NEEDED[factor]:
        with pytest.raises(ValueError, match=rf"got a table without {column}\.$"):
            contrasts(factor, whole.drop(columns=column))
    with pytest.raises(ValueError, match=f"without {_NEEDED[factor][0]}, {_NEEDED[factor][1]}"):
        contrasts(factor, whole.drop(columns=list(_NEEDED[factor][:2])))
