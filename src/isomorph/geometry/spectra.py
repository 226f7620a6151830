"""Statistics of the spectrum of the features' covariance over stimuli."""

from __future__ import annotations

import numpy as np
import torch

from isomorph.geometry.gram import Gram, grams


def effective_dimensionality(features: Gram | torch.Tensor | np.ndarray) -> float:
    """Effective dimensionality (participation ratio) of the features over the stimuli.

    (Σλ)² / Σλ², λ the eigenvalues of the covariance of the features over the stimuli; computed as
    trace(K)² / ‖K‖² of the doubly centred Gram K, without an eigendecomposition. It is biased by
    the number of stimuli, to about 1/(1/ED + 1/n); see `effective_dimensionality_corrected`.

    Parameters
    ----------
    features : Gram, torch.Tensor or np.ndarray
        The features, (n_stimuli, n_features, …), or their Gram.

    Returns
    -------
    float
        Between 1 and n_stimuli − 1; NaN if the features do not vary over the stimuli.

    References
    ----------
    Del Giudice (2021), Multivariate Behavioral Research 56(3); Elmoznino & Bonner (2024), PLOS
    Computational Biology 20(1).

    Examples
    --------
    >>> round(effective_dimensionality(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])), 6)
    2.0
    """
    kernel = _centred(features)
    trace = np.trace(kernel)
    return float(trace**2 / np.sum(kernel**2)) if trace > 0 else float("nan")


def effective_dimensionality_corrected(features: Gram | torch.Tensor | np.ndarray) -> float:
    """Effective dimensionality of the population that the stimuli were drawn from.

    (tr Σ)² / tr(Σ²), numerator and denominator each estimated without bias, whatever the
    distribution, by U-statistics over distinct stimuli: (tr Σ)² by the products of half squared
    distances of disjoint pairs, tr(Σ²) by the unbiased HSIC of the Gram with itself. The ratio is
    not exactly unbiased; what is left is small where n is well above the square root of it.

    Parameters
    ----------
    features : Gram, torch.Tensor or np.ndarray
        The features, (n_stimuli, n_features, …), or their Gram.

    Returns
    -------
    float
        May exceed n_stimuli. NaN with fewer than 4 stimuli, if the features do not vary, or if the
        estimate of tr(Σ²) is not positive: too few stimuli to tell.

    References
    ----------
    Song et al. (2012), JMLR 13, equation 5 (unbiased HSIC); Chen, Zhang & Zhong (2010), JASA
    105(490) (the same estimate of tr(Σ²)).

    Examples
    --------
    >>> features = np.random.default_rng(0).standard_normal((100, 2000))
    >>> effective_dimensionality(features) < 100 < effective_dimensionality_corrected(features)
    True
    """
    kernel = _centred(features)
    n = len(kernel)
    if n < 4 or np.trace(kernel) <= 0:
        return float("nan")
    diagonal = kernel.diagonal()
    halves = (diagonal[:, None] + diagonal[None, :] - 2 * kernel) / 2
    np.fill_diagonal(halves, 0)
    # All ordered pairs of pairs, less those that share one stimulus, plus those taken twice.
    disjoint = halves.sum() ** 2 - 4 * (halves.sum(axis=1) ** 2).sum() + 2 * (halves**2).sum()
    trace_squared = disjoint / (n * (n - 1) * (n - 2) * (n - 3))
    hollow = kernel - np.diag(diagonal)
    sums = hollow.sum(axis=1)
    squared_trace = (
        (hollow**2).sum() + sums.sum() ** 2 / ((n - 1) * (n - 2)) - 2 / (n - 2) * (sums @ sums)
    ) / (n * (n - 3))
    # A denominator within rounding of zero says as little as a negative one.
    if squared_trace <= 1e-12 * (kernel**2).sum() / n**2:
        return float("nan")
    return float(trace_squared / squared_trace)


def _centred(features: Gram | torch.Tensor | np.ndarray) -> np.ndarray:
    gram = features if isinstance(features, Gram) else grams(features)[0]
    return gram.centred()
