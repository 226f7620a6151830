"""Noise covariances against scikit-learn and rsatoolbox, and whitening against dense algebra."""

# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# pyright: reportPrivateImportUsage=false, reportOptionalMemberAccess=false

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rsatoolbox.data import Dataset
from rsatoolbox.data.noise import cov_from_residuals, cov_from_unbalanced
from sklearn.covariance import LedoitWolf

from isomorph.geometry import (
    NOISE_METHODS,
    NoiseCovariance,
    UndefinedRDMError,
    compute_rdm,
    noise_covariance,
)
from isomorph.geometry.rdms.noise import whitened_blocks
from isomorph.registry import UnknownNameError

RNG = np.random.default_rng(0)
MIXING = RNG.normal(size=(30, 30)) + 2 * np.eye(30)
TALL = RNG.normal(size=(60, 12)) @ MIXING[:12, :12] + 5
WIDE = RNG.normal(size=(12, 30)) @ MIXING + 5
SHAPES = {"tall": TALL, "wide": WIDE, "square": WIDE[:, :12], "one feature": TALL[:, :1]}


def methods_of(residuals: np.ndarray) -> list[str]:
    return [m for m in NOISE_METHODS if m != "full" or len(residuals) > residuals.shape[1]]


CASES = [(name, method) for name, values in SHAPES.items() for method in methods_of(values)]


@pytest.mark.parametrize(("name", "method"), CASES)
@pytest.mark.parametrize("dof", [None, 8])
def test_covariance_equals_rsatoolbox(name: str, method: str, dof: int | None) -> None:
    residuals = SHAPES[name]
    if name == "one feature" and method.startswith("shrinkage"):
        pytest.skip("rsatoolbox divides zero by zero: see below")
    if method == "full" and dof is not None and dof < residuals.shape[1]:
        pytest.skip("an error here: see below")
    before = residuals.copy()
    found = noise_covariance(residuals, method, dof=dof)
    expected = cov_from_residuals(residuals.copy(), dof=dof, method=method)
    np.testing.assert_allclose(found.covariance(), expected, rtol=1e-10, atol=1e-12)
    assert found.dof == (len(residuals) - 1 if dof is None else dof)
    np.testing.assert_array_equal(residuals, before)


@pytest.mark.parametrize("name", SHAPES)
def test_ledoit_wolf_equals_scikit_learn(name: str) -> None:
    residuals = SHAPES[name]
    n = len(residuals)
    found = noise_covariance(residuals, "shrinkage_eye")
    expected = LedoitWolf().fit(residuals)
    np.testing.assert_allclose(
        found.covariance(), expected.covariance_ * n / (n - 1), rtol=1e-10, atol=1e-12
    )
    if name != "one feature":
        assert found.shrinkage == pytest.approx(expected.shrinkage_, abs=1e-12)


@pytest.mark.parametrize("method", ["shrinkage_diag", "shrinkage_eye", "diag", "full"])
def test_one_feature_has_its_variance(method: str) -> None:
    found = noise_covariance(TALL[:, :1], method)
    np.testing.assert_allclose(found.covariance(), [[TALL[:, 0].var(ddof=1)]])


def test_covariance_of_repeats_equals_rsatoolbox() -> None:
    repeats = RNG.normal(size=(10, 4, 12)) @ MIXING[:12, :12] + 3 * RNG.normal(size=(10, 1, 12))
    repeats[0, 1] = repeats[3, 0] = repeats[3, 2] = np.nan
    repeats[5, 2, 7] = np.nan  # one feature: the repeat counts as missing
    present = ~np.isnan(repeats).any(axis=2)
    labels = np.repeat(np.arange(10), 4)[present.ravel()].astype(str)
    data = Dataset(repeats[present], obs_descriptors={"c": list(labels)})
    for method in NOISE_METHODS:
        found = noise_covariance(repeats, method)
        expected = cov_from_unbalanced(data, "c", method=method)
        np.testing.assert_allclose(found.covariance(), expected, rtol=1e-9, atol=1e-12)
        assert found.dof == present.sum() - 10
        # A stimulus with one repeat tells nothing of the noise.
        more = np.concatenate([repeats, np.full((1, 4, 12), np.nan)])
        more[-1, 2] = 7.0
        again = noise_covariance(torch.from_numpy(more), method)
        np.testing.assert_allclose(again.covariance(), found.covariance(), rtol=1e-12)


