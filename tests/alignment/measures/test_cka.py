"""CKA and RV against loops over the definitions, and the errors of other implementations."""

from __future__ import annotations

import itertools
import logging

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist, pdist
from sklearn.metrics.pairwise import cosine_similarity, rbf_kernel

from isomorph.alignment.measure import compare_representations
from isomorph.alignment.measures.cka import RunningCKA, cka_minibatch
from isomorph.geometry import grams
from isomorph.registry import UnknownNameError

RNG = np.random.default_rng(0)
N = 24
FIRST = RNG.gamma(1.0, size=(N, 40))
SECOND = FIRST[:, :9] @ RNG.normal(size=(9, 12)) + 2 * RNG.normal(size=(N, 12))
CENTRE = np.eye(N) - 1 / N


def hsic_song(k: np.ndarray, m: np.ndarray) -> float:
    """Unbiased HSIC by its definition: a mean over quadruples of distinct stimuli (Song 2012)."""
    total, count = 0.0, 0
    for i, j, q, r in itertools.permutations(range(len(k)), 4):
        total += k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q])
        count += 1
    return total / count


def hsic_traces(k: np.ndarray, m: np.ndarray) -> float:
    """The same in closed form: Song et al. (2012), equation 5."""
    n = len(k)
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    one = np.ones(n)
    value = np.trace(k @ m) + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    return (value - 2 / (n - 2) * (one @ k @ m @ one)) / (n * (n - 3))


def hsic_biased(k: np.ndarray, m: np.ndarray) -> float:
    h = np.eye(len(k)) - 1 / len(k)
    return np.trace(k @ h @ m @ h)


def hsic_lange(k: np.ndarray, m: np.ndarray) -> float:
    h = np.eye(len(k)) - 1 / len(k)
    a, b = h @ k @ h, h @ m @ h
    return sum(a[i, j] * b[i, j] for i in range(len(k)) for j in range(i))


HSIC = {"debiased": hsic_traces, "biased": hsic_biased, "lange": hsic_lange}


def kernel_oracle(x: np.ndarray, kernel: str, sigma: float) -> np.ndarray:
    if kernel == "linear":
        return x @ x.T
    if kernel == "cosine":
        return cosine_similarity(x)
    width = sigma * np.median(pdist(x))
    if kernel == "rbf":
        return rbf_kernel(x, gamma=1 / (2 * width**2))
    return np.exp(-cdist(x, x) / width)


def cka_oracle(x, y, kernel="linear", estimator="debiased", sigma=1.0) -> float:
    k, m = (kernel_oracle(side, kernel, sigma) for side in (x, y))
    hsic = HSIC[estimator]
    return hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))


def test_the_closed_form_of_the_oracle_is_the_mean_over_quadruples():
    k, m = FIRST[:7] @ FIRST[:7].T, SECOND[:7] @ SECOND[:7].T
    assert hsic_traces(k, m) == pytest.approx(hsic_song(k, m), rel=1e-10)


@pytest.mark.parametrize("estimator", HSIC)
@pytest.mark.parametrize(
    ("kernel", "sigma"),
    [("linear", 1), ("cosine", 1), ("rbf", 1), ("rbf", 0.4), ("laplace", 1), ("laplace", 2.5)],
)
def test_cka_equals_its_definition(kernel, sigma, estimator):
    text = f"CKA[kernel={kernel},estimator={estimator},sigma={sigma}]"
    expected = cka_oracle(FIRST, SECOND, kernel, estimator, sigma)
    assert compare_representations(FIRST, SECOND, text) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("estimator", HSIC)
@pytest.mark.parametrize("kernel", ["linear", "cosine", "rbf", "laplace"])
def test_cka_on_real_neurons_and_behaviour(v4_halves, behaviour, kernel, estimator):
    for x, y in (v4_halves, behaviour):
        found = compare_representations(x, y, "CKA", kernel=kernel, estimator=estimator)
        assert found == pytest.approx(cka_oracle(x, y, kernel, estimator), abs=1e-9)


def test_linear_biased_cka_in_feature_space():
    x, y = FIRST - FIRST.mean(0), SECOND - SECOND.mean(0)
    expected = np.linalg.norm(x.T @ y) ** 2 / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y)
    found = compare_representations(FIRST, SECOND, "CKA[estimator=biased]")
    assert found == pytest.approx(expected, abs=1e-12)


def test_biased_cka_is_the_whitened_cosine_of_squared_euclidean_rdms(v4_halves):
    from rsatoolbox.rdm import compare

    for x, y in ((FIRST, SECOND), v4_halves):
        rdms = [pdist(side, "sqeuclidean")[None] for side in (x, y)]
        expected = float(compare(*rdms, method="cosine_cov")[0, 0])
        found = compare_representations(x, y, "CKA[estimator=biased]")
        assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("form", ["score", "angular", "euclidean", "squared"])
