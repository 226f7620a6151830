"""Ridge from features: the form follows the shape, the numbers do not."""

# The peers' annotations are not to be relied on.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.preprocessing import StandardScaler

from isomorph.encoding import fit_ridge, pearson_r, ridge_loo, ridge_weights, weight_chunks
from isomorph.registry import UnknownNameError

ALPHAS = np.logspace(-2, 4, 7)
TRAIN, TEST = np.arange(40), np.arange(40, 52)


def problem(p: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features (train, then test) with a mean, and training responses from easy to hopeless."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((52, p)) * np.logspace(-0.5, 0.5, p) + 3
    y = x[:40] @ rng.standard_normal((p, 6)) / np.sqrt(p)
    return x, y + rng.standard_normal((40, 6)) * np.logspace(-2, 2, 6) + 50


@pytest.mark.parametrize("p", [1, 10, 39, 40, 150])
def test_equals_scikit_learn_whatever_the_shape(p: int) -> None:
    x, y = problem(p)
    model = RidgeCV(ALPHAS, alpha_per_target=True).fit(x[:40], y)
    found = fit_ridge(x, y, ALPHAS, train=TRAIN, test=TEST, scale="none")
    assert found.form == ("primal" if p < 40 else "dual")
    np.testing.assert_array_equal(found.fit.alphas, model.alpha_)
    np.testing.assert_allclose(found.fit.cv_score, model.best_score_, rtol=1e-8)
    np.testing.assert_allclose(found.fit.predictions, model.predict(x[40:]), rtol=1e-8)
    weights, intercept = found.weights(x)
    np.testing.assert_allclose(weights, model.coef_.T, atol=1e-8 * abs(model.coef_).max())
    np.testing.assert_allclose(intercept, model.intercept_, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(x[40:] @ weights + intercept, found.fit.predictions, rtol=1e-8)
    np.testing.assert_allclose(found.predict(x[40:], x), found.fit.predictions, rtol=1e-8)
    some, _ = found.weights(x, [4, 1])
    np.testing.assert_allclose(some, weights[:, [4, 1]], rtol=1e-10)


@pytest.mark.parametrize("scale", ["standard", "none"])
@pytest.mark.parametrize("criterion", ["squared_error", "pearson"])
@pytest.mark.parametrize("cv", ["loo", "folds"])
def test_both_forms_agree(scale, criterion, cv: str) -> None:
    """The primal form on 20 features; the dual form on the same ones beside as many of zeros."""
    x, y = problem(20)
    wide = np.hstack([x, np.zeros((52, 20))])
    folds = None if cv == "loo" else np.array_split(np.arange(40), 4)
    one, other = (
        fit_ridge(
            features,
            y,
            ALPHAS,
            train=TRAIN,
            test=TEST,
            scale=scale,
            criterion=criterion,
            folds=folds,
        )
        for features in (x, wide)
    )
    assert (one.form, other.form) == ("primal", "dual")
    np.testing.assert_array_equal(one.fit.alphas, other.fit.alphas)
    for field in ("cv_predictions", "predictions", "cv_score"):
        np.testing.assert_allclose(
            getattr(one.fit, field), getattr(other.fit, field), rtol=1e-7, atol=1e-9
        )


@pytest.mark.parametrize("p", [15, 150])
@pytest.mark.parametrize("scale", ["floored", "standard"])
def test_scaling_is_fitted_inside_each_fold(p: int, scale) -> None:
    x, y = problem(p)
    folds = np.array_split(np.arange(40), 4)
    table = np.full((len(ALPHAS), 40, 6), np.nan)

    def spread(rows: np.ndarray) -> np.ndarray:
        variance = x[rows].var(axis=0)
        return np.sqrt(variance + variance.mean()) if scale == "floored" else np.sqrt(variance)

    for fold in folds:
        rest = np.setdiff1d(TRAIN, fold)
        for a, alpha in enumerate(ALPHAS):
            model = Ridge(alpha).fit(x[rest] / spread(rest), y[rest])
            table[a, fold] = model.predict(x[fold] / spread(rest))
    found = fit_ridge(x, y, ALPHAS, train=TRAIN, folds=folds, scale=scale).fit
    best = ((table - y) ** 2).mean(axis=1)
    np.testing.assert_array_equal(found.alpha_index, best.argmin(axis=0))
    np.testing.assert_allclose(found.cv_score, -best.min(axis=0), rtol=1e-8)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 100), st.sampled_from([3, 60]), st.floats(0.01, 100))
