"""The estimators against scikit-learn's own checks and its own results."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import numpy as np
import pytest
from himalaya.ridge import GroupRidgeCV
from sklearn.decomposition import PCA
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.random_projection import SparseRandomProjection
from sklearn.utils.estimator_checks import parametrize_with_checks

from isomorph.encoding import (
    SparseProjection,
    TorchBandedRidgeCV,
    TorchKernelRidgeCV,
    TorchPCA,
    TorchRidgeCV,
)

RNG = np.random.default_rng(0)
ALPHAS = np.logspace(-2, 4, 7)
X = RNG.standard_normal((52, 80)) + 3
Y = X @ RNG.standard_normal((80, 5)) / 9 + RNG.standard_normal((52, 5)) * np.logspace(-2, 1, 5) + 9


@pytest.mark.filterwarnings("ignore")  # the checks warn on purpose
@parametrize_with_checks(
    [
        TorchRidgeCV(),
        TorchRidgeCV(cv=2, scale="floored"),
        TorchKernelRidgeCV(),
        TorchKernelRidgeCV(kernel="rbf"),
        TorchKernelRidgeCV(kernel="precomputed"),
        TorchBandedRidgeCV(gammas=3),
        TorchPCA(),
        SparseProjection(8),
        SparseProjection(8, method="sklearn"),
    ]
)
def test_passes_scikit_learns_checks(estimator, check) -> None:
    check(estimator)


@pytest.mark.parametrize("p", [10, 80])
def test_ridge_equals_scikit_learns(p: int) -> None:
    x, new = X[:40, :p], X[40:, :p]
    peer = RidgeCV(ALPHAS, alpha_per_target=True).fit(x, Y[:40])
    own = TorchRidgeCV(ALPHAS).fit(x, Y[:40])
    np.testing.assert_array_equal(own.alpha_, peer.alpha_)
    np.testing.assert_allclose(own.coef_, peer.coef_, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(own.intercept_, peer.intercept_, rtol=1e-8)
    np.testing.assert_allclose(own.best_score_, peer.best_score_, rtol=1e-7)
    np.testing.assert_allclose(own.predict(new), peer.predict(new), rtol=1e-8)
    single = TorchRidgeCV(ALPHAS).fit(x, Y[:40, 2])
    assert single.coef_.shape == (p,)
    assert isinstance(single.alpha_, float)
    np.testing.assert_allclose(single.predict(new), own.predict(new)[:, 2])
    shared = RidgeCV(ALPHAS, alpha_per_target=False).fit(x, Y[:40])
    assert set(TorchRidgeCV(ALPHAS, alpha_per_target=False).fit(x, Y[:40]).alpha_) == {
        shared.alpha_
    }


def test_ridge_with_folds_equals_a_grid_search() -> None:
    folds = KFold(4)
    search = GridSearchCV(
        KernelRidge(kernel="linear"), {"alpha": ALPHAS}, cv=folds, scoring="neg_mean_squared_error"
    )
    x, y = X - X.mean(axis=0), Y[:, 1] - Y[:, 1].mean()
    search.fit(x, y)
    # Without an intercept in the folds the peer's errors differ a little, its choice does not.
    assert TorchRidgeCV(ALPHAS, cv=folds).fit(x, y).alpha_ == search.best_params_["alpha"]
    assert TorchRidgeCV(ALPHAS, cv=4).fit(x, y).alpha_ == search.best_params_["alpha"]


def test_scaling_and_pipelines() -> None:
    inside = TorchRidgeCV(ALPHAS, scale="standard").fit(X[:40], Y[:40])
    outside = make_pipeline(StandardScaler(), TorchRidgeCV(ALPHAS)).fit(X[:40], Y[:40])
    np.testing.assert_allclose(inside.predict(X[40:]), outside.predict(X[40:]), rtol=1e-8)


@pytest.mark.parametrize("kernel", ["linear", "rbf", "poly", "cosine"])
def test_kernel_ridge_equals_scikit_learns_on_centred_kernels(kernel: str) -> None:
    from sklearn.metrics.pairwise import pairwise_kernels
    from sklearn.preprocessing import KernelCenterer

    inner = pairwise_kernels(X[:40], metric=kernel)
    across = pairwise_kernels(X[40:], X[:40], metric=kernel)
    centre, mean = KernelCenterer().fit(inner), Y[:40].mean(axis=0)
    own = TorchKernelRidgeCV(ALPHAS, kernel=kernel).fit(X[:40], Y[:40])
    peer = KernelRidge(alpha=own.alpha_, kernel="precomputed")
    peer.fit(centre.transform(inner), Y[:40] - mean)
    expected = peer.predict(centre.transform(across)) + mean
    np.testing.assert_allclose(own.predict(X[40:]), expected, rtol=1e-7)
    given = TorchKernelRidgeCV(ALPHAS, kernel="precomputed").fit(inner, Y[:40])
    np.testing.assert_allclose(given.predict(across), own.predict(X[40:]), rtol=1e-10)


def test_banded_ridge_equals_himalaya() -> None:
    x, y = X[:40] - X[:40].mean(axis=0), Y[:40] - Y[:40].mean(axis=0)
    groups, gammas = np.repeat([2, 0, 1], [20, 50, 10]), RNG.dirichlet([1, 1, 1], 6)
    params = {"n_iter": gammas, "alphas": ALPHAS, "progress_bar": False, "warn": False}
    peer = GroupRidgeCV(groups=groups, cv=5, fit_intercept=True, solver_params=params).fit(x, y)
    own = TorchBandedRidgeCV(groups, ALPHAS, gammas=gammas, cv=5).fit(x, y)
    np.testing.assert_allclose(own.deltas_, peer.deltas_, atol=1e-8)
    # (Its coefficients are in the order of the bands; predictions are of the features as given.)
    np.testing.assert_allclose(own.predict(X[40:]), peer.predict(X[40:]), rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match="one label for each of the 80 features, got"):
        TorchBandedRidgeCV([0, 1]).fit(x, y)


@pytest.mark.parametrize("shape", [(52, 20), (20, 80)])
def test_pca_equals_scikit_learns(shape: tuple[int, int]) -> None:
    x = X[: shape[0], : shape[1]]
    peer, own = PCA(6, svd_solver="full").fit(x), TorchPCA(6).fit(x)
    for name in ("components_", "mean_", "explained_variance_", "explained_variance_ratio_"):
        np.testing.assert_allclose(getattr(own, name), getattr(peer, name), atol=1e-10)
    np.testing.assert_allclose(own.singular_values_, peer.singular_values_)
    np.testing.assert_allclose(own.transform(x), peer.transform(x), atol=1e-9)
    back = own.inverse_transform(own.transform(x))
    np.testing.assert_allclose(back, peer.inverse_transform(peer.transform(x)), atol=1e-9)
    with pytest.raises(ValueError, match="expected 1 to"):
        TorchPCA(99).fit(x)


def test_sparse_projection_is_scikit_learns_on_request_and_keeps_lengths_always() -> None:
    x = RNG.standard_normal((12, 900))
    peer = SparseRandomProjection(40, random_state=3).fit(x)
    own = SparseProjection(40, method="sklearn", random_state=3).fit(x)
    np.testing.assert_allclose(own.transform(x), peer.transform(x), atol=1e-5)
    draws = [SparseProjection(400, random_state=seed).fit_transform(x) for seed in range(8)]
    lengths = np.mean([(drawn**2).sum(axis=1) for drawn in draws], axis=0)
    np.testing.assert_allclose(lengths, (x**2).sum(axis=1), rtol=0.15)
    again = SparseProjection(400, random_state=0).fit_transform(x)
    np.testing.assert_array_equal(again, draws[0])
    assert SparseProjection(eps=0.5).fit(x).n_components_ == 119


def test_unknown_words() -> None:
    with pytest.raises(KeyError, match="unknown criterion"):
        TorchRidgeCV(criterion="mse").fit(X, Y)
    with pytest.raises(KeyError, match="unknown method"):
        SparseProjection(5, method="dense").fit(X)
    with pytest.raises(KeyError, match="unknown kernel"):
        TorchKernelRidgeCV(kernel="laplace").fit(X, Y)
