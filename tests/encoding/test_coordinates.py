"""Coordinates that keep every distance and inner product of the features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from isomorph.encoding import isometric_coordinates
from isomorph.geometry import NonFiniteError

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(2, 1), (2, 500), (20, 3), (20, 20), (20, 700), (40, 5, 3, 9)])
def test_distances_and_inner_products_are_those_of_the_features(shape):
    features = RNG.gamma(1.0, size=shape)
    found = isometric_coordinates(features)
    flat = features.reshape(len(features), -1)
    centred = flat - flat.mean(axis=0)
    np.testing.assert_allclose(pdist(found), pdist(flat), rtol=1e-10)
    np.testing.assert_allclose(
        found @ found.T, centred @ centred.T, atol=1e-10 * (centred**2).sum()
    )
    assert found.shape[1] <= len(flat)
    np.testing.assert_allclose(found.sum(axis=0), 0, atol=1e-7 * np.abs(found).max())


@settings(max_examples=15, deadline=None, derandomize=True)
@given(n=st.integers(2, 12), p=st.integers(1, 60), seed=st.integers(0, 10**6))
def test_any_shape_keeps_its_distances(n, p, seed):
    features = np.random.default_rng(seed).standard_normal((n, p))
    found = isometric_coordinates(features)
    np.testing.assert_allclose(pdist(found), pdist(features), rtol=1e-9)


def test_a_large_offset_does_not_cancel():
    features = RNG.standard_normal((15, 400))
    # What adding the offset itself rounds away is not the coordinates' fault.
    shifted = features + 1e4
    np.testing.assert_allclose(
        pdist(isometric_coordinates(shifted)), pdist(shifted - 1e4), rtol=1e-11
    )
    single = (features + 1e4).astype(np.float32)
    expected = pdist(single.astype(np.float64) - 1e4)
    np.testing.assert_allclose(pdist(isometric_coordinates(single)), expected, rtol=1e-11)


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.int16])
def test_small_types_are_worked_on_in_float64(dtype):
    features = RNG.integers(0, 250, size=(12, 300)).astype(dtype)
    before = features.copy()
    found = isometric_coordinates(features)
    np.testing.assert_allclose(pdist(found), pdist(features.astype(np.float64)), rtol=1e-10)
    np.testing.assert_array_equal(features, before)


def test_blocks_do_not_change_it():
    features = RNG.standard_normal((10, 333))
    whole = isometric_coordinates(features)
    parts = isometric_coordinates(features, block_bytes=2000)
    np.testing.assert_allclose(whole @ whole.T, parts @ parts.T, atol=1e-10)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e4 + 0.1])
@pytest.mark.parametrize("p", [3, 300])
def test_stimuli_that_do_not_differ_span_nothing(value, p):
    assert isometric_coordinates(np.full((20, p), value)).shape == (20, 0)


def test_values_that_are_not_finite_are_refused():
    for shape in ((10, 4), (4, 100)):
        features = np.ones(shape)
        features[1, 2] = np.nan
        with pytest.raises(NonFiniteError, match=f"1 of {features.size} values are not finite"):
            isometric_coordinates(features)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda():
    features = torch.from_numpy(RNG.standard_normal((20, 500)))
    here = isometric_coordinates(features)
    there = isometric_coordinates(features.cuda())
    np.testing.assert_allclose(here @ here.T, there @ there.T, atol=1e-9)


def test_real_responses(data_folder):
    responses = np.load(data_folder / "macaque_v4" / "responses_210325.npy")  # (50, 640)
    found = isometric_coordinates(responses)
    np.testing.assert_allclose(pdist(found), pdist(responses.astype(float)), rtol=1e-10)
    assert found.shape[1] <= 49
