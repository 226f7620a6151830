"""Statistics of a layer alone, to set beside its scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from isomorph.alignment.representation import Representation
from isomorph.extraction import FeaturesNeed, GramNeed, MomentsNeed, Need
from isomorph.geometry import effective_dimensionality, effective_dimensionality_corrected
from isomorph.registry import Registry


@dataclass(frozen=True)
class Statistic:
    """A number that describes one layer's features over all stimuli.

    Parameters
    ----------
    name : str
        Its column in the results.
    compute : callable
        ``compute(layer: Representation)`` gives a float.
    needs : tuple of Need
    summary : str
    """

    name: str
    compute: Callable[[Representation], float]
    needs: tuple[Need, ...]
    summary: str = ""


STATISTICS: Registry[Statistic] = Registry("statistic")
STATISTICS.add(
    "effective_dimensionality",
    Statistic(
        "effective_dimensionality",
        lambda layer: effective_dimensionality(layer.gram()),
        (GramNeed(),),
        "(Σλ)² / Σλ² of the features' covariance: how many dimensions carry the variance.",
    ),
)
STATISTICS.add(
    "effective_dimensionality_corrected",
    Statistic(
        "effective_dimensionality_corrected",
        lambda layer: effective_dimensionality_corrected(layer.gram()),
        (GramNeed(),),
        "The same, corrected for the number of stimuli.",
    ),
)

STATISTICS.add(
    "sparsity",
    Statistic(
        "sparsity",
        lambda layer: _mean_of_defined(layer.moments().lifetime_sparseness()),
        (MomentsNeed(),),
        "Lifetime sparseness (Vinje & Gallant 2000), mean over the features that ever respond: 0 "
        "alike for all stimuli, 1 for one alone.",
    ),
)
STATISTICS.add(
    "zero_share",
    Statistic(
        "zero_share",
        lambda layer: float(layer.moments().zero_share.mean()),
        (MomentsNeed(),),
        "Share of the values that are exactly zero.",
    ),
)
STATISTICS.add(
    "mean_activation",
    Statistic(
        "mean_activation",
        lambda layer: float(layer.moments().mean.mean()),
        (MomentsNeed(),),
        "Mean of all values.",
    ),
)

StatisticsAsked = (
    Sequence[str | Mapping[str, Callable[[torch.Tensor], float]]]
    | Mapping[str, Callable[[torch.Tensor], float] | str]
)


def resolve_statistics(stats: StatisticsAsked) -> tuple[Statistic, ...]:
    """Read what a caller asked: names, and own functions by name.

    Parameters
    ----------
    stats : sequence or mapping
        ``["effective_dimensionality"]``, ``{"sparsity": my_function}``, or a sequence that mixes
        names and such mappings. An own function takes the layer's raw features, a
        (n_stimuli, n_features) float32 tensor, and gives a number.

    Returns
    -------
    tuple of Statistic
    """
    if isinstance(stats, str):
        raise TypeError(f"stats: expected a list of names, got the string {stats!r}: [{stats!r}]?")
    items = [stats] if isinstance(stats, Mapping) else list(stats)
    found: list[Statistic] = []
    for item in items:
        if isinstance(item, str):
            found.append(STATISTICS[item])
            continue
        for name, function in item.items():
            found.append(
                STATISTICS[function] if isinstance(function, str) else _own(name, function)
            )
    return tuple(found)


def _mean_of_defined(values: np.ndarray) -> float:
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def _own(name: str, function: Callable[[torch.Tensor], float]) -> Statistic:
    if not callable(function):
        raise TypeError(
            f"stats: expected {name!r} to be a function of the features, got "
            f"{type(function).__name__}."
        )
    return Statistic(name, lambda layer: float(function(layer.features)), (FeaturesNeed(),))
