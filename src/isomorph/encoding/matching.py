"""Each neuroid and the single unit that is most like it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment

from isomorph.geometry.columns import BLOCK_BYTES, as_features, column_slices, require_finite

# A linear assignment over more correlations than this takes many minutes and gigabytes.
MAX_ASSIGNMENT = 50_000_000
_EPS = float(np.finfo(np.float64).eps)


class AssignmentError(ValueError):
    """Units that cannot be assigned one to one: too few of them, or too many neuroids."""


@dataclass(frozen=True, eq=False)
class Matches:
    """Which unit stands for each target.

    Parameters
    ----------
    units : np.ndarray of int, (t,)
        Position of the unit; −1 for a constant target, or where no unit varies.
    correlations : np.ndarray, (t,)
        Pearson r of target and unit over the stimuli that the units were chosen on: biased upwards
        by the choice. NaN where there is no unit.
    slopes, intercepts : np.ndarray, (t,)
        Of the regression of the target on its unit.
    """

    units: np.ndarray
    correlations: np.ndarray
    slopes: np.ndarray
    intercepts: np.ndarray

    def predict(self, features: np.ndarray | torch.Tensor) -> np.ndarray:
        """Predictions (n, t) from the matched units of features (n, p)."""
        matrix = as_features(features)
        chosen = torch.as_tensor(np.maximum(self.units, 0), device=matrix.device)
        values = matrix.index_select(1, chosen).double().cpu().numpy()
        return np.where(self.units >= 0, self.intercepts + self.slopes * values, np.nan)


def match_units(
    features: np.ndarray | torch.Tensor,
    responses: ArrayLike,
    *,
    match: str = "semi",
    block_bytes: int = BLOCK_BYTES,
) -> Matches:
    """Choose one unit for each target by their Pearson correlation.

    Parameters
    ----------
    features : np.ndarray or torch.Tensor, (n, p)
        The stimuli to choose on; score the matches on others.
    responses : array_like, (n, t)
    match : {"semi", "assignment"}
        ``"semi"``: each target's best unit, which may serve several. ``"assignment"``: no unit
        twice, so that the sum of the correlations is largest. All units take part.
    block_bytes : int
        Size of a block of features.

    Returns
    -------
    Matches
        Ties go to the first unit.

    Raises
    ------
    AssignmentError
        If there are fewer units than targets to assign, or too many to assign in reasonable time.
    ValueError
        If shapes do not fit.

    References
    ----------
    Li, Yosinski, Clune, Lipson & Hopcroft (2015), Convergent learning, arXiv:1511.07543; Khosla &
    Williams (2024), Soft matching distance, arXiv:2311.09466.

    Examples
    --------
    >>> units = np.random.default_rng(0).standard_normal((10, 6))
    >>> match_units(units, units[:, [4, 2]]).units.tolist()
    [4, 2]
    """
    matrix = as_features(features)
    measured = np.asarray(responses, dtype=np.float64)
    if measured.ndim != 2 or len(measured) != len(matrix) or len(measured) < 2:
        raise ValueError(
            f"match_units: expected 2 stimuli or more, with responses ({len(matrix)}, n_targets), "
            f"got {measured.shape}."
        )
    if match not in ("semi", "assignment"):
        raise ValueError(f"match_units: expected match 'semi' or 'assignment', got {match!r}.")
    unit_targets, varies = _unit_columns(measured)
    if match == "semi":
        chosen, r = _best(matrix, unit_targets, 1, block_bytes)
        units, found = chosen[0], r[0]
    else:
        units, found = _assigned(matrix, unit_targets, varies, block_bytes)
    known = varies & np.isfinite(found)
    units, found = np.where(known, units, -1), np.where(known, found, np.nan)
    chosen = matrix.index_select(1, torch.as_tensor(np.maximum(units, 0), device=matrix.device))
    values = chosen.double().cpu().numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = np.where(known, found * measured.std(axis=0) / values.std(axis=0), np.nan)
    intercepts = measured.mean(axis=0) - slopes * values.mean(axis=0)
    return Matches(units, found, slopes, intercepts)


def _best(
    matrix: torch.Tensor, targets: np.ndarray, k: int, block_bytes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Positions and correlations (k, t) of each target's k best units, best first."""
    k = min(k, matrix.shape[1])
    best = torch.full((k, targets.shape[1]), -torch.inf, dtype=torch.float64, device=matrix.device)
    where = torch.full_like(best, -1, dtype=torch.int64)
    goals = torch.as_tensor(targets, device=matrix.device)
    # The block's correlations with all targets must fit as well as the block itself.
    share = min(1.0, len(matrix) / max(targets.shape[1] + k, 1))
    block_bytes = max(int(block_bytes * share), 1)
    for columns, block, length in _centred_blocks(matrix, block_bytes):
        r = block.T @ goals / length[:, None]
        # A unit that does not vary has no correlation with anything.
        r = torch.where(torch.isfinite(r), r, -torch.inf)
        positions = torch.arange(columns.start, columns.stop, device=matrix.device)
        both = torch.cat([best, r])
        names = torch.cat([where, positions[:, None].expand_as(r)])
        # Stable, so that equal correlations keep the order of the units.
        order = torch.sort(both, dim=0, descending=True, stable=True).indices[:k]
        if k == 1:
            order = both.argmax(dim=0, keepdim=True)
            order = torch.where(both[0] >= both.amax(dim=0), 0, order)
        best, where = both.gather(0, order), names.gather(0, order)
    found = best.cpu().numpy()
    return where.cpu().numpy(), np.where(np.isfinite(found), found, np.nan)