def test_real_repeats(data_folder: Path) -> None:
    raw = np.load(data_folder / "macaque_v4" / "responses_raw_210325.npy").transpose(1, 2, 0)[:80]
    present = ~np.isnan(raw).any(axis=2)
    labels = np.repeat(np.arange(80), raw.shape[1])[present.ravel()].astype(str)
    data = Dataset(raw[present], obs_descriptors={"c": list(labels)})
    for method in NOISE_METHODS:
        found = noise_covariance(raw, method).covariance()
        expected = cov_from_unbalanced(data, "c", method=method)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("name", "method"), CASES)
def test_whitened_products_are_those_of_the_inverse(name: str, method: str) -> None:
    noise = noise_covariance(SHAPES[name], method)
    rows = RNG.normal(size=(7, noise.n_features))
    whitened = noise.whiten(rows)
    expected = rows @ np.linalg.solve(noise.covariance(), rows.T)
    np.testing.assert_allclose(whitened @ whitened.T, expected, rtol=1e-9, atol=1e-9)
    # The form follows from the shape: nothing p × p where there are more features than residuals.
    wide = noise.n_features > len(SHAPES[name])
    assert not (wide and noise.root is not None)
    if wide and method != "diag":
        assert noise.form in ("low_rank", "diagonal")
    # Blocks of columns, rows that are left out, a vector that is subtracted first.
    keep = torch.tensor([True] * 6 + [False])
    centre = torch.from_numpy(RNG.normal(size=noise.n_features))
    tensor = torch.from_numpy(rows.copy())
    tensor[6] = torch.nan
    found = torch.cat(
        list(whitened_blocks(tensor, noise, centre=centre, keep=keep, block_bytes=7 * 16 * 2)), 1
    )
    np.testing.assert_allclose(
        found[:6].numpy(), noise.whiten(rows[:6] - centre.numpy()), rtol=1e-9, atol=1e-10
    )
    assert not found[6].any()


def test_whitening_residuals_leaves_none() -> None:
    """The sample covariance of residuals, whitened by it, is the identity."""
    whitened = noise_covariance(TALL, "full").whiten(TALL - TALL.mean(axis=0))
    np.testing.assert_allclose(whitened.T @ whitened / (len(TALL) - 1), np.eye(12), atol=1e-10)


def test_covariance_and_precision_by_name() -> None:
    covariance = noise_covariance(TALL).covariance()
    rows = RNG.normal(size=(5, 12))
    products = [
        noise.whiten(rows) @ noise.whiten(rows).T
        for noise in (
            NoiseCovariance.from_covariance(covariance),
            NoiseCovariance.from_precision(np.linalg.inv(covariance)),
        )
    ]
    np.testing.assert_allclose(products[0], products[1], rtol=1e-10)
    np.testing.assert_allclose(
        NoiseCovariance.from_precision(np.linalg.inv(covariance)).covariance(), covariance
    )


def test_a_hundred_thousand_features_are_whitened_without_their_square() -> None:
    """A p × p matrix of these would take 80 GB."""
    residuals = np.random.default_rng(1).normal(size=(20, 100_000))
    noise = noise_covariance(residuals)
    assert noise.form == "low_rank"
    assert noise.factors.shape == (20, 100_000)
    rdm = compute_rdm(residuals[:4], "sqmahalanobis", noise=noise, per_feature=True)
    # The definition, by Woodbury's identity in another form: (D + F'F)⁻¹ on the differences.
    diagonal, factors = noise.diagonal, noise.factors
    inner = np.linalg.inv(np.eye(20) + factors / diagonal @ factors.T)
    difference = residuals[0] - residuals[3]
    scaled = difference / diagonal
    expected = difference @ scaled - (scaled @ factors.T) @ inner @ (factors @ scaled)
    assert rdm[0, 3] == pytest.approx(expected / 100_000, rel=1e-9)


