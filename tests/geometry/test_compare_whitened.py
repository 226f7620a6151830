"""Whitened comparison of RDMs, with any covariance of the stimuli, and with missing pairs."""

# The peers' annotations are not to be relied on.
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rsatoolbox.rdm
from scipy.spatial.distance import pdist

from isomorph.geometry import COMPARISONS, compare_rdms, compute_rdm, square, upper_triangle
from isomorph.geometry.comparing.compare import find_comparison
from isomorph.geometry.comparing.whitened import contrast_precision

N = 11
METHODS = {"whitened_cosine": "cosine_cov", "whitened_pearson": "corr_cov"}


def distances(n_rdms: int, seed: int, n: int = N) -> np.ndarray:
    features = np.random.default_rng(seed).normal(size=(n_rdms, n, 30))
    return np.stack([pdist(one, "sqeuclidean") for one in features])


def covariance(seed: int = 0, n: int = N) -> np.ndarray:
    mixing = np.random.default_rng(seed).normal(size=(n, n + 4))
    return mixing @ mixing.T / n


def pair_covariance(sigma: np.ndarray) -> np.ndarray:
    """(C Σ Cᵀ)∘², element by element."""
    pairs = [(i, j) for i in range(len(sigma)) for j in range(i + 1, len(sigma))]
    values = np.zeros((len(pairs), len(pairs)))
    for a, (i, j) in enumerate(pairs):
        for b, (k, m) in enumerate(pairs):
            values[a, b] = (sigma[i, k] - sigma[i, m] - sigma[j, k] + sigma[j, m]) ** 2
    return values


def dense(first: np.ndarray, second: np.ndarray, v: np.ndarray, method: str) -> np.ndarray:
    if method == "whitened_pearson":
        first = first - first.mean(axis=1, keepdims=True)
        second = second - second.mean(axis=1, keepdims=True)
    solved = [np.linalg.solve(v, stack.T) for stack in (first, second)]
    lengths = [
        np.sqrt((stack.T * s).sum(0)) for stack, s in zip((first, second), solved, strict=True)
    ]
    return first @ solved[1] / np.outer(*lengths)


