"""Halves of repeats: what must hold of every draw, against plain loops."""

import numpy as np
import pytest

from isomorph.resampling.repeats import (
    check_repeats,
    half_weights,
    presence_groups,
    present_repeats,
    split_halves,
)


def unequal(n_stimuli=40, n_repetitions=7, seed=0):
    """Presence of 0 to n_repetitions repeats, at any place."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, n_repetitions + 1, n_stimuli)
    order = rng.random((n_stimuli, n_repetitions)).argsort(axis=1)
    return order < counts[:, None]


def test_halves_are_disjoint_equal_and_among_the_present_repeats():
    present = unequal()
    for first, second in split_halves(present, seed=1):
        assert first.dtype == second.dtype == bool
        assert not (first & second).any()
        assert not ((first | second) & ~present).any()
        np.testing.assert_array_equal(first.sum(axis=1), present.sum(axis=1) // 2)
        np.testing.assert_array_equal(second.sum(axis=1), present.sum(axis=1) // 2)


def test_every_repeat_is_as_often_in_either_half_and_the_odd_one_out_is_random():
    present = np.array([[True] * 5, [True, False, True, True, False]])
    draws = np.array(list(split_halves(present, seed=0, n_draws=4000)), dtype=float)
    np.testing.assert_allclose(draws.mean(axis=0)[:, 0], 2 / 5, atol=0.03)
    for half in draws.mean(axis=0):
        np.testing.assert_allclose(half[1], present[1] / 3, atol=0.03)


def test_stimuli_are_split_independently_of_each_other():
    first = np.array(
        [half for half, _ in split_halves(np.ones((2, 2), bool), seed=0, n_draws=2000)]
    )
    together = (first[:, 0, 0] == first[:, 1, 0]).mean()
    assert together == pytest.approx(0.5, abs=0.05)


def test_the_seed_decides():
    present = unequal()
    draws = [np.array(list(split_halves(present, seed=seed))) for seed in (3, 3, 4)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()
    assert draws[0].shape == (20, 2, *present.shape)


def test_half_weights_average():
    present = unequal()
    for weights, half in zip(
        zip(*half_weights(present, seed=2, n_draws=3), strict=True),
        split_halves(present, seed=2, n_draws=3),
        strict=True,
    ):
        for weight, mask in zip(weights, half, strict=True):
            for row, chosen in zip(weight, mask, strict=True):
                expected = chosen / chosen.sum() if chosen.any() else np.zeros(len(chosen))
                np.testing.assert_allclose(row, expected)


def test_presence_groups_hold_neuroids_that_miss_the_same_repeats():
    rng = np.random.default_rng(0)
    patterns = rng.random((3, 10, 4)) < 0.7
    which = rng.integers(0, 3, 30)
    responses = np.where(patterns[which].transpose(1, 2, 0), 1.0, np.nan)
    groups = presence_groups(responses)
    assert sorted(np.concatenate([members for members, _ in groups])) == list(range(30))
    assert len(groups) == 3
    for members, present in groups:
        for neuroid in members:
            np.testing.assert_array_equal(present, ~np.isnan(responses[:, :, neuroid]))
    [(members, present)] = presence_groups(responses[:, :, which == 1])
    np.testing.assert_array_equal(present, patterns[1])
    assert len(members) == (which == 1).sum()
    np.testing.assert_array_equal(present_repeats(responses), patterns.all(axis=0))


def test_v4_neurons_miss_the_same_repeats(data_folder):
    raw = np.load(data_folder / "macaque_v4" / "responses_raw_210325.npy")
    [(neuroids, present)] = presence_groups(raw.transpose(1, 2, 0))
    assert len(neuroids) == 50
    assert present.shape == (640, 10)
    assert set(np.unique(present.sum(axis=1))) == {6, 7, 8, 9, 10}


def test_wrong_input_says_what_to_do():
    with pytest.raises(ValueError, match=r"expected a boolean array .* got float64 \(3, 4\)"):
        next(split_halves(np.ones((3, 4)), seed=0))
    with pytest.raises(ValueError, match=r"got shape \(3, 4\); .* have no split halves"):
        check_repeats(np.ones((3, 4)))
    with pytest.raises(ValueError, match="2 values are infinite; mark missing repeats with NaN"):
        check_repeats(np.array([[[np.inf, -np.inf, np.nan]]]))
    assert check_repeats(np.ones((2, 2, 2), dtype=int)).dtype == float
