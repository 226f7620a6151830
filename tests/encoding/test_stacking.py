"""Stacked predictions against scipy's general optimiser and a search over the simplex."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_predict

from isomorph.encoding import stack_predictions

RNG = np.random.default_rng(0)


def problem(n_models=4, n=40, t=5, seed=0):
    rng = np.random.default_rng(seed)
    responses = rng.normal(size=(n, t)) + 3
    shares = rng.uniform(0, 1, n_models)
    predictions = {
        f"layer{i}": share * responses + rng.normal(size=(n, t)) * 0.7
        for i, share in enumerate(shares)
    }
    return predictions, responses


def loss(weights, predictions, responses, target):
    mixed = sum(
        w * values[:, target] for w, values in zip(weights, predictions.values(), strict=True)
    )
    return ((mixed - responses[:, target]) ** 2).mean()


@pytest.mark.parametrize("n_models", [2, 4, 9])
def test_weights_minimise_the_squared_error_over_the_simplex(n_models):
    predictions, responses = problem(n_models)
    found = stack_predictions(predictions, responses)
    np.testing.assert_allclose(found.weights.sum(axis=0), 1, atol=1e-12)
    assert (found.weights >= 0).all()
    for target in range(5):
        best = minimize(
            loss,
            np.full(n_models, 1 / n_models),
            args=(predictions, responses, target),
            method="SLSQP",
            bounds=[(0, 1)] * n_models,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
            options={"ftol": 1e-14, "maxiter": 1000},
        )
        ours = loss(found.weights[:, target], predictions, responses, target)
        assert ours <= best.fun + 1e-9
        assert ours == pytest.approx(found.loss[target], rel=1e-9)
        np.testing.assert_allclose(found.weights[:, target], best.x, atol=1e-4)


def test_two_models_have_a_closed_form():
    predictions, responses = problem(2)
    a, b = (predictions[name] - responses for name in predictions)
    weight = np.clip(-((a - b) * b).sum(axis=0) / ((a - b) ** 2).sum(axis=0), 0, 1)
    np.testing.assert_allclose(
        stack_predictions(predictions, responses).weights[0], weight, atol=1e-9
    )


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), n_models=st.integers(1, 6))
def test_a_stack_is_never_worse_than_its_best_model_where_it_was_fitted(seed, n_models):
    predictions, responses = problem(n_models, seed=seed)
    found = stack_predictions(predictions, responses)
    alone = np.stack([((p - responses) ** 2).mean(axis=0) for p in predictions.values()])
    assert (found.loss <= alone.min(axis=0) * (1 + 1e-9)).all()
    # The optimality conditions of the convex problem: no model in use is worse than another.
    errors = np.stack([p - responses for p in predictions.values()])
    products = np.einsum("int,jnt->tij", errors, errors)
    slope = np.einsum("tij,jt->it", products, found.weights)
    size = np.abs(products).max()
    assert (slope >= slope.min(axis=0) - 1e-12).all()
    in_use = found.weights > 1e-9
    spread = np.where(in_use, slope - slope.min(axis=0), 0)
    assert spread.max() <= 1e-8 * size


def test_the_mixture_is_the_weighted_sum():
    predictions, responses = problem(3)
    stack = stack_predictions(predictions, responses)
    new = {name: RNG.normal(size=(7, 5)) for name in predictions}
    expected = np.zeros((7, 5))
    for target in range(5):
        for i, name in enumerate(predictions):
            expected[:, target] += stack.weights[i, target] * new[name][:, target]
    np.testing.assert_allclose(stack.predict(new), expected, atol=1e-12)
    with pytest.raises(ValueError, match=r"none of \['layer2'\]"):
        stack.predict({name: new[name] for name in ("layer0", "layer1")})


def test_held_out_predictions_keep_the_model_that_overfits_out():
    """On predictions of what the models were fitted on, the one that interpolates takes all."""
    rng = np.random.default_rng(1)
    good = rng.normal(size=(40, 2))
    noise = rng.normal(size=(40, 300))
    responses = good @ rng.normal(size=(2, 6)) + 0.5 * rng.normal(size=(40, 6))
    model = Ridge(1e-6)
    held_out = {
        name: cross_val_predict(model, x, responses)
        for name, x in (("good", good), ("noise", noise))
    }
    fitted = {
        name: model.fit(x, responses).predict(x) for name, x in (("good", good), ("noise", noise))
    }
    assert stack_predictions(held_out, responses).weights[0].min() > 0.6
    assert stack_predictions(fitted, responses).weights[0].max() < 0.01


def test_equal_perfect_and_missing_predictions():
    predictions, responses = problem(1)
    same = predictions["layer0"]
    twins = stack_predictions({"a": same, "b": same.copy()}, responses)
    np.testing.assert_allclose(twins.weights.sum(axis=0), 1)
    np.testing.assert_allclose(twins.predict({"a": same, "b": same}), same, atol=1e-12)
    perfect = stack_predictions({"a": responses, "b": responses}, responses)
    np.testing.assert_allclose(perfect.weights, 0.5)
    broken = same.copy()
    broken[0, 1] = np.nan
    found = stack_predictions({"a": broken, "b": same}, responses)
    assert np.isnan(found.weights[:, 1]).all()
    assert np.isfinite(np.delete(found.weights, 1, axis=1)).all()


def test_float32_predictions_and_large_offsets():
    predictions, responses = problem(3)
    exact = stack_predictions(predictions, responses).weights
    single = {name: values.astype(np.float32) for name, values in predictions.items()}
    np.testing.assert_allclose(stack_predictions(single, responses).weights, exact, atol=1e-5)
    shifted = {name: values + 1e4 for name, values in predictions.items()}
    np.testing.assert_allclose(
        stack_predictions(shifted, responses + 1e4).weights, exact, atol=1e-6
    )


def test_real_neurons(data_folder):
    rates = np.load(data_folder / "macaque_v4" / "responses_210325.npy").T.astype(float)[:200]
    spaces = {"first": rates[:, :10], "second": rates[:, 10:20], "noise": RNG.normal(size=(200, 9))}
    goal = rates[:, 20:]
    predictions = {name: cross_val_predict(Ridge(10.0), x, goal) for name, x in spaces.items()}
    found = stack_predictions(predictions, goal)
    alone = np.stack([((p - goal) ** 2).mean(axis=0) for p in predictions.values()])
    assert (found.loss <= alone.min(axis=0) * (1 + 1e-9)).all()
    assert found.weights[:2].sum(axis=0).mean() > found.weights[2].mean()


def test_bad_input():
    with pytest.raises(ValueError, match="one model or more, got none"):
        stack_predictions({}, np.ones((3, 1)))
    with pytest.raises(ValueError, match=r"got \(4, 1\) of 'a' and \(3, 1\)"):
        stack_predictions({"a": np.ones((4, 1))}, np.ones((3, 1)))
