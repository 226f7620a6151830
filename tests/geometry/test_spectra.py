"""Effective dimensionality against PCA; its correction against known populations."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from sklearn.decomposition import PCA

from isomorph.geometry import (
    effective_dimensionality,
    effective_dimensionality_corrected,
    grams,
)


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
