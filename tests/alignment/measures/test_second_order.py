"""Second-order cosine against a loop over its definition, and what ReSi computes instead."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors

from isomorph.alignment.measure import compare_representations

RNG = np.random.default_rng(0)
FIRST = RNG.normal(size=(35, 12))
SECOND = FIRST[:, :6] + RNG.normal(size=(35, 6))


def neighbours(x: np.ndarray, k: int) -> list[set[int]]:
    found = NearestNeighbors(n_neighbors=k + 1, metric="cosine", algorithm="brute").fit(x)
    return [{j for j in row if j != i} for i, row in enumerate(found.kneighbors(x)[1])]


def oracle(x: np.ndarray, y: np.ndarray, k: int, distance: bool = False) -> float:
    one, other = cosine_similarity(x), cosine_similarity(y)
    if distance:
        one, other = 1 - one, 1 - other
    values = []
    for i, (a, b) in enumerate(zip(neighbours(x, k), neighbours(y, k), strict=True)):
        union = sorted(a | b)
        p, q = one[i, union], other[i, union]
        values.append(p @ q / np.sqrt((p @ p) * (q @ q)))
    return float(np.mean(values))


@pytest.mark.parametrize("k", [1, 4, 10, 34])
def test_equals_a_loop(k):
    found = compare_representations(FIRST, SECOND, "second_order_cosine", k=k)
    assert found == pytest.approx(oracle(FIRST, SECOND, k), abs=1e-10)


def test_equals_a_loop_on_real_data(v4_halves, behaviour):
    for x, y in (v4_halves, behaviour):
        found = compare_representations(x, y, "second_order_cosine", k=6)
        assert found == pytest.approx(oracle(x, y, 6), abs=1e-10)


def test_profiles_are_similarities_and_not_the_distances_of_resi():
    # ReSi compares vectors of cosine distances, which are never negative: noise comes near 1.
    x, y = RNG.normal(size=(35, 300)), RNG.normal(size=(35, 300))
    ours = compare_representations(x, y, "second_order_cosine")
    theirs = compare_representations(x, y, "second_order_cosine[profile=distance]")
    assert theirs == pytest.approx(oracle(x, y, 10, distance=True), abs=1e-10)
    assert theirs > 0.9
    assert ours < 0.6


def test_profiles_without_length_are_undefined(caplog):
    with caplog.at_level(logging.WARNING):
        assert np.isnan(compare_representations(np.eye(35), SECOND, "second_order_cosine"))
    assert "the profile of 35 stimuli over their neighbours is zero" in caplog.text


def test_the_same_space_scores_one_and_large_offsets_are_part_of_it():
    assert compare_representations(FIRST, FIRST, "second_order_cosine") == pytest.approx(1)
    found = compare_representations(FIRST + 1e4, SECOND + 1e4, "second_order_cosine")
    assert found == pytest.approx(1, abs=1e-6)  # all directions are nearly one
