"""Measures of neighbours against loops over scikit-learn's neighbours, and platonic-rep's traps."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from isomorph.alignment.calibration import calibrate_measure
from isomorph.alignment.measure import MEASURES, compare_representations
from isomorph.alignment.measures.neighbours import (
    common_lengths,
    edit_distances,
    nearest,
    nearest_of,
    reorder_neighbourhoods,
)
from isomorph.geometry import grams
from isomorph.registry import UnknownNameError

RNG = np.random.default_rng(0)
N = 40
FIRST = RNG.gamma(1.0, size=(N, 30))
SECOND = FIRST[:, :12] + 0.7 * RNG.normal(size=(N, 12))
SKLEARN = {"cosine": "cosine", "euclidean": "euclidean", "pearson": "correlation"}
SETS = ("mutual_knn", "cycle_knn", "jaccard_similarity")
RANKED = ("lcs_knn", "edit_distance_knn", "rank_similarity")


def neighbours(x: np.ndarray, k: int, distance: str = "cosine") -> list[list[int]]:
    """Nearest others by scikit-learn, which counts a stimulus itself as its first."""
    metric = SKLEARN[distance]
    found = NearestNeighbors(n_neighbors=k + 1, metric=metric, algorithm="brute").fit(x)
    return [[j for j in row if j != i][:k] for i, row in enumerate(found.kneighbors(x)[1])]


def longest(a: list[int], b: list[int]) -> int:
    """Longest common subsequence, by the recursion."""
    if not a or not b:
        return 0
    if a[-1] == b[-1]:
        return longest(a[:-1], b[:-1]) + 1
    return max(longest(a[:-1], b), longest(a, b[:-1]))


def edits(a: list[int], b: list[int]) -> int:
    """Levenshtein distance, by the recursion."""
    if not a or not b:
        return len(a) + len(b)
    if a[-1] == b[-1]:
        return edits(a[:-1], b[:-1])
    return 1 + min(edits(a[:-1], b), edits(a, b[:-1]), edits(a[:-1], b[:-1]))


def rank_agreement(a: list[int], b: list[int]) -> float:
    shared = [j for j in a if j in b]
    total = 0.0
    for j in shared:
        r, s = a.index(j) + 1, b.index(j) + 1
        total += 2 / ((1 + abs(r - s)) * (r + s))
    return total / sum(1 / v for v in range(1, len(shared) + 1)) if shared else 0.0


def oracle(name: str, a: list[list[int]], b: list[list[int]], k: int) -> float:
    pairs = list(zip(a, b, strict=True))
    if name == "mutual_knn":
        return np.mean([len(set(x) & set(y)) / k for x, y in pairs])
    if name == "jaccard_similarity":
        return np.mean([len(set(x) & set(y)) / len(set(x) | set(y)) for x, y in pairs])
    if name == "cycle_knn":
        return np.mean([any(i in a[j] for j in y) for i, (_, y) in enumerate(pairs)])
    if name == "lcs_knn":
        return np.mean([longest(x, y) for x, y in pairs]) / k
    if name == "edit_distance_knn":
        return 1 - np.mean([edits(x, y) for x, y in pairs]) / k
    return np.mean([rank_agreement(x, y) for x, y in pairs])


@pytest.mark.parametrize("distance", SKLEARN)
@pytest.mark.parametrize("name", SETS + RANKED)
@pytest.mark.parametrize("k", [1, 5])
def test_equal_loops_over_scikit_learns_neighbours(name, distance, k):
    a, b = neighbours(FIRST, k, distance), neighbours(SECOND, k, distance)
    found = compare_representations(FIRST, SECOND, name, k=k, distance=distance)
    assert found == pytest.approx(oracle(name, a, b, k), abs=1e-12)


@pytest.mark.parametrize("name", SETS + RANKED)
def test_equal_on_real_data(name, v4_halves, behaviour):
    for x, y in (v4_halves, behaviour):
        a, b = neighbours(x, 6), neighbours(y, 6)
        found = compare_representations(x, y, name, k=6)
        assert found == pytest.approx(oracle(name, a, b, 6), abs=1e-12)


def test_options_by_name_in_the_metric_string():
    found = compare_representations(FIRST, SECOND, "mutual_knn[k=5,distance=euclidean]")
    assert found == compare_representations(FIRST, SECOND, "mutual_knn", k=5, distance="euclidean")
    assert MEASURES["mutual_knn"].options["k"].default == 10
    assert MEASURES["mutual_knn"].options["distance"].default == "cosine"


def hsic_song(k: np.ndarray, m: np.ndarray) -> float:
    """The unbiased HSIC as platonic-rep writes it, in loops, without its + 1e-6."""
    n = len(k)
    first = sum(k[i, j] * m[j, i] for i in range(n) for j in range(n) if i != j)
    second = sum(k[i, j] * m[j, q] for i in range(n) for j in range(n) for q in range(n))
    totals = k.sum() * m.sum() / ((n - 1) * (n - 2))
    return (first + totals - 2 * second / (n - 2)) / (n * (n - 3))


def masked(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    mask = np.zeros((len(x), len(x)))
    for i, row in enumerate(neighbours(x, k)):
        mask[i, row] = 1
    return unit @ unit.T, mask


@pytest.mark.parametrize("k", [2, 7, N - 1])
def test_cknna_equals_its_loops(k):
    (one, a), (other, b) = masked(FIRST, k), masked(SECOND, k)
    both = a * b
    numerator = hsic_song(both * one, both * other)
    own = hsic_song(a * one, a * one) * hsic_song(b * other, b * other)
    found = compare_representations(FIRST, SECOND, "CKNNA", k=k)
    assert found == pytest.approx(numerator / np.sqrt(own), abs=1e-10)

    def align(p: np.ndarray, q: np.ndarray, mask: np.ndarray) -> float:
        total = 0.0
        for i in range(N):
            for j in range(N):
                if mask[i, j]:
                    total += (p[i, j] - p[i].mean()) * (q[i, j] - q[i].mean())
        return total

    expected = align(one, other, both) / np.sqrt(align(one, one, a) * align(other, other, b))
    found = compare_representations(FIRST, SECOND, "CKNNA", k=k, form="paper")
    assert found == pytest.approx(expected, abs=1e-10)


def test_cknna_is_symmetric_by_the_paper_and_not_as_released():
    for form, same in (("paper", True), ("released", False)):
        pair = (
            compare_representations(*sides, "CKNNA", k=4, form=form)
            for sides in ((FIRST, SECOND), (SECOND, FIRST))
        )
        assert np.isclose(*pair, rtol=1e-9) == same


def test_cknna_over_all_neighbours_is_the_debiased_cka_of_the_cosine_kernel():
    # platonic-rep means this by topk=None, and raises a TypeError: None < 2.
    found = compare_representations(FIRST, SECOND, "CKNNA", k=N - 1)
    whole = compare_representations(FIRST, SECOND, "CKA[kernel=cosine]")
    assert found == pytest.approx(whole, abs=1e-10)


def test_the_denominator_has_no_epsilon():
    # platonic-rep adds 1e-6: unbiased CKA at d = 8192 is .1710 where .1724 is right.
    x = np.random.default_rng(1).normal(size=(64, 3000))
    assert compare_representations(x, x, "CKNNA", k=10) == pytest.approx(1, abs=1e-12)
    one, mask = masked(x, 10)
    assert hsic_song(mask * one, mask * one) < 2e-4  # where 1e-6 would show


def test_lcs_is_a_share_and_not_a_length():
    # platonic-rep gives the length, 0 to k, as a tensor; its other measures are floats to 1.
    value = compare_representations(FIRST, FIRST, "lcs_knn", k=5)
    assert isinstance(value, float)
    assert value == 1


def test_negative_values_stay_negative():
    # platonic-rep's best layer starts from 0, so that it never reports a negative alignment.
    x = RNG.normal(size=(30, 20))
    values = [
        compare_representations(x, RNG.normal(size=(30, 20)), "CKNNA", k=29) for _ in range(20)
    ]
    assert min(values) < 0


@settings(deadline=None, derandomize=True, max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 7))
def test_sequences_equal_their_recursions(seed, k):
    rng = np.random.default_rng(seed)
    one, other = (
        np.stack([rng.choice(9, size=k, replace=False) for _ in range(6)]) for _ in range(2)
    )
    pairs = list(zip(one.tolist(), other.tolist(), strict=True))
    assert common_lengths(one, other).tolist() == [longest(a, b) for a, b in pairs]
    assert edit_distances(one, other).tolist() == [edits(a, b) for a, b in pairs]


def test_ties_go_to_the_first_stimulus():
    distance = np.array([[0, 1, 1, 1.0], [1, 0, 2, 1], [1, 2, 0, 1], [1, 1, 1, 0]])
    assert nearest_of(distance, 2).tolist() == [[1, 2], [0, 3], [0, 3], [0, 1]]


@settings(deadline=None, derandomize=True, max_examples=20)
@given(st.integers(0, 10_000), st.floats(0.01, 100), st.sampled_from(["cosine", "euclidean"]))
def test_ties_do_not_depend_on_scale_rotation_or_order_of_features(seed, scale, distance):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 3, size=(15, 6)).astype(float) + 1  # many equal distances
    turned = x @ np.linalg.qr(rng.normal(size=(6, 6)))[0] * scale
    expected = nearest(grams(x)[0], 4, distance)
    for other in (turned, x[:, ::-1], x.astype(np.uint8)):
        np.testing.assert_array_equal(nearest(grams(other)[0], 4, distance), expected)


def test_neighbours_that_are_partly_tied_are_those_of_a_full_stable_sort():
    distance = RNG.integers(1, 15, size=(50, 50)).astype(float)
    distance = distance + distance.T
    np.fill_diagonal(distance, 0)
    found = nearest_of(distance, 12)
    for i, row in enumerate(found):
        others = sorted((j for j in range(50) if j != i), key=lambda j: (distance[i, j], j))
        assert row.tolist() == others[:12]


@pytest.mark.parametrize("name", [*SETS, *RANKED, "CKNNA"])
def test_too_many_neighbours_say_so(name, caplog):
    few = FIRST[:10], SECOND[:10]
    with caplog.at_level(logging.WARNING):
        assert np.isnan(compare_representations(*few, name))
    assert "10 neighbours were asked for among 10 stimuli; choose k of 9 or less" in caplog.text
    assert np.isfinite(compare_representations(*few, name, k=5))


@pytest.mark.parametrize("name", SETS)
def test_sets_of_all_others_say_nothing(name, caplog):
    with caplog.at_level(logging.WARNING):
        assert np.isnan(compare_representations(FIRST[:11], SECOND[:11], name))
    assert "10 neighbours among 11 stimuli are all of them" in caplog.text


def test_wrong_numbers_and_names_are_refused():
    with pytest.raises(ValueError, match="1 or more neighbours"):
        compare_representations(FIRST, SECOND, "mutual_knn[k=0]")
    with pytest.raises(UnknownNameError, match="euclidean"):
        compare_representations(FIRST, SECOND, "mutual_knn[distance=euclid]")
    with pytest.raises(ValueError, match="finite numbers|not finite"):
        compare_representations(np.where(FIRST > 2, np.nan, FIRST), SECOND, "mutual_knn")


def test_stimuli_without_a_direction_have_no_neighbours(caplog):
    x = FIRST.copy()
    x[3] = 0
    with caplog.at_level(logging.WARNING):
        assert np.isnan(compare_representations(x, SECOND, "mutual_knn"))
        assert np.isnan(compare_representations(x + 1, SECOND, "mutual_knn[distance=pearson]"))
        assert np.isnan(compare_representations(np.ones((N, 3)), SECOND, "mutual_knn"))
    assert "the features of 1 stimuli are all zero" in caplog.text
    assert "the features of 1 stimuli are constant" in caplog.text
    assert "all stimuli have the same features" in caplog.text
    assert np.isfinite(compare_representations(x, SECOND, "mutual_knn[distance=euclidean]"))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8])
def test_other_types_have_the_same_neighbours(dtype):
    x, y = (np.round(side * 20).clip(0, 255) + 1 for side in (FIRST, np.abs(SECOND)))
    for name in (*SETS, *RANKED):
        expected = compare_representations(x, y, name, k=5)
        found = compare_representations(x.astype(dtype), y.astype(dtype), name, k=5)
        assert found == pytest.approx(expected, abs=0.03)


def test_a_large_offset_leaves_euclidean_neighbours():
    for name in (*SETS, *RANKED):
        found, moved = (
            compare_representations(x, SECOND, name, k=5, distance="euclidean")
            for x in (FIRST, FIRST + 1e4)
        )
        assert found == pytest.approx(moved, abs=1e-9)


@pytest.mark.parametrize("name", [*SETS, *RANKED, "CKNNA", "second_order_cosine"])
def test_reordering_what_was_prepared_is_preparing_what_was_reordered(name):
    order = np.random.default_rng(5).permutation(N)
    measure = MEASURES[name]
    options = {key: option.default for key, option in measure.options.items()}
    gram, other = grams(FIRST)[0], measure.prepare(grams(SECOND)[0], **options)
    quick = measure.reorder(measure.prepare(gram, **options), order)
    slow = measure.prepare(grams(FIRST[order])[0], **options)
    assert measure.compute(quick, other, **options) == pytest.approx(
        measure.compute(slow, other, **options), abs=1e-10
    )


def test_reordered_neighbours_are_renamed():
    near = np.array([[1, 2], [2, 0], [0, 1]])
    order = np.array([2, 0, 1])  # stimulus 2 comes first
    assert reorder_neighbourhoods(near, order).tolist() == [[1, 2], [2, 0], [0, 1]]
    near = np.array([[1], [0], [0]])
    assert reorder_neighbourhoods(near, order).tolist() == [[1], [2], [1]]


def test_unrelated_spaces_share_k_in_n_minus_one():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(60, 500)), rng.normal(size=(60, 20))
    found = calibrate_measure(x, y, "mutual_knn", n_permutations=100)
    assert found.null_mean == pytest.approx(10 / 59, abs=0.01)
    assert abs(found.excess) < 4 * found.null_sd


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", [*SETS, *RANKED, "CKNNA"])
def test_cuda_gives_the_same(name):
    x, y = (torch.as_tensor(side) for side in (FIRST, SECOND))
    expected = compare_representations(x, y, name, k=5)
    assert compare_representations(x.cuda(), y.cuda(), name, k=5) == pytest.approx(
        expected, abs=1e-9
    )
