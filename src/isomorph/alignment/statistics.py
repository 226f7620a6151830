"""Statistics of a layer alone, to set beside its scores."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from isomorph.alignment.representation import Representation
from isomorph.extraction import FeaturesNeed, GramNeed, MomentsNeed, Need
from isomorph.geometry import (
    ManifoldGeometry,
    check_classes,
    class_separation,
    effective_dimensionality,
    effective_dimensionality_corrected,
    eigenspectrum,
    fisher_ratio,
    manifold_capacity,
    manifold_geometry,
    maximum_likelihood_dimension,
    power_law_exponent,
    silhouette,
    two_nn_dimension,
)
from isomorph.geometry.spectra import dimensions_of_spectrum, entropy_of_spectrum
from isomorph.registry import Registry, unknown_name

logger = logging.getLogger(__name__)

# What is meant where several labels are there and none is named.
_LABEL = "label"


@dataclass(frozen=True)
class Statistic:
    """A number that describes one layer's features over all stimuli.

    Parameters
    ----------
    name : str
        Its column in the results.
    compute : callable
        ``compute(layer: Representation)`` gives a float; if it is labelled
        ``compute(layer, labels)``, with the class of each stimulus, (n_stimuli,).
    needs : tuple of Need
    summary, reference : str
    labelled : bool
        Whether it describes classes of stimuli. `resolve_statistics` hands it their labels.
    """

    name: str
    compute: Callable[..., float]
    needs: tuple[Need, ...]
    summary: str = ""
    reference: str = ""
    labelled: bool = False


STATISTICS: Registry[Statistic] = Registry("statistic", "list_statistics() shows them all.")


def _register(
    name: str,
    compute: Callable[..., float],
    summary: str,
    reference: str = "",
    *,
    need: Need = GramNeed(),  # noqa: B008  frozen
    labelled: bool = False,
) -> None:
    STATISTICS.add(name, Statistic(name, compute, (need,), summary, reference, labelled))


def _spectrum(layer: Representation) -> np.ndarray:
    if "eigenspectrum" not in layer.memo:
        layer.memo["eigenspectrum"] = eigenspectrum(layer.gram())
    return layer.memo["eigenspectrum"]


def _manifolds(layer: Representation, labels: np.ndarray) -> ManifoldGeometry:
    key = ("manifold_geometry", tuple(labels))
    if key not in layer.memo:
        layer.memo[key] = manifold_geometry(layer.gram(), labels)
    return layer.memo[key]


def _mean_of_defined(values: np.ndarray) -> float:
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else float("nan")


_register(
    "effective_dimensionality",
    lambda layer: effective_dimensionality(layer.gram()),
    "(Σλ)² / Σλ² of the features' covariance: how many dimensions carry the variance.",
    "Elmoznino & Bonner (2024), PLOS Computational Biology 20(1)",
)
_register(
    "effective_dimensionality_corrected",
    lambda layer: effective_dimensionality_corrected(layer.gram()),
    "The same, corrected for the number of stimuli.",
    "Song et al. (2012), JMLR 13",
)
_register(
    "entropy_dimensionality",
    lambda layer: entropy_of_spectrum(_spectrum(layer)),
    "Exponential of the entropy of the features' spectrum: counts weak dimensions more.",
    "Roy & Vetterli (2007), EUSIPCO",
)
_register(
    "explained_variance_dimensions",
    lambda layer: dimensions_of_spectrum(_spectrum(layer), 0.9),
    "Principal components that explain 90 % of the variance.",
    "Jolliffe (2002), Principal Component Analysis",
)
_register(
    "power_law_exponent",
    lambda layer: power_law_exponent(_spectrum(layer)),
    "α of eigenvalues that fall as rank^−α, from rank 11 to 500 or half of those there are.",
    "Stringer et al. (2019), Nature 571",
)
_register(
    "two_nn_dimension",
    lambda layer: two_nn_dimension(layer.gram()),
    "Intrinsic dimension from each stimulus's two nearest neighbours.",
    "Facco et al. (2017), Scientific Reports 7",
)
_register(
    "maximum_likelihood_dimension",
    lambda layer: maximum_likelihood_dimension(layer.gram()),
    "Intrinsic dimension by maximum likelihood, from each stimulus's 20 nearest neighbours.",
    "Levina & Bickel (2004), NIPS 17; MacKay & Ghahramani (2005)",
)
_register(
    "sparsity",
    lambda layer: _mean_of_defined(layer.moments().lifetime_sparseness()),
    "Lifetime sparseness, mean over the features that ever respond: 0 alike for all stimuli, 1 for "
    "one alone; of features with negative values, about 1 whatever they do.",
    "Vinje & Gallant (2000), Science 287",
    need=MomentsNeed(),
)
_register(
    "zero_share",
    lambda layer: float(layer.moments().zero_share.mean()),
    "Share of the values that are exactly zero.",
    need=MomentsNeed(),
)
_register(
    "mean_activation",
    lambda layer: float(layer.moments().mean.mean()),
    "Mean of all values.",
    need=MomentsNeed(),
)

_SORSCHER = "Sorscher, Ganguli & Sompolinsky (2022), PNAS 119(43)"
_register(
    "class_separation",
    lambda layer, labels: class_separation(layer.gram(), labels),
    "1 − mean cosine distance within classes / mean of all: 1 for classes without spread.",
    "Kornblith et al. (2021), NeurIPS 34",
    labelled=True,
)
_register(
    "silhouette",
    lambda layer, labels: silhouette(layer.gram(), labels),
    "How much nearer each stimulus's own class is than the next one, by Euclidean distance.",
    "Rousseeuw (1987), Journal of Computational and Applied Mathematics 20",
    labelled=True,
)
_register(
    "fisher_ratio",
    lambda layer, labels: fisher_ratio(layer.gram(), labels),
    "Scatter between classes over scatter within them.",
    "Fukunaga (1990), Introduction to Statistical Pattern Recognition",
    labelled=True,
)
_register(
    "manifold_radius",
    lambda layer, labels: float(np.mean(_manifolds(layer, labels).radius)),
    "Root mean square distance from the centre of the class, mean over classes; in the features' "
    "units.",
    _SORSCHER,
    labelled=True,
)
_register(
    "manifold_dimension",
    lambda layer, labels: float(np.mean(_manifolds(layer, labels).dimension)),
    "Effective dimensionality of a class, mean over classes.",
    _SORSCHER,
    labelled=True,
)
_register(
    "manifold_signal",
    lambda layer, labels: _mean_of_pairs(_manifolds(layer, labels).signal),
    "Squared distance of two classes' centres over the squared radius of one, mean over pairs.",
    _SORSCHER,
    labelled=True,
)
_register(
    "manifold_bias",
    lambda layer, labels: _mean_of_pairs(_manifolds(layer, labels).bias),
    "How much wider other classes are, (R_b² / R_a² − 1) / 5, mean over pairs.",
    _SORSCHER,
    labelled=True,
)
_register(
    "signal_noise_overlap",
    lambda layer, labels: _mean_of_pairs(_manifolds(layer, labels).overlap),
    "How much a class varies along the way to another, mean over pairs.",
    _SORSCHER,
    labelled=True,
)
_register(
    "few_shot_snr",
    lambda layer, labels: _mean_of_pairs(_manifolds(layer, labels).snr),
    "Signal-to-noise ratio of telling two classes apart from 5 examples each, mean over pairs.",
    _SORSCHER,
    labelled=True,
)
_register(
    "few_shot_error",
    lambda layer, labels: _mean_of_pairs(_manifolds(layer, labels).error),
    "The error that the signal-to-noise ratio predicts for 5 examples each, mean over pairs.",
    _SORSCHER,
    labelled=True,
)
_register(
    "manifold_capacity",
    lambda layer, labels: manifold_capacity(layer.gram(), labels),
    "How many class manifolds for each dimension a plane can still divide (mean field).",
    "Chung, Lee & Sompolinsky (2018), Physical Review X 8",
    labelled=True,
)

StatisticsAsked = (
    Sequence[str | Mapping[str, Callable[[torch.Tensor], float]]]
    | Mapping[str, Callable[[torch.Tensor], float] | str]
)


def list_statistics() -> pd.DataFrame:
    """List the statistics of a layer, one row each.

    Returns
    -------
    pandas.DataFrame
        Columns ``statistic summary labels reference``; ``labels`` says whether it describes classes
        of stimuli and needs their labels.
    """
    return pd.DataFrame(
        [
            {
                "statistic": item.name,
                "summary": item.summary,
                "labels": item.labelled,
                "reference": item.reference,
            }
            for item in STATISTICS.values()
        ]
    )


def resolve_statistics(
    stats: StatisticsAsked, labels: Mapping[str, np.ndarray] | None = None
) -> tuple[Statistic, ...]:
    """Read what a caller asked: names, and own functions by name.

    Parameters
    ----------
    stats : sequence or mapping
        ``["effective_dimensionality"]``, ``{"sparsity": my_function}``, or a sequence that mixes
        names and such mappings. An own function takes the layer's raw features, a
        (n_stimuli, n_features) float32 tensor, and gives a number. A name may say which labels it
        is of: ``"class_separation[label=animate]"``.
    labels : mapping of str to (n_stimuli,) array, optional
        The stimuli's classes, by name. One that is called ``label``, or is the only one, need not
        be named; if there are none, what describes classes is NaN.

    Returns
    -------
    tuple of Statistic
        Each takes the layer alone: the labels are bound.

    Raises
    ------
    UnknownNameError
        If there is no such statistic or label; gives the nearest.
    ValueError
        If several labels could be meant, or they do not make classes.
    """
    if isinstance(stats, str):
        raise TypeError(f"stats: expected a list of names, got the string {stats!r}: [{stats!r}]?")
    items = [stats] if isinstance(stats, Mapping) else list(stats)
    found: list[Statistic] = []
    for item in items:
        if isinstance(item, str):
            found.append(_named(item, labels or {}))
            continue
        for name, function in item.items():
            if isinstance(function, str):
                found.append(_named(function, labels or {}))
            else:
                found.append(_own(name, function))
    return tuple(found)


def _named(text: str, labels: Mapping[str, np.ndarray]) -> Statistic:
    match = re.fullmatch(r"\s*([^\[\]]*?)\s*(?:\[\s*label\s*=\s*([^\[\]]*?)\s*\])?\s*", text)
    if not match:
        raise ValueError(
            f"stats: expected a name, if need be with its labels in brackets "
            f"(class_separation[label=animate]), got {text!r}."
        )
    statistic, label = STATISTICS[match[1]], match[2]
    if not statistic.labelled:
        if label is not None:
            raise ValueError(f"stats: {statistic.name} describes no classes; leave out [label=].")
        return statistic
    if label is None and len(labels) > 1:
        if _LABEL not in labels:
            raise ValueError(
                f"stats: {statistic.name}: expected the name of a label, since there are "
                f"{len(labels)}: {', '.join(labels)}. Write "
                f"{statistic.name}[label={next(iter(labels))}]."
            )
        label = _LABEL
    if label is not None and label not in labels:
        raise unknown_name("label of the stimuli", label, labels)
    chosen = next(iter(labels.values()), None) if label is None else labels[label]
    return _bound(statistic, text.strip(), chosen)


def _bound(statistic: Statistic, name: str, labels: np.ndarray | None) -> Statistic:
    """Give a statistic of classes that takes the layer alone."""
    if labels is None:
        logger.warning("%s is NaN: the stimuli have no labels.", name)
        return replace(
            statistic, name=name, compute=lambda _layer: float("nan"), needs=(), labelled=False
        )
    try:
        check_classes(labels)
    except ValueError as error:
        raise ValueError(f"stats: {name}: {error}") from error
    return replace(
        statistic,
        name=name,
        compute=lambda layer: statistic.compute(layer, labels),
        labelled=False,
    )


def _mean_of_pairs(pairs: np.ndarray) -> float:
    """Mean over ordered pairs of classes; NaN if one of them is."""
    return float(pairs[~np.eye(len(pairs), dtype=bool)].mean())


def _own(name: str, function: Callable[[torch.Tensor], float]) -> Statistic:
    if not callable(function):
        raise TypeError(
            f"stats: expected {name!r} to be a function of the features, got "
            f"{type(function).__name__}."
        )
    return Statistic(name, lambda layer: float(function(layer.features)), (FeaturesNeed(),))
