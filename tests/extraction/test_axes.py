"""Where the channels are: known truths, and random networks whose layout is tracked by hand."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models.convnext import CNBlock
from torchvision.models.maxvit import SwapAxes
from torchvision.ops import Permute

from isomorph.extraction import extract_features
from isomorph.extraction.axes import Output, channel_axes, channel_axis, guess_channel_axis
from isomorph.extraction.outputs import leaves


def axes_of(net: nn.Module, inputs: torch.Tensor) -> dict[str, tuple[tuple[int, ...], int | None]]:
    """{output: (shape, axis)} of a network, read by hooks of our own."""
    outputs: dict[str, Output] = {}
    held = []  # so that no memory is used twice

    def tap(path):
        def hook(module, _args, output):
            for leaf, tensor in leaves(output):
                held.append(tensor)
                shape, strides = tuple(tensor.shape[1:]), tensor.stride()[1:]
                outputs[path + leaf] = Output(path, shape, module, strides)

        return hook

    for path, module in net.named_modules():
        module.register_forward_hook(tap(path))
    with torch.no_grad():
        net.eval()(inputs)
    axes = channel_axes(list(outputs.values()))
    return {
        name: (output.shape, axis)
        for (name, output), axis in zip(outputs.items(), axes, strict=True)
        if len(output.shape) > 1
    }


def check(found, truth):
    """`truth(name)` gives the axis, negative from the end."""
    wrong = {n: (s, a) for n, (s, a) in found.items() if a != truth(n) % len(s)}
    assert not wrong, wrong
    assert found


def in_permuted_part(name):
    return any(f"block.{i}" in name for i in (1, 2, 3, 4, 5))


@pytest.mark.parametrize("size", [64, 384])
def test_convnext_where_channels_and_sides_are_of_one_length_too(size):
    # At 384 pixels the first stage is 96 × 96 × 96; its beginning is enough.
    net = models.convnext_tiny(weights=None)
    net = net.features[:2] if size == 384 else net
    found = axes_of(net, torch.randn(1, 3, size, size))
    assert size == 64 or found["1.0"][0] == (96, 96, 96)
    check(found, lambda name: -1 if in_permuted_part(name) else 0)


class Inverted(nn.Module):
    """As timm's ConvNeXt: permuted by the forward method, where no module tells."""

    def __init__(self, width, *, drop=True):
        super().__init__()
        self.conv_dw = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.gamma = nn.Parameter(torch.rand(width))
        self.drop_path = nn.Dropout() if drop else None

    def forward(self, x):
        inner = self.mlp(self.norm(self.conv_dw(x).permute(0, 2, 3, 1)))
        inner = inner.permute(0, 3, 1, 2) * self.gamma.reshape(1, -1, 1, 1)
        return x + (inner if self.drop_path is None else self.drop_path(inner))


@pytest.mark.parametrize("drop", [True, False])
@pytest.mark.parametrize("side", [8, 5])
def test_blocks_that_permute_in_their_forward_method(side, drop):
    blocks = [Inverted(8, drop=drop), Inverted(8, drop=drop)]
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), *blocks, nn.ReLU())
    found = axes_of(net, torch.randn(2, 3, side, side))
    check(found, lambda name: -1 if ".norm" in name or ".mlp" in name else 0)


def test_swin_is_channels_last_until_its_last_permutation():
    found = axes_of(models.swin_t(weights=None), torch.randn(1, 3, 64, 64))
    first = {"features.0.0", "permute", "avgpool"}
    check(found, lambda name: 0 if name in first else -1)


def test_maxvit_where_windows_are_as_many_as_channels():
    net = models.MaxVit(
        input_size=(48, 48),
        stem_channels=16,
        partition_size=3,
        block_channels=[16, 32],
        block_layers=[2, 1],
        head_dim=8,
        stochastic_depth_prob=0.1,
    )
    found = axes_of(net, torch.randn(1, 3, 48, 48))
    last = ("attn_layer", "mlp_layer", "partition_swap", ".partition_op", "stochastic_dropout")
    check(found, lambda name: -1 if any(part in name for part in last) else 0)