def test_forms_of_cka(form):
    score = cka_oracle(FIRST, SECOND)
    turn = {
        "score": score,
        "angular": np.arccos(score),
        "euclidean": np.sqrt(2 - 2 * score),
        "squared": 2 - 2 * score,
    }
    found = compare_representations(FIRST, SECOND, f"CKA[form={form}]")
    assert found == pytest.approx(turn[form], abs=1e-10)
    assert compare_representations(FIRST, FIRST, f"CKA[form={form}]") == pytest.approx(
        1.0 if form == "score" else 0.0, abs=1e-7
    )


def test_cortexlab_biased_cka_calls_noise_alike_and_ours_does_not():
    """cortexlab-toolkit reports .968 for independent noise, n 50, 768 and 20484 features."""
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((50, 768)), rng.standard_normal((50, 20484), dtype=np.float32)
    assert compare_representations(*wide, "CKA[estimator=biased]") == pytest.approx(0.968, abs=0.01)
    assert abs(compare_representations(*wide)) < 0.05
    assert compare_representations(*wide, "RV[estimator=plain]") > 0.95
    assert abs(compare_representations(*wide, "RV")) < 0.1
    assert compare_representations(*wide, "distance_correlation[bias=kept]") > 0.95
    assert abs(compare_representations(*wide, "distance_correlation")) < 0.05


def test_debiased_cka_of_noise_is_zero_on_average_and_never_clipped():
    """platonic-rep clips to 0 … 1, which makes the mean of noise positive."""
    rng = np.random.default_rng(1)
    found = [
        compare_representations(rng.normal(size=(20, 8)), rng.normal(size=(20, 30)))
        for _ in range(300)
    ]
    assert min(found) < -0.05
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(len(found))


def test_platonic_eps_would_shrink_cka_of_small_features():
    """platonic-rep adds 1e-6 to its denominator: .1710 for .1724 at 8192 normalised features."""
    rng = np.random.default_rng(2)
    shared = rng.normal(size=(64, 20))
    x, y = (shared @ rng.normal(size=(20, 8192)) + 9 * rng.normal(size=(64, 8192)) for _ in "xy")
    x, y = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (x, y))
    expected = cka_oracle(x, y)
    assert compare_representations(x, y) == pytest.approx(expected, abs=1e-10)
    assert compare_representations(1e-6 * x, 1e-6 * y) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("batch", [32, 512])
