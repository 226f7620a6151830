"""The metric in which a comparison of RDMs is a cosine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from isomorph.geometry.rdms.rdm import n_stimuli_of, square, upper_triangle
from isomorph.registry import unknown_name


def _centred(vectors: np.ndarray) -> np.ndarray:
    return vectors - vectors.mean(axis=-1, keepdims=True)


def _whitened(vectors: np.ndarray) -> np.ndarray:
    """Half of the off-diagonal entries of J D J, J centring: V⁻¹ d for independent stimuli."""
    n = n_stimuli_of(vectors.shape[-1])
    assert n is not None
    found = np.empty(vectors.shape)
    rows = np.atleast_2d(vectors)
    out = np.atleast_2d(found)
    for i, row in enumerate(rows):  # a square at a time
        distances = square(row)
        means = distances.mean(axis=0)
        out[i] = upper_triangle(distances - means - means[:, None] + distances.mean()) / 2
    return found


_METRICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "cosine": lambda vectors: np.array(vectors, dtype=np.float64),
    "pearson": _centred,
    "whitened_cosine": _whitened,
    "whitened_pearson": lambda vectors: _centred(_whitened(_centred(vectors))),
}


def pair_metric(method: str) -> Callable[[np.ndarray], np.ndarray]:
    """Look up what a comparison applies to RDM vectors before their plain inner product.

    Parameters
    ----------
    method : {"cosine", "pearson", "whitened_cosine", "whitened_pearson"}

    Returns
    -------
    callable
        A with d·A(e) the inner product of d and e whose cosine is the comparison: linear and
        symmetric, (…, n_pairs) → (…, n_pairs).

    Raises
    ------
    KeyError
        For a comparison that is no cosine of the dissimilarities themselves.

    Examples
    --------
    >>> pair_metric("pearson")(np.array([1.0, 2, 6]))
    array([-2., -1.,  3.])
    """
    if method not in _METRICS:
        raise unknown_name(
            "comparison that weights can be fitted by",
            method,
            _METRICS,
            "Fit by one of these, and compare by any.",
        )
    return _METRICS[method]
