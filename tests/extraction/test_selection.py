"""Choosing layers: words, classes, depths, predicates; and what cannot be chosen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models

from isomorph.extraction import FeatureExtractor, Model, extract_features, survey_model
from isomorph.extraction.structure import block_paths
from isomorph.registry import UnknownNameError

CPU = torch.device("cpu")


def plan_of(module: nn.Module, *shape: int):
    inputs = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    return survey_model(Model(module), inputs, device=CPU)


@pytest.fixture(scope="module")
def resnet():
    return plan_of(models.resnet18(weights=None), 3, 64, 64)


@pytest.fixture(scope="module")
def alexnet():
    return plan_of(models.alexnet(weights=None), 3, 64, 64)


def names(layers):
    return [layer.name for layer in layers]


def test_words(resnet, alexnet):
    assert resnet.select("all") == resnet.distinct == resnet.select(None)
    # A block's output is the tensor of its last ReLU, which came first.
    assert names(resnet.select("blocks")) == [
        f"layer{stage}.{block}.relu#1" for stage in (1, 2, 3, 4) for block in (0, 1)
    ]
    assert names(resnet.select("penultimate")) == ["avgpool"]
    assert names(alexnet.select("penultimate")) == ["classifier.5"]
    headless = models.resnet18(weights=None)
    headless.fc = nn.Identity()
    # What a classifier would read, and not the inside of the last block.
    assert names(plan_of(headless, 3, 64, 64).select("penultimate")) == ["avgpool"]
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
    last = plan_of(encoder, 5, 8)
    assert names(last.select("penultimate")) == names(last.distinct[-1:])
    leaves = names(resnet.select("leaves"))
    assert leaves == [layer.name for layer in resnet.distinct if layer.is_leaf]
    assert "conv1" in leaves


def test_relative_depths_mean_the_same_for_every_model(resnet, alexnet):
    for plan in (resnet, alexnet):
        chosen = plan.select([0.0, 0.5, 1.0])
        assert [layer.index for layer in chosen] == [
            0,
            round(0.5 * (len(plan.distinct) - 1)),
            len(plan.distinct) - 1,
        ]


def test_classes_their_names_and_predicates(resnet):
    convolutions = resnet.select(nn.Conv2d)
    assert len(convolutions) == 20
    assert resnet.select("Conv2d") == convolutions
    assert resnet.select(lambda layer: layer.module_type == "Conv2d") == convolutions
    wide = resnet.select(lambda layer: layer.n_features > 50_000)
    assert names(wide) == [layer.name for layer in resnet.distinct if layer.n_features > 50_000]


def test_a_mixed_list_gives_each_layer_once_in_order(resnet):
    chosen = resnet.select(["fc", 1.0, nn.Linear, "conv1", "(root)", "layer1.*.conv1"])
    assert names(chosen) == ["conv1", "layer1.0.conv1", "layer1.1.conv1", "fc"]


def test_an_exclamation_mark_leaves_out(resnet):
    without = resnet.select("!layer1.*")
    assert names(without) == [n for n in names(resnet.distinct) if not n.startswith("layer1.")]
    assert resnet.select(["!layer1.*", "!conv1"]) == tuple(
        layer for layer in without if layer.name != "conv1"
    )
    some = resnet.select([nn.Conv2d, "!layer*"])
    assert names(some) == ["conv1"]
    with pytest.raises(UnknownNameError, match="unknown layer 'konv1'. Did you mean 'conv1'"):
        resnet.select("!konv1")


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        (1, TypeError, r"got 1\. Write a depth with a point"),
        (1.5, ValueError, "expected a relative depth from 0.0 .* to 1.0"),
        (
            nn.LSTM,
            ValueError,
            "expected modules of class LSTM, .* It has .*BasicBlock, BatchNorm2d",
        ),
        (lambda layer: False, ValueError, "predicate .* fits none"),
        ([None], TypeError, "got NoneType"),
        ("layer1.0.konv1", UnknownNameError, "Did you mean 'layer1.0.conv1'"),
    ],
)
def test_what_cannot_be_chosen(resnet, asked, error, message):
    with pytest.raises(error, match=message):
        resnet.select(asked)


def test_a_chain_of_simple_layers_has_no_blocks(alexnet):
    with pytest.raises(ValueError, match="has no blocks .* Use layers='leaves'"):
        alexnet.select("blocks")


def test_a_word_wins_over_a_module_of_that_name_and_says_so(caplog):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.leaves = nn.Linear(4, 4)
            self.other = nn.Linear(4, 4)

        def forward(self, x):
            return self.other(self.leaves(x))

    plan = plan_of(Named(), 4)
    assert names(plan.select("leaves")) == ["leaves", "other"]
    assert "taken as the word" in caplog.text
    assert "'leave[s]'" in caplog.text
    assert names(plan.select("leave[s]")) == ["leaves"]


@pytest.mark.parametrize(
    ("name", "count", "example"),
    [
        ("resnet50", 16, "layer3.5"),
        ("vit_b_16", 12, "encoder.layers.encoder_layer_11"),
        ("swin_t", 15, "features.5.3"),  # three of them merge patches
        ("squeezenet1_1", 8, "features.12"),
        ("googlenet", 12, "inception5b"),
        ("densenet121", 61, "features.denseblock4.denselayer16"),
        ("regnet_y_400mf", 16, "trunk_output.block4.block4-5"),
    ],
)
def test_blocks_of_known_architectures(name, count, example):
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    paths = block_paths(models.get_model(name, weights=None, **options))
    assert example in paths
    assert len(paths) == count, sorted(paths)


def test_the_name_that_was_asked_for_gives_the_map_though_it_is_a_duplicate():
    features = extract_features(
        models.resnet18(weights=None), torch.randn(2, 3, 64, 64), ["layer1.0", "fc"], progress=False
    )
    assert list(features) == ["layer1.0.relu#1", "fc"]
    assert torch.equal(features["layer1.0"], features["layer1.0.relu#1"])
    with pytest.raises(KeyError, match="layer 'conv1' is not among these"):
        features["conv1"]
    with pytest.raises(UnknownNameError, match="Did you mean 'conv1'"):
        features["konv1"]


def test_the_axis_of_the_stimuli_can_be_named():
    class Odd(nn.Module):
        """Adds a constant that differs with the batch: its values cannot be checked."""

        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 3), nn.Linear(3, 3)

        def forward(self, x):
            return self.second(self.first(x) + 100 * len(x) * torch.arange(3)).T

    module, inputs = Odd(), torch.randn(7, 4)
    found = FeatureExtractor(module, inputs, progress=False)
    assert "values change with its batch" in found.plan["second"].left_out
    with pytest.raises(ValueError, match=r"name the axis of the stimuli by input_dim="):
        FeatureExtractor(module, inputs, layers="second")
    forced = extract_features(
        module, inputs, input_dim={"second": 0, "(root)": 1}, progress=False, batch_size=7
    )
    with torch.no_grad():
        expected = module(inputs)
    assert torch.equal(forced["second"], expected.T)
    refused = FeatureExtractor(module, inputs, input_dim={"first": 1, "second": 0}, progress=False)
    assert "input_dim names axis 1, which has 3 entries for 2" in refused.plan["first"].left_out


def test_what_is_easily_mistaken_is_explained(resnet):
    assert resnet.select("0.5") == resnet.select(0.5) == resnet.select([np.float32(0.5)])
    with pytest.raises(TypeError, match=r"got a module \(Linear\). Name it as the plan does"):
        resnet.select(nn.Linear(3, 3))
    with pytest.raises(ValueError, match="the predicate .* raised AttributeError"):
        resnet.select(lambda layer: layer.nmae == "fc")
    with pytest.raises(UnknownNameError, match="unknown layer 'typo'"):
        resnet.select(["!conv1", "!typo"])
    with pytest.raises(UnknownNameError, match=r"unknown layer 'frist'.* named by input_dim="):
        FeatureExtractor(nn.Linear(3, 3), torch.zeros(3, 3), input_dim={"frist": 0})
    with pytest.raises(TypeError, match="input_dim: expected an axis"):
        FeatureExtractor(nn.Linear(3, 3), torch.zeros(3, 3), input_dim="0")
