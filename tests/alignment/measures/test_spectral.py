"""GULP, eigenspace overlap, distance correlation and RSM difference against their definitions."""

from __future__ import annotations

import itertools
import logging

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.metrics.pairwise import cosine_similarity

from isomorph.alignment.measure import compare_representations
from isomorph.registry import UnknownNameError

RNG = np.random.default_rng(0)
N = 40
FIRST = RNG.gamma(1.0, size=(N, 12)) * np.logspace(0.5, -0.5, 12)
SECOND = FIRST[:, :6] @ RNG.normal(size=(6, 9)) + RNG.normal(size=(N, 9))
WIDE = RNG.normal(size=(N, 150)) + FIRST @ RNG.normal(size=(12, 150))
PAIRS = {"n > p": (FIRST, SECOND), "p > n": (WIDE, FIRST), "both wide": (WIDE, WIDE[:, 40:])}


def gulp_oracle(x: np.ndarray, y: np.ndarray, penalty: float) -> float:
    """Boix-Adserà et al. (2022), equation 5, in covariances of features of total variance 1."""
    n = len(x)
    x, y = x - x.mean(0), y - y.mean(0)
    x, y = (side / np.sqrt((side**2).sum() / n) for side in (x, y))
    sx, sy, sxy = x.T @ x / n, y.T @ y / n, x.T @ y / n
    ix = np.linalg.inv(sx + penalty * np.eye(len(sx)))
    iy = np.linalg.inv(sy + penalty * np.eye(len(sy)))
    squared = np.trace(ix @ sx @ ix @ sx) + np.trace(iy @ sy @ iy @ sy)
    return float(np.sqrt(squared - 2 * np.trace(ix @ sxy @ iy @ sxy.T)))


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("penalty", [1e-3, 0.01, 1.0])
def test_gulp_equals_its_definition(pair, penalty):
    found = compare_representations(*PAIRS[pair], f"GULP[penalty={penalty}]")
    assert found == pytest.approx(gulp_oracle(*PAIRS[pair], penalty), abs=1e-8)


def test_gulp_bounds_the_difference_of_ridge_predictions():
    from sklearn.linear_model import Ridge

    targets = RNG.normal(size=(N, 500))
    targets /= np.linalg.norm(targets - targets.mean(0), axis=0)
    fits = []
    for side in (FIRST, SECOND):
        scaled = (side - side.mean(0)) / np.sqrt(np.sum((side - side.mean(0)) ** 2) / N)
        fits.append(Ridge(alpha=0.01 * N).fit(scaled, targets).predict(scaled))
    apart = np.linalg.norm(fits[0] - fits[1], axis=0)
    assert apart.max() <= compare_representations(FIRST, SECOND, "GULP") + 1e-12


def spaces(x: np.ndarray) -> np.ndarray:
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    return u[:, s > 1e-9 * s[0]]


@pytest.mark.parametrize("mean", ["removed", "kept"])
def test_eigenspace_overlap_equals_its_definition(mean, v4_halves):
    for x, y in (PAIRS["n > p"], (v4_halves[0][:, :20], v4_halves[1][:, :15])):
        u, v = (spaces(side - side.mean(0) if mean == "removed" else side) for side in (x, y))
        expected = np.linalg.norm(u.T @ v) ** 2 / max(u.shape[1], v.shape[1])
        found = compare_representations(x, y, f"eigenspace_overlap[mean={mean}]")
        assert found == pytest.approx(expected, abs=1e-9)


def test_eigenspace_overlap_of_the_first_components():
    u, v = (np.linalg.svd(side - side.mean(0))[0][:, :5] for side in PAIRS["both wide"])
    found = compare_representations(*PAIRS["both wide"], "eigenspace_overlap[dims=5]")
    assert found == pytest.approx(np.linalg.norm(u.T @ v) ** 2 / 5, abs=1e-9)


def double_centred(d: np.ndarray) -> np.ndarray:
    n = len(d)
    out = np.empty_like(d)
    for i, j in itertools.product(range(n), repeat=2):
        out[i, j] = d[i, j] - d[i].mean() - d[:, j].mean() + d.mean()
    return out


def dcor_kept(x: np.ndarray, y: np.ndarray) -> float:
    """Székely, Rizzo & Bakirov (2007): double-centred loops."""
    a, b = double_centred(cdist(x, x)), double_centred(cdist(y, y))
    return float(np.sqrt((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())))


