"""Kernels against scikit-learn's, and kernel ridge against its KernelRidge on centred kernels."""

# pyright: reportArgumentType=false

from __future__ import annotations

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import pairwise_kernels
from sklearn.preprocessing import KernelCenterer

from isomorph.encoding import KERNELS, kernel_matrix, kernels_from_gram, ridge_loo
from isomorph.geometry import Scaling, grams
from isomorph.registry import UnknownNameError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, 12)) * np.logspace(-0.5, 0.5, 12)
Y = np.tanh(X[:, :3]) + 0.1 * RNG.standard_normal((30, 3)) + 7
TRAIN, TEST = np.arange(0, 30, 2), np.arange(1, 30, 2)
OPTIONS = {
    "linear": {},
    "poly": {"gamma": 0.1, "degree": 2, "coef0": 0.5},
    "rbf": {"gamma": 0.07},
    "sigmoid": {"gamma": 0.01, "coef0": 0.1},
    "cosine": {},
}


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_equal_scikit_learns(kernel) -> None:
    expected = pairwise_kernels(X[TRAIN], X[TEST], metric=kernel, **OPTIONS[kernel])
    found = kernel_matrix(X[TRAIN], X[TEST], kernel, **OPTIONS[kernel])
    np.testing.assert_allclose(found, expected, atol=1e-10)
    own = kernel_matrix(X, kernel=kernel, **OPTIONS[kernel])
    expected = pairwise_kernels(X, metric=kernel, **OPTIONS[kernel])
    np.testing.assert_allclose(own, expected, atol=1e-10)
    default = kernel_matrix(X, kernel=kernel)
    np.testing.assert_allclose(default, pairwise_kernels(X, metric=kernel), atol=1e-10)


@pytest.mark.parametrize("kernel", [name for name in KERNELS if name != "sigmoid"])
def test_kernel_ridge_equals_scikit_learns_on_centred_kernels(kernel) -> None:
    inner = pairwise_kernels(X[TRAIN], metric=kernel, **OPTIONS[kernel])
    across = pairwise_kernels(X[TEST], X[TRAIN], metric=kernel, **OPTIONS[kernel])
    fit = ridge_loo(inner, Y[TRAIN], [0.3], kernel_test=across)
    centre, mean = KernelCenterer().fit(inner), Y[TRAIN].mean(axis=0)
    model = KernelRidge(alpha=0.3, kernel="precomputed").fit(
        centre.transform(inner), Y[TRAIN] - mean
    )
    expected = model.predict(centre.transform(across)) + mean
    np.testing.assert_allclose(fit.predictions, expected, rtol=1e-8)
    # Leave-one-out by refitting: the centring leaves the stimulus out too.
    for left_out in (0, 7):
        rest = np.delete(np.arange(15), left_out)
        centre = KernelCenterer().fit(inner[np.ix_(rest, rest)])
        mean = Y[TRAIN][rest].mean(axis=0)
        model = KernelRidge(alpha=0.3, kernel="precomputed").fit(
            centre.transform(inner[np.ix_(rest, rest)]), Y[TRAIN][rest] - mean
        )
        expected = model.predict(centre.transform(inner[left_out : left_out + 1, rest])) + mean
        np.testing.assert_allclose(fit.cv_predictions[left_out], expected[0], rtol=1e-8)


def test_sigmoid_kernel_keeps_the_part_that_is_positive_definite() -> None:
    kernel = pairwise_kernels(X, metric="sigmoid", gamma=1.0, coef0=-1.0)
    centred = KernelCenterer().fit_transform(kernel)
    values, vectors = np.linalg.eigh((centred + centred.T) / 2)
    assert values.min() < -0.1  # not positive definite
    assert values.max() > np.trace(centred) / 2
    positive = (vectors * values.clip(min=0)) @ vectors.T
    fit = ridge_loo(kernel, Y, [0.5], kernel_test=kernel)
    model = KernelRidge(alpha=0.5, kernel="precomputed").fit(positive, Y - Y.mean(axis=0))
    expected = model.predict(positive) + Y.mean(axis=0)
    np.testing.assert_allclose(fit.predictions, expected, rtol=1e-8)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("offset", [0, 1e4])
def test_kernels_from_a_gram_are_those_of_the_centred_features(kernel, offset: float) -> None:
    origin = TRAIN[:10]
    gram = grams(X + offset)[0]
    for middle in (None, origin):
        rows = TRAIN if middle is None else middle
        centred = X - X[rows].mean(axis=0)
        options = dict(OPTIONS[kernel])
        if kernel in {"poly", "rbf", "sigmoid"}:
            options["gamma"] = 0.5 / (centred[rows] ** 2).sum(axis=1).mean()
        given = {**OPTIONS[kernel], "gamma": 0.5} if "gamma" in options else {}
        among, across = kernels_from_gram(gram, TRAIN, TEST, kernel, origin=middle, **given)
        expected = pairwise_kernels(centred[TRAIN], metric=kernel, **options)
        np.testing.assert_allclose(among, expected, atol=1e-7)
        expected = pairwise_kernels(centred[TEST], centred[TRAIN], metric=kernel, **options)
        np.testing.assert_allclose(across, expected, atol=1e-7)


def test_a_silent_layer_has_a_zero_kernel() -> None:
    gram = grams(np.full((30, 5), 3.3, dtype="f4"), [Scaling(tuple(TRAIN))])[0]
    for kernel in KERNELS:
        assert not any(part.any() for part in kernels_from_gram(gram, TRAIN, TEST, kernel))


def test_a_stimulus_without_features_is_like_none() -> None:
    x = np.vstack([np.zeros(4), np.ones(4)])
    assert kernel_matrix(x, kernel="cosine").tolist() == [[0, 0], [0, 1]]


def test_distances_do_not_cancel_under_an_offset() -> None:
    plain = kernel_matrix(X, kernel="rbf", gamma=0.1)
    np.testing.assert_allclose(kernel_matrix(X + 1e4, kernel="rbf", gamma=0.1), plain, atol=1e-8)
    found = kernel_matrix((X[:, :4] * 20).astype(np.uint8), kernel="rbf", gamma=1e-4)
    expected = pairwise_kernels(
        (X[:, :4] * 20).astype(np.uint8).astype(float), metric="rbf", gamma=1e-4
    )
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_errors() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'rbf'"):
        kernel_matrix(X, kernel="rbff")
    with pytest.raises(ValueError, match="gamma above 0"):
        kernel_matrix(X, kernel="rbf", gamma=-1.0)
    with pytest.raises(ValueError, match="as many features in both, got 12 and 3"):
        kernel_matrix(X, X[:, :3])
    with pytest.raises(ValueError, match="12 of 360 features are not finite"):
        kernel_matrix(np.where(np.arange(30)[:, None] == 0, np.nan, X))
    with pytest.raises(ValueError, match="features of shape"):
        kernel_matrix(X[0])
