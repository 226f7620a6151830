"""PLS against scikit-learn on the raw features, and against the definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cross_decomposition import PLSRegression

from isomorph.encoding import BRAIN_SCORE_COMPONENTS, isometric_coordinates, pls_regression

RNG = np.random.default_rng(0)


def sklearn_pls(train, responses, test, components, tol=1e-28):
    model = PLSRegression(components, scale=False, tol=tol, max_iter=100_000)
    return model.fit(train, responses).predict(test).reshape(len(test), -1)


def problem(n=30, p=80, t=6, m=10, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.gamma(1.0, size=(n + m, p)) * np.logspace(-1, 1, p)
    responses = features @ rng.normal(size=(p, t)) / p + rng.normal(size=(n + m, t)) * 0.3
    return features[:n], responses[:n], features[n:]


@pytest.mark.parametrize(
    ("n", "p", "t"), [(30, 80, 6), (60, 7, 3), (25, 400, 40), (30, 80, 1), (120, 90, 70)]
)
@pytest.mark.parametrize("components", [1, 5])
def test_equals_scikit_learn_on_raw_features(n, p, t, components):
    train, responses, test = problem(n, p, t)
    both = isometric_coordinates(np.concatenate([train, test]))
    fit = pls_regression(both[:n], responses, components)
    expected = sklearn_pls(train, responses, test, components)
    assert fit.n_components == components
    np.testing.assert_allclose(fit.predict(both[n:]), expected, rtol=1e-9, atol=1e-9)
    raw = pls_regression(train, responses, components)
    np.testing.assert_allclose(raw.predict(test), expected, rtol=1e-8, atol=1e-8)


def test_brain_scores_25_components_equal_scikit_learns_default_to_its_tolerance():
    """scikit-learn stops iterating at 1e-6; ours are the vectors that it iterates towards."""
    train, responses, test = problem(80, 500, 20)
    both = isometric_coordinates(np.concatenate([train, test]))
    found = pls_regression(both[:80], responses).predict(both[80:])
    exact = sklearn_pls(train, responses, test, BRAIN_SCORE_COMPONENTS)
    np.testing.assert_allclose(found, exact, atol=1e-7)
    published = sklearn_pls(train, responses, test, BRAIN_SCORE_COMPONENTS, tol=1e-6)
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(found.T, published.T, strict=True)]
    assert min(r) > 0.999
    assert BRAIN_SCORE_COMPONENTS == 25


def nipals(train, responses, test, components):
    """The definition in plain loops: singular vectors by a full decomposition, deflate both."""
    mean_x, mean_y = train.mean(0), responses.mean(0)
    x, y, z = train - mean_x, responses - mean_y, test - mean_x
    prediction = np.repeat(mean_y[None], len(test), axis=0)
    for _ in range(components):
        weight = np.linalg.svd(x.T @ y)[0][:, 0]
        score, new = x @ weight, z @ weight
        loading, of_y = x.T @ score / (score @ score), y.T @ score / (score @ score)
        x, y, z = (
            x - np.outer(score, loading),
            y - np.outer(score, of_y),
            z - np.outer(new, loading),
        )
        prediction = prediction + np.outer(new, of_y)
    return prediction


def test_equals_the_definition():
    train, responses, test = problem(20, 12, 4)
    for components in (1, 3, 12):
        found = pls_regression(train, responses, components).predict(test)
        np.testing.assert_allclose(found, nipals(train, responses, test, components), atol=1e-8)


def test_with_all_components_it_is_least_squares():
    train, responses, test = problem(30, 5, 3)
    design = np.column_stack([np.ones(30), train])
    weights = np.linalg.lstsq(design, responses, rcond=None)[0]
    expected = np.column_stack([np.ones(10), test]) @ weights
    np.testing.assert_allclose(
        pls_regression(train, responses, 5).predict(test), expected, atol=1e-8
    )


def test_real_neurons_predict_one_another(data_folder):
    rates = np.load(data_folder / "macaque_v4" / "responses_210325.npy").T.astype(float)
    train, test = rates[0:200:2], rates[1:200:2]
    found = pls_regression(train[:, :30], train[:, 30:], 10).predict(test[:, :30])
    expected = sklearn_pls(train[:, :30], train[:, 30:], test[:, :30], 10)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), shift=st.floats(-100, 100), scale=st.floats(0.01, 100))
def test_rotation_translation_and_scale_leave_the_predictions(seed, shift, scale):
    train, responses, test = problem(15, 8, 3, 4, seed)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(8, 8)))[0]
    before = pls_regression(train, responses, 4).predict(test)
    after = pls_regression(scale * train @ turn + shift, responses, 4).predict(
        scale * test @ turn + shift
    )
    np.testing.assert_allclose(after, before, rtol=1e-6, atol=1e-6)


def test_a_large_offset_does_not_cancel():
    train, responses, test = problem(30, 60, 4)
    before = pls_regression(train, responses, 5).predict(test)
    after = pls_regression(train + 1e4, responses + 1e4, 5).predict(test + 1e4) - 1e4
    np.testing.assert_allclose(after, before, atol=1e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8])
def test_types_are_widened_first(dtype):
    train = RNG.integers(0, 200, size=(20, 6)).astype(dtype)
    responses = train[:, :2].astype(float) @ [[1.0], [2.0]]
    found = pls_regression(train, responses, 3).predict(train)
    np.testing.assert_allclose(
        found, pls_regression(train.astype(float), responses, 3).predict(train), atol=1e-12
    )


def test_two_stimuli_one_feature_and_nothing_to_learn():
    fit = pls_regression([[0.0], [2.0]], [[1.0], [3.0]], 1)
    np.testing.assert_allclose(fit.predict([[1.0]]), [[2.0]])
    constant = pls_regression(RNG.normal(size=(6, 3)), np.full((6, 2), 0.1), 2)
    assert constant.n_components == 0
    np.testing.assert_array_equal(constant.predict(np.ones((2, 3))), np.full((2, 2), 0.1))


def test_components_that_do_not_exist_are_not_made_of_rounding():
    low = RNG.normal(size=(30, 2)) @ RNG.normal(size=(2, 10))
    fit = pls_regression(low, low[:, :3] + 0.0, 8)
    assert fit.n_components == 2


@pytest.mark.parametrize("components", [0, 20, 25])
def test_more_components_than_the_stimuli_have(components):
    train, responses, _ = problem(20, 60, 2)
    with pytest.raises(ValueError, match=rf"expected 1 to 19 components.*got {components}"):
        pls_regression(train, responses, components)


def test_bad_input():
    with pytest.raises(ValueError, match=r"got \(5, 2\), \(4, 1\)"):
        pls_regression(np.ones((5, 2)), np.ones((4, 1)), 1)
    with pytest.raises(ValueError, match="1 of 5 values of responses are not finite"):
        pls_regression(RNG.normal(size=(5, 2)), np.array([[np.nan], [1], [2], [3], [4]]), 1)


@pytest.mark.parametrize("offset", [1e4, 1e6])
def test_the_rounding_of_an_offset_is_no_component(offset):
    """Of rank 8 and asked for 25: the rest is rounding, and predicts nothing."""
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(60, 8))
    features = latent @ rng.normal(size=(8, 200))
    responses = latent[:40, :3] + 0.5 * rng.normal(size=(40, 3))
    plain = pls_regression(features[:40], responses, 25)
    moved = pls_regression(features[:40] + offset, responses, 25)
    assert plain.n_components == moved.n_components == 8
    np.testing.assert_allclose(
        moved.predict(features + offset), plain.predict(features), atol=1e-14 * offset + 1e-10
    )
