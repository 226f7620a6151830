"""Calibrated RDM ceilings: the twin, its glue by plain loops, and simulations of known truth."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from isomorph.alignment import Measured, Part, parse_metric
from isomorph.alignment.ceilings import rdm as rdm_ceilings
from isomorph.alignment.ceilings import rdm_repeats_ceiling, rdm_split_half_ceiling
from isomorph.alignment.ceilings.halves import HalfAgreement, rdm_vector
from isomorph.alignment.ceilings.twin import _noise_axes, _signal_powers, fit_twin
from isomorph.geometry import (
    COMPARISONS,
    RDM_METHODS,
    compare_rdms,
    compute_rdm,
    noise_covariance,
    rdm_method,
    upper_triangle,
)
from isomorph.resampling.repeats import split_halves

RANKS = (5, 20, None)
CALIBRATED = [name for name, found in COMPARISONS.items() if found.range == (-1.0, 1.0)]


def simulate(
    reliability=0.5,
    n_stimuli=100,
    n_neuroids=100,
    rank: int | None = 5,
    seed=0,
    n_repeats=4,
    shared=0.0,
    mean=0.0,
):
    """Signals of unequal pattern norms under noise that depends on the stimulus.

    The mean over repeats of every neuroid has the given reliability.
    """
    rng = np.random.default_rng([seed, n_stimuli, n_neuroids])
    k = rank or min(n_stimuli, n_neuroids)
    scale = np.ones(k) if rank else 1 / np.sqrt(np.arange(1, k + 1))
    signal = (rng.normal(size=(n_stimuli, k)) * scale) @ rng.normal(size=(k, n_neuroids))
    signal *= rng.lognormal(sigma=0.5, size=(n_stimuli, 1))
    signal *= np.sqrt(reliability) / signal.std(axis=0)
    signal += mean * np.sqrt(reliability) * rng.normal(size=n_neuroids)
    noise = rng.normal(size=(n_stimuli, n_repeats, n_neuroids))
    common = rng.normal(size=(n_stimuli, n_repeats, 3)) @ rng.normal(size=(3, n_neuroids))
    noise = np.sqrt(1 - shared) * noise + np.sqrt(shared / 3) * common
    size = rng.lognormal(sigma=0.5, size=(n_stimuli, 1, 1))
    noise *= size / np.sqrt(np.mean(size**2)) * np.sqrt((1 - reliability) * n_repeats)
    return signal, signal[:, None] + noise


def scored(signal, responses, distance="pearson", compare="pearson"):
    """What the noise-free responses really score."""
    rdms = [compute_rdm(values, distance) for values in (signal, np.nanmean(responses, axis=1))]
    return float(compare_rdms(*rdms, compare))


def test_the_calibrated_ceiling_equals_plain_loops():
    _, responses = simulate(0.4, n_stimuli=30, n_neuroids=20)
    found = rdm_repeats_ceiling(responses, seed=2, n_draws=6, n_twins=3)
    present = np.ones((30, 4), bool)
    # Everything but the twin again: scipy, one draw of the halves at a time.
    twin = fit_twin(responses, present, centre_rows=True)

    def lengthened(values, seed, n_draws):
        r = []
        for halves in split_halves(present, seed=seed, n_draws=n_draws):
            one, two = (
                pdist(values[half].reshape(30, 2, 20).mean(axis=1), "correlation")
                for half in halves
            )
            r.append(scipy.stats.pearsonr(one, two)[0])
        return np.sqrt(2 * np.mean(r) / (1 + np.mean(r)))

    truths, estimates = [], []
    for number in range(3):
        values = twin.draw(np.random.default_rng([2, 3, number]))
        noise_free, mean = pdist(twin.signal, "correlation"), pdist(values.mean(1), "correlation")
        truths.append(scipy.stats.pearsonr(noise_free, mean)[0])
        estimates.append(lengthened(values, 3 + number, 2))
    expected = lengthened(responses, 2, 6) * np.mean(truths) / np.mean(estimates)
    assert found.value == pytest.approx(expected, rel=1e-9)
    assert found.lower < found.value < found.upper
    assert (found.scale, found.reason) == ("r", "")
    assert found.method == "split-half RDMs, Spearman–Brown, calibrated on a simulated twin"
    again = rdm_repeats_ceiling(responses, seed=2, n_draws=6, n_twins=3)
    assert found == again
    other = rdm_repeats_ceiling(responses, seed=3, n_draws=6, n_twins=3)
    assert other.value != found.value
    assert found.lower < other.value < found.upper


@pytest.mark.parametrize("shared", [0.0, 0.5])
def test_the_twin_is_like_the_data(shared):
    signal, responses = simulate(0.7, n_stimuli=120, n_neuroids=60, shared=shared, mean=1.0)
    twin = fit_twin(responses, np.ones((120, 4), bool))
    values = twin.draw(np.random.default_rng(0))
    assert values.shape == responses.shape
    # Noise: the same level of each stimulus, the same covariance between neuroids.
    levels = [np.sqrt(one.var(axis=1, ddof=1).sum(axis=1)) for one in (values, responses)]
    assert np.corrcoef(*levels)[0, 1] > 0.9
    assert levels[0].mean() == pytest.approx(levels[1].mean(), rel=0.05)
    covariances = [
        np.cov((one - one.mean(axis=1, keepdims=True)).reshape(-1, 60).T)
        for one in (values, responses)
    ]
    largest = [np.linalg.eigvalsh(one)[-3:] for one in covariances]
    np.testing.assert_allclose(*largest, rtol=0.4)
    # Signal: mean pattern, and the power and products of the deviations from it.
    np.testing.assert_allclose(
        np.square(twin.signal.mean(axis=0)).sum(), np.square(signal.mean(axis=0)).sum(), rtol=0.1
    )
    off = ~np.eye(120, dtype=bool)
    powers, products = [], []
    for one in (twin.signal, signal):
        centred = one - one.mean(axis=0)
        gram = centred @ centred.T
        powers.append(gram.diagonal())
        products.append(np.mean(gram[off] ** 2))
    assert powers[0].mean() == pytest.approx(powers[1].mean(), rel=0.1)
    assert np.log(powers[0]).std() == pytest.approx(np.log(powers[1]).std(), rel=0.3)
    assert scipy.stats.spearmanr(*powers)[0] > 0.8
    assert products[0] == pytest.approx(products[1], rel=0.2)


def test_the_twin_has_the_powers_that_disjoint_repeats_give():
    _, responses = simulate(0.3, n_stimuli=60, n_neuroids=40)
    responses -= responses.mean(axis=(0, 1))
    present = np.ones((60, 4), bool)
    twin = fit_twin(responses, present)
    powers = np.square(twin.signal).sum(axis=1)
    np.testing.assert_allclose(powers, _signal_powers(responses, present, twin.level), rtol=1e-8)
    products = responses @ responses.transpose(0, 2, 1)
    unbiased = products[:, ~np.eye(4, dtype=bool)].mean(axis=1)
    assert powers.mean() == pytest.approx(unbiased.mean(), rel=0.05)


def test_missing_repeats_stay_missing_in_the_twin():
    _, responses = simulate(n_stimuli=30, n_neuroids=10)
    present = np.random.default_rng(0).random((30, 4)) < 0.6
    present[:, :2] = True
    values = np.where(present[:, :, None], responses, 0.0)
    before = values.copy()
    drawn = fit_twin(values, present).draw(np.random.default_rng(0))
    np.testing.assert_array_equal(values, before)
    assert (drawn[~present] == 0).all()
    assert (drawn[present] != 0).all()


def test_axes_of_correlated_noise_are_found_among_few_and_many_neuroids(monkeypatch):
    rng = np.random.default_rng(0)
    axis = rng.normal(size=(80, 1)) / np.sqrt(80)
    noise = rng.normal(size=(600, 80)) + 5 * rng.normal(size=(600, 1)) @ axis.T
    axes, gain = _noise_axes(noise, 600)
    assert axes.shape == (80, 1)
    assert abs(axes[:, 0] @ axis[:, 0]) / np.linalg.norm(axis) > 0.97
    assert gain[0] == pytest.approx(np.sqrt(1 + 25 * np.sum(axis**2)), rel=0.08)
    independent, _ = _noise_axes(rng.normal(size=(600, 80)), 600)
    assert independent.shape[1] <= 1
    monkeypatch.setattr("isomorph.alignment.ceilings.twin.EXACT_AXES", 10)
    iterated, same = _noise_axes(noise, 600)
    assert abs(iterated[:, 0] @ axes[:, 0]) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(same, gain, rtol=1e-6)


@pytest.mark.parametrize("compare", CALIBRATED)
def test_every_correlation_has_a_ceiling_near_the_truth(compare):
    signal, responses = simulate(0.7, n_stimuli=50, n_neuroids=60, rank=20)
    truth = scored(signal, responses, compare=compare)
    found = rdm_repeats_ceiling(responses, compare=compare, n_draws=6, n_twins=4, n_bootstrap=24)
    assert found.value == pytest.approx(truth, abs=0.06)
    assert found.lower < truth < found.upper
    if compare == "kendall":
        alias = rdm_repeats_ceiling(
            responses, compare="tau_b", n_draws=6, n_twins=4, n_bootstrap=24
        )
        assert alias == found


@pytest.mark.parametrize("compare", ["bures", "riemannian"])
def test_comparisons_that_are_no_correlations_have_no_ceiling(compare):
    found = rdm_repeats_ceiling(simulate(n_stimuli=10, n_neuroids=6)[1], compare=compare)
    assert np.isnan(found.value)
    assert found.reason == f"no validated ceiling is known for compare={compare}"


PLAIN = {"mahalanobis": "euclidean", "sqmahalanobis": "sqeuclidean", "crossnobis": "sqeuclidean"}


@pytest.mark.parametrize("distance", [name for name in RDM_METHODS if not rdm_method(name).rates])
def test_every_distance_has_a_ceiling_near_the_truth(distance):
    signal, responses = simulate(0.7, n_stimuli=60, n_neuroids=50, rank=20, shared=0.3)
    found = rdm_repeats_ceiling(responses, distance=distance, n_draws=6, n_twins=4)
    if distance in PLAIN:
        noise = noise_covariance(responses)
        model = compute_rdm(noise.whiten(signal), PLAIN[distance])
        crossed = rdm_method(distance).needs == "repeats"
        values = responses if crossed else responses.mean(axis=1)
        truth = compare_rdms(model, compute_rdm(values, distance, noise=noise))
    else:
        truth = scored(signal, responses, distance)
    # The noise covariance is estimated from the same repeats, which the twin does not repeat.
    assert found.value == pytest.approx(truth, abs=0.06)
    assert distance in PLAIN or found.lower < truth < found.upper


def test_a_function_is_a_distance_too():
    _, responses = simulate(n_stimuli=30, n_neuroids=12)
    named = rdm_repeats_ceiling(responses, distance="euclidean", n_twins=3, n_draws=4)
    given_function = rdm_repeats_ceiling(
        responses, distance=lambda x: compute_rdm(x, "euclidean"), n_twins=3, n_draws=4
    )
    assert given_function.value == pytest.approx(named.value, rel=1e-9)
    alias = rdm_repeats_ceiling(responses, distance="correlation", n_twins=3, n_draws=4)
    assert alias == rdm_repeats_ceiling(responses, n_twins=3, n_draws=4)


@pytest.mark.parametrize("distance", ["pearson", "cosine", "euclidean", "sqeuclidean"])
def test_the_quick_way_to_an_rdm_is_the_same(distance):
    features = 1e4 + np.random.default_rng(0).normal(size=(20, 30))
    expected = upper_triangle(compute_rdm(features, distance))
    np.testing.assert_allclose(rdm_vector(features, distance), expected, rtol=1e-8)


def test_rates_keep_the_plain_ceiling_and_say_so():
    # Noise makes the twin's rates negative, so nothing can be calibrated.
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(2.0, size=(30, 1, 20)), size=(30, 4, 20)).astype(float)
    found = rdm_repeats_ceiling(counts, distance="poisson")
    assert found == rdm_split_half_ceiling(counts, distance="poisson")
    assert "biased at low reliability" in found.method
    crossed = rdm_repeats_ceiling(counts, distance="poisson_cv")
    assert crossed.reason == "no validated ceiling is known for poisson_cv"


def test_repeats_without_noise_reach_one():
    signal = np.random.default_rng(0).normal(size=(20, 15))
    found = rdm_repeats_ceiling(np.repeat(signal[:, None], 3, axis=1))
    assert found.value == pytest.approx(1, abs=1e-9)
    assert found.upper == pytest.approx(1, abs=1e-6)


def test_undefined_calibrated_ceilings_say_why():
    rng = np.random.default_rng(0)
    noise = [rdm_repeats_ceiling(rng.normal(size=(20, 4, 10)), n_twins=2) for _ in range(10)]
    undefined = [found for found in noise if np.isnan(found.value)]
    assert undefined
    reasons = ("not above 0", "its noise hides the signal")
    assert all(any(part in found.reason for part in reasons) for found in undefined)
    one = rdm_repeats_ceiling(rng.normal(size=(20, 1, 10)))
    assert one.reason == "0 stimuli with two or more repeats, at least 3 are needed"
    silent = rng.normal(size=(20, 4, 10))
    silent[3] = 0
    assert "constant or has undefined pairs" in rdm_repeats_ceiling(silent).reason
    crossed = rdm_split_half_ceiling(rng.normal(size=(20, 4, 10)), distance="crossnobis")
    assert crossed.reason == "split halves of crossnobis need the twin: method=calibrated"
    with pytest.raises(KeyError, match="Did you mean 'calibrated'"):
        rdm_repeats_ceiling(silent, method="calibratd")
    with pytest.raises(ValueError, match=r"got shape \(20, 10\); responses that are averaged"):
        rdm_repeats_ceiling(silent[:, 0])


@settings(max_examples=5, deadline=None, derandomize=True)
@given(
    scale=st.floats(1e-3, 1e3),
    offset=st.floats(-1e4, 1e4),
    seed=st.integers(0, 100),
)
def test_units_and_order_of_neuroids_leave_the_ceiling(scale, offset, seed):
    _, responses = simulate(0.6, n_stimuli=20, n_neuroids=12, seed=seed)
    options = {"n_draws": 3, "n_twins": 2, "n_bootstrap": 6}
    before = responses.copy()
    plain = rdm_repeats_ceiling(responses, distance="euclidean", **options)
    order = np.random.default_rng(seed).permutation(12)
    changed = rdm_repeats_ceiling(
        scale * (responses[:, :, order] + offset), distance="euclidean", **options
    )
    np.testing.assert_array_equal(responses, before)
    if np.isfinite(plain.value):
        assert changed.value == pytest.approx(plain.value, rel=1e-3)
    single = rdm_repeats_ceiling(responses.astype(np.float32), distance="euclidean", **options)
    assert single.reason[:20] == plain.reason[:20]
    if np.isfinite(plain.value):
        assert single.value == pytest.approx(plain.value, rel=1e-2)


def test_two_halves_of_v4_agree_as_their_ceilings_say(data_folder):
    # If the ceilings are right, the RDMs of disjoint sets of repeats correlate by their product.
    raw = np.load(data_folder / "macaque_v4" / "responses_raw_210325.npy").transpose(1, 2, 0)
    complete = raw[~np.isnan(raw[:, :8]).any(axis=(1, 2))][:, :8]
    first, second = complete[:, :4], complete[:, 4:]
    observed = scored(first.mean(axis=1), second)
    ceilings = [
        rdm_repeats_ceiling(half, n_twins=3, n_draws=8, n_bootstrap=40).value
        for half in (first, second)
    ]
    assert len(complete) == 343
    assert observed == pytest.approx(np.prod(ceilings), rel=0.05)


def test_the_metric_takes_the_calibrated_ceiling():
    _, responses = simulate(n_stimuli=24, n_neuroids=12)
    measured = Measured(
        positions=np.arange(24),
        responses=responses.mean(axis=1),
        repeats=responses,
        neuroid_ids=np.arange(12).astype(str),
        groups={("V4", "monkey"): np.arange(12)},
    )
    part = Part("test", np.arange(1, 24, 2), "stimuli")
    for text in ("cRSA", "cRSA[distance=crossnobis,compare=spearman]"):
        spec = parse_metric(text)
        found = spec.metric.ceiling(measured, ("V4", "monkey"), part, spec.options, seed=1)
        expected = rdm_repeats_ceiling(
            responses[1::2],
            distance=spec.options["distance"],
            compare=spec.options["compare"],
            seed=1,
        )
        assert found.value == pytest.approx(expected.value, rel=1e-9)
        assert found.method == expected.method
        assert "calibrated" in found.method


def test_one_calibration_is_right_where_plain_halves_are_not():
    # Mean patterns and noise by stimulus: plain halves are 20 % too high at reliability .5.
    plain, calibrated = [], []
    for seed in range(4):
        signal, responses = simulate(0.5, mean=1.0, rank=None, seed=seed)
        truth = scored(signal, responses)
        plain.append(truth / rdm_split_half_ceiling(responses, n_draws=6).value)
        calibrated.append(truth / rdm_repeats_ceiling(responses, n_draws=6, n_twins=4).value)
    assert np.mean(plain) < 0.85
    assert np.mean(calibrated) == pytest.approx(1, abs=0.08)


@pytest.mark.slow
@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize(("distance", "compare"), [("pearson", "pearson"), ("pearson", "spearman")])
@pytest.mark.parametrize("reliability", [0.5, 0.8])
def test_a_perfect_model_scores_its_rdm_ceiling(reliability, distance, compare, rank):
    truths, ceilings = [], []
    for seed in range(4):
        for n_stimuli, n_neuroids in ((100, 100), (150, 200)):
            signal, responses = simulate(reliability, n_stimuli, n_neuroids, rank=rank, seed=seed)
            truths.append(scored(signal, responses, distance, compare))
            found = rdm_repeats_ceiling(
                responses, distance=distance, compare=compare, seed=seed, n_draws=10
            )
            ceilings.append(found.value)
    assert np.mean(truths) / np.mean(ceilings) == pytest.approx(1, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("distance", "compare"), [("pearson", "pearson"), ("euclidean", "pearson")]
)
def test_the_interval_holds_the_truth_at_low_reliability(distance, compare):
    inside = []
    for seed in range(30):
        signal, responses = simulate(
            0.2, rank=RANKS[seed % 3], seed=seed, mean=seed % 2, shared=(seed // 2 % 2) / 2
        )
        truth = scored(signal, responses, distance, compare)
        found = rdm_repeats_ceiling(
            responses, distance=distance, compare=compare, seed=seed, n_draws=10
        )
        if np.isfinite(found.value):
            inside.append(found.lower <= truth <= found.upper)
    assert len(inside) >= 25
    assert np.mean(inside) >= 0.9


def test_the_correction_counts_as_an_error():
    # A twin that corrects much may be wrong by part of it: bench/ceilings.py prints the coverage.
    found = HalfAgreement(0.5, np.array([0.01, -0.01]), 2.0)
    half, nothing = np.array([0.4, 0.4]), np.array([0.8, 0.8])
    corrected = rdm_ceilings._calibrated(found, half, nothing)
    assert corrected.value == pytest.approx(np.sqrt(2 / 3) / 2)
    error = rdm_ceilings.MODEL_ERROR * corrected.value * np.log(2)
    assert corrected.upper - corrected.value > 1.96 * error
    plain = rdm_ceilings._calibrated(found, half, half)
    assert plain.value == pytest.approx(np.sqrt(2 / 3))
    assert plain.upper - plain.value < 0.2