def test_vit_and_its_class_token():
    net = models.VisionTransformer(32, 8, 2, 2, 24, 48)
    found = axes_of(net, torch.randn(2, 3, 32, 32))
    check(found, lambda name: 0 if name == "conv_proj" else -1)


@pytest.mark.parametrize("name", ["mixer_s16_224", "resmlp_12_224"])
def test_mixers_transpose_their_tokens(name):
    timm = pytest.importorskip("timm")
    found = axes_of(timm.create_model(name), torch.randn(1, 3, 224, 224))
    mixed = "linear_tokens" if "resmlp" in name else "mlp_tokens"
    check(found, lambda at: 0 if mixed in at or at == "stem.proj" else -1)


@pytest.mark.parametrize(
    ("modules", "shape", "truth"),
    [
        ([nn.Conv2d(3, 8, 3), nn.LayerNorm([8, 6, 6]), nn.ReLU()], (3, 8, 8), [0, 0, 0]),
        ([nn.Conv2d(3, 6, 3), nn.GroupNorm(2, 6), nn.ReLU()], (3, 8, 8), [0, 0, 0]),
        ([nn.Conv3d(3, 5, 3), nn.Upsample(scale_factor=2), nn.ReLU()], (3, 6, 6, 6), [0, 0, 0]),
        ([nn.Conv2d(3, 5, 3), nn.Flatten(2), nn.ReLU()], (3, 8, 8), [0, 0, 0]),
        ([nn.Conv1d(3, 5, 3), nn.ReLU(), nn.BatchNorm1d(5)], (3, 9), [0, 0, 0]),
        ([nn.Linear(3, 5), nn.ReLU()], (7, 3), [1, 1]),
        ([nn.Linear(3, 5), nn.ReLU()], (6, 7, 3), [2, 2]),
        ([nn.Embedding(4, 5), nn.Dropout()], (9,), [1, 1]),
        ([nn.Conv2d(3, 5, 1), Permute([0, 2, 3, 1]), nn.ReLU()], (3, 5, 5), [0, 2, 2]),
        ([nn.Conv2d(3, 5, 1), SwapAxes(1, 3), nn.ReLU()], (3, 5, 5), [0, 2, 2]),
        ([nn.Conv2d(3, 5, 1), SwapAxes(-1, -2), nn.ReLU()], (3, 5, 5), [0, 0, 0]),
        ([nn.Conv2d(3, 5, 1), Permute([0, 2, 3, 1]), nn.Flatten(1, 2)], (3, 4, 4), [0, 2, 1]),
        ([nn.Conv3d(3, 5, 1), Permute([0, 2, 3, 4, 1]), nn.Flatten(1, 2)], (3, 4, 4, 4), [0, 3, 2]),
        ([nn.Conv2d(3, 5, 1), nn.Flatten(2), nn.Linear(16, 7)], (3, 4, 4), [0, 0, 0]),
        ([nn.Conv2d(3, 5, 1), nn.AdaptiveMaxPool2d(2), nn.Softmax2d()], (3, 4, 4), [0, 0, 0]),
    ],
)
def test_modules_in_a_row(modules, shape, truth):
    inputs = torch.randn(2, *shape)
    if isinstance(modules[0], nn.Embedding):
        inputs = torch.randint(0, 4, (2, *shape))
    found = axes_of(nn.Sequential(*modules), inputs)
    assert [found[str(at)][1] for at in range(len(modules))] == truth
    assert found[""][1] == truth[-1]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_give_their_units_last(kind):
    found = axes_of(kind(4, 6, batch_first=True), torch.randn(2, 6, 4))
    assert found["[0]"] == ((6, 6), 1)


def test_modules_that_tell_by_themselves():
    class LayerNorm2d(nn.LayerNorm):
        pass

    assert channel_axis(LayerNorm2d(6), (6, 6, 6)) == 0
    assert channel_axis(nn.LayerNorm(6), (6, 6, 6)) == 2
    assert channel_axis(nn.LayerNorm((6, 6)), (6, 6, 6)) is None
    assert channel_axis(nn.Upsample(), (6, 6, 6, 6)) == 0
    assert channel_axis(nn.LSTM(4, 6), (2, 7, 6)) == 2
    assert channel_axis(nn.BatchNorm1d(6), (7, 6)) == 1  # tokens were folded into the batch


