"""Differences of one number each: how far from zero, how tight, how even a representation lies.

They do not look at which stimulus is where; two may differ by 0 and have nothing in common.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from isomorph.alignment.measure import Measure, UndefinedScoreError, add_measure
from isomorph.alignment.measures.cka import read_positive
from isomorph.alignment.measures.kernels import spread_kernel
from isomorph.alignment.metric import Option
from isomorph.geometry import Gram, rdm_from_gram

_NO_ANGLE = "a stimulus has no features but zeros, and so no angle"
_WANG = "Wang et al. 2022, IEEE Trans. Knowl. Data Eng.; Klabunde et al. 2025, ACM Comput. Surv. 57"


def _magnitude(gram: Gram, **_options: Any) -> float:
    """Length of the mean over stimuli."""
    spread_kernel(gram)
    return float(np.sqrt(max(gram.uncentred().mean(), 0.0)))


def _concentricity(gram: Gram, **_options: Any) -> float:
    """Mean cosine of the stimuli with their mean."""
    kernel = gram.uncentred()
    lengths, mean = np.sqrt(np.maximum(kernel.diagonal(), 0)), _magnitude(gram)
    # A mean that is only the rounding of what cancels has no direction.
    if not mean > 1e-7 * lengths.max():
        raise UndefinedScoreError("the mean over the stimuli is zero, and has no direction")
    if not lengths.min() > 0:
        raise UndefinedScoreError(_NO_ANGLE)
    return float(np.mean(kernel.mean(axis=1) / lengths) / mean)


def _uniformity(gram: Gram, rows: str, width: float) -> float:
    """log of the mean of exp(−t d²) over all pairs, those of a stimulus with itself too."""
    spread_kernel(gram)
    if rows == "raw":
        squared = rdm_from_gram(gram, "sqeuclidean")
    else:
        squared = 2 * rdm_from_gram(gram, "cosine")
        if np.isnan(squared).any():
            raise UndefinedScoreError(_NO_ANGLE)
    return float(np.log(np.mean(np.exp(-width * squared))))


def _difference(first: float, second: float, **_options: Any) -> float:
    return abs(first - second)


_LENGTHS = frozenset({"permutation", "rotation"})

for _name, _prepare, _options, _invariances, _summary, _reference in (
    (
        "magnitude_difference",
        _magnitude,
        {},
        _LENGTHS,
        "Difference of the lengths of the mean over stimuli.",
        _WANG,
    ),
    (
        "concentricity_difference",
        _concentricity,
        {},
        _LENGTHS | {"isotropic scaling"},
        "Difference of the mean cosines of the stimuli with their mean.",
        _WANG,
    ),
    (
        "uniformity_difference",
        _uniformity,
        {
            "rows": Option(
                "unit",
                ("unit", "raw"),
                summary="unit: features of each stimulus scaled to length one first, as uniformity "
                "is defined; raw: as they are",
            ),
            "width": Option(2.0, read=read_positive, summary="t in exp(−t d²)"),
        },
        _LENGTHS | {"isotropic scaling"},
        "Difference of how evenly the stimuli lie on the sphere, log mean exp(−t d²).",
        "Wang & Isola 2020, ICML; Klabunde et al. 2025, ACM Comput. Surv. 57",
    ),
):
    add_measure(
        Measure(
            name=_name,
            compute=_difference,
            prepare=_prepare,
            reorder=lambda value, _order: value,
            needs="gram",
            options=_options,
            range=(0.0, np.inf),
            symmetric=True,
            invariances=_invariances,
            summary=_summary,
            reference=_reference,
            larger_is_better=False,
            axioms=frozenset({"symmetry", "triangle"}),
            min_stimuli=2,
        )
    )
