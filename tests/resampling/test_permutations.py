"""Permutations of the stimuli, in blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isomorph.registry import UnknownNameError
from isomorph.resampling import permutation_orders


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.lists(st.sampled_from("abc"), min_size=6, max_size=20), st.integers(0, 1000))
def test_each_row_is_a_permutation_that_keeps_to_its_blocks(labels, seed):
    counts = {label: labels.count(label) for label in labels}
    if max(counts.values()) > 1:
        orders = permutation_orders(len(labels), 5, blocks=labels, seed=seed)
        array = np.array(labels)
        for order in orders:
            assert sorted(order) == list(range(len(labels)))
            assert (array[order] == array).all()


def test_whole_blocks_change_places_and_keep_their_order():
    blocks = ["a"] * 3 + ["b"] * 3 + ["c"] * 2 + ["d"] * 3
    orders = permutation_orders(11, 50, blocks=blocks, exchange="whole", seed=0)
    places = {"a": [0, 1, 2], "b": [3, 4, 5], "c": [6, 7], "d": [8, 9, 10]}
    for order in orders:
        assert order[6:8].tolist() == [6, 7]  # no other block has its size
        found = [order[places[label]].tolist() for label in "abd"]
        assert sorted(found) == [places["a"], places["b"], places["d"]]
    assert len({tuple(order) for order in orders}) == 6


def test_blocks_may_be_interleaved():
    orders = permutation_orders(6, 20, blocks=[0, 1, 0, 1, 0, 1], exchange="whole", seed=1)
    assert {tuple(order) for order in orders} == {(0, 1, 2, 3, 4, 5), (1, 0, 3, 2, 5, 4)}


def test_all_orders_are_equally_likely_and_seeded():
    orders = permutation_orders(3, 6000, seed=3)
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 6
    assert abs(counts - 1000).max() < 120
    np.testing.assert_array_equal(orders, permutation_orders(3, 6000, seed=3))
    assert (orders != permutation_orders(3, 6000, seed=4)).any()


def test_what_cannot_be_exchanged_is_refused():
    with pytest.raises(ValueError, match="nothing can be exchanged within"):
        permutation_orders(3, 2, blocks=[0, 1, 2])
    with pytest.raises(ValueError, match="no two of the 2 blocks have the same size"):
        permutation_orders(3, 2, blocks=[0, 1, 1], exchange="whole")
    with pytest.raises(ValueError, match="a block for each of the 3 stimuli, got 2"):
        permutation_orders(3, 2, blocks=[0, 1])
    with pytest.raises(ValueError, match="1 or more permutations, got 3 and 0"):
        permutation_orders(3, 0)
    with pytest.raises(UnknownNameError, match="'whole'"):
        permutation_orders(3, 2, exchange="hole")
