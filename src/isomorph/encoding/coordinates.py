"""Exact coordinates of a layer in as many dimensions as its stimuli span."""

from __future__ import annotations

import numpy as np
import torch

from isomorph.geometry.columns import BLOCK_BYTES, as_features, column_slices, require_finite

_EPS = float(np.finfo(np.float64).eps)


def isometric_coordinates(
    features: np.ndarray | torch.Tensor, *, block_bytes: int = BLOCK_BYTES
) -> np.ndarray:
    """Coordinates of the stimuli with exactly the distances and inner products of the features.

    A layer of 370 000 features over 500 stimuli spans at most 499 dimensions. Whatever is
    equivariant to rotation (least squares of minimal norm, ridge, PLS, L2-penalised classifiers,
    nearest prototypes) gives the same predictions on these coordinates as on the features, also
    when it is fitted on some of the stimuli and predicts the others, and costs n × n.

    Parameters
    ----------
    features : np.ndarray or torch.Tensor, (n_stimuli, n_features, …)
        Neither changed nor copied as a whole where there are more features than stimuli.
    block_bytes : int
        Size of a block of columns.

    Returns
    -------
    np.ndarray, (n_stimuli, rank), float64
        Centred over the stimuli: the features themselves where there are no more than stimuli,
        else U √λ of their centred Gram, in float64. (n_stimuli, 0) where the stimuli do not differ.

    Raises
    ------
    NonFiniteError
        If a feature is not finite.

    Examples
    --------
    >>> features = np.random.default_rng(0).standard_normal((6, 500))
    >>> found = isometric_coordinates(features)
    >>> found.shape, np.allclose(np.linalg.norm(found[0] - found[1]),
    ...                          np.linalg.norm(features[0] - features[1]))
    ((6, 5), True)
    """
    matrix = as_features(features)
    n, p = matrix.shape
    if p <= n:
        return _centred_features(matrix, block_bytes)
    kernel = torch.zeros(n, n, dtype=torch.float64, device=matrix.device)
    size = torch.zeros((), dtype=torch.float64, device=matrix.device)
    for columns in column_slices(matrix, block_bytes // 2):
        block = matrix[:, columns].double()
        size += block.square().sum()
        block = block - block.mean(dim=0)
        kernel += _self_product(block)
    require_finite(matrix, size, block_bytes)
    gram = kernel.cpu().numpy()
    # Centring the columns leaves the sums of the rows at rounding; both ways it is exact.
    gram = (gram + gram.T) / 2
    if np.trace(gram) <= (16 * _EPS) ** 2 * float(size):
        return np.zeros((n, 0))
    values, vectors = np.linalg.eigh(gram)
    kept = values > n * _EPS * values[-1]
    return vectors[:, kept] * np.sqrt(values[kept])


def _self_product(block: torch.Tensor) -> torch.Tensor:
    if block.device.type != "cpu":
        return block @ block.T
    array = block.numpy()
    return torch.from_numpy(array @ array.T)  # one buffer on both sides: BLAS syrk


def _centred_features(matrix: torch.Tensor, block_bytes: int) -> np.ndarray:
    wide = matrix.double().cpu().numpy()
    require_finite(matrix, torch.as_tensor(wide).square().sum(), block_bytes)
    centred = wide - wide.mean(axis=0)
    # What is left of a constant column is the rounding of its mean.
    varies = np.ptp(wide, axis=0) > 8 * _EPS * np.abs(wide).max(axis=0)
    return centred[:, varies]