@pytest.mark.parametrize("method", METHODS)
def test_independent_stimuli_equal_the_dense_solve(method: str) -> None:
    first, second = distances(3, 0), distances(4, 1)
    expected = dense(first, second, pair_covariance(np.eye(N)), method)
    np.testing.assert_allclose(compare_rdms(first, second, method), expected, atol=1e-12)
    by_sigma = compare_rdms(first, second, method, sigma_k=3 * np.eye(N))
    np.testing.assert_allclose(by_sigma, expected, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_any_covariance_equals_the_dense_solve_where_rsatoolbox_is_approximate(
    method: str,
) -> None:
    # rsatoolbox 0.3.2 solves by conjugate gradients at SciPy's default tolerance: 1e-5 off.
    first, second, sigma = distances(3, 0), distances(4, 1), covariance()
    expected = dense(first, second, pair_covariance(sigma), method)
    ours = compare_rdms(first, second, method, sigma_k=sigma)
    np.testing.assert_allclose(ours, expected, atol=1e-11)
    theirs = rsatoolbox.rdm.compare(first, second, METHODS[method], sigma_k=sigma)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert np.abs(theirs - expected).max() > 1e-9
    np.testing.assert_allclose(
        compare_rdms(first, first, method, sigma_k=sigma).diagonal(), 1, atol=1e-12
    )


@pytest.mark.parametrize("method", METHODS)
def test_variances_are_a_diagonal_covariance(method: str) -> None:
    # rsatoolbox 0.3.2 has another formula for them: .47401 where the diagonal matrix gives .47633.
    first, second = distances(1, 0), distances(1, 1)
    variances = np.random.default_rng(2).gamma(1.0, size=N) + 0.1
    ours = compare_rdms(first, second, method, sigma_k=variances)
    expected = dense(first, second, pair_covariance(np.diag(variances)), method)
    np.testing.assert_allclose(ours, expected, atol=1e-11)
    theirs = rsatoolbox.rdm.compare(first, second, METHODS[method], sigma_k=variances)
    assert np.abs(theirs - expected).max() > 1e-4


def test_whitened_cosine_is_linear_cka() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(20, 50)), rng.normal(size=(20, 8)) + 1e4
    centring = np.eye(20) - 1 / 20
    kernels = [
        centring @ (x @ x.T) @ centring for x in (first - first.mean(0), second - second.mean(0))
    ]
    cka = (kernels[0] * kernels[1]).sum() / np.prod([np.linalg.norm(k) for k in kernels])
    rdms = [compute_rdm(x, "sqeuclidean") for x in (first, second)]
    assert compare_rdms(*rdms, "whitened_cosine") == pytest.approx(cka, abs=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_offsets_and_nearly_additive_rdms_lose_no_digits(method: str) -> None:
    rng = np.random.default_rng(5)
    additive = rng.random(N)
    rdms = distances(3, 0) * 1e-3 + upper_triangle(additive[:, None] + additive)
    expected = dense(rdms, rdms, pair_covariance(np.eye(N)), method)
    np.testing.assert_allclose(compare_rdms(rdms, rdms, method), expected, atol=1e-12)
    if method == "whitened_pearson":
        np.testing.assert_allclose(compare_rdms(rdms + 1e4, rdms, method), expected, atol=1e-7)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("given", [False, True], ids=["independent", "sigma_k"])
def test_missing_pairs_leave_the_covariance_of_those_that_are_there(
    method: str, given: bool
) -> None:
    sigma = covariance(3) if given else np.eye(N)
    first, second = distances(3, 0), distances(2, 1)
    first[0, [3, 7, 20]] = np.nan
    first[1, np.random.default_rng(0).permutation(55)[:40]] = np.nan  # more than half are missing
    second[1, 50] = np.nan
    whole = square(first[2])
    whole[4] = whole[:, 4] = np.nan  # a stimulus that is missing altogether
    first[2] = upper_triangle(np.where(np.eye(N, dtype=bool), 0, whole))
    found = compare_rdms(first, second, method, nan="omit", sigma_k=sigma if given else None)
    v = pair_covariance(sigma)
    for i in range(3):
        for j in range(2):
            both = ~np.isnan(first[i]) & ~np.isnan(second[j])
            expected = dense(
                first[i : i + 1, both], second[j : j + 1, both], v[np.ix_(both, both)], method
            )
            assert found[i, j] == pytest.approx(expected[0, 0], abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_pool_with_a_covariance_is_its_own_maximum(method: str) -> None:
    rdms, sigma = distances(4, 2), covariance(1)
    comparison = find_comparison(method, sigma)
    total = comparison.pool(rdms).sum(axis=0)
    best = comparison.compare(total[None], rdms).mean()
    plain = COMPARISONS[method].pool(rdms).sum(axis=0)
    assert best >= comparison.compare(plain[None], rdms).mean()
    rng = np.random.default_rng(0)
    for _ in range(50):
        other = total + 0.05 * total.std() * rng.normal(size=len(total))
        assert comparison.compare(other[None], rdms).mean() <= best


def test_real_neurons(data_folder: Path) -> None:
    responses = np.load(data_folder / "macaque_v4" / "responses_210325.npy").T[:40]
    first, second = compute_rdm(responses[:, :25]), compute_rdm(responses[:, 25:], "sqeuclidean")
    sigma = covariance(4, 40)
    vectors = [upper_triangle(rdm)[None] for rdm in (first, second)]
    for method in METHODS:
        expected = dense(*vectors, pair_covariance(sigma), method)[0, 0]
        ours = compare_rdms(first, second, method, sigma_k=sigma)
        assert ours == pytest.approx(expected, abs=1e-10)


def test_errors() -> None:
    first, second = distances(1, 0), distances(1, 1)
    with pytest.raises(ValueError, match="expected method whitened_cosine or whitened_pearson"):
        compare_rdms(first, second, "pearson", sigma_k=np.eye(N))
    with pytest.raises(ValueError, match="expected a positive definite covariance"):
        compare_rdms(first, second, "whitened_cosine", sigma_k=np.diag([1.0] * 9 + [0, 0]))
    with pytest.raises(ValueError, match=r"symmetric covariance .* got shape \(11, 10\)"):
        compare_rdms(first, second, "whitened_cosine", sigma_k=np.ones((11, 10)))
    with pytest.raises(ValueError, match="a covariance of the 11 stimuli, got one of 5"):
        compare_rdms(first, second, "whitened_cosine", sigma_k=np.eye(5))
    # A constant added to all stimuli's estimates is no contrast: this one is singular, yet does.
    centring = np.eye(N) - 1 / N
    np.testing.assert_allclose(contrast_precision(centring), centring, atol=1e-12)
