"""Estimates of the noise covariance, from residuals or from repeated measurements."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from isomorph.geometry.columns import as_tensor
from isomorph.geometry.rdms.noise import NoiseCovariance, UndefinedRDMError, cholesky_root
from isomorph.registry import unknown_name

NOISE_METHODS = ("shrinkage_diag", "shrinkage_eye", "diag", "full")
GIVEN = ("covariance", "precision", "residuals", "repeats")
_ADVICE = {"full": "Use method='shrinkage_diag', or give more residuals."}
# Relative: a spread this small is the rounding of the mean that was subtracted.
_ROUNDING = 1e-14


def noise_covariance(
    residuals: np.ndarray | torch.Tensor,
    method: str = "shrinkage_diag",
    *,
    dof: float | None = None,
) -> NoiseCovariance:
    """Estimate the covariance of the noise from residuals, or from repeated measurements.

    Parameters
    ----------
    residuals : (n_residuals, n_features) or (n_stimuli, n_repetitions, n_features) array
        Residuals, whose mean is subtracted; or repeats, whose mean over the repeats of a stimulus
        is. A repeat in which a feature is NaN counts as missing, and a stimulus with one repeat
        tells nothing.
    method : {"shrinkage_diag", "shrinkage_eye", "diag", "full"}
        Shrunk to its own diagonal by the weight of Schäfer & Strimmer; shrunk to a multiple of the
        identity by that of Ledoit & Wolf; the variances alone; the sample covariance.
    dof : float, optional
        Degrees of freedom by which squares are divided: n_residuals − 1, or the number of repeats
        less that of stimuli. Less where a GLM has taken more.

    Returns
    -------
    NoiseCovariance
        With more features than residuals in a form in which nothing n_features² is ever made.

    Raises
    ------
    UnknownNameError
        If there is no such method.
    UndefinedRDMError
        If the covariance is singular: features that never vary, or, for ``"full"``, fewer degrees
        of freedom than features.
    ValueError
        For another shape, infinite numbers, or too few residuals.

    Notes
    -----
    The variance of a correlation, in the weight of ``"shrinkage_diag"``, is taken around the
    correlation itself, as rsatoolbox does; the paper's form differs by a factor of order 1/n.

    References
    ----------
    Schäfer & Strimmer (2005), Stat. Appl. Genet. Mol. Biol. 4:32; Ledoit & Wolf (2004), Journal of
    Multivariate Analysis 88(2); Walther et al. (2016), NeuroImage 137.

    Examples
    --------
    >>> residuals = np.random.default_rng(0).normal(size=(30, 5000))
    >>> noise_covariance(residuals).form
    'low_rank'
    """
    if method not in NOISE_METHODS:
        raise unknown_name("noise method", method, NOISE_METHODS)
    rows, natural = _residual_rows(as_tensor(residuals))
    dof = natural if dof is None else dof
    if not dof > 0:
        raise ValueError(
            f"noise_covariance: expected positive degrees of freedom, got {dof:g}. Give two or "
            "more residuals, or two or more repeats of some stimulus."
        )
    variances = (rows**2).sum(axis=0) / dof
    if method != "shrinkage_eye":
        _require_variance(variances)
    if method == "diag":
        return NoiseCovariance("diagonal", len(variances), variances, method=method, dof=dof)
    weight, target = _shrinkage(rows, variances, dof, method)
    return _shrunk(rows, weight, target, dof, method)


def _shrinkage(
    rows: np.ndarray, variances: np.ndarray, dof: float, method: str
) -> tuple[float, np.ndarray]:
    """Weight of the target, and the diagonal target itself."""
    if method == "full":
        return 0.0, variances
    if method == "shrinkage_eye":
        return _ledoit_wolf(rows), np.full(len(variances), variances.mean())
    return _schaefer_strimmer(rows / np.sqrt(variances), dof), variances


def _shrunk(
    rows: np.ndarray, weight: float, target: np.ndarray, dof: float, method: str
) -> NoiseCovariance:
    n, p = rows.shape
    facts = {"method": method, "shrinkage": weight if method != "full" else np.nan, "dof": dof}
    if weight == 1 and target.all():
        return NoiseCovariance("diagonal", p, target, **facts)
    if not (weight > 0 or dof >= p) or not target.all():
        raise UndefinedRDMError(
            f"noise: the {method} covariance of {p} features is singular: {dof:g} degrees of "
            f"freedom and {weight:g} shrinkage. {_ADVICE.get(method, 'Give more residuals.')}"
        )
    factors = np.sqrt((1 - weight) / dof) * rows
    if p > n:
        return NoiseCovariance("low_rank", p, weight * target, factors, **facts)
    covariance = factors.T @ factors
    covariance[np.diag_indices(p)] += weight * target
    return NoiseCovariance("covariance", p, root=cholesky_root(covariance, "covariance"), **facts)


def _ledoit_wolf(rows: np.ndarray) -> float:
    """Weight of the identity; sums over n_features² products as sums over n_residuals²."""
    n, p = rows.shape
    squared = _product_norm(rows) / n**2
    mean = (rows**2).sum() / (n * p)
    distance = squared - p * mean**2
    if distance <= 1e-14 * squared:  # nothing but a multiple of the identity, as with one feature
        return 1.0
    lengths = (rows**2).sum(axis=1)
    spread = ((lengths**2).sum() / n - squared) / n
    return float(np.clip(spread / distance, 0, 1))


def _schaefer_strimmer(rows: np.ndarray, dof: float) -> float:
    """Weight of the diagonal, from rows divided by each feature's spread."""
    n = len(rows)
    squares = rows**2
    own = squares.sum(axis=0)
    correlations = (_product_norm(rows) - (own**2).sum()) / (n - 1) ** 2
    fourth = ((squares.sum(axis=1) ** 2).sum() - (squares**2).sum()) / (n - 1)
    if correlations <= 1e-14 * (own**2).sum() / (n - 1) ** 2:  # one feature: nothing to shrink
        return 1.0
    return float(np.clip(n / dof**2 * (fourth - correlations) / correlations, 0, 1))


