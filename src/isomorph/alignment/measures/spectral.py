"""Measures of spectra and of distances: GULP, eigenspace overlap, distance correlation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from isomorph.alignment.measure import Measure, UndefinedScoreError, add_measure
from isomorph.alignment.measures.cca import read_dims, require_room, truncated
from isomorph.alignment.measures.cka import read_positive
from isomorph.alignment.measures.kernels import (
    off_diagonal,
    products,
    reorder_vector,
    spread_kernel,
    u_centred,
    unit_vector,
    with_diagonal,
)
from isomorph.alignment.measures.principal import PrincipalAxes, principal_axes
from isomorph.alignment.metric import Option
from isomorph.geometry import Gram, doubly_centred, rdm_from_gram

_SIMILAR = frozenset({"permutation", "rotation", "isotropic scaling", "translation"})
_METRIC = frozenset({"identity", "symmetry", "triangle"})


def _prepare_gulp(gram: Gram, penalty: float) -> np.ndarray:
    axes = principal_axes(gram)
    variances = axes.lengths**2 / np.sum(axes.lengths**2)
    smoother = (axes.vectors * (variances / (variances + penalty))) @ axes.vectors.T
    return with_diagonal(smoother)


def _distance(first: np.ndarray, second: np.ndarray, **_options: Any) -> float:
    return float(np.linalg.norm(first - second))


def _distance_table(
    firsts: Sequence[np.ndarray], seconds: Sequence[np.ndarray], **_options: Any
) -> np.ndarray:
    lengths = [np.array([np.vdot(item, item) for item in side]) for side in (firsts, seconds)]
    sums = lengths[0][:, None] + lengths[1]
    squared = sums - 2 * products(firsts, seconds)
    # Of those that are nearly the same the difference itself: that of the sums is rounding.
    for i, j in np.argwhere(squared <= 1e-5 * sums):
        squared[i, j] = _distance(firsts[i], seconds[j]) ** 2
    return np.sqrt(squared)


add_measure(
    Measure(
        name="GULP",
        compute=_distance,
        table=_distance_table,
        prepare=_prepare_gulp,
        reorder=reorder_vector,
        needs="gram",
        options={
            "penalty": Option(
                0.01,
                read=read_positive,
                summary="λ, ridge penalty on features of total variance 1; small: up to any linear "
                "map, large: up to rotation",
            )
        },
        range=(0.0, np.inf),
        symmetric=True,
        invariances=_SIMILAR,
        summary="How far the predictions of ridge regressions from the two can differ, uniformly "
        "over targets: distance of their smoothers K(K + nλI)⁻¹.",
        reference="Boix-Adserà, Lawrence, Stepaniants & Rigollet 2022, NeurIPS",
        larger_is_better=False,
        axioms=_METRIC,
        min_stimuli=2,
    )
)


def _prepare_overlap(gram: Gram, mean: str, dims: int | None) -> PrincipalAxes:
    return truncated(principal_axes(gram, centred=mean == "removed"), dims, None)


def _overlap(first: PrincipalAxes, second: PrincipalAxes, **_options: Any) -> float:
    require_room(first, second)
    shared = first.vectors.T @ second.vectors
    return float(np.vdot(shared, shared) / max(first.rank, second.rank))


add_measure(
    Measure(
        name="eigenspace_overlap",
        compute=_overlap,
        prepare=_prepare_overlap,
        reorder=PrincipalAxes.reordered,
        needs="gram",
        options={
            "mean": Option(
                "removed",
                ("removed", "kept"),
                summary="whether the mean over stimuli is subtracted first; the paper keeps it",
            ),
            "dims": Option(
                None, read=read_dims, summary="principal components kept of each side; all if None"
            ),
        },
        range=(0.0, 1.0),
        symmetric=True,
        invariances=_SIMILAR | {"invertible linear"},
        summary="Share of the larger space that the two span together: ‖U₁'U₂‖² / max(r₁, r₂).",
        reference="May, Zhang, Dao & Ré 2019, NeurIPS",
        min_stimuli=3,
    )
)


def _prepare_dcor(gram: Gram, bias: str) -> np.ndarray:
    distances = rdm_from_gram(gram, "euclidean")
    corrected = bias == "corrected"
    vector = (
        off_diagonal(u_centred(distances))
        if corrected
        else with_diagonal(doubly_centred(distances))
    )
    # Distances carry the root of the rounding of their squares.
    floor = 4 * np.sqrt(gram.resolution) * np.sqrt(max(float(np.trace(gram.products)), 0.0))
    floor = min(floor, 1e-6 * float(np.linalg.norm(distances)))
    return unit_vector(vector, floor, "the centred distances of one side are zero")


def _dcor_table(
    firsts: Sequence[np.ndarray], seconds: Sequence[np.ndarray], bias: str
) -> np.ndarray:
    values = products(firsts, seconds)
    return values if bias == "corrected" else np.sqrt(np.maximum(values, 0.0))


def _dcor(first: np.ndarray, second: np.ndarray, bias: str) -> float:
    return float(_dcor_table([first], [second], bias)[0, 0])


add_measure(
    Measure(
        name="distance_correlation",
        compute=_dcor,
        prepare=_prepare_dcor,
        reorder=reorder_vector,
        table=_dcor_table,
        needs="gram",
        options={
            "bias": Option(
                "corrected",
                ("corrected", "kept"),
                summary="corrected: the bias-corrected statistic, on the scale of the squared "
                "distance correlation, 0 for noise of any width; kept: the distance correlation "
                "itself, which rises to 1 with the number of features",
            )
        },
        range=(-1.0, 1.0),
        symmetric=True,
        invariances=_SIMILAR,
        summary="Correlation of centred distances, which is 0 only under independence.",
        reference="Székely, Rizzo & Bakirov 2007, Ann. Stat. 35; corrected: Székely & Rizzo 2013, "
        "J. Multivar. Anal. 117",
    )
)


def _prepare_rsm(gram: Gram, similarity: str) -> np.ndarray:
    centred = spread_kernel(gram)
    if similarity == "linear":
        return with_diagonal(centred)
    rsm = 1.0 - rdm_from_gram(gram, similarity)
    if np.isnan(rsm).any():
        raise UndefinedScoreError(f"a stimulus's features have no {similarity} similarity")
    return with_diagonal(rsm)


add_measure(
    Measure(
        name="RSM_norm_difference",
        compute=_distance,
        table=_distance_table,
        prepare=_prepare_rsm,
        reorder=reorder_vector,
        needs="gram",
        options={
            "similarity": Option(
                "cosine",
                ("cosine", "pearson", "linear"),
                summary="what the similarity matrices hold; linear: the centred Gram",
            )
        },
        range=(0.0, np.inf),
        symmetric=True,
        invariances=frozenset({"permutation", "rotation", "isotropic scaling"}),
        summary="Frobenius norm of the difference of the two similarity matrices.",
        reference="Yin & Shen 2018, NeurIPS; Klabunde, Schumacher, Strohmaier & Lemmerich 2025, "
        "ACM Comput. Surv. 57",
        larger_is_better=False,
        axioms=_METRIC,
        min_stimuli=2,
    )
)
