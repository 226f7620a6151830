"""Encoding ceilings: against plain loops, analysis of variance, and simulations of known truth."""

import logging

import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from isomorph.alignment.ceilings import (
    corrected_r2,
    encoding_ceiling,
    encoding_reliability,
    normalise_encoding,
    normalise_neuroids,
    spearman_brown,
    split_half_reliability,
)
from isomorph.alignment.ceilings import encoding as encoding_ceilings
from isomorph.resampling.repeats import split_halves


def simulate(reliability, n_stimuli=200, n_repeats=4, seed=0):
    """Noise-free (n, v) and repeated (n, r, v) responses; the mean's reliability is as given."""
    rng = np.random.default_rng(seed)
    reliability = np.asarray(reliability, dtype=float)
    signal = rng.normal(size=(n_stimuli, len(reliability)))
    noise = rng.normal(size=(n_stimuli, n_repeats, len(reliability))) * np.sqrt(n_repeats)
    responses = np.sqrt(reliability) * signal[:, None] + np.sqrt(1 - reliability) * noise
    return signal, responses


def drop(responses, share, seed=0, per_neuroid=False):
    """Make repeats missing."""
    rng = np.random.default_rng(seed)
    shape = responses.shape if per_neuroid else (*responses.shape[:2], 1)
    return np.where(rng.random(shape) < share, np.nan, responses)


def reliability_by_loops(responses, seed, n_draws=20):
    """Each neuroid alone, each draw alone; Kristof's correction in its textbook form for alpha."""
    found = []
    for y in responses.transpose(2, 0, 1):
        present = ~np.isnan(y)
        kept = present.sum(axis=1) >= 2
        y, present = y[kept], present[kept]
        whole = [row[there].mean() for row, there in zip(y, present, strict=True)]
        covariances = []
        for first, second in split_halves(present, seed=seed, n_draws=n_draws):
            a = [row[half].mean() for row, half in zip(y, first, strict=True)]
            b = [row[half].mean() for row, half in zip(y, second, strict=True)]
            covariances.append(np.cov(a, b)[0, 1])
        n = len(y)
        alpha = np.mean(covariances) / np.var(whole, ddof=1)
        found.append(2 / (n - 1) + (n - 3) / (n - 1) * alpha)
    return np.array(found)


def column_correlations(x, y):
    return np.array([scipy.stats.pearsonr(a, b)[0] for a, b in zip(x.T, y.T, strict=True)])


@pytest.mark.parametrize("per_neuroid", [False, True], ids=["shared", "drop-out"])
def test_reliability_equals_loops_with_missing_repeats(per_neuroid):
    _, responses = simulate(np.linspace(0, 0.9, 6), n_stimuli=30, n_repeats=6)
    responses = drop(50 + 3 * responses, 0.4, per_neuroid=per_neuroid)
    np.testing.assert_allclose(
        split_half_reliability(responses, seed=5), reliability_by_loops(responses, 5), rtol=1e-9
    )


def test_reliability_equals_loops_on_v4(data_folder):
    raw = np.load(data_folder / "macaque_v4" / "responses_raw_210325.npy").transpose(1, 2, 0)
    found = split_half_reliability(raw, seed=1)
    np.testing.assert_allclose(found[:3], reliability_by_loops(raw[:, :, :3], 1), rtol=1e-9)
    assert (found > 0.5).all()
    assert encoding_ceiling(raw).value == pytest.approx(0.863, abs=0.002)


def test_reliability_is_spearman_brown_for_equal_even_repeats():
    _, responses = simulate([0.1, 0.5, 0.9], n_stimuli=50)
    [(first, second)] = split_halves(np.ones((50, 4), bool), seed=3, n_draws=1)
    for neuroid, found in enumerate(split_half_reliability(responses, seed=3, n_draws=1)):
        a = responses[:, :, neuroid][first].reshape(50, 2).mean(axis=1)
        b = responses[:, :, neuroid][second].reshape(50, 2).mean(axis=1)
        pooled_r = np.cov(a, b)[0, 1] / np.mean([a.var(ddof=1), b.var(ddof=1)])
        expected = spearman_brown(pooled_r)
        assert (found * 49 - 2) / 47 == pytest.approx(expected, rel=1e-10)
        assert expected == pytest.approx(2 * pooled_r / (1 + pooled_r))


