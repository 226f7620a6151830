"""Transforms of RDMs: what is done to the dissimilarities before they are shown or compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse.csgraph
import scipy.stats
from numpy.typing import ArrayLike

from isomorph.geometry.rdms.rdm import check_rdm, is_one_rdm, n_stimuli_of, square, upper_triangle
from isomorph.registry import Registry, unknown_name


@dataclass(frozen=True)
class RDMTransform:
    """A transform of one RDM.

    Parameters
    ----------
    compute : callable
        ``compute(values, **options)`` of an RDM's finite dissimilarities (n_values,), float64,
        gives as many; or, if `whole`, of all pairs, NaN where one is missing.
    summary, reference : str
    options : tuple of str
    whole : bool
        Whether it must see which pairs the values belong to.
    """

    compute: Callable[..., np.ndarray]
    summary: str
    reference: str = ""
    options: tuple[str, ...] = ()
    whole: bool = False


RDM_TRANSFORMS: Registry[RDMTransform] = Registry("RDM transform")


def transform_rdm(
    rdm: ArrayLike,
    transform: str | Callable[[np.ndarray], ArrayLike] = "rank",
    **options: float,
) -> np.ndarray:
    """Transform an RDM, or each RDM of a stack by itself.

    Parameters
    ----------
    rdm : array_like
        One RDM, (n, n) or (n_pairs,), or a stack, (n_rdms, n, n) or (n_rdms, n_pairs). A square
        array with a zero diagonal is one RDM.
    transform : str or callable
        - ``rank``: 1 for the smallest, ties by their average; ``percentile``: 100 times the share
          of pairs that are smaller, half of the ties among them.
        - ``sqrt``: the root, of 0 where it is negative; ``positive``: 0 where it is negative.
        - ``minmax``: to 0 … 1; ``zscore``: to mean 0 and standard deviation 1.
        - ``geotopological``: 0 up to the quantile ``low``, 1 from the quantile ``up`` on, straight
          between them.
        - ``geodesic``: the shortest way through the other stimuli, after ``geotopological``, over
          pairs below 1; NaN where there is none.
        - A function of an RDM's finite dissimilarities that gives as many.
    **options : float
        ``low`` and ``up`` (0 and 1 unless given), both between 0 and 1.

    Returns
    -------
    np.ndarray, same shape, float64
        NaN pairs stay NaN, and diagonals 0. All NaN where a constant RDM is divided by its spread.

    Raises
    ------
    UnknownNameError
        If there is no such transform or option.
    ValueError
        If it is no RDM, or a function does not give as many values.

    References
    ----------
    Lin & Kriegeskorte (2024), PNAS 121(42) (geotopological, geodesic); Nili et al. (2014), PLOS
    Computational Biology 10(4) (ranks).

    Examples
    --------
    >>> transform_rdm([0.3, 0.1, 0.3], "rank")
    array([2.5, 1. , 2.5])
    >>> transform_rdm([0.0, 1, 2, 3, 4, 5], "geotopological", low=0.2, up=0.8).round(2)
    array([0.  , 0.  , 0.33, 0.67, 1.  , 1.  ])
    """
    if isinstance(transform, str):
        entry = RDM_TRANSFORMS[transform]
    else:
        entry = RDMTransform(lambda values: _own(transform, values), "")
    for name in options:
        if name not in entry.options:
            raise unknown_name(f"option of {transform}", name, entry.options)
    vectors, is_square = as_vectors(rdm, "transform_rdm")
    stack = np.stack([_one(entry, vector, options) for vector in np.atleast_2d(vectors)])
    found = stack if vectors.ndim == 2 else stack[0]
    return square(found) if is_square else found


def _one(entry: RDMTransform, vector: np.ndarray, options: dict[str, float]) -> np.ndarray:
    present = ~np.isnan(vector)
    if entry.whole:
        return np.where(present, entry.compute(vector, **options), np.nan)
    found = np.full(vector.shape, np.nan)
    if present.any():
        found[present] = entry.compute(vector[present], **options)
    return found


def _own(function: Callable[[np.ndarray], ArrayLike], values: np.ndarray) -> np.ndarray:
    found = np.asarray(function(values.copy()), dtype=np.float64)
    if found.shape != values.shape:
        raise ValueError(
            f"transform_rdm: expected the function to give {values.shape[0]} values, one for each "
            f"pair, got shape {found.shape}."
        )
    return found


def as_vectors(rdm: ArrayLike, name: str) -> tuple[np.ndarray, bool]:
    """Vectors, (n_pairs,) or (n_rdms, n_pairs), of RDMs of any shape; whether they were square.

    Raises
    ------
    ValueError
        If a shape is no RDM's, a square is not symmetric, or something is infinite.
    """
    array = np.asarray(rdm, dtype=np.float64)
    n_infinite = int(np.isinf(array).sum())
    if n_infinite:
        raise ValueError(f"{name}: expected finite dissimilarities or NaN, got {n_infinite} inf.")
    if array.ndim == 3 and array.shape[1] == array.shape[2] and array.size:
        return np.stack([upper_triangle(check_rdm(one, name)) for one in array]), True
    if is_one_rdm(array, name):
        return upper_triangle(check_rdm(array, name)), True
    if array.ndim not in (1, 2) or not len(array) or n_stimuli_of(array.shape[-1]) is None:
        raise ValueError(
            f"{name}: expected an RDM (n, n) with a zero diagonal, a vector of n(n − 1)/2 pairs, "
            f"or a stack of either, got shape {array.shape}."
        )
    return array, False


def _rank(values: np.ndarray) -> np.ndarray:
    return np.asarray(scipy.stats.rankdata(values, method="average"), dtype=np.float64)


def _percentile(values: np.ndarray) -> np.ndarray:
    return 100 * (_rank(values) - 0.5) / len(values)


def _sqrt(values: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(values, 0))


def _positive(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 0)


def _minmax(values: np.ndarray) -> np.ndarray:
    spread = np.ptp(values)
    return (values - values.min()) / (spread if spread > 0 else np.nan)


def zscored(values: np.ndarray) -> np.ndarray:
    """Mean 0 and standard deviation 1; all NaN where the values are constant."""
    if not np.ptp(values) > 0:
        return np.full(values.shape, np.nan)
    return (values - values.mean()) / values.std()


def _geotopological(values: np.ndarray, low: float = 0.0, up: float = 1.0) -> np.ndarray:
    if not 0 <= low <= up <= 1:
        raise ValueError(
            f"geotopological: expected quantiles 0 ≤ low ≤ up ≤ 1, got low={low} and up={up}."
        )
    bottom, top = np.quantile(values, [low, up])
    if top > bottom:
        return np.clip((values - bottom) / (top - bottom), 0, 1)
    return np.where(values > top, 1.0, 0.0)


def _geodesic(vector: np.ndarray, low: float = 0.0, up: float = 1.0) -> np.ndarray:
    present = ~np.isnan(vector)
    if not present.any() or not np.ptp(vector[present]) > 0:
        return np.full(vector.shape, np.nan)
    lengths = np.full(vector.shape, np.inf)
    lengths[present] = _geotopological(vector[present], low, up)
    lengths[lengths >= 1] = np.inf
    # Given as a sparse graph, since in a dense one a length of 0 would be no edge at all.
    edges = square(lengths)
    first, second = np.nonzero(np.isfinite(edges))
    graph = scipy.sparse.csr_array((edges[first, second], (first, second)), shape=edges.shape)
    ways = upper_triangle(scipy.sparse.csgraph.shortest_path(graph, directed=False))
    return np.where(np.isfinite(ways), ways, np.nan)


_NILI = "Nili et al. 2014, PLOS Comput. Biol. 10(4):e1003553"
_LIN = "Lin & Kriegeskorte 2024, PNAS 121(42):e2317881121"
RDM_TRANSFORMS.add("rank", RDMTransform(_rank, "Ranks, ties by their average.", _NILI))
RDM_TRANSFORMS.add("percentile", RDMTransform(_percentile, "Percentile ranks, 0 to 100.", _NILI))
RDM_TRANSFORMS.add("sqrt", RDMTransform(_sqrt, "The root; negative values count as 0."))
RDM_TRANSFORMS.add("positive", RDMTransform(_positive, "Negative values set to 0."))
RDM_TRANSFORMS.add("minmax", RDMTransform(_minmax, "Stretched to 0 … 1."))
RDM_TRANSFORMS.add("zscore", RDMTransform(zscored, "Mean 0 and standard deviation 1."))
RDM_TRANSFORMS.add(
    "geotopological",
    RDMTransform(
        _geotopological, "0 below a lower and 1 above an upper quantile.", _LIN, ("low", "up")
    ),
)
RDM_TRANSFORMS.add(
    "geodesic",
    RDMTransform(
        _geodesic,
        "Shortest ways through the other stimuli, over pairs below the upper quantile.",
        _LIN,
        ("low", "up"),
        whole=True,
    ),
)
