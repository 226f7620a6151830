"""A twin of measured responses: simulated ones, like them, whose noise-free part is known.

What an estimate of a noise ceiling gets wrong on the twin it gets wrong on the data in much the
same way, and on the twin the truth can be looked up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import root_scalar
from scipy.special import ndtri
from scipy.stats import rankdata

from isomorph.alignment.ceilings.gram import disjoint_products

# Of the logarithms of the powers.
MAX_SPREAD = 4.0
# From here on the axes of the noise are looked for among its largest alone.
EXACT_AXES, LARGEST_AXES, POWER_STEPS = 600, 40, 4


@dataclass(frozen=True, eq=False)
class Twin:
    """Noise-free responses and noise, in the likeness of measured repeats.

    Attributes
    ----------
    signal : float array (n_stimuli, n_neuroids)
        The noise-free responses.
    noise : float array (n_residuals, n_neuroids)
        Residuals of the data, each divided by the noise level of its stimulus.
    level : float array (n_stimuli,)
        Root of the noise power of a repeat of each stimulus.
    present : bool array (n_stimuli, n_repetitions)
        Which repeats there are, as in the data.
    """

    signal: np.ndarray
    noise: np.ndarray
    level: np.ndarray
    present: np.ndarray

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Repeats (n_stimuli, n_repetitions, n_neuroids), zero where one is missing.

        Noise is drawn among all residuals, with a random sign: it keeps their covariance between
        neuroids and is independent from repeat to repeat.
        """
        shape = self.present.shape
        values = self.noise[rng.integers(len(self.noise), size=shape)]
        sign = rng.integers(2, size=shape) * 2 - 1
        values *= (sign * self.level[:, None])[:, :, None]
        values += self.signal[:, None]
        values[~self.present] = 0.0
        return values


