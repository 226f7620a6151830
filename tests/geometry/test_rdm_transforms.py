"""Transforms, averages and joins of RDMs against scipy, rsatoolbox and plain loops."""

# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rsatoolbox.rdm import RDMs
from rsatoolbox.rdm.combine import from_partials, rescale
from scipy.stats import percentileofscore, rankdata, zscore

from isomorph.geometry import (
    RDM_TRANSFORMS,
    average_rdms,
    compute_rdm,
    join_rdms,
    rescale_rdms,
    square,
    transform_rdm,
    upper_triangle,
)
from isomorph.registry import UnknownNameError

# Its package hides the module behind a function of the same name.
peer = importlib.import_module("rsatoolbox.rdm.transform")
RNG = np.random.default_rng(0)
N = 8
VECTORS = RNG.gamma(2.0, size=(3, N * (N - 1) // 2)).round(2)  # with ties
STACK = square(VECTORS)
SIGNED = VECTORS - 1.5


def theirs(function, vectors: np.ndarray, *arguments) -> np.ndarray:
    return function(RDMs(vectors.copy()), *arguments).get_vectors()


def geodesic(vector: np.ndarray, low: float = 0.0, up: float = 1.0) -> np.ndarray:
    """Floyd's algorithm, written out."""
    bottom, top = np.quantile(vector, [low, up])
    way = square(np.clip((vector - bottom) / (top - bottom), 0, 1))
    way[way >= 1] = np.inf
    n = len(way)
    for k in range(n):
        for i in range(n):
            for j in range(n):
                way[i, j] = min(way[i, j], way[i, k] + way[k, j])
    return upper_triangle(way)


ORACLES = {
    "rank": lambda v: rankdata(v),
    "percentile": lambda v: np.array([percentileofscore(v, x, kind="mean") for x in v]),
    "sqrt": lambda v: theirs(peer.sqrt_transform, v[None])[0],
    "positive": lambda v: theirs(peer.positive_transform, v[None])[0],
    "minmax": lambda v: theirs(peer.minmax_transform, v[None])[0],
    "zscore": lambda v: zscore(v),
    "geotopological": lambda v: theirs(peer.geotopological_transform, v[None], 0, 1)[0],
    "geodesic": geodesic,
}


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("vectors", [VECTORS, SIGNED], ids=["positive", "signed"])
def test_transforms_equal_the_oracle(name: str, vectors: np.ndarray) -> None:
    before = vectors.copy()
    expected = np.stack([ORACLES[name](vector) for vector in vectors])
    np.testing.assert_allclose(transform_rdm(vectors, name), expected, rtol=1e-12)
    np.testing.assert_allclose(transform_rdm(vectors[0], name), expected[0], rtol=1e-12)
    np.testing.assert_allclose(transform_rdm(square(vectors), name), square(expected), rtol=1e-12)
    np.testing.assert_allclose(transform_rdm(square(vectors[1]), name), square(expected[1]))
    np.testing.assert_array_equal(vectors, before)


def test_every_transform_has_an_oracle_and_a_summary() -> None:
    assert set(ORACLES) == set(RDM_TRANSFORMS)
    assert all(entry.summary.endswith(".") for entry in RDM_TRANSFORMS.values())


def test_real_rdms(data_folder: Path) -> None:
    structs = scipy.io.loadmat(data_folder / "kriegeskorte92" / "92_brainRDMs.mat")["RDMs"].ravel()
    vectors = upper_triangle(np.stack([one["RDM"].astype("f8") for one in structs[:2]]))
    for name in ("rank", "minmax", "zscore", "sqrt"):
        expected = np.stack([ORACLES[name](vector) for vector in vectors])
        np.testing.assert_allclose(transform_rdm(vectors, name), expected, rtol=1e-10)


def test_geotopological_takes_the_quantiles_of_each_rdm() -> None:
    """rsatoolbox takes them over the whole stack, so that an RDM depends on its neighbours."""
    stack = np.stack([VECTORS[0], 100 * VECTORS[1]])
    found = transform_rdm(stack, "geotopological", low=0.2, up=0.7)
    for ours, vector in zip(found, stack, strict=True):
        expected = theirs(peer.geotopological_transform, vector[None], 0.2, 0.7)[0]
        np.testing.assert_allclose(ours, expected, rtol=1e-12)
    assert not np.allclose(theirs(peer.geotopological_transform, stack, 0.2, 0.7), found)
    # A step, where they divide by zero.
    step = transform_rdm(VECTORS[0], "geotopological", low=0.5, up=0.5)
    np.testing.assert_array_equal(step, VECTORS[0] > np.median(VECTORS[0]))
    with pytest.raises(ValueError, match="quantiles 0 ≤ low ≤ up ≤ 1, got low=0.7 and up=0.2"):
        transform_rdm(VECTORS, "geotopological", low=0.7, up=0.2)


def test_geodesic_keeps_the_edge_between_the_nearest_stimuli() -> None:
    """rsatoolbox: the smallest dissimilarity becomes 0, which its graph takes for no edge."""
    vector = VECTORS[2]
    found = transform_rdm(vector, "geodesic")
    nearest = vector.argmin()
    assert found[nearest] == 0
    assert theirs(peer.geodesic_transform, vector[None])[0][nearest] > 0
    expected = geodesic(vector, 0.1, 0.4)
    reached = np.isfinite(expected)
    found = transform_rdm(vector, "geodesic", low=0.1, up=0.4)
    np.testing.assert_allclose(found[reached], expected[reached], rtol=1e-12)
    assert np.isnan(found[~reached]).all()


def test_geodesic_of_two_clusters_has_no_way_between_them() -> None:
    rdm = np.full((4, 4), 9.0)
    rdm[:2, :2] = rdm[2:, 2:] = 1.0
    rdm[0, 1] = rdm[1, 0] = 0.5
    np.fill_diagonal(rdm, 0)
    found = transform_rdm(rdm, "geodesic")
    assert np.isnan(found[:2, 2:]).all()
    assert found[2, 3] == pytest.approx(0.5 / 8.5)


@pytest.mark.parametrize("name", RDM_TRANSFORMS)
def test_nan_pairs_stay_nan_and_constant_rdms_have_no_spread(name: str) -> None:
    vector = VECTORS[0].copy()
    vector[[2, 3, 7, 9, 12, 20, 27]] = np.nan  # 21 pairs are left, which the peers can take
    found = transform_rdm(vector, name)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(vector))
    if name != "geodesic":
        rest = ORACLES[name](vector[~np.isnan(vector)])
        np.testing.assert_allclose(found[~np.isnan(vector)], rest, rtol=1e-12)
    assert np.isnan(transform_rdm(np.full(3, np.nan), name)).all()
    constant = transform_rdm(np.full(6, 2.0), name)
    assert np.isnan(constant).all() == (name in ("minmax", "zscore", "geodesic"))
    assert transform_rdm([5.0], name).shape == (1,)  # two stimuli


def test_any_function() -> None:
    np.testing.assert_array_equal(transform_rdm(STACK, np.square), STACK**2)
    with pytest.raises(ValueError, match=r"to give 28 values, one for each pair, got shape \(\)"):
        transform_rdm(STACK, np.sum)


def test_bad_input_to_transforms() -> None:
    with pytest.raises(UnknownNameError, match="unknown RDM transform 'ranks'. Did you mean 'rank"):
        transform_rdm(STACK, "ranks")
    with pytest.raises(UnknownNameError, match="unknown option of rank 'low'"):
        transform_rdm(STACK, "rank", low=0.1)
    with pytest.raises(ValueError, match="halves that differ"):
        transform_rdm(np.triu(STACK[0]))
    with pytest.raises(ValueError, match=r"got shape \(2, 4\)"):
        transform_rdm(np.ones((2, 4)))
    with pytest.raises(ValueError, match="zero diagonal"):
        transform_rdm(STACK[0] + np.eye(N))
    with pytest.raises(ValueError, match="finite dissimilarities or NaN, got 1 inf"):
        transform_rdm([1.0, np.inf, 2.0])
    # Three vectors of three stimuli are a stack, not a square.
    three = np.array([[1.0, 2, 3], [4, 5, 6], [7, 9, 8]])
    np.testing.assert_array_equal(transform_rdm(three), np.apply_along_axis(rankdata, 1, three))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(2, 9))
