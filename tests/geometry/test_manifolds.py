"""Class manifolds against loops over the paper's definitions, simulations and known cones."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize
from scipy.stats import norm

from isomorph.geometry import ManifoldGeometry, grams, manifold_capacity, manifold_geometry
from isomorph.geometry.manifolds import _cone_dimension


def clouds(sizes: tuple[int, ...], p: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Classes of different sizes, widths and centres, their stimuli in a random order."""
    rng = np.random.default_rng(seed)
    rows, labels = [], []
    for a, size in enumerate(sizes):
        spread = rng.uniform(0.5, 2, p)
        rows.append(2 * rng.standard_normal(p) + rng.standard_normal((size, p)) * spread)
        labels += [f"class {a}"] * size
    order = rng.permutation(len(labels))
    return np.concatenate(rows)[order], np.array(labels)[order]


def pair_by_hand(features: np.ndarray, labels: np.ndarray, a: str, b: str, m: int) -> dict:
    """By the definition: singular vectors and values of each class about its centre."""
    centres, radii, axes = {}, {}, {}
    for name in (a, b):
        rows = features[labels == name].astype("f8")
        centres[name] = rows.mean(axis=0)
        _, values, axes[name] = np.linalg.svd(rows - centres[name], full_matrices=False)
        radii[name] = values / math.sqrt(len(rows))
    square_a, square_b = (radii[a] ** 2).sum(), (radii[b] ** 2).sum()
    between = (centres[a] - centres[b]) / math.sqrt(square_a)
    found = {
        "radius": math.sqrt(square_a),
        "dimension": square_a**2 / (radii[a] ** 4).sum(),
        "signal": between @ between,
        "bias": (square_b / square_a - 1) / m,
        "overlap": sum((u @ between * r) ** 2 for u, r in zip(axes[a], radii[a], strict=True))
        / square_a,
        "other_overlap": sum((u @ between * r) ** 2 for u, r in zip(axes[b], radii[b], strict=True))
        / square_a,
        "noise_overlap": sum(
            (u @ v * r * s) ** 2
            for u, r in zip(axes[a], radii[a], strict=True)
            for v, s in zip(axes[b], radii[b], strict=True)
        )
        / square_a**2,
    }
    noise = 1 / found["dimension"] + found["other_overlap"] + found["noise_overlap"]
    found["snr"] = (found["signal"] + found["bias"]) / 2 / math.sqrt(found["overlap"] + noise / m)
    found["error"] = norm.sf(found["snr"])
    return found


def check(
    geometry: ManifoldGeometry, features: np.ndarray, labels: np.ndarray, rtol: float
) -> None:
    for i, a in enumerate(geometry.classes):
        for j, b in enumerate(geometry.classes):
            if i == j:
                assert np.isnan([geometry.signal[i, j], geometry.snr[i, j]]).all()
                continue
            expected = pair_by_hand(features, labels, a, b, geometry.n_shots)
            for name, value in expected.items():
                array = getattr(geometry, name)
                found = array[i] if array.ndim == 1 else array[i, j]
                assert found == pytest.approx(value, rel=rtol, abs=rtol), (name, a, b)


@pytest.mark.parametrize("sizes", [(10, 15, 7), (2, 2), (2, 30, 3, 5)])
@pytest.mark.parametrize("p", [3, 100])
@pytest.mark.parametrize("m", [1, 5])
def test_geometry_is_its_definition(sizes: tuple[int, ...], p: int, m: int) -> None:
    features, labels = clouds(sizes, p)
    geometry = manifold_geometry(features, labels, n_shots=m)
    assert geometry.classes.tolist() == sorted(set(labels))
    assert geometry.n_stimuli.tolist() == list(sizes)
    check(geometry, features, labels, 1e-8)


@pytest.mark.parametrize("dtype", ["f4", "f2", "u1"])
def test_geometry_of_narrow_types(dtype: str) -> None:
    features, labels = clouds((10, 15, 7), 60)
    narrow = (features * 10 + 120).clip(0, 255).astype(dtype)
    check(manifold_geometry(narrow, labels), narrow, labels, 1e-4)


def test_geometry_with_a_large_offset() -> None:
    features, labels = clouds((10, 15, 7), 60)
    check(manifold_geometry(features + 1e4, labels), features, labels, 1e-8)
    single = (features + 1e4).astype("f4")
    check(manifold_geometry(grams(single)[0], labels), single.astype("f8"), labels, 1e-4)


