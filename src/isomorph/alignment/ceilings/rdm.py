"""Noise ceilings of RDM comparisons, from one subject's repeats."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student

from isomorph.alignment.ceilings.ceiling import (
    MIN_STIMULI,
    Ceiling,
    ceiling_from_reliability,
    scaled_repeats,
    spearman_brown,
    undefined_ceiling,
)
from isomorph.alignment.ceilings.halves import (
    Distance,
    HalfAgreement,
    agreement,
    half_agreement,
    rdm_vector,
)
from isomorph.alignment.ceilings.twin import Twin, fit_twin
from isomorph.geometry import RDM_METHODS, UndefinedRDMError, noise_covariance, rdm_method
from isomorph.geometry.comparing.compare import find_comparison
from isomorph.registry import unknown_name
from isomorph.resampling.repeats import check_repeats, present_repeats

METHODS = {
    "calibrated": "split-half RDMs, Spearman–Brown, calibrated on a simulated twin",
    "split_half": "split-half RDMs, Spearman–Brown (biased at low reliability)",
}
# Draws of the halves of each twin; there are several twins to average over.
TWIN_DRAWS = 2
# Share of the twin's correction that counts as its standard error; bench/ceilings.py validates it.
MODEL_ERROR = 0.35
# Distances that leave a pattern's mean over neuroids out.
_CENTRED_ROWS = ("pearson", "spearman")
# What a distance is once neuroids are normalised by the noise, or repeats are averaged.
_PLAIN = {
    "mahalanobis": "euclidean",
    "sqmahalanobis": "sqeuclidean",
    "crossnobis": "sqeuclidean",
    "poisson_cv": "poisson",
}


def rdm_repeats_ceiling(
    responses: np.ndarray,
    *,
    distance: Distance = "pearson",
    compare: str = "pearson",
    response_scale: str = "none",
    method: str = "calibrated",
    seed: int = 0,
    n_draws: int = 20,
    n_twins: int = 10,
    n_bootstrap: int = 200,
    indices: ArrayLike | None = None,
) -> Ceiling:
    """Ceiling of an RDM comparison, from the repeats of one subject.

    What the RDM of the noise-free responses would score. The RDMs of two halves of the repeats are
    compared, averaged over draws of the halves, and lengthened to all repeats by the
    Spearman–Brown formula; the root of this reliability is what the noise-free RDM would score,
    if the noise of an RDM entry fell as one over the number of repeats. It does not: its variance
    holds the product of two patterns' noise, too. So the same estimate is made on a simulated twin
    of the data, whose noise-free responses are known (see `fit_twin`), and

        ceiling = estimate of the data · mean truth of the twin / mean estimate of the twin.

    Parameters
    ----------
    responses : array (n_stimuli, n_repetitions, n_neuroids)
        NaN where a repeat is missing. Repeats that some neuroid misses are left out, and so are
        stimuli with fewer than two repeats.
    distance : str or callable
        An RDM method (see `compute_rdm`), or a function of (n_stimuli, n_neuroids) that gives a
        square RDM. Distances that take noise take that between the repeats; of ``"crossnobis"``
        the noise-free RDM is the squared Mahalanobis one.
    compare : str
        How the score compares RDMs; one of COMPARISONS that is a correlation or a cosine.
    response_scale : {"none", "zscore"}
        ``"zscore"``: neuroids in units of the mean and standard deviation over stimuli of their
        average of all repeats, as in a score on z-scored responses.
    method : {"calibrated", "split_half"}
        ``"split_half"`` leaves the twin out: fast, and biased where responses are noisy.
    seed, n_draws : int
        Of the halves; `seed` also of the twin and the interval.
    n_twins : int
        How often noise is added to the twin's noise-free responses.
    n_bootstrap : int
        Halves of the stimuli, drawn without replacement, for the interval.
    indices : array of int, optional
        The stimuli that are scored; all by default.

    Returns
    -------
    Ceiling
        On the scale "r"; NaN, with the reason, where the reliability is undefined or not above 0.
        The interval is that of the estimate over stimuli and over the twin's noise, together.

    Raises
    ------
    ValueError, KeyError
        For a wrong shape or scale; for an unknown distance, comparison or method.

    References
    ----------
    Spearman (1910), Brown (1910), British Journal of Psychology 3; Nili et al. (2014), PLoS
    Computational Biology 10(4): e1003553. The calibration is this library's own; bench/ceilings.py
    prints how far it is right.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> responses = rng.normal(size=(40, 1, 20)) + 0.5 * rng.normal(size=(40, 4, 20))
    >>> bool(0.9 < rdm_repeats_ceiling(responses, n_draws=4, n_twins=2).value < 1)
    True
    """
    if method not in METHODS:
        raise unknown_name("ceiling method", method, METHODS)
    if find_comparison(compare).range != (-1.0, 1.0):
        return undefined_ceiling("", f"no validated ceiling is known for compare={compare}")
    method = METHODS[method]
    name = _registered(distance)
    try:
        values, present = _prepare(responses, indices, name, response_scale)
        plain = _PLAIN.get(name, name) if isinstance(name, str) else name
        found = half_agreement(
            values, present, plain, compare, seed=seed, n_draws=n_draws, n_bootstrap=n_bootstrap
        )
    except UndefinedRDMError as error:
        return undefined_ceiling(method, str(error).rstrip("."))
    if np.isnan(found.mean):
        return undefined_ceiling(method, "the RDM of a half is constant or has undefined pairs")
    crossed = isinstance(name, str) and rdm_method(name).needs == "repeats"
    if method == METHODS["split_half"] and crossed:
        return undefined_ceiling(method, f"split halves of {name} need the twin: method=calibrated")
    if found.mean <= 0 or method == METHODS["split_half"]:
        return _plain_ceiling(found, method)
    twin = fit_twin(values, present, centre_rows=name in _CENTRED_ROWS)
    if twin is None:  # repeats without noise
        return _plain_ceiling(found, method)
    try:
        truths, estimates = _on_the_twin(twin, plain, name, compare, seed, n_twins)
    except UndefinedRDMError:  # rates: noise makes the twin's negative
        if crossed:
            return undefined_ceiling(method, f"no validated ceiling is known for {name}")
        return _plain_ceiling(found, METHODS["split_half"])
    return _calibrated(found, truths, estimates)


def rdm_split_half_ceiling(responses: np.ndarray, **options) -> Ceiling:
    """`rdm_repeats_ceiling` with ``method="split_half"``: fast, biased at low reliability.

    At reliability .2 the true ceiling was .5 to 1.35 times the estimate in simulations, at .8
    within 4 %. The method says so.
    """
    return rdm_repeats_ceiling(responses, method="split_half", **options)


def _registered(distance: Distance) -> Distance:
    """The registered name of a distance, for an alias; a function as it is."""
    if not isinstance(distance, str):
        return distance
    entry = rdm_method(distance)
    return next(name for name, known in RDM_METHODS.items() if known is entry)


def _prepare(
    responses: np.ndarray, indices: ArrayLike | None, distance: Distance, response_scale: str
) -> tuple[np.ndarray, np.ndarray]:
    """Scaled repeats of the usable stimuli, normalised by their noise if the distance is."""
    responses = check_repeats(responses)
    if indices is not None:
        responses = responses[np.asarray(indices)]
    present = present_repeats(responses)
    usable = present.sum(axis=1) >= 2
    values, present = scaled_repeats(responses[usable], present[usable], response_scale)
    if len(values) < MIN_STIMULI:
        raise UndefinedRDMError(
            f"{len(values)} stimuli with two or more repeats, at least {MIN_STIMULI} are needed"
        )
    if isinstance(distance, str) and rdm_method(distance).noise != "none":
        try:
            noise = noise_covariance(np.where(present[:, :, None], values, np.nan))
        except ValueError as error:
            raise UndefinedRDMError(str(error)) from None
        values = noise.whiten(values.reshape(-1, values.shape[2])).reshape(values.shape)
    return values, present


def _plain_ceiling(found: HalfAgreement, method: str) -> Ceiling:
    r = found.mean
    spread = 1.96 * _standard_error(found.errors)
    reliability = np.asarray(spearman_brown(np.array([r, r - spread, r + spread]), found.factor))
    return ceiling_from_reliability(float(reliability[0]), reliability[1:], "r", method)


def _standard_error(errors: np.ndarray) -> float:
    return float(np.sqrt(np.mean(errors**2))) if len(errors) else float("nan")


def _on_the_twin(
    twin: Twin,
    plain: Distance,
    distance: Distance,
    compare: str,
    seed: int,
    n_twins: int,
) -> tuple[np.ndarray, np.ndarray]:
    """What the twin's noise-free RDM scores, and what split halves make of it, (n_twins,) each."""
    noise_free = rdm_vector(twin.signal, plain)
    present = twin.present[:, :, None]
    truths, estimates = [], []
    for number in range(n_twins):
        values = twin.draw(np.random.default_rng([seed, 3, number]))
        if isinstance(distance, str) and rdm_method(distance).needs == "repeats":
            measured = rdm_vector(np.where(present, values, np.nan), distance)
        else:
            measured = rdm_vector(values.sum(axis=1) / present.sum(axis=1), plain)
        truths.append(agreement(noise_free, measured, compare))
        halves = half_agreement(
            values,
            twin.present,
            plain,
            compare,
            seed=seed + 1 + number,
            n_draws=TWIN_DRAWS,
            n_bootstrap=0,
        )
        estimates.append(float(halves.lengthened(halves.mean)))
    return np.array(truths), np.array(estimates)


def _calibrated(found: HalfAgreement, truths: np.ndarray, estimates: np.ndarray) -> Ceiling:
    name = METHODS["calibrated"]
    means = truths.mean(), estimates.mean()
    if not min(means) > 0:
        return undefined_ceiling(name, "the twin's RDM is undefined, or its noise hides the signal")
    factor = means[0] / means[1]
    value = float(found.lengthened(found.mean) * factor)
    # Of the calibration: how far truth and estimate part on single draws of the twin's noise.
    apart = np.var(truths - factor * estimates, ddof=1) if len(truths) > 1 else float("nan")
    # Signed roots: stopped at zero, weak halves would seem to vary little.
    sampled = found.mean + found.errors
    over_stimuli = factor * np.sign(sampled) * found.lengthened(np.abs(sampled)) - value
    # The twin is a model: part of what it corrects may be wrong, the more the more it corrects.
    model = MODEL_ERROR * value * np.log(factor)
    # Student's quantile: the spread is known from no more draws than there are twins.
    quantile = float(student.ppf(0.975, max(len(truths) - 1, 1)))
    error = quantile * float(np.sqrt(apart + np.mean(over_stimuli**2) + model**2))
    return Ceiling(value, value - error, value + error, "r", name)
