"""Matching of single units: two representations are alike if their units are.

A unit's tuning is its column over the stimuli, centred. All of these find the match on the very
stimuli that they score, so that unrelated units agree above 0 (and the more so, the more of them
there are, or the fewer stimuli): read them against a permutation null (`calibrate_measure`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment, linprog
from scipy.sparse import eye_array, kron, vstack

from isomorph.alignment.measure import Measure, UndefinedScoreError, add_measure
from isomorph.alignment.metric import Option

MAX_ASSIGNED = 4000
"""Units a side of the largest assignment: 4000 take some 5 s."""
MAX_TRANSPORTED = 150_000
"""Pairs of units of the largest linear programme: some 6 s."""
MAX_PAIRS = 100_000_000
"""Pairs of units whose correlations are held: 800 MB."""

BLOCK_BYTES = 64_000_000

_WHERE = "give max_units=, which draws so many of each side by seed="


def draw_units(features: torch.Tensor, max_units: int | None, seed: int) -> torch.Tensor:
    """At most `max_units` columns, drawn by `seed`, in their order."""
    n_units = features.shape[1]
    if max_units is None or n_units <= max_units:
        return features
    # The same draw for two sides of one width: a unit and its copy come together.
    chosen = np.sort(np.random.default_rng(seed).permutation(n_units)[:max_units])
    return features[:, torch.as_tensor(chosen, device=features.device)]


def correlations(
    first: torch.Tensor, second: torch.Tensor, max_units: int | None = None, seed: int = 0
) -> np.ndarray:
    """Pearson correlation of every unit with every unit, (n_first, n_second).

    A constant unit has none with any other; here it is 0, a unit that matches nothing.
    """
    one, other = (draw_units(side, max_units, seed) for side in (first, second))
    return _products(one, other, _unit).clip(-1, 1)


def _products(
    first: torch.Tensor, second: torch.Tensor, scale: Callable[[torch.Tensor], torch.Tensor]
) -> np.ndarray:
    """Products of scaled columns, (n_first, n_second), in blocks of the wider side's columns."""
    if first.shape[1] < second.shape[1]:
        return _products(second, first, scale).T
    _check_size(first, second)
    narrow = scale(second)
    found = np.empty((first.shape[1], second.shape[1]))
    lively = False
    for columns, block in _blocks(first):
        scaled = scale(block)
        lively = lively or bool(scaled.any())
        found[columns] = (scaled.T @ narrow).cpu().numpy()
    if not lively or not bool(narrow.any()):
        raise UndefinedScoreError("all units of a representation are constant")
    return found


