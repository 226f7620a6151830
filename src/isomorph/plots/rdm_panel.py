"""A panel of RDMs on one scale, as they come, by class, or by the clusters of one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure, SubFigure
from numpy.typing import ArrayLike

from isomorph.plots.rdm import plot_rdm
from isomorph.registry import unknown_name


def plot_rdms(
    rdms: Mapping[str, ArrayLike] | Sequence[ArrayLike] | np.ndarray,
    names: Sequence[str] | None = None,
    *,
    percentile: bool = True,
    labels: Sequence[str] | None = None,
    categories: Sequence[str] | None = None,
    thumbnails: Sequence[np.ndarray] | np.ndarray | None = None,
    order: Sequence[int] | None = None,
    cluster_by: str | int | None = None,
    n_clusters: int = 5,
    cluster_method: str = "hierarchical",
    seed: int = 0,
    cmap: str | None = None,
    limits: tuple[float, float] | None = None,
    figure: Figure | SubFigure | None = None,
) -> Figure | SubFigure:
    """Draw RDMs side by side, in one order of the stimuli and on one scale.

    Parameters
    ----------
    rdms : mapping of name to RDM, or array-like (n_rdms, n, n) or (n_rdms, n_pairs)
        Over the same stimuli. The names of a mapping stand above its panels.
    names : sequence of str, optional
        (n_rdms,) the names, where `rdms` is no mapping.
    percentile : bool
        Draw percentile ranks (0 to 100) within each RDM, so that RDMs of different units can be
        told apart by their structure; a small difference then looks as large as a large one.
        False: the dissimilarities themselves.
    labels, categories, thumbnails, order, cmap, limits, figure
        As in `plot_rdm`: labels that repeat are classes, by which the stimuli are put in order.
    cluster_by : str or int, optional
        Name or position of the RDM by whose clusters all are reordered; lines mark the clusters.
    n_clusters : int
    cluster_method : {"hierarchical", "kmeans"}
        See `cluster_stimuli`.
    seed : int
        Of k-means.

    Returns
    -------
    Figure
        Or the SubFigure that was given.

    Raises
    ------
    ValueError
        If the RDMs are not of one size, or names or labels are too many or too few.

    References
    ----------
    Muttenthaler & Hebart (2021), Frontiers in Neuroinformatics 15: 679838, figure 2A.

    Examples
    --------
    >>> plot_rdms({"AlexNet": first, "ViT": second})  # doctest: +SKIP
    >>> plot_rdms(rdms, cluster_by="behaviour")  # doctest: +SKIP
    """
    stack, titles = named_stack(rdms, names)
    if cluster_by is not None:
        for name, given in (("order", order), ("categories", categories)):
            if given is not None:
                raise ValueError(f"{name}: expected none beside cluster_by=, which gives its own.")
        # Not at the top: geometry loads torch, which the other figures do without.
        from isomorph.geometry import cluster_stimuli

        chosen = stack[_position(cluster_by, titles)]
        clusters = cluster_stimuli(chosen, n_clusters, method=cluster_method, seed=seed)  # pyright: ignore[reportArgumentType]
        order, categories = clusters.order.tolist(), [str(label + 1) for label in clusters.labels]
    return plot_rdm(
        stack,
        title=titles,
        percentile=percentile,
        labels=labels,
        categories=categories,
        thumbnails=thumbnails,
        order=order,
        cmap=cmap,
        limits=limits,
        figure=figure,
    )


def named_stack(rdms: Any, names: Sequence[str] | None) -> tuple[np.ndarray, list[str]]:
    """Square RDMs (n_rdms, n, n), from squares or vectors, and a name for each (maybe empty)."""
    if isinstance(rdms, Mapping):
        names = [str(name) for name in rdms] if names is None else names
        rdms = list(rdms.values())
    from isomorph.geometry import check_rdm, is_one_rdm, square

    if isinstance(rdms, list | tuple):
        rdms = [np.asarray(rdm, dtype=float) for rdm in rdms]
        shapes = sorted({rdm.shape for rdm in rdms})
        if len(shapes) > 1:
            raise ValueError(
                f"rdms: expected RDMs of one size, got {', '.join(map(str, shapes))}. "
                "Draw them in figures of their own."
            )
    array = np.asarray(rdms, dtype=float)
    if not array.size:
        raise ValueError(f"rdms: expected one RDM or more, got shape {array.shape}.")
    if array.ndim == 1 or (array.ndim == 2 and not is_one_rdm(array, "rdms")):
        array = square(np.atleast_2d(array))
    # An error where they are not square, or no RDMs.
    stack = np.stack(
        [check_rdm(one, "rdms") for one in (array[None] if array.ndim == 2 else array)]
    )
    titles = [""] * len(stack) if names is None else [str(name) for name in names]
    if len(titles) != len(stack):
        raise ValueError(f"names: expected one for each of {len(stack)} RDMs, got {len(titles)}.")
    return stack, titles


def _position(cluster_by: str | int, titles: list[str]) -> int:
    if isinstance(cluster_by, str):
        if cluster_by not in titles:
            raise unknown_name("RDM to cluster by", cluster_by, titles)
        return titles.index(cluster_by)
    if not -len(titles) <= cluster_by < len(titles):
        raise ValueError(
            f"cluster_by: expected a name, or a position from 0 to {len(titles) - 1}, got "
            f"{cluster_by}."
        )
    return int(cluster_by)