def random_chain(seed: int) -> tuple[nn.Sequential, torch.Tensor, dict[str, int]]:
    """A random network of modules, with its layout tracked by what was drawn."""
    draw = random.Random(seed)
    side = draw.choice([4, 5])
    width = draw.choice([4, 5, 6])
    modules: list[nn.Module] = [nn.Conv2d(3, width, 1)]
    truth, last = [0], False
    for _ in range(10):
        kind = draw.choice(["permute", "act", "mix", "norm", "block"])
        if kind == "permute":
            modules.append(Permute([0, 3, 1, 2] if last else [0, 2, 3, 1]))
            last = not last
        elif kind == "act":
            modules.append(draw.choice([nn.ReLU(), nn.Identity(), nn.Dropout()]))
        elif kind == "mix":
            new = draw.choice([4, 5, 6])
            modules.append(nn.Linear(width, new) if last else nn.Conv2d(width, new, 1))
            width = new
        elif kind == "norm":
            modules.append(nn.LayerNorm(width) if last else nn.BatchNorm2d(width))
        elif not last:
            modules.append(draw.choice([CNBlock(width, 1e-6, 0.0), Inverted(width)]))
        else:
            continue
        truth.append(2 if last else 0)
    truths = {str(at): axis for at, axis in enumerate(truth)}
    return nn.Sequential(*modules), torch.randn(2, 3, side, side), truths | {"": truth[-1]}


@pytest.mark.parametrize("seed", range(60))
def test_random_networks_with_permutations_between_equal_axes(seed):
    net, inputs, truth = random_chain(seed)
    found = axes_of(net, inputs)
    assert {name: found[name][1] for name in truth} == truth


def test_what_nothing_supports_is_not_guessed():
    conv = Output("0", (5, 7, 7), nn.Conv2d(3, 5, 1))
    attention = Output("1:softmax", (2, 9, 9), None)
    assert channel_axes([conv, attention]) == [0, None]
    # Images before any layer; what is told of the same shape afterwards; two axes.
    assert channel_axes([Output("0", (3, 9, 9), nn.Identity())]) == [0]
    later = Output("2", (2, 9, 9), nn.LayerNorm(9))
    assert channel_axes([conv, attention, later]) == [0, 2, 2]
    assert guess_channel_axis((9, 9), []) == 1
    # Maps that were put side by side have more channels, and nothing else.
    assert guess_channel_axis((12, 7, 7), [((5, 7, 7), 0)]) == 0
    assert guess_channel_axis((7, 7, 12), [((7, 7, 5), 2)]) == 2


def test_pooling_of_equal_axes_is_over_positions():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 1), CNBlock(6, 1.0, 0.0), nn.ReLU()).eval()
    inputs = torch.randn(5, 3, 6, 6)
    options = {"progress": False, "output": "numpy", "device": "cpu"}
    raw = extract_features(net, inputs, **options)
    pooled = extract_features(net, inputs, pool="mean", **options)
    for name, item in raw.items():
        axes = (1, 2) if in_permuted_part(name) else (2, 3)
        expected = item.astype(np.float64).mean(axis=axes)
        np.testing.assert_allclose(pooled[name], expected, rtol=1e-4, atol=1e-6)
    assert "1" in pooled


def test_pooling_over_a_guessed_axis_says_so(caplog):
    class Odd(nn.Module):
        def forward(self, x):
            return x.flatten(2)[:, :2, :, None].repeat(1, 1, 1, 9)

    net = nn.Sequential(nn.Conv2d(3, 5, 3), Odd())
    extract_features(net, torch.randn(4, 3, 6, 6), pool="mean", progress=False, device="cpu")
    assert "pool='mean': nothing tells which axis of 1 layers holds the channels" in caplog.text
    assert "1 (2×16×9)" in caplog.text
