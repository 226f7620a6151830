"""Noise ceilings of Gram comparisons (inner products, debiased linear CKA), in closed form.

The noise of two stimuli is independent, so a product of their patterns is unbiased off the
diagonal, and products of such products are unbiased where they share no repeat of any stimulus.
All that a correlation of Grams is made of can be estimated so: no halves, no model of the noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from isomorph.alignment.ceilings.ceiling import (
    Ceiling,
    ceiling_from_reliability,
    scaled_repeats,
    undefined_ceiling,
)
from isomorph.resampling.repeats import check_repeats, present_repeats

if TYPE_CHECKING:
    from isomorph.alignment.measured import Measured
    from isomorph.alignment.metric import Part

GRAM_METHOD = "products of disjoint repeats, closed form"
# The U-centring divides by n (n − 3).
MIN_STIMULI = 5


@dataclass(frozen=True)
class _PairMoments:
    """Second moments of the off-diagonal entries of a symmetric matrix, for each subset.

    Sums over i ≠ j of K², over i of the squared row sums, and the squared sum of all: what every
    quadratic form that treats stimuli alike is made of.
    """

    squares: np.ndarray
    rows: np.ndarray
    total: np.ndarray

    def centred(self, n: np.ndarray) -> np.ndarray:
        """Sum over i ≠ j of the squared entries after the mean entry is taken out."""
        return self.squares - self.total / (n * (n - 1))

    def u_centred(self, n: np.ndarray) -> np.ndarray:
        """The same after the U-centring of rows and columns (Székely & Rizzo 2014)."""
        return self.squares - 2 * self.rows / (n - 2) + self.total / ((n - 1) * (n - 2))


def gram_ceiling(
    repeats: np.ndarray,
    *,
    centring: str = "none",
    response_scale: str = "none",
    seed: int = 0,
    n_draws: int = 400,
) -> Ceiling:
    """Ceiling of a comparison of Grams, from the repeats of one subject.

    What the noise-free Gram K scores against the Gram L of the mean over repeats, over the pairs
    of different stimuli. Off the diagonal L is K plus noise that K knows nothing of, so the score
    is the root of the share of L's sum of squares that is K's. That share is estimated without
    bias in its numerator: the square of an entry from products of repeats that are disjoint for
    both stimuli, row sums likewise.

    Parameters
    ----------
    repeats : array (n_stimuli, n_repetitions, n_neuroids)
        NaN where a repeat is missing. Stimuli with fewer than two repeats are left out.
    centring : {"none", "u"}
        ``"none"``: Pearson correlation of inner products, as they come. ``"u"``: after the
        U-centring of rows and columns, which is the debiased linear CKA.
    response_scale : {"none", "zscore"}
        As in `rdm_split_half_ceiling`.
    seed, n_draws : int
        For the interval: halves of the stimuli, drawn without replacement (a stimulus drawn twice
        would be compared with itself). The spread of an estimate from half of the stimuli around
        that from all is the standard error of the latter.

    Returns
    -------
    Ceiling
        On the scale "r"; NaN, with the reason, where the share is undefined or not above 0.

    Raises
    ------
    ValueError
        For a wrong shape, scale or centring.

    References
    ----------
    Song et al. (2012), Journal of Machine Learning Research 13, 1393–1434 (the debiased HSIC);
    Székely & Rizzo (2014), Annals of Statistics 42, 2382–2412 (U-centring).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> repeats = rng.normal(size=(50, 1, 20)) + 0.5 * rng.normal(size=(50, 4, 20))
    >>> bool(0.9 < gram_ceiling(repeats, centring="u").value < 1)
    True
    """
    if centring not in ("none", "u"):
        raise ValueError(f"centring: expected 'none' or 'u', got {centring!r}.")
    repeats = check_repeats(repeats)
    present = present_repeats(repeats)
    usable = present.sum(axis=1) >= 2
    n_stimuli = int(usable.sum())
    if n_stimuli < MIN_STIMULI:
        reason = f"{n_stimuli} stimuli with two or more repeats, at least {MIN_STIMULI} are needed"
        return undefined_ceiling(GRAM_METHOD, reason)
    values, present = scaled_repeats(repeats[usable], present[usable], response_scale)
    if centring == "u":  # the origin leaves the score, and far from it digits are lost
        mean = values.sum(axis=1) / present.sum(axis=1)[:, None]
        values = np.where(present[:, :, None], values - mean.mean(axis=0), 0.0)
    samples = _halves_of_stimuli(n_stimuli, n_draws, seed)
    shares = _signal_share(values, present, samples, centring)
    if not np.isfinite(shares[0]):
        return undefined_ceiling(GRAM_METHOD, "the Gram of the responses is constant")
    bounds = _interval(float(shares[0]), shares[1:])
    return ceiling_from_reliability(float(shares[0]), bounds, "r", GRAM_METHOD)


def cka_ceiling(
    measured: Measured,
    group: tuple[str, str],
    part: Part,
    options: Mapping[str, Any],
    *,
    seed: int = 0,
) -> Ceiling:
    """Ceiling of the debiased linear CKA of a region of a subject over a part's stimuli.

    Parameters
    ----------
    measured, group, part
        Responses with their repeats, a region of a subject, and the stimuli that are scored.
    options : mapping
        The measure's: ``kernel``, ``estimator``, ``form`` and ``response_scale`` where it has them.
    seed : int
        For the interval.

    Returns
    -------
    Ceiling
        NaN, with the reason, for another kernel, estimator or form, for which none was validated,
        and where there are no repeats.
    """
    known = {"kernel": "linear", "estimator": "debiased", "form": "score"}
    other = [
        f"{name}={options[name]}" for name in known if options.get(name, known[name]) != known[name]
    ]
    if other:
        return undefined_ceiling(
            "", f"no validated ceiling is known for CKA with {', '.join(other)}"
        )
    if measured.repeats is None:
        return undefined_ceiling("", "one repetition: no products of disjoint repeats")
    return gram_ceiling(
        measured.repeats[part.rows][:, :, measured.groups[group]],
        centring="u",
        response_scale=options.get("response_scale", "none"),
        seed=seed,
    )


def _halves_of_stimuli(n_stimuli: int, n_draws: int, seed: int) -> np.ndarray:
    """Columns of zeros and ones: all stimuli, then halves of them, (n_stimuli, 1 + n_draws)."""
    rng = np.random.default_rng([seed, 2])
    half = max(MIN_STIMULI, n_stimuli // 2)
    places = rng.random((n_draws, n_stimuli)).argsort(axis=1).argsort(axis=1)
    return np.concatenate([np.ones((1, n_stimuli)), places < half]).T.astype(float)


def _interval(share: float, samples: np.ndarray) -> np.ndarray:
    """A 95 % interval of a share: its spread over halves of the stimuli, never beyond ±1."""
    finite = samples[np.isfinite(samples)]
    if not len(finite):
        return np.full(2, np.nan)
    error = np.sqrt(np.mean((finite - share) ** 2))
    return share + 1.96 * error * np.array([-1.0, 1.0])


def _signal_share(
    values: np.ndarray, present: np.ndarray, samples: np.ndarray, centring: str
) -> np.ndarray:
    """Share of the observed Gram's sum of squares that is signal, for each column of samples."""
    n = samples.sum(axis=0)
    signal, observed = _moments(values, present, samples)
    if centring == "u":
        numerator, denominator = signal.u_centred(n), observed.u_centred(n)
    else:
        numerator, denominator = signal.centred(n), observed.centred(n)
    rounding = 1e-12 * observed.squares
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator > rounding, numerator / denominator, np.nan)


