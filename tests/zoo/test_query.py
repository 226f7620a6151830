"""Questions to the catalogue, on a small table whose answers are read off."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from isomorph.registry import UnknownNameError
from isomorph.zoo import list_models
from isomorph.zoo.query import compared_rows, keyword_rows, matching_rows

FRAME = pd.DataFrame(
    {
        "uid": ["timm/vit_small@dino", "timm/resnet50@a1", "hub/resnet50@dino"],
        "modality": ["vision"] * 3,
        "architecture": ["vit_small", "resnet50", "resnet50"],
        "family": ["transformer", "convolutional", "convolutional"],
        "task": ["self-supervised (self-distillation)", "classification", ""],
        "train_data": ["ImageNet-1K", "ImageNet-1K, ImageNet-22K", "ImageNet-1K"],
        "n_params": pd.array([21_700_000, 25_600_000, None], dtype="Int64"),
        "default": [True, False, True],
    }
)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("dino", [0, 2]),
        ("DINO resnet", [2]),
        ("distil vit", [0]),
        ("ResNet-50 dino", [2]),
        ("vit*small", [0]),
        ("res*net5?", [1, 2]),
        ("22k", [1]),
        ("", [0, 1, 2]),
        ("dino nothing", []),
    ],
)
def test_every_word_must_occur_somewhere(query, expected):
    assert np.flatnonzero(keyword_rows(FRAME, query)).tolist() == expected


@pytest.mark.parametrize(
    ("column", "wanted", "expected"),
    [
        ("architecture", "resnet50", [1, 2]),
        ("architecture", "ResNet50", [1, 2]),
        ("architecture", "resnet", UnknownNameError),
        ("architecture", "res*", [1, 2]),
        ("architecture", "vi?_*", [0]),
        ("architecture", "nothing*", []),
        ("architecture", ["resnet50", "vit*"], [0, 1, 2]),
        ("architecture", [], []),
        ("train_data", "ImageNet-1K", [0, 2]),
        ("train_data", "imagenet1k", [0, 2]),
        ("train_data", "*22k", [1]),
        ("n_params", 25_600_000, [1]),
        ("n_params", None, [2]),
        ("default", True, [0, 2]),
        ("train_dat", "x", UnknownNameError),
    ],
)
def test_columns_take_values_globs_and_lists(column, wanted, expected):
    if expected is UnknownNameError:
        with pytest.raises(UnknownNameError, match="Did you mean"):
            matching_rows(FRAME, column, wanted)
        return
    assert np.flatnonzero(matching_rows(FRAME, column, wanted)).tolist() == expected


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("n_params < 22e6", [0]),
        ("n_params >= 21_700_000", [0, 1]),
        ("22e6 < n_params < 30e6", [1]),
        ("n_params != 21700000", [1]),  # what is not known is not unequal
        ("not n_params < 22e6", [1, 2]),
        ("architecture == 'resnet50' and default", [2]),
        ("architecture == 'vit_small' or n_params > 22e6", [0, 1]),
        ("architecture in ('vit_small', 'x')", [0]),
        ("architecture not in ['vit_small']", [1, 2]),
        ("'22k' in train_data", [1]),
        ("(n_params < 22e6 or default) and not (architecture == 'vit_small')", [2]),
        ("default == True", [0, 2]),
        ("n_params > -1", [0, 1]),
    ],
)
def test_conditions_in_words(where, expected):
    assert np.flatnonzero(compared_rows(FRAME, where)).tolist() == expected


@pytest.mark.parametrize(
    "where",
    [
        "n_params <",
        "n_params",
        "__import__('os').system('x') == 0",
        "n_params.max() > 3",
        "[x for x in n_params] == 3",
        "n_params < 'many'",
        "1 < 2",
        "architecture < 3",
        "3 in n_params",
        "n_params in 5",
        "n_params is None",
        "lambda: 1",
        "n_params + 1 < 3",
    ],
)
def test_nothing_else_is_read_and_never_evaluated(where):
    with pytest.raises(ValueError, match="where: expected comparisons of columns with values"):
        compared_rows(FRAME, where)


def test_a_column_that_does_not_exist_gets_the_nearest():
    with pytest.raises(UnknownNameError, match=r"column of list_models.*'n_param'.*'n_params'"):
        compared_rows(FRAME, "n_param < 3")


def test_the_ways_of_asking_are_joined():
    found = list_models("swag", source="torchvision", where="input_size == 384")
    assert len(found) > 0
    assert found["uid"].str.contains("SWAG").all()
    assert (found["input_size"] == 384).all()
    assert list_models("swag no-such-word").empty
