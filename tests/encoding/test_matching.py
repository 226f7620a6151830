"""Single units matched to neuroids: plain loops, scipy's assignment, and a peer's error."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.stats import pearsonr

from isomorph.encoding import AssignmentError, match_units
from isomorph.geometry import NonFiniteError

RNG = np.random.default_rng(0)


def correlations(features, responses):
    return np.array(
        [[pearsonr(unit, goal).statistic for unit in features.T] for goal in responses.T]
    )


@pytest.mark.parametrize(("n", "p", "t"), [(20, 30, 5), (10, 3, 8), (50, 1, 2), (4, 200, 3)])
def test_the_best_unit_is_the_one_of_a_plain_loop(n, p, t):
    features, responses = RNG.normal(size=(n, p)), RNG.normal(size=(n, t))
    found = match_units(features, responses)
    r = correlations(features, responses)
    np.testing.assert_array_equal(found.units, r.argmax(axis=1))
    np.testing.assert_allclose(found.correlations, r.max(axis=1), atol=1e-12)
    for target, unit in enumerate(found.units):
        slope, intercept = np.polyfit(features[:, unit], responses[:, target], 1)
        np.testing.assert_allclose(
            found.predict(features)[:, target], slope * features[:, unit] + intercept, atol=1e-10
        )


@pytest.mark.parametrize(("p", "t"), [(30, 5), (8, 8), (120, 6), (6, 6)])
def test_the_assignment_is_scipys_over_all_units(p, t):
    """Only each target's t best units are looked at, which must not change the best sum."""
    features, responses = RNG.normal(size=(25, p)), RNG.normal(size=(25, t))
    found = match_units(features, responses, match="assignment")
    r = correlations(features, responses)
    rows, columns = linear_sum_assignment(r, maximize=True)
    assert found.correlations.sum() == pytest.approx(r[rows, columns].sum(), abs=1e-10)
    np.testing.assert_array_equal(found.units, columns)
    assert len(set(found.units)) == t


def test_the_assignment_is_the_best_of_all_permutations():
    features, responses = RNG.normal(size=(12, 5)), RNG.normal(size=(12, 5))
    r = correlations(features, responses)
    best = max(sum(r[i, p] for i, p in enumerate(order)) for order in permutations(range(5)))
    found = match_units(features, responses, match="assignment")
    assert found.correlations.sum() == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("match", ["semi", "assignment"])
def test_the_same_units_in_another_order_are_found(match):
    """A peer keeps the first min(d1, d2) units: the same units in another order are lost there."""
    order = RNG.permutation(40)
    features = RNG.normal(size=(30, 40))
    responses = features[:, order][:, :10]
    found = match_units(features, responses, match=match)
    np.testing.assert_array_equal(found.units, order[:10])
    np.testing.assert_allclose(found.correlations, 1, atol=1e-12)


def test_blocks_and_types_do_not_change_the_match():
    features, responses = RNG.normal(size=(15, 90)), RNG.normal(size=(15, 7))
    whole = match_units(features, responses)
    for other in (
        match_units(features, responses, block_bytes=900),
        match_units(torch.from_numpy(features), responses),
        match_units(features.astype(np.float32), responses),
        match_units(features + 1e4, responses),
        match_units((features + 1e4) * 3, responses),
    ):
        np.testing.assert_array_equal(other.units, whole.units)
        np.testing.assert_allclose(other.correlations, whole.correlations, atol=1e-6)
    counts = RNG.integers(0, 255, size=(15, 90)).astype(np.uint8)
    r = correlations(counts.astype(float), responses)
    np.testing.assert_allclose(
        match_units(counts, responses).correlations, r.max(axis=1), atol=1e-12
    )


def test_constant_units_and_targets_have_no_match():
    features = np.column_stack([np.full(10, 0.1), RNG.normal(size=10), np.zeros(10)])
    responses = np.column_stack([-features[:, 1], np.full(10, 0.3)])
    for match in ("semi", "assignment"):
        found = match_units(features, responses, match=match)
        assert found.units.tolist() == [1, -1]
        assert found.correlations[0] == pytest.approx(-1)
        assert np.isnan(found.predict(features)[:, 1]).all()
    nothing = match_units(np.ones((10, 4)), responses)
    assert nothing.units.tolist() == [-1, -1]


def test_of_equal_units_the_first_is_taken():
    unit = RNG.normal(size=(10, 1))
    features = np.column_stack([RNG.normal(size=(10, 2)), unit, unit])
    assert match_units(features, unit).units.tolist() == [2]
    assert match_units(features, unit, block_bytes=1).units.tolist() == [2]


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.01, 100), shift=st.floats(-10, 10))
def test_order_scale_and_shift_of_the_units_leave_the_predictions(seed, scale, shift):
    rng = np.random.default_rng(seed)
    features, responses = rng.normal(size=(12, 9)), rng.normal(size=(12, 3))
    order = rng.permutation(9)
    for match in ("semi", "assignment"):
        before = match_units(features, responses, match=match)
        changed = scale * features[:, order] + shift
        after = match_units(changed, responses, match=match)
        np.testing.assert_array_equal(order[after.units], before.units)
        np.testing.assert_allclose(after.predict(changed), before.predict(features), atol=1e-8)


def test_real_neurons(data_folder):
    rates = np.load(data_folder / "macaque_v4" / "responses_210325.npy").T.astype(float)[:60]
    found = match_units(rates[:, :30], rates[:, 30:40], match="assignment")
    r = correlations(rates[:, :30], rates[:, 30:40])
    rows, columns = linear_sum_assignment(r, maximize=True)
    assert found.correlations.sum() == pytest.approx(r[rows, columns].sum(), abs=1e-10)


