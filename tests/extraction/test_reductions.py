"""Reductions at the hook against NumPy on the raw maps: pooling, tokens, projection, dtype."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models

from isomorph.extraction import FeatureExtractor, Model, Reduction, extract_features
from isomorph.registry import UnknownNameError


class Chain(nn.Module):
    """Maps with channels first and last, tokens, and a vector, in one pass."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)
        self.act = nn.ReLU()
        self.norm = nn.LayerNorm(5)
        self.gelu = nn.GELU()
        self.tokens = nn.Linear(5, 7)
        self.head = nn.Linear(7, 4)

    def forward(self, x):
        x = self.act(self.conv(x))  # (n, 5, h, w)
        x = self.gelu(self.norm(x.permute(0, 2, 3, 1)))  # (n, h, w, 5)
        x = self.tokens(x.flatten(1, 2))  # (n, h w, 7)
        return self.head(x.mean(dim=1))


@pytest.fixture(scope="module")
def chain():
    torch.manual_seed(0)
    return Model(Chain())


@pytest.fixture(scope="module")
def inputs():
    return torch.randn(5, 3, 6, 7, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def raw(chain, inputs):
    maps = extract_features(chain, inputs, progress=False, output="numpy")
    return {name: item.astype(np.float64) for name, item in maps.items()}


POSITIONS = {"conv": (2, 3), "act": (2, 3), "norm": (1, 2), "gelu": (1, 2), "tokens": (1,)}


@pytest.mark.parametrize("how", ["mean", "max"])
def test_pooling_is_over_positions_whatever_the_layout(chain, inputs, raw, how):
    pooled = extract_features(chain, inputs, pool=how, progress=False, output="numpy", batch_size=2)
    assert {name: item.shape[1] for name, item in pooled.items()} == {
        "conv": 5,
        "act": 5,
        "norm": 5,
        "gelu": 5,
        "tokens": 7,
        "head": 4,
    }
    for name, axes in POSITIONS.items():
        expected = getattr(raw[name], how)(axis=axes)
        np.testing.assert_allclose(pooled[name], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pooled["head"], raw["head"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ("cls", lambda x: x[:, 0]),
        ("last", lambda x: x[:, -1]),
        ("mean", lambda x: x.mean(axis=1)),
        ("max", lambda x: x.max(axis=1)),
        ("patches", lambda x: x[:, 1:].mean(axis=1)),
        (3, lambda x: x[:, 3]),
        (-2, lambda x: x[:, -2]),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_tokens_touch_token_layers_alone(chain, inputs, raw, tokens, expected):
    chosen = extract_features(chain, inputs, tokens=tokens, progress=False, output="numpy")
    np.testing.assert_allclose(chosen["tokens"], expected(raw["tokens"]), rtol=1e-5, atol=1e-6)
    # A convolution's first channel is no class token.
    np.testing.assert_array_equal(chosen["conv"], raw["conv"].astype(np.float32))


class Embedded(nn.Module):
    """A toy language model: embedded tokens, and a mask that it need not use."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)

    def forward(self, input_ids, attention_mask):
        embedded = self.embed(input_ids)
        # What stands at the padding must not matter, not even NaN.
        return torch.where(attention_mask[..., None].bool(), embedded, torch.nan)


@pytest.mark.parametrize("left", [False, True])
def test_tokens_are_chosen_under_the_mask(left):
    torch.manual_seed(1)
    ids = torch.randint(0, 11, (4, 6))
    mask = torch.zeros(4, 6, dtype=torch.long)
    for row, length in enumerate((6, 3, 1, 4)):
        mask[row, 6 - length :] = 1 if left else 0
        mask[row, :length] = mask[row, :length] if left else 1
    model = Model(Embedded())
    batch = {"input_ids": ids, "attention_mask": mask}
    table = model.module.embed.weight.detach().double().numpy()
    kept = [table[ids[row][mask[row].bool()].numpy()] for row in range(4)]
    oracles = {
        "mean": np.stack([rows.mean(axis=0) for rows in kept]),
        "max": np.stack([rows.max(axis=0) for rows in kept]),
        "last": np.stack([rows[-1] for rows in kept]),
    }
    for how, expected in oracles.items():
        found = extract_features(
            model, batch, "embed", tokens=how, progress=False, batch_size=3, output="numpy"
        )
        np.testing.assert_allclose(found["embed"], expected, rtol=1e-5, atol=1e-6)


def test_tokens_of_a_model_without_any_are_refused_before_the_work():
    model = Model(models.squeezenet1_1(weights=None))
    with pytest.raises(
        ValueError, match=r"none of the 2 layers gives tokens .* Use pool= for maps"
    ):
        FeatureExtractor(
            model, torch.zeros(2, 3, 64, 64), layers=["features.0", "features.3"], tokens="cls"
        )


def test_a_class_token_that_may_be_none_is_a_warning(chain, inputs, caplog):
    extract_features(chain, inputs, tokens="cls", progress=False)
    assert "no class token was found in the model" in caplog.text


def test_a_token_that_is_not_there(chain, inputs):
    with pytest.raises(ValueError, match="tokens=50: layer tokens has 20 tokens"):
        FeatureExtractor(chain, inputs, tokens=50)


def test_own_functions_see_the_batch_and_keep_its_rows(chain, inputs, raw):
    def quarter(rows):
        return rows.flatten(1)[:, ::4] ** 2

    found = extract_features(chain, inputs, tensor_fn=quarter, progress=False, output="numpy")
    for name, item in raw.items():
        expected = item.reshape(5, -1)[:, ::4] ** 2
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-6)
    scalar = extract_features(
        chain, inputs, tensor_fn=lambda rows: rows.flatten(1).sum(1), progress=False
    )
    assert scalar["conv"].shape == (5, 1)


def test_own_functions_that_break_are_found_before_the_work(chain, inputs):
    with pytest.raises(
        ValueError, match=r"layer conv: expected tensor_fn to give a tensor of 2 rows"
    ):
        FeatureExtractor(chain, inputs, tensor_fn=lambda rows: rows.sum())
    with pytest.raises(RuntimeError, match="layer conv: tensor_fn raised IndexError"):
        FeatureExtractor(chain, inputs, tensor_fn=lambda rows: rows[:, 99])


def test_projection_keeps_lengths_and_leaves_narrow_layers():
    generator = torch.Generator().manual_seed(0)
    module = nn.Sequential(nn.Linear(10, 60_000), nn.Linear(60_000, 8))
    inputs = torch.randn(24, 10, generator=generator)
    raw = extract_features(module, inputs, progress=False, output="numpy")
    found = extract_features(module, inputs, project=3000, seed=3, progress=False, output="numpy")
    assert found["0"].shape == (24, 3000)
    np.testing.assert_array_equal(found["1"], raw["1"])
    products = raw["0"].astype(np.float64) @ raw["0"].T
    projected = found["0"].astype(np.float64) @ found["0"].T
    spread = np.abs(products - projected) / np.sqrt(np.outer(np.diag(products), np.diag(products)))
    assert spread.max() < 5 / np.sqrt(3000)
    again = extract_features(
        module, inputs, project=3000, seed=3, progress=False, output="numpy", batch_size=5
    )
    np.testing.assert_allclose(again["0"], found["0"], rtol=1e-4, atol=1e-4)
    other = extract_features(module, inputs, project=3000, seed=4, progress=False, output="numpy")
    assert not np.allclose(other["0"], found["0"], atol=1e-2)


@pytest.mark.parametrize("dtype", ["float16", "float64", torch.bfloat16])
def test_dtype_is_what_is_kept(chain, inputs, dtype):
    whole = extract_features(chain, inputs, progress=False)
    found = extract_features(chain, inputs, dtype=dtype, progress=False)
    wanted = getattr(torch, str(dtype).removeprefix("torch."))
    for name, item in found.items():
        assert item.dtype == wanted
        assert torch.equal(item, whole[name].to(wanted))


def test_names_of_reductions_that_do_not_exist():
    with pytest.raises(UnknownNameError, match="unknown pooling 'avg'"):
        Reduction(pool="avg")
    with pytest.raises(UnknownNameError, match="unknown choice of tokens 'class'. Did you mean"):
        Reduction(tokens="class")
    with pytest.raises(UnknownNameError, match="unknown dtype 'float8'"):
        Reduction(dtype="float8")
    with pytest.raises(ValueError, match="project: expected 1 or more components, got 0"):
        Reduction(project=0)


def test_what_a_reduction_does_is_described():
    assert Reduction(pool="max", project=9, seed=2, dtype="float16").describe() == {
        "pool": "max",
        "project": 9,
        "seed": 2,
        "dtype": "float16",
    }
    first = Reduction(tensor_fn=lambda rows: rows * 2).describe()["tensor_fn"]
    second = Reduction(tensor_fn=lambda rows: rows * 3).describe()["tensor_fn"]
    assert first != second


def test_reduced_maps_do_not_depend_on_passes(chain, inputs):
    whole = extract_features(chain, inputs, pool="mean", progress=False)
    grouped = FeatureExtractor(chain, inputs, pool="mean", memory_limit=110, progress=False)
    parts: dict[str, torch.Tensor] = {}
    for group in grouped:
        parts.update(group)
    assert len(grouped) > 3
    wide = {}
    for name, item in parts.items():
        wide.setdefault(name.partition("[")[0], []).append(item)
    for name, item in whole.items():
        assert torch.equal(torch.cat(wide[name], dim=1), item)
