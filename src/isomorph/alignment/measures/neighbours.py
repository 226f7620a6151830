"""Measures of shared neighbours: do the same stimuli lie close to a stimulus in both spaces?

All of them rank the other stimuli by a distance read from the Gram. Stimuli at the same distance,
to nine digits of the largest (five for float32 features), are taken in the order of the stimuli: a
choice that is the same for every run, machine and scale of the features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isomorph.alignment.measure import Measure, UndefinedScoreError, add_measure
from isomorph.alignment.metric import Option
from isomorph.geometry import Gram, rdm_from_gram

DISTANCES = ("cosine", "euclidean", "pearson")
_PLATONIC = "Huh, Cheung, Wang & Isola 2024, ICML (arXiv 2405.07987)"
_RESI = "Wang, Ke, Li & Zhou 2022, ACM TWEB 16:4; Klabunde et al. 2024 (ReSi)"


def read_k(text: str) -> int:
    """Read a number of neighbours."""
    k = int(text)
    if k < 1:
        raise ValueError("expected 1 or more neighbours.")
    return k


K = Option(10, read=read_k, summary="number of neighbours; below the number of stimuli")
DISTANCE = Option("cosine", DISTANCES, summary="what neighbours are near by")


def nearest(gram: Gram, k: int, distance: str = "cosine") -> np.ndarray:
    """Nearest other stimuli of each stimulus, nearest first; ties in the order of the stimuli.

    Parameters
    ----------
    gram : Gram
    k : int
    distance : {"cosine", "euclidean", "pearson"}

    Returns
    -------
    np.ndarray of int, (n_stimuli, k)

    Raises
    ------
    UndefinedScoreError
        If there are not more than `k` stimuli, or a stimulus has no distance to the others.
    """
    return nearest_of(distances(gram, distance), k, gram.resolution)


def distances(gram: Gram, distance: str) -> np.ndarray:
    """Distances between stimuli, (n, n); undefined ones are refused."""
    found = rdm_from_gram(gram, distance)
    bad = int(np.isnan(found).any(axis=1).sum())
    if bad:
        what = {"cosine": "all zero", "pearson": "constant"}[distance]
        # A single stimulus without a distance leaves a NaN in the rows of all the others.
        bad = max(1, int((np.isnan(found).sum(axis=1) >= len(found) - 1).sum()))
        raise UndefinedScoreError(
            f"the features of {bad} stimuli are {what}: they have no {distance} neighbours"
        )
    if not found.any():
        raise UndefinedScoreError("all stimuli have the same features")
    return found


def nearest_of(distance: np.ndarray, k: int, resolution: float = 0.0) -> np.ndarray:
    """Nearest others from a distance matrix (n, n); see `nearest`."""
    n = len(distance)
    if k >= n:
        raise UndefinedScoreError(
            f"{k} neighbours were asked for among {n} stimuli; choose k of {n - 1} or less"
        )
    keys = _coarse(distance, resolution)
    np.fill_diagonal(keys, np.inf)
    border = np.partition(keys, k - 1, axis=1)[:, k - 1, None]
    inside, tied = keys < border, keys == border
    # Of those at the border the first in the order of the stimuli, until there are k.
    room = k - inside.sum(axis=1, keepdims=True)
    inside |= tied & (np.cumsum(tied, axis=1) <= room)
    members = np.nonzero(inside)[1].reshape(n, k)
    order = np.argsort(np.take_along_axis(keys, members, axis=1), axis=1, kind="stable")
    return np.take_along_axis(members, order, axis=1)


def _coarse(distance: np.ndarray, resolution: float) -> np.ndarray:
    """Distances without the digits that are rounding, so that equal ones are equal."""
    digits = 9 if resolution < 1e-10 else 5
    return np.round(distance / distance.max(), digits)


def members(neighbours: np.ndarray) -> np.ndarray:
    """Which stimuli are neighbours of which: (n, n) bool."""
    mask = np.zeros((len(neighbours),) * 2, dtype=bool)
    np.put_along_axis(mask, neighbours, True, axis=1)
    return mask


def neighbourhoods(gram: Gram, *, k: int, distance: str) -> np.ndarray:
    """Nearest stimuli, (n, k): what the measures below compare, made once a representation."""
    return nearest(gram, k, distance)


def proper_neighbourhoods(gram: Gram, *, k: int, distance: str) -> np.ndarray:
    """The same for measures of sets, which are 1 where everything is everything's neighbour."""
    if k == gram.n_stimuli - 1:
        raise UndefinedScoreError(
            f"{k} neighbours among {gram.n_stimuli} stimuli are all of them; choose a smaller k"
        )
    return nearest(gram, k, distance)