def dcor_corrected(x: np.ndarray, y: np.ndarray) -> float:
    """Székely & Rizzo (2013): modified distance covariance, definition 2."""
    n = len(x)
    parts = []
    for side in (x, y):
        d = cdist(side, side)
        a = n / (n - 1) * (double_centred(d) - d / n)
        np.fill_diagonal(a, n / (n - 1) * (d.mean(axis=1) - d.mean()))
        parts.append(a)

    def product(a: np.ndarray, b: np.ndarray) -> float:
        diagonal = np.sum(np.diag(a) * np.diag(b))
        return float((a * b).sum() - diagonal - 2 / (n - 2) * diagonal)

    a, b = parts
    return product(a, b) / np.sqrt(product(a, a) * product(b, b))


@pytest.mark.parametrize("pair", PAIRS)
def test_distance_correlation_equals_its_definitions(pair, v4_halves, behaviour):
    for x, y in (PAIRS[pair], v4_halves, behaviour):
        corrected = compare_representations(x, y, "distance_correlation")
        assert corrected == pytest.approx(dcor_corrected(x, y), abs=1e-9)
        kept = compare_representations(x, y, "distance_correlation[bias=kept]")
        assert kept == pytest.approx(dcor_kept(x, y), abs=1e-9)


def test_corrected_distance_correlation_of_noise_is_zero_on_average_and_never_clipped():
    rng = np.random.default_rng(1)
    found, expected = np.transpose(
        [
            (compare_representations(x, y, "distance_correlation"), dcor_corrected(x, y))
            for x, y in ((rng.normal(size=(12, 5)), rng.normal(size=(12, 20))) for _ in range(40))
        ]
    )
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert found.min() < -0.05
    assert abs(found.mean()) < 3 * found.std() / np.sqrt(len(found))


def test_distance_correlation_sees_what_correlation_does_not():
    x = np.linspace(-1, 1, 101)[:, None]
    assert abs(np.corrcoef(x[:, 0], x[:, 0] ** 2)[0, 1]) < 1e-12
    assert compare_representations(x, x**2, "distance_correlation") > 0.2


def test_rsm_norm_difference_equals_its_definition(v4_halves):
    similarities = {
        "cosine": cosine_similarity,
        "pearson": np.corrcoef,
        "linear": lambda x: (x - x.mean(0)) @ (x - x.mean(0)).T,
    }
    for (x, y), (name, rsm) in itertools.product((PAIRS["p > n"], v4_halves), similarities.items()):
        found = compare_representations(x, y, f"RSM_norm_difference[similarity={name}]")
        assert found == pytest.approx(np.linalg.norm(rsm(x) - rsm(y)), rel=1e-9)


def test_undefined_spectral_values_have_a_reason(caplog):
    constant = np.ones((N, 3))
    zero = FIRST.copy()
    zero[3] = 0.0
    cases = {
        ("do not vary", "GULP"): constant,
        ("do not vary ", "eigenspace_overlap"): constant,
        ("centred distances", "distance_correlation"): constant,
        ("no cosine similarity", "RSM_norm_difference"): zero,
    }
    for (reason, text), features in cases.items():
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert np.isnan(compare_representations(features, SECOND, text))
        assert reason.strip() in caplog.text


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match="above 0"):
        compare_representations(FIRST, SECOND, "GULP[penalty=0]")
    with pytest.raises(UnknownNameError, match="corrected"):
        compare_representations(FIRST, SECOND, "distance_correlation[bias=corected]")


@pytest.mark.parametrize(
    "text", ["distance_correlation", "distance_correlation[bias=kept]", "GULP"]
)
def test_a_table_holds_the_single_values(text):
    firsts, seconds = [FIRST, WIDE, SECOND], [WIDE, np.zeros((N, 2)), FIRST]
    table = compare_representations(firsts, seconds, text)
    for (i, x), (j, y) in itertools.product(enumerate(firsts), enumerate(seconds)):
        np.testing.assert_allclose(table[i, j], compare_representations(x, y, text), atol=1e-12)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["GULP", "eigenspace_overlap", "distance_correlation"])
def test_cuda_gives_the_same_number(name):
    sides = [torch.from_numpy(side).cuda() for side in (FIRST, SECOND)]
    expected = compare_representations(FIRST, SECOND, name)
    assert compare_representations(*sides, name) == pytest.approx(expected, abs=1e-9)