def _assigned(
    matrix: torch.Tensor, targets: np.ndarray, varies: np.ndarray, block_bytes: int
) -> tuple[np.ndarray, np.ndarray]:
    columns = np.flatnonzero(varies)
    units = np.full(targets.shape[1], -1)
    found = np.full(targets.shape[1], np.nan)
    if not len(columns):
        return units, found
    if matrix.shape[1] < len(columns):
        raise AssignmentError(
            f"one-to-one assignment: expected as many units as neuroids or more, got "
            f"{matrix.shape[1]} units for {len(columns)} neuroids. With match=semi a unit may "
            f"stand for several neuroids."
        )
    if len(columns) ** 2 > MAX_ASSIGNMENT // 4:
        raise AssignmentError(
            f"one-to-one assignment: {len(columns)} neuroids are too many to be assigned in "
            f"reasonable time. Take match=semi, or fewer neuroids."
        )
    # Some best assignment uses none but each target's t best units: were one of the others used,
    # one of these t would be free and no worse.
    best, _ = _best(matrix, targets[:, columns], len(columns), block_bytes)
    pool = np.unique(best[best >= 0])
    values = matrix.index_select(1, torch.as_tensor(pool, device=matrix.device))
    units_pool, alive = _unit_columns(values.double().cpu().numpy())
    if alive.sum() < len(columns):
        raise AssignmentError(
            f"one-to-one assignment: expected as many units that vary as neuroids or more, got "
            f"{int(alive.sum())} for {len(columns)} neuroids. Take match=semi."
        )
    if len(columns) * len(pool) > MAX_ASSIGNMENT:
        raise AssignmentError(
            f"one-to-one assignment: {len(columns)} neuroids and {len(pool)} units are too many to "
            f"be assigned in reasonable time. Take match=semi, or fewer neuroids."
        )
    r = targets[:, columns].T @ units_pool[:, alive]
    rows, partners = linear_sum_assignment(r, maximize=True)
    units[columns[rows]] = pool[alive][partners]
    found[columns[rows]] = r[rows, partners]
    return units, found


def _centred_blocks(
    matrix: torch.Tensor, block_bytes: int
) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
    """Blocks of columns, centred in float64, and their lengths; NaN where constant."""
    for columns in column_slices(matrix, block_bytes // 2):
        block = matrix[:, columns].double()
        mean = block.mean(dim=0)
        require_finite(matrix, mean, block_bytes)
        centred = block - mean
        length = torch.linalg.vector_norm(centred, dim=0)
        # What is left of a constant column is the rounding of its mean.
        constant = length <= 8 * _EPS * len(block) ** 0.5 * mean.abs()
        yield columns, centred, length.masked_fill(constant, torch.nan)


def _unit_columns(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns centred and of length one (zero where constant), and which of them vary."""
    centred = values - values.mean(axis=0)
    varies = np.ptp(values, axis=0) > 8 * _EPS * np.abs(values).max(axis=0)
    length = np.where(varies, np.linalg.norm(centred, axis=0), 1.0)
    return np.where(varies, centred / length, 0.0), varies
