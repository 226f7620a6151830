"""Classifiers against scikit-learn on the raw features, and against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.neighbors import NearestCentroid

from isomorph.encoding import (
    CLASSIFIERS,
    accuracy,
    draw_shots,
    few_shot_accuracy,
    isometric_coordinates,
    logistic_classifier,
    prototype_classifier,
    ridge_classifier,
    stratified_folds,
)
from isomorph.registry import UnknownNameError

RNG = np.random.default_rng(0)
NAMES = np.array(["bird", "cat", "dog"])


def problem(n=60, p=20, m=30, seed=0, spread=1.0):
    rng = np.random.default_rng(seed)
    labels = NAMES[rng.integers(0, 3, n + m)]
    labels[:6] = np.repeat(NAMES, 2)
    means = rng.normal(size=(3, p))
    features = means[np.searchsorted(NAMES, labels)] * spread + rng.normal(size=(n + m, p)) * 2
    return features[:n], labels[:n], features[n:], labels[n:]


@pytest.mark.parametrize(("n", "p"), [(60, 20), (40, 300), (9, 1)])
def test_ridge_is_scikit_learns_on_raw_features(n, p):
    """The tutorials' line for probing embeddings: RidgeClassifierCV, its default penalties."""
    train, labels, test, true = problem(n, p)
    alphas = (0.1, 1.0, 10.0)
    expected = RidgeClassifierCV(alphas).fit(train, labels).predict(test)
    both = isometric_coordinates(np.concatenate([train, test]))
    found = ridge_classifier(both[:n], labels, both[n:], alphas=alphas)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(ridge_classifier(train, labels, test, alphas=alphas), expected)
    assert accuracy(found, true) == accuracy_score(true, expected)


def test_ridges_own_grid_is_relative_to_the_features():
    train, labels, test, _ = problem(40, 100)
    size = ((train - train.mean(0)) ** 2).sum(1).mean()
    grid = np.logspace(-1, 5, 7) / 5920 * size
    expected = RidgeClassifierCV(grid).fit(train, labels).predict(test)
    np.testing.assert_array_equal(ridge_classifier(train, labels, test), expected)


@pytest.mark.parametrize(("n", "p"), [(60, 20), (40, 300), (9, 1)])
@pytest.mark.parametrize("C", [0.1, 100.0])
def test_logistic_is_scikit_learns_on_raw_features(n, p, C):
    train, labels, test, _ = problem(n, p)
    size = np.sqrt(((train - train.mean(0)) ** 2).sum(1).mean())
    model = LogisticRegression(C=C, tol=1e-8, max_iter=20_000)
    expected = model.fit((train - train.mean(0)) / size, labels).predict(
        (test - train.mean(0)) / size
    )
    both = isometric_coordinates(np.concatenate([train, test]))
    found = logistic_classifier(both[:n], labels, both[n:], C=C)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("n", "p"), [(60, 20), (40, 300), (9, 1)])
def test_prototypes_are_scikit_learns_centroids(n, p):
    train, labels, test, _ = problem(n, p)
    expected = NearestCentroid().fit(train, labels).predict(test)
    both = isometric_coordinates(np.concatenate([train, test]))
    np.testing.assert_array_equal(prototype_classifier(both[:n], labels, both[n:]), expected)
    np.testing.assert_array_equal(prototype_classifier(train + 1e4, labels, test + 1e4), expected)


def test_on_real_embeddings(data_folder):
    items = np.load(data_folder / "things_vice" / "things_embedding.npy").astype(float)[:200]
    labels = np.where(items[:, 0] > np.median(items[:, 0]), "more", "less")
    train, test = slice(0, 200, 2), slice(1, 200, 2)
    features = items[:, 1:]
    alphas = (0.1, 1.0, 10.0)
    expected = RidgeClassifierCV(alphas).fit(features[train], labels[train]).predict(features[test])
    found = ridge_classifier(features[train], labels[train], features[test], alphas=alphas)
    np.testing.assert_array_equal(found, expected)
    assert accuracy(found, labels[test]) > 0.6


