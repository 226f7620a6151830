"""Dissimilarities that are cross-validated over repeated measurements: without bias, so below 0.

Both take repeats (n_stimuli, n_repetitions, n_features), NaN where one is missing; a repeat that
lacks some feature counts as missing.
"""

from __future__ import annotations

import numpy as np
import torch

from isomorph.geometry.columns import BLOCK_BYTES, column_slices
from isomorph.geometry.rdms.methods import RDM_METHODS, RDMMethod, log_rates, require_rates
from isomorph.geometry.rdms.noise import NoiseCovariance, UndefinedRDMError, whitened_blocks


def _present(repeats: torch.Tensor) -> torch.Tensor:
    """Which repeats are there, bool (n_stimuli, n_repetitions); checks their shape."""
    if repeats.ndim != 3:
        raise ValueError(
            "repeats: expected (n_stimuli, n_repetitions, n_features), got shape "
            f"{tuple(repeats.shape)}: what is cross-validated needs the single repeats, not their "
            "mean."
        )
    n, r, p = repeats.shape
    present = torch.ones(n, r, dtype=torch.bool, device=repeats.device)
    n_infinite = 0
    for columns in column_slices(repeats.reshape(n * r, p), BLOCK_BYTES):
        block = repeats[:, :, columns]
        n_infinite += int(torch.isinf(block).sum())
        present &= ~torch.isnan(block).any(dim=2)
    if n_infinite:
        raise ValueError(
            f"repeats: {n_infinite} values are infinite. Mark missing repeats with NaN."
        )
    if not bool((present.sum(dim=1) >= 2).any()):
        raise UndefinedRDMError(
            f"repeats: expected two or more of some stimulus, got {n} stimuli with one or none. "
            "Use a distance that is not cross-validated."
        )
    return present


def _centre(repeats: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Mean of what is there, (n_features,), float64: near enough to nothing for the products."""
    n, r, p = repeats.shape
    rows, keep = repeats.reshape(n * r, p), present.reshape(-1)[:, None]
    sums = [
        torch.where(keep, rows[:, columns].double(), 0.0).sum(dim=0)
        for columns in column_slices(rows, BLOCK_BYTES // 2)
    ]
    return torch.cat(sums) / present.sum()


def _crossnobis(repeats: torch.Tensor, noise: NoiseCovariance | None = None) -> np.ndarray:
    """A_ii + A_jj − 2 A_ij, A_ij the mean of x_if · x_jg over pairs of different repeats f ≠ g.

    The sum over f ≠ g is that over all pairs, which is a product of sums, less that over f = g.
    """
    present = _present(repeats)
    n, r, p = repeats.shape
    rows, keep = repeats.reshape(n * r, p), present.reshape(-1)
    products = torch.zeros(n, n, dtype=torch.float64, device=repeats.device)
    for block in whitened_blocks(rows, noise, centre=_centre(repeats, present), keep=keep):
        folded = block.reshape(n, r, -1)
        sums, flat = folded.sum(dim=1), folded.reshape(n, -1)
        products += sums @ sums.T - flat @ flat.T
    there = present.double()
    count = there.sum(dim=1)
    pairs = torch.outer(count, count) - there @ there.T
    mean = (products / torch.where(pairs > 0, pairs, torch.nan)).cpu().numpy()
    mean = (mean + mean.T) / 2
    return np.add.outer(mean.diagonal(), mean.diagonal()) - 2 * mean


def _poisson_cv(
    repeats: torch.Tensor, prior_lambda: float = 1.0, prior_weight: float = 0.1
) -> np.ndarray:
    """Mean over the repeats f that both stimuli have of (t_if − t_jf)·(log x_if − log x_jf).

    t_if is the mean of the stimulus's other repeats; both are drawn to the prior.
    """
    present = _present(repeats)
    n, r, p = repeats.shape
    count = present.sum(dim=1)
    usable = present & (count >= 2)[:, None]
    own = torch.zeros(n, r, dtype=torch.float64, device=repeats.device)
    cross = torch.zeros(n, n, dtype=torch.float64, device=repeats.device)
    for columns in column_slices(repeats.reshape(n * r, p), BLOCK_BYTES // 8):
        block = repeats[:, :, columns].double()
        require_rates(block, prior_lambda, prior_weight)
        block = torch.where(present[:, :, None], block, 0.0)
        others = (count - 1).clamp(min=1)[:, None, None]
        train = (block.sum(dim=1, keepdim=True) - block).clamp(min=0) / others
        rates, _ = log_rates(train, prior_lambda, prior_weight)
        _, logs = log_rates(block, prior_lambda, prior_weight)
        # Centred over stimuli in every fold, which no difference within a fold notices.
        rates, logs = _about_mean(rates, usable), _about_mean(logs, usable)
        own += (rates * logs).sum(dim=2)
        cross += rates.reshape(n, -1) @ logs.reshape(n, -1).T
    mask = usable.double()
    selves = own @ mask.T
    folds = mask @ mask.T
    total = selves + selves.T - cross - cross.T
    return (total / torch.where(folds > 0, folds, torch.nan)).cpu().numpy()


def _about_mean(values: torch.Tensor, usable: torch.Tensor) -> torch.Tensor:
    """Subtract each fold's mean over the stimuli it has; zero where a stimulus is not in it."""
    values = torch.where(usable[:, :, None], values, 0.0)
    mean = values.sum(dim=0) / usable.sum(dim=0).clamp(min=1)[:, None]
    return torch.where(usable[:, :, None], values - mean, 0.0)


RDM_METHODS.add(
    "crossnobis",
    RDMMethod(
        _crossnobis,
        "repeats",
        "Squared Mahalanobis distance, cross-validated over repeats: without bias, 0 for noise.",
        "Walther et al. 2016, NeuroImage 137; Diedrichsen et al. 2016, arXiv:1607.01371",
        per_feature=1.0,
        noise="optional",
        range=(float("-inf"), float("inf")),
    ),
)
RDM_METHODS.add(
    "poisson_cv",
    RDMMethod(
        _poisson_cv,
        "repeats",
        "Symmetrised Poisson divergence, cross-validated over repeats.",
        "Schütt et al. 2023, eLife 12:e82566",
        per_feature=1.0,
        options=("prior_lambda", "prior_weight"),
        range=(float("-inf"), float("inf")),
        rates=True,
    ),
)
