"""Names of layers along an axis, no two on top of each other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from isomorph.plots.style import root_figure, shorten

ANGLE = 38  # degrees
NAME_ALL = 16  # up to so many layers are all named where there is room
NAME_SOME = 7  # of more layers, about so many


def name_layers(ax: Axes, layers: pd.DataFrame) -> None:
    """Name the layers below a panel: all of up to 16, or else some, spread over the axis.

    Parameters
    ----------
    ax : Axes
        The panel.
    layers : DataFrame
        With the columns ``model_layer`` and ``x``, where the layer is drawn; rows may repeat.
    """
    layers = layers.drop_duplicates("model_layer").sort_values("x")
    x, names = layers["x"].to_numpy(dtype=float), layers["model_layer"].astype(str).tolist()
    picks = range(len(names)) if len(names) <= NAME_ALL else _spread(x, names)
    _set_names(ax, [x[i] for i in picks], [shorten(names[i], 22) for i in picks])


def thin_names(figure: Figure | SubFigure, panels: Iterable[Axes]) -> None:
    """Take away names that would lie on others, by where they are drawn.

    The first and the last layer keep theirs, then modules before what they contain.

    Parameters
    ----------
    figure : Figure or SubFigure
        The figure, drawn but for the final layout.
    panels : iterable of Axes
        The panels with names from `name_layers`.
    """
    root = root_figure(figure)
    root.draw_without_rendering()  # the layout decides how far apart the layers lie
    for ax in panels:
        ticks = ax.get_xticks()
        labels = ax.get_xticklabels()
        names = [label.get_text() for label in labels]
        # Parallel lines of slanted type touch when they are nearer than a line's height.
        line = 1.25 * max(float(label.get_fontsize()) for label in labels) * root.dpi / 72
        pixels = ax.transData.transform([(tick, 0) for tick in ticks])[:, 0]
        kept = apart(pixels, names, line / math.sin(math.radians(ANGLE)))
        _set_names(ax, [ticks[i] for i in kept], [names[i] for i in kept])


def apart(positions: np.ndarray, names: Sequence[str], gap: float) -> list[int]:
    """Choose names at least `gap` apart: the ends first, then names with the fewest dots.

    Parameters
    ----------
    positions : array (n_names,)
        Ascending.
    names : sequence of str
        (n_names,)
    gap : float
        In the unit of the positions.

    Returns
    -------
    list of int
        Positions in the sequence, ascending.

    Examples
    --------
    >>> apart(np.array([0.0, 1.0, 1.2, 3.0]), ["a", "b", "c", "d"], 1.0)
    [0, 1, 3]
    """
    ends = (0, len(names) - 1)
    kept: list[int] = []
    for i in sorted(range(len(names)), key=lambda i: (i not in ends, names[i].count("."), i)):
        if all(abs(positions[i] - positions[k]) >= gap for k in kept):
            kept.append(i)
    return sorted(kept)


def _spread(x: np.ndarray, names: Sequence[str]) -> list[int]:
    """Pick layers about evenly spread, the shorter names of each neighbourhood."""
    aims = np.linspace(x[0], x[-1], NAME_SOME)
    reach = 0.42 * (aims[1] - aims[0])
    picks: set[int] = set()
    for aim in aims:
        distance = np.abs(x - aim)
        near = np.flatnonzero(distance <= reach).tolist() or [int(distance.argmin())]
        picks.add(min(near, key=lambda i: (names[i].count("."), len(names[i]))))
    return sorted(picks)


def _set_names(ax: Axes, x: Sequence[float], names: Sequence[str]) -> None:
    ax.set_xticks(x, names, rotation=ANGLE, ha="right", rotation_mode="anchor")
