"""Linear predictivity against scikit-learn's ridge, fold by fold."""

from __future__ import annotations

import itertools
import logging

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import KFold

from isomorph.alignment.measure import compare_representations
from isomorph.resampling import kfold

RNG = np.random.default_rng(0)
N = 40
FIRST = RNG.normal(size=(N, 12)) * np.logspace(0.3, -0.3, 12)
SECOND = FIRST[:, :6] @ RNG.normal(size=(6, 9)) + RNG.normal(size=(N, 9))
WIDE = RNG.normal(size=(N, 120)) + FIRST @ RNG.normal(size=(12, 120))
GRID = np.logspace(-1, 5, 7) / 5920


def loo_error(x: np.ndarray, y: np.ndarray, alpha: float) -> float:
    """Each stimulus predicted by a ridge that was fitted, intercept too, without it."""
    total = 0.0
    for i in range(len(x)):
        rest = np.arange(len(x)) != i
        model = Ridge(alpha=alpha, solver="svd").fit(x[rest], y[rest])
        total += np.sum((model.predict(x[i : i + 1]) - y[i]) ** 2)
    return total


def loo_errors(x: np.ndarray, y: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """The same for each penalty, by scikit-learn's own leave-one-out."""
    fit = RidgeCV(grid, fit_intercept=True, store_cv_results=True).fit(x, y)
    return fit.cv_results_.sum(axis=(0, 1))


def test_the_oracles_agree():
    grid = GRID * 10
    expected = [loo_error(FIRST[:14], SECOND[:14], alpha) for alpha in grid]
    np.testing.assert_allclose(loo_errors(FIRST[:14], SECOND[:14], grid), expected, rtol=1e-6)


def forward_oracle(x: np.ndarray, y: np.ndarray, splits) -> float:
    errors = baseline = 0.0
    for train, test in splits:
        x_train = x[train]
        grid = GRID * np.mean(((x_train - x_train.mean(0)) ** 2).sum(1))
        alpha = grid[np.argmin(loo_errors(x[train], y[train], grid))]
        model = Ridge(alpha=alpha, solver="svd").fit(x[train], y[train])
        errors += np.sum((model.predict(x[test]) - y[test]) ** 2)
        baseline += np.sum((y[test] - y[train].mean(0)) ** 2)
    return 1 - errors / baseline


@pytest.mark.parametrize(("x", "y"), [(FIRST, SECOND), (WIDE, SECOND), (FIRST, WIDE)])
def test_predictivity_equals_scikit_learn(x, y):
    splits = list(KFold(5).split(x))
    forward, backward = forward_oracle(x, y, splits), forward_oracle(y, x, splits)
    expected = {"forward": forward, "backward": backward, "both": (forward + backward) / 2}
    for direction, value in expected.items():
        found = compare_representations(x, y, "linear_predictivity", direction=direction)
        assert found == pytest.approx(value, abs=1e-8)


def test_predictivity_of_real_neurons(v4_halves):
    x, y = v4_halves
    expected = forward_oracle(x, y, list(KFold(3).split(x)))
    found = compare_representations(x, y, "linear_predictivity[folds=3]")
    assert found == pytest.approx(expected, abs=1e-8)
    assert found > 0.05


def test_predictivity_with_shuffled_folds():
    splits = [(split.train, split.test) for split in kfold(N, 4, seed=3)]
    found = compare_representations(FIRST, SECOND, "linear_predictivity[folds=4,seed=3]")
    assert found == pytest.approx(forward_oracle(FIRST, SECOND, splits), abs=1e-8)
    assert found != compare_representations(FIRST, SECOND, "linear_predictivity[folds=4,seed=4]")


def test_noise_predicts_nothing_and_contiguous_folds_do_not_leak():
    """Shuffled or strided folds give independent slow series a positive R² (cortexlab: .70)."""
    rng = np.random.default_rng(1)
    series = np.zeros((2, 200, 6))
    for t in range(1, 200):
        series[:, t] = 0.95 * series[:, t - 1] + rng.normal(size=(2, 6))
    assert compare_representations(*series, "linear_predictivity") < 0.1
    assert compare_representations(*series, "linear_predictivity[seed=0]") > 0.2
    noise = rng.normal(size=(60, 500)), rng.normal(size=(60, 40))
    assert -0.2 < compare_representations(*noise, "linear_predictivity") < 0.05


@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
def test_a_table_holds_the_single_values(direction):
    """Many targets go another way than one."""
    spike = np.zeros((N, 2))
    spike[0] = 1.0
    firsts, seconds = [FIRST, WIDE, spike, SECOND, FIRST[:, :2]], [SECOND, WIDE, np.ones((N, 3))]
    seconds += [FIRST, SECOND[:, :1]]
    text = f"linear_predictivity[direction={direction},folds=3,seed=1]"
    table = compare_representations(firsts, seconds, text)
    for (i, x), (j, y) in itertools.product(enumerate(firsts), enumerate(seconds)):
        np.testing.assert_allclose(table[i, j], compare_representations(x, y, text), atol=1e-9)


def test_predictivity_does_not_depend_on_the_axes_of_either_side():
    turned = (
        FIRST @ ortho_group.rvs(12, random_state=0),
        SECOND @ ortho_group.rvs(9, random_state=0),
    )
    for direction in ("forward", "backward"):
        text = f"linear_predictivity[direction={direction}]"
        expected = compare_representations(FIRST, SECOND, text)
        assert compare_representations(*turned, text) == pytest.approx(expected, abs=1e-10)
        moved = compare_representations(turned[0] + 1e4, turned[1] - 1e4, text)
        assert moved == pytest.approx(expected, abs=1e-7)


def test_undefined_predictivity_has_a_reason(caplog):
    with caplog.at_level(logging.WARNING):
        assert np.isnan(compare_representations(FIRST[:8], SECOND[:8], "linear_predictivity"))
    assert "8 stimuli; 5 folds need 10" in caplog.text
    caplog.clear()
    assert np.isnan(compare_representations(FIRST, np.ones((N, 2)), "linear_predictivity"))
    assert "do not vary" in caplog.text
    with pytest.raises(ValueError, match="2 folds or more"):
        compare_representations(FIRST, SECOND, "linear_predictivity[folds=1]")


def test_a_training_part_that_does_not_vary_predicts_its_mean():
    spike, y = np.zeros((20, 2)), SECOND[:20]
    spike[0] = 1.0  # in the first fold's test part alone; in the second's training part
    found = compare_representations(spike, y, "linear_predictivity[folds=2]")
    grid = GRID * np.mean(((spike[:10] - spike[:10].mean(0)) ** 2).sum(1))
    best = grid[np.argmin(loo_errors(spike[:10], y[:10], grid))]
    second = Ridge(alpha=best).fit(spike[:10], y[:10]).predict(spike[10:])
    errors = np.sum((y[:10] - y[10:].mean(0)) ** 2) + np.sum((y[10:] - second) ** 2)
    baseline = np.sum((y[:10] - y[10:].mean(0)) ** 2) + np.sum((y[10:] - y[:10].mean(0)) ** 2)
    assert found == pytest.approx(1 - errors / baseline, abs=1e-8)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_gives_the_same_number():
    sides = [torch.from_numpy(side).cuda() for side in (WIDE, SECOND)]
    expected = compare_representations(WIDE, SECOND, "linear_predictivity")
    found = compare_representations(*sides, "linear_predictivity")
    assert found == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("factor", [1e-30, 1e-12, 1e12])
def test_the_scale_of_the_features_does_not_matter_however_small(factor):
    rng = np.random.default_rng(0)
    first = rng.normal(size=(30, 12))
    second = first[:, :5] + rng.normal(size=(30, 5))
    for options in ({}, {"direction": "both"}):
        expected = compare_representations(first, second, "linear_predictivity", **options)
        found = compare_representations(first * factor, second, "linear_predictivity", **options)
        assert found == pytest.approx(expected, abs=1e-9)
