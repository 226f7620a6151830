"""Spectra and their dimensions against PCA; corrections against known populations."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy
from sklearn.decomposition import PCA

from isomorph.geometry import (
    cross_validated_spectrum,
    effective_dimensionality,
    effective_dimensionality_corrected,
    eigenspectrum,
    entropy_dimensionality,
    explained_variance_dimensions,
    grams,
    power_law_exponent,
)


def features_of(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape) * np.linspace(0.3, 3, shape[-1]) + rng.standard_normal()


@pytest.mark.parametrize("shape", [(30, 200), (80, 12)])
def test_plain_form_is_that_of_pca(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal(shape) * np.linspace(0.1, 3, shape[1]) + 5
    values = PCA().fit(features).explained_variance_
    expected = values.sum() ** 2 / (values**2).sum()
    assert effective_dimensionality(features) == pytest.approx(expected, rel=1e-10)
    single = features.astype("f4")
    assert effective_dimensionality(grams(single)[0]) == pytest.approx(expected, rel=1e-5)


def test_corrected_form_is_its_definition_over_distinct_stimuli() -> None:
    x = np.random.default_rng(1).standard_normal((7, 4)) * [1, 2, 3, 4] + 3
    top, bottom = [], []
    for i, j, k, m in itertools.permutations(range(7), 4):
        top.append(((x[i] - x[j]) ** 2).sum() * ((x[k] - x[m]) ** 2).sum() / 4)
        bottom.append(((x[i] - x[j]) @ (x[k] - x[m])) ** 2 / 4)
    expected = np.mean(top) / np.mean(bottom)
    assert effective_dimensionality_corrected(x) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("n", [50, 100, 400])
@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_correction_finds_the_population_value(n: int, power: float) -> None:
    rng = np.random.default_rng(2)
    spectrum = np.arange(1, 201) ** -power
    truth = spectrum.sum() ** 2 / (spectrum**2).sum()
    draws = [grams(rng.standard_normal((n, 200)) * np.sqrt(spectrum))[0] for _ in range(40)]
    plain = np.mean([effective_dimensionality(draw) for draw in draws])
    assert plain == pytest.approx(1 / (1 / truth + 1 / n), rel=0.1)
    # Numerator and denominator of 1/ED are unbiased; their ratio is, to a few hundredths.
    inverse = 1 / np.array([effective_dimensionality_corrected(draw) for draw in draws])
    standard_error = inverse.std() / np.sqrt(len(inverse))
    assert abs(inverse.mean() - 1 / truth) < 3 * standard_error + 0.02 / truth
    assert abs(inverse.mean() - 1 / truth) < abs(1 / plain - 1 / truth)


def test_undefined() -> None:
    constant = np.repeat(np.random.default_rng(0).standard_normal((1, 999)).astype("f4"), 9, axis=0)
    assert math.isnan(effective_dimensionality(constant))
    assert math.isnan(effective_dimensionality_corrected(constant))
    assert math.isnan(effective_dimensionality_corrected(np.eye(3)))
    # Equidistant stimuli: no finite population fits them.
    assert math.isnan(effective_dimensionality_corrected(np.eye(6)))


@pytest.mark.parametrize("shape", [(30, 200), (80, 12), (20, 20), (2, 5), (6, 1)])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_eigenspectrum_is_that_of_pca(shape: tuple[int, int], offset: float) -> None:
    features = features_of(shape) + offset
    expected = PCA(svd_solver="full").fit(features).explained_variance_
    found = eigenspectrum(features)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)
    single = PCA(svd_solver="full").fit(features.astype("f4").astype("f8")).explained_variance_
    np.testing.assert_allclose(
        eigenspectrum(features.astype("f4")), single, rtol=1e-4, atol=1e-4 * single[0]
    )


@pytest.mark.parametrize("dtype", ["u1", "f2"])
def test_eigenspectrum_of_narrow_types(dtype: str) -> None:
    features = (features_of((20, 50)) * 20 + 120).clip(0, 255).astype(dtype)
    np.testing.assert_allclose(
        eigenspectrum(features), eigenspectrum(features.astype("f8")), rtol=1e-4, atol=1e-3
    )


def test_what_does_not_vary_is_exactly_zero() -> None:
    low = features_of((30, 3)) @ np.random.default_rng(1).standard_normal((3, 400)) + 9
    for features in (low, low.astype("f4")):
        found = eigenspectrum(features)
        assert (found[:3] > 0).all()
        assert not found[3:].any()
    assert not eigenspectrum(np.full((5, 40), 0.1)).any()
    with pytest.raises(ValueError, match="expected at least 2 stimuli, got 1"):
        eigenspectrum(np.ones((1, 4)))


def test_dimensions_of_real_responses(data_folder: Path) -> None:
    responses = np.load(data_folder / "macaque_v4" / "responses_210325.npy").T.astype("f8")
    values = PCA(svd_solver="full").fit(responses).explained_variance_
    np.testing.assert_allclose(eigenspectrum(responses), values, rtol=1e-8)
    shares = values / values.sum()
    assert entropy_dimensionality(responses) == pytest.approx(np.exp(entropy(shares)), rel=1e-8)
    for share in (0.5, 0.9, 0.95):
        # scikit-learn takes as many as explain more than the share.
        expected = PCA(share, svd_solver="full").fit(responses).n_components_
        assert explained_variance_dimensions(responses, share) == expected
    x, y = np.log(np.arange(11, 26)), np.log(values[10:25])
    slope = np.polyfit(x, y, 1, w=np.sqrt(1 / np.arange(11, 26)))[0]
    assert power_law_exponent(eigenspectrum(responses)) == pytest.approx(-slope, rel=1e-8)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(n=st.integers(3, 20), p=st.integers(1, 30), seed=st.integers(0, 99))
def test_dimensions_are_invariant_and_ordered(n: int, p: int, seed: int) -> None:
    features = features_of((n, p), seed)
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((p, p)))[0]
    changed = 3 * (features @ rotation)[::-1] + 5
    for statistic in (
        effective_dimensionality,
        entropy_dimensionality,
        explained_variance_dimensions,
    ):
        assert statistic(changed) == pytest.approx(statistic(features), rel=1e-7)
        assert 1 - 1e-9 <= statistic(features) <= min(n - 1, p) + 1e-9
    # Rényi entropies fall with their order.
    assert entropy_dimensionality(features) >= effective_dimensionality(features) - 1e-9


def test_dimensions_of_known_spectra() -> None:
    corners = np.vstack([np.eye(4), -np.eye(4)])  # four equal axes
    assert entropy_dimensionality(corners) == pytest.approx(4)
    assert explained_variance_dimensions(corners, 0.75) == 3
    assert explained_variance_dimensions(corners, 0.76) == 4
    assert explained_variance_dimensions(corners, 1.0) == 4
    constant = np.full((5, 7), 0.1, dtype="f4")
    assert math.isnan(entropy_dimensionality(constant))
    assert math.isnan(explained_variance_dimensions(constant))
    with pytest.raises(ValueError, match=r"0 < share ≤ 1, got 90"):
        explained_variance_dimensions(corners, 90)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.5])
def test_exponent_of_a_power_law(alpha: float) -> None:
    spectrum = 7 * np.arange(1, 1201) ** -alpha
    assert power_law_exponent(spectrum) == pytest.approx(alpha, abs=1e-10)
    assert power_law_exponent(spectrum, 3, 40) == pytest.approx(alpha, abs=1e-10)


def test_exponent_by_default_stops_where_the_sample_bends() -> None:
    spectrum = np.arange(1, 101) ** -1.0
    spectrum[50:] *= np.linspace(1, 0.01, 50)  # ranks 51 to 100
    spectrum = np.append(spectrum, np.zeros(20))
    assert power_law_exponent(spectrum) == pytest.approx(1)
    assert power_law_exponent(spectrum, last=100) > 1.2
    long = np.arange(1, 3001) ** -1.0
    long[500:] = 1e-9
    assert power_law_exponent(long) == pytest.approx(1)  # the paper's ranks 11 to 500
    assert math.isnan(power_law_exponent(np.arange(1, 29) ** -1.0))  # ranks 11 to 14
    assert math.isnan(power_law_exponent(np.zeros(40)))


def test_a_negative_eigenvalue_is_not_taken_by_its_size() -> None:
    # The authors' code takes the logarithm of the absolute value.
    spectrum = np.arange(1, 101) ** -1.0
    spectrum[60] *= -1
    with pytest.raises(ValueError, match="expected positive eigenvalues up to rank 80, got 60"):
        power_law_exponent(spectrum, last=80)
    assert power_law_exponent(spectrum) == pytest.approx(1)
    with pytest.raises(ValueError, match="expected 1 ≤ first ≤ last, got first=0"):
        power_law_exponent(spectrum, first=0)
    with pytest.raises(ValueError, match="expected a vector of finite eigenvalues"):
        power_law_exponent(np.ones((3, 3)))


def cross_validated_by_sklearn(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    axes = PCA(min(len(first) - 1, first.shape[1]), svd_solver="full").fit(first).components_
    projected = [(half - half.mean(axis=0)) @ axes.T for half in (first, second)]
    return (projected[0] * projected[1]).sum(axis=0) / (len(first) - 1)


@pytest.mark.parametrize("shape", [(20, 2, 60), (40, 2, 8), (2, 2, 3), (9, 2, 1)])
def test_cross_validated_spectrum_of_two_repeats(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(3)
    repeats = features_of((shape[0], shape[2]))[:, None] + rng.standard_normal(shape) + 1e4
    # The very swaps of the two repeats, from the same stream.
    stream, expected = np.random.default_rng(8), 0
    for _ in range(3):
        later = stream.random(shape[:2]).argsort(axis=1).argsort(axis=1)
        later = (later + stream.integers(0, 2, (shape[0], 1))) % 2
        rows = np.arange(shape[0])
        first = repeats[rows, (later == 0).argmax(axis=1)]
        second = repeats[rows, (later == 1).argmax(axis=1)]
        expected = expected + cross_validated_by_sklearn(first, second) / 6
        expected = expected + cross_validated_by_sklearn(second, first) / 6
    found = cross_validated_spectrum(repeats, n_shuffles=3, seed=8)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)


def test_cross_validated_spectrum_without_noise_is_the_spectrum() -> None:
    for shape in [(20, 50), (50, 10)]:
        signal = features_of(shape)
        found = cross_validated_spectrum(np.repeat(signal[:, None], 3, axis=1))
        expected = eigenspectrum(signal)[: min(shape[0] - 1, shape[1])]
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


def test_cross_validated_spectrum_of_noise_is_zero_on_average() -> None:
    rng = np.random.default_rng(0)
    draws = [cross_validated_spectrum(rng.standard_normal((30, 4, 40))) for _ in range(40)]
    error = np.std(draws, axis=0) / np.sqrt(40)
    assert (np.abs(np.mean(draws, axis=0)) < 4 * error).all()
    # The plain spectrum of the mean response calls the noise variance.
    assert eigenspectrum(rng.standard_normal((30, 4, 40)).mean(axis=1))[0] > 0.3


def test_cross_validated_spectrum_finds_the_exponent_under_noise() -> None:
    rng = np.random.default_rng(1)
    signal = rng.standard_normal((500, 400)) * np.arange(1, 401) ** -0.5
    repeats = signal[:, None] + 0.5 * rng.standard_normal((500, 2, 400))
    found = power_law_exponent(cross_validated_spectrum(repeats), 2, 40)
    truth = power_law_exponent(eigenspectrum(signal), 2, 40)
    naive = power_law_exponent(eigenspectrum(repeats.mean(axis=1)), 2, 40)
    assert abs(found - truth) < 0.25 < abs(naive - truth) + 0.1


def test_cross_validated_spectrum_of_real_repeats(data_folder: Path) -> None:
    raw = np.load(data_folder / "macaque_v4" / "responses_raw_210325.npy").transpose(1, 2, 0)
    found = cross_validated_spectrum(raw)
    plain = eigenspectrum(np.nanmean(raw, axis=1))
    assert found.shape == (50,)
    np.testing.assert_array_equal(found, cross_validated_spectrum(raw))
    assert found.sum() < plain.sum()  # what noise adds is gone
    assert 0.7 < found[0] / plain[0] < 1


def test_cross_validated_spectrum_errors() -> None:
    repeats = np.random.default_rng(0).standard_normal((5, 3, 4))
    with pytest.raises(ValueError, match="expected responses of shape"):
        cross_validated_spectrum(repeats[0])
    with pytest.raises(ValueError, match="expected at least 1, got 0"):
        cross_validated_spectrum(repeats, n_shuffles=0)
    some = repeats.copy()
    some[1, 1, 2] = np.nan
    with pytest.raises(ValueError, match="got 1 that are missing or infinite in some"):
        cross_validated_spectrum(some)
    some[1, :2] = np.nan
    with pytest.raises(ValueError, match=r"fewer for 1 stimuli \(first: 1\)"):
        cross_validated_spectrum(some)