def test_too_few_units_or_too_many_neuroids_for_an_assignment():
    with pytest.raises(AssignmentError, match="got 3 units for 5 neuroids. With match=semi"):
        match_units(RNG.normal(size=(8, 3)), RNG.normal(size=(8, 5)), match="assignment")
    with pytest.raises(AssignmentError, match="4000 neuroids are too many"):
        match_units(RNG.normal(size=(4, 4000)), RNG.normal(size=(4, 4000)), match="assignment")
    padded = np.column_stack([RNG.normal(size=(8, 2)), np.ones((8, 4))])
    with pytest.raises(AssignmentError, match="units that vary.* got 2 for 3"):
        match_units(padded, RNG.normal(size=(8, 3)), match="assignment")


def test_bad_input():
    with pytest.raises(ValueError, match=r"responses \(8, n_targets\), got \(7, 1\)"):
        match_units(np.ones((8, 3)), np.ones((7, 1)))
    with pytest.raises(ValueError, match="expected match 'semi' or 'assignment', got 'best'"):
        match_units(np.ones((8, 3)), np.ones((8, 1)), match="best")
    features = np.ones((8, 3))
    features[0, 0] = np.nan
    with pytest.raises(NonFiniteError, match="1 of 24 values are not finite"):
        match_units(features, np.ones((8, 1)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda():
    features, responses = torch.from_numpy(RNG.normal(size=(20, 60))), RNG.normal(size=(20, 6))
    here, there = match_units(features, responses), match_units(features.cuda(), responses)
    np.testing.assert_array_equal(here.units, there.units)
    np.testing.assert_allclose(here.predict(features), there.predict(features.cuda()), atol=1e-10)


def hard_features(kind):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(24, 300))
    if kind == "dead":
        x[:, ::2] = 0
        x[:, 1::4] = 0.1
    elif kind == "equal":
        x = x[:, rng.integers(0, 5, size=300)]
    elif kind == "nearly equal":
        x = x[:, rng.integers(0, 5, size=300)] + 1e-7 * x
    elif kind == "offset":
        x = (x * 0.01 + 1e4).astype(np.float32)
    elif kind == "close at an offset":
        x = x[:, rng.integers(0, 5, size=300)] + 0.05 * x
        x = (x * 0.002 + 1e4).astype(np.float32)
    elif kind == "tiny":
        x = (x * 1e-30).astype(np.float32)
    elif kind == "huge":
        x = (x * 1e30).astype(np.float32)
    elif kind == "half":
        x = x.astype(np.float16)
    elif kind == "narrow spread":
        x = 1e6 + x * 1e-3
    return x


@pytest.mark.parametrize("match", ["semi", "assignment"])
@pytest.mark.parametrize(
    "kind",
    [
        "dead",
        "equal",
        "nearly equal",
        "offset",
        "close at an offset",
        "tiny",
        "huge",
        "half",
        "narrow spread",
    ],
)
def test_the_search_in_float32_passes_over_no_unit(kind, match):
    """It only spares float64 the units that cannot be the best, however they are scaled."""
    features = hard_features(kind)
    before = features.copy()
    responses = np.random.default_rng(2).normal(size=(24, 4))
    x = features.astype(np.float64)
    x, goals = x - x.mean(0), responses - responses.mean(0)
    varies = np.ptp(features.astype(np.float64), axis=0) > 0
    x = np.where(varies, x / np.where(varies, np.abs(x).max(0), 1), 0)
    r = (x / np.where(varies, np.linalg.norm(x, axis=0), 1)).T @ goals
    r = np.where(varies[:, None], r / np.linalg.norm(goals, axis=0), -np.inf)
    for block_bytes in (64_000_000, 40_000):
        found = match_units(features, responses, match=match, block_bytes=block_bytes)
        if match == "semi":
            np.testing.assert_allclose(found.correlations, r.max(axis=0), atol=1e-10)
            if kind != "equal":
                np.testing.assert_array_equal(found.units, r.argmax(axis=0))
            else:
                assert all(
                    not np.array_equal(features[:, other], features[:, unit])
                    for unit in found.units
                    for other in range(unit)
                )
        else:
            own = linear_sum_assignment(np.where(np.isfinite(r), r, -2).T, maximize=True)
            best = r.T[own].sum()
            assert found.correlations.sum() == pytest.approx(best, abs=1e-9)
    np.testing.assert_array_equal(features, before)


def test_rows_are_those_of_a_copy():
    features, responses = RNG.normal(size=(30, 50)), RNG.normal(size=(12, 3))
    rows = RNG.permutation(30)[:12]
    features[np.setdiff1d(np.arange(30), rows)[0]] = 1e3
    for match in ("semi", "assignment"):
        whole = match_units(features[rows], responses, match=match)
        found = match_units(features, responses, match=match, rows=rows)
        np.testing.assert_array_equal(found.units, whole.units)
        np.testing.assert_allclose(found.predict(features), whole.predict(features), atol=1e-12)


def test_responses_that_are_missing_are_counted():
    """NaN correlations used to make a neuroid silently one without a unit."""
    responses = RNG.normal(size=(8, 2))
    responses[0, 0] = np.nan
    with pytest.raises(ValueError, match="finite responses, got 1 of 16 that are not"):
        match_units(RNG.normal(size=(8, 3)), responses)
