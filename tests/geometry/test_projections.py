"""Sparse random projection against scikit-learn's."""

# The peers' annotations are not to be relied on.
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.random_projection import SparseRandomProjection, johnson_lindenstrauss_min_dim

from isomorph.geometry import johnson_lindenstrauss_dim, project, sparse_projection_matrix


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
