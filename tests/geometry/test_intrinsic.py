"""Intrinsic dimensions against plain loops over distances, and on known manifolds."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from isomorph.geometry import grams, maximum_likelihood_dimension, two_nn_dimension
from isomorph.registry import UnknownNameError


def distances_to_neighbours(features: np.ndarray) -> list[list[float]]:
    """By the definition: sorted distances of every distinct stimulus to the others."""
    rows = np.unique(np.asarray(features, dtype="f8").reshape(len(features), -1), axis=0)
    return [sorted(np.delete(cdist(rows[i : i + 1], rows)[0], i)) for i in range(len(rows))]


def two_nn_by_hand(features: np.ndarray, discard: float = 0.1) -> float:
    near = distances_to_neighbours(features)
    ratios = sorted(second / first for first, second, *_ in near)
    n, top, bottom = len(ratios), 0.0, 0.0
    for i, ratio in enumerate(ratios[: min(int(n * (1 - discard)), n - 1)], start=1):
        top += math.log(ratio) * -math.log(1 - i / n)
        bottom += math.log(ratio) ** 2
    return top / bottom


def likelihood_by_hand(features: np.ndarray, k: int, average: str) -> float:
    found = []
    for near in distances_to_neighbours(features):
        logs = [math.log(near[k - 1] / near[j]) for j in range(k - 1)]
        found.append((k - 1) / sum(logs))
    return float(np.mean(found)) if average == "mean" else float(1 / np.mean(1 / np.array(found)))


CASES = [(30, 200), (60, 12), (40, 1), (25, 3)]


@pytest.mark.parametrize("shape", CASES)
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_two_nn_is_its_definition(shape: tuple[int, int], offset: float) -> None:
    features = np.random.default_rng(0).standard_normal(shape) + offset
    for discard in (0.0, 0.1, 0.4):
        found = two_nn_dimension(features, discard=discard)
        assert found == pytest.approx(two_nn_by_hand(features, discard), rel=1e-8)
    single = features.astype("f4")
    assert two_nn_dimension(grams(single)[0]) == pytest.approx(two_nn_by_hand(single), rel=1e-3)


@pytest.mark.parametrize("shape", CASES)
@pytest.mark.parametrize("k", [2, 5, 20])
def test_likelihood_is_its_definition(shape: tuple[int, int], k: int) -> None:
    features = np.random.default_rng(1).standard_normal(shape) + 1e4
    for average in ("harmonic", "mean"):
        found = maximum_likelihood_dimension(features, n_neighbours=k, average=average)
        assert found == pytest.approx(likelihood_by_hand(features, k, average), rel=1e-8)


@pytest.mark.parametrize("dtype", ["u1", "f2"])
def test_narrow_types_with_duplicates(dtype: str) -> None:
    features = np.random.default_rng(2).integers(0, 250, (50, 30)).astype(dtype)
    features[10:15] = features[3]
    assert two_nn_dimension(features) == pytest.approx(two_nn_by_hand(features), rel=1e-5)
    found = maximum_likelihood_dimension(features, n_neighbours=7)
    assert found == pytest.approx(likelihood_by_hand(features, 7, "harmonic"), rel=1e-5)


def test_real_features(data_folder: Path) -> None:
    embedding = np.load(data_folder / "things_vice" / "things_embedding.npy")[:300]
    responses = np.load(data_folder / "macaque_v4" / "responses_210325.npy").T[:300]
    for features in (embedding.astype("f8"), responses.astype("f8")):
        assert two_nn_dimension(features) == pytest.approx(two_nn_by_hand(features), rel=1e-8)
        found = maximum_likelihood_dimension(features)
        assert found == pytest.approx(likelihood_by_hand(features, 20, "harmonic"), rel=1e-8)


def manifold(kind: str, rng: np.random.Generator, n: int = 1500) -> np.ndarray:
    if kind == "plane":
        return rng.uniform(size=(n, 2)) @ rng.standard_normal((2, 60))
    if kind == "cube":
        return rng.uniform(size=(n, 4)) @ rng.standard_normal((4, 60))
    if kind == "sphere":  # its surface
        points = rng.standard_normal((n, 3))
        return points / np.linalg.norm(points, axis=1, keepdims=True)
    if kind == "roll":
        angle = 1.5 * np.pi * (1 + 2 * rng.uniform(size=n))
        return np.stack([angle * np.cos(angle), 20 * rng.uniform(size=n), angle * np.sin(angle)], 1)
    turn = rng.uniform(0, 2 * np.pi, n)
    return np.stack([np.cos(turn), np.sin(turn), np.cos(2 * turn)], 1)


@pytest.mark.parametrize(
    ("kind", "truth"), [("plane", 2), ("cube", 4), ("sphere", 2), ("roll", 2), ("curve", 1)]
)
def test_known_manifolds(kind: str, truth: int) -> None:
    points = manifold(kind, np.random.default_rng(3))
    assert two_nn_dimension(points) == pytest.approx(truth, rel=0.08)
    assert maximum_likelihood_dimension(points) == pytest.approx(truth, rel=0.12)


def test_the_mean_of_dimensions_is_too_high_with_few_neighbours() -> None:
    # MacKay and Ghahramani's point on Levina and Bickel's average.
    points = manifold("plane", np.random.default_rng(4))
    harmonic = maximum_likelihood_dimension(points, n_neighbours=4)
    assert harmonic == pytest.approx(2, rel=0.06)
    assert maximum_likelihood_dimension(points, n_neighbours=4, average="mean") > 1.3 * harmonic


@settings(max_examples=15, deadline=None, derandomize=True)
@given(n=st.integers(6, 25), p=st.integers(2, 30), seed=st.integers(0, 99))
def test_invariances(n: int, p: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n, p))
    rotation = np.linalg.qr(rng.standard_normal((p, p)))[0]
    repeated = np.concatenate([features, features[: n // 2]])
    for changed in (7 * features @ rotation + 3, features[::-1].copy(), repeated):
        assert two_nn_dimension(changed) == pytest.approx(two_nn_dimension(features), rel=1e-6)
        for average in ("harmonic", "mean"):
            found, expected = (
                maximum_likelihood_dimension(x, n_neighbours=4, average=average)
                for x in (changed, features)
            )
            assert found == pytest.approx(expected, rel=1e-6)


def test_undefined() -> None:
    rng = np.random.default_rng(0)
    same = np.repeat(rng.standard_normal((1, 40)).astype("f4"), 9, axis=0)
    two = np.concatenate([same, same[:4] + 1])
    for features in (same, two, two[8:10], np.eye(6)):  # the last: equidistant
        assert math.isnan(two_nn_dimension(features))
        assert math.isnan(maximum_likelihood_dimension(features, n_neighbours=2))
    assert math.isnan(maximum_likelihood_dimension(rng.standard_normal((20, 5))))
    assert not math.isnan(maximum_likelihood_dimension(rng.standard_normal((21, 5))))


def test_errors() -> None:
    features = np.random.default_rng(0).standard_normal((9, 4))
    kept = features.copy()
    with pytest.raises(ValueError, match="0 ≤ discard < 1, got 1"):
        two_nn_dimension(features, discard=1)
    with pytest.raises(ValueError, match="n_neighbours: expected at least 2, got 1"):
        maximum_likelihood_dimension(features, n_neighbours=1)
    with pytest.raises(UnknownNameError, match=r"unknown average 'harmonics'.*'harmonic'"):
        maximum_likelihood_dimension(features, average="harmonics")  # pyright: ignore
    two_nn_dimension(features)
    np.testing.assert_array_equal(features, kept)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda() -> None:
    features = np.random.default_rng(0).standard_normal((50, 20))
    found = two_nn_dimension(torch.from_numpy(features).cuda())
    assert found == pytest.approx(two_nn_dimension(features), rel=1e-9)
