"""K-fold ridge against explicit loops of scikit-learn's Ridge, and himalaya."""

# The peers' annotations are not to be relied on.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from himalaya.kernel_ridge import KernelRidgeCV
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

from isomorph.encoding import pearson_r, r2, relative_alphas, ridge_cv, ridge_loo

ALPHAS = np.logspace(-2, 4, 7)


def problem(n: int = 40, p: int = 150, t: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((n + 12, p)) + 3
    weights = rng.standard_normal((p, t)) / np.sqrt(p)
    noise = rng.standard_normal((n, t)) * np.logspace(-2, 2, t)
    return features[:n], features[n:], features[:n] @ weights + noise + 50


def held_out_predictions(x: np.ndarray, y: np.ndarray, folds, alpha: float) -> np.ndarray:
    """A plain loop: refit without the fold, predict it."""
    predictions = np.full(y.shape, np.nan)
    for fold in folds:
        rest = np.setdiff1d(np.arange(len(x)), fold)
        predictions[fold] = Ridge(alpha=alpha).fit(x[rest], y[rest]).predict(x[fold])
    return predictions


def contiguous(n: int, k: int) -> list[np.ndarray]:
    return np.array_split(np.arange(n), k)


@pytest.mark.parametrize("p", [150, 15, 1])
@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize("criterion", ["squared_error", "pearson"])
def test_equals_the_explicit_loop(p: int, k: int, criterion) -> None:
    x, x_test, y = problem(p=p)
    folds = contiguous(40, k)
    table = np.stack([held_out_predictions(x, y, folds, alpha) for alpha in ALPHAS])
    if criterion == "squared_error":
        scores = -((table - y) ** 2).mean(axis=1)
    else:
        scores = np.array([pearson_r(one, y) for one in table])
    fit = ridge_cv(
        x @ x.T, y, ALPHAS, folds, kernel_test=x_test @ x.T, criterion=criterion, coefficients=True
    )
    best = scores.argmax(axis=0)
    np.testing.assert_array_equal(fit.alpha_index, best)
    np.testing.assert_allclose(fit.cv_score, scores.max(axis=0), rtol=1e-8)
    expected = np.take_along_axis(table, best[None, None], axis=0)[0]
    np.testing.assert_allclose(fit.cv_predictions, expected, rtol=1e-8)
    for column, alpha in enumerate(fit.alphas):
        model = Ridge(alpha=alpha).fit(x, y[:, column])
        np.testing.assert_allclose(fit.predictions[:, column], model.predict(x_test), rtol=1e-8)
        assert fit.coefficients is not None
        weights = x.T @ fit.coefficients[:, column]
        np.testing.assert_allclose(weights, model.coef_, atol=1e-8 * abs(model.coef_).max())


def test_equals_himalaya() -> None:
    x, _, y = problem()
    kernel = x @ x.T
    fit = ridge_cv(kernel, y, ALPHAS, contiguous(40, 5), coefficients=True)
    peer = KernelRidgeCV(alphas=ALPHAS, cv=5, kernel="precomputed", fit_intercept=True)
    peer.fit(kernel, y)
    np.testing.assert_allclose(fit.alphas, peer.best_alphas_, rtol=1e-6)
    np.testing.assert_allclose(fit.cv_score, peer.cv_scores_, rtol=1e-6)
    assert fit.coefficients is not None
    predicted = (kernel - kernel.mean(axis=0)) @ fit.coefficients
    expected = peer.predict(kernel)
    np.testing.assert_allclose(
        predicted - predicted.mean(axis=0), expected - expected.mean(axis=0), atol=1e-6
    )


def test_as_many_folds_as_stimuli_are_leave_one_out() -> None:
    x, x_test, y = problem(n=24)
    kernel, across = x @ x.T, x_test @ x.T
    folds = [[i] for i in range(24)]
    for criterion in ("squared_error", "pearson"):
        one = ridge_cv(kernel, y, ALPHAS, folds, kernel_test=across, criterion=criterion)
        other = ridge_loo(kernel, y, ALPHAS, kernel_test=across, criterion=criterion)
        np.testing.assert_array_equal(one.alpha_index, other.alpha_index)
        for field in ("cv_predictions", "cv_score", "predictions"):
            np.testing.assert_allclose(getattr(one, field), getattr(other, field), rtol=1e-8)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 1000), st.floats(-1e4, 1e4), st.integers(2, 6))
