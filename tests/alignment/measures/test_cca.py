"""CCA, SVCCA and PWCCA against dense definitions, and where they say nothing."""

from __future__ import annotations

import itertools
import logging

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.stats import ortho_group
from sklearn.cross_decomposition import CCA as SklearnCCA

from isomorph.alignment.measure import compare_representations
from isomorph.geometry import grams

RNG = np.random.default_rng(0)
N = 60
FIRST = RNG.normal(size=(N, 14)) * np.logspace(0.5, -0.5, 14)
SECOND = FIRST[:, 3:9] @ RNG.normal(size=(6, 8)) + 2 * RNG.normal(size=(N, 8))


def correlations(x: np.ndarray, y: np.ndarray, penalty: float = 0.0) -> np.ndarray:
    """Canonical correlations from the covariance matrices, with inverse square roots."""
    x, y = x - x.mean(0), y - y.mean(0)
    roots = []
    for side in (x, y):
        covariance = side.T @ side
        covariance += penalty * np.mean((side**2).sum(1)) * np.eye(len(covariance))
        roots.append(np.linalg.inv(scipy.linalg.sqrtm(covariance).real))
    return scipy.linalg.svdvals(roots[0] @ x.T @ y @ roots[1])


def components(x: np.ndarray, dims: int) -> np.ndarray:
    x = x - x.mean(0)
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    return u[:, :dims] * s[:dims]


def test_cca_equals_its_definition(v4_halves):
    x, y = v4_halves
    for first, second in ((FIRST, SECOND), (x[:, :20], y[:, :12]), (SECOND, FIRST)):
        rho = correlations(first, second)
        expected = {"mean": rho.mean(), "squared": (rho**2).mean()}
        for form, value in expected.items():
            found = compare_representations(first, second, f"CCA[form={form}]")
            assert found == pytest.approx(value, abs=1e-9)


def test_cca_equals_scikit_learn():
    model = SklearnCCA(n_components=8, scale=False, max_iter=100_000, tol=1e-14)
    u, v = model.fit_transform(FIRST, SECOND)
    rho = [abs(np.corrcoef(u[:, k], v[:, k])[0, 1]) for k in range(8)]
    assert compare_representations(FIRST, SECOND, "CCA") == pytest.approx(np.mean(rho), abs=1e-5)


def test_adjusted_cca_takes_off_the_mean_over_all_orders_of_the_stimuli():
    x, y = FIRST[:7, :2], SECOND[:7, :3]
    orders = itertools.permutations(range(7))
    chance = np.mean([(correlations(x, y[list(p)]) ** 2).mean() for p in orders])
    expected = ((correlations(x, y) ** 2).mean() - chance) / (1 - chance)
    found = compare_representations(x, y, "CCA[form=adjusted]")
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("penalty", [0.01, 1.0])
def test_regularised_cca_equals_its_definition(penalty):
    wide = RNG.normal(size=(N, 70))
    for first, second in ((FIRST, SECOND), (wide, SECOND), (wide, wide[:, :50])):
        expected = correlations(first, second, penalty)[: min(N - 1, first.shape[1])]
        expected = expected[: min(N - 1, second.shape[1])].mean()
        found = compare_representations(first, second, f"CCA[regularisation={penalty}]")
        assert found == pytest.approx(expected, abs=1e-8)


def test_cca_of_too_many_features_is_undefined_and_not_1(caplog):
    """Noise of 40 and 40 features over 60 stimuli has canonical correlations of exactly 1."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(N, 40)), rng.normal(size=(N, 40))
    assert scipy.linalg.subspace_angles(x - x.mean(0), y - y.mean(0)).min() < 1e-6
    for text in ("CCA", "PWCCA", "shape[alpha=0]", "eigenspace_overlap", "SVCCA[dims=30]"):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert np.isnan(compare_representations(x, y, text))
        assert "in 60 stimuli" in caplog.text
        assert "whatever the data" in caplog.text
    for text in ("SVCCA", "CCA[regularisation=1]", "PWCCA[dims=8]"):
        assert 0 < compare_representations(x, y, text) < 0.6
    # One dimension fewer than the border is allowed, one more is not.
    assert np.isfinite(compare_representations(x[:, :30], y[:, :29], "CCA"))
    assert np.isnan(compare_representations(x[:, :30], y[:, :30], "CCA"))


def test_svcca_equals_its_definition(v4_halves):
    for first, second in ((FIRST, SECOND), v4_halves):
        for dims in (3, 10):
            parts = [components(side, dims) for side in (first, second)]
            expected = correlations(*parts).mean()
            found = compare_representations(first, second, f"SVCCA[dims={dims}]")
            assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_svcca_by_share_of_variance(share):
    parts = []
    for side in (FIRST, SECOND):
        values = np.linalg.eigvalsh(np.cov(side.T))[::-1]
        count = next(k for k in range(1, 99) if values[:k].sum() >= share * values.sum())
        parts.append(components(side, count))
    found = compare_representations(FIRST, SECOND, f"SVCCA[var={share}]")
    assert found == pytest.approx(correlations(*parts).mean(), abs=1e-9)


def test_platonic_svcca_adds_unseeded_noise_and_ours_does_not():
    """platonic-rep's svcca adds unseeded noise, and takes U for U·S: here nothing is random."""
    found = {compare_representations(FIRST, SECOND, "SVCCA") for _ in range(3)}
    assert len(found) == 1
    # Noise added to one side would keep a representation from being exactly like itself.
    assert compare_representations(FIRST, FIRST, "SVCCA") == pytest.approx(1.0, abs=1e-12)


