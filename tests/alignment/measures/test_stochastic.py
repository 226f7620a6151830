"""Stochastic shape distances against exhaustive searches over rotations, and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import energy_distance, ortho_group

from isomorph.alignment import stochastic_shape_distance
from isomorph.alignment.measure import compare_representations
from isomorph.registry import UnknownNameError

RNG = np.random.default_rng(0)
FIRST = RNG.normal(size=(6, 9, 2)) * [1.0, 0.4] + RNG.normal(size=(6, 1, 2))
SECOND = RNG.normal(size=(6, 7, 2)) * [0.5, 1.5] + RNG.normal(size=(6, 1, 2))


def search(value) -> float:
    """Smallest value over a fine grid of all plane rotations, and reflections."""
    best = np.inf
    for angle in np.linspace(0, 2 * np.pi, 361):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        best = min(best, value(turn), value(turn @ np.diag([1.0, -1.0])))
    return best


def bures_squared(a: np.ndarray, b: np.ndarray) -> float:
    root = scipy.linalg.sqrtm(a).real
    return float(np.trace(a + b) - 2 * np.trace(scipy.linalg.sqrtm(root @ b @ root).real))


def centred(responses: np.ndarray) -> np.ndarray:
    return responses - responses.mean(axis=(0, 1))


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.0])
def test_gaussian_distance_equals_an_exhaustive_search(alpha):
    x, y = centred(FIRST), centred(SECOND)

    def value(turn: np.ndarray) -> float:
        total = 0.0
        for one, other in zip(x, y @ turn, strict=True):
            total += alpha * np.sum((one.mean(0) - other.mean(0)) ** 2)
            total += (2 - alpha) * bures_squared(np.cov(one.T), np.cov(other.T))
        return total / len(x)

    found = stochastic_shape_distance(FIRST, SECOND, alpha=alpha)
    assert found == pytest.approx(np.sqrt(search(value)), abs=1e-3)
    assert found <= np.sqrt(search(value)) + 1e-9


@pytest.mark.parametrize("estimator", ["debiased", "biased"])
def test_energy_distance_equals_an_exhaustive_search(estimator):
    x, y = centred(FIRST), centred(SECOND)

    def within(z: np.ndarray) -> float:
        apart = cdist(z, z)
        return float(apart.mean() if estimator == "biased" else apart.sum() / len(z) / (len(z) - 1))

    def value(turn: np.ndarray) -> float:
        total = 0.0
        for one, other in zip(x, y @ turn, strict=True):
            total += 2 * cdist(one, other).mean() - within(one) - within(other)
        return total / len(x)

    found = stochastic_shape_distance(FIRST, SECOND, method="energy", estimator=estimator)
    best = search(value)
    assert found == pytest.approx(np.sign(best) * np.sqrt(abs(best)), abs=1e-3)


def test_energy_distance_of_one_feature_equals_scipy():
    x, y = centred(FIRST[:, :, :1]), centred(SECOND[:, :, :1])
    squares = [
        np.mean([energy_distance(a[:, 0], s * b[:, 0]) ** 2 for a, b in zip(x, y, strict=True)])
        for s in (1, -1)
    ]
    found = stochastic_shape_distance(x, y, method="energy", estimator="biased")
    assert found == pytest.approx(np.sqrt(min(squares)), abs=1e-9)


def test_means_alone_give_the_size_and_shape_distance():
    x, y = RNG.normal(size=(8, 4, 5)), RNG.normal(size=(8, 6, 3))
    found = stochastic_shape_distance(x, y, alpha=2.0)
    bures = compare_representations(x.mean(axis=1), y.mean(axis=1), "Bures")
    assert found == pytest.approx(np.sqrt(2 / 8) * bures, abs=1e-8)


def test_distances_of_repeats_tell_noise_apart_where_procrustes_does_not():
    means, noise = RNG.normal(size=(10, 1, 4)), RNG.normal(size=(10, 40, 4))
    noise -= noise.mean(axis=1, keepdims=True)
    quiet, loud = means + 0.1 * noise, means + noise
    assert compare_representations(quiet.mean(1), loud.mean(1), "Bures") < 1e-6
    assert stochastic_shape_distance(quiet, loud) > 1.0
    assert stochastic_shape_distance(quiet, loud, method="energy") > 0.5


@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), method=st.sampled_from(["gaussian", "energy"]))
def test_axioms_and_invariances(seed, method):
    rng = np.random.default_rng(seed)
    x, y, z = (rng.normal(size=(5, 6, 3)) * rng.gamma(2.0, size=3) for _ in range(3))

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return stochastic_shape_distance(a, b, method=method, estimator="biased")

    turn = ortho_group.rvs(3, random_state=seed)
    assert distance(x, x @ turn + 7) == pytest.approx(0, abs=1e-2)
    assert distance(x, y @ turn - 3) == pytest.approx(distance(x, y), rel=1e-3)
    assert distance(x, y) == pytest.approx(distance(y, x), rel=5e-3)
    assert distance(x, z) <= 1.005 * (distance(x, y) + distance(y, z))


def test_more_features_than_rows_and_other_numbers_of_features():
    wide = RNG.normal(size=(3, 4, 300))
    turned = np.concatenate([wide[:, :, ::-1], np.zeros((3, 4, 50))], axis=2)
    for method in ("gaussian", "energy"):
        found = stochastic_shape_distance(wide, turned, method=method, estimator="biased")
        assert found == pytest.approx(0, abs=1e-2)


def test_a_seed_gives_the_same_number_and_input_is_not_changed():
    x, y = RNG.normal(size=(4, 5, 6)), RNG.normal(size=(4, 5, 6))
    kept = x.copy(), y.copy()
    first, again = (stochastic_shape_distance(x, y, seed=5) for _ in range(2))
    assert first == again
    assert (x == kept[0]).all()
    assert (y == kept[1]).all()
    more = stochastic_shape_distance(x, y, n_restarts=12, seed=5)
    assert more <= first + 1e-12


def test_bad_input_is_refused():
    good = FIRST
    for bad in (FIRST[:5], FIRST[:, :1], FIRST[0]):
        with pytest.raises(ValueError, match="2 repeats or more"):
            stochastic_shape_distance(good, bad)
    missing = FIRST.copy()
    missing[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        stochastic_shape_distance(missing, good)
    with pytest.raises(ValueError, match="alpha from 0 to 2"):
        stochastic_shape_distance(good, good, alpha=3)
    with pytest.raises(UnknownNameError, match="energy"):
        stochastic_shape_distance(good, good, method="enrgy")
    with pytest.raises(UnknownNameError, match="debiased"):
        stochastic_shape_distance(good, good, estimator="unbiased")
