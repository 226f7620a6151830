"""Partial comparison of RDMs, and RDMs that lack pairs."""

# pyright: reportArgumentType=false

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import rsatoolbox.rdm
import scipy.stats
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat

from isomorph.geometry import compare_rdms, square, upper_triangle
from isomorph.registry import UnknownNameError


def vectors(n_rdms: int, seed: int, n: int = 9) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shared = rng.random((1, n * (n - 1) // 2))
    return (shared + rng.random((n_rdms, n * (n - 1) // 2))).round(1)


def residual(target: np.ndarray, controls: np.ndarray) -> np.ndarray:
    return np.asarray(sm.OLS(target, sm.add_constant(controls.T)).fit().resid)


def recursive(x: np.ndarray, y: np.ndarray, controls: list[np.ndarray]) -> float:
    """Partial correlation by its recursion, one control at a time."""
    if not controls:
        return float(np.corrcoef(x, y)[0, 1])
    *others, last = controls
    xy, xz, yz = (recursive(a, b, others) for a, b in ((x, y), (x, last), (y, last)))
    return (xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2))


@pytest.mark.parametrize("method", ["pearson", "spearman"])
@pytest.mark.parametrize("n_controls", [1, 2, 4])
def test_partial_equals_the_recursion_and_statsmodels(method: str, n_controls: int) -> None:
    first, second, controls = vectors(2, 0), vectors(3, 1), vectors(n_controls, 2)
    ready = [stack if method == "pearson" else scipy.stats.rankdata(stack, axis=1)
             for stack in (first, second, controls)]  # fmt: skip
    found = compare_rdms(first, second, method, controls=controls)
    semi = compare_rdms(first, second, method, controls=controls, semipartial=True)
    for i, x in enumerate(ready[0]):
        for j, y in enumerate(ready[1]):
            by_recursion = recursive(x, y, list(ready[2]))
            assert found[i, j] == pytest.approx(by_recursion, abs=1e-10)
            left, right = residual(x, ready[2]), residual(y, ready[2])
            assert found[i, j] == pytest.approx(np.corrcoef(left, right)[0, 1], abs=1e-10)
            assert semi[i, j] == pytest.approx(np.corrcoef(left, y)[0, 1], abs=1e-10)


def test_the_square_of_the_semipartial_is_the_variance_explained_beyond() -> None:
    x, y, controls = vectors(1, 0)[0], vectors(1, 1)[0], vectors(2, 2)
    with_x = sm.OLS(y, sm.add_constant(np.vstack([controls, x]).T)).fit().rsquared
    without = sm.OLS(y, sm.add_constant(controls.T)).fit().rsquared
    semi = compare_rdms(x, y, controls=controls, semipartial=True)
    assert semi**2 == pytest.approx(with_x - without, abs=1e-10)


def test_real_models_beyond_animacy(data_folder: Path) -> None:
    folder = data_folder / "kriegeskorte92"
    models = {str(m["name"][0]): upper_triangle(np.asarray(m["RDM"], float))
              for m in loadmat(folder / "92_modelRDMs.mat")["Models"][0]}  # fmt: skip
    first, second, control = models["monkeyIT"], models["EVA"], models["animacy"]
    expected = recursive(first, second, [control])
    assert compare_rdms(first, second, controls=control) == pytest.approx(expected, abs=1e-10)


def test_what_the_controls_explain_whole_is_undefined() -> None:
    first, second, controls = vectors(1, 0)[0], vectors(1, 1)[0], vectors(3, 2)
    explained = 2 * controls[0] - controls[1] + 5
    assert math.isnan(compare_rdms(explained, second, controls=controls))
    assert math.isnan(compare_rdms(first, explained, controls=controls))
    semi = compare_rdms(first, explained, controls=controls, semipartial=True)
    assert semi == pytest.approx(0, abs=1e-9)
    # Controls that repeat or do not vary change nothing.
    many = np.vstack([controls, controls[:1], 3 * controls[1:2], np.full((1, 36), 4.0)])
    once, twice = (compare_rdms(first, second, controls=c) for c in (controls, many))
    assert once == pytest.approx(twice, abs=1e-10)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(st.integers(0, 1000), st.integers(1, 4))
def test_partial_properties(seed: int, n_controls: int) -> None:
    first, second, controls = vectors(2, seed), vectors(2, seed + 1), vectors(n_controls, seed + 2)
    before = controls.copy()
    found = compare_rdms(first, second, controls=controls)
    np.testing.assert_array_equal(controls, before)
    mixed = np.random.default_rng(seed).normal(size=(n_controls, n_controls)) @ controls - 1e4
    np.testing.assert_allclose(compare_rdms(first, second, controls=mixed), found, atol=1e-7)
    shifted = first + 3 * controls[0] + 1e4
    np.testing.assert_allclose(compare_rdms(shifted, second, controls=controls), found, atol=1e-8)
    np.testing.assert_allclose(compare_rdms(second, first, controls=controls), found.T, atol=1e-10)


def lacking(stack: np.ndarray, seed: int) -> np.ndarray:
    found = stack.copy()
    rng = np.random.default_rng(seed)
    for row in found[1:]:  # the first has all its pairs
        row[rng.permutation(len(row))[:5]] = np.nan
    return found


PEERS = {"pearson": "corr", "spearman": "spearman", "cosine": "cosine", "tau_a": "tau-a",
         "kendall": "kendall", "rho_a": "rho-a"}  # fmt: skip


@pytest.mark.parametrize("method", PEERS)
def test_each_two_rdms_are_compared_over_the_pairs_that_both_have(method: str) -> None:
    # rsatoolbox raises unless all RDMs lack the same pairs (issue 347).
    first, second = lacking(vectors(3, 0), 0), lacking(vectors(4, 1), 1)
    found = compare_rdms(first, second, method, nan="omit")
    with pytest.raises(ValueError, match="different nan positions"):
        rsatoolbox.rdm.compare(first, second, PEERS[method])
    for i, x in enumerate(first):
        for j, y in enumerate(second):
            both = ~np.isnan(x) & ~np.isnan(y)
            expected = rsatoolbox.rdm.compare(x[None, both], y[None, both], PEERS[method])[0, 0]
            assert found[i, j] == pytest.approx(expected, abs=1e-12)
    propagated = compare_rdms(first, second, method)
    defined = np.zeros((3, 4), dtype=bool)
    defined[0, 0] = True
    np.testing.assert_array_equal(~np.isnan(propagated), defined)


def test_missing_pairs_with_controls() -> None:
    first, second, controls = vectors(1, 0)[0], vectors(1, 1)[0], vectors(2, 2)
    first[3], controls[0, 10], controls[1, 20] = np.nan, np.nan, np.nan
    kept = np.setdiff1d(np.arange(36), [3, 10, 20])
    expected = recursive(first[kept], second[kept], list(controls[:, kept]))
    found = compare_rdms(first, second, controls=controls, nan="omit")
    assert found == pytest.approx(expected, abs=1e-10)
    assert math.isnan(compare_rdms(second, second, controls=controls))


@pytest.mark.parametrize("method", ["bures", "riemannian"])
def test_whole_stimuli_may_be_missing_from_second_moments(method: str) -> None:
    features = np.random.default_rng(0).normal(size=(2, 9, 20))
    squares = np.stack([((x[:, None] - x) ** 2).sum(-1) for x in features])
    broken = squares[0].copy()
    broken[4, :] = broken[:, 4] = np.nan
    broken[4, 4] = 0
    kept = np.delete(np.arange(9), 4)
    expected = compare_rdms(*(s[np.ix_(kept, kept)] for s in squares), method)
    assert compare_rdms(broken, squares[1], method, nan="omit") == pytest.approx(expected, abs=1e-8)
    single = upper_triangle(squares[0])
    single[0] = np.nan
    with pytest.raises(ValueError, match="1 single pairs of stimuli are missing"):
        compare_rdms(single, squares[1], method, nan="omit")


def test_no_pair_in_common_is_nan() -> None:
    first, second = np.array([1.0, np.nan, np.nan]), np.array([np.nan, 2.0, 3.0])
    for method in ("pearson", "whitened_cosine", "tau_a"):
        assert math.isnan(compare_rdms(first, second, method, nan="omit"))


def test_errors() -> None:
    first, second = vectors(2, 0)
    with pytest.raises(ValueError, match="controls: expected method pearson or spearman, got 'tau"):
        compare_rdms(first, second, "tau_a", controls=first)
    with pytest.raises(ValueError, match="semipartial=True: expected controls, got none"):
        compare_rdms(first, second, semipartial=True)
    with pytest.raises(ValueError, match=r"got 9 stimuli .* 8 \(28 pairs\) in controls"):
        compare_rdms(first, second, controls=vectors(1, 0, n=8))
    with pytest.raises(
        UnknownNameError, match="unknown policy for NaN 'ommit'. Did you mean 'omit'"
    ):
        compare_rdms(first, second, nan="ommit")
    broken = first.copy()
    broken[:3] = np.nan
    with pytest.raises(ValueError, match="3 dissimilarities are NaN. Pass nan='omit'"):
        compare_rdms(square(broken), second, nan="raise")
    assert compare_rdms(first, second, nan="raise") == compare_rdms(first, second)