def pwcca_oracle(x: np.ndarray, y: np.ndarray) -> float:
    """Morcos et al. (2018), one canonical variate after another."""
    x, y = x - x.mean(0), y - y.mean(0)
    qx, qy = (np.linalg.qr(side)[0] for side in (x, y))
    u, rho, _ = np.linalg.svd(qx.T @ qy)
    weights = []
    for i in range(len(rho)):
        variate = qx @ u[:, i]
        weights.append(sum(abs(variate @ x[:, j]) for j in range(x.shape[1])))
    return float(np.dot(weights, rho) / np.sum(weights))


def test_pwcca_equals_its_definition(v4_halves, monkeypatch):
    x, y = v4_halves
    for first, second in ((FIRST, SECOND), (SECOND, FIRST), (x, y)):
        found = compare_representations(first, second, "PWCCA")
        assert found == pytest.approx(pwcca_oracle(first, second), abs=1e-9)
    monkeypatch.setattr("isomorph.alignment.measures.cca._BLOCK", 1)
    assert compare_representations(x, y, "PWCCA") == pytest.approx(pwcca_oracle(x, y), abs=1e-9)


def test_truncated_pwcca_weighs_by_all_features():
    wide = RNG.normal(size=(N, 200)) * np.logspace(1, -1, 200)
    x = wide - wide.mean(0)
    qx, qy = (np.linalg.qr(components(side, 8))[0] for side in (wide, SECOND))
    u, rho, _ = np.linalg.svd(qx.T @ qy)
    weights = np.abs((qx @ u).T @ x).sum(1)
    found = compare_representations(wide, SECOND, "PWCCA[dims=8]")
    assert found == pytest.approx(weights @ rho / weights.sum(), abs=1e-9)


def test_cca_knows_the_rank_of_features_with_duplicates():
    """Repeated and linearly dependent features add no dimension, and no correlation of 1."""
    twice = np.hstack([FIRST, FIRST, FIRST @ RNG.normal(size=(14, 40))])
    expected = correlations(FIRST, SECOND).mean()
    assert compare_representations(twice, SECOND, "CCA") == pytest.approx(expected, abs=1e-8)
    # Of their float32 rounding they make none either.
    single = (FIRST @ RNG.normal(size=(14, 90))).astype(np.float32)
    assert compare_representations(single, SECOND, "CCA") == pytest.approx(expected, abs=1e-3)


def test_cca_bad_options():
    for text, message in {
        "SVCCA[dims=0]": "1 or more",
        "SVCCA[dims=2.5]": "whole number",
        "SVCCA[var=1.5]": "at most 1",
        "CCA[regularisation=-1]": "0 or more",
        "CCA[form=adjusted,regularisation=1]": "without regularisation",
    }.items():
        with pytest.raises(ValueError, match=message):
            compare_representations(FIRST, SECOND, text)


def test_pwcca_refuses_a_gram():
    with pytest.raises(ValueError, match="expected the features themselves, got a Gram"):
        compare_representations(grams(FIRST)[0], SECOND, "PWCCA")


def test_rotated_wide_features_keep_their_cca():
    turned = FIRST @ ortho_group.rvs(14, random_state=0) + 1e4
    expected = correlations(FIRST, SECOND).mean()
    assert compare_representations(turned, SECOND, "CCA") == pytest.approx(expected, abs=1e-7)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["CCA", "SVCCA", "PWCCA"])
def test_cuda_gives_the_same_number(name):
    sides = [torch.from_numpy(side).cuda() for side in (FIRST, SECOND)]
    expected = compare_representations(FIRST, SECOND, name)
    assert compare_representations(*sides, name) == pytest.approx(expected, abs=1e-9)
