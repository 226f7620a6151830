"""Stability over subsets of stimuli, and arrangements of an RDM in the plane and by clusters."""

# pyright: reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat
from scipy.spatial.distance import pdist, squareform
from sklearn.cluster import KMeans
from sklearn.manifold import smacof

from isomorph.geometry import (
    arrange_stimuli,
    cluster_stimuli,
    compare_rdms,
    compute_rdm,
    rdm_stability,
    upper_triangle,
)
from isomorph.registry import UnknownNameError

LABELS = np.repeat(["cat", "dog", "car"], [6, 7, 8])


def features(n_models: int = 3, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(21, 6))
    return {f"m{i}": shared + rng.normal(size=(21, 6)) for i in range(n_models)}


def test_sizes_equal_scipy_on_the_drawn_stimuli() -> None:
    table = rdm_stability(features(), sizes=[8, 21], n_subsets=4)
    assert len(table) == 3 * 2 * 4
    whole = [compute_rdm(x, "euclidean") for x in features().values()]
    rho = scipy.stats.spearmanr(upper_triangle(whole[0]), upper_triangle(whole[2])).statistic
    row = table[(table["first"] == "m0") & (table["second"] == "m2")]
    np.testing.assert_allclose(row["score_all"], rho, rtol=1e-12)
    # All 21 stimuli drawn without replacement are the whole.
    np.testing.assert_allclose(row[row["n_stimuli"] == 21]["score"], rho, rtol=1e-12)
    rng = np.random.default_rng(0)
    drawn = np.sort(rng.permutation(21)[:8])
    parts = [upper_triangle(rdm[np.ix_(drawn, drawn)]) for rdm in whole]
    expected = scipy.stats.spearmanr(parts[0], parts[2]).statistic
    assert row["score"].iloc[0] == pytest.approx(expected, rel=1e-12)


def test_more_stimuli_are_steadier() -> None:
    table = rdm_stability(features(2), sizes=[5, 10, 18], n_subsets=60)
    spread = table.groupby("n_stimuli")["score"].std()
    assert spread.is_monotonic_decreasing


def test_images_per_class() -> None:
    table = rdm_stability(features(), labels=LABELS, per_class=[2, 6], n_subsets=5, seed=1)
    assert set(zip(table["per_class"], table["n_stimuli"], strict=True)) == {(2, 6), (6, 18)}
    again = rdm_stability(features(), labels=LABELS, per_class=[2, 6], n_subsets=5, seed=1)
    np.testing.assert_array_equal(table["score"], again["score"])
    other = rdm_stability(features(), labels=LABELS, per_class=[2, 6], n_subsets=5, seed=2)
    assert (table["score"] != other["score"]).any()
    # Every stimulus has the label it was drawn for: RDMs that are the labels' own stay perfect.
    classes = compute_rdm(np.eye(3)[np.unique(LABELS, return_inverse=True)[1]], "sqeuclidean")
    table = rdm_stability(np.stack([classes, 2 * classes]), labels=LABELS, per_class=[2])
    np.testing.assert_allclose(table["score"], 1)


def test_tensors_stacks_and_other_comparisons() -> None:
    stack = np.stack([compute_rdm(x, "cosine") for x in features().values()])
    by_stack = rdm_stability(stack, sizes=[9], n_subsets=2, method="tau_a")
    tensors = {name: torch.as_tensor(x) for name, x in features().items()}
    by_features = rdm_stability(tensors, sizes=[9], n_subsets=2, method="tau_a", distance="cosine")
    np.testing.assert_allclose(by_stack["score"], by_features["score"], atol=1e-12)
    assert by_stack["first"].tolist()[:3] == ["0", "0", "1"]
    assert rdm_stability(stack, n_subsets=1)["n_stimuli"].unique().tolist() == [5, 10, 16]


def test_stability_errors() -> None:
    with pytest.raises(ValueError, match="expected 2 or more RDMs, got 1"):
        rdm_stability(features(1))
    with pytest.raises(ValueError, match="sizes: expected from 4 to 21 stimuli, got 22"):
        rdm_stability(features(), sizes=[22])
    with pytest.raises(
        ValueError, match="labels: expected one for each of the 21 stimuli, got none"
    ):
        rdm_stability(features(), per_class=[2])
    with pytest.raises(ValueError, match=r"from 1 to 6 \(as many as class 'cat' has\) .* got 7"):
        rdm_stability(features(), labels=LABELS.tolist(), per_class=[7])
    with pytest.raises(ValueError, match="expected sizes or per_class, got both"):
        rdm_stability(features(), labels=LABELS, per_class=[2], sizes=[9])
    with pytest.raises(ValueError, match="n_subsets: expected 1 or more, got 0"):
        rdm_stability(features(), n_subsets=0)
    with pytest.raises(ValueError, match="same stimuli everywhere, got {'m0': 21, 'm1': 5}"):
        rdm_stability({"m0": features()["m0"], "m1": np.eye(5)})


@pytest.mark.parametrize("method", ["metric", "classical"])
def test_points_in_a_plane_come_back(method: str) -> None:
    points = np.random.default_rng(0).normal(size=(12, 2)) * [3, 1]
    found = arrange_stimuli(pdist(points), method=method)
    assert found.stress < 1e-3
    np.testing.assert_allclose(pdist(found.positions), pdist(points), atol=1e-2)
    np.testing.assert_allclose(found.positions.mean(axis=0), 0, atol=1e-9)
    assert found.positions[:, 0].var() > found.positions[:, 1].var()