def test_geometry_of_real_features(data_folder: Path) -> None:
    embedding = np.load(data_folder / "things_vice" / "things_embedding.npy").astype("f8")[:200]
    labels = embedding[:, :6].argmax(axis=1).astype(str)
    check(manifold_geometry(embedding, labels), embedding, labels, 1e-8)


def test_snr_predicts_the_error_of_a_prototype_classifier() -> None:
    rng = np.random.default_rng(0)
    p, n, m = 40, 1000, 8
    spreads = rng.uniform(0.3, 1.5, (2, p)) * [[1.0], [1.3]]
    centre = 0.3 * rng.standard_normal(p)
    features = np.concatenate(
        [
            rng.standard_normal((n, p)) * spreads[0],
            centre + rng.standard_normal((n, p)) * spreads[1],
        ]
    )
    predicted = manifold_geometry(features, np.repeat([0, 1], n), n_shots=m).error
    for a in (0, 1):
        pools = [features[:n], features[n:]]
        prototypes = [pool[rng.integers(0, n, (6000, m))].mean(axis=1) for pool in pools]
        test = pools[a][rng.integers(0, n, 6000)]
        far = [((test - prototype) ** 2).sum(axis=1) for prototype in prototypes]
        wrong = np.mean(far[a] > far[1 - a])
        assert 0.02 < wrong < 0.5
        assert predicted[a, 1 - a] == pytest.approx(wrong, abs=0.02)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(p=st.integers(1, 30), seed=st.integers(0, 99))
def test_invariances(p: int, seed: int) -> None:
    features, labels = clouds((4, 6, 5), p, seed)
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.standard_normal((p, p)))[0]
    order = rng.permutation(len(labels))
    first = manifold_geometry(features, labels)
    second = manifold_geometry(3 * (features @ rotation)[order] + 5, labels[order])
    np.testing.assert_allclose(second.radius, 3 * first.radius, rtol=1e-7)
    for name in ("dimension", "signal", "bias", "overlap", "noise_overlap", "snr"):
        np.testing.assert_allclose(getattr(second, name), getattr(first, name), rtol=1e-6)
    capacities = [
        manifold_capacity(x, y, n_samples=400)
        for x, y in [(features, labels), (3 * features[order] + 5, labels[order])]
    ]
    assert capacities[0] == pytest.approx(capacities[1], rel=0.25)  # other draws


def test_stimuli_without_a_label_are_left_out() -> None:
    features, labels = clouds((8, 9), 20)
    more = np.concatenate([features, np.full((4, 20), 1e3)])
    missing = np.array([*labels, None, float("nan"), "", None], dtype=object)
    found, expected = manifold_geometry(more, missing), manifold_geometry(features, labels)
    np.testing.assert_allclose(found.snr, expected.snr, rtol=1e-7)


def test_a_class_whose_stimuli_are_alike_is_undefined() -> None:
    features, labels = clouds((4, 4, 4), 30)
    features[labels == "class 1"] = 0.1
    for given_features in (features, features.astype("f4")):
        geometry = manifold_geometry(given_features, labels)
        assert np.isnan(geometry.radius).tolist() == [False, True, False]
        assert np.isnan(geometry.snr[1]).all()
        assert np.isfinite(geometry.snr[0, 2])
    constant = manifold_geometry(np.full((12, 5), 0.1), labels)
    assert np.isnan(constant.radius).all()
    assert math.isnan(manifold_capacity(np.full((12, 5), 0.1), labels))