def test_reliability_tends_to_the_intraclass_correlation():
    # Over all draws it is 1 - 1/F of the one-way analysis of variance.
    _, responses = simulate([0.3, 0.7], n_stimuli=60)
    found = split_half_reliability(responses, n_draws=20_000)
    for neuroid in range(2):
        ratio = scipy.stats.f_oneway(*responses[:, :, neuroid]).statistic
        assert (found[neuroid] * 59 - 2) / 57 == pytest.approx(1 - 1 / ratio, abs=6e-3)


@pytest.mark.parametrize("counts", [[2], [3], [4], [1, 2, 3, 4]])
@pytest.mark.parametrize("reliability", [0.0, 0.2, 0.8])
def test_reliability_is_unbiased(counts, reliability):
    rng = np.random.default_rng(1)
    repeats = rng.choice(counts, 40)
    # The noise of the mean of R repeats, averaged over the stimuli that have two or more.
    spread = np.sqrt((1 - reliability) / np.mean(1 / repeats[repeats >= 2]))
    signal = np.sqrt(reliability) * rng.normal(size=(40, 1, 4000))
    responses = signal + spread * rng.normal(size=(40, max(counts), 4000))
    responses[np.arange(max(counts)) >= repeats[:, None]] = np.nan
    assert split_half_reliability(responses).mean() == pytest.approx(reliability, abs=0.012)


def test_reliability_is_the_squared_correlation_with_the_signal():
    # Stimuli of unequal repeats, and a signal that is not normal.
    rng = np.random.default_rng(2)
    signal = rng.exponential(size=(4000, 1, 3))
    responses = drop(signal + rng.normal(size=(4000, 8, 3)) * [1, 2, 4], 0.4)
    responses[:, 0] = responses[:, 1]  # a half's own repeats may not be counted twice
    responses = responses[:, 1:]
    kept = (~np.isnan(responses[:, :, 0])).sum(axis=1) >= 2
    mean = np.nanmean(responses[kept], axis=1)
    truth = column_correlations(signal[kept, 0], mean) ** 2
    np.testing.assert_allclose(split_half_reliability(responses), truth, atol=0.03)


def test_undefined_reliability_is_nan():
    _, responses = simulate([0.5, 0.5, 0.5], n_stimuli=20)
    responses[:, :, 1] = 0.1
    found = split_half_reliability(responses)
    assert np.isnan(found).tolist() == [False, True, False]
    np.testing.assert_array_equal(found[[0, 2]], split_half_reliability(responses[:, :, [0, 2]]))
    assert np.isnan(split_half_reliability(responses[:4])).all()
    assert np.isnan(split_half_reliability(responses[:, :1])).all()
    one_repeat = responses.copy()
    one_repeat[4:, 1:] = np.nan
    assert np.isnan(split_half_reliability(one_repeat)).all()
    reason = "no neuroid varies over 5 or more stimuli with two or more repeats"
    for broken in (responses[:, :1], responses[:, :, [1]], responses[:, :, :0]):
        ceiling = encoding_ceiling(broken)
        assert np.isnan([ceiling.value, ceiling.lower, ceiling.upper]).all()
        assert ceiling.reason == reason


def test_stimuli_with_one_repeat_are_left_out():
    _, responses = simulate([0.5, 0.2], n_stimuli=40)
    responses[25:, 1:] = np.nan
    np.testing.assert_allclose(
        split_half_reliability(responses), split_half_reliability(responses[:25]), rtol=1e-12
    )


