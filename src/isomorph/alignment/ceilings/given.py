"""Noise ceilings that somebody else estimated: given as such, or as a noise-ceiling SNR."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from isomorph.alignment.ceilings.ceiling import Ceiling
from isomorph.alignment.ceilings.encoding import EncodingCeiling

SCALES = ("r", "r2")
NCSNR_METHOD = "noise-ceiling SNR"


def given_ceiling(
    value: float,
    lower: float | None = None,
    upper: float | None = None,
    scale: str = "r",
    *,
    method: str = "given",
) -> Ceiling:
    """A ceiling from elsewhere: a paper, a data set's authors.

    Parameters
    ----------
    value : float
        In the units of the score: a correlation, not its square, of correlation scores.
    lower, upper : float, optional
        Its interval; NaN if it is not known.
    scale : {"r", "r2"}
        Where scores are divided by it; see `Ceiling`.
    method : str
        Where it is from, for the table.

    Returns
    -------
    Ceiling

    Raises
    ------
    ValueError
        If the value is not above 0 and finite, outside of its bounds, or the scale unknown.

    Examples
    --------
    >>> given_ceiling(0.8, 0.75, 0.85).value
    0.8
    """
    low, high = (np.nan if bound is None else float(bound) for bound in (lower, upper))
    if scale not in SCALES:
        raise ValueError(f"scale: expected one of {SCALES}, got {scale!r}.")
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"value: expected a ceiling above 0, got {value}.")
    if low > value or high < value:
        raise ValueError(
            f"lower, upper: expected bounds around the ceiling {value}, got [{low}, {high}]. "
            "Give all three in the same units: correlations, not their squares."
        )
    return Ceiling(float(value), low, high, scale, method)


def ncsnr_ceiling(ncsnr: ArrayLike, n_repeats: ArrayLike) -> EncodingCeiling:
    """Ceiling of encoding scores from the noise-ceiling SNR of each neuroid.

    The ratio of the standard deviations of signal and single-trial noise is no ceiling itself. The
    reliability of the mean over n repeats is the share of its variance that is signal,

        ncsnr² / (ncsnr² + 1/n).

    Parameters
    ----------
    ncsnr : array_like (n_neuroids,)
        Standard deviation of the signal over that of the noise of one repeat, not negative; NaN
        where it is unknown. Data sets clip negative estimates of signal variance to 0, which lifts
        the mean over noisy neuroids: estimates from the repeats themselves are free of that.
    n_repeats : array_like of int, () or (n_neuroids,) or (n_stimuli,) + (1,)
        Repeats that scored responses are averaged over; stimuli with different numbers may be
        given along a first axis, as (n_stimuli, 1): their noise variances are averaged.

    Returns
    -------
    EncodingCeiling
        On the scale "r2": the value is the root of the mean reliability; without an interval.

    Raises
    ------
    ValueError
        For a negative SNR, fewer than one repeat, or shapes that do not fit.

    References
    ----------
    Allen et al. (2022), Nature Neuroscience 25, 116–126.

    Examples
    --------
    >>> ncsnr_ceiling([1.0, 0.5], 3).reliability.round(3)
    array([0.75 , 0.429])
    """
    snr = np.atleast_1d(np.asarray(ncsnr, dtype=float))
    repeats = np.asarray(n_repeats, dtype=float)
    if snr.ndim != 1 or (snr < 0).any() or np.isinf(snr).any():
        raise ValueError(
            "ncsnr: expected one number for each neuroid, not negative (a ratio of standard "
            f"deviations), got shape {snr.shape} with {int((snr < 0).sum())} negative ones."
        )
    if repeats.size == 0 or not (repeats >= 1).all() or not np.isfinite(repeats).all():
        raise ValueError(f"n_repeats: expected 1 or more, got {n_repeats!r}.")
    if repeats.ndim == 2 and repeats.shape[1] in (1, len(snr)):
        noise = (1 / repeats).mean(axis=0)
    elif repeats.shape in ((), snr.shape):
        noise = 1 / repeats
    else:
        raise ValueError(
            f"n_repeats: expected one number, one for each of the {len(snr)} neuroids, or "
            f"(n_stimuli, 1), got shape {repeats.shape}."
        )
    reliability = snr**2 / (snr**2 + noise)
    defined = np.isfinite(reliability)
    nan = float("nan")
    mean = float(reliability[defined].mean()) if defined.any() else nan
    reason = "" if mean > 0 else "no neuroid has a noise-ceiling SNR above 0"
    value = float(np.sqrt(mean)) if mean > 0 else nan
    return EncodingCeiling(value, nan, nan, "r2", NCSNR_METHOD, reason, reliability)
