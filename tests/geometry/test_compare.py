"""Comparison of RDMs against scipy and rsatoolbox."""

# The peers' annotations are not to be relied on.
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import rsatoolbox.rdm
import scipy.linalg
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat
from scipy.spatial.distance import pdist

from isomorph.geometry import (
    COMPARISONS,
    compare_rdms,
    compute_rdm,
    second_order_rdm,
    square,
    unit_vectors,
    upper_triangle,
)
from isomorph.geometry.comparing.compare import find_comparison
from isomorph.geometry.comparing.concordance import _by_signs, _by_sorting
from isomorph.registry import UnknownNameError

PEERS = {
    "pearson": "corr",
    "spearman": "spearman",
    "cosine": "cosine",
    "kendall": "kendall",
    "tau_a": "tau-a",
    "rho_a": "rho-a",
    "whitened_cosine": "cosine_cov",
    "whitened_pearson": "corr_cov",
    "bures": "bures",
    "riemannian": "neg_riem_dist",
}
# rsatoolbox takes roots of eigenvalues near zero (Bures), and searches by Nelder–Mead.
LOOSE = {"bures": 1e-6, "riemannian": 1e-4}
CORRELATIONS = ("pearson", "spearman", "kendall", "tau_a", "rho_a", "whitened_pearson")
SYMMETRIC = [name for name in PEERS if name != "riemannian"]
SCIPY = {"pearson": scipy.stats.pearsonr, "spearman": scipy.stats.spearmanr}