def _moments(
    values: np.ndarray, present: np.ndarray, samples: np.ndarray
) -> tuple[_PairMoments, _PairMoments]:
    """Moments of the noise-free Gram (unbiased) and of the observed one, over subsets of stimuli.

    Squares of an entry come from `disjoint_products`. A product of two entries of a row, j ≠ l,
    needs two repeats of i alone; one of four different stimuli nothing.
    """
    count = present.sum(axis=1).astype(float)
    mean = values.sum(axis=1) / count[:, None]
    products = disjoint_products(values, present)
    observed = _without_diagonal(mean @ mean.T)
    row_squares = np.zeros_like(samples)  # sum over r of (row sum of y_ir · mean_j)²
    row_diagonal = np.zeros_like(observed)  # sum over r of (y_ir · mean_j)²
    for repeat in range(values.shape[1]):
        with_mean = _without_diagonal(values[:, repeat] @ mean.T)
        row_squares += (with_mean @ samples) ** 2
        row_diagonal += with_mean**2
    pairs = count * (count - 1)

    def form(matrix: np.ndarray) -> np.ndarray:
        return np.einsum("ib,ib->b", samples, matrix @ samples)

    def over_stimuli(rows: np.ndarray) -> np.ndarray:
        return np.einsum("ib,ib->b", samples, rows)

    row_sums = observed @ samples
    seen = _PairMoments(form(observed**2), over_stimuli(row_sums**2), over_stimuli(row_sums) ** 2)
    # Sums over j ≠ l, with both of i's repeats different: all pairs (j, l) less those with j = l.
    scale = (count**2 / pairs)[:, None]
    different = scale * (row_sums**2 - row_squares / count[:, None] ** 2)
    same = scale * (observed**2 - row_diagonal / count[:, None] ** 2)
    crossed = over_stimuli(different) - form(same)
    seen_crossed = seen.rows - seen.squares
    signal_squares = form(products)
    distinct = seen.total - 4 * seen_crossed - 2 * seen.squares  # four different stimuli
    signal = _PairMoments(
        signal_squares, crossed + signal_squares, distinct + 4 * crossed + 2 * signal_squares
    )
    return signal, seen


def disjoint_products(values: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Square of the noise-free product of each two stimuli, without bias, (n_stimuli, n_stimuli).

    With G the products of single repeats, r and r' repeats of i, s and s' repeats of j, it is the
    mean of G(ir, js) G(ir', js') over r ≠ r' and s ≠ s', by inclusion and exclusion. The diagonal
    is 0.

    Parameters
    ----------
    values : array (n_stimuli, n_repetitions, n_neuroids)
        Zero where a repeat is missing; every stimulus has two or more.
    present : bool array (n_stimuli, n_repetitions)
    """
    count = present.sum(axis=1).astype(float)
    sums = values.sum(axis=1)
    found = (sums @ sums.T) ** 2
    own = np.zeros_like(found)  # sum over r of (sum over s)²
    both = np.zeros_like(found)  # sum over r and s of squares
    for first in range(values.shape[1]):
        one = values[:, first]
        own += (one @ sums.T) ** 2
        both += (one @ one.T) ** 2
        for second in range(first):
            squares = (one @ values[:, second].T) ** 2
            both += squares
            both += squares.T
    found -= own
    found -= own.T
    found += both
    pairs = count * (count - 1)
    return _without_diagonal(found / np.outer(pairs, pairs))


def _without_diagonal(matrix: np.ndarray) -> np.ndarray:
    np.fill_diagonal(matrix, 0.0)
    return matrix