@pytest.mark.parametrize("name", CLASSIFIERS)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6))
def test_rotation_translation_and_scale_leave_the_classes(name, seed):
    train, labels, test, _ = problem(24, 6, 12, seed, spread=3)
    rng = np.random.default_rng(seed)
    turn, shift = np.linalg.qr(rng.normal(size=(6, 6)))[0], rng.normal(size=6) * 10
    before = CLASSIFIERS[name](train, labels, test)
    after = CLASSIFIERS[name](3 * train @ turn + shift, labels, 3 * test @ turn + shift)
    assert (before == after).mean() >= 11 / 12  # one stimulus may lie on a border


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8])
def test_small_types_and_inputs_that_stay(name, dtype):
    train = RNG.integers(0, 200, size=(12, 4)).astype(dtype)
    labels = np.repeat(NAMES, 4)
    before = train.copy()
    found = CLASSIFIERS[name](train, labels, train)
    np.testing.assert_array_equal(found, CLASSIFIERS[name](train.astype(float), labels, train))
    np.testing.assert_array_equal(train, before)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_two_stimuli_and_constant_columns(name):
    found = CLASSIFIERS[name]([[0.0, 0.1], [1.0, 0.1]], ["a", "b"], [[0.2, 0.1], [0.9, 0.1]])
    assert found.tolist() == ["a", "b"]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_bad_input(name):
    classify = CLASSIFIERS[name]
    with pytest.raises(ValueError, match=r"expected two classes or more, got \['a'\]"):
        classify([[0.0], [1.0]], ["a", "a"], [[0.5]])
    with pytest.raises(ValueError, match=r"got \(2, 1\), \(3,\) and \(1, 1\)"):
        classify([[0.0], [1.0]], ["a", "b", "b"], [[0.5]])
    with pytest.raises(ValueError, match="got 1 that are not"):
        classify([[0.0], [np.nan]], ["a", "b"], [[0.5]])
    with pytest.raises(ValueError, match="expected C above 0, got 0"):
        logistic_classifier([[0.0], [1.0]], ["a", "b"], [[0.5]], C=0)


def test_accuracies_are_scikit_learns():
    true = NAMES[RNG.choice(3, size=50, p=[0.7, 0.2, 0.1])]
    guess = NAMES[RNG.integers(0, 3, 50)]
    assert accuracy(guess, true) == accuracy_score(true, guess)
    assert accuracy(guess, true, "balanced") == pytest.approx(balanced_accuracy_score(true, guess))
    assert accuracy(guess, true, "above_chance") == pytest.approx(
        balanced_accuracy_score(true, guess, adjusted=True)
    )
    # Guessing the largest class looks good by plain accuracy alone.
    largest = np.full(50, "bird")
    assert accuracy(largest, true) > 0.5
    assert accuracy(largest, true, "balanced") == pytest.approx(1 / 3)
    assert accuracy(largest, true, "above_chance") == pytest.approx(0)
    assert np.isnan(accuracy([], []))
    assert np.isnan(accuracy(["a"], ["a"], "above_chance"))
    with pytest.raises(UnknownNameError, match="Did you mean 'balanced'"):
        accuracy(guess, true, "balance")
    with pytest.raises(ValueError, match=r"got \(1,\) and \(2,\)"):
        accuracy(["a"], ["a", "b"])


def test_folds_hold_every_row_out_once_and_share_the_classes():
    labels = np.repeat(["a", "b", "c"], [23, 11, 7])
    folds = stratified_folds(labels, 5)
    assert len(folds) == 5
    np.testing.assert_array_equal(np.sort(np.concatenate(folds)), np.arange(41))
    for fold in folds:
        counts = [int((labels[fold] == name).sum()) for name in "abc"]
        for count, total in zip(counts, (23, 11, 7), strict=True):
            assert abs(count - total / 5) < 1
    assert np.ptp([len(fold) for fold in folds]) <= 2
    # Neighbours within a class are held out together.
    first = folds[0][labels[folds[0]] == "a"]
    assert (np.diff(first) == 1).all()
    assert len(stratified_folds(["a"] * 3 + ["b"] * 9, 5)) == 3
    with pytest.raises(ValueError, match="two examples or more of each, got one of b"):
        stratified_folds(["a", "a", "b"])


