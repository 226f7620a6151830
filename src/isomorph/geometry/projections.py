"""Sparse random projection, as the literature uses it. The exact Gram needs none."""

from __future__ import annotations

import math
import warnings

import numpy as np
import scipy.sparse
import torch
from sklearn.exceptions import DataDimensionalityWarning
from sklearn.random_projection import SparseRandomProjection

from isomorph.geometry.columns import as_features, require_finite

_ROW_BYTES = 64_000_000


def johnson_lindenstrauss_dim(n: int, eps: float = 0.1) -> int:
    """Number of components that keeps all squared distances among n stimuli within 1 ± eps.

    Parameters
    ----------
    n : int
        Number of stimuli.
    eps : float
        Distortion, between 0 and 1.

    Returns
    -------
    int
        floor(4 ln n / (eps²/2 − eps³/3)).

    References
    ----------
    Dasgupta & Gupta (2003), Random Structures & Algorithms 22(1), theorem 2.1.

    Examples
    --------
    >>> johnson_lindenstrauss_dim(1000)
    5920
    """
    if n < 1 or not 0 < eps < 1:
        raise ValueError(
            f"johnson_lindenstrauss_dim: expected n ≥ 1 and 0 < eps < 1, got n={n}, eps={eps}."
        )
    return math.floor(4 * math.log(n) / (eps**2 / 2 - eps**3 / 3))


def sparse_projection_matrix(n_features: int, k: int, seed: int) -> scipy.sparse.csr_matrix:
    """Sparse random projection, the same as scikit-learn's ``SparseRandomProjection``.

    Entries are ±sqrt(1/density)/sqrt(k) with density 1/sqrt(n_features), else 0. k may exceed
    n_features (Conwell et al. 2024 project small layers up).

    Parameters
    ----------
    n_features, k : int
        Features in, components out.
    seed : int

    Returns
    -------
    scipy.sparse.csr_matrix, (k, n_features), float32

    References
    ----------
    Li, Hastie & Church (2006), Very sparse random projections, KDD.

    Examples
    --------
    >>> sparse_projection_matrix(400, 50, seed=0).shape
    (50, 400)
    """
    # (The annotation that pyright infers for n_components is that of its default, "auto".)
    projection = SparseRandomProjection(n_components=k, random_state=seed)  # pyright: ignore
    with warnings.catch_warnings():
        # Projecting up is what the published pipeline does; it is not a mistake here.
        warnings.simplefilter("ignore", DataDimensionalityWarning)
        # The matrix depends on the number of features alone, so an empty row stands for the data.
        projection.fit(scipy.sparse.csr_matrix((1, n_features), dtype=np.float32))
    return scipy.sparse.csr_matrix(projection.components_)


def project(features: torch.Tensor | np.ndarray, matrix: scipy.sparse.csr_matrix) -> np.ndarray:
    """Project features, some stimuli at a time.

    Parameters
    ----------
    features : torch.Tensor or np.ndarray, (n_stimuli, n_features, …)
    matrix : scipy.sparse.csr_matrix, (k, n_features)

    Returns
    -------
    np.ndarray, (n_stimuli, k), float32

    Raises
    ------
    ValueError
        If the numbers of features differ or a feature is not finite.

    Examples
    --------
    >>> project(torch.rand(6, 400), sparse_projection_matrix(400, 50, seed=0)).shape
    (6, 50)
    """
    rows = as_features(features)
    n, p = rows.shape
    k, expected = matrix.shape  # pyright: ignore
    if p != expected:
        raise ValueError(
            f"project: expected {expected} features (the matrix's columns), got {p}. "
            "Make a matrix for this layer with sparse_projection_matrix."
        )
    narrow = matrix.astype(np.float32, copy=False)
    projected = np.empty((n, k), dtype=np.float32)
    step = max(1, _ROW_BYTES // (4 * p))
    for start in range(0, n, step):
        chunk = rows[start : start + step].to("cpu", torch.float32).numpy()
        projected[start : start + step] = (narrow @ chunk.T).T
    require_finite(rows, torch.from_numpy(projected), _ROW_BYTES)
    return projected
