"""Which penalty: scores of a whole grid, and the best of them for each target or for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch

from isomorph.registry import unknown_name

Criterion = Literal["squared_error", "pearson"]
CRITERIA = ("squared_error", "pearson")

# Scores of a grid, larger is better: centred responses (n, t), and what else is computed from them
# linearly (…, t), all of one dtype → (n_alphas, t).
GridScores = Callable[..., torch.Tensor]

# A float32 score is trusted where it leads by more than this share of the best error, or of the
# geometric mean of that error and the variance: some twenty times its own rounding.
_LEAD = 1e-5
_LEAD_OF_SPREAD = 4e-6
# Squares between this and its inverse are far from the ends of float32.
_SAFE = 1e-16


def check_criterion(criterion: str) -> None:
    """Raise for a criterion that does not exist."""
    if criterion not in CRITERIA:
        raise unknown_name("criterion", criterion, CRITERIA)


def criterion_scores(
    errors: torch.Tensor, centred: torch.Tensor, criterion: str, dim: int = -2
) -> torch.Tensor:
    """Score held-out errors per target, larger is better.

    Parameters
    ----------
    errors : torch.Tensor, (..., n, t)
        Response minus prediction.
    centred : torch.Tensor, (n, t)
        Responses less any constant.
    criterion : {"squared_error", "pearson"}
    """
    if criterion == "squared_error":
        return -errors.square().mean(dim=dim)
    predicted = centred - errors
    predicted = predicted - predicted.mean(dim=dim, keepdim=True)
    about = centred - centred.mean(dim=dim, keepdim=True)
    lengths = torch.linalg.vector_norm(predicted, dim=dim) * torch.linalg.vector_norm(
        about, dim=dim
    )
    return (predicted * about).sum(dim=dim) / lengths


def grid_scores(
    scores: GridScores, parts: tuple[torch.Tensor, ...], criterion: str
) -> torch.Tensor:
    """Scores of every penalty and target, (n_alphas, t), float64.

    Squared errors are searched in float32, which is twice as fast and more on a GPU; targets whose
    two best penalties lie closer than float32 can tell are searched again in float64, so that the
    choice is that of float64 throughout. (Correlations at large penalties are ratios of tiny
    numbers: float64 from the start.)

    Parameters
    ----------
    scores : callable
        ``scores(*parts)`` gives (n_alphas, t).
    parts : tuple of torch.Tensor
        Centred responses (n, t), and what follows from them linearly, (…, t), float64.
    criterion : {"squared_error", "pearson"}
    """
    if criterion != "squared_error":
        return scores(*(part.double() for part in parts))
    variance = parts[0].square().mean(dim=0).double()
    spread = torch.ones_like(variance)
    # In units in which float32 neither overflows nor underflows; most responses come in such.
    if not bool(((variance > _SAFE) & (variance < 1 / _SAFE)).all()):
        variance = parts[0].square().mean(dim=0, dtype=torch.float64)
        spread = torch.where(variance > 0, variance.sqrt(), 1.0)
    found = scores(*(_in_units(part, spread) for part in parts)).double()
    best = found.max(dim=0).values
    second = found.topk(2, dim=0).values[1] if len(found) > 1 else torch.full_like(best, -torch.inf)
    lead = _LEAD * -best + _LEAD_OF_SPREAD * (-best).sqrt() * (variance.sqrt() / spread)
    doubtful = torch.nonzero(~(best - second > lead) | ~torch.isfinite(best)).flatten()
    found *= spread.square()
    if doubtful.numel():
        found[:, doubtful] = scores(*(part[:, doubtful].double() for part in parts))
    return found


def _in_units(part: torch.Tensor, spread: torch.Tensor) -> torch.Tensor:
    return part.float() if bool((spread == 1).all()) else (part / spread).float()


def first_best(scores: torch.Tensor) -> torch.Tensor:
    """Position of the largest of the first axis, (t,); ties keep the first, −1 where all NaN."""
    best = torch.full_like(scores[0], -torch.inf)
    index = torch.full_like(scores[0], -1, dtype=torch.int64)
    for position, score in enumerate(scores):
        better = score > best
        best, index = torch.where(better, score, best), index.masked_fill(better, position)
    return index


def choose(
    scores: torch.Tensor, undefined: torch.Tensor, alpha_per_target: bool = True
) -> torch.Tensor:
    """The chosen penalty's position for each target, (t,).

    Parameters
    ----------
    scores : torch.Tensor, (n_alphas, t)
    undefined : torch.Tensor, (t,), bool
        Targets without anything to choose by: they get −1.
    alpha_per_target : bool
        Otherwise the penalty with the best mean score over the other targets serves all.
    """
    if alpha_per_target:
        index = first_best(scores)
    else:
        defined = scores[:, ~undefined]
        mean = defined.nanmean(dim=1, keepdim=True) if defined.shape[1] else scores[:, :1]
        index = first_best(mean).expand(scores.shape[1])
    return index.masked_fill(undefined, -1)
