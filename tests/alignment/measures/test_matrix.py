"""Every measure of the registry against what it declares, and against shapes and types at the edge.

A measure that joins the registry joins these tests.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group

from isomorph.alignment import (
    METRICS,
    Measured,
    Representation,
    list_metrics,
    parse_metric,
    score_arrays,
)
from isomorph.alignment.calibration import reordered
from isomorph.alignment.measure import (
    INVARIANCES,
    MEASURES,
    compare_prepared,
    compare_representations,
    finite_features,
    prepare_item,
    read_written_options,
    value_of,
)
from isomorph.geometry import grams
from isomorph.registry import UnknownNameError
from isomorph.resampling import odd_even

NAMES = sorted(MEASURES)
DISTANCES = [name for name in NAMES if MEASURES[name].axioms]
N, P, Q = 40, 14, 9
# What is chosen by chance in a measure, or counted in whole neighbours, agrees less closely.
SINGLE = 1e-5


def example(seed: int = 0, n: int = N, p: int = P, q: int = Q) -> tuple[np.ndarray, np.ndarray]:
    """Two representations that share something, of unequal features with a mean."""
    rng = np.random.default_rng(seed)
    first = rng.gamma(1.0, size=(n, p)) * np.linspace(0.5, 2, p)
    second = first @ rng.normal(size=(p, q)) / np.sqrt(p) + rng.normal(size=(n, q))
    return first, second


def value(name: str, first, second) -> float:
    found = compare_representations(first, second, name)
    assert isinstance(found, float)
    return found


def tolerance(name: str) -> float:
    """Distances are roots, of rounding too."""
    return 1e-6 if MEASURES[name].axioms else 1e-8


def changed(first: np.ndarray, change: str, seed: int = 0) -> np.ndarray:
    """The first representation after a change that may or may not leave a measure."""
    rng = np.random.default_rng(seed)
    p = first.shape[1]
    if change == "permutation":
        return first[:, rng.permutation(p)]
    if change == "rotation":
        return first @ ortho_group.rvs(p, random_state=seed)
    if change == "isotropic scaling":
        return first * 3.7
    if change == "translation":
        return first + 5 * rng.normal(size=p)
    return first @ (rng.normal(size=(p, p)) + np.diag(np.arange(p)))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_declared(name):
    measure = MEASURES[name]
    assert measure.summary
    assert measure.summary.endswith(".")
    assert measure.reference
    assert measure.range[0] < measure.range[1]
    assert METRICS[name].range == measure.range
    assert name in set(list_metrics()["metric"])
    assert not (measure.axioms and measure.larger_is_better)
    for option in measure.options.values():
        assert option.summary
        assert not option.choices or option.default in option.choices


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(40, 14, 9), (40, 9, 14), (30, 60, 5), (25, 3, 80), (12, 2, 2)])
def test_values_lie_in_the_declared_range(name, shape):
    low, high = MEASURES[name].range
    for seed in range(3):
        first, second = example(seed, *shape)
        noise = np.random.default_rng(seed).normal(size=second.shape)
        for other in (second, noise, -second):
            found = value(name, first, other)
            assert np.isnan(found) or low - 1e-9 <= found <= high + 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_a_representation_is_most_like_itself(name):
    measure = MEASURES[name]
    for seed in range(3):
        first, second = example(seed)
        own, other = value(name, first, first.copy()), value(name, first, second)
        if not measure.larger_is_better:
            assert own == pytest.approx(0, abs=1e-6)
            assert other > 1e-3
        else:
            assert own >= other - 1e-9
            if np.isfinite(measure.range[1]) and own < 1:
                assert own == pytest.approx(measure.range[1], abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_symmetry_is_as_declared(name):
    gaps = []
    for seed in range(4):
        first, second = example(seed)
        gaps.append(abs(value(name, first, second) - value(name, second, first)))
    if MEASURES[name].symmetric:
        assert max(gaps) < 1e-9
    else:
        assert max(gaps) > 1e-6


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change", sorted(INVARIANCES))
def test_invariances_are_those_declared_and_no_other(name, change):
    measure = MEASURES[name]
    gaps = []
    for seed in range(4):
        first, second = example(seed)
        before = value(name, first, second)
        gaps.append(abs(value(name, changed(first, change, seed), second) - before))
        if measure.symmetric:
            gaps.append(abs(value(name, second, changed(first, change, seed)) - before))
    if change in measure.invariances:
        assert max(gaps) < tolerance(name) * 10
    else:
        assert max(gaps) > 1e-5, f"{name} could declare {change}"


@pytest.mark.parametrize("name", DISTANCES)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(8, 20),
    widths=st.tuples(*[st.integers(1, 24)] * 3),
    scale=st.floats(0.1, 10),
)
def test_metric_axioms(name, seed, n, widths, scale):
    measure = MEASURES[name]
    rng = np.random.default_rng(seed)
    core = rng.normal(size=(n, 3))
    x, y, z = (core @ rng.normal(size=(3, w)) + scale * rng.normal(size=(n, w)) for w in widths)
    xy, yz, xz = value(name, x, y), value(name, y, z), value(name, x, z)
    size = max(xy, yz, xz)
    if not np.isfinite([xy, yz, xz]).all():
        return
    if "identity" in measure.axioms:
        assert value(name, x, x.copy()) == pytest.approx(0, abs=1e-6 * max(1, size))
    if "symmetry" in measure.axioms:
        assert value(name, y, x) == pytest.approx(xy, abs=1e-7 * max(1, size))
    if "triangle" in measure.axioms:
        assert xz <= xy + yz + 1e-7 * max(1, size)
    assert min(xy, yz, xz) >= 0


EDGES = {
    "2 stimuli": (2, 5, 4),
    "3 stimuli": (3, 5, 4),
    "1 feature": (30, 1, 1),
    "1 and many features": (30, 1, 70),
    "many features": (20, 300, 200),
    "many stimuli": (60, 2, 3),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("edge", EDGES)
def test_edge_shapes_give_a_value_or_a_reason(name, edge):
    """A number within its range, NaN with a reason, or one clear error: never a silent 0 or 1."""
    measure = MEASURES[name]
    _, options = read_written_options(name, MEASURES, {})
    first, second = example(1, *EDGES[edge])
    sides = [
        grams(x)[0] if measure.needs == "gram" else finite_features(x) for x in (first, second)
    ]
    refused = ""
    try:
        found, reason = value_of(measure, *sides, options)
    except ValueError as error:
        found, reason, refused = np.nan, "refused", str(error)
    assert not refused or "expected" in refused
    assert np.isnan(found) == bool(reason)
    if np.isfinite(found):
        assert measure.range[0] - 1e-9 <= found <= measure.range[1] + 1e-9
        assert edge != "2 stimuli" or found not in (0.0, 1.0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("level", [0.0, 3.0, 0.1])
def test_constant_features_are_undefined_on_either_side(name, level):
    _, second = example()
    constant = np.full((N, 5), level)
    for pair in ((constant, second), (second, constant), (constant, constant)):
        assert np.isnan(value(name, *pair))


@pytest.mark.parametrize("name", NAMES)
def test_constant_and_repeated_rows_and_columns_do_no_harm(name):
    low, high = MEASURES[name].range
    first, second = example()
    first[3] = 1.5
    first[7] = first[8]
    second[:, 2] = 4.0
    found = value(name, first, second)
    assert np.isnan(found) or low - 1e-9 <= found <= high + 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_a_large_offset_does_not_cancel(name):
    if "translation" not in MEASURES[name].invariances:
        pytest.skip("an offset changes what it measures")
    first, second = example()
    expected = value(name, first, second)
    moved = value(name, first + 1e4, second - 1e4)
    assert moved == pytest.approx(expected, abs=1e-6 * max(1, abs(expected)))
    single = value(name, (first + 1e4).astype(np.float32), second.astype(np.float32))
    rounded = (first + 1e4).astype(np.float32).astype(np.float64)
    expected = value(name, rounded, second)
    assert single == pytest.approx(expected, abs=SINGLE * max(1, abs(expected)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float16", "float32"])
def test_narrow_types_give_the_number_of_float64(name, dtype):
    first, second = (np.round(8 * x).clip(0 if dtype == "uint8" else -99, 200) for x in example())
    expected = value(name, first, second)
    found = value(name, first.astype(dtype), second.astype(dtype))
    assert found == pytest.approx(expected, abs=SINGLE * max(1, abs(expected)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_missing_numbers_are_refused(name, bad):
    first, second = example()
    broken = first.copy()
    broken[2, 3] = bad
    for pair in ((broken, second), (second, broken)):
        with pytest.raises(ValueError, match=r"finite|NaN|not a number"):
            value(name, *pair)


@pytest.mark.parametrize("name", NAMES)
def test_unequal_numbers_of_stimuli_are_refused(name):
    first, second = example()
    with pytest.raises(ValueError, match="expected the same stimuli on both sides, got"):
        value(name, first, second[:-1])
    with pytest.raises(ValueError, match="n_stimuli, n_features"):
        value(name, first[:, 0], second)


@pytest.mark.parametrize("name", NAMES)
def test_input_is_never_changed(name):
    first, second = example()
    kept = first.copy(), second.copy()
    first.flags.writeable = second.flags.writeable = False
    value(name, first, second)
    assert (first == kept[0]).all()
    assert (second == kept[1]).all()


@pytest.mark.parametrize("name", NAMES)
def test_tensors_reversed_views_and_maps_are_taken(name):
    first, second = example()
    expected = value(name, first, second)
    close = pytest.approx(expected, abs=1e-9 * max(1, abs(expected)))
    assert value(name, torch.from_numpy(first), torch.from_numpy(second)) == close
    assert value(name, first.reshape(N, 7, 2), second.reshape(N, 3, 3)) == close
    backwards = value(name, first[::-1], second[::-1])
    assert backwards == value(name, first[::-1].copy(), second[::-1].copy())


@pytest.mark.parametrize("name", NAMES)
def test_lists_give_a_table_and_grams_do_as_well(name):
    first, second = example()
    items = [first, second, example(3)[1]]
    table = compare_representations(items, items, name)
    assert isinstance(table, np.ndarray)
    for i, j in itertools.product(range(3), repeat=2):
        expected = value(name, items[i], items[j].copy())
        np.testing.assert_allclose(table[i, j], expected, atol=tolerance(name))
    if MEASURES[name].needs == "gram":
        from_grams = compare_representations([grams(x)[0] for x in items], items, name)
        np.testing.assert_allclose(from_grams, table, atol=tolerance(name))


@pytest.mark.parametrize("name", NAMES)
def test_the_work_of_one_item_is_done_once(name, monkeypatch):
    measure = MEASURES[name]
    if measure.prepare is None:
        pytest.skip("nothing to do in advance")
    _, options = read_written_options(name, MEASURES, {})
    sides = [grams(x)[0] if measure.needs == "gram" else finite_features(x) for x in example()]
    prepared = [prepare_item(measure, side, options) for side in sides]
    values, reasons = compare_prepared(measure, prepared, prepared, options)
    assert not reasons
    assert values[0, 1] == pytest.approx(value_of(measure, *sides, options)[0], abs=1e-9)


VARIANTS = [
    *NAMES,
    "CKA[estimator=biased]",
    "CKA[estimator=lange,kernel=rbf]",
    "RV[estimator=plain]",
    "distance_correlation[bias=kept]",
    "CCA[regularisation=.5]",
    "shape[alpha=.5]",
    "linear_predictivity[direction=both]",
]


@pytest.mark.parametrize("text", [t for t in VARIANTS if MEASURES[t.split("[")[0]].reorder])
def test_another_order_of_the_stimuli_is_index_arithmetic(text):
    """A null by permutation moves what was prepared: it gives what preparing again would."""
    measure, options = read_written_options(text, MEASURES, {})
    first, second = (
        grams(x)[0] if measure.needs == "gram" else finite_features(x) for x in example()
    )
    order = np.random.default_rng(0).permutation(N)
    again = value_of(measure, first, reordered(second, order), options)[0]
    fixed, moved = (prepare_item(measure, side, options).content for side in (first, second))
    assert measure.reorder is not None
    found = measure.compute(fixed, measure.reorder(moved, order), **options)
    assert found == pytest.approx(again, abs=1e-8 * max(1, abs(again)))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_metric_of_the_results_table(name):
    first, second = example(n=60)
    with np.errstate(all="ignore"):
        table = score_arrays(first, second, [name])
    assert list(table["cv_split"]) == ["train", "test"]
    for row, part in zip(table.itertuples(), (slice(0, None, 2), slice(1, None, 2)), strict=True):
        expected = value(name, first[part], second[part])
        np.testing.assert_allclose(row.score, expected, atol=10 * tolerance(name))
    assert table["reason"].eq("").all() == table["score"].notna().all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", NAMES)
def test_cuda_gives_the_same_number(name):
    first, second = example()
    expected = value(name, first, second)
    found = value(name, torch.from_numpy(first).cuda(), torch.from_numpy(second).cuda())
    assert found == pytest.approx(expected, abs=1e-7 * max(1, abs(expected)))


def test_all_measures_that_keep_features_share_one_copy_of_them():
    """A copy a measure would be gigabytes for a wide layer."""
    layer = Representation.from_features(np.random.default_rng(0).normal(size=(24, 9)))
    measured = Measured(
        positions=np.arange(24),
        responses=np.random.default_rng(1).normal(size=(24, 5)),
        neuroid_ids=np.arange(5).astype(str),
        groups={("V4", "one"): np.arange(5)},
    )
    for name in NAMES:
        spec = parse_metric(name)
        list(spec.metric.compute(layer, measured, odd_even(24), **spec.options))
    held = {}
    for item in layer.memo.values():
        content = getattr(item, "content", item)
        content = getattr(content, "features", content)
        if isinstance(content, torch.Tensor) and content.shape[1:] == (9,):
            held[content.data_ptr()] = len(content)
    assert sorted(held.values()) == [12, 12]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(0, 4), (30, 0)])
def test_nothing_at_all_is_refused(name, shape):
    full = np.random.default_rng(0).normal(size=(max(shape[0], 4), 4))
    with pytest.raises(ValueError, match=r"features: expected .*got|same stimuli"):
        compare_representations(np.empty(shape), full[: shape[0]] if shape[0] else full, name)


@pytest.mark.parametrize("name", NAMES)
def test_an_option_that_must_have_a_value_refuses_none(name):
    measure = MEASURES[name]
    for key, option in measure.options.items():
        if option.default is not None and option.read is not str:
            try:
                option.read("None")
            except ValueError:
                with pytest.raises(ValueError, match=f"{name}: option {key}=None"):
                    compare_representations(np.eye(8), np.eye(8), name, **{key: None})
        if option.choices:
            with pytest.raises(UnknownNameError, match=f"value for {name}"):
                compare_representations(np.eye(8), np.eye(8), name, **{key: None})
