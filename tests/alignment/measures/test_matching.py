"""Matching of units against brute force over all matches, and the errors of other toolboxes."""

from __future__ import annotations

import itertools
import logging
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment, linprog
from scipy.stats import pearsonr

from isomorph.alignment.calibration import calibrate_measure
from isomorph.alignment.measure import compare_representations
from isomorph.alignment.measures import matching
from isomorph.registry import UnknownNameError

RNG = np.random.default_rng(0)
N = 20
FIRST = RNG.gamma(1.0, size=(N, 5)) * [1, 2, 0.5, 10, 3]
SECOND = FIRST[:, [3, 0, 4, 1]] * [2.0, 1, 1, 0.3] + RNG.normal(size=(N, 4))
COUNTS = ("soft_matching", "permutation_matching", "hard_correlation_match")
ALL = (*COUNTS, "soft_correlation_match")


def correlations(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Every pair of units by scipy."""
    return np.array([[pearsonr(a, b).statistic for b in y.T] for a in x.T])


def best_match(gains: np.ndarray) -> float:
    """Largest sum of a one-to-one match of all units of the smaller side, by trying all."""
    gains = gains if gains.shape[0] <= gains.shape[1] else gains.T
    rows = range(gains.shape[0])
    return max(
        sum(gains[i, j] for i, j in zip(rows, columns, strict=True))
        for columns in itertools.permutations(range(gains.shape[1]), gains.shape[0])
    )


def best_transport(gains: np.ndarray) -> float:
    """Largest mean gain of a transport, by an interior-point solver on the dense programme."""
    n, m = gains.shape
    constraints = np.zeros((n + m, n * m))
    for i in range(n):
        for j in range(m):
            constraints[i, i * m + j] = constraints[n + j, i * m + j] = 1
    weights = [1 / n] * n + [1 / m] * m
    return -linprog(-gains.ravel(), A_eq=constraints, b_eq=weights, method="highs-ipm").fun


def distance_oracle(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Cosine, angle and Euclidean distance after the best match; missing units are silent."""
    x, y = x - x.mean(0), y - y.mean(0)
    matched = best_match(x.T @ y)
    lengths = np.linalg.norm(x), np.linalg.norm(y)
    cosine = matched / (lengths[0] * lengths[1])
    return cosine, math.acos(cosine), math.sqrt(lengths[0] ** 2 + lengths[1] ** 2 - 2 * matched)


@pytest.mark.parametrize("width", [1, 3, 4])
def test_hard_and_soft_correlation_match_equal_trying_all(width):
    y = SECOND[:, :width]
    found = correlations(FIRST, y)
    assert compare_representations(FIRST, y, "hard_correlation_match") == pytest.approx(
        best_match(found) / width, abs=1e-12
    )
    expected = (found.max(axis=1).mean() + found.max(axis=0).mean()) / 2
    assert compare_representations(FIRST, y, "soft_correlation_match") == pytest.approx(
        expected, abs=1e-12
    )


@pytest.mark.parametrize("width", [1, 2, 4])
def test_permutation_matching_equals_trying_all_in_every_form(width):
    y = SECOND[:, :width]
    for form, expected in zip(
        ("score", "angular", "euclidean"), distance_oracle(FIRST, y), strict=True
    ):
        for pair in ((FIRST, y), (y, FIRST)):
            value = compare_representations(*pair, "permutation_matching", form=form)
            assert value == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("widths", [(4, 4), (2, 3), (5, 4), (5, 2), (1, 4)])
def test_soft_matching_equals_the_transport_programme(widths):
    x, y = FIRST[:, : widths[0]], SECOND[:, : widths[1]]
    expected = best_transport(correlations(x, y))
    assert compare_representations(x, y, "soft_matching") == pytest.approx(expected, abs=1e-9)
    distance = compare_representations(x, y, "soft_matching", form="distance")
    assert distance == pytest.approx(math.sqrt(2 - 2 * expected), abs=1e-9)


def test_soft_matching_of_two_and_three_units_equals_trying_all_replicas():
    gains = correlations(FIRST[:, :2], SECOND[:, :3])
    copies = np.repeat(np.repeat(gains, 3, axis=0), 2, axis=1)
    assert matching.transport(gains) == pytest.approx(best_match(copies) / 6, abs=1e-12)


def test_the_programme_and_the_replicas_agree(monkeypatch):
    gains = RNG.normal(size=(12, 9))
    replicated = matching.transport(gains)
    monkeypatch.setattr(matching, "MAX_ASSIGNED", 5)
    assert matching.transport(gains) == pytest.approx(replicated, abs=1e-9)


def test_on_real_data(v4_halves, behaviour):
    x, y = v4_halves
    gains = correlations(x, y)
    rows, columns = linear_sum_assignment(-gains)
    expected = gains[rows, columns].mean()
    assert compare_representations(x, y, "hard_correlation_match") == pytest.approx(
        expected, abs=1e-10
    )
    # With as many units on both sides a transport is no better than a one-to-one match.
    assert compare_representations(x, y, "soft_matching") == pytest.approx(expected, abs=1e-9)
    alive = [side[:, side.std(axis=0) > 0] for side in behaviour]
    expected = best_transport(correlations(alive[0], alive[1][:, :17]))
    found = compare_representations(alive[0], alive[1][:, :17], "soft_matching")
    assert found == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("measure", ALL)
def test_the_same_units_in_another_order_match_fully(measure):
    # cortexlab (recent_peers C12) cuts to the first min(d) columns: .06 instead of 1.
    x = RNG.normal(size=(30, 40))
    shuffled = x[:, RNG.permutation(40)]
    assert compare_representations(x, shuffled, measure) == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("measure", ["hard_correlation_match", "permutation_matching"])
def test_no_unit_is_cut_off_by_the_order_of_the_units(measure):
    # BBScore (recent_peers C5) keeps the first min(d1, d2) units before it matches.
    x = RNG.normal(size=(30, 6))
    y = np.hstack([RNG.normal(size=(30, 30)), x])
    assert compare_representations(x, y, "hard_correlation_match") == pytest.approx(1, abs=1e-10)
    turned = y[:, ::-1]
    first, second = (compare_representations(x, side, measure) for side in (y, turned))
    assert first == pytest.approx(second, abs=1e-12)


def test_noise_matched_on_what_is_scored_is_seen_through_by_calibration():
    # BBScore's one_to_one matches on the test data: noise scores .278 there (recent_peers C5).
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(100, 40)), rng.normal(size=(100, 60))
    found = calibrate_measure(x, y, "hard_correlation_match", n_permutations=60)
    assert found.score > 0.15
    assert abs(found.excess) < 0.01
    assert found.p_value > 0.05


