"""Averages of RDMs, and RDMs of different stimuli brought together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from isomorph.geometry.rdms.rdm import check_rdm, is_one_rdm, square
from isomorph.geometry.rdms.transforms import as_vectors, transform_rdm
from isomorph.registry import unknown_name

AVERAGES = ("mean", "zscore", "rank", "fisher")
RESCALINGS = ("evidence", "setsize", "simple")
_STEPS = 10_000
_ROUNDING = 1e-6  # of a correlation, which may have been float32


def average_rdms(
    stack: ArrayLike,
    method: str = "mean",
    *,
    weights: ArrayLike | None = None,
    nan: Literal["propagate", "omit"] = "propagate",
) -> np.ndarray:
    """Average a stack of RDMs.

    Parameters
    ----------
    stack : array_like, (n_rdms, n, n) or (n_rdms, n_pairs)
    method : {"mean", "zscore", "rank", "fisher"}
        The mean of the dissimilarities; of each RDM's z-scores; of its ranks; or, for correlation
        distances, 1 − tanh of the mean of artanh(1 − d).
    weights : array_like, (n_rdms,) or of the shape of the stack, optional
        Not negative; alike by default.
    nan : {"propagate", "omit"}
        A pair that is NaN in one RDM is NaN in the average, or is averaged over the RDMs that have
        it (NaN if none has).

    Returns
    -------
    np.ndarray, (n, n) or (n_pairs,)

    Raises
    ------
    UnknownNameError
        If there is no such method.
    ValueError
        If it is no stack of RDMs, weights are negative or of another shape, or ``"fisher"`` is
        given dissimilarities outside 0 … 2.

    Examples
    --------
    >>> average_rdms([[1.0, 2, 3], [3, 4, 5]])
    array([2., 3., 4.])
    >>> average_rdms([[1.0, np.nan, 3], [3, 4, 5]], nan="omit")
    array([2., 4., 4.])
    """
    if method not in AVERAGES:
        raise unknown_name("average of RDMs", method, AVERAGES)
    if nan not in ("propagate", "omit"):
        raise unknown_name("way with NaN pairs", nan, ("propagate", "omit"))
    array = np.asarray(stack, dtype=np.float64)
    if array.ndim not in (2, 3) or len(array) == 0 or is_one_rdm(array, "average_rdms"):
        raise ValueError(
            f"average_rdms: expected a stack (n_rdms, n, n) or (n_rdms, n_pairs), got shape "
            f"{array.shape}. Put the RDMs into one array: np.stack(rdms)."
        )
    as_vectors(array, "average_rdms")  # an error where they are no RDMs
    shares = _weights(weights, array.shape)
    if method in ("zscore", "rank"):
        # NaN from an RDM that is constant stays, and so shows in the average.
        array = np.stack([transform_rdm(one, method) for one in array])
    if method == "fisher":
        array = _to_fisher(array)
    missing = np.isnan(array)
    if nan == "omit":
        shares = np.where(missing, 0.0, shares)
        array = np.where(missing, 0.0, array)
    total = shares.sum(axis=0)
    with np.errstate(invalid="ignore"):
        products = np.where(shares > 0, shares * array, np.where(np.isnan(array), np.nan, 0.0))
        found = products.sum(axis=0) / np.where(total > 0, total, np.nan)
        if method == "fisher":
            found = 1 - np.tanh(found)
    return found


def _weights(weights: ArrayLike | None, shape: tuple[int, ...]) -> np.ndarray:
    if weights is None:
        return np.ones(shape)
    array = np.asarray(weights, dtype=np.float64)
    if array.shape == shape[:1]:
        array = array.reshape(-1, *[1] * (len(shape) - 1))
    elif array.shape != shape:
        raise ValueError(
            f"average_rdms: expected weights ({shape[0]},) or {shape}, got shape {array.shape}."
        )
    if array.shape == shape:  # NaN stands where a pair is missing, as rescale_rdms gives it
        array = np.nan_to_num(array, nan=0.0, posinf=np.inf)
    if not (np.isfinite(array) & (array >= 0)).all() or not array.any():
        raise ValueError(
            "average_rdms: expected weights that are finite, 0 or above, and not all 0."
        )
    return np.broadcast_to(array, shape)


def _to_fisher(array: np.ndarray) -> np.ndarray:
    if (array < -_ROUNDING).any() or (array > 2 + _ROUNDING).any():
        raise ValueError(
            "average_rdms: method='fisher' expects correlation distances, 0 to 2, got "
            f"{np.nanmin(array):g} to {np.nanmax(array):g}. Use method='mean'."
        )
    with np.errstate(divide="ignore"):
        return np.arctanh(np.clip(1 - array, -1, 1))


def join_rdms(
    rdms: Sequence[ArrayLike], names: Sequence[Sequence[Hashable]]
) -> tuple[np.ndarray, tuple[Hashable, ...]]:
    """Put RDMs of different stimuli over the union of their stimuli.

    Parameters
    ----------
    rdms : sequence of array_like
        Square, (n_i, n_i), or vectors.
    names : sequence of sequences
        The stimuli of each RDM, in its order; no name twice in one RDM.

    Returns
    -------
    stack : np.ndarray, (n_rdms, n, n)
        NaN for the pairs that an RDM does not have. `rescale_rdms` brings the RDMs to one scale,
        and ``average_rdms(stack, nan="omit")`` averages them.
    names : tuple
        All stimuli, in the order in which they first appear.

    Raises
    ------
    ValueError
        If the numbers of RDMs and lists of names, or of stimuli and names, differ, or a name comes
        twice.

    Examples
    --------
    >>> stack, names = join_rdms([[1.0], [2.0]], [["cat", "dog"], ["dog", "owl"]])
    >>> names, stack[1, 1, 2], stack[1, 0, 1]
    (('cat', 'dog', 'owl'), np.float64(2.0), np.float64(nan))
    """
    if len(rdms) != len(names) or not len(rdms):
        raise ValueError(
            f"join_rdms: expected as many lists of names as RDMs, got {len(names)} and {len(rdms)}."
        )
    place: dict[Hashable, int] = {}
    for own in names:
        for name in own:
            place.setdefault(name, len(place))
    stack = np.full((len(rdms), len(place), len(place)), np.nan)
    for number, (rdm, own) in enumerate(zip(rdms, names, strict=True)):
        vector, _ = as_vectors(rdm, f"join_rdms: RDM {number}")
        one = check_rdm(square(vector)) if vector.ndim == 1 else vector
        index = [place[name] for name in own]
        if one.shape != (len(index),) * 2 or len(set(index)) != len(index):
            raise ValueError(
                f"join_rdms: RDM {number}: expected one RDM of as many stimuli as different names, "
                f"got shape {np.shape(rdm)} and {len(index)} names, {len(set(index))} different."
            )
        stack[number][np.ix_(index, index)] = one
        np.fill_diagonal(stack[number], 0)
    return stack, tuple(place)


def rescale_rdms(stack: ArrayLike, method: str = "evidence") -> tuple[np.ndarray, np.ndarray]:
    """Bring RDMs that share some pairs to one scale.

    Each RDM gets the length (root sum of squares over its pairs) that the average of all has on
    the same pairs, and the average is taken again, until nothing changes.

    Parameters
    ----------
    stack : array_like, (n_rdms, n, n) or (n_rdms, n_pairs)
        NaN where an RDM has no such pair; every RDM must share a pair with another, and through
        others with all.
    method : {"evidence", "setsize", "simple"}
        What the average is weighted by: the squared dissimilarities (at least .04: stimuli that
        were laid far apart were compared with care), one over the number of pairs of the RDM, or
        nothing.

    Returns
    -------
    rescaled : np.ndarray, shape of the stack
    weights : np.ndarray, shape of the stack
        For ``average_rdms(rescaled, weights=weights, nan="omit")``; NaN where a pair is missing.

    Raises
    ------
    UnknownNameError
        If there is no such method.
    ValueError
        If some RDMs share no pair with the rest, are all zero, or it does not converge.

    References
    ----------
    Kriegeskorte & Mur (2012), Frontiers in Psychology 3:245.

    Examples
    --------
    >>> rescaled, _ = rescale_rdms([[1.0, 2, np.nan], [3, 6, 9]], "simple")
    >>> bool(np.allclose(rescaled[0, :2], rescaled[1, :2]))
    True
    """
    if method not in RESCALINGS:
        raise unknown_name("rescaling", method, RESCALINGS)
    vectors, is_square = as_vectors(stack, "rescale_rdms")
    vectors = np.atleast_2d(vectors)
    present = ~np.isnan(vectors)
    _require_shared(present)
    values = np.where(present, vectors, 0.0)
    lengths = np.sqrt((values**2).sum(axis=1, keepdims=True))
    if not (lengths > 0).all():
        raise ValueError("rescale_rdms: an RDM is all zero or all NaN; it has no scale.")
    weights = _rescaling_weights(values, present, method)
    # Started from the plain mean; what is wanted is the point where nothing moves any more.
    estimate = _unit(_mean(values, present.astype(float)))
    for _ in range(_STEPS):
        norms = np.sqrt((np.where(present, estimate, 0.0) ** 2).sum(axis=1, keepdims=True))
        rescaled = values / lengths * norms
        following = _unit(_mean(rescaled, weights))
        moved, estimate = np.abs(following - estimate).max(), following
        if moved < 1e-12:
            break
    else:
        raise ValueError(f"rescale_rdms: no convergence in {_STEPS} steps.")
    results = [np.where(present, part, np.nan) for part in (rescaled, weights)]
    if not is_square:
        return results[0], results[1]
    return square(results[0]), square(results[1])


def _rescaling_weights(values: np.ndarray, present: np.ndarray, method: str) -> np.ndarray:
    if method == "evidence":
        weights = np.maximum(values**2, 0.2**2)
    elif method == "setsize":
        weights = np.broadcast_to(1 / present.sum(axis=1, keepdims=True), values.shape)
    else:
        weights = np.ones(values.shape)
    return np.where(present, weights, 0.0)


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean over RDMs, 0 for pairs that none has."""
    total = weights.sum(axis=0)
    return (values * weights).sum(axis=0) / np.where(total > 0, total, 1.0)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.sqrt((vector**2).sum())


def _require_shared(present: np.ndarray) -> None:
    """Every RDM reaches every other through pairs that two of them share."""
    shared = (present.astype(float) @ present.astype(float).T) > 0
    reached = shared[0]
    for _ in range(len(shared)):
        reached = shared[reached].any(axis=0)
    if not reached.all():
        raise ValueError(
            f"rescale_rdms: RDM {int(np.flatnonzero(~reached)[0])} shares no pair of stimuli with "
            "RDM 0, directly or through others: their scales cannot be compared."
        )
