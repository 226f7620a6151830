"""Kernels over the stimuli as vectors whose products are the measures, and forms of a score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from isomorph.alignment.measure import UndefinedScoreError
from isomorph.alignment.metric import Option
from isomorph.geometry import Gram
from isomorph.geometry.columns import BLOCK_BYTES

FORMS = ("score", "angular", "euclidean", "squared")
DISTANCE_FORMS = frozenset(FORMS[1:])
CONSTANT = "the features of one side do not vary over the stimuli"


def form_option(default: str = "score") -> Option:
    """Give the option that turns a score of 1 at best into a distance."""
    return Option(
        default,
        FORMS,
        summary="the score itself, its angle arccos(score), or the chord √(2 − 2·score) and its "
        "square",
    )


def in_form(scores: ArrayLike, form: str) -> np.ndarray:
    """Turn scores into a distance; beyond 1 there is only rounding."""
    score = np.asarray(scores, dtype=np.float64)
    if form == "score":
        return score
    if form == "angular":
        return np.arccos(np.clip(score, -1.0, 1.0))
    squared = np.maximum(2.0 - 2.0 * score, 0.0)
    return squared if form == "squared" else np.sqrt(squared)


def u_centred(kernel: np.ndarray) -> np.ndarray:
    """U-centre a kernel or a distance matrix, (n, n); its diagonal plays no part and becomes 0.

    The products of two U-centred matrices, summed and divided by n(n − 3), are the unbiased HSIC
    (kernels) or distance covariance (distances) of Song et al. and of Székely & Rizzo. Adding
    aᵢ + aⱼ to the entries changes nothing, so features need not be centred first.
    """
    n = len(kernel)
    hollow = kernel.copy()
    np.fill_diagonal(hollow, 0.0)
    sums = hollow.sum(axis=1)
    shares = sums / (n - 2)
    hollow -= shares[:, None]
    hollow -= shares[None, :]
    hollow += sums.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(hollow, 0.0)
    return hollow


def off_diagonal(matrix: np.ndarray) -> np.ndarray:
    """Entries above the diagonal of a symmetric matrix, so scaled that products are whole sums."""
    return matrix[np.triu_indices(len(matrix), 1)] * np.sqrt(2.0)


def with_diagonal(matrix: np.ndarray) -> np.ndarray:
    """As `off_diagonal`, and the diagonal after them."""
    return np.concatenate([off_diagonal(matrix), matrix.diagonal()])


def reorder_vector(vector: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Give the vector of the matrix, with or without diagonal, of stimuli in another order."""
    n = len(order)
    pairs = n * (n - 1) // 2
    matrix = np.empty((n, n))
    rows, columns = np.triu_indices(n, 1)
    matrix[rows, columns] = matrix[columns, rows] = vector[:pairs]
    moved = matrix[order[rows], order[columns]]
    return moved if len(vector) == pairs else np.concatenate([moved, vector[pairs:][order]])


def spread_kernel(gram: Gram) -> np.ndarray:
    """Give the centred Gram; undefined where the stimuli do not differ."""
    kernel = gram.centred()
    if not np.trace(kernel) > 0:
        raise UndefinedScoreError(CONSTANT)
    return kernel


def unit_vector(vector: np.ndarray, floor: float, reason: str) -> np.ndarray:
    """Scale a vector to length one; undefined if it is no longer than what rounding leaves."""
    length = float(np.linalg.norm(vector))
    if not length > floor:
        raise UndefinedScoreError(reason)
    return vector / length


def products(firsts: Sequence[np.ndarray], seconds: Sequence[np.ndarray]) -> np.ndarray:
    """Products of every vector with every other, (n_first, n_second): one matrix product."""
    total = np.zeros((len(firsts), len(seconds)))
    step = max(1, BLOCK_BYTES // (8 * (len(firsts) + len(seconds))))
    for start in range(0, len(firsts[0]), step):
        part = slice(start, start + step)
        left = np.stack([vector[part] for vector in firsts])
        right = np.stack([vector[part] for vector in seconds])
        total += left @ right.T
    return total