def test_stress_is_kruskals_and_no_worse_than_scikit_learns() -> None:
    rdm = squareform(pdist(np.random.default_rng(1).normal(size=(20, 8))))
    found = arrange_stimuli(rdm, seed=3)
    shown, given_ = pdist(found.positions), upper_triangle(rdm)
    grid = [np.sqrt(((b * shown - given_) ** 2).sum() / ((b * shown) ** 2).sum())
            for b in np.linspace(0.5, 2, 3001)]  # fmt: skip
    assert found.stress == pytest.approx(min(grid), abs=1e-6)
    theirs, _ = smacof(rdm, n_init=4, random_state=0, normalized_stress=False)
    shown = pdist(theirs)
    size = (shown @ given_) / (shown @ shown)
    stress = np.sqrt(((size * shown - given_) ** 2).sum() / ((size * shown) ** 2).sum())
    assert found.stress <= stress + 5e-3
    assert found.stress < arrange_stimuli(rdm, method="classical").stress
    again = arrange_stimuli(rdm, seed=3)
    np.testing.assert_array_equal(found.positions, again.positions)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(st.integers(2, 7), st.integers(1, 4), st.floats(1e-3, 1e3))
def test_arrangement_properties(n: int, n_dimensions: int, factor: float) -> None:
    rdm = squareform(np.random.default_rng(n).random(n * (n - 1) // 2))
    before = rdm.copy()
    found = arrange_stimuli(rdm, n_dimensions=n_dimensions, method="classical")
    assert found.positions.shape == (n, n_dimensions)
    assert 0 <= found.stress <= 1
    scaled = arrange_stimuli(factor * rdm, n_dimensions=n_dimensions, method="classical")
    assert scaled.stress == pytest.approx(found.stress, abs=1e-7)
    np.testing.assert_array_equal(rdm, before)


def test_arrangements_of_nothing_and_of_bad_input() -> None:
    same = arrange_stimuli(np.zeros((3, 3)))
    assert same.stress == 0
    assert not same.positions.any()
    with pytest.raises(ValueError, match="arrange_stimuli: 1 dissimilarities are not finite"):
        arrange_stimuli([1.0, np.nan, 2])
    with pytest.raises(ValueError, match="dissimilarities of 0 or more, got -1"):
        arrange_stimuli([1.0, -1, 2])
    with pytest.raises(ValueError, match="expected one RDM, got 2. Arrange them one by one"):
        arrange_stimuli(np.ones((2, 6)))
    with pytest.raises(UnknownNameError, match="unknown multidimensional scaling 'metrc'"):
        arrange_stimuli([1.0, 1, 2], method="metrc")


@pytest.mark.parametrize("method", ["hierarchical", "kmeans"])
def test_clusters_that_are_there_are_found(method: str) -> None:
    rng = np.random.default_rng(0)
    truth = rng.permutation(np.repeat(range(4), 6))
    points = np.eye(4)[truth] * 20 + rng.normal(size=(24, 4))
    found = cluster_stimuli(squareform(pdist(points)), 4, method=method)
    # The same partition, whatever its numbers; and one cluster after another.
    assert len(set(zip(truth.tolist(), found.labels.tolist(), strict=True))) == 4
    assert sorted(found.order.tolist()) == list(range(24))
    np.testing.assert_array_equal(found.labels[found.order], np.repeat(range(4), 6))


def test_kmeans_is_scikit_learns(data_folder: Path) -> None:
    structs = loadmat(data_folder / "kriegeskorte92" / "92_brainRDMs.mat")["RDMs"]
    rdm = np.asarray(structs[0, 0, 0]["RDM"], dtype=float)
    found = cluster_stimuli(rdm, 5, method="kmeans", seed=1)
    theirs = KMeans(5, n_init=10, random_state=1).fit_predict(rdm)
    assert len(set(zip(theirs.tolist(), found.labels.tolist(), strict=True))) == 5
    assert compare_rdms(rdm, rdm[np.ix_(found.order, found.order)][::-1, ::-1]) < 1
    with pytest.raises(ValueError, match="n_clusters: expected from 1 to 92"):
        cluster_stimuli(rdm, 93)
    with pytest.raises(UnknownNameError, match="unknown clustering 'ward'"):
        cluster_stimuli(rdm, 5, method="ward")


def test_few_stimuli_have_default_sizes_and_vectors_have_names() -> None:
    first, second = np.random.default_rng(0).random((2, 66))
    table = rdm_stability({"a": first, "b": second}, n_subsets=2)
    assert table["n_stimuli"].unique().tolist() == [4, 6, 9]
    assert rdm_stability(np.stack([first[:10], second[:10]]), n_subsets=1).shape[0] == 1


def test_what_cannot_be_arranged_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"got -0.5. transform_rdm\(rdm, 'positive'\)"):
        arrange_stimuli([1.0, 2, -0.5])
    with pytest.raises(ValueError, match="1 or more dimensions"):
        arrange_stimuli([1.0, 2, 3], n_dimensions=0)
