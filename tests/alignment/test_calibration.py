"""Permutation nulls: by index arithmetic what a loop gives, and p-values that are uniform."""

from __future__ import annotations

import logging
import time

import numpy as np
import pytest
from scipy.stats import kstest

from isomorph.alignment import Measured, Representation, parse_metric
from isomorph.alignment.calibration import calibrate_measure, calibrated
from isomorph.alignment.measure import MEASURES, compare_representations
from isomorph.alignment.nulls import null_scores
from isomorph.geometry import compute_rdm, grams
from isomorph.resampling import kfold, odd_even, permutation_orders

RNG = np.random.default_rng(0)
N = 32
FIRST = RNG.gamma(1.0, size=(N, 14))
SECOND = FIRST[:, :9] + 1.5 * RNG.normal(size=(N, 9))


def test_p_is_the_share_of_permutations_at_least_as_good_the_score_counted():
    null = np.array([0.1, 0.5, 0.3, 0.5, np.nan])
    found = calibrated(0.5, null)
    assert found.p_value == (2 + 1) / (4 + 1)
    assert found.n_permutations == 4
    assert found.excess == pytest.approx(0.5 - 0.35)
    assert found.null_mean == pytest.approx(0.35)
    assert found.null_sd == pytest.approx(np.std([0.1, 0.5, 0.3, 0.5], ddof=1))
    distance = calibrated(0.1, null, larger_is_better=False)
    assert distance.p_value == (1 + 1) / (4 + 1)
    assert distance.excess == pytest.approx(0.25)
    undefined = calibrated(float("nan"), null)
    assert np.isnan(undefined.p_value)
    assert np.isnan(undefined.excess)
    empty = calibrated(0.2, np.full(3, np.nan))
    assert np.isnan(empty.p_value)
    assert empty.n_permutations == 0


@pytest.mark.parametrize("measure", list(MEASURES))
def test_the_null_of_every_measure_is_that_of_reordered_features(measure):
    orders = permutation_orders(N, 4, seed=7)
    found = calibrate_measure(FIRST, SECOND, measure, n_permutations=4, seed=7)
    assert found.score == pytest.approx(compare_representations(FIRST, SECOND, measure), abs=1e-9)
    expected = [compare_representations(FIRST, SECOND[order], measure) for order in orders]
    np.testing.assert_allclose(found.null, expected, atol=1e-8)


@pytest.mark.parametrize("measure", [name for name in MEASURES if MEASURES[name].needs == "gram"])
def test_grams_will_do(measure):
    found = calibrate_measure(grams(FIRST)[0], grams(SECOND)[0], measure, n_permutations=3)
    expected = calibrate_measure(FIRST, SECOND, measure, n_permutations=3)
    np.testing.assert_allclose(found.null, expected.null, atol=1e-9)


@pytest.mark.parametrize("measure", ["CKA", "CKA[form=angular]", "mutual_knn[k=3]"])
def test_p_values_of_unrelated_spaces_are_uniform(measure):
    rng = np.random.default_rng(11)
    p_values = []
    for seed in range(200):
        x, y = rng.normal(size=(14, 6)), rng.normal(size=(14, 40))
        found = calibrate_measure(x, y, measure, n_permutations=39, seed=seed)
        # Ties are at least as good: of a measure with few values p would be too large. A random
        # place among the tied makes it exact.
        tied = int((np.abs(found.null - found.score) < 1e-12).sum())
        p_values.append(found.p_value - rng.integers(0, tied + 1) / 40 - rng.uniform(0, 1 / 40))
    assert kstest(p_values, "uniform").pvalue > 0.01


def test_raw_scores_of_noise_rise_with_width_and_the_excess_does_not():
    rng = np.random.default_rng(5)
    y = rng.normal(size=(50, 60))
    found = {
        width: calibrate_measure(
            rng.normal(size=(50, width)), y, "CKA[estimator=biased]", n_permutations=100
        )
        for width in (5, 50, 500, 5000)
    }
    raw = [item.score for item in found.values()]
    assert raw == sorted(raw)
    assert raw[-1] > 0.7
    for item in found.values():
        assert abs(item.excess) < 4 * item.null_sd
        assert abs(item.excess) < 0.05
        assert item.p_value > 0.01


def test_a_true_match_is_significant():
    found = calibrate_measure(FIRST, SECOND, "CKA", n_permutations=99)
    assert found.p_value == 0.01
    assert found.excess > 5 * found.null_sd
    assert found.n_permutations == len(found.null) == 99


def test_distances_are_better_where_they_are_small():
    found = calibrate_measure(FIRST, SECOND, "Procrustes[form=angular]", n_permutations=49)
    assert found.score < found.null_mean
    assert found.excess == pytest.approx(found.null_mean - found.score)
    assert found.p_value == 0.02