def test_reliability_does_not_depend_on_chunks_dtype_or_scale(monkeypatch):
    _, responses = simulate(np.full(7, 0.5), n_stimuli=20)
    whole = encoding_reliability(responses)
    np.testing.assert_allclose(
        split_half_reliability(1e6 + responses), whole.reliability, rtol=1e-6
    )
    single = encoding_reliability(responses.astype(np.float32))
    np.testing.assert_allclose(single.reliability, whole.reliability, atol=1e-5)
    monkeypatch.setattr(encoding_ceilings, "CHUNK_VALUES", 200)
    chunked = encoding_reliability(responses)
    np.testing.assert_allclose(chunked.reliability, whole.reliability, rtol=1e-12)
    np.testing.assert_allclose(chunked.bootstrap, whole.bootstrap, rtol=1e-5)


def test_bootstrap_equals_resampled_stimuli():
    _, responses = simulate([0.3, 0.8], n_stimuli=15)
    found = encoding_reliability(responses, seed=4, n_draws=3000, n_bootstrap=5)
    rng = np.random.default_rng([4, 1])
    counts = rng.multinomial(15, np.full(15, 1 / 15), size=5)
    halves = list(split_halves(np.ones((15, 4), bool), seed=4, n_draws=3000))
    for row, count in zip(found.bootstrap, counts, strict=True):
        drawn = np.repeat(np.arange(15), count)
        for neuroid in range(2):
            y = responses[:, :, neuroid]
            pairs = [
                np.cov(y[a].reshape(15, 2).mean(1)[drawn], y[b].reshape(15, 2).mean(1)[drawn])
                for a, b in halves
            ]
            ratio = np.mean(pairs, axis=0)[0, 1] / y.mean(axis=1)[drawn].var(ddof=1)
            # The halves' means enter by their expectation: equal up to the noise of the draws.
            assert row[neuroid] == pytest.approx((2 + 12 * ratio) / 14, abs=0.01)


def test_ceiling_is_the_root_of_the_mean_reliability():
    _, responses = simulate([0.8, 0.0, 0.3, 0.5], n_stimuli=100)
    responses[:, :, 3] = 1.0
    estimate = encoding_reliability(responses)
    ceiling = estimate.ceiling()
    assert ceiling.value == pytest.approx(np.sqrt(np.nanmean(estimate.reliability)))
    assert ceiling.lower < ceiling.value < ceiling.upper
    assert (ceiling.scale, ceiling.reason) == ("r2", "")
    assert ceiling.method == "split-half, Spearman–Brown"
    some = estimate.ceiling(np.array([True, False, True, False]))
    assert some.value == pytest.approx(np.sqrt(estimate.reliability[[0, 2]].mean()))
    np.testing.assert_array_equal(some.reliability, estimate.reliability[[0, 2]])
    direct = encoding_ceiling(responses)
    assert (direct.value, direct.lower, direct.upper) == (
        ceiling.value,
        ceiling.lower,
        ceiling.upper,
    )


def test_negative_mean_reliability_gives_nan_with_its_figure():
    rng = np.random.default_rng(0)
    for seed in range(20):
        ceiling = encoding_ceiling(rng.normal(size=(30, 4, 3)), seed=seed)
        mean = ceiling.reliability.mean()
        assert np.isnan(ceiling.value) == (mean <= 0)
        if mean <= 0:
            assert ceiling.reason.startswith(f"the mean reliability is {mean:.3f} [")
            assert ceiling.reason.endswith("], not above 0")
    # Above zero, a lower bound may be below it.
    ceiling = encoding_ceiling(simulate([0.1], n_stimuli=60, seed=9)[1])
    assert ceiling.lower < 0 < ceiling.value


def test_interval_covers_the_truth():
    covered = 0
    for seed in range(60):
        _, responses = simulate([0.1, 0.4, 0.6], n_stimuli=100, seed=seed)
        ceiling = encoding_ceiling(responses, seed=seed)
        covered += ceiling.lower < np.sqrt(1.1 / 3) < ceiling.upper
    assert 52 <= covered <= 60


