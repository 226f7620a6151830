"""Second-order cosine: does a stimulus stand to its neighbours in the same way in both spaces?"""

from __future__ import annotations

import numpy as np

from isomorph.alignment.measure import Measure, UndefinedScoreError, add_measure
from isomorph.alignment.measures.neighbours import (
    K,
    LocalKernel,
    distances,
    members,
    nearest_of,
    reorder_local,
)
from isomorph.alignment.metric import Option
from isomorph.geometry import Gram


def profiles(gram: Gram, *, k: int, profile: str) -> LocalKernel:
    """Similarities or distances between stimuli, and who is whose neighbour."""
    apart = distances(gram, "cosine")
    near = members(nearest_of(apart, k, gram.resolution))
    return LocalKernel(apart if profile == "distance" else 1 - apart, near)


def second_order_cosine(first: LocalKernel, second: LocalKernel, *, k: int, profile: str) -> float:
    """Cosine between a stimulus's profiles over the union of both neighbourhoods, averaged.

    A profile holds the cosine similarities of a stimulus to its neighbours, as Hamilton et al.
    define it. ``profile="distance"`` takes 1 − cosine instead, as the ReSi software does: its
    entries are never negative, so that unrelated spaces come close to 1.
    """
    union = first.near | second.near
    one, other = (np.where(union, item.kernel, 0.0) for item in (first, second))
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    silent = int((lengths <= 1e-12).sum())
    if silent:
        raise UndefinedScoreError(f"the profile of {silent} stimuli over their neighbours is zero")
    return float(np.clip((one * other).sum(axis=1) / lengths, -1, 1).mean())


add_measure(
    Measure(
        name="second_order_cosine",
        compute=second_order_cosine,
        prepare=profiles,
        reorder=reorder_local,
        needs="gram",
        options={
            "k": K,
            "profile": Option(
                "similarity",
                ("similarity", "distance"),
                summary="profiles of cosine similarities, or of 1 − these (ReSi)",
            ),
        },
        range=(-1.0, 1.0),
        symmetric=True,
        invariances=frozenset({"permutation", "rotation", "isotropic scaling"}),
        summary="Cosine of a stimulus's similarities to the neighbours it has in either space.",
        reference="Hamilton, Leskovec & Jurafsky 2016, EMNLP; Klabunde et al. 2024 (ReSi)",
    )
)
