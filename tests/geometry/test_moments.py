"""Moments and the blockwise projection against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isomorph.geometry import RunningMoments, SparseProjector, moments_of


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("sizes", [(37,), (1, 5, 31), (12, 12, 13)])
def test_moments_do_not_depend_on_blocks_and_do_not_cancel(sizes, offset):
    rows = torch.randn(37, 20, generator=torch.Generator().manual_seed(0)).relu() + offset
    rows[:, 3] = 0
    running = RunningMoments(20, torch.device("cpu"))
    for block in rows.split(list(sizes)):
        running.add(block)
    found, exact = running.moments(), rows.double().numpy()
    assert found.n == 37
    np.testing.assert_allclose(found.mean, exact.mean(axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.variance, exact.var(axis=0), rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(found.zero_share, (exact == 0).mean(axis=0))


def test_sparseness_of_known_units():
    # Alike for all; for one of four alone; for two of four; silent.
    rows = torch.tensor([[1.0, 0, 0, 0], [1, 0, 3, 0], [1, 2, 3, 0], [1, 0, 0, 0]])
    found = moments_of(rows).lifetime_sparseness()
    np.testing.assert_allclose(found[:3], [0, 1, 2 / 3])
    assert np.isnan(found[3])


def dense(projector: SparseProjector) -> np.ndarray:
    """The whole matrix, (n_components, n_features), draw by draw."""
    matrix = np.zeros((projector.n_components, projector.n_features))
    for number, start in enumerate(projector._cuts[:-1]):
        columns, weights = projector.draws(number)
        for component in range(projector.n_components):
            np.add.at(matrix[component], start + columns[component], weights[component])
    return matrix


@pytest.mark.parametrize("n_features", [40, 5_000, 150_000])
def test_projecting_is_the_product_with_the_blocks(n_features):
    rows = torch.randn(3, n_features, generator=torch.Generator().manual_seed(1))
    projector = SparseProjector(n_features, 60, seed=5)
    expected = rows.double().numpy() @ dense(projector).T
    np.testing.assert_allclose(projector(rows).numpy(), expected, rtol=1e-4, atol=1e-4)
    strided = rows.repeat_interleave(2, dim=1)[:, ::2]
    np.testing.assert_allclose(projector(strided).numpy(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n_features", [50, 100_000])
def test_squared_lengths_and_products_are_kept_on_average(n_features):
    generator = torch.Generator().manual_seed(2)
    first, second = torch.randn(2, n_features, generator=generator)
    second += first
    found = []
    for seed in range(60):
        projected = SparseProjector(n_features, 64, seed=seed)(torch.stack([first, second]))
        found.append((projected @ projected.T)[[0, 0, 1], [0, 1, 1]].numpy())
    exact = [float(a @ b) for a, b in ((first, first), (first, second), (second, second))]
    error = np.std(found, axis=0) / np.sqrt(60)
    assert (np.abs(np.mean(found, axis=0) - exact) < 4 * error).all()
    # No wider than a Gaussian projection: the variance of a squared length is 2 |x|⁴ / k.
    assert np.std(found, axis=0)[0] < 1.4 * np.sqrt(2 / 64) * exact[0]


def test_a_projection_follows_from_its_seed_alone_and_has_the_usual_density():
    first, second = SparseProjector(90_000, 40, seed=1), SparseProjector(90_000, 40, seed=1)
    np.testing.assert_array_equal(dense(first), dense(second))
    assert not np.array_equal(dense(first), dense(SparseProjector(90_000, 40, seed=2)))
    assert np.mean(dense(first) != 0) == pytest.approx(1 / np.sqrt(90_000), rel=0.02)


def test_another_number_of_features_is_an_error():
    with pytest.raises(ValueError, match="expected 10 features, got 11"):
        SparseProjector(10, 4)(torch.zeros(2, 11))