@pytest.mark.parametrize("measure", ALL)
def test_large_offsets_do_not_cancel(measure):
    value = compare_representations(FIRST, SECOND, measure)
    assert compare_representations(FIRST + 1e4, SECOND - 1e4, measure) == pytest.approx(
        value, abs=1e-8
    )


@pytest.mark.parametrize("measure", ALL)
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8])
def test_other_types(measure, dtype):
    x, y = (np.round(side * 5).clip(0, 255) for side in (FIRST, np.abs(SECOND)))
    expected = compare_representations(x, y, measure)
    found = compare_representations(x.astype(dtype), y.astype(dtype), measure)
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("measure", ALL)
def test_a_constant_unit_matches_nothing_and_constant_sides_have_no_value(measure, caplog):
    dead = np.hstack([FIRST, np.full((N, 1), 1e4 / 3)])
    value = compare_representations(dead, SECOND, measure)
    assert np.isfinite(value)
    if measure == "hard_correlation_match":
        assert value == pytest.approx(compare_representations(FIRST, SECOND, measure), abs=1e-12)
    with caplog.at_level(logging.WARNING):
        assert np.isnan(compare_representations(np.full((N, 3), 0.1), SECOND, measure))
    assert "constant" in caplog.text


def test_nan_is_refused():
    broken = FIRST.copy()
    broken[0, 0] = np.nan
    with pytest.raises(ValueError, match="finite numbers, got 1 of 100"):
        compare_representations(broken, SECOND, "soft_matching")