def vectors(n_rdms: int, seed: int, n: int = 9) -> np.ndarray:
    # Rounded, so that there are ties.
    return np.random.default_rng(seed).random((n_rdms, n * (n - 1) // 2)).round(1)


@pytest.mark.parametrize("method", SCIPY)
def test_stacks_equal_scipy_and_rsatoolbox(method: str) -> None:
    first, second = vectors(3, 0), vectors(4, 1)
    ours = compare_rdms(first, second, method)
    expected = [[SCIPY[method](x, y).statistic for y in second] for x in first]
    np.testing.assert_allclose(ours, expected, rtol=1e-12)
    np.testing.assert_allclose(
        ours, rsatoolbox.rdm.compare(first, second, PEERS[method]), rtol=1e-12
    )
    np.testing.assert_array_equal(compare_rdms(square(first), square(second), method), ours)


@pytest.mark.parametrize("method", SCIPY)
def test_one_rdm_in_every_form(method: str) -> None:
    first, second = vectors(2, 2)
    value = compare_rdms(first, second, method)
    assert isinstance(value, float)
    assert compare_rdms(square(first), second, method) == value
    against_stack = compare_rdms(square(first), np.stack([second, first]), method)
    np.testing.assert_allclose(against_stack, [[value, 1]])


def test_real_rdms(data_folder: Path) -> None:
    responses = np.load(data_folder / "macaque_v4" / "responses_210325.npy").T
    first = compute_rdm(responses[:90, :25], "pearson")
    second = compute_rdm(responses[:90, 25:], "euclidean")
    for method, oracle in SCIPY.items():
        expected = oracle(upper_triangle(first), upper_triangle(second)).statistic
        assert compare_rdms(first, second, method) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("method", SCIPY)
def test_undefined_rdms_are_nan_and_leave_the_others(method: str) -> None:
    stack = vectors(4, 3)
    stack[1, 5] = np.nan
    stack[2] = 0.1  # a value whose mean over many pairs is rounded
    result = np.asarray(compare_rdms(stack, vectors(2, 4), method))
    np.testing.assert_array_equal(np.isnan(result).all(axis=1), [False, True, True, False])
    np.testing.assert_array_equal(np.isnan(result).any(axis=1), [False, True, True, False])
    assert math.isnan(compare_rdms(stack[2], stack[0], method))  # type: ignore[arg-type]


def test_tiny_and_large_dissimilarities() -> None:
    first, second = vectors(2, 5)
    expected = compare_rdms(first, second)
    assert compare_rdms(first * 1e-200, second * 1e200) == pytest.approx(expected)
    assert compare_rdms(1 + first * 1e-9, second) == pytest.approx(expected, rel=1e-5)


def test_unit_vectors_are_centred_and_of_length_one() -> None:
    units = unit_vectors(vectors(3, 6), "spearman")
    np.testing.assert_allclose(units.sum(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose((units**2).sum(axis=1), 1)
    assert unit_vectors(vectors(1, 6)[0]).shape == (36,)


@pytest.mark.parametrize("n", [3, 4, 6, 10, 15, 36])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_square_rdm_with_rounding_on_its_diagonal_is_one(n: int, dtype: str) -> None:
    # For n of 3, 6, 10, 15, 36 the rows are as long as the vector of some RDM.
    first, second = np.random.default_rng(n).normal(size=(2, n, 200))
    one, other = (1 - np.corrcoef(x).astype(dtype) for x in (first, second))
    one[np.diag_indices(n)] = 2e-7 if dtype == "f4" else 2e-16
    one[0, 1] *= 1 + 1e-7
    value = compare_rdms(one, other)
    expected = scipy.stats.pearsonr(upper_triangle(one), upper_triangle(other)).statistic
    assert isinstance(value, float)
    assert value == pytest.approx(expected, rel=1e-5)


def test_a_square_rdm_may_lack_pairs_and_a_square_stack_is_none() -> None:
    rdm = np.array(square(vectors(1, 0, n=10)[0]))
    rdm[2, 5] = rdm[5, 2] = np.nan
    assert isinstance(compare_rdms(rdm, rdm), float)
    stack = vectors(10, 1, n=5)
    assert np.shape(compare_rdms(stack, stack)) == (10, 10)


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"got 9 stimuli \(36 pairs\) and 8 \(28 pairs\)"):
        compare_rdms(vectors(2, 0), vectors(2, 0, n=8))
    with pytest.raises(ValueError, match=r"second expected an RDM .* got shape \(35,\)"):
        compare_rdms(vectors(1, 0), vectors(1, 0)[0, :-1])
    with pytest.raises(ValueError, match=r"first expected an RDM .* got shape \(5, 5\)"):
        compare_rdms(np.eye(5), vectors(1, 0))
    upper = np.triu(np.ones((10, 10)), 1)
    with pytest.raises(ValueError, match="first: expected a symmetric RDM, .* halves that differ"):
        compare_rdms(upper, vectors(1, 0, n=10))
    with pytest.raises(UnknownNameError, match="Did you mean 'spearman'"):
        compare_rdms(vectors(1, 0), vectors(1, 0), "sperman")


def distances(n_rdms: int, seed: int, n: int = 9, p: int = 30) -> np.ndarray:
    features = np.random.default_rng(seed).normal(size=(n_rdms, n, p))
    return np.stack([pdist(one, "sqeuclidean") for one in features])


def test_every_comparison_is_tested_here() -> None:
    assert set(COMPARISONS) == set(PEERS)
    for comparison in COMPARISONS.values():
        assert comparison.summary.endswith(".")
        assert any(character.isdigit() for character in comparison.reference)


@pytest.mark.parametrize("method", PEERS)
@pytest.mark.parametrize("digits", [0, 12], ids=["ties", "no ties"])
def test_all_pairs_equal_rsatoolbox(method: str, digits: int) -> None:
    first, second = distances(3, 0).round(digits), distances(4, 1).round(digits)
    expected = rsatoolbox.rdm.compare(first, second, PEERS[method])
    atol = LOOSE.get(method, 1e-12)
    np.testing.assert_allclose(compare_rdms(first, second, method), expected, rtol=0, atol=atol)
    # One stack against itself takes half the work, and the same numbers.
    own = compare_rdms(first, first, method)
    np.testing.assert_allclose(own, compare_rdms(first, first.copy(), method), atol=1e-9)


@pytest.mark.parametrize("method", PEERS)
def test_a_plain_loop_of_the_definition(method: str) -> None:
    x, y = distances(2, 2, n=7).round(0)
    n, n_pairs = 7, 21
    signs = [np.sign(v[:, None] - v) for v in (x, y)]
    both = (signs[0] * signs[1]).sum()
    ranks = [scipy.stats.rankdata(v) - (n_pairs + 1) / 2 for v in (x, y)]
    centring = np.eye(n) - 1 / n
    kernels = [-centring @ square(v) @ centring / 2 for v in (x, y)]
    # Whitened Pearson: the mean is subtracted from the pairs, not from the zero diagonal.
    centred = [-centring @ square(v - v.mean()) @ centring / 2 for v in (x, y)]
    roots = [scipy.linalg.sqrtm(k + 1e-15 * np.eye(n)).real for k in kernels]

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))

    expected = {
        "pearson": lambda: cosine(x - x.mean(), y - y.mean()),
        "spearman": lambda: cosine(*ranks),
        "cosine": lambda: cosine(x, y),
        "kendall": lambda: both / np.sqrt((signs[0] ** 2).sum() * (signs[1] ** 2).sum()),
        "tau_a": lambda: both / (n_pairs * (n_pairs - 1)),
        "rho_a": lambda: 12 * (ranks[0] @ ranks[1]) / (n_pairs**3 - n_pairs),
        "whitened_cosine": lambda: cosine(*kernels),
        "whitened_pearson": lambda: cosine(*centred),
        "bures": lambda: (
            np.linalg.norm(roots[0] @ roots[1], "nuc")
            / np.sqrt(np.trace(kernels[0]) * np.trace(kernels[1]))
        ),
        "riemannian": lambda: -riemannian_by_grid(x, y),
    }[method]()
    atol = {"bures": 1e-6, "riemannian": 4e-3}.get(method, 1e-12)
    assert compare_rdms(x, y, method) == pytest.approx(expected, abs=atol)


def riemannian_by_grid(x: np.ndarray, y: np.ndarray) -> float:
    moments = []
    for one in (square(x), square(y)):
        moments.append((one[0, 1:, None] + one[0, None, 1:] - one[1:, 1:]) / 2)
    noise = np.eye(len(moments[0])) + 1
    best = np.inf
    for a in np.linspace(-2, 2, 41):
        for b in np.linspace(-8, 6, 71):
            mixed = np.exp(a) * moments[0] + np.exp(b) * noise
            logs = np.log(scipy.linalg.eigvalsh(mixed, moments[1]))
            best = min(best, float(np.sqrt((logs**2).sum())))
    return best


def test_riemannian_is_no_worse_than_the_peers_search_and_zero_with_itself() -> None:
    first, second = distances(2, 8, n=8), distances(3, 9, n=8)
    theirs = rsatoolbox.rdm.compare(first, second, "neg_riem_dist")
    assert (compare_rdms(first, second, "riemannian") >= theirs - 1e-9).all()
    # A scale is fitted: an RDM and its multiple are the same.
    assert compare_rdms(first[0], 7 * first[0], "riemannian") == pytest.approx(0, abs=1e-6)
    # The target's moments have to be positive definite: 3 features cannot give 7.
    flat = distances(1, 0, p=3)[0]
    assert math.isnan(compare_rdms(distances(1, 1)[0], flat, "riemannian"))  # type: ignore[arg-type]
    assert compare_rdms(flat, distances(1, 1)[0], "riemannian") < 0


def test_taus_by_signs_and_by_sorting_are_the_same_whole_number() -> None:
    first, second = vectors(4, 0, n=14), vectors(3, 1, n=14)
    for stacks in ((first, second), (first, first)):
        by_signs = _by_signs(*stacks)
        np.testing.assert_array_equal(by_signs, _by_sorting(*stacks))
        loops = [[(np.sign(x[:, None] - x) * np.sign(y[:, None] - y)).sum() / 2 for y in stacks[1]]
                 for x in stacks[0]]  # fmt: skip
        np.testing.assert_array_equal(by_signs, loops)


def test_signs_in_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isomorph.geometry.comparing.concordance._BLOCK_BYTES", 4 * 4 * 91 * 7)
    first = vectors(4, 0, n=14)
    np.testing.assert_array_equal(_by_signs(first, first), _by_sorting(first, first))


def test_products_in_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = vectors(3, 0), vectors(4, 1)
    expected = {name: compare_rdms(first, second, name) for name in CORRELATIONS}
    monkeypatch.setattr("isomorph.geometry.comparing.pair_products._BLOCK_BYTES", 8 * 4 * 7)
    for name, values in expected.items():
        np.testing.assert_allclose(compare_rdms(first, second, name), values, atol=1e-14)


@pytest.mark.parametrize("method", PEERS)
def test_undefined_rdms_are_nan_and_never_zero(method: str) -> None:
    # rsatoolbox 0.3.2 gives 0 for an RDM of zeros, and for a constant one by tau-a and rho-a.
    stack = distances(5, 3)
    stack[1, 5] = np.nan
    stack[2] = 0
    stack[3, 0] = np.inf
    other = distances(2, 4)
    values = np.asarray(compare_rdms(stack, other, method))
    np.testing.assert_array_equal(np.isnan(values).all(axis=1), [False, True, True, True, False])
    np.testing.assert_array_equal(np.isnan(values).any(axis=1), [False, True, True, True, False])
    np.testing.assert_array_equal(np.isnan(compare_rdms(stack, stack, method))[0], [0, 1, 1, 1, 0])
    constant = compare_rdms(np.full(36, 0.1), other[0], method)
    assert math.isnan(constant) == (method in CORRELATIONS)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", PEERS)
def test_two_stimuli(method: str) -> None:
    value = compare_rdms([2.0], [3.0], method)
    assert isinstance(value, float)
    if method in CORRELATIONS:
        assert math.isnan(value)
    else:
        assert value == pytest.approx(0 if method == "riemannian" else 1, abs=1e-9)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(3, 9), st.integers(0, 10_000), st.floats(1e-6, 1e6), st.sampled_from([*PEERS]))