def test_properties_of_transforms(seed: int, n: int) -> None:
    vector = np.random.default_rng(seed).gamma(1.0, size=n * (n - 1) // 2)
    order = np.argsort(vector)
    for name in ("rank", "percentile", "sqrt", "positive", "geotopological"):
        assert (np.diff(transform_rdm(vector, name)[order]) >= 0).all()  # order is kept
    for name in ("rank", "percentile"):
        np.testing.assert_array_equal(
            transform_rdm(np.exp(vector), name), transform_rdm(vector, name)
        )
    again = transform_rdm(transform_rdm(vector, "rank"), "rank")
    np.testing.assert_array_equal(again, transform_rdm(vector, "rank"))
    if n > 2:
        shortest = transform_rdm(vector, "geodesic")
        assert (shortest <= transform_rdm(vector, "minmax") + 1e-12)[vector < vector.max()].all()


# Averages


def test_averages_equal_their_definitions() -> None:
    np.testing.assert_allclose(average_rdms(VECTORS), VECTORS.mean(axis=0))
    np.testing.assert_allclose(
        average_rdms(VECTORS, "zscore"), zscore(VECTORS, axis=1).mean(axis=0)
    )
    np.testing.assert_allclose(
        average_rdms(VECTORS, "rank"), rankdata(VECTORS, axis=1).mean(axis=0)
    )
    correlations = RNG.uniform(-0.9, 0.9, size=VECTORS.shape)
    expected = 1 - np.tanh(np.arctanh(correlations).mean(axis=0))
    np.testing.assert_allclose(average_rdms(1 - correlations, "fisher"), expected)
    for method in ("mean", "zscore", "rank"):
        squares = average_rdms(STACK, method)
        np.testing.assert_allclose(squares, square(average_rdms(VECTORS, method)), rtol=1e-12)
    squares = average_rdms(square(1 - correlations), "fisher")
    np.testing.assert_allclose(squares, square(expected))
    assert average_rdms([[0.0, 1.0, 2.0], [0.5, 1.0, 2.0]], "fisher").tolist() == [0, 1, 2]


def test_weighted_averages_and_missing_pairs() -> None:
    weights = np.array([1.0, 0.0, 3.0])
    expected = (weights @ VECTORS) / 4
    np.testing.assert_allclose(average_rdms(VECTORS, weights=weights), expected)
    some = VECTORS.copy()
    some[0, 4] = some[2, 4] = some[:, 7] = np.nan
    found = average_rdms(some)
    np.testing.assert_array_equal(np.isnan(found), np.isin(np.arange(28), [4, 7]))
    found = average_rdms(some, nan="omit")
    assert found[4] == some[1, 4]
    assert np.isnan(found[7])
    assert np.isnan(average_rdms(some, weights=weights, nan="omit")[4])
    np.testing.assert_allclose(np.delete(found, [4, 7]), np.delete(VECTORS.mean(0), [4, 7]))
    np.testing.assert_allclose(
        average_rdms(VECTORS, weights=VECTORS), (VECTORS**2).sum(0) / VECTORS.sum(0)
    )
    ranks = average_rdms(some, "rank", nan="omit")
    assert ranks[4] == rankdata(some[1][~np.isnan(some[1])])[4]


def test_bad_input_to_averages() -> None:
    with pytest.raises(UnknownNameError, match="unknown average of RDMs 'median'"):
        average_rdms(VECTORS, "median")
    with pytest.raises(UnknownNameError, match="unknown way with NaN pairs 'drop'"):
        average_rdms(VECTORS, nan="drop")
    with pytest.raises(ValueError, match=r"expected weights \(3,\) or \(3, 28\), got shape \(2,\)"):
        average_rdms(VECTORS, weights=[1, 2])
    for weights in ([1, -1, 1], [0, 0, 0], [1, np.nan, 1], [1, np.inf, 1]):
        with pytest.raises(ValueError, match="finite, 0 or above, and not all 0"):
            average_rdms(VECTORS, weights=weights)
    with pytest.raises(ValueError, match="'fisher' expects correlation distances, 0 to 2, got"):
        average_rdms(VECTORS * 10, "fisher")


# Joins

NAMES = [["a", "b", "c", "d"], ["c", "d", "e"], ["a", "e", "f", "c", "b"]]
PARTIAL = [compute_rdm(RNG.normal(size=(len(own), 6)), "euclidean") for own in NAMES]


def peer_partials() -> RDMs:
    return from_partials(
        [
            RDMs(rdm[None], pattern_descriptors={"conds": list(own)})
            for rdm, own in zip(PARTIAL, NAMES, strict=True)
        ]
    )


def test_joined_rdms_equal_rsatoolbox() -> None:
    stack, names = join_rdms(PARTIAL, NAMES)
    assert names == ("a", "b", "c", "d", "e", "f")
    np.testing.assert_array_equal(upper_triangle(stack), peer_partials().get_vectors())
    vectors, _ = join_rdms([upper_triangle(rdm) for rdm in PARTIAL], NAMES)
    np.testing.assert_array_equal(vectors, stack)
    for method in ("evidence", "setsize", "simple"):
        rescaled, weights = rescale_rdms(stack, method)
        with np.errstate(invalid="ignore"):  # 0 / 0 for pairs that none has
            theirs = rescale(peer_partials(), method, threshold=1e-25)
        np.testing.assert_allclose(upper_triangle(rescaled), theirs.get_vectors(), rtol=1e-8)
        their_weights = theirs.rdm_descriptors["rescalingWeights"]
        np.testing.assert_allclose(upper_triangle(weights), their_weights)
        mean = average_rdms(rescaled, weights=weights, nan="omit")
        with np.errstate(invalid="ignore"):
            expected = theirs.mean(weights="rescalingWeights").get_vectors()[0]
        np.testing.assert_allclose(upper_triangle(mean), expected, rtol=1e-8)


def test_rescaling_undoes_scales() -> None:
    whole = square(RNG.gamma(2.0, size=15))
    parts = [[0, 1, 2, 3], [2, 3, 4], [1, 4, 5, 0]]
    scales = [1.0, 20.0, 0.003]
    rdms = [scale * whole[np.ix_(p, p)] for scale, p in zip(scales, parts, strict=True)]
    stack, order = join_rdms(rdms, parts)
    for method in ("evidence", "setsize", "simple"):
        rescaled, weights = rescale_rdms(stack, method)
        mean = average_rdms(rescaled, weights=weights, nan="omit")
        known = np.isfinite(mean) & (mean > 0)
        ratio = mean[known] / whole[np.ix_(order, order)][known]
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)