def test_groups_stay_in_one_fold():
    groups = np.repeat(np.arange(20), 3)
    labels = np.repeat(["a", "b"], 30)
    folds = stratified_folds(labels, 5, groups)
    np.testing.assert_array_equal(np.sort(np.concatenate(folds)), np.arange(60))
    for fold in folds:
        assert not set(groups[fold]) & set(np.delete(groups, fold))
        assert set(labels[fold]) == {"a", "b"}
    with pytest.raises(ValueError, match="two groups of examples or more of each, got one of b"):
        stratified_folds(["a", "a", "b", "b"], 2, [0, 1, 2, 2])


def test_few_shots_are_drawn_by_class_and_by_seed():
    labels = np.repeat(["a", "b"], [10, 4])
    draws = draw_shots(labels, 3, 5, seed=1)
    for rows in draws:
        assert [int((labels[rows] == name).sum()) for name in "ab"] == [3, 3]
        assert len(set(rows.tolist())) == 6
    again = draw_shots(labels, 3, 5, seed=1)
    assert all((a == b).all() for a, b in zip(draws, again, strict=True))
    assert any((a != b).any() for a, b in zip(draws, draw_shots(labels, 3, 5, seed=2), strict=True))
    with pytest.raises(ValueError, match=r"expected 5 or more examples.*fewer of b \(4\)"):
        draw_shots(labels, 5, 2)
    with pytest.raises(ValueError, match="shots and draws of 1 or more"):
        draw_shots(labels, 0, 2)


def test_few_shot_accuracy_is_the_mean_of_a_plain_loop():
    train, labels, test, true = problem(60, 15)
    found = few_shot_accuracy(train, labels, test, true, shots=2, n_draws=7, seed=3)
    rng = np.random.default_rng(3)
    values = []
    for _ in range(7):
        rows = np.concatenate(
            [rng.choice(np.flatnonzero(labels == name), 2, replace=False) for name in NAMES]
        )
        model = NearestCentroid().fit(train[rows], labels[rows])
        values.append(accuracy_score(true, model.predict(test)))
    np.testing.assert_allclose(found.accuracies, values)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.spread == pytest.approx(np.std(values, ddof=1))
    assert found.chance == pytest.approx(1 / 3)
    more = few_shot_accuracy(train, labels, test, true, shots=12, n_draws=7, seed=3)
    assert more.mean > found.mean
    assert np.isnan(few_shot_accuracy(train, labels, test, true, shots=2, n_draws=1).spread)


@pytest.mark.parametrize("missing", [None, np.nan])
@pytest.mark.parametrize("name", ["ridge", "logistic", "prototype"])
def test_a_missing_class_is_no_class(name, missing):
    classes = np.array(["a", "b", missing] * 4, dtype=object)
    with pytest.raises(ValueError, match="each of the 12 stimuli, but 4 have none"):
        CLASSIFIERS[name](RNG.normal(size=(12, 2)), classes, RNG.normal(size=(1, 2)))


def test_groups_never_take_a_class_out_of_training():
    """scikit-learn's greedy folds hold all groups of a rare class out at once, without a word."""
    rng = np.random.default_rng(0)
    made = refused = 0
    for trial in range(300):
        groups = np.repeat(np.arange(rng.integers(4, 14)), 3)
        names = np.array(list("abcd"))
        of_group = names[rng.integers(0, rng.integers(2, 5), size=groups.max() + 1)]
        labels = of_group[groups]
        if trial % 2:  # groups of several classes
            labels = np.where(rng.random(len(labels)) < 0.3, "a", labels)
        try:
            folds = stratified_folds(labels, 5, groups)
        except ValueError:
            refused += 1
            continue
        made += 1
        np.testing.assert_array_equal(np.sort(np.concatenate(folds)), np.arange(len(labels)))
        for fold in folds:
            rest = np.delete(np.arange(len(labels)), fold)
            assert len(fold)
            assert set(labels[rest]) == set(labels)
            assert not set(groups[fold]) & set(groups[rest])
    assert made > 100
    assert refused > 10
