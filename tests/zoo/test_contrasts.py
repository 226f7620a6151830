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


@pytest.mark.parametrize("factor", sorted(AGREE))
def test_models_of_a_set_agree_in_all_but_the_factor(factor):
    sets = contrasts(factor)
    assert not sets.empty
    agree = [column for column in AGREE[factor] if column != "series"]
    for _, part in sets.groupby("contrast"):
        assert part["level"].nunique() >= 2
        assert part["uid"].is_unique
        for column in agree:
            if factor == "pretrained" and column == "task":
                continue
            assert part[column].astype(str).nunique() == 1, (column, part)
        if factor == "size":
            assert part["architecture"].map(series).nunique() == 1
        if factor == "architecture":
            assert part["n_params"].max() <= SIZE_FACTOR * part["n_params"].min()
    assert (sets["factor"] == factor).all()


def test_no_pair_is_missed():
    """Every two models that differ in training data alone, found by two loops."""
    frame = list_models()
    known = frame[(frame["train_data"] != "") & (frame["task"] != "") & (frame["modality"] != "")]
    agree = list(AGREE["train_data"])
    wanted = set()
    for _, part in known.groupby(agree):
        for (_, a), (_, b) in itertools.combinations(part.head(12).iterrows(), 2):
            if a["train_data"] != b["train_data"]:
                wanted |= {a["uid"], b["uid"]}
    assert wanted <= set(contrasts("train_data")["uid"])


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
    ],
)
def test_series(first, second, same):
    assert (series(first) == series(second)) is same


def test_errors():
    with pytest.raises(UnknownNameError, match="unknown factor 'tasks'. Did you mean 'task'"):
        contrasts("tasks")
    with pytest.raises(ValueError, match="expected rows of list_models.., got a table without uid"):
        contrasts("task", pd.DataFrame({"a": [1]}))
