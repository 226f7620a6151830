"""How much representations differ from one another: the RDM of RDMs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure
from numpy.typing import ArrayLike

from isomorph.plots.mds import plot_mds
from isomorph.plots.rdm_panel import named_stack
from isomorph.plots.style import INK, new_figure, panel_grid, shorten, styled

MAX_WRITTEN = 14  # with more, the numbers in the cells cannot be read
MAX_NAMES = 70


def plot_second_order(
    rdms: Mapping[str, ArrayLike] | Sequence[ArrayLike] | np.ndarray,
    names: Sequence[str] | None = None,
    *,
    method: str = "spearman",
    cluster: bool = False,
    title: str | None = None,
    cmap: str = "viridis",
    limits: tuple[float, float] | None = None,
    ax: Axes | None = None,
    figure: Figure | SubFigure | None = None,
) -> Figure | SubFigure:
    """Draw how much each two of several RDMs differ: 1 − their comparison.

    Parameters
    ----------
    rdms : mapping of name to RDM, or array-like (n_rdms, n, n) or (n_rdms, n_pairs)
        Or a second-order RDM itself, (n_rdms, n_rdms), as `second_order_rdm` gives it.
    names : sequence of str, optional
        (n_rdms,) the names, where `rdms` is no mapping.
    method : str
        How the RDMs are compared; see `compare_rdms`.
    cluster : bool
        Put RDMs that are similar next to one another.
    title : str, optional
    cmap : str
        One of matplotlib's colour maps.
    limits : tuple of float, optional
        The scale's ends; by default 0 to 1, or to the largest value beyond.
    ax : Axes, optional
    figure : Figure or SubFigure, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Figure
        Or the SubFigure that was given, or the figure of `ax`.

    Examples
    --------
    >>> plot_second_order({"AlexNet": first, "ViT": second})  # doctest: +SKIP
    """
    matrix, titles = _matrix(rdms, names, method)
    n = len(matrix)
    if cluster and n > 2:
        from isomorph.geometry import cluster_stimuli

        order = cluster_stimuli(matrix, 2).order
        matrix, titles = matrix[np.ix_(order, order)], [titles[i] for i in order]
    finite = matrix[np.isfinite(matrix)]
    low, high = limits or (0.0, max(1.0, float(finite.max(initial=0))))
    colour = ScalarMappable(Normalize(low, high), cmap)
    with styled():
        if ax is None:
            longest = max((len(shorten(name)) for name in titles), default=0)
            side = min(max(0.42 * n, 2.2), 8.0)
            edge = 0.062 * longest
            if figure is None:
                figure = new_figure(side + edge + 1.1, side + 0.75 * edge + 0.5)
            ax = panel_grid(figure, 1, 1)[0, 0]
        assert ax is not None
        ax.set_facecolor("#d9d9d9")
        ax.imshow(matrix, cmap=cmap, vmin=low, vmax=high, interpolation="nearest")
        _name(ax, titles)
        if n <= MAX_WRITTEN:
            _write_values(ax, matrix, colour)
        if title:
            ax.set_title(shorten(title, 60), pad=8)
        owner: Any = figure if figure is not None else ax.figure
        bar = owner.colorbar(colour, ax=ax, shrink=0.8, aspect=20, pad=0.03)
        bar.set_label(_measured_by(method))
        bar.outline.set_visible(False)
    return owner


def plot_second_order_mds(
    rdms: Mapping[str, ArrayLike] | Sequence[ArrayLike] | np.ndarray,
    names: Sequence[str] | None = None,
    *,
    method: str = "spearman",
    mds: str = "metric",
    seed: int = 0,
    title: str | None = None,
    ax: Axes | None = None,
    figure: Figure | SubFigure | None = None,
) -> Figure | SubFigure:
    """Draw representations as points that lie the nearer the more alike their RDMs are.

    Lines connect all of them, the wider and darker the more alike two are: what the plane distorts
    can be read off them.

    Parameters
    ----------
    rdms, names, method, title, ax, figure
        As in `plot_second_order`.
    mds : {"metric", "classical"}
        See `arrange_stimuli`.
    seed : int

    Returns
    -------
    Figure
        Or the SubFigure that was given, or the figure of `ax`.

    Examples
    --------
    >>> plot_second_order_mds({"AlexNet": first, "VGG": second, "ViT": third})  # doctest: +SKIP
    """
    matrix, titles = _matrix(rdms, names, method)
    if len(matrix) < 2:
        raise ValueError("plot_second_order_mds: expected 2 or more RDMs, got 1.")
    return plot_mds(
        matrix,
        titles,
        lines=True,
        lines_label=_measured_by(method),
        method=mds,
        seed=seed,
        names=None if title is None else [title],
        ax=ax,
        figure=figure,
    )


def _matrix(rdms: Any, names: Sequence[str] | None, method: str) -> tuple[np.ndarray, list[str]]:
    """The second-order RDM of a stack, or one that is given; and the names."""
    from isomorph.geometry import second_order_rdm

    given = None if isinstance(rdms, Mapping) else np.asarray(rdms, dtype=float)
    if given is not None and given.ndim == 2 and given.shape[0] == given.shape[1]:
        if not np.allclose(given.diagonal(), 0, atol=1e-6):
            raise ValueError(
                "plot_second_order: expected a second-order RDM with a zero diagonal, or a stack "
                f"of RDMs, got shape {given.shape} with other values on its diagonal."
            )
        matrix = given
        titles = [str(i) for i in range(len(given))] if names is None else [str(n) for n in names]
    else:
        stack, titles = named_stack(rdms, names)
        matrix = second_order_rdm(stack, method)
        titles = [name or str(i) for i, name in enumerate(titles)]
    if len(titles) != len(matrix):
        raise ValueError(f"names: expected one for each of {len(matrix)} RDMs, got {len(titles)}.")
    return matrix, titles


def _measured_by(method: str) -> str:
    names = {
        "pearson": "1 − Pearson r",
        "spearman": "1 − Spearman ρ",
        "kendall": "1 − Kendall τ-b",
        "tau_a": "1 − Kendall τ-a",
        "rho_a": "1 − ρ-a",
        "riemannian": "Riemannian distance",
    }
    return names.get(method, f"1 − {method.replace('_', ' ')}")


def _name(ax: Axes, titles: Sequence[str]) -> None:
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0, pad=3)
    if len(titles) > MAX_NAMES:
        ax.set_xticks([])
        ax.set_yticks([])
        return
    size = 8 if len(titles) <= 16 else 6.5 if len(titles) <= 30 else 5
    texts = [shorten(name) for name in titles]
    # Inches that a name and a cell take, about: what fits need not be turned.
    short = max(map(len, texts), default=0) * size * 0.65 / 72 < 0.95 * min(0.42, 8 / len(texts))
    ax.set_yticks(range(len(texts)), texts, fontsize=size)
    turned: dict[str, Any] = {}
    if not short:
        steep = len(texts) > 30
        turned = {
            "rotation": 90 if steep else 40,
            "ha": "right",
            "va": "center" if steep else "top",
        }
    ax.set_xticks(range(len(texts)), texts, fontsize=size, rotation_mode="anchor", **turned)


def _write_values(ax: Axes, matrix: np.ndarray, colour: ScalarMappable) -> None:
    size = 8 if len(matrix) <= 8 else 6
    for i in range(len(matrix)):
        for j in range(len(matrix)):
            if i == j or not np.isfinite(matrix[i, j]):
                continue
            red, green, blue, _ = colormaps[str(colour.cmap.name)](colour.norm(matrix[i, j]))
            bright = 0.3 * red + 0.59 * green + 0.11 * blue > 0.5
            text = f"{matrix[i, j]:.2f}".replace("0.", ".", 1) if matrix[i, j] < 1 else None
            ax.text(
                j,
                i,
                text or f"{matrix[i, j]:.2f}",
                ha="center",
                va="center",
                fontsize=size,
                color=INK if bright else "white",
            )
