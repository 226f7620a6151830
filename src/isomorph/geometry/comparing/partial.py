"""Partial and semi-partial correlation of RDMs: what two share beyond others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from isomorph.geometry.comparing.pair_products import Rows, cosines, inner_products

# What least squares leaves of a vector that the controls explain whole, relative to its length.
_ROUNDING = 1e-10


def partial_correlations(
    first: np.ndarray,
    second: np.ndarray,
    controls: np.ndarray,
    transform: Callable[[np.ndarray], np.ndarray],
    semipartial: bool,
) -> np.ndarray:
    """Correlate the residuals of RDM vectors after a least-squares fit of the controls.

    Parameters
    ----------
    first, second, controls : np.ndarray, (n_rdms, n_pairs)
    transform : callable
        What the correlation does to the vectors first: ranks, for Spearman's.
    semipartial : bool
        Take the controls out of `first` alone.

    Returns
    -------
    np.ndarray, (n_first, n_second)
        NaN where an RDM is not finite, constant, or a combination of the controls; all NaN if a
        control is not finite.
    """
    if not np.isfinite(controls).all():
        return np.full((len(first), len(second)), np.nan)
    basis = _orthonormal(transform(controls))
    same = first is second
    left = _residuals(first, basis, transform)
    if same and not semipartial:
        right = left
    else:
        right = _residuals(second, basis[:0] if semipartial else basis, transform)
    rows = Rows.of(left, centre=False)
    return cosines(*inner_products(rows, rows if right is left else Rows.of(right, centre=False)))


def _orthonormal(controls: np.ndarray) -> np.ndarray:
    """Orthonormal rows that span the centred controls, however these depend on one another."""
    centred = controls - controls.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    # A constant control is the intercept, which is taken out anyway.
    varying = (np.ptp(controls, axis=1) > 0)[:, None] & (lengths > 0)
    centred = centred[varying[:, 0]] / lengths[varying[:, 0]]
    if not len(centred):
        return centred
    _, sizes, basis = np.linalg.svd(centred, full_matrices=False)
    return basis[sizes > _ROUNDING * sizes[0]]


def _residuals(
    vectors: np.ndarray, basis: np.ndarray, transform: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Centred rows less their projection on the basis; NaN where nothing is left."""
    found = np.full(vectors.shape, np.nan)
    usable = np.isfinite(vectors).all(axis=1) & (np.ptp(vectors, axis=1) > 0)
    rows = transform(vectors[usable])
    rows = rows - rows.mean(axis=1, keepdims=True)
    rows /= np.abs(rows).max(axis=1, keepdims=True)
    before = np.linalg.norm(rows, axis=1)
    for _ in range(2):  # the second time takes out what rounding has left
        rows -= (rows @ basis.T) @ basis
    rows[np.linalg.norm(rows, axis=1) <= _ROUNDING * before] = np.nan
    found[usable] = rows
    return found
