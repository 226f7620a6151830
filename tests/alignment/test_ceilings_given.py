"""Ceilings from elsewhere, and the errors of recent peers in using them."""

import numpy as np
import pytest

from isomorph.alignment.ceilings import (
    encoding_reliability,
    given_ceiling,
    ncsnr_ceiling,
    normalise_encoding,
    spearman_brown,
)


def simulate(ncsnr, n_stimuli=4000, n_repeats=3, seed=0):
    """Noise-free responses and repeats; ncsnr is the ratio of their standard deviations."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(n_stimuli, len(ncsnr))) * ncsnr
    return signal, signal[:, None] + rng.normal(size=(n_stimuli, n_repeats, len(ncsnr)))


def correlations(x, y):
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    return (x * y).sum(axis=0) / np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))


SNRS = np.array([0.2, 0.5, 1.0, 1.5])


def test_a_perfect_model_scores_the_ncsnr_ceiling():
    signal, responses = simulate(SNRS)
    found = ncsnr_ceiling(SNRS, 3)
    np.testing.assert_allclose(
        correlations(signal, responses.mean(axis=1)), np.sqrt(found.reliability), atol=0.02
    )
    np.testing.assert_allclose(
        encoding_reliability(responses, n_bootstrap=0).reliability, found.reliability, atol=0.03
    )
    scores = correlations(signal, responses.mean(axis=1))
    assert normalise_encoding(scores, 4000, found.reliability) == pytest.approx(1, abs=0.01)
    assert found.value == pytest.approx(np.sqrt(found.reliability.mean()))
    assert (found.scale, found.method, found.reason) == ("r2", "noise-ceiling SNR", "")


def test_ncsnr_is_no_ceiling_as_bbscore_has_it():
    # BBScore divides the correlation by the noise-ceiling SNR itself (and lengthens it first): a
    # perfect model of the mean of three repeats scores 2.47 at .2, .93 at 1 and .64 at 1.5.
    reliability = ncsnr_ceiling(SNRS, 3).reliability
    perfect = np.sqrt(reliability)
    theirs = spearman_brown(perfect) / SNRS
    np.testing.assert_allclose(theirs[[0, 2, 3]], [2.47, 0.93, 0.64], atol=0.05)
    np.testing.assert_allclose(perfect / np.sqrt(reliability), 1)


def test_a_ceiling_is_the_root_of_a_reliability_as_litcoders_is_not():
    # BBScore's LeBel ceiling divides r by the reliability of the mean: 2.2 at .2, 1.2 at .7.
    signal, responses = simulate(np.full(50, np.sqrt(0.25 / 3)), seed=1)
    scores = correlations(signal, responses.mean(axis=1))
    reliability = encoding_reliability(responses, n_bootstrap=0).reliability
    assert reliability.mean() == pytest.approx(0.2, abs=0.01)
    assert scores.mean() / reliability.mean() == pytest.approx(2.24, abs=0.1)
    assert normalise_encoding(scores, 4000, reliability) == pytest.approx(1, abs=0.02)


def test_a_reliability_is_squared_by_nobody_as_cortexlab_does():
    # cortexlab squares a reliability that is on the r² scale already: r² / ceiling² is 5 at .2.
    signal, responses = simulate(np.full(50, np.sqrt(0.25 / 3)), seed=2)
    scores = correlations(signal, responses.mean(axis=1))
    found = encoding_reliability(responses, n_bootstrap=0)
    theirs = (scores**2).mean() / found.reliability.mean() ** 2
    assert theirs == pytest.approx(5.0, abs=0.3)
    ours = (scores**2).mean() / found.ceiling().value ** 2
    assert ours == pytest.approx(1, abs=0.03)
    assert found.ceiling().value == pytest.approx(np.sqrt(0.2), abs=0.01)


def test_ncsnr_takes_repeats_for_each_neuroid_or_stimulus():
    each = ncsnr_ceiling([1.0, 0.5], [1, 4])
    np.testing.assert_allclose(each.reliability, [0.5, 0.5])
    # Stimuli with one and with three repeats: the mean noise variance is (1 + 1/3) / 2.
    stimuli = ncsnr_ceiling([1.0, 0.5], np.array([[1], [3]]))
    np.testing.assert_allclose(stimuli.reliability, [1 / (1 + 2 / 3), 0.25 / (0.25 + 2 / 3)])
    unknown = ncsnr_ceiling([1.0, np.nan], 2)
    np.testing.assert_allclose(unknown.reliability, [2 / 3, np.nan])
    assert unknown.value == pytest.approx(np.sqrt(2 / 3))
    for nothing in ([0.0, 0.0], [np.nan]):
        found = ncsnr_ceiling(nothing, 2)
        assert np.isnan(found.value)
        assert found.reason == "no neuroid has a noise-ceiling SNR above 0"


def test_given_ceilings_are_checked():
    found = given_ceiling(0.8, 0.7, 0.9, "r2", method="Conwell et al. 2024")
    assert (found.value, found.lower, found.upper, found.scale) == (0.8, 0.7, 0.9, "r2")
    assert found.method == "Conwell et al. 2024"
    assert np.isnan([given_ceiling(0.8).lower, given_ceiling(0.8).upper]).all()
    with pytest.raises(ValueError, match="expected a ceiling above 0, got 0"):
        given_ceiling(0)
    with pytest.raises(ValueError, match=r"expected one of \('r', 'r2'\), got 'R2'"):
        given_ceiling(0.5, scale="R2")
    # Bounds on another scale than the value.
    with pytest.raises(ValueError, match="in the same units: correlations, not their squares"):
        given_ceiling(0.8, 0.49, 0.79)


def test_wrong_snrs_say_what_was_expected():
    with pytest.raises(ValueError, match="not negative .* with 1 negative ones"):
        ncsnr_ceiling([0.5, -0.1], 3)
    with pytest.raises(ValueError, match="n_repeats: expected 1 or more, got 0"):
        ncsnr_ceiling([0.5], 0)
    with pytest.raises(ValueError, match=r"each of the 2 neuroids, or \(n_stimuli, 1\), got"):
        ncsnr_ceiling([0.5, 0.2], [1, 2, 3])