MIXTURES = {
    "equal .2": lambda rng: np.full(300, 0.2),
    "equal .5": lambda rng: np.full(300, 0.5),
    "equal .8": lambda rng: np.full(300, 0.8),
    "half 0, half .4": lambda rng: np.repeat([0.0, 0.4], 150),
    "half .2, half .8": lambda rng: np.repeat([0.2, 0.8], 150),
    "Beta(.5, 2)": lambda rng: rng.beta(0.5, 2, 300),
}


@pytest.mark.parametrize("stimuli", ["scored", "all"])
@pytest.mark.parametrize("mixture", MIXTURES)
def test_a_perfect_model_scores_its_ceiling(mixture, stimuli):
    # 200 stimuli, the odd ones scored; the reliability from those or from all.
    normalised = []
    for seed in range(20):
        reliability = MIXTURES[mixture](np.random.default_rng(seed))
        signal, responses = simulate(reliability, seed=seed)
        scored = slice(1, None, 2)
        mean = responses[scored].mean(axis=1)
        a, b = signal[scored] - signal[scored].mean(axis=0), mean - mean.mean(axis=0)
        scores = (a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
        used = responses[scored] if stimuli == "scored" else responses
        normalised.append(normalise_encoding(scores, 100, split_half_reliability(used, seed=seed)))
    assert np.mean(normalised) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("rho", [0.0, 0.2, 0.6])
@pytest.mark.parametrize("n_stimuli", [10, 50])
def test_corrected_r2_is_unbiased_and_odd(rho, n_stimuli):
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(2, n_stimuli, 50_000))
    y = rho * x + np.sqrt(1 - rho**2) * noise
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    r = (x * y).sum(axis=0) / np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))
    found = corrected_r2(r, n_stimuli)
    np.testing.assert_array_equal(corrected_r2(-r, n_stimuli), -found)
    # The sign is known here: without it the estimate is unbiased whatever the correlation; with
    # it, one of zero averages to zero.
    assert (found * np.sign(r)).mean() == pytest.approx(rho**2, abs=4e-3)
    if rho == 0:
        assert found.mean() == pytest.approx(0, abs=2e-3)
    assert corrected_r2(np.array([1.0, -1.0]), n_stimuli).tolist() == [1.0, -1.0]


@pytest.mark.parametrize("n_stimuli", [5, 39, 40, 250, 5000])
def test_corrected_r2_equals_olkin_and_pratts_integral(n_stimuli):
    # 2F1(1, 1; c; x) is (c - 1) times the integral of (1 - t)^(c - 2) / (1 - x t) over t,
    # and c is n / 2.
    r = np.array([1e-4, 0.01, 0.1, 0.3, 0.7, 0.999])
    for value, found in zip(r, corrected_r2(r, n_stimuli), strict=True):
        x = 1 - value**2
        # With 1 - t = w² the integrand is smooth, and bends near w = r.
        area, _ = scipy.integrate.quad(
            lambda w, x=x: (n_stimuli - 2) * w ** (n_stimuli - 3) / (1 - x + x * w**2),
            0,
            1,
            points=[value, 1 - 10 / (n_stimuli + 10)],
            limit=500,
            epsabs=1e-12,
        )
        expected = 1 - (n_stimuli - 3) / (n_stimuli - 2) * x * area
        assert found == pytest.approx(expected, abs=1e-8)


def test_normalised_score_is_the_signed_root_of_a_ratio_of_means():
    scores, reliability = np.array([0.7, -0.2, 0.4]), np.array([0.6, -0.05, 0.3])
    squares = corrected_r2(scores, 80)
    expected = np.sqrt(squares.mean() / reliability.mean())
    assert normalise_encoding(scores, 80, reliability) == pytest.approx(expected)
    assert normalise_encoding(-scores, 80, reliability) == pytest.approx(-expected)


