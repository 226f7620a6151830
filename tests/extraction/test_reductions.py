"""Reductions at the hook against NumPy on the raw maps: pooling, tokens, projection, dtype."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models

from isomorph.extraction import FeatureExtractor, Model, Reduction, extract_features
from isomorph.extraction.groups import Grouping
from isomorph.extraction.sinks import BufferSink, MomentsSink
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
    for project in (0, 2.5, "4", True):
        with pytest.raises(ValueError, match="project: expected 1 or more components, got"):
            Reduction(project=project)
    for tokens in (True, 1.0):
        with pytest.raises(TypeError, match="tokens: expected one of cls, .* or a position, got"):
            Reduction(tokens=tokens)
    for seed in (-1, 0.5):
        with pytest.raises(ValueError, match="seed: expected a whole number of 0 or more, got"):
            Reduction(seed=seed)
    assert Reduction(dtype=np.float32).dtype == "float32"


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


QUIET = {"progress": False, "device": "cpu"}


@pytest.mark.parametrize("where", ["memory", "folder"])
def test_own_functions_that_work_in_place_leave_the_model_alone(
    chain, inputs, raw, tmp_path, where
):
    out = {} if where == "memory" else {"out": tmp_path / "features"}
    options = QUIET | {"tensor_fn": lambda rows: rows.clamp_(min=0).mul_(2)}
    found = extract_features(chain, inputs, **options, **out)
    for name, item in raw.items():
        expected = 2 * item.clip(min=0)
        np.testing.assert_allclose(np.asarray(found[name]), expected, rtol=1e-5, atol=1e-6)


def test_own_functions_must_not_depend_on_the_size_of_the_batch():
    module, inputs = nn.Sequential(nn.Linear(4, 6)), torch.randn(7, 4)
    options = QUIET | {"tensor_fn": lambda rows: rows[:, : len(rows)], "batch_size": 2}
    message = r"layer 0: expected tensor_fn to give every stimulus the shape \(2,\), got \(1,\)"
    with pytest.raises(ValueError, match=message):
        extract_features(module, inputs, **options)
    with pytest.raises(ValueError, match=message):
        extract_features(module, inputs, **options, project=1)


def test_own_functions_that_give_nothing_or_complex_numbers_are_refused(chain, inputs):
    with pytest.raises(ValueError, match="layer conv: expected one feature or more"):
        FeatureExtractor(chain, inputs, tensor_fn=lambda rows: rows.flatten(1)[:, :0])
    with pytest.raises(ValueError, match="layer conv: expected tensor_fn to give real numbers"):
        FeatureExtractor(chain, inputs, tensor_fn=lambda rows: torch.fft.fft(rows.flatten(1)))


def test_a_buffer_takes_whole_rows_in_order_and_nothing_else():
    with pytest.raises(ValueError, match=r"layer a: expected 3 features .* got 1 for a batch of 2"):
        BufferSink(torch.empty(4, 3), layer="a").take(0, torch.ones(2, 1))
    sink = BufferSink(torch.empty(4, 3), layer="a")
    sink.take(0, torch.ones(2, 3))
    with pytest.raises(RuntimeError, match="layer a: expected its rows .* got 2 before row 3"):
        sink.take(3, torch.ones(1, 3))
    with pytest.raises(RuntimeError, match="layer a: expected its rows .* got 2 before row 4"):
        sink.give()
    sink.take(1, torch.zeros(3, 3))  # again, after a batch that ran out of memory
    assert sink.give()[:, 0].tolist() == [1, 0, 0, 0]


class Squeezed(nn.Module):
    """A regression head: one number a stimulus, without an axis of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.end = nn.Linear(4, 1), nn.Flatten(0)

    def forward(self, x):
        return self.end(self.head(x)).squeeze(-1) * 2


@pytest.mark.parametrize(
    "options", [{}, {"pool": "mean"}, {"project": 3}, {"dtype": "float16"}, {"tensor_fn": abs}]
)
def test_layers_of_one_number_a_stimulus(options):
    module, inputs = Squeezed(), torch.randn(7, 4)
    with torch.no_grad():
        expected = module(inputs)
    if "tensor_fn" in options:
        expected = expected.abs()
    found = extract_features(module, inputs, batch_size=3, **options, **QUIET)
    kept = found["(root)"]
    assert kept.shape == ((7, 1) if {"project", "tensor_fn"} & options.keys() else (7,))
    assert torch.allclose(kept.flatten().float(), expected, rtol=1e-2, atol=1e-3)
    # Equal in value to a layer of one feature: compared with it on the way.
    if "tensor_fn" not in options:
        assert torch.equal(found["end"].flatten(), found["head"].flatten())