def _blocks(features: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    step = max(1, BLOCK_BYTES // (8 * len(features)))
    for start in range(0, features.shape[1], step):
        columns = slice(start, start + step)
        yield columns, features[:, columns]


def _centred(features: torch.Tensor) -> torch.Tensor:
    """Columns minus their means, float64; exactly zero where constant."""
    wide = features.double()
    constant = wide.amax(dim=0) == wide.amin(dim=0)
    return torch.where(constant, 0.0, wide - wide.mean(dim=0))


def _unit(features: torch.Tensor) -> torch.Tensor:
    """Centred columns of length one; zero where constant."""
    centred = _centred(features)
    # Scaled by the largest first: squares of tiny values must not underflow.
    largest = centred.abs().amax(dim=0)
    centred = centred / torch.where(largest > 0, largest, 1.0)
    lengths = torch.linalg.vector_norm(centred, dim=0)
    return centred / torch.where(lengths > 0, lengths, 1.0)


def _check_size(first: torch.Tensor, second: torch.Tensor) -> None:
    size = first.shape[1] * second.shape[1]
    if size > MAX_PAIRS:
        raise UndefinedScoreError(
            f"{first.shape[1]:,} and {second.shape[1]:,} units are too many to be matched "
            f"({size:,} pairs where {MAX_PAIRS:,} is the most); {_WHERE}"
        )


def assign(gains: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Best one-to-one match by the sum of gains (n_first, n_second): its rows and columns."""
    if min(gains.shape) > MAX_ASSIGNED:
        raise UndefinedScoreError(
            f"{gains.shape[0]:,} and {gains.shape[1]:,} units are too many to be matched one to "
            f"one ({MAX_ASSIGNED:,} on the smaller side is the most); {_WHERE}"
        )
    return linear_sum_assignment(gains, maximize=True)


def transport(gains: np.ndarray) -> float:
    """Largest mean gain of a transport between units with uniform weights.

    Equal numbers: some one-to-one match is optimal. Unequal: units are replicated until the numbers
    are equal, which is exact, or, where that would take too many, a linear programme is solved.

    Parameters
    ----------
    gains : np.ndarray, (n_first, n_second)

    Returns
    -------
    float
        max Σ P g over P ≥ 0 with row sums 1/n_first and column sums 1/n_second.
    """
    n_first, n_second = gains.shape
    common = int(np.lcm(n_first, n_second))
    if common <= MAX_ASSIGNED:
        copies = np.repeat(gains, common // n_first, axis=0)
        copies = np.repeat(copies, common // n_second, axis=1)
        return float(copies[linear_sum_assignment(copies, maximize=True)].mean())
    if gains.size > MAX_TRANSPORTED:
        raise UndefinedScoreError(
            f"transport between {n_first:,} and {n_second:,} units would take hours; {_WHERE} "
            f"(up to {MAX_ASSIGNED:,} where that makes both sides alike)"
        )
    rows = kron(eye_array(n_first), np.ones((1, n_second)))
    columns = kron(np.ones((1, n_first)), eye_array(n_second))
    weights = np.repeat([1 / n_first, 1 / n_second], [n_first, n_second])
    found = linprog(
        -gains.ravel(), A_eq=vstack([rows, columns]).tocsr(), b_eq=weights, method="highs"
    )
    if not found.success:
        raise UndefinedScoreError(f"the transport between units was not solved ({found.message})")
    return float(-found.fun)


def soft_matching(
    first: torch.Tensor,
    second: torch.Tensor,
    *,
    form: str = "correlation",
    max_units: int | None = None,
    seed: int = 0,
) -> float:
    """Mean correlation of units under the best transport between them; or the distance.

    The distance is that of tuning curves of length one, √(2 − 2 × correlation): a metric.
    """
    best = transport(correlations(first, second, max_units, seed))
    return best if form == "correlation" else float(np.sqrt(max(2 - 2 * best, 0.0)))


def permutation_matching(
    first: torch.Tensor,
    second: torch.Tensor,
    *,
    form: str = "score",
    max_units: int | None = None,
    seed: int = 0,
) -> float:
    """Cosine between two representations after the units of one were put in the best order.

    Units keep their amplitudes. With unequal numbers, the smaller side gets silent units: none is
    cut off.
    """
    one, other = (draw_units(side, max_units, seed) for side in (first, second))
    products = _products(one, other, _centred)
    lengths = [
        sum(float(_centred(block).square().sum()) for _, block in _blocks(side)) ** 0.5
        for side in (one, other)
    ]
    matched = float(products[assign(products)].sum())
    score = float(np.clip(matched / (lengths[0] * lengths[1]), -1, 1))
    if form == "score":
        return score
    if form == "angular":
        return float(np.arccos(score))
    return float(np.sqrt(max(lengths[0] ** 2 + lengths[1] ** 2 - 2 * matched, 0.0)))


def hard_correlation_match(
    first: torch.Tensor, second: torch.Tensor, *, max_units: int | None = None, seed: int = 0
) -> float:
    """Mean correlation of units matched one to one; surplus units of the larger side are unused."""
    found = correlations(first, second, max_units, seed)
    return float(found[assign(found)].mean())


def soft_correlation_match(
    first: torch.Tensor, second: torch.Tensor, *, max_units: int | None = None, seed: int = 0
) -> float:
    """Mean over units of the correlation with the best of the other side, averaged both ways."""
    found = correlations(first, second, max_units, seed)
    return float((found.max(axis=1).mean() + found.max(axis=0).mean()) / 2)


def read_max_units(text: str) -> int | None:
    """Read a number of units, or None for all."""
    if text == "None":
        return None
    if int(text) < 1:
        raise ValueError("expected 1 or more units.")
    return int(text)


_OPTIONS = {
    "max_units": Option(
        None, read=read_max_units, summary="match so many units of each side, drawn by the seed"
    ),
    "seed": Option(0, read=int, summary="for the draw of units"),
}
_UNITS = {
    "needs": "features",
    "symmetric": True,
    "min_stimuli": 3,
}
_EACH_SCALED = frozenset({"permutation", "isotropic scaling", "translation"})
_LI = "Li, Yosinski, Clune, Lipson & Hopcroft 2015, arXiv 1511.07543"

add_measure(
    Measure(
        name="soft_matching",
        compute=soft_matching,
        options={
            "form": Option(
                "correlation", ("correlation", "distance"), summary="correlation, or the metric"
            ),
            **_OPTIONS,
        },
        range=(-1.0, 1.0),
        invariances=_EACH_SCALED,
        distance_forms=frozenset({"distance"}),
        summary="Correlation of units under the best transport between them, whatever the numbers.",
        reference="Khosla & Williams 2024, UniReps, PMLR 243",
        **_UNITS,
    )
)
add_measure(
    Measure(
        name="permutation_matching",
        compute=permutation_matching,
        options={
            "form": Option(
                "score",
                ("score", "angular", "euclidean"),
                summary="cosine, its angle, or the Euclidean distance of the matched units",
            ),
            **_OPTIONS,
        },
        range=(-1.0, 1.0),
        invariances=_EACH_SCALED,
        distance_forms=frozenset({"angular", "euclidean"}),
        summary="Cosine after the best one-to-one match of units (one-to-one shape metric).",
        reference="Williams, Kunz, Kornblith & Linderman 2021, NeurIPS",
        **_UNITS,
    )
)
add_measure(
    Measure(
        name="hard_correlation_match",
        compute=hard_correlation_match,
        options=_OPTIONS,
        range=(-1.0, 1.0),
        invariances=_EACH_SCALED,
        summary="Mean correlation of units matched one to one.",
        reference=_LI,
        **_UNITS,
    )
)
add_measure(
    Measure(
        name="soft_correlation_match",
        compute=soft_correlation_match,
        options=_OPTIONS,
        range=(-1.0, 1.0),
        invariances=_EACH_SCALED,
        summary="Mean correlation of each unit with its best match on the other side, both ways.",
        reference=_LI,
        **_UNITS,
    )
)