def test_properties(n: int, seed: int, factor: float, method: str) -> None:
    first, second = distances(2, seed, n=n), distances(3, seed + 1, n=n)
    before = first.copy(), second.copy()
    values = np.asarray(compare_rdms(first, second, method))
    np.testing.assert_array_equal(first, before[0])
    np.testing.assert_array_equal(second, before[1])
    low, high = COMPARISONS[method].range
    assert (values >= low).all()
    assert (values <= high).all()
    atol = 1e-4 if method == "riemannian" else 1e-9
    # One factor for an RDM leaves every comparison; so does one order of the stimuli for both.
    np.testing.assert_allclose(compare_rdms(factor * first, second, method), values, atol=atol)
    order = np.random.default_rng(seed).permutation(n)
    moved = [upper_triangle(square(stack)[:, order][:, :, order]) for stack in (first, second)]
    np.testing.assert_allclose(compare_rdms(*moved, method), values, atol=atol)
    if method in SYMMETRIC:
        np.testing.assert_allclose(compare_rdms(second, first, method), values.T, atol=1e-12)
    np.testing.assert_allclose(np.diagonal(compare_rdms(first, first, method)), high, atol=1e-9)
    if method in ("spearman", "kendall", "tau_a", "rho_a"):
        np.testing.assert_allclose(compare_rdms(first**3, second, method), values, atol=1e-12)
    if method in ("pearson", "spearman", "kendall", "tau_a", "rho_a", "whitened_pearson"):
        np.testing.assert_allclose(compare_rdms(first + 1e4, second, method), values, atol=1e-9)