def test_moments_of_one_number_a_stimulus():
    sink = MomentsSink(1, torch.device("cpu"))
    sink.take(0, torch.arange(4.0))
    assert float(sink.give().mean[0]) == 1.5


def test_numbers_too_large_for_half_precision_are_said_once(caplog):
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    with torch.no_grad():
        module[0].weight.mul_(1e6)
        module[2].weight.zero_()
    inputs = torch.randn(9, 4)
    found = extract_features(module, inputs, dtype="float16", batch_size=2, **QUIET)
    assert found["0"].isinf().any()
    said = [r.getMessage() for r in caplog.records if "float16" in r.getMessage()]
    assert len(said) == 2
    assert said[0].startswith("layer 0: ")
    assert "too large for float16" in said[0]
    assert "Use dtype='bfloat16' or 'float32'" in said[0]
    caplog.clear()
    # Infinite already, or kept in a wide enough dtype: nothing is lost.
    extract_features(module, inputs, dtype="bfloat16", **QUIET)
    infinite = {"tensor_fn": lambda rows: rows * float("inf"), "dtype": "float16"}
    extract_features(module, inputs, **infinite, **QUIET)
    assert "float16" not in caplog.text


def duplicates():
    """A map, its flattened copies, tokens that a convolution's map is reshaped to, and a vector."""
    torch.manual_seed(0)
    modules = [nn.Conv2d(3, 4, 3), nn.Flatten(2), nn.Identity(), nn.Flatten(1), nn.Dropout()]
    return nn.Sequential(*modules, nn.Linear(144, 5)), torch.randn(4, 3, 8, 8)


def test_names_of_duplicates_give_their_original_where_it_is_reduced_alike():
    module, inputs = duplicates()
    whole = extract_features(module, inputs, **QUIET)
    assert whole.plan["3"].duplicate_of == whole.plan["4"].duplicate_of == "0"
    assert torch.equal(whole["1"], whole["0"].reshape(4, 4, 36))
    assert torch.equal(whole["4"], whole["0"].flatten(1))
    projected = extract_features(module, inputs, project=10, **QUIET)
    assert torch.equal(projected["4"], projected["0"])
    pooled = extract_features(module, inputs, pool="mean", **QUIET)
    for name in ("3", "4"):
        with pytest.raises(
            KeyError, match=rf"layer '{name}' \(vector of 144\) has the values of '0'"
        ):
            pooled[name]
    with pytest.raises(KeyError, match="pool='mean' keeps something else .* by a tensor_fn="):
        pooled["1"]
    doubled = extract_features(module, inputs, tensor_fn=lambda rows: rows * 2, **QUIET)
    with pytest.raises(KeyError, match="tensor_fn= keeps something else"):
        doubled["4"]


def test_a_map_of_one_position_is_pooled_to_its_flattened_duplicate():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    found = extract_features(module, torch.randn(4, 3, 8, 8), pool="mean", **QUIET)
    assert found["2"].shape == (4, 4)
    assert torch.equal(found["2"], found["1"])


def test_duplicates_of_one_shape_are_reduced_alike():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Identity(), nn.Flatten(2))
    inputs = torch.randn(4, 3, 8, 8)
    for options in ({"pool": "max"}, {"tensor_fn": lambda rows: rows.amax(1)}, {"project": 5}):
        found = extract_features(module, inputs, **options, **QUIET)
        assert torch.equal(found["1"], found["0"])


@pytest.mark.parametrize(
    "use",
    [
        lambda group: group.copy(),
        lambda group: group | {},
        lambda group: {} | group,
        lambda group: group == {},
        lambda group: group.pop("other", 1),
        lambda group: group.setdefault("other", 1),
        lambda group: list(reversed(group)),
    ],
)
def test_a_released_group_says_so_however_it_is_used(use):
    module = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    extractor = FeatureExtractor(module, torch.randn(4, 8), memory_limit=128, **QUIET)
    first, second = list(extractor)
    use(second)
    with pytest.raises(RuntimeError, match="this group of maps was released"):
        use(first)


@pytest.mark.parametrize("missing", [None, float("nan"), np.float32("nan")])
def test_groups_must_have_names(missing):
    with pytest.raises(ValueError, match="expected a group for every stimulus, got .* stimulus 1"):
        Grouping.of(["a", missing, "b"], "mean")


def test_groups_that_read_the_same_are_not_merged():
    with pytest.raises(ValueError, match=r"got 1 and '1' \(int and str\), which read the same"):
        Grouping.of([1, "2", "1"], "mean")
    assert Grouping.of([1, 2, np.int64(1)], "mean").names == ("1", "2")
