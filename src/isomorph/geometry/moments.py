"""Moments of features over stimuli, summed block by block of rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True, eq=False)
class Moments:
    """What streaming leaves of a layer: no stimulus can be told from it.

    Parameters
    ----------
    n : int
        Number of stimuli.
    mean, variance : np.ndarray, (n_features,), float64
        The variance is the population's (divided by n).
    zero_share : np.ndarray, (n_features,), float64
        Share of the stimuli for which the feature is exactly zero.

    Examples
    --------
    >>> moments = moments_of(torch.tensor([[0.0, 1.0], [2.0, 1.0]]))
    >>> moments.mean, moments.zero_share
    (array([1., 1.]), array([0.5, 0. ]))
    """

    n: int
    mean: np.ndarray
    variance: np.ndarray
    zero_share: np.ndarray

    def lifetime_sparseness(self) -> np.ndarray:
        """How few stimuli each feature responds to, (n_features,): 0 all alike, 1 one alone.

        (1 − (mean r)² / mean r²) / (1 − 1/n); NaN for a feature that is zero for every stimulus.
        For rates, which are not negative: of a feature whose signs differ the mean is near 0, and
        this near 1, or above it, however many stimuli it responds to.

        References
        ----------
        Vinje & Gallant (2000), Science 287; Treves & Rolls (1991) for the ratio.
        """
        mean_square = self.variance + self.mean**2
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.where(mean_square > 0, self.mean**2 / mean_square, np.nan)
            return (1 - ratio) / (1 - 1 / self.n)


class RunningMoments:
    """Sums moments over blocks of rows, on the features' device, in float64.

    Parameters
    ----------
    n_features : int
    device : torch.device

    Notes
    -----
    Chan, Golub & LeVeque's pairwise update: the mean is taken off before squaring, so that nothing
    cancels.

    References
    ----------
    Chan, Golub & LeVeque (1983), The American Statistician 37(3), equation 2.1.
    """

    def __init__(self, n_features: int, device: torch.device) -> None:
        self.n = 0
        self._mean = torch.zeros(n_features, dtype=torch.float64, device=device)
        self._squares = torch.zeros(n_features, dtype=torch.float64, device=device)
        self._zeros = torch.zeros(n_features, dtype=torch.float64, device=device)

    def add(self, rows: torch.Tensor) -> None:
        """Add a block, (n_rows, n_features)."""
        rows = rows if rows.dtype == torch.float64 else rows.float()
        self._zeros += (rows == 0).sum(dim=0)
        block_mean = rows.mean(dim=0, dtype=torch.float64)
        deviations = rows - block_mean.to(rows.dtype)
        # What rounding the mean to the rows' type leaves is taken off again.
        left = deviations.mean(dim=0, dtype=torch.float64)
        squares = deviations.square_().sum(dim=0, dtype=torch.float64) - len(rows) * left**2
        total = self.n + len(rows)
        step = block_mean - self._mean
        self._mean += step * (len(rows) / total)
        self._squares += squares + step**2 * (self.n * len(rows) / total)
        self.n = total

    def moments(self) -> Moments:
        """Give the moments of all rows so far."""
        return Moments(
            self.n,
            self._mean.cpu().numpy(),
            (self._squares / max(self.n, 1)).clamp(min=0).cpu().numpy(),
            (self._zeros / max(self.n, 1)).cpu().numpy(),
        )


def moments_of(features: torch.Tensor) -> Moments:
    """Moments of features in memory, (n_stimuli, n_features, …)."""
    flat = features.flatten(start_dim=1)
    running = RunningMoments(flat.shape[1], flat.device)
    running.add(flat)
    return running.moments()
