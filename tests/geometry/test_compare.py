"""Comparison of RDMs against scipy and rsatoolbox."""

# The peers' annotations are not to be relied on.
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import rsatoolbox.rdm
import scipy.stats

from isomorph.geometry import compare_rdms, compute_rdm, square, unit_vectors, upper_triangle
from isomorph.registry import UnknownNameError

PEERS = {"pearson": "corr", "spearman": "spearman"}
SCIPY = {"pearson": scipy.stats.pearsonr, "spearman": scipy.stats.spearmanr}


def vectors(n_rdms: int, seed: int, n: int = 9) -> np.ndarray:
    # Rounded, so that there are ties.
    return np.random.default_rng(seed).random((n_rdms, n * (n - 1) // 2)).round(1)


@pytest.mark.parametrize("method", SCIPY)
def test_stacks_equal_scipy_and_rsatoolbox(method: str) -> None:
    first, second = vectors(3, 0), vectors(4, 1)
    ours = compare_rdms(first, second, method)
    expected = [[SCIPY[method](x, y).statistic for y in second] for x in first]
    np.testing.assert_allclose(ours, expected, rtol=1e-12)
    np.testing.assert_allclose(
        ours, rsatoolbox.rdm.compare(first, second, PEERS[method]), rtol=1e-12
    )
    np.testing.assert_array_equal(compare_rdms(square(first), square(second), method), ours)


@pytest.mark.parametrize("method", SCIPY)
def test_one_rdm_in_every_form(method: str) -> None:
    first, second = vectors(2, 2)
    value = compare_rdms(first, second, method)
    assert isinstance(value, float)
    assert compare_rdms(square(first), second, method) == value
    against_stack = compare_rdms(square(first), np.stack([second, first]), method)
    np.testing.assert_allclose(against_stack, [[value, 1]])


def test_real_rdms(data_folder: Path) -> None:
    responses = np.load(data_folder / "macaque_v4" / "responses_210325.npy").T
    first = compute_rdm(responses[:90, :25], "pearson")
    second = compute_rdm(responses[:90, 25:], "euclidean")
    for method, oracle in SCIPY.items():
        expected = oracle(upper_triangle(first), upper_triangle(second)).statistic
        assert compare_rdms(first, second, method) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("method", SCIPY)
def test_undefined_rdms_are_nan_and_leave_the_others(method: str) -> None:
    stack = vectors(4, 3)
    stack[1, 5] = np.nan
    stack[2] = 0.1  # a value whose mean over many pairs is rounded
    result = np.asarray(compare_rdms(stack, vectors(2, 4), method))
    np.testing.assert_array_equal(np.isnan(result).all(axis=1), [False, True, True, False])
    np.testing.assert_array_equal(np.isnan(result).any(axis=1), [False, True, True, False])
    assert math.isnan(compare_rdms(stack[2], stack[0], method))  # type: ignore[arg-type]


def test_tiny_and_large_dissimilarities() -> None:
    first, second = vectors(2, 5)
    expected = compare_rdms(first, second)
    assert compare_rdms(first * 1e-200, second * 1e200) == pytest.approx(expected)
    assert compare_rdms(1 + first * 1e-9, second) == pytest.approx(expected, rel=1e-5)


def test_unit_vectors_are_centred_and_of_length_one() -> None:
    units = unit_vectors(vectors(3, 6), "spearman")
    np.testing.assert_allclose(units.sum(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose((units**2).sum(axis=1), 1)
    assert unit_vectors(vectors(1, 6)[0]).shape == (36,)


@pytest.mark.parametrize("n", [3, 4, 6, 10, 15, 36])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_square_rdm_with_rounding_on_its_diagonal_is_one(n: int, dtype: str) -> None:
    # For n of 3, 6, 10, 15, 36 the rows are as long as the vector of some RDM.
    first, second = np.random.default_rng(n).normal(size=(2, n, 200))
    one, other = (1 - np.corrcoef(x).astype(dtype) for x in (first, second))
    one[np.diag_indices(n)] = 2e-7 if dtype == "f4" else 2e-16
    one[0, 1] *= 1 + 1e-7
    value = compare_rdms(one, other)
    expected = scipy.stats.pearsonr(upper_triangle(one), upper_triangle(other)).statistic
    assert isinstance(value, float)
    assert value == pytest.approx(expected, rel=1e-5)


def test_a_square_rdm_may_lack_pairs_and_a_square_stack_is_none() -> None:
    rdm = np.array(square(vectors(1, 0, n=10)[0]))
    rdm[2, 5] = rdm[5, 2] = np.nan
    assert isinstance(compare_rdms(rdm, rdm), float)
    stack = vectors(10, 1, n=5)
    assert np.shape(compare_rdms(stack, stack)) == (10, 10)


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"got 9 stimuli \(36 pairs\) and 8 \(28 pairs\)"):
        compare_rdms(vectors(2, 0), vectors(2, 0, n=8))
    with pytest.raises(ValueError, match=r"second expected an RDM .* got shape \(35,\)"):
        compare_rdms(vectors(1, 0), vectors(1, 0)[0, :-1])
    with pytest.raises(ValueError, match=r"first expected an RDM .* got shape \(5, 5\)"):
        compare_rdms(np.eye(5), vectors(1, 0))
    upper = np.triu(np.ones((10, 10)), 1)
    with pytest.raises(ValueError, match="first expected a symmetric RDM, .* halves that differ"):
        compare_rdms(upper, vectors(1, 0, n=10))
    with pytest.raises(UnknownNameError, match="Did you mean 'spearman'"):
        compare_rdms(vectors(1, 0), vectors(1, 0), "sperman")