def test_bad_input_to_joins() -> None:
    with pytest.raises(ValueError, match="as many lists of names as RDMs, got 2 and 3"):
        join_rdms(PARTIAL, NAMES[:2])
    with pytest.raises(ValueError, match=r"RDM 1: .*got shape \(3, 3\) and 2 names"):
        join_rdms(PARTIAL, [NAMES[0], ["c", "d"], NAMES[2]])
    with pytest.raises(ValueError, match="3 names, 2 different"):
        join_rdms(PARTIAL, [NAMES[0], ["c", "d", "c"], NAMES[2]])
    with pytest.raises(ValueError, match="RDM 0: expected a symmetric RDM"):
        join_rdms([np.triu(PARTIAL[0]), *PARTIAL[1:]], NAMES)
    stack, _ = join_rdms(PARTIAL[:2], [["a", "b", "c", "d"], ["x", "y", "z"]])
    with pytest.raises(ValueError, match="RDM 1 shares no pair of stimuli with RDM 0"):
        rescale_rdms(stack)
    with pytest.raises(ValueError, match="all zero or all NaN; it has no scale"):
        rescale_rdms(np.stack([STACK[0], 0 * STACK[0]]))
    with pytest.raises(UnknownNameError, match="unknown rescaling 'size'"):
        rescale_rdms(STACK, "size")


def test_rounding_of_correlations_and_tensors_are_let_through() -> None:
    """1 − NumPy's correlation of equal stimuli is −2e-16."""
    stack = np.array([[-2.3e-16, 0.5, 1.0], [0.1, 0.3, 2 + 5e-16]])
    before = stack.copy()
    found = average_rdms(stack, "fisher")
    expected = average_rdms(np.clip(stack, 0, 2), "fisher")
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match="expects correlation distances"):
        average_rdms(stack - 0.01, "fisher")
    tensor = torch.from_numpy(stack)
    np.testing.assert_array_equal(average_rdms(tensor), stack.mean(axis=0))
    np.testing.assert_array_equal(transform_rdm(tensor, "rank"), transform_rdm(stack, "rank"))
    np.testing.assert_array_equal(stack, before)


def test_evidence_has_a_floor_of_a_fifth_squared() -> None:
    _, weights = rescale_rdms([[0.1, 0.25, np.nan], [0.3, 0.19, 0.0]], "evidence")
    np.testing.assert_allclose(weights, [[0.04, 0.0625, np.nan], [0.09, 0.04, 0.04]], rtol=1e-12)