def _product_norm(rows: np.ndarray) -> float:
    """Sum of the squares of RᵀR, which are those of R Rᵀ: the smaller of the two is made."""
    products = rows @ rows.T if rows.shape[0] <= rows.shape[1] else rows.T @ rows
    return float((products**2).sum())


def _residual_rows(residuals: torch.Tensor) -> tuple[np.ndarray, float]:
    """Centred residuals (n_residuals, n_features), float64, and their degrees of freedom."""
    values = residuals.detach().cpu().double().numpy()
    if values.ndim == 2 and values.size:
        if not np.isfinite(values).all():
            raise ValueError(
                f"noise_covariance: {int((~np.isfinite(values)).sum())} residuals are not finite. "
                "Leave those rows out; only missing repeats, (n_stimuli, n_repetitions, "
                "n_features), may be NaN."
            )
        return _centred(values), len(values) - 1.0
    if values.ndim != 3 or not values.size:
        raise ValueError(
            "noise_covariance: expected residuals (n_residuals, n_features) or repeats (n_stimuli, "
            f"n_repetitions, n_features), got shape {values.shape}."
        )
    present = present_repeats(values)
    usable = present.sum(axis=1) >= 2
    rows = [_centred(values[i, present[i]]) for i in np.flatnonzero(usable)]
    stacked = np.concatenate(rows) if rows else np.empty((0, values.shape[2]))
    return stacked, float(len(stacked) - usable.sum())


def present_repeats(repeats: np.ndarray) -> np.ndarray:
    """Which repeats of a stimulus were measured in every feature, bool (n_stimuli, n_repeats).

    Raises
    ------
    ValueError
        If a number is infinite.
    """
    if np.isinf(repeats).any():
        raise ValueError(
            f"repeats: {int(np.isinf(repeats).sum())} values are infinite. Mark missing repeats "
            "with NaN."
        )
    return np.logical_not(np.isnan(repeats).any(axis=2))


def _centred(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean(axis=0)
    # What is left of a constant is the rounding of its mean.
    return np.where(np.abs(centred) <= _ROUNDING * np.abs(values).max(axis=0), 0.0, centred)


def _require_variance(variances: np.ndarray) -> None:
    silent = int((variances <= 0).sum())
    if silent:
        raise UndefinedRDMError(
            f"noise: {silent} of {len(variances)} features never vary in the residuals: the "
            "covariance is singular. Leave them out, or use method='shrinkage_eye'."
        )


Noise = NoiseCovariance | Mapping[str, np.ndarray] | str | None


def as_noise(noise: Noise, features: torch.Tensor | np.ndarray) -> NoiseCovariance | None:
    """Read what was given as ``noise=``.

    Parameters
    ----------
    noise : NoiseCovariance, mapping, str or None
        ``{"covariance": …}``, ``{"precision": …}``, ``{"residuals": …}`` or ``{"repeats": …}``;
        a method of `noise_covariance`: from the repeats in `features`.
    features : tensor or array
        (n_stimuli, n_repetitions, n_features) where a method is named.

    Returns
    -------
    NoiseCovariance or None
    """
    if noise is None or isinstance(noise, NoiseCovariance):
        return noise
    if isinstance(noise, str):
        if noise not in NOISE_METHODS:
            raise unknown_name("noise method", noise, NOISE_METHODS)
        if features.ndim != 3:
            raise ValueError(
                f"noise={noise!r}: expected repeats (n_stimuli, n_repetitions, n_features) to "
                f"estimate it from, got shape {tuple(features.shape)}. Give noise={{'residuals': "
                "array}."
            )
        return noise_covariance(features, noise)
    if not isinstance(noise, Mapping) or len(noise) != 1:
        raise ValueError(
            f"noise: expected to be told what it is, got {type(noise).__name__}: say "
            "noise={'covariance': array} or noise={'precision': array}, {'residuals': array}, "
            "{'repeats': array}."
        )
    [(name, array)] = noise.items()
    if name not in GIVEN:
        raise unknown_name("kind of noise", name, GIVEN)
    if name == "covariance":
        return NoiseCovariance.from_covariance(array)
    if name == "precision":
        return NoiseCovariance.from_precision(array)
    expected = 2 if name == "residuals" else 3
    if np.ndim(array) != expected:
        raise ValueError(
            f"noise={{{name!r}: …}}: expected {expected} axes, stimuli or rows first, got shape "
            f"{np.shape(array)}."
        )
    return noise_covariance(array)