def test_a_common_offset_of_features_or_responses_moves_predictions_alone(seed, offset, k) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((18, 7)), rng.standard_normal((18, 3))
    folds = np.array_split(rng.permutation(18), k)
    kernel = x @ x.T
    plain = ridge_cv(kernel, y, [1.0, 10.0], folds)
    moved = ridge_cv(kernel, y + offset, [1.0, 10.0], folds)
    np.testing.assert_allclose(moved.cv_predictions - offset, plain.cv_predictions, atol=1e-8)
    # An offset of all features adds the same to rows and to columns of the kernel.
    shift = x.sum(axis=1) * 3.0
    moved = ridge_cv(kernel + shift[:, None] + shift + 9 * 7, y, [1.0, 10.0], folds)
    np.testing.assert_allclose(moved.cv_predictions, plain.cv_predictions, atol=1e-8)


def test_a_kernel_for_each_fold_is_scaling_inside_the_fold() -> None:
    x, _, y = problem(p=30)
    x = x * np.logspace(-2, 2, 30)
    folds = contiguous(40, 4)
    kernels, table = [], np.full((len(ALPHAS), *y.shape), np.nan)
    for fold in folds:
        rest = np.setdiff1d(np.arange(40), fold)
        scaled = x / x[rest].std(axis=0)
        kernels.append(scaled @ scaled.T)
        for a, alpha in enumerate(ALPHAS):
            table[a, fold] = Ridge(alpha).fit(scaled[rest], y[rest]).predict(scaled[fold])
    whole = x / x.std(axis=0)
    fit = ridge_cv(whole @ whole.T, y, ALPHAS, folds, kernel_folds=kernels)
    np.testing.assert_allclose(fit.cv_score, -((table - y) ** 2).mean(axis=1).min(axis=0))


def test_without_held_out_predictions_the_rest_is_the_same() -> None:
    x, x_test, y = problem()
    folds = contiguous(40, 5)
    for per_target in (True, False):
        options = {"kernel_test": x_test @ x.T, "alpha_per_target": per_target}
        whole = ridge_cv(x @ x.T, y, ALPHAS, folds, **options)
        less = ridge_cv(x @ x.T, y, ALPHAS, folds, held_out=False, **options)
        assert less.cv_predictions.shape == (0, 6)
        np.testing.assert_array_equal(less.alphas, whole.alphas)
        np.testing.assert_array_equal(less.predictions, whole.predictions)
        np.testing.assert_allclose(less.cv_score, whole.cv_score, rtol=1e-5)


def test_one_penalty_for_all_targets() -> None:
    x, x_test, y = problem()
    kernel, across = x @ x.T, x_test @ x.T
    for fit_with in (ridge_loo, lambda *a, **k: ridge_cv(*a, contiguous(40, 5), **k)):
        each = np.array([fit_with(kernel, y, [alpha]).cv_score for alpha in ALPHAS])
        fit = fit_with(kernel, y, ALPHAS, kernel_test=across, alpha_per_target=False)
        assert set(fit.alpha_index) == {each.mean(axis=1).argmax()}
        np.testing.assert_allclose(fit.cv_score, each[fit.alpha_index[0]], rtol=1e-9)
        with_constant = np.hstack([y, np.ones((40, 1))])
        other = fit_with(kernel, with_constant, ALPHAS, alpha_per_target=False)
        assert other.alpha_index[-1] == -1
        np.testing.assert_array_equal(other.alpha_index[:-1], fit.alpha_index)


def test_search_in_float32_chooses_as_float64_does() -> None:
    """1000 targets from perfect to pure noise; the scores of two penalties may all but tie."""
    rng = np.random.default_rng(1)
    x, t = rng.standard_normal((60, 200)), 1000
    y = x @ rng.standard_normal((200, t)) * np.logspace(-9, 9, t)
    y += rng.standard_normal((60, t)) * y.std(axis=0) * np.logspace(-6, 2, t)
    alphas = np.logspace(-3, 5, 9)
    kernel, folds = x @ x.T, contiguous(60, 5)
    for fit_with in (ridge_loo, lambda *a: ridge_cv(*a, folds)):
        fit = fit_with(kernel, y, alphas)
        table = np.array([fit_with(kernel, y, [alpha]).cv_score for alpha in alphas])
        np.testing.assert_allclose(fit.cv_score, table.max(axis=0), rtol=1e-12)
        assert (fit.alpha_index == table.argmax(axis=0)).mean() > 0.999


def test_interleaved_folds_on_a_slow_time_series_show_what_is_not_there() -> None:
    """cortexlab-toolkit's inner folds are ``arange(n) % cv``: independent AR(.95) data get a CV R²
    of .70 there. Contiguous folds, which are the default wherever folds are made here, do not."""
    rng = np.random.default_rng(0)

    def slow(width: int) -> np.ndarray:
        series = rng.standard_normal((300, width))
        for time in range(1, 300):
            series[time] = 0.95 * series[time - 1] + np.sqrt(1 - 0.95**2) * series[time]
        return series

    x, y = slow(100), slow(20)
    kernel = x @ x.T
    interleaved = [np.flatnonzero(np.arange(300) % 5 == fold) for fold in range(5)]
    alphas = relative_alphas(kernel)
    leaky = ridge_cv(kernel, y, alphas, interleaved)
    honest = ridge_cv(kernel, y, alphas, contiguous(300, 5))
    assert r2(leaky.cv_predictions, y).mean() > 0.5
    assert r2(honest.cv_predictions, y).mean() < 0.05
    assert np.median(honest.alphas) > np.median(leaky.alphas)


