"""Arrangements of an RDM's stimuli: in a plane (multidimensional scaling), and by clusters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.cluster.hierarchy
import scipy.spatial.distance
from numpy.typing import ArrayLike

from isomorph.geometry.comparing.compare import as_squares
from isomorph.registry import unknown_name

MDS_METHODS = ("metric", "classical")
CLUSTER_METHODS = ("hierarchical", "kmeans")


@dataclass(frozen=True, eq=False)
class Arrangement:
    """Points whose distances are like the dissimilarities.

    Attributes
    ----------
    positions : np.ndarray, (n_stimuli, n_dimensions)
        Centred; the first axis is the longest.
    stress : float
        Kruskal's stress-1: sqrt(Σ (d − δ)² / Σ d²), d the distances in the arrangement (scaled as
        fits best) and δ the dissimilarities. 0 is perfect, .2 poor by his scale.
    method : str
    """

    positions: np.ndarray
    stress: float
    method: str


def arrange_stimuli(
    rdm: ArrayLike,
    *,
    n_dimensions: int = 2,
    method: Literal["metric", "classical"] = "metric",
    seed: int = 0,
    n_starts: int = 4,
) -> Arrangement:
    """Multidimensional scaling of an RDM, first-order or second-order.

    Parameters
    ----------
    rdm : array_like, (n, n) or (n_pairs,)
        Dissimilarities, which distances shall be like (give the root of squared distances).
    n_dimensions : int
    method : {"metric", "classical"}
        ``"metric"`` minimises the stress by SMACOF, from the classical arrangement and from random
        ones. ``"classical"`` projects on the leading eigenvectors of −½ J D² J.
    seed, n_starts : int
        Of the random starts.

    Returns
    -------
    Arrangement
        The turn and mirror image are arbitrary; here the axes are principal ones and the stimulus
        farthest out along each lies on its positive side.

    Raises
    ------
    ValueError
        If a dissimilarity is not finite, or negative.

    References
    ----------
    Torgerson (1952), Psychometrika 17; Kruskal (1964), Psychometrika 29; de Leeuw (1977).

    Examples
    --------
    >>> arrangement = arrange_stimuli([3.0, 4, 5])
    >>> bool(arrangement.stress < 1e-6)
    True
    """
    if method not in MDS_METHODS:
        raise unknown_name("multidimensional scaling", method, MDS_METHODS)
    if n_dimensions < 1 or n_starts < 0:
        raise ValueError(
            "arrange_stimuli: expected 1 or more dimensions and 0 or more random starts, got "
            f"{n_dimensions} and {n_starts}."
        )
    distances = _one_square(rdm, "arrange_stimuli")
    if distances.min() < 0:
        raise ValueError(
            f"arrange_stimuli: expected dissimilarities of 0 or more, got {distances.min():.3g}. "
            "transform_rdm(rdm, 'positive') sets those below to 0."
        )
    largest = distances.max()
    if largest == 0:
        return Arrangement(np.zeros((len(distances), n_dimensions)), 0.0, method)
    scaled = distances / largest
    positions = _classical(scaled, n_dimensions)
    if method == "metric":
        positions = _smacof(scaled, positions, seed, n_starts)
    positions = _on_principal_axes(positions)
    return Arrangement(positions * largest, _stress(scaled, positions), method)


def _one_square(rdm: ArrayLike, name: str) -> np.ndarray:
    stack = as_squares(rdm, "rdm")
    if len(stack) != 1:
        raise ValueError(f"{name}: expected one RDM, got {len(stack)}. Arrange them one by one.")
    if not np.isfinite(stack).all():
        raise ValueError(
            f"{name}: {int((~np.isfinite(stack)).sum()) // 2} dissimilarities are not finite. "
            "Leave those stimuli out."
        )
    return stack[0]


def _classical(distances: np.ndarray, n_dimensions: int) -> np.ndarray:
    squares = distances**2
    means = squares.mean(axis=0)
    kernel = -(squares - means - means[:, None] + squares.mean()) / 2
    values, axes = np.linalg.eigh(kernel)
    found = np.zeros((len(distances), n_dimensions))
    kept = min(n_dimensions, len(distances))
    leading = np.maximum(values[::-1][:kept], 0)
    found[:, :kept] = axes[:, ::-1][:, :kept] * np.sqrt(leading)
    return found


def _smacof(distances: np.ndarray, start: np.ndarray, seed: int, n_starts: int) -> np.ndarray:
    import sklearn.manifold

    smacof: Any = sklearn.manifold.smacof
    rng = np.random.default_rng(seed)
    # A start in fewer dimensions than asked for would never leave them.
    starts = [start + 1e-6 * rng.standard_normal(start.shape)]
    starts += [rng.standard_normal(start.shape) for _ in range(n_starts)]
    found = [
        smacof(
            distances,
            n_components=start.shape[1],
            init=one,
            n_init=1,
            max_iter=1000,
            eps=1e-9,
            normalized_stress=False,
        )[:2]
        for one in starts
    ]
    return min(found, key=lambda result: float(result[1]))[0]


def _on_principal_axes(positions: np.ndarray) -> np.ndarray:
    centred = positions - positions.mean(axis=0)
    turned = centred @ np.linalg.svd(centred, full_matrices=False)[2].T
    farthest = np.abs(turned).argmax(axis=0)
    signs = np.sign(turned[farthest, range(turned.shape[1])])
    found = np.zeros(positions.shape)
    found[:, : turned.shape[1]] = turned * np.where(signs == 0, 1, signs)
    return found


def _stress(distances: np.ndarray, positions: np.ndarray) -> float:
    given = scipy.spatial.distance.squareform(distances, checks=False)
    shown = scipy.spatial.distance.pdist(positions)
    size = float(shown @ shown)
    if size == 0:
        return 1.0
    # Scaled as fits best: sum (b d − δ)² / (b² sum d²) with b = Σ dδ / Σ d² and so on.
    return float(np.sqrt(max(0.0, 1 - (shown @ given) ** 2 / (size * float(given @ given)))))


@dataclass(frozen=True, eq=False)
class Clusters:
    """Groups of stimuli that are similar to each other.

    Attributes
    ----------
    order : np.ndarray, (n_stimuli,), int
        Positions of the stimuli, cluster by cluster.
    labels : np.ndarray, (n_stimuli,), int
        Each stimulus's cluster, in the order of the RDM; 0 is the first in `order`.
    """

    order: np.ndarray
    labels: np.ndarray


def cluster_stimuli(
    rdm: ArrayLike,
    n_clusters: int = 5,
    *,
    method: Literal["hierarchical", "kmeans"] = "hierarchical",
    seed: int = 0,
) -> Clusters:
    """Group the stimuli of an RDM into clusters, and put these next to one another.

    Parameters
    ----------
    rdm : array_like, (n, n) or (n_pairs,)
    n_clusters : int
    method : {"hierarchical", "kmeans"}
        ``"hierarchical"``: average linkage of the dissimilarities; stimuli are ordered along the
        tree (optimal leaf ordering). ``"kmeans"``: k-means of the rows of the RDM, the clusters in
        the order of their first stimulus and the stimuli within one as they come.
    seed : int
        Of k-means.

    Returns
    -------
    Clusters

    Raises
    ------
    ValueError
        If a dissimilarity is not finite, or there are fewer stimuli than clusters.

    Examples
    --------
    >>> cluster_stimuli([[0, 9, 1], [9, 0, 9], [1, 9, 0]], 2).labels
    array([1, 0, 1])
    """
    if method not in CLUSTER_METHODS:
        raise unknown_name("clustering", method, CLUSTER_METHODS)
    distances = _one_square(rdm, "cluster_stimuli")
    if not 1 <= n_clusters <= len(distances):
        raise ValueError(
            f"n_clusters: expected from 1 to {len(distances)}, the number of stimuli, got "
            f"{n_clusters}."
        )
    if method == "kmeans":
        found = _kmeans(distances, n_clusters, seed)
        order = np.arange(len(distances))
    else:
        vector = scipy.spatial.distance.squareform(distances, checks=False)
        tree = scipy.cluster.hierarchy.linkage(vector, "average", optimal_ordering=True)
        found = scipy.cluster.hierarchy.fcluster(tree, n_clusters, "maxclust")
        order = scipy.cluster.hierarchy.leaves_list(tree)
    ranks = {label: rank for rank, label in enumerate(dict.fromkeys(found[order].tolist()))}
    labels = np.array([ranks[label] for label in found.tolist()])
    return Clusters(order[np.argsort(labels[order], kind="stable")], labels)


def _kmeans(rows: np.ndarray, n_clusters: int, seed: int) -> np.ndarray:
    # Not at the top: scikit-learn takes a second to load.
    import sklearn.cluster

    kmeans: Any = sklearn.cluster.KMeans
    return kmeans(n_clusters, n_init=10, random_state=seed).fit_predict(rows)