def fit_twin(values: np.ndarray, present: np.ndarray, *, centre_rows: bool = False) -> Twin | None:
    """Make the twin of measured repeats.

    The mean pattern over stimuli is kept, less its noise power. The deviations of the stimuli
    from it are whitened (neuroids and stimuli by their noise level, and the axes along which the
    noise of neuroids is correlated), decomposed, and shrunk: a threshold is taken off their
    squared singular values. Then every deviation is scaled to a power: true powers are taken to be
    lognormal, in the order of the observed ones, with the mean and variance that products of
    disjoint repeats give without bias. The threshold is the one at which the mean squared product
    of two deviations equals its own unbiased estimate.

    Parameters
    ----------
    values : array (n_stimuli, n_repetitions, n_neuroids)
        Zero where a repeat is missing; every stimulus has two or more.
    present : bool array (n_stimuli, n_repetitions)
    centre_rows : bool
        Subtract from each pattern its mean over neuroids first: for distances that do not see it.

    Returns
    -------
    Twin or None
        None where stimuli do not differ, or no noise was measured.
    """
    values = values.astype(float)
    if centre_rows:
        values -= values.mean(axis=2, keepdims=True)
    count = present.sum(axis=1).astype(float)
    means = values.sum(axis=1) / count[:, None]
    residuals, level = _residuals(values, means, present)
    mean_pattern = means.mean(axis=0)
    deviations = means - mean_pattern
    largest = np.square(means).sum()
    if np.square(deviations).sum() <= 1e-24 * largest or not level.max() > 1e-12 * np.sqrt(largest):
        return None
    values -= mean_pattern
    values[~present] = 0.0
    powers = _signal_powers(values, present, level)
    products = disjoint_products(values, present)
    n_stimuli = len(values)
    wanted = products.sum() / (n_stimuli * (n_stimuli - 1))
    signal = _shrunk(deviations, residuals, level, powers, wanted, count)
    if centre_rows:
        signal -= signal.mean(axis=1, keepdims=True)
    size = np.sqrt(np.square(signal).sum(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        signal *= np.where(size > 0, np.sqrt(powers) / size, 0.0)[:, None]
    power = np.square(mean_pattern).sum()
    kept = 1 - np.sum(level**2 / count) / n_stimuli**2 / power if power > 0 else 0.0
    return Twin(signal + np.sqrt(max(kept, 0.0)) * mean_pattern, residuals, level, present)


def _residuals(
    values: np.ndarray, means: np.ndarray, present: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Residuals (n_present, n_neuroids) of unit noise level, and each stimulus's noise level."""
    count = present.sum(axis=1).astype(float)
    stimulus = np.nonzero(present)[0]
    residuals = values[present] - means[stimulus]
    residuals *= np.sqrt(count / (count - 1))[stimulus, None]
    power = np.bincount(stimulus, np.square(residuals).sum(axis=1)) / count
    level = np.sqrt(power)
    with np.errstate(divide="ignore", invalid="ignore"):
        residuals *= np.where(level > 0, 1 / level, 0.0)[stimulus, None]
    return residuals[level[stimulus] > 0], level


def _signal_powers(values: np.ndarray, present: np.ndarray, level: np.ndarray) -> np.ndarray:
    """True powers of the deviations (n_stimuli,): lognormal, in the order of the observed ones."""
    n = len(values)
    count = present.sum(axis=1).astype(float)
    share = level**2 / (n * count)  # what a stimulus's own noise in the mean takes from its power
    own = values @ values.transpose(0, 2, 1)
    own = (own + (2 * share - share.mean())[:, None, None]) * (
        present[:, :, None] & present[:, None, :] & ~np.eye(present.shape[1], dtype=bool)
    )
    total = own.sum(axis=(1, 2))
    powers = total / (count * (count - 1))
    mean = powers.mean()
    floor = 1e-6 * np.square(values).sum() / present.sum()
    if mean <= floor:
        return np.full(n, floor)
    # The square of a power, from pairs of repeats that share none, where there are four.
    squares = total**2 - 4 * np.square(own.sum(axis=2)).sum(axis=1) + 2 * (own**2).sum(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        squares /= count * (count - 1) * (count - 2) * (count - 3)
    noise = _power_noise(values, present, powers, level)
    squares = np.where(count >= 4, squares, powers**2 - noise)
    variance = squares.mean() - (powers.sum() ** 2 - np.square(powers).sum()) / (n * (n - 1))
    variance = max(variance, 0.0)
    # Ordered as they are likely to be: the power of a noisy stimulus is extreme by its noise.
    likely = (powers - mean) * (variance + floor**2) / (variance + floor**2 + noise)
    return mean * _lognormal(likely, variance / mean**2)


def _lognormal(order: np.ndarray, variance: float) -> np.ndarray:
    """Quantiles of a lognormal distribution, in this order, of mean 1 and the given variance."""
    normal = ndtri((rankdata(order) - 0.5) / len(order))

    def quantiles(spread: float) -> np.ndarray:
        values = np.exp(spread * normal)
        return values / values.mean()

    def excess(spread: float) -> float:
        return float(quantiles(spread).var(ddof=1)) - variance

    # So few quantiles hold less than the variance of the distribution: its spread is looked for.
    if excess(MAX_SPREAD) <= 0:
        return quantiles(MAX_SPREAD)
    return quantiles(float(root_scalar(excess, bracket=(0.0, MAX_SPREAD)).root))


def _power_noise(
    values: np.ndarray, present: np.ndarray, powers: np.ndarray, level: np.ndarray
) -> np.ndarray:
    """Sampling variance of the powers, for normal noise.

    With S the noise covariance of a stimulus it is 4 y'Sy / R + 2 tr(S²) / (R (R − 1)); y'Sy is
    taken to be that of a signal along all axes of the noise alike.
    """
    count = present.sum(axis=1)
    stimuli = np.arange(len(values))
    means = values.sum(axis=1) / count[:, None]
    # One residual of each stimulus: independent of one another.
    residual = values[stimuli, present.argmax(axis=1)] - means
    residual /= np.maximum(np.sqrt(np.square(residual).sum(axis=1)), 1e-300)[:, None]
    products = np.square(residual @ residual.T)
    n = len(residual)
    per_axis = (products.sum() - np.trace(products)) / (n * (n - 1))
    noise = 4 / count * np.maximum(powers, 0) * level**2 * per_axis
    return noise + 2 / (count * (count - 1)) * level**4 * per_axis


def _shrunk(
    deviations: np.ndarray,
    residuals: np.ndarray,
    level: np.ndarray,
    powers: np.ndarray,
    wanted: float,
    count: np.ndarray,
) -> np.ndarray:
    """Deviations of lower rank, whose rows scaled to their powers have the wanted products."""
    n = len(deviations)
    row = (level / np.sqrt(count))[:, None]
    row = np.maximum(row / np.sqrt(np.mean(row**2)), 1e-3)
    spread = np.sqrt(np.mean(residuals**2, axis=0))
    spread = np.where(spread > 1e-9 * spread.max(), spread, spread.max())
    axes, gain = _noise_axes(residuals / spread, int(count.sum() - n))
    white = deviations / spread / row
    white += ((white @ axes) * (1 / gain - 1)) @ axes.T
    left, values, right = np.linalg.svd(white, full_matrices=False)
    right += ((right @ axes) * (gain - 1)) @ axes.T
    right *= spread
    left = left * row
    inner = right @ right.T
    off = ~np.eye(n, dtype=bool)

    def excess(threshold: float) -> float:
        parts = left * np.sqrt(np.maximum(values**2 - threshold, 0))
        gram = parts @ inner @ parts.T
        size = np.sqrt(np.maximum(gram.diagonal(), 1e-300))
        gram *= np.outer(np.sqrt(powers) / size, np.sqrt(powers) / size)
        return float(np.mean(gram[off] ** 2)) / wanted - 1 if wanted > 0 else 1.0

    # Above the second singular value all deviations lie along one line.
    highest = float(values[min(1, len(values) - 1)] ** 2)
    if excess(0.0) >= 0:
        threshold = 0.0
    elif excess(highest) <= 0:
        threshold = highest
    else:
        found = root_scalar(excess, bracket=(0.0, highest), xtol=1e-4 * highest, rtol=1e-4)
        threshold = float(found.root)
    return (left * np.sqrt(np.maximum(values**2 - threshold, 0))) @ right


def _noise_axes(residuals: np.ndarray, freedom: int) -> tuple[np.ndarray, np.ndarray]:
    """Axes along which noise of unit variance is correlated, and its standard deviation there.

    Those are axes (n_neuroids, n_axes) whose variance is above the largest that independent
    neuroids would show (Marchenko & Pastur 1967), corrected for how far a variance is stretched
    by being chosen (Baik & Silverstein 2006).
    """
    n_neuroids = residuals.shape[1]
    if n_neuroids <= EXACT_AXES:
        variances, axes = np.linalg.eigh(residuals.T @ residuals / len(residuals))
    else:
        # A few steps of block power iteration find the axes that stand out.
        block = np.random.default_rng(0).normal(size=(n_neuroids, LARGEST_AXES))
        for _ in range(POWER_STEPS):
            block, _ = np.linalg.qr(residuals.T @ (residuals @ block))
        along = residuals @ block
        variances, turn = np.linalg.eigh(along.T @ along / len(residuals))
        axes = block @ turn
    ratio = n_neuroids / max(freedom, 1)
    kept = variances > (1 + np.sqrt(ratio)) ** 2
    middle = variances[kept] + 1 - ratio
    true = (middle + np.sqrt(np.maximum(middle**2 - 4 * variances[kept], 0))) / 2
    return axes[:, kept], np.sqrt(true)