def test_pytorch_cka_offset_of_50_changes_nothing(batch):
    """pytorch-cka's uncentred float32 kernels give 1.08 (batch 32) or .876 (512) for .963."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((512, 64), dtype=np.float32)
    y = (x @ rng.standard_normal((64, 64), dtype=np.float32)).astype(np.float32)
    plain = cka_minibatch(zip(x.reshape(-1, batch, 64), y.reshape(-1, batch, 64), strict=True))
    moved = cka_minibatch(
        (x[i : i + batch] + np.float32(50), y[i : i + batch] + np.float32(50))
        for i in range(0, 512, batch)
    )
    assert moved == pytest.approx(plain, abs=1e-5)
    assert plain <= 1


def test_minibatch_cka_is_the_ratio_of_mean_hsics():
    batches = [(FIRST[i : i + 8], SECOND[i : i + 8]) for i in (0, 8, 16)]
    sums = np.zeros(3)
    for x, y in batches:
        k, m = x @ x.T, y @ y.T
        sums += hsic_traces(k, m), hsic_traces(k, k), hsic_traces(m, m)
    assert cka_minibatch(batches) == pytest.approx(sums[0] / np.sqrt(sums[1] * sums[2]), abs=1e-10)


@pytest.mark.parametrize("kernel", ["linear", "rbf", "laplace", "cosine"])
def test_minibatch_cka_of_one_batch_is_cka(kernel):
    found = cka_minibatch([(FIRST, SECOND)], kernel=kernel, sigma=0.7)
    sigma = 0.7 if kernel in ("rbf", "laplace") else 1.0
    expected = compare_representations(FIRST, SECOND, "CKA", kernel=kernel, sigma=sigma)
    assert found == pytest.approx(expected, abs=1e-12)


def test_minibatch_cka_estimates_cka_of_all():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(640, 30))
    y = x @ rng.normal(size=(30, 20)) + 4 * rng.normal(size=(640, 20))
    batched = cka_minibatch(zip(x.reshape(20, 32, 30), y.reshape(20, 32, 20), strict=True))
    assert batched == pytest.approx(compare_representations(x, y), abs=0.02)


def test_minibatch_cka_refuses_bad_batches(caplog):
    with pytest.raises(ValueError, match="4 or more stimuli"):
        cka_minibatch([(FIRST[:3], SECOND[:3])])
    with pytest.raises(ValueError, match="got 6 and 5"):
        cka_minibatch([(FIRST[:6], SECOND[:5])])
    with pytest.raises(UnknownNameError, match="linear"):
        RunningCKA("linar")
    with pytest.raises(ValueError, match="above 0"):
        RunningCKA("rbf", sigma=0)
    with caplog.at_level(logging.WARNING):
        assert np.isnan(cka_minibatch([]))
    assert "undefined" in caplog.text


def rv_oracle(x: np.ndarray, y: np.ndarray) -> float:
    return cka_oracle(x, y, estimator="biased")


def test_rv_and_modified_rv_equal_their_definitions(v4_halves):
    for x, y in ((FIRST, SECOND), v4_halves):
        plain = compare_representations(x, y, "RV[estimator=plain]")
        assert plain == pytest.approx(rv_oracle(x, y), abs=1e-10)
        a, b = (side - side.mean(0) for side in (x, y))
        a, b = (side @ side.T - np.diag((side**2).sum(1)) for side in (a, b))
        expected = np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b))
        modified = compare_representations(x, y, "RV[estimator=modified]")
        assert modified == pytest.approx(expected, abs=1e-10)


def test_adjusted_rv_takes_off_the_mean_over_all_orders_of_the_stimuli():
    x, y = FIRST[:6, :4], SECOND[:6, :3]
    chance = np.mean([rv_oracle(x, y[list(p)]) for p in itertools.permutations(range(6))])
    expected = (rv_oracle(x, y) - chance) / (1 - chance)
    assert compare_representations(x, y, "RV") == pytest.approx(expected, abs=1e-10)


def test_undefined_values_have_a_reason(caplog):
    single = np.zeros((N, 3))
    single[4] = 1.0  # one stimulus differs from all the others: nothing is left off the diagonal
    cases = {
        "do not vary": (np.ones((N, 3)), "CKA"),
        "no pair of stimuli differs": (single, "CKA"),
        "no features but zeros": (single, "CKA[kernel=cosine]"),
        "median distance between stimuli is zero": (single, "CKA[kernel=rbf]"),
    }
    for reason, (features, text) in cases.items():
        caplog.clear()
        assert np.isnan(compare_representations(features, SECOND, text))
        assert reason in caplog.text
    caplog.clear()
    assert np.isnan(compare_representations(FIRST[:3], SECOND[:3]))
    assert "3 stimuli; CKA needs 4" in caplog.text
    orthogonal = np.linalg.qr(CENTRE)[0][:, : N - 1]
    assert np.isnan(compare_representations(orthogonal, orthogonal, "RV"))
    assert "by chance" in caplog.text


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match="Leave sigma out"):
        compare_representations(FIRST, SECOND, "CKA[sigma=2]")
    with pytest.raises(ValueError, match="above 0"):
        compare_representations(FIRST, SECOND, "CKA[kernel=rbf,sigma=-1]")
    with pytest.raises(UnknownNameError, match="debiased"):
        compare_representations(FIRST, SECOND, "CKA[estimator=unbiased]")
    with pytest.raises(ValueError, match="estimator=plain"):
        compare_representations(FIRST, SECOND, "RV[form=angular]")


@pytest.mark.parametrize(
    "text", ["CKA", "CKA[estimator=biased,form=angular]", "CKA[kernel=rbf]", "RV", "RV[form=score]"]
)
def test_a_table_holds_the_single_values(text):
    rng = np.random.default_rng(5)
    firsts = [rng.normal(size=(12, p)) for p in (3, 9, 40)]
    seconds = [FIRST[:12], np.ones((12, 2)), SECOND[:12], rng.normal(size=(12, 5))]
    table = compare_representations(firsts, seconds, text)
    assert table.shape == (3, 4)
    for (i, x), (j, y) in itertools.product(enumerate(firsts), enumerate(seconds)):
        np.testing.assert_allclose(table[i, j], compare_representations(x, y, text), atol=1e-12)
    assert np.isnan(table[:, 1]).all()


def test_products_do_not_depend_on_the_size_of_blocks(monkeypatch):
    layers = [FIRST, SECOND, FIRST[:, :5]]
    whole = compare_representations(layers, layers)
    monkeypatch.setattr("isomorph.alignment.measures.kernels.BLOCK_BYTES", 1000)
    np.testing.assert_allclose(compare_representations(layers, layers), whole, atol=1e-14)


def test_a_gram_does_as_well_as_the_features():
    expected = compare_representations(FIRST, SECOND)
    assert compare_representations(grams(FIRST)[0], SECOND) == pytest.approx(expected, abs=1e-14)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_gives_the_same_number():
    sides = [torch.from_numpy(side).cuda() for side in (FIRST, SECOND)]
    assert compare_representations(*sides) == pytest.approx(cka_oracle(FIRST, SECOND), abs=1e-9)