def test_singular_covariances_say_so() -> None:
    with pytest.raises(UndefinedRDMError, match="full covariance of 30 features is singular: 11 d"):
        noise_covariance(WIDE, "full")
    silent = TALL.copy()
    silent[:, [2, 5]] = 0.1
    for method in ("shrinkage_diag", "diag", "full"):
        with pytest.raises(UndefinedRDMError, match="2 of 12 features never vary"):
            noise_covariance(silent, method)
    assert np.isfinite(noise_covariance(silent, "shrinkage_eye").whiten(silent)).all()
    with pytest.raises(UndefinedRDMError, match="shrinkage_eye covariance of 3 features is sing"):
        noise_covariance(np.ones((5, 3)), "shrinkage_eye")
    twice = np.cov(TALL[:, [0, 0, 1]].T)
    for kind in ("covariance", "precision"):
        make = getattr(NoiseCovariance, f"from_{kind}")
        with pytest.raises(UndefinedRDMError, match=f"the {kind} of 3 features is singular"):
            make(twice)
        with pytest.raises(UndefinedRDMError, match="not positive definite"):
            make(-np.eye(3))
        with pytest.raises(ValueError, match=f"noise {kind}: expected a symmetric matrix"):
            make(np.triu(np.ones((3, 3))) + np.eye(3))
        with pytest.raises(ValueError, match=r"\(n_features, n_features\), got shape \(3,\)"):
            make(np.ones(3))
        with pytest.raises(ValueError, match="expected finite numbers"):
            make(np.full((2, 2), np.nan))
    # Scales that differ by 10^12 between features are not singular.
    scales = np.diag([1e-6, 1.0, 1e6])
    NoiseCovariance.from_covariance(scales @ np.cov(TALL[:, :3].T) @ scales)


def test_bad_residuals_say_what_is_wrong() -> None:
    with pytest.raises(UnknownNameError, match="unknown noise method 'shrinkage'. Did you mean"):
        noise_covariance(TALL, "shrinkage")
    with pytest.raises(ValueError, match=r"n_features\), got shape \(5,\)"):
        noise_covariance(np.ones(5))
    with pytest.raises(ValueError, match="expected positive degrees of freedom, got 0"):
        noise_covariance(TALL[:1])
    with pytest.raises(ValueError, match="expected positive degrees of freedom, got 0"):
        noise_covariance(np.ones((4, 1, 3)))
    missing = TALL.copy()
    missing[0, 0] = np.nan
    with pytest.raises(ValueError, match="1 residuals are not finite"):
        noise_covariance(missing)
    repeats = np.ones((4, 3, 2))
    repeats[0, 0, 0] = np.inf
    with pytest.raises(ValueError, match="1 values are infinite. Mark missing repeats with NaN"):
        noise_covariance(repeats)
    noise = noise_covariance(TALL)
    with pytest.raises(ValueError, match="the covariance of 3 features, got 12"):
        noise.whiten(np.ones((2, 3)))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(3, 25), st.integers(1, 25))
def test_shrinkage_is_a_share_and_follows_the_scale(seed: int, n: int, p: int) -> None:
    residuals = np.random.default_rng(seed).normal(size=(n, p))
    for method in ("shrinkage_diag", "shrinkage_eye"):
        noise = noise_covariance(residuals, method)
        assert 0 <= noise.shrinkage <= 1
        scaled = noise_covariance(10 * residuals + 3, method).covariance()
        np.testing.assert_allclose(scaled, 100 * noise.covariance(), rtol=1e-7, atol=1e-8)
    # Towards its own diagonal: each feature may have its unit, and the trace stays.
    units = np.logspace(-3, 3, p)
    found = noise_covariance(residuals * units).covariance()
    expected = noise_covariance(residuals).covariance() * np.outer(units, units)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-15)