def test_normalising_leaves_out_undefined_neuroids_and_counts_them(caplog):
    scores, reliability = np.array([0.7, np.nan, 0.4, 0.9]), np.array([0.6, 0.5, 0.3, np.nan])
    with caplog.at_level(logging.INFO):
        found = normalise_encoding(scores, 80, reliability)
    assert found == normalise_encoding(scores[[0, 2]], 80, reliability[[0, 2]])
    assert "2 of 4 neuroids left out" in caplog.text
    assert np.isnan(normalise_encoding(scores[:2], 80, np.array([-0.2, 0.5])))
    assert np.isnan(normalise_encoding(np.array([np.nan]), 80, np.array([0.5])))


def test_normalised_neuroids_say_why_they_are_undefined():
    scores = np.array([0.6, np.nan, 0.5, 0.5, -0.6])
    reliability = np.array([0.36, 0.5, np.nan, -0.1, 0.36])
    values, reasons = normalise_neuroids(scores, 10**6, reliability)
    np.testing.assert_allclose(values, [1, np.nan, np.nan, np.nan, -1], atol=1e-5)
    assert reasons.tolist() == [
        "",
        "the score is undefined",
        "the reliability is undefined",
        "the reliability is not above 0",
        "",
    ]


def test_each_neuroid_may_have_its_own_number_of_stimuli():
    scores, reliability = np.array([0.7, -0.2, 0.4, 0.9]), np.array([0.6, 0.2, 0.3, 0.5])
    counts = np.array([80, 12, 80, 4])
    squares = corrected_r2(scores[:3], counts[:3])
    alone = [float(corrected_r2(r, n)) for r, n in zip(scores[:3], [80, 12, 80], strict=True)]
    np.testing.assert_array_equal(squares, alone)
    expected = np.sqrt(np.mean(alone) / reliability[:3].mean())
    assert normalise_encoding(scores, counts, reliability) == pytest.approx(expected)
    values, reasons = normalise_neuroids(scores, counts, reliability)
    assert reasons.tolist() == ["", "", "", "fewer than 5 stimuli"]
    np.testing.assert_allclose(values[:3], scores[:3] / np.sqrt(reliability[:3]))
    assert np.isnan(values[3])


@pytest.mark.parametrize("n_stimuli", [0, 2, 4, np.array([4, 3])])
def test_too_few_stimuli_are_undefined_and_no_error(n_stimuli):
    scores, reliability = np.array([0.7, 0.2]), np.array([0.6, 0.5])
    assert np.isnan(normalise_encoding(scores, n_stimuli, reliability))
    values, reasons = normalise_neuroids(scores, n_stimuli, reliability)
    assert np.isnan(values).all()
    assert reasons.tolist() == ["fewer than 5 stimuli"] * 2


def test_a_single_neuroid_keeps_its_sign():
    scores, reliability = np.array([0.132, -0.132, 0.5]), np.array([0.5, 0.5, 0.5])
    values, _ = normalise_neuroids(scores, 30, reliability)
    np.testing.assert_allclose(values, scores / np.sqrt(0.5))


def test_wrong_input_says_what_to_do():
    with pytest.raises(ValueError, match="expected 5 or more, got 4; score more stimuli"):
        corrected_r2(np.array([0.5]), 4)
    with pytest.raises(ValueError, match=r"got \(2,\) and \(3,\); take both of the same neuroids"):
        normalise_encoding(np.ones(2), 50, np.ones(3))
    with pytest.raises(ValueError, match=r"one for each of the 2 neuroids, got shape \(3,\)"):
        normalise_neuroids(np.ones(2), np.array([9, 9, 9]), np.ones(2))
    with pytest.raises(ValueError, match=r"got shape \(20, 3\); responses that are averaged"):
        split_half_reliability(np.ones((20, 3)))
