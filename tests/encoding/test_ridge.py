"""Dual ridge against scikit-learn, himalaya and the explicit leave-one-out loop."""

# The peers' annotations are not to be relied on.
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from himalaya.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.preprocessing import StandardScaler

from isomorph.encoding import (
    PUBLISHED_ALPHAS,
    centre_kernels,
    pearson_r,
    relative_alphas,
    ridge_loo,
)
from isomorph.geometry import Scaling, grams
from isomorph.registry import UnknownNameError

ALPHAS = np.logspace(-2, 4, 7)


def problem(
    n: int = 40, p: int = 150, t: int = 6, n_test: int = 12, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (train, then test) with a mean, and training responses from easy to hopeless."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n + n_test, p)) + 3
    weights = rng.standard_normal((p, t)) / np.sqrt(p)
    noise = rng.standard_normal((n, t)) * np.logspace(-2, 2, t)
    return features[:n], features[n:], features[:n] @ weights + noise + 50


def loo_pearson(x: np.ndarray, y: np.ndarray, alpha: float) -> np.ndarray:
    """Leave-one-out predictions by refitting n times."""
    predictions = np.empty_like(y)
    for i in range(len(x)):
        rest = np.delete(np.arange(len(x)), i)
        predictions[i] = Ridge(alpha=alpha).fit(x[rest], y[rest]).predict(x[i : i + 1])
    return predictions


@pytest.mark.parametrize("p", [150, 15])
@pytest.mark.parametrize("centred", [True, False])
def test_equals_sklearn_ridgecv(p: int, centred: bool) -> None:
    x, x_test, y = problem(p=p)
    model = RidgeCV(ALPHAS, fit_intercept=True, alpha_per_target=True, store_cv_results=True)
    model.fit(x, y)
    offset = x.mean(axis=0) * centred
    kernel, across = (x - offset) @ (x - offset).T, (x_test - offset) @ (x - offset).T
    fit = ridge_loo(kernel, y, ALPHAS, kernel_test=across)
    np.testing.assert_array_equal(fit.alphas, model.alpha_)
    np.testing.assert_array_equal(fit.grid[fit.alpha_index], model.alpha_)
    assert len(set(fit.alphas)) > 2
    np.testing.assert_allclose(fit.cv_score, model.best_score_, rtol=1e-6)
    errors = np.take_along_axis(model.cv_results_, fit.alpha_index[None, :, None], axis=2)[..., 0]
    np.testing.assert_allclose((y - fit.cv_predictions) ** 2, errors, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(fit.predictions, model.predict(x_test), rtol=1e-6)


@pytest.mark.parametrize("alpha", [1e-6, 0.1, 100.0, 1e5])
def test_leave_one_out_equals_the_explicit_loop(alpha: float) -> None:
    x, _, y = problem(n=20, p=60)
    fit = ridge_loo(x @ x.T, y, [alpha])
    np.testing.assert_allclose(fit.cv_predictions, loo_pearson(x, y, alpha), rtol=1e-6)


def test_pearson_criterion_picks_the_largest_loo_correlation() -> None:
    x, _, y = problem(n=24, p=40, t=8)
    fit = ridge_loo(x @ x.T, y, ALPHAS, criterion="pearson")
    table = np.array([pearson_r(loo_pearson(x, y, alpha), y) for alpha in ALPHAS])
    np.testing.assert_array_equal(fit.alpha_index, table.argmax(axis=0))
    np.testing.assert_allclose(fit.cv_score, table.max(axis=0), rtol=1e-6)
    np.testing.assert_allclose(pearson_r(fit.cv_predictions, y), fit.cv_score, rtol=1e-10)
    assert (fit.alpha_index != ridge_loo(x @ x.T, y, ALPHAS).alpha_index).any()


def test_predictions_equal_himalaya_with_a_penalty_for_each_target() -> None:
    x, x_test, y = problem()
    fit = ridge_loo(x @ x.T, y, ALPHAS, kernel_test=x_test @ x.T)
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    peer = KernelRidge(alpha=fit.alphas, kernel="linear", solver="eigenvalues", warn=False)
    predictions = peer.fit(x - mean_x, y - mean_y).predict(x_test - mean_x) + mean_y
    np.testing.assert_allclose(fit.predictions, predictions, rtol=1e-6)


def test_textbook_shortcut_on_a_centred_kernel_leaks_and_is_not_what_we_do() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((60, 5000)), rng.standard_normal((60, 10))
    centred = x - x.mean(axis=0)
    kernel, alpha = centred @ centred.T, 1e-4
    inverse = np.linalg.inv(kernel + alpha * np.eye(60))
    leaky = y - inverse @ (y - y.mean(axis=0)) / inverse.diagonal()[:, None]
    assert np.median(pearson_r(leaky, y)) > 0.9  # of pure noise
    fit = ridge_loo(kernel, y, [alpha])
    assert np.median(pearson_r(fit.cv_predictions, y)) < 0.3
    np.testing.assert_allclose(fit.cv_predictions, loo_pearson(x, y, alpha), rtol=1e-4, atol=1e-6)


def test_units_that_hardly_fire_explode_unless_the_spread_is_floored() -> None:
    """Features with units that are all but silent in training, and fire once in a while on test."""
    rng = np.random.default_rng(1)
    signal = rng.standard_normal((200, 20))
    dense = signal @ rng.standard_normal((20, 300)) + rng.standard_normal((200, 300))
    silent = np.zeros((200, 300))
    train, test = np.arange(0, 200, 2), np.arange(1, 200, 2)
    # Nearly silent on one training stimulus, and a normal response on one test stimulus.
    silent[rng.choice(train, 300), np.arange(300)] = 1e-3
    silent[rng.choice(test, 300), np.arange(300)] = 3.0
    features = np.hstack([dense, silent]).astype("f4")
    y = signal @ rng.standard_normal((20, 5)) + rng.standard_normal((200, 5))
    medians = {}
    for kind in ("floored", "standard"):
        [gram] = grams(features, [Scaling(tuple(train), kind)])
        kernel, across = centre_kernels(gram, train, test)
        fit = ridge_loo(kernel, y[train], relative_alphas(kernel), kernel_test=across)
        medians[kind] = np.median(pearson_r(fit.predictions, y[test]))
        assert np.median(pearson_r(fit.cv_predictions, y[train])) > 0.6  # sees nothing
    assert medians["floored"] > 0.7
    assert medians["standard"] < 0.3


def test_kernels_from_a_gram_equal_scaled_features() -> None:
    x, x_test, y = problem(n=30)
    features, train, test = np.vstack([x, x_test]), np.arange(30), np.arange(30, 42)
    [gram] = grams(features, [Scaling(tuple(train), "standard")])
    kernel, across = centre_kernels(gram, train, test)
    scaler = StandardScaler().fit(x)
    scaled, scaled_test = np.asarray(scaler.transform(x)), np.asarray(scaler.transform(x_test))
    np.testing.assert_allclose(kernel, scaled @ scaled.T, atol=1e-9)
    np.testing.assert_allclose(across, scaled_test @ scaled.T, atol=1e-9)
    model = RidgeCV(ALPHAS, alpha_per_target=True).fit(scaled, y)
    fit = ridge_loo(kernel, y, ALPHAS, kernel_test=across)
    np.testing.assert_allclose(fit.predictions, model.predict(scaled_test), rtol=1e-6)


def test_real_responses_predict_each_other(data_folder: Path) -> None:
    responses = np.load(data_folder / "macaque_v4" / "responses_210325.npy").T[:160]
    x, y = responses[:, :30], responses[:, 30:]
    train, test = np.arange(0, 160, 2), np.arange(1, 160, 2)
    kernel, across = centre_kernels(grams(x)[0], train, test)
    alphas = relative_alphas(kernel)
    fit = ridge_loo(kernel, y[train], alphas, kernel_test=across)
    model = RidgeCV(alphas, alpha_per_target=True).fit(x[train], y[train])
    np.testing.assert_allclose(fit.alphas, model.alpha_)
    np.testing.assert_allclose(fit.predictions, model.predict(x[test]), rtol=1e-6)


@pytest.mark.parametrize("criterion", ["squared_error", "pearson"])
def test_chunks_and_tensors_change_nothing(
    criterion: Literal["squared_error", "pearson"],
) -> None:
    x, x_test, y = problem(t=11)
    kernel, across = x @ x.T, x_test @ x.T
    whole = ridge_loo(kernel, y, ALPHAS, kernel_test=across, criterion=criterion)
    parts = ridge_loo(
        torch.from_numpy(kernel),
        torch.from_numpy(y),
        ALPHAS,
        kernel_test=torch.from_numpy(across),
        criterion=criterion,
        chunk_targets=3,
    )
    np.testing.assert_array_equal(whole.alpha_index, parts.alpha_index)
    for field in ("cv_predictions", "predictions", "cv_score"):
        np.testing.assert_allclose(getattr(whole, field), getattr(parts, field), rtol=1e-9)
    assert whole.edge_share == parts.edge_share


def test_edge_share_counts_both_ends() -> None:
    x, _, y = problem(t=8)
    fit = ridge_loo(x @ x.T, y, ALPHAS)
    at_edge = np.isin(fit.alphas, [ALPHAS[0], ALPHAS[-1]])
    assert 0 < fit.edge_share < 1
    assert fit.edge_share == at_edge.mean()


def test_constant_target_is_undefined_and_leaves_the_others() -> None:
    x, x_test, y = problem()
    with_constant = y.copy()
    with_constant[:, 2] = 0.1
    fit = ridge_loo(x @ x.T, with_constant, ALPHAS, kernel_test=x_test @ x.T)
    assert np.isnan(fit.cv_score[2])
    assert np.isnan(fit.alphas[2])
    assert fit.alpha_index[2] == -1
    assert (fit.predictions[:, 2] == 0.1).all()
    assert (fit.cv_predictions[:, 2] == 0.1).all()
    others = np.delete(np.arange(6), 2)
    alone = ridge_loo(x @ x.T, y[:, others], ALPHAS)
    np.testing.assert_array_equal(fit.alphas[others], alone.alphas)
    assert fit.edge_share == alone.edge_share


def test_rounding_of_equal_training_rows_is_not_a_kernel() -> None:
    # Products as a BLAS leaves them that sums the diagonal in an order of its own.
    features = np.repeat(problem()[0][:1], 20, axis=0).astype("f4")
    features[16:] += 1
    [gram] = grams(features)
    gram = dataclasses.replace(gram, products=gram.products * (1 + 1e-7 * np.eye(20)))
    assert not any(kernel.any() for kernel in centre_kernels(gram, range(16), range(16, 20)))
    assert all(kernel.any() for kernel in centre_kernels(gram, range(10, 20), range(10)))


@pytest.mark.parametrize("criterion", ["squared_error", "pearson"])
def test_silent_layer_predicts_the_mean(criterion: Literal["squared_error", "pearson"]) -> None:
    _, _, y = problem()
    features = np.full((52, 9), 0.1, dtype="f4")
    kernel, across = centre_kernels(grams(features)[0], np.arange(40), np.arange(40, 52))
    assert not kernel.any()
    fit = ridge_loo(kernel, y, relative_alphas(kernel), kernel_test=across, criterion=criterion)
    np.testing.assert_allclose(fit.predictions, np.tile(y.mean(axis=0), (12, 1)))
    np.testing.assert_allclose(fit.cv_predictions, (y.sum(axis=0) - y) / 39)
    assert np.isnan(fit.alphas).all()
    assert np.isnan(fit.cv_score).all()
    assert np.isnan(fit.edge_share)
    assert np.isnan(pearson_r(fit.predictions, y[:12])).all()


def test_interpolating_penalty_stays_finite() -> None:
    x, x_test, y = problem(n=20, p=60)
    fit = ridge_loo(x @ x.T, y, [1e-300, 1e-12], kernel_test=x_test @ x.T)
    assert np.isfinite(fit.cv_predictions).all()
    expected = loo_pearson(x - x.mean(axis=0), y, 1e-9)
    np.testing.assert_allclose(fit.cv_predictions, expected, rtol=1e-5)
    # Fewer features than stimuli: least squares.
    kernel, across = x[:, :5] @ x[:, :5].T, x_test[:, :5] @ x[:, :5].T
    few = ridge_loo(kernel, y, [1e-300], kernel_test=across)
    np.testing.assert_allclose(few.cv_predictions, loo_pearson(x[:, :5], y, 0.0), rtol=1e-6)
    least_squares = Ridge(alpha=0).fit(x[:, :5], y).predict(x_test[:, :5])
    np.testing.assert_allclose(few.predictions, least_squares, rtol=1e-6)


def test_ties_keep_the_smaller_penalty() -> None:
    # Penalties this small give the same predictions to the last bit.
    x, _, y = problem(n=20, p=60)
    for criterion in ("squared_error", "pearson"):
        fit = ridge_loo(x @ x.T, y, [1e-300, 2e-300], criterion=criterion)
        exact = ridge_loo(x @ x.T, y, [1e-300], criterion=criterion)
        np.testing.assert_allclose(fit.cv_score, exact.cv_score)
    kernel = np.diag([1.0, 1, 1, 1])
    y = np.array([[1.0], [-1], [1], [-1]])
    # With this kernel all leave-one-out predictions are the same at every penalty.
    assert ridge_loo(kernel, y, [1.0, 2.0], criterion="pearson").alpha_index.tolist() == [0]


def test_relative_alphas_follow_the_scale_of_the_features() -> None:
    x, _, y = problem()
    kernel = x @ x.T
    centred = x - x.mean(axis=0)
    mean_diagonal = (centred**2).sum() / len(x)
    np.testing.assert_allclose(relative_alphas(kernel), PUBLISHED_ALPHAS / 5920 * mean_diagonal)
    first = ridge_loo(kernel, y, relative_alphas(kernel))
    second = ridge_loo(1e6 * kernel, y, relative_alphas(1e6 * kernel))
    np.testing.assert_allclose(first.cv_predictions, second.cv_predictions, rtol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel_train": np.eye(4)[:3]}, r"training kernel of shape \(n, n\)"),
        ({"responses": np.ones((3, 2))}, r"responses of shape \(4, n_targets\) .* got \(3, 2\)"),
        ({"responses": np.ones(4)}, r"got \(4,\)"),
        ({"kernel_test": np.ones((2, 3))}, r"test kernel of shape \(n_test, 4\), got \(2, 3\)"),
        ({"alphas": [1, 0.1]}, "alphas that are positive and increase"),
        ({"alphas": [0, 1]}, "alphas that are positive and increase"),
        ({"alphas": []}, "alphas that are positive and increase"),
        ({"responses": np.full((4, 2), np.nan)}, "8 of 8 values of responses are not finite"),
        ({"chunk_targets": 0}, "chunk_targets of 1 or more, got 0"),
    ],
)
def test_errors(change: dict, message: str) -> None:
    arguments = {"kernel_train": np.eye(4), "responses": np.eye(4)[:, :2], "alphas": [1, 10]}
    with pytest.raises(ValueError, match=message):
        ridge_loo(**(arguments | change))


def test_unknown_criterion() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'pearson'"):
        ridge_loo(np.eye(4), np.eye(4), [1], criterion="pearsonr")  # type: ignore[arg-type]