def test_sizes_that_would_take_hours_are_refused_with_what_to_do(caplog, monkeypatch):
    monkeypatch.setattr(matching, "MAX_ASSIGNED", 10)
    monkeypatch.setattr(matching, "MAX_TRANSPORTED", 100)
    x, y = RNG.normal(size=(8, 13)), RNG.normal(size=(8, 11))
    for measure in COUNTS:
        with caplog.at_level(logging.WARNING):
            assert np.isnan(compare_representations(x, y, measure))
        assert "give max_units=, which draws so many of each side by seed=" in caplog.text
        caplog.clear()
        assert np.isfinite(compare_representations(x, y, measure, max_units=10))
    monkeypatch.setattr(matching, "MAX_PAIRS", 100)
    assert np.isnan(compare_representations(x, y, "soft_correlation_match"))


def test_units_are_drawn_by_the_seed_and_the_same_on_both_sides():
    x = RNG.normal(size=(15, 30))
    assert compare_representations(x, x, "soft_matching", max_units=7) == pytest.approx(1)
    y = RNG.normal(size=(15, 30))
    values = [
        compare_representations(x, y, "soft_matching", max_units=7, seed=seed) for seed in (0, 0, 1)
    ]
    assert values[0] == values[1] != values[2]
    chosen = np.sort(np.random.default_rng(0).permutation(30)[:7])
    expected = best_transport(correlations(x[:, chosen], y[:, chosen]))
    assert values[0] == pytest.approx(expected, abs=1e-9)


def test_wide_sides_are_walked_in_blocks(monkeypatch):
    x, y = RNG.normal(size=(12, 50)), RNG.normal(size=(12, 7))
    expected = [compare_representations(x, y, measure) for measure in ALL]
    monkeypatch.setattr(matching, "BLOCK_BYTES", 8 * 12 * 3)
    for measure, value in zip(ALL, expected, strict=True):
        assert compare_representations(x, y, measure) == pytest.approx(value, abs=1e-12)
        assert compare_representations(y, x, measure) == pytest.approx(value, abs=1e-12)


def test_inputs_stay_as_they_are():
    x, y = FIRST.copy(), SECOND.copy()
    for measure in ALL:
        compare_representations(x, y, measure)
    np.testing.assert_array_equal(x, FIRST)
    np.testing.assert_array_equal(y, SECOND)


def test_wrong_options_are_named():
    with pytest.raises(UnknownNameError, match="distance"):
        compare_representations(FIRST, SECOND, "soft_matching[form=distanse]")
    with pytest.raises(ValueError, match="1 or more units"):
        compare_representations(FIRST, SECOND, "soft_matching[max_units=0]")


@settings(deadline=None, derandomize=True, max_examples=15)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))
def test_distance_forms_are_metrics(seed, a, b, c):
    rng = np.random.default_rng(seed)
    sides = [rng.normal(size=(9, width)) for width in (a, b, c)]

    def between(i: int, j: int, **how: str) -> float:
        return compare_representations(sides[i], sides[j], **how)

    for how in ({"measure": "soft_matching", "form": "distance"},):
        assert between(0, 1, **how) == pytest.approx(between(1, 0, **how), abs=1e-9)
        assert between(0, 2, **how) <= between(0, 1, **how) + between(1, 2, **how) + 1e-9
        assert between(0, 0, **how) == pytest.approx(0, abs=1e-7)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("measure", ALL)
def test_cuda_gives_the_same(measure):
    x, y = (torch.as_tensor(side) for side in (FIRST, SECOND))
    expected = compare_representations(x, y, measure)
    assert compare_representations(x.cuda(), y.cuda(), measure) == pytest.approx(expected, abs=1e-9)
