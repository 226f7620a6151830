"""Shape measures: how well one representation can be turned onto the other.

All from the Grams: the singular values of X'Y are those of S₁U₁'U₂S₂, so that all features count,
however many each side has, and nothing of size features × features is made.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from isomorph.alignment.measure import Measure, add_measure
from isomorph.alignment.measures.cca import require_room
from isomorph.alignment.measures.kernels import DISTANCE_FORMS, form_option, in_form
from isomorph.alignment.measures.principal import PrincipalAxes, principal_axes
from isomorph.alignment.metric import Option
from isomorph.geometry import Gram

_ROTATION = frozenset({"permutation", "rotation", "translation"})
_METRIC = frozenset({"identity", "symmetry", "triangle"})
_WILLIAMS = "Williams, Kunz, Kornblith & Linderman 2021, NeurIPS"


def nuclear_norm(first: np.ndarray, second: np.ndarray) -> float:
    """Sum of the singular values of X'Y, (n, p) and (n, q): the best inner product by rotation."""
    return float(np.linalg.svd(first.T @ second, compute_uv=False).sum())


def read_alpha(text: str) -> float:
    """Read a number from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError("expected a number from 0 (whitened) to 1 (as it is).")
    return value


def _unit(scores: np.ndarray) -> np.ndarray:
    return scores / np.linalg.norm(scores)


def _reorder_scores(scores: np.ndarray, order: np.ndarray) -> np.ndarray:
    return scores[order]


def _prepare_procrustes(gram: Gram, **_form: Any) -> np.ndarray:
    return _unit(principal_axes(gram).scores())


def _procrustes(first: np.ndarray, second: np.ndarray, form: str) -> float:
    return float(in_form(nuclear_norm(first, second), form))


for _name, _summary, _reference in (
    (
        "Procrustes",
        "Cosine between two representations after the best rotation (and reflection).",
        f"Schönemann 1966, Psychometrika 31; {_WILLIAMS}",
    ),
    (
        "NBS",
        "Normalised Bures similarity of the centred Grams: the same number as Procrustes.",
        "Tang, Maddox, Dickens, Diethe & Damianou 2020; Harvey, Larsen & Williams 2024",
    ),
):
    add_measure(
        Measure(
            name=_name,
            compute=_procrustes,
            prepare=_prepare_procrustes,
            reorder=_reorder_scores,
            needs="gram",
            options={"form": form_option()},
            range=(0.0, 1.0),
            symmetric=True,
            invariances=_ROTATION | {"isotropic scaling"},
            summary=_summary,
            reference=_reference,
            distance_forms=DISTANCE_FORMS,
            min_stimuli=3,
        )
    )


def _prepare_bures(gram: Gram, per_feature: str, **_form: Any) -> np.ndarray:
    scores = principal_axes(gram).scores()
    return scores / np.sqrt(gram.n_features) if per_feature == "yes" else scores


def _bures(first: np.ndarray, second: np.ndarray, form: str, **_options: Any) -> float:
    squares = float(np.vdot(first, first) + np.vdot(second, second))
    squared = max(squares - 2 * nuclear_norm(first, second), 0.0)
    # Two equal representations leave rounding alone, whose root would look like a distance.
    squared = 0.0 if squared <= 16 * np.finfo(np.float64).eps * squares else squared
    return squared if form == "squared" else float(np.sqrt(squared))


add_measure(
    Measure(
        name="Bures",
        compute=_bures,
        prepare=_prepare_bures,
        reorder=_reorder_scores,
        needs="gram",
        options={
            "form": Option(
                "distance", ("distance", "squared"), summary="the distance or its square"
            ),
            "per_feature": Option(
                "no", ("no", "yes"), summary="divide both Grams by the number of features first"
            ),
        },
        range=(0.0, np.inf),
        symmetric=True,
        invariances=_ROTATION,
        summary="Bures distance of the centred Grams, which is the size-and-shape (Procrustes) "
        "distance of the representations; their scale counts.",
        reference=f"Bhatia, Jain & Lim 2019, Expo. Math. 37; {_WILLIAMS}",
        larger_is_better=False,
        axioms=_METRIC,
        distance_forms=frozenset({"distance", "squared"}),
        min_stimuli=2,
    )
)


def _prepare_shape(gram: Gram, alpha: float, **_form: Any) -> PrincipalAxes:
    axes = principal_axes(gram)
    lengths = alpha * axes.lengths + (1 - alpha)
    return PrincipalAxes(axes.vectors, lengths / np.linalg.norm(lengths))


def _shape(first: PrincipalAxes, second: PrincipalAxes, alpha: float, form: str) -> float:
    if alpha == 0:
        require_room(first, second)
    return float(in_form(nuclear_norm(first.scores(), second.scores()), form))


add_measure(
    Measure(
        name="shape",
        compute=_shape,
        prepare=_prepare_shape,
        reorder=PrincipalAxes.reordered,
        needs="gram",
        options={
            "alpha": Option(
                1.0,
                read=read_alpha,
                summary="each singular value s becomes α·s + 1 − α: 1 compares up to rotation, 0 "
                "up to any linear map (CCA); between them the units of the features count",
            ),
            "form": form_option("angular"),
        },
        range=(0.0, np.pi / 2),
        symmetric=True,
        invariances=_ROTATION | {"isotropic scaling"},
        summary="Generalised shape distance: angle after partial whitening and the best rotation.",
        reference=_WILLIAMS,
        larger_is_better=False,
        axioms=_METRIC,
        distance_forms=DISTANCE_FORMS,
        min_stimuli=3,
    )
)
