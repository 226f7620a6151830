"""RDMs of split halves of the repeats, and how well they agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import hmean

from isomorph.alignment.ceilings.ceiling import spearman_brown
from isomorph.geometry import (
    Gram,
    compare_rdms,
    compute_rdm,
    rdm_from_gram,
    square,
    upper_triangle,
)
from isomorph.geometry.comparing.compare import find_comparison
from isomorph.resampling.repeats import half_weights

Distance = str | Callable[[np.ndarray], np.ndarray]

# What a Gram in float64 gives, without a look for rows that nearly vanish or nearly equal another.
_FROM_GRAM = ("pearson", "cosine", "euclidean", "sqeuclidean")


@dataclass(frozen=True, eq=False)
class HalfAgreement:
    """How well the RDMs of two halves of the repeats agree.

    Attributes
    ----------
    mean : float
        Their comparison, averaged over draws of the halves; NaN where an RDM is undefined.
    errors : float array
        What the comparison over half of the stimuli differs by: its spread is the standard error.
    factor : float
        Repeats of all relative to those of a half (harmonic means over stimuli).
    """

    mean: float
    errors: np.ndarray
    factor: float

    def lengthened(self, r: np.ndarray | float) -> np.ndarray:
        """Root of the reliability of all repeats, of a comparison of halves; 0 if not above 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            reliability = np.asarray(spearman_brown(r, self.factor))
        return np.sqrt(np.where(np.asarray(r) > 0, reliability, 0.0))


def half_agreement(
    values: np.ndarray,
    present: np.ndarray,
    distance: Distance,
    compare: str,
    *,
    seed: int,
    n_draws: int,
    n_bootstrap: int,
) -> HalfAgreement:
    """Compare the RDMs of two halves of the repeats, over draws of the halves.

    Parameters
    ----------
    values, present
        As `scaled_repeats` gives them; every stimulus has two or more repeats.
    distance, compare
        As in `rdm_repeats_ceiling`.
    seed, n_draws : int
        Of the halves of the repeats.
    n_bootstrap : int
        How many halves of the stimuli are drawn for the errors, over all draws together.
    """
    observed, errors = [], []
    per_draw = -(-n_bootstrap // n_draws)
    subsets = _halves_of_stimuli(len(values), n_draws * per_draw, seed)
    weights = half_weights(present, seed=seed, n_draws=n_draws)
    for draw, halves in enumerate(zip(*weights, strict=True)):
        first, second = (rdm_vector((half[:, None, :] @ values)[:, 0], distance) for half in halves)
        observed.append(agreement(first, second, compare))
        chosen = subsets[draw * per_draw : (draw + 1) * per_draw]
        if len(chosen):
            errors.append(_over_subsets(first, second, compare, chosen) - observed[-1])
    repeats = present.sum(axis=1)
    # Noise goes with 1 / repeats, so the lengths to compare are harmonic means.
    factor = float(hmean(repeats) / hmean(repeats // 2))
    found = np.concatenate(errors) if errors else np.empty(0)
    return HalfAgreement(float(np.mean(observed)), found[np.isfinite(found)], factor)


def rdm_vector(features: np.ndarray, distance: Distance) -> np.ndarray:
    """Upper triangle of the RDM of (n_stimuli, n_neuroids), by name or by a function."""
    if not isinstance(distance, str):
        return upper_triangle(distance(features))
    if distance in _FROM_GRAM:
        return upper_triangle(rdm_from_gram(_gram(features), distance))
    return upper_triangle(compute_rdm(features, distance))


def agreement(first: np.ndarray, second: np.ndarray, compare: str) -> float:
    """Compare two RDM vectors; NaN where one is undefined."""
    return float(compare_rdms(first, second, compare))


def _gram(features: np.ndarray) -> Gram:
    mean = features.mean(axis=0)
    centred = features - mean
    deviation = mean - mean.mean()
    return Gram(
        products=centred @ centred.T,
        row_sums=centred.sum(axis=1),
        deviation_products=centred @ deviation,
        deviation_norm=float(deviation @ deviation),
        mean_sum=float(mean.sum()),
        n_features=len(mean),
        resolution=float(np.finfo(np.float64).eps),
    )


def _halves_of_stimuli(n_stimuli: int, n_subsets: int, seed: int) -> np.ndarray:
    """Which stimuli are in each half, bool (n_subsets, n_stimuli); at least three of them."""
    rng = np.random.default_rng([seed, 1])
    places = rng.random((n_subsets, n_stimuli)).argsort(axis=1).argsort(axis=1)
    return places < max(3, n_stimuli // 2)


def _over_subsets(
    first: np.ndarray, second: np.ndarray, compare: str, subsets: np.ndarray
) -> np.ndarray:
    """Compare two RDM vectors over subsets of the stimuli, (n_subsets,)."""
    transform = find_comparison(compare).transform
    if transform is not None:
        first, second = transform(np.stack([first, second]))
        return _subset_correlations(first, second, subsets)
    squares = square(np.stack([first, second]))
    found = []
    for subset in subsets:
        one, other = upper_triangle(squares[:, subset][:, :, subset])
        found.append(agreement(one, other, compare))
    return np.array(found)


def _subset_correlations(first: np.ndarray, second: np.ndarray, subsets: np.ndarray) -> np.ndarray:
    """Correlation of two vectors over the pairs within each subset of the stimuli.

    The sum over pairs of x is half of m' X m, m the subset and X the square form of x. For ranks,
    these are the ranks among all stimuli.
    """
    first, second = first - first.mean(), second - second.mean()
    masks = subsets.astype(float)
    n_stimuli = masks.shape[1]
    terms = square(np.stack([first, second, first * second, first**2, second**2]))
    products = (masks @ np.concatenate(list(terms), axis=1)).reshape(len(masks), 5, n_stimuli)
    x, y, xy, xx, yy = np.einsum("bti,bi->tb", products, masks) / 2
    size = masks.sum(axis=1)
    pairs = size * (size - 1) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y = x / pairs, y / pairs
        r = (xy / pairs - x * y) / np.sqrt((xx / pairs - x**2) * (yy / pairs - y**2))
    # Variances of nothing but rounding give correlations above 1.
    return np.where(np.abs(r) <= 1 + 1e-9, r, np.nan)
