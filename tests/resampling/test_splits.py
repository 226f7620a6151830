"""Splits: what is held, the errors, and folds against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import KFold

from isomorph.resampling import Split, given, kfold, odd_even, swapped


def test_odd_even_trains_on_even_positions() -> None:
    split = odd_even(7)
    assert split.train.tolist() == [0, 2, 4, 6]
    assert split.test.tolist() == [1, 3, 5]
    assert (split.train_name, split.test_name) == ("train", "test")


def test_odd_even_needs_four_stimuli() -> None:
    assert odd_even(4).test.tolist() == [1, 3]
    with pytest.raises(ValueError, match=r"at least 4 stimuli .* got 3"):
        odd_even(3)


def test_split_sorts_copies_and_freezes_its_positions() -> None:
    mine = np.array([4, 0, 2], dtype=np.int32)
    split = Split(mine, np.array([1]))
    mine[0] = 99
    assert split.train.tolist() == [0, 2, 4]
    assert split.train.dtype == np.int64
    with pytest.raises(ValueError, match="read-only"):
        split.train[0] = 5


def test_split_is_a_dictionary_key_by_content() -> None:
    assert {odd_even(6): 1}[Split(np.array([4, 2, 0]), np.array([1, 3, 5]))] == 1
    assert odd_even(6) != odd_even(8)
    assert odd_even(6) != Split(odd_even(6).train, odd_even(6).test, test_name="fold0")
    # The border between the two parts matters, not only all positions in a row.
    assert Split(np.array([0, 1]), np.array([2])) != Split(np.array([0]), np.array([1, 2]))
    assert odd_even(6) != "train"


def test_swapped_exchanges_and_returns() -> None:
    other = swapped(odd_even(6))
    assert other.train.tolist() == [1, 3, 5]
    assert (other.train_name, other.test_name) == ("test_swapped", "train_swapped")[::-1]
    assert swapped(other) == odd_even(6)


@pytest.mark.parametrize(("n", "k"), [(10, 5), (11, 3), (5, 5), (7, 2)])
def test_contiguous_folds_are_those_of_sklearn(n: int, k: int) -> None:
    folds = kfold(n, k)
    expected = list(KFold(k).split(np.zeros(n)))
    assert [fold.test_name for fold in folds] == [f"fold{i}" for i in range(k)]
    for fold, (train, test) in zip(folds, expected, strict=True):
        np.testing.assert_array_equal(fold.train, train)
        np.testing.assert_array_equal(fold.test, test)


def test_shuffled_folds_partition_and_follow_the_seed() -> None:
    folds = kfold(23, 4, seed=3)
    assert sorted(np.concatenate([fold.test for fold in folds]).tolist()) == list(range(23))
    for fold in folds:
        assert sorted([*fold.train, *fold.test]) == list(range(23))
    assert folds == kfold(23, 4, seed=3)
    assert folds != kfold(23, 4, seed=4)
    assert folds != kfold(23, 4)


@pytest.mark.parametrize("seed", [None, 0])
def test_groups_stay_together(seed: int | None) -> None:
    groups = np.array(["b", "b", "a", "c", "a", "c", "d", "d", "e"])
    folds = kfold(9, 3, groups=groups, seed=seed)
    assert sorted(np.concatenate([fold.test for fold in folds]).tolist()) == list(range(9))
    for fold in folds:
        assert not set(groups[fold.train]) & set(groups[fold.test])
        assert len(fold.test)


def test_groups_in_order_of_first_appearance_keep_contiguous_folds() -> None:
    assert kfold(6, 3, groups=[9, 9, 1, 1, 5, 5])[0].test.tolist() == [0, 1]


def test_kfold_errors() -> None:
    with pytest.raises(ValueError, match=r"between 2 and 3 folds \(3 stimuli\), got 4"):
        kfold(3, 4)
    with pytest.raises(ValueError, match=r"\(2 groups\), got 3"):
        kfold(4, 3, groups=["a", "a", "b", "b"])
    with pytest.raises(ValueError, match=r"between 2 and 5 folds .* got 1"):
        kfold(5, 1)
    with pytest.raises(ValueError, match="one group for each of the 4 stimuli, got 3"):
        kfold(4, 2, groups=[0, 1, 2])


def test_given_takes_part_of_the_stimuli() -> None:
    assert given([3, 0], [1], 9).train.tolist() == [0, 3]


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([], [1], "train is empty"),
        ([0], [], "test is empty"),
        ([0, 5], [1], "train expected positions from 0 to 4 .* got 5"),
        ([0], [-1], "test expected positions from 0 to 4 .* got -1"),
        ([0, 0, 1], [2], "train names 0 more than once"),
        ([0, 1, 2], [2, 1], r"share 2 stimuli \(1, 2\)"),
        ([0.5, 1], [2], "whole-number positions, got float64"),
        ([True, False], [2], "np.flatnonzero"),
    ],
)
def test_given_errors(train: list, test: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        given(train, test, 5)