def reorder_neighbourhoods(near: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Neighbourhoods of the stimuli in another order, without a look at the features."""
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return place[near[order]]


def mutual_knn(first: np.ndarray, second: np.ndarray, *, k: int, distance: str) -> float:
    """Share of a stimulus's k nearest that both spaces agree on, averaged over stimuli.

    Between unrelated spaces it is k / (n − 1), not 0.
    """
    return float((first[:, :, None] == second[:, None, :]).sum() / (k * len(first)))


def cycle_knn(first: np.ndarray, second: np.ndarray, *, k: int, distance: str) -> float:
    """Share of stimuli that are found again: to a neighbour in the second space, back in the first.

    Not symmetric.
    """
    back = first[second]  # (n, k, k): the neighbours, in the first space, of those in the second
    home = np.arange(len(first))[:, None, None]
    return float((back == home).any(axis=(1, 2)).mean())


def jaccard_similarity(first: np.ndarray, second: np.ndarray, *, k: int, distance: str) -> float:
    """Size of the intersection of both neighbourhoods over that of their union, averaged."""
    shared = (first[:, :, None] == second[:, None, :]).sum(axis=(1, 2))
    return float((shared / (2 * k - shared)).mean())


def lcs_knn(first: np.ndarray, second: np.ndarray, *, k: int, distance: str) -> float:
    """Length of the longest subsequence that both ranked neighbourhoods share, divided by k.

    platonic-rep gives the length itself, 0 to k.
    """
    return float(common_lengths(first, second).mean() / k)


def common_lengths(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Length of the longest common subsequence of each pair of rows, (n,)."""
    n, k = one.shape
    before = np.zeros((k + 1, n), dtype=np.int64)
    for i in range(k):
        now = np.zeros_like(before)
        for j in range(k):
            same = one[:, i] == other[:, j]
            now[j + 1] = np.where(same, before[j] + 1, np.maximum(before[j + 1], now[j]))
        before = now
    return before[k]


def edit_distance_knn(first: np.ndarray, second: np.ndarray, *, k: int, distance: str) -> float:
    """1 − (Levenshtein distance of both ranked neighbourhoods) / k, averaged; 1 is the same."""
    return float(1 - edit_distances(first, second).mean() / k)


def edit_distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Levenshtein distance of each pair of rows, (n,)."""
    n, k = one.shape
    before = np.repeat(np.arange(k + 1)[:, None], n, axis=1)
    for i in range(k):
        now = np.empty_like(before)
        now[0] = i + 1
        for j in range(k):
            replaced = before[j] + (one[:, i] != other[:, j])
            now[j + 1] = np.minimum(np.minimum(before[j + 1], now[j]) + 1, replaced)
        before = now
    return before[k]


def rank_similarity(first: np.ndarray, second: np.ndarray, *, k: int, distance: str) -> float:
    """Agreement of the ranks of shared neighbours, near ones weighing more; 0 where none is shared.

    Over the neighbours j that both share, with ranks r and s: Σ 2 / ((1 + |r − s|)(r + s)), divided
    by its largest value for that many, Σ 1/i; averaged over stimuli.
    """
    ranks = np.arange(1, k + 1)
    gap = 1 + np.abs(ranks[:, None] - ranks)
    weights = 2 / (gap * (ranks[:, None] + ranks))
    harmonic = np.concatenate([[1.0], np.cumsum(1 / ranks)])  # none shared: 0 / 1
    shared = first[:, :, None] == second[:, None, :]
    totals = (shared * weights).sum(axis=(1, 2))
    return float((totals / harmonic[shared.sum(axis=(1, 2))]).mean())


@dataclass(frozen=True, eq=False)
class LocalKernel:
    """A kernel between stimuli (n, n), and which are neighbours of which, (n, n) bool."""

    kernel: np.ndarray
    near: np.ndarray


def local_kernel(gram: Gram, *, k: int, distance: str, form: str = "") -> LocalKernel:
    """Kernel 1 − distance; for Euclidean neighbours the inner product as it is."""
    if k < 2:
        raise UndefinedScoreError("CKNNA compares neighbours with one another; choose k of 2 or up")
    apart = distances(gram, distance)
    near = members(nearest_of(apart, k, gram.resolution))
    return LocalKernel(gram.uncentred() if distance == "euclidean" else 1 - apart, near)


def reorder_local(item: LocalKernel, order: np.ndarray) -> LocalKernel:
    """The same of the stimuli in another order."""
    chosen = np.ix_(order, order)
    return LocalKernel(item.kernel[chosen], item.near[chosen])


def cknna(
    first: LocalKernel, second: LocalKernel, *, k: int, distance: str, form: str = "released"
) -> float:
    """CKA in which two stimuli count only where they are neighbours in both spaces.

    With the kernel 1 − distance (cosine, the inner product of features of length one; pearson), or
    the inner product as it is (euclidean). ``form="released"`` is what platonic-rep computes: the
    unbiased HSIC of the masked kernels, in which a pair counts if each is the other's neighbour;
    the masks are not symmetric, so that exchanging the two changes the value a little; it is not
    bounded, and undefined where a kernel's own HSIC is not positive.
    ``form="paper"`` is the formula of Huh et al.: products of kernels centred by their row means,
    summed over neighbours; symmetric, from −1 to 1.
    """
    align = _released if form == "released" else _paper
    mixed = align(first.kernel, second.kernel, first.near & second.near)
    own = [align(item.kernel, item.kernel, item.near) for item in (first, second)]
    if min(own) <= 0:
        raise UndefinedScoreError("the local HSIC of a representation with itself is not positive")
    return float(mixed / np.sqrt(own[0] * own[1]))


def _released(one: np.ndarray, other: np.ndarray, mask: np.ndarray) -> float:
    """Unbiased HSIC of two masked kernels (the mask has no diagonal and is not symmetric)."""
    n = len(mask)
    one, other = np.where(mask, one, 0.0), np.where(mask, other, 0.0)
    value = (one * other.T).sum() + one.sum() * other.sum() / ((n - 1) * (n - 2))
    value -= 2 * (one.sum(axis=0) @ other.sum(axis=1)) / (n - 2)
    return float(value / (n * (n - 3)))


def _paper(one: np.ndarray, other: np.ndarray, mask: np.ndarray) -> float:
    centred = [kernel - kernel.mean(axis=1, keepdims=True) for kernel in (one, other)]
    return float((centred[0] * centred[1])[mask].sum())


_LOCAL = {
    "needs": "gram",
    "range": (0.0, 1.0),
    "invariances": frozenset({"permutation", "rotation", "isotropic scaling"}),
}
_OPTIONS = {"k": K, "distance": DISTANCE}

for _name, _compute, _prepare, _symmetric, _summary, _reference in (
    (
        "mutual_knn",
        mutual_knn,
        proper_neighbourhoods,
        True,
        "Share of the k nearest stimuli that both spaces agree on; k/(n − 1) by chance.",
        _PLATONIC,
    ),
    (
        "cycle_knn",
        cycle_knn,
        proper_neighbourhoods,
        False,
        "Share of stimuli found again: a neighbour in the second space, back in the first.",
        _PLATONIC,
    ),
    (
        "lcs_knn",
        lcs_knn,
        neighbourhoods,
        True,
        "Longest common subsequence of both rankings of the k nearest, divided by k.",
        _PLATONIC,
    ),
    (
        "edit_distance_knn",
        edit_distance_knn,
        neighbourhoods,
        True,
        "1 − edit distance of both rankings of the k nearest, divided by k.",
        _PLATONIC,
    ),
    (
        "jaccard_similarity",
        jaccard_similarity,
        proper_neighbourhoods,
        True,
        "Intersection over union of both sets of k nearest stimuli.",
        _RESI,
    ),
    (
        "rank_similarity",
        rank_similarity,
        neighbourhoods,
        True,
        "Agreement of the ranks of the k nearest stimuli that both spaces share.",
        _RESI,
    ),
):
    add_measure(
        Measure(
            name=_name,
            compute=_compute,
            prepare=_prepare,
            reorder=reorder_neighbourhoods,
            options=_OPTIONS,
            symmetric=_symmetric,
            summary=_summary,
            reference=_reference,
            **_LOCAL,
        )
    )

add_measure(
    Measure(
        name="CKNNA",
        compute=cknna,
        prepare=local_kernel,
        reorder=reorder_local,
        options={
            **_OPTIONS,
            "form": Option(
                "released",
                ("released", "paper"),
                summary="as platonic-rep computes it, or as the paper defines it (bounded)",
            ),
        },
        symmetric=False,
        summary="CKA over those pairs of stimuli that are neighbours in both spaces.",
        reference=_PLATONIC,
        **{**_LOCAL, "range": (-np.inf, np.inf)},
    )
)
