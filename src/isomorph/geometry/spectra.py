"""The spectrum of the features' covariance over stimuli, and numbers that describe it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike

from isomorph.geometry.gram import Gram, grams

# Fewer ranks than these do not make a line.
_FEWEST_RANKS = 5


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


def eigenspectrum(features: Gram | torch.Tensor | np.ndarray) -> np.ndarray:
    """Eigenvalues of the features' covariance over the stimuli, the largest first.

    Parameters
    ----------
    features : Gram, torch.Tensor or np.ndarray
        The features, (n_stimuli, n_features, …), or their Gram.

    Returns
    -------
    np.ndarray, (min(n_stimuli, n_features),), float64
        In squared units of the features, with n_stimuli − 1 in the denominator. Those within
        rounding of zero are exactly zero.

    Raises
    ------
    ValueError
        If there are fewer than 2 stimuli.

    References
    ----------
    Stringer et al. (2019), Nature 571.

    Examples
    --------
    >>> eigenspectrum(np.array([[0.0, 0], [3, 4], [6, 8]])).round(2)
    array([25.,  0.])
    """
    gram = _gram(features)
    n = gram.n_stimuli
    if n < 2:
        raise ValueError(f"eigenspectrum: expected at least 2 stimuli, got {n}.")
    kernel = gram.centred()
    values = np.linalg.eigvalsh(kernel)[::-1]
    # The largest eigenvalue of a symmetric matrix of independent errors e is about 2 e √n.
    rounding = 8 * gram.resolution * max(values[0], np.trace(kernel) / n**0.5)
    return np.where(values > rounding, values, 0.0)[: min(n, gram.n_features)] / (n - 1)


def power_law_exponent(spectrum: ArrayLike, first: int = 11, last: int | None = None) -> float:
    """Exponent α of a spectrum that falls as rank^−α, over a range of ranks.

    The slope, with its sign turned, of a line fitted to log eigenvalue against log rank by least
    squares with weights 1 / rank, as in the authors' code: each octave of ranks counts alike.

    Parameters
    ----------
    spectrum : array_like, (n_eigenvalues,)
        By rank, the first the largest: of `eigenspectrum` or `cross_validated_spectrum`.
    first : int
        First rank of the fit, from 1 on.
    last : int, optional
        Last rank of the fit, included. By default 500, the paper's, or half of the ranks before the
        first eigenvalue that is not positive, if that is less: with n stimuli the last eigenvalues
        of any sample fall faster than the population's.

    Returns
    -------
    float
        NaN if there are fewer than 5 ranks in the range.

    Raises
    ------
    ValueError
        If the spectrum is not a vector of numbers, the range is not one, or an eigenvalue in a
        range that was given is not positive.

    References
    ----------
    Stringer et al. (2019), Nature 571.

    Examples
    --------
    >>> round(power_law_exponent(np.arange(1, 201) ** -1.5), 6)
    1.5
    """
    values = np.asarray(spectrum, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(
            f"spectrum: expected a vector of finite eigenvalues by rank, got shape {values.shape}. "
            "Make one with eigenspectrum(features)."
        )
    if first < 1 or (last is not None and last < first):
        raise ValueError(
            f"power_law_exponent: expected 1 ≤ first ≤ last, got first={first}, last={last}."
        )
    empty = np.flatnonzero(values <= 0)
    n_positive = int(empty[0]) if len(empty) else len(values)
    if last is None:
        last = min(500, n_positive // 2)
    elif last > n_positive:
        raise ValueError(
            f"power_law_exponent: expected positive eigenvalues up to rank {last}, got "
            f"{n_positive}. Lower last."
        )
    ranks = np.arange(first, last + 1)
    if len(ranks) < _FEWEST_RANKS:
        return float("nan")
    x, y, weights = np.log(ranks), np.log(values[ranks - 1]), 1 / ranks
    x = x - np.average(x, weights=weights)
    return float(-(weights * x * y).sum() / (weights * x * x).sum())


def explained_variance_dimensions(
    features: Gram | torch.Tensor | np.ndarray, share: float = 0.9
) -> float:
    """How many principal components it takes to explain a share of the variance.

    Parameters
    ----------
    features : Gram, torch.Tensor or np.ndarray
        The features, (n_stimuli, n_features, …), or their Gram.
    share : float
        Above 0, up to 1.

    Returns
    -------
    float
        A whole number; NaN if the features do not vary over the stimuli.

    References
    ----------
    Jolliffe (2002), Principal Component Analysis, section 6.1.1.

    Examples
    --------
    >>> explained_variance_dimensions(np.diag([1.0, 1, 1, 0]), share=0.9)
    3.0
    """
    return dimensions_of_spectrum(eigenspectrum(features), share)


def dimensions_of_spectrum(spectrum: np.ndarray, share: float = 0.9) -> float:
    """Give `explained_variance_dimensions` of an eigenspectrum."""
    if not 0 < share <= 1:
        raise ValueError(f"share: expected a share of the variance, 0 < share ≤ 1, got {share}.")
    explained = np.cumsum(spectrum)
    if not len(explained) or explained[-1] <= 0:
        return float("nan")
    # A share that is reached but for rounding is reached.
    return float(np.searchsorted(explained, share * explained[-1] * (1 - 1e-12)) + 1)


def entropy_dimensionality(features: Gram | torch.Tensor | np.ndarray) -> float:
    """Effective rank: the exponential of the entropy of the spectrum.

    exp(−Σ p log p), p = λ / Σλ, λ the eigenvalues of the covariance of the features over the
    stimuli. It counts weak dimensions more than `effective_dimensionality` does.

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
    Roy & Vetterli (2007), EUSIPCO (of singular values there; of variances in Del Giudice (2021),
    Multivariate Behavioral Research 56(3), as n1).

    Examples
    --------
    >>> round(entropy_dimensionality(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])), 6)
    2.0
    """
    return entropy_of_spectrum(eigenspectrum(features))


def entropy_of_spectrum(spectrum: np.ndarray) -> float:
    """Give `entropy_dimensionality` of an eigenspectrum."""
    positive = spectrum[spectrum > 0]
    if not len(positive):
        return float("nan")
    shares = positive / positive.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def cross_validated_spectrum(
    repeats: np.ndarray, *, n_shuffles: int = 5, seed: int = 0
) -> np.ndarray:
    """Signal variance along principal components, from repeats: free of noise on average.

    Cross-validated PCA: components of one half of the repeats, and along each the covariance over
    stimuli between the two halves. Halves are drawn within each stimulus, again for each shuffle,
    both ways round; the result is the mean.

    Parameters
    ----------
    repeats : np.ndarray, (n_stimuli, n_repeats, n_features)
        Responses to repeated stimuli; a repeat that is missing is NaN throughout.
    n_shuffles : int
    seed : int

    Returns
    -------
    np.ndarray, (min(n_stimuli − 1, n_features),), float64
        By rank of the component; with n_stimuli − 1 in the denominator. Without noise it is
        `eigenspectrum`; with noise the last values scatter about zero, on both sides.

    Raises
    ------
    ValueError
        If a stimulus has fewer than 2 repeats, one is missing in part, or the shape is another.

    References
    ----------
    Stringer et al. (2019), Nature 571.

    Examples
    --------
    >>> cross_validated_spectrum(np.random.default_rng(0).standard_normal((20, 4, 6))).shape
    (6,)
    """
    repeats = np.asarray(repeats, dtype=np.float64)
    present = _present(repeats)
    if n_shuffles < 1:
        raise ValueError(f"n_shuffles: expected at least 1, got {n_shuffles}.")
    rng = np.random.default_rng(seed)
    # A shift of all that is given cancels out below; without it a large offset would round.
    filled = np.where(present[..., None], repeats - np.nanmean(repeats, axis=(0, 1)), 0.0)
    n_kept = min(len(repeats) - 1, repeats.shape[2])
    total = np.zeros(n_kept)
    for _ in range(n_shuffles):
        one, other = _halves(filled, present, rng)
        total += _shared_variance(one, other, n_kept) + _shared_variance(other, one, n_kept)
    return total / (2 * n_shuffles)


def _present(repeats: np.ndarray) -> np.ndarray:
    """Which repeats are there, (n_stimuli, n_repeats) bool."""
    if repeats.ndim != 3 or len(repeats) < 2:
        raise ValueError(
            "repeats: expected responses of shape (n_stimuli, n_repeats, n_features) to at least 2 "
            f"stimuli, got {repeats.shape}."
        )
    present = np.asarray(np.isfinite(repeats).all(axis=2))
    partly = int((~present & ~np.isnan(repeats).all(axis=2)).sum())
    if partly:
        raise ValueError(
            f"repeats: expected a missing repeat to be NaN in all features, got {partly} that are "
            "missing or infinite in some. Leave those features or stimuli out."
        )
    few = np.flatnonzero(present.sum(axis=1) < 2)
    if len(few):
        raise ValueError(
            f"repeats: expected at least 2 repeats of each stimulus, got fewer for {len(few)} "
            f"stimuli (first: {few[0]}). Leave them out."
        )
    return present


def _halves(
    filled: np.ndarray, present: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Means over two halves of each stimulus's repeats, each centred over the stimuli."""
    # Those that are there come first in a random order; every second of the order is one half.
    order = np.where(present, rng.random(present.shape), 2.0).argsort(axis=1).argsort(axis=1)
    # The odd one out goes to either half alike.
    order = order + rng.integers(0, 2, (len(present), 1))
    means = []
    for parity in (0, 1):
        weights = (present & (order % 2 == parity)).astype(np.float64)
        weights /= weights.sum(axis=1, keepdims=True)
        mean = np.einsum("nr,nrp->np", weights, filled)
        means.append(mean - mean.mean(axis=0))
    return means[0], means[1]


def _shared_variance(first: np.ndarray, second: np.ndarray, n_kept: int) -> np.ndarray:
    """Covariance between two halves along the principal components of the first."""
    n, p = first.shape
    if p < n:
        axes = np.linalg.eigh(first.T @ first)[1][:, ::-1][:, :n_kept]
        return ((first @ axes) * (second @ axes)).sum(axis=0) / (n - 1)
    # Components are V = Xᵀ U / s, so that Σ (X V)(Y V) = Σ s U · (Y Xᵀ U) / s: no s is left.
    vectors = np.linalg.eigh(first @ first.T)[1][:, ::-1][:, :n_kept]
    return (vectors * (second @ first.T @ vectors)).sum(axis=0) / (n - 1)


def _gram(features: Gram | torch.Tensor | np.ndarray) -> Gram:
    return features if isinstance(features, Gram) else grams(features)[0]


def _centred(features: Gram | torch.Tensor | np.ndarray) -> np.ndarray:
    return _gram(features).centred()
