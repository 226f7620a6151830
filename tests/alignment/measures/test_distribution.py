"""Differences of magnitude, concentricity and uniformity against their definitions."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from isomorph.alignment.measure import compare_representations

RNG = np.random.default_rng(0)
FIRST = RNG.normal(size=(30, 9)) + RNG.normal(size=9)
SECOND = 0.3 * RNG.normal(size=(30, 50)) + RNG.normal(size=50)


def magnitude(x: np.ndarray) -> float:
    return float(np.linalg.norm(x.mean(0)))


def concentricity(x: np.ndarray) -> float:
    return float(np.mean(1 - cdist(x, x.mean(0)[None], "cosine")))


def uniformity(x: np.ndarray, width: float = 2.0, unit: bool = True) -> float:
    x = x / np.linalg.norm(x, axis=1, keepdims=True) if unit else x
    total = sum(np.exp(-width * np.sum((a - b) ** 2)) for a in x for b in x)
    return float(np.log(total / len(x) ** 2))


@pytest.mark.parametrize("statistic", [magnitude, concentricity, uniformity])
def test_differences_equal_their_definitions(statistic, v4_halves):
    for x, y in ((FIRST, SECOND), v4_halves, (FIRST + 1e4, SECOND)):
        found = compare_representations(x, y, f"{statistic.__name__}_difference")
        expected = abs(statistic(x) - statistic(y))
        assert found == pytest.approx(expected, rel=1e-8, abs=1e-9)


def test_uniformity_of_features_as_they_are():
    text = "uniformity_difference[rows=raw,width=0.05]"
    expected = abs(uniformity(FIRST, 0.05, unit=False) - uniformity(SECOND, 0.05, unit=False))
    assert compare_representations(FIRST, SECOND, text) == pytest.approx(expected, abs=1e-10)


def test_what_has_no_direction_is_undefined(caplog):
    zero, balanced = FIRST.copy(), np.vstack([FIRST, -FIRST])
    zero[4] = 0.0
    cases = {
        ("no features but zeros", "concentricity_difference"): (zero, SECOND),
        ("no features but zeros, and so no angle", "uniformity_difference"): (zero, SECOND),
        ("has no direction", "concentricity_difference"): (balanced, np.vstack([SECOND, SECOND])),
    }
    for (reason, name), pair in cases.items():
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert np.isnan(compare_representations(*pair, name))
        assert reason in caplog.text
    assert compare_representations(zero, SECOND, "magnitude_difference") > 0