def test_rotation_and_units_of_the_features_leave_the_predictions(seed, p, factor) -> None:
    x, y = problem(p, seed)
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((p, p)))[0]
    one = fit_ridge(x, y, train=TRAIN, test=TEST, scale="none").fit
    other = fit_ridge(factor * x @ rotation + 5, y, train=TRAIN, test=TEST, scale="none").fit
    np.testing.assert_allclose(one.predictions, other.predictions, rtol=1e-6)
    np.testing.assert_allclose(one.cv_predictions, other.cv_predictions, rtol=1e-6)


def test_more_stimuli_than_features_cost_no_kernel() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20_000, 5)).astype("f4")  # a kernel would take 3.2 GB
    y = x[:, :2] + rng.standard_normal((20_000, 2))
    found = fit_ridge(x, y, ALPHAS, scale="none")
    model = RidgeCV(ALPHAS, alpha_per_target=True).fit(x.astype(float), y)
    np.testing.assert_array_equal(found.fit.alphas, model.alpha_)
    np.testing.assert_allclose(found.weights(x)[0], model.coef_.T, rtol=1e-6)


def test_weights_in_blocks_and_chunks() -> None:
    x, y = problem(150)
    x = x + 1e4
    fit = ridge_loo((x[:40] - 1e4) @ (x[:40] - 1e4).T, y, [1.0], coefficients=True)
    assert fit.coefficients is not None
    expected = Ridge(1.0).fit(x[:40], y).coef_.T
    whole = ridge_weights(x[:40], fit.coefficients)
    np.testing.assert_allclose(whole, expected, atol=1e-7)
    blocks = ridge_weights(x, fit.coefficients, rows=TRAIN, block_bytes=8 * 40 * 7)
    np.testing.assert_allclose(blocks, whole, atol=1e-12)
    chunks = list(weight_chunks(x[:40], fit.coefficients, chunk_bytes=8 * 150 * 4))
    assert [chunk for chunk, _ in chunks] == [slice(0, 4), slice(4, 6)]
    np.testing.assert_allclose(np.hstack([part for _, part in chunks]), whole, atol=1e-12)
    with pytest.raises(ValueError, match=r"dual coefficients of shape \(52, n_targets\)"):
        ridge_weights(x, fit.coefficients)


@pytest.mark.parametrize("dtype", ["f4", "f2", "u1"])
@pytest.mark.parametrize("p", [10, 80])
def test_narrow_types(dtype: str, p: int) -> None:
    x, y = problem(p)
    narrow = (10 * x).clip(0, 250).astype(dtype)
    exact = fit_ridge(narrow.astype(float), y, ALPHAS, train=TRAIN, test=TEST)
    found = fit_ridge(narrow, y.astype("f4"), ALPHAS, train=TRAIN, test=TEST)
    np.testing.assert_array_equal(found.fit.alphas, exact.fit.alphas)
    np.testing.assert_allclose(found.fit.predictions, exact.fit.predictions, rtol=1e-4)
    np.testing.assert_allclose(found.predict(narrow[40:], narrow), found.fit.predictions, rtol=1e-4)


@pytest.mark.parametrize("p", [10, 80])
def test_constant_columns_rows_and_offsets(p: int) -> None:
    x, y = problem(p)
    x[:, 0] = 1e4
    x[3] = x[4]
    found = fit_ridge(x, y, ALPHAS, train=TRAIN, test=TEST, scale="standard")
    scaler = StandardScaler().fit(x[:40])
    model = RidgeCV(ALPHAS, alpha_per_target=True).fit(scaler.transform(x[:40]), y)
    expected = model.predict(scaler.transform(x[40:]))
    np.testing.assert_allclose(found.fit.predictions, expected, rtol=1e-7)
    moved = fit_ridge(x + 1e4, y, ALPHAS, train=TRAIN, test=TEST, scale="standard")
    np.testing.assert_allclose(moved.fit.predictions, found.fit.predictions, rtol=1e-7)
    silent = fit_ridge(np.ones_like(x), y, ALPHAS, train=TRAIN, test=TEST)
    assert np.isnan(silent.fit.alphas).all()
    np.testing.assert_allclose(silent.fit.predictions, np.tile(y.mean(axis=0), (12, 1)))
    two = fit_ridge(x[:2], y[:2], [1.0])
    assert np.isfinite(two.fit.cv_predictions).all()


