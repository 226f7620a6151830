"""Principal components against scikit-learn's, and against plain float64 products."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from isomorph.geometry import NonFiniteError, principal_components

SHAPES = [(12, 200), (60, 12), (20, 20), (2, 5), (3, 1), (25, 24), (24, 25)]


def spread_features(n: int, p: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, p)) * np.linspace(0.5, 3, p) + rng.standard_normal(p)


def check_equal(features: np.ndarray, rtol: float, k: int | None = None) -> None:
    ours = principal_components(features, k)
    theirs = PCA(ours.n_components, svd_solver="full").fit(np.asarray(features, dtype="f8"))
    scale = np.sqrt(theirs.explained_variance_[0])
    close = {"rtol": rtol, "atol": rtol}
    np.testing.assert_allclose(ours.components, theirs.components_, **close)
    np.testing.assert_allclose(ours.explained_variance, theirs.explained_variance_, rtol=rtol)
    np.testing.assert_allclose(
        ours.explained_variance_ratio, theirs.explained_variance_ratio_, rtol=rtol
    )
    np.testing.assert_allclose(ours.mean, theirs.mean_, **close)
    scores = theirs.transform(np.asarray(features, dtype="f8"))
    np.testing.assert_allclose(ours.scores, scores, rtol=rtol, atol=rtol * scale)
    np.testing.assert_allclose(ours.transform(features), scores, rtol=rtol, atol=rtol * scale)


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_sklearn(shape: tuple[int, int]) -> None:
    check_equal(spread_features(*shape), 1e-8)


@pytest.mark.parametrize("shape", [(40, 150), (60, 12)])
def test_fewer_components_are_the_first_ones(shape: tuple[int, int]) -> None:
    check_equal(spread_features(*shape), 1e-9, k=5)
    few, all_of_them = (principal_components(spread_features(*shape), k) for k in (5, None))
    np.testing.assert_allclose(few.components, all_of_them.components[:5], atol=1e-12)
    assert few.total_variance == pytest.approx(all_of_them.total_variance)
    assert few.rank == all_of_them.rank


@pytest.mark.parametrize("shape", [(12, 200), (60, 12)])
@pytest.mark.parametrize("dtype", ["f4", "f2", "u1"])
def test_narrow_types(shape: tuple[int, int], dtype: str) -> None:
    features = (spread_features(*shape) * 20 + 100).clip(0, 255).astype(dtype)
    check_equal(features, 2e-4)
    assert principal_components(features).components.dtype == np.float32


@pytest.mark.parametrize("shape", [(12, 200), (60, 12)])
def test_a_large_offset_does_not_cancel(shape: tuple[int, int]) -> None:
    features = spread_features(*shape).astype("f4") + np.float32(1e4)
    check_equal(features, 2e-4)
    check_equal(spread_features(*shape) + 1e4, 1e-7)
    # What a mean of 1e4 is rounded by in float32 must not become part of the scores.
    few = principal_components(features, 2)
    expected = (features.astype("f8") - features.astype("f8").mean(axis=0)) @ few.components.T
    np.testing.assert_allclose(few.transform(features), expected, atol=2e-5)


def test_real_features(data_folder: Path) -> None:
    embedding = np.load(data_folder / "things_vice" / "things_embedding.npy").astype("f8")
    check_equal(embedding[:60], 1e-8)
    check_equal(embedding[:30], 1e-8)
    responses = np.load(data_folder / "macaque_v4" / "responses_210325.npy").T.astype("f8")
    check_equal(responses, 1e-8)


def test_rank_is_what_varies() -> None:
    rng = np.random.default_rng(0)
    for shape in [(30, 100), (100, 30), (30, 5000)]:
        low = rng.standard_normal((shape[0], 4)) @ rng.standard_normal((4, shape[1])) + 7
        for features in (low, low.astype("f4")):
            # Sums in float32 lie off the four dimensions by their rounding alone.
            found = principal_components(features)
            values = np.linalg.eigvalsh(np.cov(features.astype("f8").T if shape[1] < 500 else low))
            assert found.rank >= 4
            assert found.explained_variance[4:].sum() < 1e-6 * values[-1]
        assert principal_components(low).rank == 4


def test_components_beyond_the_rank_are_zero() -> None:
    features = np.repeat(np.random.default_rng(0).standard_normal((3, 10)), 2, axis=0)
    found = principal_components(features, 5)
    assert found.rank == 2
    assert found.components.shape == (5, 10)
    assert found.scores.shape == (6, 5)
    assert not found.components[2:].any()
    assert not found.scores[:, 2:].any()
    assert not found.explained_variance[2:].any()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_nothing_varies(dtype: str) -> None:
    constant = np.full((6, 40), 0.1, dtype=dtype)
    for features in (constant, constant[:, :3]):
        found = principal_components(features)
        assert found.rank == 0
        assert found.components.shape == (0, features.shape[1])
        assert np.isnan(principal_components(features, 2).explained_variance_ratio).all()
    some = np.array(constant)
    some[:, 7] = np.arange(6)
    assert principal_components(some).rank == 1


@settings(max_examples=15, deadline=None, derandomize=True)
@given(n=st.integers(2, 12), p=st.integers(1, 30), seed=st.integers(0, 99))
def test_axioms(n: int, p: int, seed: int) -> None:
    features = spread_features(n, p, seed)
    found = principal_components(features)
    assert found.rank == min(n - 1, p)
    np.testing.assert_allclose(
        found.components @ found.components.T, np.eye(found.n_components), atol=1e-7
    )
    np.testing.assert_allclose(found.inverse_transform(found.scores), features, atol=1e-8)
    assert found.explained_variance.sum() == pytest.approx(features.var(axis=0, ddof=1).sum())
    assert (np.diff(found.explained_variance) <= 0).all()
    order = np.random.default_rng(seed).permutation(n)
    shuffled = principal_components(features[order])
    np.testing.assert_allclose(shuffled.scores, found.scores[order], atol=1e-7)


def test_further_axes_and_tensors() -> None:
    maps = torch.from_numpy(spread_features(8, 36)).reshape(8, 4, 3, 3)
    kept = maps.clone()
    found = principal_components(maps)
    np.testing.assert_array_equal(
        found.scores, principal_components(maps.flatten(1).numpy()).scores
    )
    assert torch.equal(maps, kept)
    assert found.transform(maps[:3]).shape == (3, 7)


def test_errors() -> None:
    features = spread_features(6, 4)
    with pytest.raises(ValueError, match="expected at least 2 stimuli, got 1"):
        principal_components(features[:1])
    with pytest.raises(ValueError, match="expected 1 to 4, the smaller of 6 stimuli and 4"):
        principal_components(features, 5)
    with pytest.raises(ValueError, match="expected 4 features, as the components have, got 3"):
        principal_components(features).transform(features[:, :3])
    features[2, 1] = np.nan
    for shape in (features, features[:3]):
        with pytest.raises(NonFiniteError, match="1 of"):
            principal_components(shape)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("shape", [(12, 200), (60, 12)])
def test_cuda(shape: tuple[int, int]) -> None:
    features = spread_features(*shape)
    found = principal_components(torch.from_numpy(features).cuda())
    np.testing.assert_allclose(found.scores, principal_components(features).scores, atol=1e-9)
