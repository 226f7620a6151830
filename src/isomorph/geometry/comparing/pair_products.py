"""Inner products of RDM vectors, all pairs of two stacks, in blocks of pairs of stimuli.

200 RDMs of 1000 stimuli are 800 MB in float64: nothing here copies more than a block of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isomorph.geometry.rdms.rdm import n_stimuli_of

# Blocks of a few MB stay in the cache between being centred and being multiplied.
_BLOCK_BYTES = 8_000_000


@dataclass(frozen=True, eq=False)
class Rows:
    """RDM vectors, and what has to be taken from each and divided out before it is multiplied.

    Parameters
    ----------
    vectors : np.ndarray, (n_rdms, n_pairs), float64
    shift : np.ndarray, (n_rdms,)
        Mean dissimilarity, or zero.
    scale : np.ndarray, (n_rdms,)
        A number near the largest magnitude after the shift, so that squares neither overflow nor
        vanish; NaN for an RDM that is undefined (not finite, or nothing left after the shift).
    """

    vectors: np.ndarray
    shift: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, vectors: np.ndarray, *, centre: bool, spread: bool = True) -> Rows:
        """Measure each RDM: whether it is finite, its mean if `centre`, its magnitude.

        With `spread` a constant RDM is undefined, otherwise one of zeros alone.
        """
        low, high = vectors.min(axis=1), vectors.max(axis=1)
        with np.errstate(invalid="ignore", over="ignore"):
            magnitude = np.maximum(np.abs(low), np.abs(high))
            # The extremes are exact, where a sum of squares would be left with rounding.
            usable = np.isfinite(magnitude) & ((high > low) if spread else (magnitude > 0))
            shift = _means(vectors, magnitude) if centre else np.zeros(len(vectors))
            scale = np.maximum(high - shift, shift - low) if spread else magnitude
        return cls(vectors, np.where(usable, shift, 0), np.where(usable, scale, np.nan))

    def block(self, columns: slice, buffer: np.ndarray) -> np.ndarray:
        """Shifted and scaled dissimilarities of some pairs, in (or in place of) the buffer."""
        part = self.vectors[:, columns]
        found = buffer[:, : part.shape[1]]
        np.subtract(part, self.shift[:, None], out=found)
        # Of ordinary magnitude, which is nearly always, nothing need be divided out.
        if not self.ordinary:
            found /= self.scale[:, None]
        return found

    @property
    def ordinary(self) -> bool:
        """Whether the squares of all dissimilarities can be summed as they are."""
        scale = self.scale[np.isfinite(self.scale)]
        return bool(np.all((scale > 1e-60) & (scale < 1e60)))

    @property
    def units(self) -> np.ndarray:
        """What `block` divides by, (n_rdms,)."""
        return np.ones(len(self.scale)) if self.ordinary else self.scale


def _means(vectors: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
    if magnitude.max(initial=0) < 1e290:
        return vectors.mean(axis=1)
    return (vectors / magnitude[:, None]).mean(axis=1) * magnitude  # a sum would overflow


def inner_products(first: Rows, second: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Products of all pairs of RDMs, and their squared lengths.

    Returns
    -------
    products : np.ndarray, (n_first, n_second)
    first_squares, second_squares : np.ndarray, (n_first,), (n_second,)
    """
    same = first is second
    n_pairs = first.vectors.shape[1]
    products = np.zeros((len(first.vectors), len(second.vectors)))
    squares = [np.zeros(len(rows.vectors)) for rows in (first, second)]
    n_rows = max(len(first.vectors), len(second.vectors))
    width = max(1, min(n_pairs, _BLOCK_BYTES // (8 * n_rows)))
    buffers = [
        np.empty((len(rows.vectors), width)) for rows in ((first,) if same else (first, second))
    ]
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, n_pairs, width):
            columns = slice(start, min(start + width, n_pairs))
            left = first.block(columns, buffers[0])
            if same:
                products += left @ left.T  # NumPy sees the shared buffer: half the work
                continue
            right = second.block(columns, buffers[1])
            products += left @ right.T
            for total, block in zip(squares, (left, right), strict=True):
                total += np.einsum("ij,ij->i", block, block)
    if same:
        squares = [products.diagonal().copy()] * 2
    defined = [
        np.where(np.isfinite(rows.scale), found, np.nan)
        for rows, found in zip((first, second), squares, strict=True)
    ]
    return products, defined[0], defined[1]


def cosines(
    products: np.ndarray, first_squares: np.ndarray, second_squares: np.ndarray
) -> np.ndarray:
    """Products over lengths, within [−1, 1]; NaN where a length is zero or undefined."""
    lengths = np.outer(first_squares, second_squares)
    return np.clip(products / np.sqrt(np.where(lengths > 0, lengths, np.nan)), -1, 1)


def stimulus_sums(rows: Rows) -> np.ndarray:
    """Sum over each stimulus's pairs of the shifted and scaled dissimilarities.

    Returns
    -------
    np.ndarray, (n_rdms, n_stimuli)
    """
    n = n_stimuli_of(rows.vectors.shape[1])
    assert n is not None
    sums = np.zeros((len(rows.vectors), n))
    buffer = np.empty((len(rows.vectors), n - 1))
    start = 0
    for stimulus in range(n - 1):
        columns = slice(start, start + n - 1 - stimulus)
        part = rows.block(columns, buffer)
        sums[:, stimulus] += part.sum(axis=1)
        sums[:, stimulus + 1 :] += part
        start = columns.stop
    return sums
