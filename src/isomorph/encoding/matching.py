"""Each neuroid and the single unit that is most like it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment

from isomorph.geometry.columns import (
    BLOCK_BYTES,
    as_features,
    column_slices,
    require_finite,
    working_dtype,
)

# A linear assignment over more correlations than this takes many minutes and gigabytes.
MAX_ASSIGNMENT = 50_000_000
_EPS = float(np.finfo(np.float64).eps)
# Of a block that is screened in float32: small enough to stay in the processor's cache.
_SCREEN_BYTES = 8_000_000
# Well above what float32 gets wrong in a correlation (beside the rounding of long sums).
_SCREEN_ERROR = 1e-4


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
    rows: ArrayLike | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Matches:
    """Choose one unit for each target by their Pearson correlation.

    Parameters
    ----------
    features : np.ndarray or torch.Tensor, (n, p)
    responses : array_like, (n, t)
        To the stimuli to choose on; score the matches on others.
    match : {"semi", "assignment"}
        ``"semi"``: each target's best unit, which may serve several. ``"assignment"``: no unit
        twice, so that the sum of the correlations is largest. All units take part.
    rows : array_like of int, optional
        Which rows of the features the responses are to; by default all. (A wide layer is then not
        copied.)
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
    chosen_on = None if rows is None else torch.as_tensor(np.array(rows), device=matrix.device)
    n = len(matrix) if chosen_on is None else len(chosen_on)
    measured = np.asarray(responses, dtype=np.float64)
    if measured.ndim != 2 or len(measured) != n or n < 2:
        raise ValueError(
            f"match_units: expected 2 stimuli or more, with responses ({n}, n_targets), got "
            f"{measured.shape}."
        )
    bad = int((~np.isfinite(measured)).sum())
    if bad:
        raise ValueError(
            f"match_units: expected finite responses, got {bad} of {measured.size} that are not. "
            f"Leave those stimuli or targets out."
        )
    if match not in ("semi", "assignment"):
        raise ValueError(f"match_units: expected match 'semi' or 'assignment', got {match!r}.")
    unit_targets, varies = _unit_columns(measured)
    units_in = _Units(matrix, chosen_on, block_bytes)
    if match == "semi":
        chosen, r = _best(units_in, unit_targets, 1)
        units, found = chosen[0], r[0]
    else:
        units, found = _assigned(units_in, unit_targets, varies)
    known = varies & np.isfinite(found)
    units, found = np.where(known, units, -1), np.where(known, found, np.nan)
    values = units_in.values(np.maximum(units, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = np.where(known, found * measured.std(axis=0) / values.std(axis=0), np.nan)
    intercepts = measured.mean(axis=0) - slopes * values.mean(axis=0)
    return Matches(units, found, slopes, intercepts)


@dataclass(frozen=True, eq=False)
class _Units:
    """Units (n, p) over some rows of the stimuli, or all, a block at a time."""

    matrix: torch.Tensor
    rows: torch.Tensor | None
    block_bytes: int

    def __len__(self) -> int:
        return len(self.matrix) if self.rows is None else len(self.rows)

    def values(self, units: np.ndarray) -> np.ndarray:
        """Those of some units, (n, len(units)), float64."""
        found = self.matrix.index_select(1, torch.as_tensor(units, device=self.matrix.device))
        return (found if self.rows is None else found[self.rows]).double().cpu().numpy()

    def blocks(self, n_targets: int) -> Iterator[tuple[int, torch.Tensor]]:
        """Position of the first unit of a block, and the block in its working precision."""
        # The block's correlations with all targets must fit as well as the block itself.
        share = min(1.0, len(self) / max(n_targets, 1))
        most = self.block_bytes // 2
        if self.matrix.device.type == "cpu":
            most = min(most, _SCREEN_BYTES)
        for columns in column_slices(self.matrix, max(int(most * share), 1)):
            block = self.matrix[:, columns]
            block = block if self.rows is None else block[self.rows]
            block = block.to(working_dtype(block))
            if not bool(torch.isfinite(block.mean(dim=0)).all()):
                require_finite(self.matrix, block.double().mean(dim=0), self.block_bytes)
            yield columns.start, block


def _best(units: _Units, targets: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions and correlations (k, t) of each target's k best units, best first."""
    device = units.matrix.device
    k = min(k, units.matrix.shape[1])
    best = torch.full((k, targets.shape[1]), -torch.inf, dtype=torch.float64, device=device)
    where = torch.full_like(best, -1, dtype=torch.int64)
    goals = torch.as_tensor(targets, device=device)
    for first, block in units.blocks(targets.shape[1] + k):
        likely = _likely(block, targets, best[-1].cpu().numpy(), k)
        centred, length = _centred(block[:, likely])
        r = centred.T @ goals / length[:, None]
        # A unit that does not vary has no correlation with anything.
        r = torch.where(torch.isfinite(r), r, -torch.inf)
        both = torch.cat([best, r])
        names = torch.cat([where, (first + likely)[:, None].expand_as(r)])
        # Stable, so that equal correlations keep the order of the units.
        order = torch.sort(both, dim=0, descending=True, stable=True).indices[:k]
        best, where = both.gather(0, order), names.gather(0, order)
    found = best.cpu().numpy()
    return where.cpu().numpy(), np.where(np.isfinite(found), found, np.nan)


def _likely(block: torch.Tensor, targets: np.ndarray, floor: np.ndarray, k: int) -> torch.Tensor:
    """Units of a block that may be among some target's k best: few, found in float32.

    A unit is passed over only if its correlation is below the k-th best by more than float32 gets
    wrong; what float32 cannot hold is never passed over.
    """
    everything = torch.arange(block.shape[1], device=block.device)
    if block.device.type != "cpu":  # where the product may be rounded further (TF32)
        return everything
    n = len(block)
    centred = (block - block.mean(dim=0)).float().numpy()
    goals = np.column_stack([targets, np.ones(n)]).astype(np.float32)
    with np.errstate(all="ignore"):
        products = centred.T @ goals
        squares = np.einsum("np,np->p", centred, centred)
        # The mean's own rounding is taken out of the length.
        varying = squares - products[:, -1] ** 2 / n
        r = products[:, :-1] / np.sqrt(varying)[:, None]
        sure = (varying > 1e-24) & (varying > 0.01 * squares) & (squares < 1e24)
    unsure = np.flatnonzero(~sure)
    r[unsure] = -np.inf
    most = max(len(r) - k, 0)
    bar = np.maximum(floor, np.partition(r, most, axis=0)[most])
    keep = (r >= bar - (_SCREEN_ERROR + n * np.finfo(np.float32).eps)).any(axis=1)
    keep &= sure
    # (Most of them are silent, and no unit for anyone.)
    keep[unsure] = (centred[:, unsure] != 0).any(axis=0)
    return everything[torch.from_numpy(keep)]


def _assigned(
    units_in: _Units, targets: np.ndarray, varies: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    columns = np.flatnonzero(varies)
    units = np.full(targets.shape[1], -1)
    found = np.full(targets.shape[1], np.nan)
    if not len(columns):
        return units, found
    n_units = units_in.matrix.shape[1]
    if n_units < len(columns):
        raise AssignmentError(
            f"one-to-one assignment: expected as many units as neuroids or more, got "
            f"{n_units} units for {len(columns)} neuroids. With match=semi a unit may "
            f"stand for several neuroids."
        )
    if len(columns) ** 2 > MAX_ASSIGNMENT // 4:
        raise AssignmentError(
            f"one-to-one assignment: {len(columns)} neuroids are too many to be assigned in "
            f"reasonable time. Take match=semi, or fewer neuroids."
        )
    # Some best assignment uses none but each target's t best units: were one of the others used,
    # one of these t would be free and no worse.
    best, _ = _best(units_in, targets[:, columns], len(columns))
    pool = np.unique(best[best >= 0])
    units_pool, alive = _unit_columns(units_in.values(pool))
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


def _centred(block: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Columns centred in float64, and their lengths; NaN where constant."""
    block = block.double()
    mean = block.mean(dim=0)
    centred = block - mean
    length = torch.linalg.vector_norm(centred, dim=0)
    # What is left of a constant column is the rounding of its mean.
    constant = length <= 8 * _EPS * len(block) ** 0.5 * mean.abs()
    return centred, length.masked_fill(constant, torch.nan)


def _unit_columns(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns centred and of length one (zero where constant), and which of them vary."""
    centred = values - values.mean(axis=0)
    varies = np.ptp(values, axis=0) > 8 * _EPS * np.abs(values).max(axis=0)
    length = np.where(varies, np.linalg.norm(centred, axis=0), 1.0)
    return np.where(varies, centred / length, 0.0), varies