def test_units_silent_in_training_explode_when_standardised_and_folds_show_it() -> None:
    """The twin of SqueezeNet's features.10 on V4, where plain standardisation predicts with .198,
    the floor with .532, and leave-one-out, whose scaling has seen the stimulus, notices nothing.
    With the scaling inside the folds the cross-validated score shows the explosion."""
    rng = np.random.default_rng(1)
    signal = rng.standard_normal((200, 20))
    dense = signal @ rng.standard_normal((20, 300)) + rng.standard_normal((200, 300))
    rare = np.zeros((200, 400))
    # Each rare unit fires for one stimulus, and for another one hardly.
    rare[rng.integers(0, 200, 400), np.arange(400)] = 3.0
    rare[rng.integers(0, 200, 400), np.arange(400)] += 1e-3
    x = np.hstack([dense, rare]).astype("f4")
    y = signal @ rng.standard_normal((20, 5)) + rng.standard_normal((200, 5))
    train, test = np.arange(0, 200, 2), np.arange(1, 200, 2)
    folds = np.array_split(np.arange(100), 5)
    found = {}
    for scale in ("floored", "standard"):
        loo = fit_ridge(x, y[train], train=train, test=test, scale=scale).fit
        inside = fit_ridge(x, y[train], train=train, test=test, scale=scale, folds=folds).fit
        found[scale] = [
            np.median(pearson_r(loo.predictions, y[test])),
            np.median(pearson_r(loo.cv_predictions, y[train])),
            np.median(pearson_r(inside.cv_predictions, y[train])),
        ]
    assert found["floored"][0] > 0.7
    assert found["standard"][0] < 0.4
    assert found["standard"][1] > 0.6  # leave-one-out sees nothing
    assert found["standard"][2] < 0.4  # folds do
    assert found["floored"][2] > 0.6


def test_real_features(data_folder: Path) -> None:
    responses = np.load(data_folder / "macaque_v4" / "responses_210325.npy").T[:120].astype(float)
    x, y = responses[:, :30], responses[:80, 30:36]
    found = fit_ridge(x, y, train=range(80), test=range(80, 120), scale="standard")
    scaler = StandardScaler().fit(x[:80])
    model = RidgeCV(found.fit.grid, alpha_per_target=True).fit(scaler.transform(x[:80]), y)
    np.testing.assert_array_equal(found.fit.alphas, model.alpha_)
    expected = model.predict(scaler.transform(x[80:]))
    np.testing.assert_allclose(found.fit.predictions, expected, rtol=1e-8)
    mean_square = (scaler.transform(x[:80]) ** 2).sum(axis=1).mean()
    np.testing.assert_allclose(found.fit.grid, np.logspace(-1, 5, 7) / 5920 * mean_square)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("p", [10, 80])
def test_cuda_gives_the_same(p: int) -> None:
    x, y = problem(p)
    one = fit_ridge(x, y, ALPHAS, train=TRAIN, test=TEST)
    other = fit_ridge(torch.from_numpy(x).cuda(), y, ALPHAS, train=TRAIN, test=TEST)
    np.testing.assert_allclose(one.fit.predictions, other.fit.predictions, rtol=1e-7)


def test_errors() -> None:
    x, y = problem(10)
    with pytest.raises(UnknownNameError, match="Did you mean 'standard'"):
        fit_ridge(x, y, train=TRAIN, scale="standart")
    with pytest.raises(ValueError, match=r"responses of shape \(52, n_targets\)"):
        fit_ridge(x, y)
    with pytest.raises(ValueError, match="not finite"):
        fit_ridge(np.where(x == x[0, 0], np.nan, x), y, train=TRAIN)
    with pytest.raises(ValueError, match="positive and increase"):
        fit_ridge(x, y, [-1.0], train=TRAIN)
    with pytest.raises(ValueError, match="expected 10 features, got 9"):
        fit_ridge(x, y, train=TRAIN).predict(x[:, :9], x)
