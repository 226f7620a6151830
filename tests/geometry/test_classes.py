"""Separation of classes against plain loops and scikit-learn."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.metrics import calinski_harabasz_score, silhouette_score

from isomorph.geometry import check_classes, class_separation, fisher_ratio, grams, silhouette


def clouds(sizes: tuple[int, ...], p: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat([f"class {a}" for a in range(len(sizes))], sizes)
    centres = np.repeat(rng.standard_normal((len(sizes), p)), sizes, axis=0)
    order = rng.permutation(len(labels))
    return (centres + rng.standard_normal((len(labels), p)))[order], labels[order]


def separation_by_hand(features: np.ndarray, labels: np.ndarray, metric: str = "cosine") -> float:
    classes = sorted(set(labels))
    within, total = [], []
    for a in classes:
        for b in classes:
            distances = cdist(features[labels == a], features[labels == b], metric)
            total.append(distances.sum() / distances.size)
            if a == b:
                within.append(total[-1])
    return 1 - sum(within) / len(within) / (sum(total) / len(total))


SIZES = [(10, 10, 10), (2, 2), (3, 20, 7)]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("p", [2, 150])
def test_all_three(sizes: tuple[int, ...], p: int) -> None:
    features, labels = clouds(sizes, p)
    found = class_separation(features, labels)
    assert found == pytest.approx(separation_by_hand(features, labels), rel=1e-9)
    found = class_separation(features, labels, distance="euclidean")
    assert found == pytest.approx(separation_by_hand(features, labels, "euclidean"), rel=1e-9)
    assert silhouette(features, labels) == pytest.approx(
        silhouette_score(features, labels), rel=1e-8
    )
    n, k = len(labels), len(sizes)
    expected = calinski_harabasz_score(features, labels) * (k - 1) / (n - k)
    assert fisher_ratio(features, labels) == pytest.approx(expected, rel=1e-8)


def test_float32_and_offsets() -> None:
    features, labels = clouds((10, 15, 7), 60)
    for shifted in (features, features + 1e4):
        single = grams(shifted.astype("f4"))[0]
        wide = shifted.astype("f4").astype("f8")
        assert silhouette(single, labels) == pytest.approx(
            silhouette_score(wide - wide.mean(axis=0), labels), rel=1e-4
        )
        expected = calinski_harabasz_score(wide - wide.mean(axis=0), labels) * 2 / 29
        assert fisher_ratio(single, labels) == pytest.approx(expected, rel=1e-4)
    assert class_separation(features.astype("f4"), labels) == pytest.approx(
        separation_by_hand(features, labels), rel=1e-4
    )


@pytest.mark.parametrize("dtype", ["u1", "f2"])
def test_narrow_types(dtype: str) -> None:
    features, labels = clouds((10, 15, 7), 60)
    narrow = (features * 20 + 120).clip(0, 255).astype(dtype)
    wide = narrow.astype("f8")
    assert class_separation(narrow, labels) == pytest.approx(
        separation_by_hand(wide, labels), rel=1e-4
    )
    assert silhouette(narrow, labels) == pytest.approx(silhouette_score(wide, labels), rel=1e-4)


def test_real_features(data_folder: Path) -> None:
    embedding = np.load(data_folder / "things_vice" / "things_embedding.npy").astype("f8")[:300]
    labels = embedding[:, :5].argmax(axis=1).astype(str)
    found = class_separation(embedding, labels)
    assert found == pytest.approx(separation_by_hand(embedding, labels), rel=1e-9)
    assert 0.01 < found < 0.5
    assert silhouette(embedding, labels) == pytest.approx(
        silhouette_score(embedding, labels), abs=1e-8
    )


def test_squared_distances_give_the_analysis_of_variance() -> None:
    features, labels = clouds((8, 8, 8), 20)
    separation = class_separation(features, labels, distance="sqeuclidean")
    ratio = fisher_ratio(features, labels)
    assert separation == pytest.approx(ratio / (1 + ratio), rel=1e-9)


def test_extremes() -> None:
    alike = np.repeat(np.eye(3), 4, axis=0)
    labels = np.repeat(["a", "b", "c"], 4)
    assert class_separation(alike, labels) == pytest.approx(1)
    assert silhouette(alike, labels) == pytest.approx(1)
    assert math.isnan(fisher_ratio(alike, labels))
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((200, 50))
    arbitrary = rng.permutation(np.repeat(["a", "b"], 100))
    assert abs(class_separation(noise, arbitrary)) < 0.02
    assert fisher_ratio(noise, arbitrary) == pytest.approx(1 / 198, rel=0.4)


def test_undefined() -> None:
    labels = np.repeat(["a", "b"], 3)
    constant = np.full((6, 5), 0.1, dtype="f4")
    for statistic in (class_separation, silhouette, fisher_ratio):
        assert math.isnan(statistic(constant, labels))
    features = np.random.default_rng(0).standard_normal((6, 5))
    features[2] = 0  # no direction, so no cosine
    assert math.isnan(class_separation(features, labels))
    assert math.isfinite(silhouette(features, labels))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(p=st.integers(2, 30), seed=st.integers(0, 99))
def test_invariances(p: int, seed: int) -> None:
    features, labels = clouds((4, 6, 5), p, seed)
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.standard_normal((p, p)))[0]
    order = rng.permutation(len(labels))
    renamed = np.array([f"other {label}" for label in labels])[order]
    for statistic, shift in ((class_separation, 0), (silhouette, 5), (fisher_ratio, 5)):
        changed = 3 * (features @ rotation)[order] + shift
        assert statistic(changed, renamed) == pytest.approx(statistic(features, labels), abs=1e-9)


def test_reading_of_classes() -> None:
    labels = np.array(["b", None, "a", "", "b", float("nan"), "a"], dtype=object)
    classes, codes = check_classes(labels, 7)
    assert classes.tolist() == ["a", "b"]
    assert codes.tolist() == [1, -1, 0, -1, 1, -1, 0]
    classes, codes = check_classes([10, 9, 10, 9])
    assert classes.tolist() == [9, 10]
    assert codes.tolist() == [1, 0, 1, 0]
    assert check_classes(np.array([True, False, True, False]))[1].tolist() == [1, 0, 1, 0]


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"one for each of 5 stimuli, got shape \(4,\)"):
        class_separation(np.eye(5), list("aabb"))
    with pytest.raises(ValueError, match="at least 2 classes, got 0 over 4 stimuli"):
        fisher_ratio(np.eye(4), [None] * 4)
    with pytest.raises(ValueError, match=r"got one for 1 of 2 classes \(first: 'b'\)"):
        silhouette(np.eye(4), list("aaab"))
