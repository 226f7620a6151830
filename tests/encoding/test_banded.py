"""Banded ridge against himalaya with given candidates, and against weighted features."""

# The peers' annotations are not to be relied on.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from himalaya.kernel_ridge import MultipleKernelRidgeCV
from himalaya.ridge import GroupRidgeCV
from himalaya.scoring import correlation_score_split, r2_score_split
from sklearn.linear_model import RidgeCV

from isomorph.encoding import (
    banded_ridge,
    dirichlet_candidates,
    product_measure,
    relative_alphas,
    ridge_loo,
)

ALPHAS = np.logspace(-1, 3, 5)
RNG = np.random.default_rng(0)
BANDS = [RNG.standard_normal((60, k)) for k in (30, 80, 20)]
SIGNAL = sum(band[:, :5] @ RNG.standard_normal((5, 7)) for band in BANDS)
RESPONSES = SIGNAL + RNG.standard_normal((60, 7)) * np.logspace(-1, 1.5, 7) + 3
GAMMAS = RNG.dirichlet([1, 1, 1], 8)
TRAIN, TEST = slice(0, 45), slice(45, 60)
KERNELS = np.stack([band @ band.T for band in BANDS])
FOLDS = np.array_split(np.arange(45), 5)


def fitted(folds=FOLDS, gammas=GAMMAS, **more):
    return banded_ridge(
        list(KERNELS[:, TRAIN, TRAIN]),
        RESPONSES[TRAIN],
        ALPHAS,
        gammas=gammas,
        folds=folds,
        kernels_test=list(KERNELS[:, TEST, TRAIN]),
        **more,
    )


def test_equals_himalaya_in_the_dual_form() -> None:
    peer = MultipleKernelRidgeCV(
        kernels="precomputed",
        cv=5,
        fit_intercept=True,
        solver_params={"n_iter": GAMMAS, "alphas": ALPHAS, "progress_bar": False},
    ).fit(KERNELS[:, TRAIN, TRAIN], RESPONSES[TRAIN])
    fit = fitted()
    np.testing.assert_allclose(fit.deltas, peer.deltas_, atol=1e-8)
    # Candidates that never were near the best are scored in float32.
    np.testing.assert_allclose(fit.scores, peer.cv_scores_, rtol=1e-6)
    np.testing.assert_allclose(fit.cv_score, peer.cv_scores_.max(axis=0), rtol=1e-8)
    expected = peer.predict(KERNELS[:, TEST, TRAIN])
    np.testing.assert_allclose(fit.predictions, expected, rtol=1e-8, atol=1e-8)
    split = np.exp(peer.deltas_)[:, None] * (KERNELS[:, TEST, TRAIN] @ peer.dual_coef_)
    # (Its kernels are not centred by the training stimuli: parts differ by constants.)
    np.testing.assert_allclose(
        fit.band_predictions - fit.band_predictions.mean(axis=1, keepdims=True),
        split - split.mean(axis=1, keepdims=True),
        atol=1e-8,
    )


def test_equals_himalaya_in_the_primal_form() -> None:
    x, y = np.hstack(BANDS), RESPONSES - RESPONSES[TRAIN].mean(axis=0)
    groups = np.repeat([0, 1, 2], [30, 80, 20])
    peer = GroupRidgeCV(
        groups=groups,
        cv=5,
        fit_intercept=True,
        solver_params={"n_iter": GAMMAS, "alphas": ALPHAS, "progress_bar": False, "warn": False},
    ).fit(x[TRAIN], y[TRAIN])
    fit = fitted()
    np.testing.assert_allclose(fit.deltas, peer.deltas_, atol=1e-8)
    np.testing.assert_allclose(fit.cv_score, peer.cv_scores_.max(axis=0), rtol=1e-8)


def test_penalty_of_a_band_is_alpha_over_its_gamma() -> None:
    """Leave-one-out: scikit-learn's RidgeCV on features weighted by the roots of the gammas."""
    fit = fitted(folds=None)
    table = []
    for shares in GAMMAS:
        x = np.hstack([np.sqrt(g) * band for g, band in zip(shares, BANDS, strict=True)])
        model = RidgeCV(ALPHAS, alpha_per_target=True).fit(x[TRAIN], RESPONSES[TRAIN])
        table.append(model.best_score_)
    np.testing.assert_allclose(fit.scores, table, rtol=1e-6)
    np.testing.assert_allclose(fit.cv_score, np.max(table, axis=0), rtol=1e-8)
    np.testing.assert_array_equal(fit.candidate, np.argmax(table, axis=0))
    for column, number in enumerate(fit.candidate):
        shares = GAMMAS[number]
        x = np.hstack([np.sqrt(g) * band for g, band in zip(shares, BANDS, strict=True)])
        model = RidgeCV([fit.alphas[column]]).fit(x[TRAIN], RESPONSES[TRAIN, column])
        expected = model.predict(x[TEST])
        np.testing.assert_allclose(fit.predictions[:, column], expected, rtol=1e-8)
        # Weights of each band: its share of the dual coefficients.
        start = 0
        for band, share in zip(BANDS, shares, strict=True):
            centred = band[TRAIN] - band[TRAIN].mean(axis=0)
            weights = share * centred.T @ fit.coefficients[:, column]
            width = band.shape[1]
            np.testing.assert_allclose(
                weights, np.sqrt(share) * model.coef_[start : start + width], atol=1e-9
            )
            start += width


