"""Calibration: how far a score lies above what the same two spaces give by chance.

Raw scores rise with width and with the number of candidates. A permutation of the stimuli of one
side keeps both spaces as they are and breaks their correspondence alone.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from isomorph.alignment.measure import MEASURES, Measure, as_needed
from isomorph.alignment.metric import read_written_options
from isomorph.alignment.prepared import Prepared, compare_prepared, prepare_item, value_of_prepared
from isomorph.geometry import Gram
from isomorph.resampling import permutation_orders
from isomorph.storage import shown_by_shape

logger = logging.getLogger(__name__)

BLOCK_BYTES = 64_000_000


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A score beside its null distribution.

    Parameters
    ----------
    score : float
    null_mean, null_sd : float
        Of the null; NaN where it has fewer than one or two values.
    excess : float
        How much better than chance: score − null_mean, or null_mean − score for a distance.
    p_value : float
        (k + 1) / (n_permutations + 1), k permutations at least as good as the score; one-sided, in
        the direction of the measure.
    n_permutations : int
        Permutations that have a value.
    null : (n,) array
        Scores of the permutations; NaN where undefined.
    """

    score: float
    null_mean: float
    null_sd: float
    excess: float
    p_value: float
    n_permutations: int
    null: np.ndarray

    __repr__ = shown_by_shape


def calibrated(score: float, null: np.ndarray, *, larger_is_better: bool = True) -> Calibrated:
    """Set a score beside the scores of its permutations.

    Parameters
    ----------
    score : float
        NaN where undefined; then the p-value is, too.
    null : (n_permutations,) array
    larger_is_better : bool

    Returns
    -------
    Calibrated

    References
    ----------
    Phipson & Smyth (2010), Statistical Applications in Genetics and Molecular Biology 9:39.

    Examples
    --------
    >>> calibrated(0.9, np.array([0.1, 0.3, 0.2])).p_value
    0.25
    """
    null = np.asarray(null, dtype=float)
    known = null[np.isfinite(null)]
    mean = float(known.mean()) if len(known) else float("nan")
    sd = float(known.std(ddof=1)) if len(known) > 1 else float("nan")
    sign = 1.0 if larger_is_better else -1.0
    p_value = float("nan")
    if np.isfinite(score) and len(known):
        # A permutation that is the same but for rounding is as good as the score.
        slack = 1e-12 * max(1.0, abs(score))
        p_value = (int((sign * known >= sign * score - slack).sum()) + 1) / (len(known) + 1)
    return Calibrated(
        score=float(score),
        null_mean=mean,
        null_sd=sd,
        excess=sign * (float(score) - mean),
        p_value=p_value,
        n_permutations=len(known),
        null=null,
    )


def calibrate_measure(
    first: Any,
    second: Any,
    measure: str = "CKA",
    *,
    n_permutations: int = 200,
    blocks: Sequence[Hashable] | np.ndarray | None = None,
    exchange: str = "within",
    seed: int = 0,
    **options: Any,
) -> Calibrated:
    """Compare two representations, and see what their stimuli in random order would give.

    The Grams are made once; a permutation is index arithmetic on one of them.

    Parameters
    ----------
    first, second : array, tensor or Gram
        As in `compare_representations`; one each.
    measure : str
        A name of `list_metrics`, with options in brackets if you like.
    n_permutations : int
    blocks : sequence of length n_stimuli, optional
        Groups of stimuli; see `permutation_orders`.
    exchange : {"within", "whole"}
        Whether stimuli change places within blocks, or blocks as wholes.
    seed : int
    **options
        The measure's options, by name. (Its own ``seed`` stands in brackets.)

    Returns
    -------
    Calibrated

    Raises
    ------
    UnknownNameError, ValueError
        As `compare_representations` and `permutation_orders`.

    References
    ----------
    Murphy, Zylberberg & Fyshe (2024), arXiv 2405.01012, on the bias of raw scores.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> features = rng.standard_normal((20, 50))
    >>> calibrate_measure(features, features[:, :10], "CKA", n_permutations=19).p_value
    0.05
    """
    chosen, settings = read_written_options(measure, MEASURES, options)
    for side in (first, second):
        if isinstance(side, list | tuple):
            raise ValueError(
                "calibrate_measure: expected one representation on each side, got a list. "
                "Calibrate each pair, or use calibrate() for a model and a benchmark."
            )
    one, item = (
        as_needed(side, chosen.needs, name) for side, name in ((first, "first"), (second, "second"))
    )
    counts = [side.n_stimuli if isinstance(side, Gram) else len(side) for side in (one, item)]
    if counts[0] != counts[1]:
        raise ValueError(
            f"calibrate_measure: expected the same stimuli on both sides, got {counts[0]} and "
            f"{counts[1]} stimuli. Take those that both have, in the same order."
        )
    orders = permutation_orders(
        counts[0], n_permutations, blocks=blocks, exchange=exchange, seed=seed
    )
    fixed, moved = (prepare_item(chosen, side, settings) for side in (one, item))
    score, reason = value_of_prepared(chosen, fixed, moved, settings)
    null = np.full(n_permutations, np.nan)
    if reason:
        logger.warning("%s is undefined: %s.", chosen.name, reason)
    else:
        null = _null(chosen, fixed, moved, item, orders, settings)
    larger = chosen.larger_is_better
    if chosen.distance_forms:
        larger = settings["form"] not in chosen.distance_forms
    return calibrated(score, null, larger_is_better=larger)


def _null(
    measure: Measure,
    fixed: Prepared,
    moved: Prepared,
    item: Gram | torch.Tensor,
    orders: np.ndarray,
    options: Mapping[str, Any],
) -> np.ndarray:
    """Scores of the permutations, as many at a time as fit."""
    n = orders.shape[1]
    values = []
    step = max(1, BLOCK_BYTES // (16 * n * n))
    for start in range(0, len(orders), step):
        several = [
            Prepared(n, measure.reorder(moved.content, order))
            if measure.reorder is not None
            else prepare_item(measure, reordered(item, order), options)
            for order in orders[start : start + step]
        ]
        values.append(compare_prepared(measure, [fixed], several, options)[0][0])
    return np.concatenate(values)


def reordered(item: Gram | torch.Tensor, order: np.ndarray) -> Gram | torch.Tensor:
    """Put the stimuli of a Gram or of features into another order."""
    if isinstance(item, Gram):
        return item.subset(order)
    return item[torch.as_tensor(order, device=item.device)]
