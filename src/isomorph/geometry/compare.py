"""Comparison of RDMs. An RDM is a unit vector: all comparisons are one matrix product."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

from isomorph.geometry.rdm import n_stimuli_of, upper_triangle
from isomorph.registry import Registry

# Relative to the largest dissimilarity: what is left of a zero or of symmetry after rounding.
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Comparison:
    """A way to compare RDMs over their pairs of stimuli.

    Parameters
    ----------
    compare : callable
        ``compare(first, second)`` of RDM vectors, (n_first, n_pairs) and (n_second, n_pairs),
        float64 and finite, gives (n_first, n_second). NaN where an RDM is undefined for it.
    pool : callable
        ``pool(vectors)`` of RDM vectors (n_rdms, n_pairs) gives the parts whose sum over RDMs is
        the RDM that these agree with most (exactly, or as nearly as is known): (n_rdms, n_pairs).
    range : (float, float)
    summary, reference : str
    transform : callable or None
        For a correlation: what is done to the vectors (n_rdms, n_pairs) before they are centred,
        scaled to length one and multiplied.
    """

    compare: Callable[[np.ndarray, np.ndarray], np.ndarray]
    pool: Callable[[np.ndarray], np.ndarray]
    range: tuple[float, float]
    summary: str
    reference: str
    transform: Callable[[np.ndarray], np.ndarray] | None = None


COMPARISONS: Registry[Comparison] = Registry("RDM comparison")


def _values(vectors: np.ndarray) -> np.ndarray:
    return vectors


def _average_ranks(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(scipy.stats.rankdata(vectors, method="average", axis=-1), dtype=np.float64)


def _correlation(method: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    def compare(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.clip(unit_vectors(first, method) @ unit_vectors(second, method).T, -1, 1)

    return compare


def unit_vectors(vectors: ArrayLike, method: str = "pearson") -> np.ndarray:
    """Centre RDM vectors and scale them to length one, so that their products are correlations.

    Parameters
    ----------
    vectors : array_like, (n_rdms, n_pairs) or (n_pairs,)
    method : {"pearson", "spearman"}
        ``"spearman"`` ranks the dissimilarities first, ties by their average rank.

    Returns
    -------
    np.ndarray, same shape, float64
        NaN for an RDM that is constant or holds a NaN: its correlations are undefined.

    Examples
    --------
    >>> units = unit_vectors([[1.0, 2, 4], [3, 1, 1]])
    >>> bool(np.isclose(units[0] @ units[1], np.corrcoef([1, 2, 4], [3, 1, 1])[0, 1]))
    True
    """
    transform = COMPARISONS[method].transform
    if transform is None:
        raise ValueError(
            f"unit_vectors: {method!r} is not a correlation of transformed RDMs. Use compare_rdms."
        )
    array = np.asarray(vectors, dtype=np.float64)
    rows = np.atleast_2d(array)
    units = np.full(rows.shape, np.nan)
    # The extremes are exact, where a sum of squares would be left with rounding.
    usable = np.isfinite(rows).all(axis=1) & (np.ptp(rows, axis=1) > 0)
    centred = transform(rows[usable])
    centred = centred - centred.mean(axis=1, keepdims=True)
    # Scaled by the largest first: squares of tiny dissimilarities must not underflow.
    centred /= np.abs(centred).max(axis=1, keepdims=True)
    units[usable] = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    return units.reshape(array.shape)


COMPARISONS.add(
    "pearson",
    Comparison(
        _correlation("pearson"),
        lambda vectors: unit_vectors(vectors, "pearson"),
        (-1.0, 1.0),
        "Pearson correlation of the dissimilarities.",
        "Kriegeskorte, Mur & Bandettini 2008, Front. Syst. Neurosci. 2:4",
        transform=_values,
    ),
)
COMPARISONS.add(
    "spearman",
    Comparison(
        _correlation("spearman"),
        _average_ranks,
        (-1.0, 1.0),
        "Pearson correlation of their average ranks.",
        "Kriegeskorte, Mur & Bandettini 2008, Front. Syst. Neurosci. 2:4",
        transform=_average_ranks,
    ),
)


def compare_rdms(
    first: ArrayLike, second: ArrayLike, method: str = "pearson"
) -> float | np.ndarray:
    """Correlate RDMs over their pairs of stimuli.

    Parameters
    ----------
    first, second : array_like
        One RDM, (n, n) or (n_pairs,), or a stack, (n_rdms, n, n) or (n_rdms, n_pairs). A square,
        symmetric array with a zero diagonal, both up to rounding, is one RDM: so is
        ``1 - np.corrcoef(features)``.
    method : {"pearson", "spearman"}

    Returns
    -------
    float or np.ndarray, (n_first, n_second)
        A float if both are one RDM. NaN where an RDM is constant or holds a NaN.

    Raises
    ------
    ValueError
        If a shape is none of these, a square array with a zero diagonal is not symmetric, or the
        two have different numbers of stimuli.
    KeyError
        If the method does not exist.

    References
    ----------
    Kriegeskorte, Mur & Bandettini (2008), Frontiers in Systems Neuroscience 2:4.

    Examples
    --------
    >>> compare_rdms([1.0, 2, 3], [[2.0, 4, 6], [3, 2, 1]]).round(6)
    array([[ 1., -1.]])
    """
    vectors = [_as_vectors(rdm, name) for rdm, name in ((first, "first"), (second, "second"))]
    n_pairs = [vector.shape[-1] for vector in vectors]
    if n_pairs[0] != n_pairs[1]:
        n_stimuli = [n_stimuli_of(pairs) for pairs in n_pairs]
        raise ValueError(
            f"compare_rdms: expected RDMs over the same stimuli, got {n_stimuli[0]} stimuli "
            f"({n_pairs[0]} pairs) and {n_stimuli[1]} ({n_pairs[1]} pairs). "
            "Take the stimuli that both have."
        )
    compare = COMPARISONS[method].compare
    found = compare(np.atleast_2d(vectors[0]), np.atleast_2d(vectors[1]))
    return float(found[0, 0]) if vectors[0].ndim == vectors[1].ndim == 1 else found


def _as_vectors(rdm: ArrayLike, name: str) -> np.ndarray:
    """(n_pairs,) for one RDM, (n_rdms, n_pairs) for a stack."""
    array = np.asarray(rdm, dtype=np.float64)
    if array.ndim == 3 or _is_one_rdm(array, name):
        array = upper_triangle(array)
    if array.ndim not in (1, 2) or n_stimuli_of(array.shape[-1]) is None:
        raise ValueError(
            f"compare_rdms: {name} expected an RDM (n, n) with a zero diagonal, a vector of "
            f"n(n − 1)/2 pairs, or a stack of either, got shape {array.shape}."
        )
    return array


def _is_one_rdm(array: np.ndarray, name: str) -> bool:
    """Tell a square RDM from a stack of as many vectors as each has pairs (n = 3, 6, 10, 15 …)."""
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        return False
    finite = np.abs(array[np.isfinite(array)])
    atol = _TOLERANCE * float(finite.max(initial=0))
    if not (np.abs(array.diagonal()) <= atol).all():
        return False
    if not np.allclose(array, array.T, rtol=0, atol=atol, equal_nan=True):
        raise ValueError(
            f"compare_rdms: {name} expected a symmetric RDM, got shape {array.shape} with a zero "
            "diagonal and halves that differ. Average it with its transpose if both halves "
            "measure the same; give a stack of RDMs as (n_rdms, n, n)."
        )
    return True
