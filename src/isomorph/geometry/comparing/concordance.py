"""Concordant less discordant pairs of dissimilarities: the count that Kendall's taus are made of.

Two ways give the same whole number. Sign matrices turn all pairs of two stacks into one matrix
product, with work in the square of the number of dissimilarities; sorting takes two RDMs at a time,
with work that hardly exceeds their number. The cheaper one is taken.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.stats

# Seconds, roughly: of a sign, of a multiply-add, of a call and of the sorting of an element.
_SIGN, _PRODUCT, _CALL, _SORT = 2e-9, 2e-11, 2e-4, 2.5e-8
_BLOCK_BYTES = 32_000_000


def concordance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Concordant less discordant pairs of elements, all pairs of rows.

    Parameters
    ----------
    first, second : np.ndarray, (n_first, n), (n_second, n)
        Finite, and no row constant.

    Returns
    -------
    np.ndarray, (n_first, n_second), float64
        Whole numbers; exact.
    """
    n = first.shape[1]
    n_rows = len(first) + (0 if second is first else len(second))
    n_products = len(first) * len(second)
    by_signs = n_rows * n**2 / 2 * _SIGN + n_products * n**2 * _PRODUCT
    by_sorting = n_products / (2 if second is first else 1) * (_CALL + n * math.log2(n) * _SORT)
    return (_by_signs if by_signs <= by_sorting else _by_sorting)(first, second)


def tied_pairs(rows: np.ndarray) -> np.ndarray:
    """Pairs of equal elements in each row, (n_rows,), float64."""
    counts = (np.unique(row, return_counts=True)[1].astype(np.float64) for row in rows)
    return np.array([(count * (count - 1) / 2).sum() for count in counts])


def _by_signs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    same = first is second
    n = first.shape[1]
    ranks = [_dense_ranks(rows) for rows in ((first,) if same else (first, second))]
    total = np.zeros((len(first), len(second)))
    n_rows = max(len(first), len(second))
    # Sums of so few signs are exact in float32.
    step = max(1, min(n, _BLOCK_BYTES // (4 * n_rows * n), 2**23 // n))
    for start in range(0, n, step):
        stop = min(start + step, n)
        signs = [_signs(rows, start, stop) for rows in ranks]
        total += signs[0] @ signs[-1].T
    return total


def _dense_ranks(rows: np.ndarray) -> np.ndarray:
    """Ranks as float32, exact below 2**24: signs of differences are all that is asked of them."""
    return scipy.stats.rankdata(rows, method="dense", axis=1).astype(np.float32)


def _signs(ranks: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Signs of each of these elements less every later one, (n_rows, n_differences), float32."""
    n = ranks.shape[1]
    parts = [ranks[:, i + 1 :] - ranks[:, i : i + 1] for i in range(start, min(stop, n - 1))]
    if not parts:
        return np.zeros((len(ranks), 0), dtype=np.float32)
    differences = np.concatenate(parts, axis=1)
    return np.sign(differences, out=differences)


def _by_sorting(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """SciPy's tau-b, by sorting, times its denominator: the whole number that it was made of."""
    same = first is second
    n = first.shape[1]
    n_pairs = n * (n - 1) / 2
    untied = [np.sqrt(n_pairs - tied_pairs(rows)) for rows in (first, second)]
    total = np.zeros((len(first), len(second)))
    for i, row in enumerate(first):
        for j in range(i if same else 0, len(second)):
            found: Any = scipy.stats.kendalltau(row, second[j], method="asymptotic")
            total[i, j] = round(float(found.statistic) * untied[0][i] * untied[1][j])
            if same:
                total[j, i] = total[i, j]
    return total