def test_real_responses(data_folder: Path) -> None:
    responses = np.load(data_folder / "macaque_v4" / "responses_210325.npy").T[:120]
    x, y = responses[:, :30], responses[:, 30:40].astype(float)
    x = x.astype(float)
    folds = [fold for _, fold in KFold(4).split(x)]
    alphas = relative_alphas(x @ x.T)
    table = np.stack([held_out_predictions(x, y, folds, alpha) for alpha in alphas])
    fit = ridge_cv(x @ x.T, y, alphas, folds)
    np.testing.assert_allclose(
        fit.cv_score, -((table - y) ** 2).mean(axis=1).min(axis=0), rtol=1e-8
    )


def test_stimuli_that_no_fold_holds_out_always_train() -> None:
    x, _, y = problem()
    fit = ridge_cv(x @ x.T, y, [1.0], [[0, 1, 2], [10, 11]])
    expected = held_out_predictions(x, y, [[0, 1, 2], [10, 11]], 1.0)
    np.testing.assert_allclose(fit.cv_predictions, expected, rtol=1e-8)
    covered = np.isfinite(expected[:, 0])
    errors = ((expected - y)[covered] ** 2).mean(axis=0)
    np.testing.assert_allclose(fit.cv_score, -errors, rtol=1e-8)


@pytest.mark.parametrize("n", [4, 5])
def test_smallest_shapes_and_constant_targets(n: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((n, 1)), np.ones((n, 2))
    y[:, 0] = rng.standard_normal(n)
    fit = ridge_cv(x @ x.T, y, [1.0, 2.0], contiguous(n, 2))
    assert np.isfinite(fit.cv_predictions).all()
    assert np.isnan(fit.alphas).tolist() == [False, True]
    assert (fit.cv_predictions[:, 1] == 1).all()
    silent = ridge_cv(np.zeros((n, n)), y, [1.0], contiguous(n, 2))
    assert np.isnan(silent.alphas).all()


@pytest.mark.parametrize("change", [lambda x: x.astype("f4"), lambda x: x + 1e4])
def test_float32_and_large_offsets(change) -> None:
    from isomorph.geometry import grams

    x, _, y = problem()
    exact = ridge_cv(x @ x.T, y, ALPHAS, contiguous(40, 5))
    other = ridge_cv(grams(change(x))[0].products, y, ALPHAS, contiguous(40, 5))
    np.testing.assert_allclose(other.cv_predictions, exact.cv_predictions, rtol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_gives_the_same() -> None:
    x, x_test, y = problem()
    kernel, across = torch.from_numpy(x @ x.T), torch.from_numpy(x_test @ x.T)
    for extra in ([], [contiguous(40, 5)]):
        fit_with = ridge_cv if extra else ridge_loo
        one = fit_with(kernel, y, ALPHAS, *extra, kernel_test=across)
        other = fit_with(kernel.cuda(), y, ALPHAS, *extra, kernel_test=across.cuda())
        np.testing.assert_allclose(one.predictions, other.predictions, rtol=1e-8)
        np.testing.assert_array_equal(one.alpha_index, other.alpha_index)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folds": [[0, 1]]}, "at least 2 lists of positions"),
        ({"folds": [[0], []]}, "Fewer stimuli than folds"),
        ({"folds": [[0], [0]]}, "each held out once at most"),
        ({"folds": [[0], [6]]}, "positions from 0 to 5"),
        ({"folds": [[0, 1, 2, 3, 4], [5]]}, "at least 2 stimuli left to train, got 1"),
        ({"alphas": [-1.0, 1]}, "alphas that are positive"),
        ({"alphas": [1.0, np.inf]}, "alphas that are positive"),
        ({"responses": np.ones((5, 2))}, r"responses of shape \(6, n_targets\)"),
        ({"responses": np.full((6, 2), np.nan)}, r"not finite \(2 whole columns of 2\)"),
        ({"kernel_folds": [np.eye(6)]}, "kernel_folds of 2 kernels"),
    ],
)
def test_errors(change: dict, message: str) -> None:
    arguments = {
        "kernel_train": np.eye(6),
        "responses": np.eye(6)[:, :2],
        "alphas": [1.0, 10],
        "folds": [[0, 1, 2], [3, 4, 5]],
    }
    with pytest.raises(ValueError, match=message):
        ridge_cv(**(arguments | change))
