"""Sparse random projection against scikit-learn's."""

# The peers' annotations are not to be relied on.
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from sklearn.random_projection import SparseRandomProjection, johnson_lindenstrauss_min_dim

import isomorph.geometry.projections as projections
from isomorph.geometry import (
    SparseProjector,
    johnson_lindenstrauss_dim,
    project,
    sparse_projection_matrix,
)


@pytest.mark.parametrize("n", [10, 92, 500, 640, 1000, 73_000])
@pytest.mark.parametrize("eps", [0.1, 0.3])
def test_dimension_is_that_of_sklearn(n: int, eps: float) -> None:
    assert johnson_lindenstrauss_dim(n, eps) == johnson_lindenstrauss_min_dim(n, eps=eps)


def test_published_dimensions() -> None:
    assert johnson_lindenstrauss_dim(1000) == 5920
    assert johnson_lindenstrauss_dim(640) == 5538
    with pytest.raises(ValueError, match=r"0 < eps < 1, got n=10, eps=1.5"):
        johnson_lindenstrauss_dim(10, 1.5)


@pytest.mark.parametrize(("p", "k"), [(900, 40), (30, 40)])  # down, and up as published
def test_matrix_and_projection_are_those_of_sklearn(p: int, k: int) -> None:
    features = np.random.default_rng(0).standard_normal((7, p)).astype("f4")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = SparseRandomProjection(n_components=k, random_state=3).fit(features)
    ours = sparse_projection_matrix(p, k, seed=3)
    assert ours.shape == (k, p)
    assert (ours != theirs.components_).nnz == 0  # float32, as theirs for float32 features
    projected = project(torch.from_numpy(features), ours)
    assert projected.dtype == np.float32
    np.testing.assert_allclose(projected, theirs.transform(features), rtol=1e-4, atol=1e-5)


def test_projection_errors() -> None:
    matrix = sparse_projection_matrix(50, 5, seed=0)
    with pytest.raises(ValueError, match=r"expected 50 features .* got 40"):
        project(np.zeros((3, 40)), matrix)
    features = np.zeros((3, 50))
    features[1] = np.nan
    with pytest.raises(ValueError, match="50 of 150 values are not finite"):
        project(features, matrix)


@pytest.mark.parametrize("n", [1, 3, 300])
@pytest.mark.parametrize("p", [1, 40, 500])
def test_in_blocks_of_features_and_stimuli(n: int, p: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projections, "_BLOCK_FEATURES", 90)
    monkeypatch.setattr(projections, "_CACHED_STIMULI", 7)
    monkeypatch.setattr(projections, "_TILE_FEATURES", 16)
    features = np.random.default_rng(0).standard_normal((n, p)).astype("f4")
    matrix = sparse_projection_matrix(p, 60, seed=1)
    expected = features.astype("f8") @ matrix.toarray().astype("f8").T
    np.testing.assert_allclose(project(features, matrix), expected, rtol=1e-4, atol=1e-5)
    projector = SparseProjector(p, 60, seed=1)
    dense = projector(torch.eye(p)).double().numpy()  # features one by one: the matrix
    found = projector(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(found, features.astype("f8") @ dense, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float64])
def test_projection_of_other_types(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randint(0, 256, (30, 4, 50), generator=generator).to(dtype)
    kept = features.clone()
    matrix = sparse_projection_matrix(200, 40, seed=0)
    expected = features.flatten(1).double().numpy() @ matrix.toarray().T
    np.testing.assert_allclose(project(features, matrix), expected, rtol=1e-4, atol=1e-2)
    wide = SparseProjector(200, 40)(features.flatten(1).float())
    assert torch.equal(SparseProjector(200, 40)(features.flatten(1)), wide)
    assert torch.equal(features, kept)


def test_real_responses_keep_their_distances(data_folder: Path) -> None:
    responses = np.load(data_folder / "macaque_v4" / "responses_210325.npy").T.astype("f4")
    k = johnson_lindenstrauss_dim(len(responses), eps=0.5)
    for projected in (
        project(responses, sparse_projection_matrix(50, k, seed=0)),
        SparseProjector(50, k)(torch.from_numpy(responses)).numpy(),
    ):
        ratio = pdist(projected, "sqeuclidean") / pdist(responses, "sqeuclidean")
        assert ratio.min() > 0.5
        assert ratio.max() < 1.5


def test_no_stimuli_and_no_gradients() -> None:
    projector = SparseProjector(30, 5)
    assert projector(torch.zeros(0, 30)).shape == (0, 5)
    assert not projector(torch.rand(3, 30, requires_grad=True)).requires_grad


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda() -> None:
    features = torch.rand(300, 70_000)
    matrix = sparse_projection_matrix(70_000, 50, seed=0)
    np.testing.assert_allclose(
        project(features.cuda(), matrix), project(features, matrix), rtol=1e-3, atol=1e-4
    )
    projector = SparseProjector(70_000, 50)
    found = projector(features.cuda())
    assert found.is_cuda
    np.testing.assert_allclose(found.cpu(), projector(features), rtol=1e-3, atol=1e-4)
