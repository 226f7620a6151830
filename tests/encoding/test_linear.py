"""Least squares, lasso and elastic net against scikit-learn and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import ElasticNetCV, LassoCV, LinearRegression

from isomorph.encoding import isometric_coordinates, least_squares, sparse_regression
from isomorph.encoding.linear import PENALTY_SHARES

RNG = np.random.default_rng(0)


def problem(n, p, t, m=9, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n + m, p)) + 3
    responses = features[:, :3] @ rng.normal(size=(min(3, p), t)) + rng.normal(size=(n + m, t))
    return features[:n], responses[:n], features[n:]


@pytest.mark.parametrize(("n", "p"), [(40, 6), (20, 100), (12, 11), (2, 1), (2, 50), (5, 1000)])
def test_least_squares_equals_scikit_learn(n, p):
    train, responses, test = problem(n, p, 4)
    expected = LinearRegression().fit(train, responses).predict(test)
    fit = least_squares(train, responses, test)
    np.testing.assert_allclose(fit.predictions, expected, atol=1e-8)
    both = isometric_coordinates(np.concatenate([train, test]))
    found = least_squares(both[:n], responses, both[n:])
    np.testing.assert_allclose(found.predictions, expected, atol=1e-8)
    assert fit.rank == min(n - 1, p)


@pytest.mark.parametrize(("n", "p"), [(25, 4), (15, 60), (12, 11), (10, 9), (10, 10), (3, 40)])
def test_leave_one_out_equals_refitting_without_each(n, p):
    train, responses, test = problem(n, p, 3)
    found = least_squares(train, responses, test).loo_predictions
    for i in range(n):
        rest = np.delete(np.arange(n), i)
        model = LinearRegression().fit(train[rest], responses[rest])
        np.testing.assert_allclose(found[i], model.predict(train[i : i + 1])[0], atol=1e-7)


def test_leave_one_out_where_one_stimulus_alone_has_a_feature():
    """Its leverage is one: the others say nothing of that feature, and nothing is divided by 0."""
    train = RNG.normal(size=(12, 3))
    train = np.column_stack([train, np.eye(12)[:, 4]])
    responses = RNG.normal(size=(12, 2))
    found = least_squares(train, responses, train[:1]).loo_predictions
    for i in range(12):
        rest = np.delete(np.arange(12), i)
        model = LinearRegression().fit(train[rest], responses[rest])
        np.testing.assert_allclose(found[i], model.predict(train[i : i + 1])[0], atol=1e-8)


def test_real_neurons(data_folder):
    rates = np.load(data_folder / "macaque_v4" / "responses_210325.npy").T.astype(float)
    train, test = rates[0:160:2], rates[1:160:2]
    found = least_squares(train[:, :30], train[:, 30:], test[:, :30])
    model = LinearRegression().fit(train[:, :30], train[:, 30:])
    np.testing.assert_allclose(found.predictions, model.predict(test[:, :30]), atol=1e-9)


def test_real_embeddings(data_folder):
    items = np.load(data_folder / "things_vice" / "things_embedding.npy")[:60]
    train, test = items[:20], items[20:]  # fewer stimuli than features: interpolated
    found = least_squares(train[:, 2:], train[:, :2], test[:, 2:])
    model = LinearRegression().fit(train[:, 2:].astype(float), train[:, :2].astype(float))
    expected = model.predict(test[:, 2:].astype(float))
    np.testing.assert_allclose(found.predictions, expected, atol=1e-7)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), p=st.integers(1, 25))
def test_rotation_and_translation_leave_least_squares(seed, p):
    train, responses, test = problem(12, p, 2, 4, seed)
    rng = np.random.default_rng(seed)
    turn, shift = np.linalg.qr(rng.normal(size=(p, p)))[0], rng.normal(size=p)
    before = least_squares(train, responses, test)
    after = least_squares(2 * train @ turn + shift, responses, 2 * test @ turn + shift)
    scale = 1e-6 * max(1.0, np.abs(before.loo_predictions).max())
    np.testing.assert_allclose(after.predictions, before.predictions, atol=scale)
    np.testing.assert_allclose(after.loo_predictions, before.loo_predictions, atol=scale)


def test_offsets_constant_columns_and_small_types():
    train, responses, test = problem(20, 5, 2)
    base = least_squares(train, responses, test).predictions
    shifted = least_squares(train + 1e4, responses + 1e4, test + 1e4).predictions
    np.testing.assert_allclose(shifted - 1e4, base, atol=1e-7)
    padded = [np.column_stack([values, np.full(len(values), 0.1)]) for values in (train, test)]
    np.testing.assert_allclose(
        least_squares(padded[0], responses, padded[1]).predictions, base, atol=1e-9
    )
    small = RNG.integers(0, 200, (10, 3)).astype(np.uint8)
    np.testing.assert_allclose(
        least_squares(small, small[:, :1] * 2.0, small).predictions, small[:, :1] * 2.0, atol=1e-9
    )
    single = least_squares(train.astype(np.float32), responses.astype(np.float32), test)
    np.testing.assert_allclose(single.predictions, base, atol=1e-4)


def test_features_that_are_constant_predict_the_mean():
    fit = least_squares(np.full((6, 4), 0.1), RNG.normal(size=(6, 2)), np.full((2, 4), 0.1))
    assert fit.rank == 0
    assert (fit.predictions == fit.predictions[0]).all()


FOLDS = np.array_split(np.arange(30), 5)


@pytest.mark.parametrize(("n", "p"), [(30, 10), (30, 80)])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
def test_sparse_regression_equals_scikit_learn(n, p, l1_ratio):
    train, responses, test = problem(n, p, 3, seed=2)
    fit = sparse_regression(train, responses, test, FOLDS, l1_ratio=l1_ratio, tol=1e-12)
    cv = [(np.setdiff1d(np.arange(n), fold), fold) for fold in FOLDS]
    for target in range(3):
        y = responses[:, target]
        centred = train - train.mean(axis=0)
        largest = np.abs(centred.T @ (y - y.mean())).max() / (n * l1_ratio)
        common = {"alphas": largest * np.array(PENALTY_SHARES), "cv": cv, "tol": 1e-12}
        common["max_iter"] = 100_000
        model = (
            LassoCV(**common) if l1_ratio == 1 else ElasticNetCV(l1_ratio=l1_ratio, **common)
        ).fit(train, y)
        assert fit.alphas[target] == pytest.approx(model.alpha_, rel=1e-10)
        np.testing.assert_allclose(fit.predictions[:, target], model.predict(test), atol=1e-6)
        assert fit.n_features[target] == pytest.approx(np.count_nonzero(model.coef_), abs=1)
        row = int(np.flatnonzero(np.isclose(model.alphas_, model.alpha_))[0])
        error = ((fit.cv_predictions[:, target] - y) ** 2).mean()
        assert error == pytest.approx(model.mse_path_[row].mean(), rel=1e-6)
    default = sparse_regression(train, responses, test, FOLDS, l1_ratio=l1_ratio)
    assert default.n_unconverged == 0
    np.testing.assert_allclose(default.predictions, fit.predictions, atol=1e-3)


def test_a_held_out_fold_does_not_see_itself():
    rng = np.random.default_rng(0)
    features, noise = rng.normal(size=(30, 40)), rng.normal(size=(30, 12))
    guess = sparse_regression(features, noise, features[:2], FOLDS).cv_predictions
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(guess.T, noise.T, strict=True)]
    assert np.mean(r) < 0.2


def test_constant_targets_have_no_penalty():
    train, responses, test = problem(30, 10, 2)
    responses[:, 0] = 0.1
    fit = sparse_regression(train, responses, test, FOLDS)
    assert np.isnan(fit.alphas[0])
    assert fit.index[0] == -1
    np.testing.assert_array_equal(fit.predictions[:, 0], np.full(9, 0.1))
    assert np.isfinite(fit.alphas[1])


def test_fits_that_do_not_converge_are_counted_and_not_warned_of():
    train, responses, test = problem(30, 80, 2)
    assert sparse_regression(train, responses, test, FOLDS, max_iter=1).n_unconverged == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shares": (0.5, 0.1)}, "expected increasing shares between 0 and 1"),
        ({"shares": (0.0, 0.1)}, "expected increasing shares between 0 and 1"),
        ({"shares": (0.5, 1.5)}, "expected increasing shares between 0 and 1"),
        ({"l1_ratio": 0.0}, "expected l1_ratio above 0, up to 1, got 0.0"),
        ({"folds": FOLDS[:4]}, "folds that hold each row out exactly once"),
    ],
)
def test_bad_settings(change, message):
    train, responses, test = problem(30, 10, 2)
    folds = change.pop("folds", FOLDS)
    with pytest.raises(ValueError, match=message):
        sparse_regression(train, responses, test, folds, **change)


def test_bad_arrays():
    with pytest.raises(ValueError, match=r"got \(5, 2\), \(4, 1\) and \(3, 2\)"):
        least_squares(np.ones((5, 2)), np.ones((4, 1)), np.ones((3, 2)))
    with pytest.raises(ValueError, match="expected 2 training stimuli or more, got 1"):
        least_squares(np.ones((1, 2)), np.ones((1, 1)), np.ones((3, 2)))
    bad = np.ones((3, 2))
    bad[0, 0] = np.inf
    with pytest.raises(ValueError, match="1 of 6 values of test are not finite"):
        least_squares(np.ones((5, 2)), np.ones((5, 1)), bad)


def test_inputs_are_not_changed():
    arrays = problem(30, 8, 2)
    before = [values.copy() for values in arrays]
    least_squares(*arrays)
    sparse_regression(*arrays, FOLDS)
    for old, new in zip(before, arrays, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("offset", [1e4, 1e6])
def test_the_rounding_of_an_offset_is_no_dimension(offset):
    """Features of rank 8: what 1e4 leaves of rounding was interpolated by, with errors past 10."""
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(60, 8))
    features = latent @ rng.normal(size=(8, 200))
    responses = latent[:40, :3] + 0.5 * rng.normal(size=(40, 3))
    plain = least_squares(features[:40], responses, features[40:])
    moved = least_squares(features[:40] + offset, responses, features[40:] + offset)
    assert plain.rank == moved.rank == 8
    np.testing.assert_allclose(moved.predictions, plain.predictions, atol=1e-16 * offset * 1e3)
    np.testing.assert_allclose(moved.loo_predictions, plain.loo_predictions, atol=1e-13 * offset)