def mirrored(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A class and its mirror image: their mean is the origin, so the cones are as given."""
    return np.concatenate([points, -points]), np.repeat(["there", "here"], len(points))


@pytest.mark.parametrize(
    ("points", "dimension"),
    [
        (np.repeat([[3.0, 4, 0]], 2, axis=0), 0.5),  # a ray
        (np.eye(6), 3),  # an orthant
        (np.vstack([np.eye(4), -np.eye(4)]), 4),  # a whole space
        (np.vstack([np.eye(5), -np.eye(5)[:2]]), 2 + 1.5),  # a plane, and an orthant beside it
        (np.array([[1.0, 1], [1, -1], [5, 0]]), 1),  # a quarter of the plane, a point inside it
    ],
)
def test_capacity_of_known_cones(points: np.ndarray, dimension: float) -> None:
    found = manifold_capacity(*mirrored(points), n_samples=4000)
    assert found == pytest.approx(1 / dimension, rel=0.06)


def test_capacity_of_a_circular_cone() -> None:
    angle = 0.5
    turns = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    rim = np.stack([np.sin(angle) * np.cos(turns), np.sin(angle) * np.sin(turns)], axis=1)
    points = np.column_stack([rim, np.full(60, np.cos(angle))])
    # The projection on such a cone in closed form.
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((200_000, 3))
    away, up = np.linalg.norm(vectors[:, :2], axis=1), vectors[:, 2]
    along = np.maximum(np.sin(angle) * away + np.cos(angle) * up, 0)
    inside = np.arctan2(away, up) <= angle
    expected = np.where(inside, away**2 + up**2, along**2).mean()
    found = manifold_capacity(*mirrored(points), n_samples=2000)
    assert found == pytest.approx(1 / expected, rel=0.06)


def test_projection_is_the_quadratic_programme_of_the_paper() -> None:
    rng = np.random.default_rng(1)
    points = rng.standard_normal((8, 4)) + 1
    normals = rng.standard_normal((15, 4))
    expected = []
    for normal in normals:
        # min ‖V − T‖² with V·s ≥ 0 for every point s of the manifold.
        solved = minimize(
            lambda v, t: ((v - t) ** 2).sum(),
            np.zeros(4),
            args=(-normal,),
            constraints={"type": "ineq", "fun": lambda v: points @ v},
            options={"ftol": 1e-14, "maxiter": 500},
        )
        expected.append(solved.fun)
    assert _cone_dimension(points, normals) == pytest.approx(np.mean(expected), abs=1e-6)


@pytest.mark.slow
def test_capacity_is_where_manifolds_stop_being_divisible() -> None:
    rng = np.random.default_rng(2)
    n, m = 60, 4

    def manifolds(number: int) -> np.ndarray:
        return rng.standard_normal((number, 1, n)) + 0.8 * rng.standard_normal((number, m, n))

    many = manifolds(80)
    alpha = manifold_capacity(many.reshape(-1, n), np.repeat(np.arange(80), m), n_samples=100)
    shares = []
    for load in (0.75, 1.3):
        divided = 0
        for _ in range(12):
            points = manifolds(round(load * alpha * n)).reshape(-1, n)
            signs = np.repeat(rng.choice([-1.0, 1.0], len(points) // m), m)
            solved = linprog(
                np.zeros(n),
                A_ub=-signs[:, None] * points,
                b_ub=-np.ones(len(points)),
                bounds=(None, None),
            )
            divided += solved.status == 0
        shares.append(divided / 12)
    assert shares[0] > 0.8
    assert shares[1] < 0.2


def test_capacity_is_seeded_and_needs_no_more_than_the_gram() -> None:
    features, labels = clouds((5, 6, 7), 40)
    found = manifold_capacity(features, labels, n_samples=50)
    assert found == manifold_capacity(grams(features)[0], labels, n_samples=50)
    assert found != manifold_capacity(features, labels, n_samples=50, seed=1)
    assert manifold_capacity(features.astype("f4"), labels, n_samples=50) == pytest.approx(
        found, rel=0.2
    )


def test_errors() -> None:
    features, labels = clouds((5, 5), 6)
    with pytest.raises(ValueError, match="n_shots: expected at least 1 example .* got 0"):
        manifold_geometry(features, labels, n_shots=0)
    with pytest.raises(ValueError, match="n_samples: expected at least 1, got 0"):
        manifold_capacity(features, labels, n_samples=0)
    with pytest.raises(ValueError, match=r"one for each of 10 stimuli, got shape \(9,\)"):
        manifold_geometry(features, labels[:9])
    with pytest.raises(ValueError, match="at least 2 classes, got 1 over 10 stimuli"):
        manifold_geometry(features, ["a"] * 10)
    with pytest.raises(ValueError, match=r"got one for 2 of 3 classes \(first: '7'\)"):
        manifold_geometry(features, ["a"] * 8 + [7, 11])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda() -> None:
    features, labels = clouds((10, 15, 7), 60)
    check(manifold_geometry(torch.from_numpy(features).cuda(), labels), features, labels, 1e-8)
