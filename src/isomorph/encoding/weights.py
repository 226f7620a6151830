"""Weights in feature space from dual coefficients, in chunks that fit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike

from isomorph.encoding.spectrum import CHUNK_BYTES
from isomorph.geometry import as_tensor


def ridge_weights(
    features: np.ndarray | torch.Tensor,
    coefficients: np.ndarray | torch.Tensor,
    *,
    rows: ArrayLike | None = None,
    block_bytes: int = CHUNK_BYTES,
) -> np.ndarray:
    """Weights in feature space from dual coefficients, in blocks of features.

    Parameters
    ----------
    features : np.ndarray or torch.Tensor, (n_train, p)
        The training features whose products were the kernel. Neither changed nor copied whole.
    coefficients : np.ndarray or torch.Tensor, (n_train, t)
        `RidgeFit.coefficients` of a kernel, or some of their columns: p × t may be large, and
        `weight_chunks` walks over it.
    rows : array_like of int, optional
        Which rows of the features are the training stimuli; by default all.

    Returns
    -------
    np.ndarray, (p, t), float64
        A prediction is (x − mean of the training features) @ weights + intercept.

    Examples
    --------
    >>> from isomorph.encoding import ridge_loo
    >>> x = np.random.default_rng(0).standard_normal((20, 50))
    >>> fit = ridge_loo(x @ x.T, x[:, :3], [1, 10], coefficients=True)
    >>> ridge_weights(x, fit.coefficients[:, :2]).shape
    (50, 2)
    """
    x = as_tensor(features).detach().flatten(start_dim=1)
    dual = as_tensor(coefficients).detach().to(x.device, torch.float64)
    index = torch.arange(len(x)) if rows is None else torch.tensor(np.asarray(rows))
    if dual.ndim != 2 or len(dual) != len(index):
        raise ValueError(
            f"ridge_weights: expected dual coefficients of shape ({len(index)}, n_targets) for "
            f"{len(index)} training stimuli, got {tuple(dual.shape)}."
        )
    weights = np.empty((x.shape[1], dual.shape[1]))
    width = max(1, block_bytes // (8 * len(index)))
    for start in range(0, x.shape[1], width):
        block = x[index.to(x.device), start : start + width].double()
        # Dual coefficients sum to zero, but a large common offset would leave its rounding.
        block = block - block.mean(dim=0)
        weights[start : start + width] = (block.T @ dual).cpu().numpy()
    return weights


def weight_chunks(
    features: np.ndarray | torch.Tensor,
    coefficients: np.ndarray,
    *,
    chunk_bytes: int = CHUNK_BYTES,
) -> Iterator[tuple[slice, np.ndarray]]:
    """Walk over the weights of all targets, a memory-sized chunk of targets at a time.

    Yields
    ------
    targets : slice
    weights : np.ndarray, (p, targets of the chunk)

    Examples
    --------
    >>> from isomorph.encoding import ridge_loo
    >>> x = np.random.default_rng(0).standard_normal((20, 50))
    >>> fit = ridge_loo(x @ x.T, x[:, :3], [1, 10], coefficients=True)
    >>> [w.shape for _, w in weight_chunks(x, fit.coefficients, chunk_bytes=800)]
    [(50, 2), (50, 1)]
    """
    p = int(np.prod(features.shape[1:]))
    width = max(1, chunk_bytes // (8 * p))
    for start in range(0, coefficients.shape[1], width):
        chunk = slice(start, min(start + width, coefficients.shape[1]))
        yield chunk, ridge_weights(features, coefficients[:, chunk])