def test_blocks_keep_what_is_shared_between_categories_out():
    rng = np.random.default_rng(4)
    labels = np.repeat(np.arange(4), 10)
    means = 3 * rng.normal(size=(4, 5))[labels]
    x = means + rng.normal(size=(40, 5))
    y = means + rng.normal(size=(40, 5))
    plain = calibrate_measure(x, y, "CKA", n_permutations=99)
    within = calibrate_measure(x, y, "CKA", n_permutations=99, blocks=labels)
    assert plain.p_value == 0.01
    assert within.p_value > 0.05
    assert within.null_mean > 0.5


def test_blocks_as_wholes_heed_that_neighbours_in_time_are_alike():
    """LITcoder's p-values of autocorrelated series are below .05 in 36 % of unrelated ones."""
    rng = np.random.default_rng(8)
    rejected = {"plain": 0, "whole": 0}
    labels = np.repeat(np.arange(12), 4)
    for seed in range(60):
        # Each clip of four frames has one value: there are 12 stimuli, not 48.
        x, y = (rng.normal(size=(12, 3))[labels] + 0.1 * rng.normal(size=(48, 3)) for _ in range(2))
        plain = calibrate_measure(x, y, "CKA", n_permutations=39, seed=seed)
        whole = calibrate_measure(
            x, y, "CKA", n_permutations=39, seed=seed, blocks=labels, exchange="whole"
        )
        rejected["plain"] += plain.p_value <= 0.05
        rejected["whole"] += whole.p_value <= 0.05
    assert rejected["plain"] > 15
    assert rejected["whole"] < 10


def test_what_is_undefined_stays_so(caplog):
    with caplog.at_level(logging.WARNING):
        found = calibrate_measure(np.ones((N, 3)), SECOND, "CKA", n_permutations=3)
    assert np.isnan(found.score)
    assert np.isnan(found.p_value)
    assert "CKA is undefined" in caplog.text


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="the same stimuli on both sides, got 32 and 31 stimuli"):
        calibrate_measure(FIRST, SECOND[1:], "CKA")
    with pytest.raises(ValueError, match="one representation on each side, got a list"):
        calibrate_measure([FIRST], SECOND, "CKA")
    with pytest.raises(ValueError, match="a block for each of the 32 stimuli, got 2"):
        calibrate_measure(FIRST, SECOND, "CKA", blocks=[0, 1])


def measured_of(responses: np.ndarray, **more) -> Measured:
    v = responses.shape[1]
    return Measured(
        positions=more.pop("positions", np.arange(len(responses))),
        responses=responses,
        neuroid_ids=np.array([f"n{i}" for i in range(v)]),
        groups={("V4", "one"): np.arange(v - 3), ("V4", "two"): np.arange(3, v)},
        **more,
    )


def scores(spec, layer: Representation, measured: Measured, split) -> dict:
    found = spec.metric.compute(layer, measured, split, **spec.options)
    return {(s.region, s.subj_id, s.cv_split): s.value for s in found}


METRICS_OF_THE_LAYER = [
    "cRSA",
    "cRSA[compare=spearman,distance=euclidean,response_scale=zscore]",
    "CKA",
    "mutual_knn[k=4,response_scale=zscore]",
    "soft_matching",
]
METRICS_OF_THE_RESPONSES = [
    "eReg",
    "eReg[scale=none,score=r2]",
    "eReg[preset=published]",
    "eRSA",
    "eRSA[response_scale=zscore,distance=euclidean]",
]


@pytest.mark.parametrize("text", METRICS_OF_THE_LAYER)
def test_nulls_of_geometry_are_the_scores_of_the_reordered_layer(text):
    spec, orders = parse_metric(text), permutation_orders(N, 5, seed=1)
    measured = measured_of(SECOND)
    for split in (odd_even(N), kfold(N, 3)[1]):
        found = null_scores(spec, Representation.from_features(FIRST), measured, split, orders)
        for number, order in enumerate(orders):
            layer = Representation.from_features(FIRST[order])
            expected = scores(spec, layer, measured_of(SECOND), split)
            assert set(found) == set(expected)
            for key, value in expected.items():
                assert found[key][number] == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("text", METRICS_OF_THE_RESPONSES)
@pytest.mark.parametrize("block_bytes", [64_000_000, 8 * N * 9 * 2])
def test_nulls_of_encoding_are_the_scores_of_the_reordered_responses(
    text, block_bytes, monkeypatch
):
    monkeypatch.setattr("isomorph.alignment.nulls.BLOCK_BYTES", block_bytes)
    spec, orders = parse_metric(text), permutation_orders(N, 5, seed=1)
    layer = Representation.from_features(FIRST)
    kept = dict(layer.memo)
    for split in (odd_even(N), kfold(N, 3)[1]):
        found = null_scores(spec, layer, measured_of(SECOND), split, orders)
        for number, order in enumerate(orders):
            fresh = Representation.from_features(FIRST)
            expected = scores(spec, fresh, measured_of(SECOND[order]), split)
            assert set(found) == set(expected)
            for key, value in expected.items():
                assert found[key][number] == pytest.approx(value, abs=1e-8)
    assert layer.memo == kept  # nothing of the permutations stays with the layer


