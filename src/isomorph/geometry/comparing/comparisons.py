"""Comparisons of RDMs as vectors: correlations of values and of ranks, cosine, Kendall's taus."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.stats

from isomorph.geometry.comparing.compare import COMPARISONS, Comparison, unit_vectors
from isomorph.geometry.comparing.concordance import concordance, tied_pairs
from isomorph.geometry.comparing.pair_products import Rows, cosines, inner_products

_KRIEGESKORTE = "Kriegeskorte, Mur & Bandettini 2008, Front. Syst. Neurosci. 2:4"
_NILI = "Nili et al. 2014, PLoS Comput. Biol. 10(4): e1003553"
_SCHUETT = "Schütt, Kipnis, Diedrichsen & Kriegeskorte 2023, eLife 12: e82566"


def _values(vectors: np.ndarray) -> np.ndarray:
    return vectors


def average_ranks(vectors: np.ndarray) -> np.ndarray:
    """Ranks within each row, from 1, ties by their average; NaN for a row that is not finite."""
    ranks = np.full(vectors.shape, np.nan)
    for row, vector in enumerate(vectors):  # one at a time stays in the cache
        if np.isfinite(vector).all():
            ranks[row] = scipy.stats.rankdata(vector)
    return ranks


def usable_rows(vectors: np.ndarray) -> np.ndarray:
    """Which rows are finite and not constant, (n_rows,) bool."""
    low, high = vectors.min(axis=1), vectors.max(axis=1)
    return np.isfinite(low) & np.isfinite(high) & (high > low)


def _correlation(
    transform: Callable[[np.ndarray], np.ndarray],
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    def compare(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        rows = Rows.of(transform(first), centre=True)
        others = rows if second is first else Rows.of(transform(second), centre=True)
        return cosines(*inner_products(rows, others))

    return compare


def _cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    rows = Rows.of(first, centre=False, spread=False)
    others = rows if second is first else Rows.of(second, centre=False, spread=False)
    return cosines(*inner_products(rows, others))


def _unit_lengths(vectors: np.ndarray) -> np.ndarray:
    scaled = vectors / np.abs(vectors).max(axis=1, keepdims=True)
    return scaled / np.linalg.norm(scaled, axis=1, keepdims=True)


def _of_usable(
    compare: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Hand on finite RDMs that are not constant; the others' comparisons are NaN."""

    def checked(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        good = usable_rows(first)
        others = good if second is first else usable_rows(second)
        values = np.full((len(first), len(second)), np.nan)
        if good.any() and others.any():
            left = first if good.all() else first[good]
            right = left if second is first else second[others]
            values[np.ix_(good, others)] = compare(left, right)
        return values

    return checked


def _rho_a(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    n = first.shape[1]
    rows = Rows.of(average_ranks(first), centre=True)
    others = rows if second is first else Rows.of(average_ranks(second), centre=True)
    # Ranks are of ordinary magnitude: nothing was divided out.
    return np.clip(inner_products(rows, others)[0] * 12 / (n**3 - n), -1, 1)


def _tau_a(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    n = first.shape[1]
    return concordance(first, second) / (n * (n - 1) / 2)


def _tau_b(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    n_pairs = first.shape[1] * (first.shape[1] - 1) / 2
    untied = [np.sqrt(n_pairs - tied_pairs(rows)) for rows in (first, second)]
    return np.clip(concordance(first, second) / untied[0][:, None] / untied[1], -1, 1)


def _add(
    name: str,
    compare: Callable[[np.ndarray, np.ndarray], np.ndarray],
    pool: Callable[[np.ndarray], np.ndarray],
    summary: str,
    reference: str,
    transform: Callable[[np.ndarray], np.ndarray] | None = None,
) -> None:
    comparison = Comparison(compare, pool, (-1.0, 1.0), summary, reference, transform=transform)
    COMPARISONS.add(name, comparison)


_add(
    "pearson",
    _correlation(_values),
    lambda vectors: unit_vectors(vectors, "pearson"),
    "Pearson correlation of the dissimilarities.",
    _KRIEGESKORTE,
    transform=_values,
)
_add(
    "spearman",
    _correlation(average_ranks),
    average_ranks,
    "Pearson correlation of their average ranks.",
    _KRIEGESKORTE,
    transform=average_ranks,
)
_add(
    "cosine",
    _cosine,
    _unit_lengths,
    "Cosine of the angle between the dissimilarities, whose zero counts.",
    _SCHUETT,
)
_add(
    "kendall",
    _of_usable(_tau_b),
    average_ranks,
    "Kendall's tau-b: concordant less discordant pairs of dissimilarities, over untied ones.",
    _NILI,
)
_add(
    "tau_a",
    _of_usable(_tau_a),
    average_ranks,
    "Kendall's tau-a: over all pairs, so that an RDM gains nothing by its ties.",
    _NILI,
)
_add(
    "rho_a",
    _of_usable(_rho_a),
    average_ranks,
    "Spearman's rho expected if ties were broken at random: nothing is gained by ties.",
    _SCHUETT,
)
