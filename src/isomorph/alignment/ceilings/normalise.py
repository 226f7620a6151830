"""Encoding scores relative to their ceilings, on the r² scale."""

from __future__ import annotations

import logging

import numpy as np
from scipy.special import hyp2f1

from isomorph.alignment.ceilings.ceiling import signed_root

# Below, the correction for the number of stimuli is infinite.
MIN_STIMULI = 5
# From here on this many terms of the series reach float64's precision.
SERIES_FROM, SERIES_TERMS = 20, 50
logger = logging.getLogger(__name__)


def corrected_r2(r: np.ndarray, n_stimuli: int | np.ndarray) -> np.ndarray:
    """Signed r², corrected for the number of stimuli.

    Uncorrected, a correlation of zero has E[r²] = 1 / (n − 1), which divided by a low reliability
    is no small score. The unbiased estimate for normal variables is, with sign(r) in front,

        1 − (n − 3) / (n − 2) · (1 − r²) · ₂F₁(1, 1; n / 2; 1 − r²).

    Parameters
    ----------
    r : array
        Correlations.
    n_stimuli : int or int array, of the shape of `r`
        How many stimuli they were computed on, five or more.

    Returns
    -------
    array, of the shape of `r`
        Where r² is within its chance level the sign is turned: such values average to zero.

    References
    ----------
    Olkin & Pratt (1958), Annals of Mathematical Statistics 29, 201–211.

    Examples
    --------
    >>> corrected_r2(np.array([0.5, -0.5, 1.0]), 100).round(3)
    array([ 0.246, -0.246,  1.   ])
    """
    r = np.asarray(r, dtype=float)
    counts = np.broadcast_to(np.asarray(n_stimuli), r.shape)
    squares = np.empty(r.shape)
    for n in np.unique(counts).tolist():
        if n < MIN_STIMULI:
            raise ValueError(
                f"n_stimuli: expected {MIN_STIMULI} or more, got {n}; score more stimuli."
            )
        chosen = counts == n
        unexplained = 1 - r[chosen] ** 2
        shrunk = (n - 3) / (n - 2) * unexplained
        squares[chosen] = 1 - shrunk * _hypergeometric(n / 2, unexplained)
    return np.sign(r) * squares


def _hypergeometric(c: float, x: np.ndarray) -> np.ndarray:
    """₂F₁(1, 1; c; x) for x from 0 to 1."""
    # SciPy's is NaN for c above 110 and x near 1, where few terms of the series suffice.
    if c < SERIES_FROM:
        return hyp2f1(1, 1, c, x)
    term, total = np.ones_like(x), np.ones_like(x)
    for k in range(SERIES_TERMS):
        term = term * x * (k + 1) / (c + k)
        total = total + term
    return total


def normalise_encoding(
    scores: np.ndarray, n_stimuli: int | np.ndarray, reliability: np.ndarray
) -> float:
    """Mean encoding score over neuroids, relative to its ceiling.

    The mean of signed, corrected r² over the mean reliability, then the signed root: 1 for a model
    that predicts the noise-free responses, whatever the mixture of reliabilities. (Neither the
    mean of ratios nor the ratio of mean correlations is.)

    Parameters
    ----------
    scores : array (n_neuroids,)
        Correlations r of prediction and mean response.
    n_stimuli : int or int array (n_neuroids,)
        How many stimuli they were computed on.
    reliability : array (n_neuroids,)
        Reliability of these responses (`split_half_reliability`).

    Returns
    -------
    float
        Never clipped. Neuroids whose score or reliability is NaN, or that were scored on fewer
        than 5 stimuli, are left out of both means (and counted in the log); NaN where none is left
        or the mean reliability is not above zero.

    Examples
    --------
    >>> round(normalise_encoding(np.array([0.7, 0.3]), 100, np.array([0.5, 0.1])), 3)
    0.977
    """
    scores, reliability = np.asarray(scores, dtype=float), np.asarray(reliability, dtype=float)
    counts = _counts(scores, n_stimuli, reliability)
    defined = np.isfinite(scores) & np.isfinite(reliability) & (counts >= MIN_STIMULI)
    if not defined.all():
        logger.info("normalised score: %d of %d neuroids left out", (~defined).sum(), len(scores))
    if not defined.any() or reliability[defined].mean() <= 0:
        return float("nan")
    squares = corrected_r2(scores[defined], counts[defined])
    return float(signed_root(squares.mean() / reliability[defined].mean()))


def normalise_neuroids(
    scores: np.ndarray, n_stimuli: int | np.ndarray, reliability: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Each neuroid's encoding score relative to its own ceiling.

    r over the root of the reliability, without the correction for the number of stimuli: that
    makes *means* unbiased, by turning the sign of r² within its chance level, which of a single
    neuroid would make a small positive r a negative score.

    Not for averaging: the mean of these ratios is biased upwards (`normalise_encoding`).

    Parameters
    ----------
    scores, n_stimuli, reliability
        As in `normalise_encoding`.

    Returns
    -------
    normalised : float array (n_neuroids,)
        Never clipped; NaN where the reliability is not above zero.
    reasons : str array (n_neuroids,)
        Why a value is NaN; empty where it is not.

    Examples
    --------
    >>> normalise_neuroids(np.array([0.6, 0.1]), 100, np.array([0.36, -0.1]))[0]
    array([ 1., nan])
    """
    scores, reliability = np.asarray(scores, dtype=float), np.asarray(reliability, dtype=float)
    counts = _counts(scores, n_stimuli, reliability)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = scores / np.sqrt(reliability)
    reasons = np.select(
        [
            counts < MIN_STIMULI,
            ~np.isfinite(scores),
            ~np.isfinite(reliability),
            reliability <= 0,
        ],
        [
            f"fewer than {MIN_STIMULI} stimuli",
            "the score is undefined",
            "the reliability is undefined",
            "the reliability is not above 0",
        ],
        "",
    )
    return np.where(reasons == "", values, np.nan), reasons


def _counts(scores: np.ndarray, n_stimuli: int | np.ndarray, reliability: np.ndarray) -> np.ndarray:
    """Give each neuroid's number of stimuli, after checking that all three fit together."""
    if scores.shape != reliability.shape or scores.ndim != 1:
        raise ValueError(
            f"scores and reliability: expected one each per neuroid, got {scores.shape} and "
            f"{reliability.shape}; take both of the same neuroids."
        )
    counts = np.asarray(n_stimuli)
    if counts.shape not in ((), scores.shape):
        raise ValueError(
            f"n_stimuli: expected one number, or one for each of the {len(scores)} neuroids, got "
            f"shape {counts.shape}."
        )
    return np.broadcast_to(counts, scores.shape)