def test_nulls_with_missing_responses():
    responses = SECOND.copy()
    responses[[2, 5, 11], [0, 4, 8]] = np.nan
    orders = permutation_orders(N, 3, seed=2)
    for text in ("eReg", "cRSA", "CKA"):
        spec = parse_metric(text)
        found = null_scores(
            spec, Representation.from_features(FIRST), measured_of(responses), odd_even(N), orders
        )
        for number, order in enumerate(orders):
            on_layer = text != "eReg"
            layer = Representation.from_features(FIRST[order] if on_layer else FIRST)
            measured = measured_of(responses if on_layer else responses[order])
            for key, value in scores(spec, layer, measured, odd_even(N)).items():
                null = found.get(key, np.full(3, np.nan))
                np.testing.assert_allclose(null[number], value, atol=1e-8)
                missing = np.isnan(measured_of(responses).group_responses(key[:2]))
                rows = slice(key[2] == "test", None, 2)
                assert text != "CKA" or np.isnan(value) == missing[rows].any()


def test_a_block_may_hold_some_of_the_stimuli():
    positions = np.arange(0, N, 2)
    orders = permutation_orders(N // 2, 3, seed=2)
    for text in ("cRSA", "CKA"):
        spec = parse_metric(text)
        found = null_scores(
            spec,
            Representation.from_features(FIRST),
            measured_of(SECOND[positions], positions=positions),
            odd_even(N // 2),
            orders,
        )
        for number, order in enumerate(orders):
            layer = Representation.from_features(FIRST[positions[order]])
            expected = scores(spec, layer, measured_of(SECOND[positions]), odd_even(N // 2))
            for key, value in expected.items():
                assert found[key][number] == pytest.approx(value, abs=1e-9)


def test_nulls_of_measured_rdms():
    subjects = {
        ("IT", f"s{i}"): compute_rdm(SECOND + RNG.normal(size=SECOND.shape)) for i in range(3)
    }
    measured = Measured(positions=np.arange(N), rdms=subjects)
    orders = permutation_orders(N, 4, seed=3)
    for text in ("cRSA", "cRSA[compare=spearman]"):
        spec = parse_metric(text)
        layer = Representation.from_features(FIRST)
        found = null_scores(spec, layer, measured, odd_even(N), orders)
        assert len(found) == 9  # three subjects; train (of the others), test, all
        for number, order in enumerate(orders):
            moved = Representation.from_features(FIRST[order])
            for key, value in scores(spec, moved, measured, odd_even(N)).items():
                assert found[key][number] == pytest.approx(value, abs=1e-9)


def test_undefined_pairs_leave_undefined_nulls():
    flat = FIRST.copy()
    flat[3] = 1.0
    orders = permutation_orders(N, 6, seed=3)
    spec = parse_metric("cRSA")
    layer = Representation.from_features(flat)
    found = null_scores(spec, layer, measured_of(SECOND), odd_even(N), orders)
    for number, order in enumerate(orders):
        at = int(np.flatnonzero(order == 3)[0])
        for (_, _, cv_split), values in found.items():
            assert np.isnan(values[number]) == ((cv_split == "train") == (at % 2 == 0))


def test_permuting_an_rdm_is_far_quicker_than_making_it_again():
    # cortexlab computes every RDM of the null from the features: 570 times the time.
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 20_000)).astype(np.float32)
    responses = rng.normal(size=(60, 40))
    spec, measured = parse_metric("cRSA"), measured_of(responses)
    layer = Representation.from_features(features)
    layer.gram()
    start = time.perf_counter()
    null_scores(spec, layer, measured, odd_even(60), permutation_orders(60, 200))
    quick = (time.perf_counter() - start) / 200
    start = time.perf_counter()
    for order in permutation_orders(60, 3):
        scores(spec, Representation.from_features(features[order]), measured, odd_even(60))
    slow = (time.perf_counter() - start) / 3
    assert slow > 10 * quick


@pytest.mark.parametrize("folds", ["contiguous", "grouped"])
@pytest.mark.parametrize("name", ["eReg", "eRSA"])
def test_penalties_of_the_null_are_chosen_on_folds_that_keep_groups_whole(name, folds):
    """As those of the score are: the null and the score must differ in the order alone."""
    spec = parse_metric(f"{name}[cv=kfold4,folds={folds}]")
    groups = np.arange(N) // 2 % 6
    orders = permutation_orders(N, 4, seed=1)
    layer = Representation.from_features(FIRST)
    found = null_scores(
        spec, layer, measured_of(SECOND, stimulus_groups=groups), odd_even(N), orders
    )
    ungrouped = {}
    for number, order in enumerate(orders):
        fresh = Representation.from_features(FIRST)
        measured = measured_of(SECOND[order], stimulus_groups=groups)
        for key, value in scores(spec, fresh, measured, odd_even(N)).items():
            assert found[key][number] == pytest.approx(value, abs=1e-8)
            ungrouped[key] = value
    if folds == "contiguous":
        others = scores(spec, fresh, measured_of(SECOND[orders[-1]]), odd_even(N))
        assert others != pytest.approx(ungrouped, abs=1e-6)