def test_bands_sum_to_the_prediction_and_split_what_it_explains() -> None:
    fit = fitted()
    np.testing.assert_allclose(fit.band_predictions.sum(axis=0) + fit.intercept, fit.predictions)
    y = RESPONSES[TEST] - RESPONSES[TEST].mean(axis=0)
    parts = fit.band_predictions - fit.band_predictions.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(
        product_measure(parts, y), r2_score_split(y, parts), rtol=1e-8, atol=1e-10
    )
    # The split of the correlation: each band's covariance over the lengths of both wholes.
    total = parts.sum(axis=0)
    mine = (parts * y).sum(axis=1) / np.sqrt((total**2).sum(axis=0) * (y**2).sum(axis=0))
    np.testing.assert_allclose(mine, correlation_score_split(y, parts), atol=1e-10)


def test_real_neurons_from_two_groups_of_neurons(data_folder: Path) -> None:
    responses = np.load(data_folder / "macaque_v4" / "responses_210325.npy").T[:100].astype(float)
    bands, y = (responses[:, :15], responses[:, 15:40]), responses[:, 40:46]
    kernels = np.stack([band @ band.T for band in bands])
    gammas = np.array([[1, 0.0], [0, 1], [0.5, 0.5], [0.9, 0.1]])
    alphas = relative_alphas(kernels.sum(axis=0))
    fit = banded_ridge(list(kernels), y, alphas, gammas=gammas)
    for number, shares in enumerate(gammas):
        x = np.hstack([np.sqrt(g) * band for g, band in zip(shares, bands, strict=True)])
        model = RidgeCV(alphas, alpha_per_target=True).fit(x, y)
        np.testing.assert_allclose(fit.scores[number], model.best_score_, rtol=1e-6)


def test_one_band_is_ridge() -> None:
    kernel = KERNELS[0][TRAIN, TRAIN]
    fit = banded_ridge([kernel], RESPONSES[TRAIN], ALPHAS, gammas=1)
    plain = ridge_loo(kernel, RESPONSES[TRAIN], ALPHAS, coefficients=True)
    np.testing.assert_array_equal(fit.alphas, plain.alphas)
    np.testing.assert_allclose(fit.coefficients, plain.coefficients)
    np.testing.assert_allclose(fit.cv_predictions, plain.cv_predictions)
    assert fit.edge_share == plain.edge_share


def test_pure_bands_are_found() -> None:
    fit = fitted(folds=None, gammas=np.eye(3))
    pure = BANDS[1][:, :5] @ np.ones((5, 1))
    only = banded_ridge(list(KERNELS), pure, ALPHAS, gammas=np.eye(3))
    assert only.gammas[:, 0].tolist() == [0, 1, 0]
    assert np.isneginf(only.deltas[0, 0])
    assert fit.candidates.shape == (3, 3)


def test_candidates_are_seeded_and_sum_to_one() -> None:
    one, other = dirichlet_candidates(4, 12, seed=3), dirichlet_candidates(4, 12, seed=3)
    np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(one.sum(axis=1), 1)
    np.testing.assert_allclose(one[0], 0.25)
    assert not np.array_equal(one, dirichlet_candidates(4, 12, seed=4))
    first, second = (fitted(gammas=6, seed=1).candidate for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_constant_targets_and_silent_bands() -> None:
    y = np.hstack([RESPONSES[TRAIN, :2], np.ones((45, 1))])
    kernels = [np.zeros((45, 45)), KERNELS[1][TRAIN, TRAIN]]
    fit = banded_ridge(kernels, y, ALPHAS, gammas=[[1, 0], [0.5, 0.5]])
    assert fit.candidate.tolist() == [1, 1, -1]
    assert np.isnan(fit.gammas[:, 2]).all()
    assert np.isnan(fit.scores[0]).all()
    assert (fit.cv_predictions[:, 2] == 1).all()


def test_inputs_are_left_alone_and_tensors_do() -> None:
    kernels, y = KERNELS[:, TRAIN, TRAIN].copy(), RESPONSES[TRAIN].copy()
    one = banded_ridge(list(torch.from_numpy(kernels)), torch.from_numpy(y), ALPHAS, gammas=GAMMAS)
    np.testing.assert_array_equal(kernels, KERNELS[:, TRAIN, TRAIN])
    np.testing.assert_array_equal(y, RESPONSES[TRAIN])
    two = banded_ridge(list(kernels), y, ALPHAS, gammas=GAMMAS)
    np.testing.assert_array_equal(one.coefficients, two.coefficients)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gammas": [[1.0]]}, r"gammas of shape \(n_candidates, 2\)"),
        ({"gammas": [[1.0, -1]]}, "finite and not negative"),
        ({"gammas": 0}, "1 band and 1 candidate or more"),
        ({"alphas": [0.0]}, "alphas that are positive"),
        ({"kernels_train": [np.eye(6), np.eye(5)]}, "kernels of one shape"),
        ({"kernels_test": [np.ones((2, 6))]}, "2 test kernels"),
        ({"kernels_test": [np.ones((2, 6)), np.ones((3, 6))]}, r"\[2, 3\] test stimuli"),
        ({"responses": np.ones((5, 2))}, r"responses of shape \(6, n_targets\)"),
        ({"folds": [[0, 1, 2, 3, 4, 5]]}, "at least 2 lists"),
    ],
)
def test_errors(change: dict, message: str) -> None:
    arguments = {
        "kernels_train": [np.eye(6)] * 2,
        "responses": np.eye(6)[:, :2],
        "alphas": [1.0],
        "gammas": 2,
    }
    with pytest.raises(ValueError, match=message):
        banded_ridge(**(arguments | change))


def test_decompositions_that_are_not_kept_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = fitted(folds=None)
    monkeypatch.setattr("isomorph.encoding.banded._KEPT_BYTES", 0)
    again = fitted(folds=None)
    np.testing.assert_array_equal(again.candidate, kept.candidate)
    np.testing.assert_allclose(again.predictions, kept.predictions, rtol=1e-12)
    np.testing.assert_allclose(again.coefficients, kept.coefficients, rtol=1e-12)