@pytest.mark.parametrize("method", PEERS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
def test_other_types_are_compared_in_float64(method: str, dtype: type) -> None:
    first, second = (x.round().clip(0, 200).astype(dtype) for x in distances(2, 6))
    expected = compare_rdms(first.astype(float), second.astype(float), method)
    assert compare_rdms(first, second, method) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("method", [name for name in PEERS if name != "riemannian"])
def test_the_pool_is_what_the_rdms_agree_with_most(method: str) -> None:
    rdms = distances(5, 7, n=8) + distances(1, 1, n=8) * np.linspace(0.2, 3, 5)[:, None]
    parts = COMPARISONS[method].pool(rdms)
    assert parts.shape == rdms.shape
    best = np.mean(compare_rdms(parts.sum(axis=0)[None], rdms, method))
    rng = np.random.default_rng(0)
    exact = method in ("pearson", "cosine", "whitened_cosine", "whitened_pearson", "spearman")
    for _ in range(200):
        pool = np.abs(parts.sum(axis=0) + 0.03 * rng.normal(size=28) * np.std(parts.sum(axis=0)))
        if method in CORRELATIONS:
            pool = parts.sum(axis=0) + 0.03 * rng.normal(size=28) * np.std(parts.sum(axis=0))
        other = np.mean(compare_rdms(pool[None], rdms, method))
        assert other <= best + (1e-12 if exact else 0.02)


@pytest.mark.parametrize("method", ["whitened_cosine", "whitened_pearson"])
def test_whitened_comparisons_pool_whitened_rdms(method: str) -> None:
    # rsatoolbox's noise ceilings (inference_util.pool_rdm) pool these two unwhitened.
    rng = np.random.default_rng(1)
    base = distances(1, 3, n=10)
    rdms = base + rng.gamma(1, size=(6, 1)) * 8 * np.abs(rng.normal(size=(6, 45)))
    unwhitened = COMPARISONS["pearson" if "pearson" in method else "cosine"].pool(rdms).sum(axis=0)
    ours = COMPARISONS[method].pool(rdms).sum(axis=0)
    means = [np.mean(compare_rdms(pool[None], rdms, method)) for pool in (ours, unwhitened)]
    assert means[0] > means[1] + 1e-6


def test_second_order_rdm_is_the_notebooks_matrix(data_folder: Path) -> None:
    folder = data_folder / "kriegeskorte92"
    structs = loadmat(folder / "92_brainRDMs.mat")["RDMs"]
    rdms = [np.asarray(structs[0, s, 0]["RDM"], dtype=float) for s in range(4)]
    matrix = second_order_rdm(rdms, "spearman")
    for i in range(4):
        for j in range(4):
            rho = scipy.stats.spearmanr(upper_triangle(rdms[i]), upper_triangle(rdms[j])).statistic
            assert matrix[i, j] == pytest.approx(0 if i == j else 1 - rho, abs=1e-12)
    riemannian = second_order_rdm(distances(3, 0), "riemannian")
    np.testing.assert_array_equal(riemannian, riemannian.T)
    both = np.asarray(compare_rdms(distances(3, 0), distances(3, 0), "riemannian"))
    assert riemannian[0, 1] == pytest.approx(-(both[0, 1] + both[1, 0]) / 2, abs=1e-9)


def human_and_monkey(data_folder: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """RDMs of models, and of four subjects (sessions averaged)."""
    folder = data_folder / "kriegeskorte92"
    models = {
        str(model["name"][0]): np.asarray(model["RDM"], dtype=float)
        for model in loadmat(folder / "92_modelRDMs.mat")["Models"][0]
    }
    structs = loadmat(folder / "92_brainRDMs.mat")["RDMs"]
    sessions = [[np.asarray(structs[0, s, k]["RDM"], float) for k in (0, 1)] for s in range(4)]
    return models, np.mean(sessions, axis=1)


def test_known_values_of_monkey_and_human_it(data_folder: Path) -> None:
    supplement = loadmat(
        data_folder / "kriegeskorte92/Kriegeskorte_Neuron2008_supplementalData.mat"
    )
    pair = supplement["RDMs_mIT_hIT_fig1"][0]
    monkey, human = (np.ravel(one["RDM"]).astype(float) for one in pair)
    known = {"pearson": 0.4912, "spearman": 0.4389, "tau_a": 0.3040}
    for method, value in known.items():
        assert compare_rdms(monkey, human, method) == pytest.approx(value, abs=5e-5)
    animate = np.array([bool(one["animal"][0, 0] or one["human"][0, 0] or one["face"][0, 0])
                        for one in supplement["stimuli_92objs"][0]])  # fmt: skip
    squares = square(np.stack([monkey, human]))
    for chosen, value in ((animate, 0.51), (~animate, 0.20)):
        part = squares[:, chosen][:, :, chosen]
        assert compare_rdms(part[0], part[1]) == pytest.approx(value, abs=0.03)


def test_known_ranking_of_the_models(data_folder: Path) -> None:
    models, subjects = human_and_monkey(data_folder)
    known = {
        "animacy": 0.2230,
        "monkeyIT": 0.2009,
        "EVA": 0.1661,
        "FaceBodyManmadeNatobj": 0.1369,
        "HMAX": 0.1073,  # rsatoolbox's value too; the reference's note has .0489
        "Silhouette": 0.0647,
        "RADON": 0.0259,
        "V1": 0.0179,
    }
    stack = np.stack([models[name] for name in known])
    found = np.asarray(compare_rdms(stack, subjects, "tau_a")).mean(axis=1)
    np.testing.assert_allclose(found, list(known.values()), atol=5e-5)
    theirs = rsatoolbox.rdm.compare(upper_triangle(stack), upper_triangle(subjects), "tau-a")
    np.testing.assert_allclose(found, theirs.mean(axis=1), atol=1e-14)
    # Spearman favours RDMs with ties, and turns two of them round: why tau-a is there.
    rho = np.asarray(compare_rdms(stack, subjects, "spearman")).mean(axis=1)
    np.testing.assert_allclose(rho[2:4], [0.2454, 0.2766], atol=5e-5)
    rho_a = np.asarray(compare_rdms(stack, subjects, "rho_a")).mean(axis=1)
    assert rho_a[2] > rho_a[3]


@pytest.mark.parametrize(
    ("method", "lower", "upper"),
    [
        ("tau_a", 0.2539, 0.4767),
        ("spearman", 0.3723, 0.6657),
        ("rho_a", 0.3723, 0.6657),
        ("pearson", 0.3944, 0.6804),
        ("whitened_pearson", 0.4298, 0.6958),
        ("cosine", 0.988, 0.993),
    ],
)
def test_known_noise_ceilings_by_pools(
    data_folder: Path, method: str, lower: float, upper: float
) -> None:
    _, subjects = human_and_monkey(data_folder)
    rdms = upper_triangle(subjects)
    parts = COMPARISONS[method].pool(rdms)
    total = parts.sum(axis=0)
    others = [compare_rdms(rdms[i], total - parts[i], method) for i in range(4)]
    everyone = np.asarray(compare_rdms(rdms, total[None], method))
    # The reference's own pool of the whitened ones is unwhitened, which is a little lower.
    atol = 2e-3 if method == "whitened_pearson" else 6e-4 if method == "cosine" else 6e-5
    assert np.mean(others) == pytest.approx(lower, abs=atol)
    assert everyone.mean() == pytest.approx(upper, abs=atol)


def test_names_and_aliases() -> None:
    first, second = vectors(2, 0)
    assert compare_rdms(first, second, "tau_b") == compare_rdms(first, second, "kendall")
    assert find_comparison("tau-a") is COMPARISONS["tau_a"]
    with pytest.raises(ValueError, match="'kendall' is not a correlation of transformed RDMs"):
        unit_vectors(first, "kendall")


@pytest.mark.slow
def test_two_hundred_rdms_of_a_thousand_stimuli_stay_within_memory() -> None:
    import tracemalloc

    stack = np.random.default_rng(0).random((200, 499_500))
    tracemalloc.start()
    try:
        for method in ("pearson", "cosine", "whitened_cosine"):
            tracemalloc.reset_peak()
            values = np.asarray(compare_rdms(stack, stack, method))
            assert tracemalloc.get_traced_memory()[1] < 64e6
            assert values.shape == (200, 200)
    finally:
        tracemalloc.stop()
    assert values[0, 0] == 1
