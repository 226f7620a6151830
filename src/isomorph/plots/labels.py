"""Names written beside points so that they cover neither each other nor the panel's edge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

from isomorph.plots.style import root_figure

# Offsets in points, the preferred first: above, below, to the sides, then farther out.
_OFFSETS = [
    (dx * reach, dy * reach)
    for reach in (8, 13, 20, 30, 42, 56)
    for dx, dy in ((0, 1), (0, -1), (1, 0.6), (-1, 0.6), (1, -0.6), (-1, -0.6), (2.5, 0), (-2.5, 0))
]


@dataclass(frozen=True)
class PointLabel:
    """A name for a point of a panel (data coordinates)."""

    x: float
    y: float
    text: str
    colour: str


def place_labels(
    figure: Figure | SubFigure, labels: Mapping[Axes, Sequence[PointLabel]], *, size: float = 7.5
) -> None:
    """Write names beside their points, each where it covers least.

    Places ever farther from the point are tried; the one that lies in the panel and covers the
    least of other labels, marked points and curves is taken. A thin line leads to a name that had
    to go far.

    Parameters
    ----------
    figure : Figure or SubFigure
        The figure, drawn but for the names, its limits final.
    labels : mapping of Axes to sequence of PointLabel
        The names of each panel.
    size : float
        Type size in points.
    """
    if not any(labels.values()):
        return
    root = root_figure(figure)
    root.draw_without_rendering()  # the layout decides where the panels lie
    for axes, points in labels.items():
        if points:
            _label_panel(axes, points, size, root.dpi / 72)


def _label_panel(axes: Axes, labels: Sequence[PointLabel], size: float, per_point: float) -> None:
    panel = axes.get_window_extent()
    marks = axes.transData.transform([(label.x, label.y) for label in labels])
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8).padded(per_point) for x, y in marks]
    curves = _curve_points(axes, panel)
    for label, mark in zip(labels, marks, strict=True):
        text = axes.annotate(
            label.text,
            (label.x, label.y),
            xytext=(0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=size,
            color=label.colour,
            path_effects=[withStroke(linewidth=2.2, foreground="white")],
            zorder=6,
            annotation_clip=False,
        )
        text.set_in_layout(False)
        box = text.get_window_extent()
        offset = _best_offset(mark, box.width, box.height, per_point, panel, taken, curves)
        text.set_position((offset[0] / per_point, offset[1] / per_point))
        taken.append(_box(mark, offset, box.width, box.height).padded(per_point))
        if abs(offset[1]) > 22 * per_point:
            end = axes.transData.inverted().transform(mark + offset * 0.8)
            axes.plot(
                [label.x, end[0]], [label.y, end[1]], color=label.colour, lw=0.5, label="_lead"
            )


def _best_offset(
    mark: np.ndarray,
    width: float,
    height: float,
    per_point: float,
    panel: Bbox,
    taken: Sequence[Bbox],
    curves: np.ndarray,
) -> np.ndarray:
    best, least = np.zeros(2), np.inf
    for dx, dy in _OFFSETS:
        offset = np.array([dx, dy]) * per_point
        offset += np.sign([dx, dy]) * np.array([width / 2 if dx else 0, height / 4])
        offset[0] += _pull_inside(mark[0] + offset[0], width, panel)
        box = _box(mark, offset, width, height)
        covered = sum(_overlap(box, other) for other in taken) * 50
        covered += (box.height * box.width - _overlap(box, panel)) * 20
        inside = (curves >= (box.x0, box.y0)).all(axis=1) & (curves <= (box.x1, box.y1)).all(axis=1)
        covered += inside.sum() * 10 * per_point + np.hypot(*offset)
        if covered < least:
            best, least = offset, covered
    return best


def _pull_inside(centre: float, width: float, panel: Bbox) -> float:
    return max(panel.x0 - (centre - width / 2), 0) - max(centre + width / 2 - panel.x1, 0)


def _box(mark: np.ndarray, offset: np.ndarray, width: float, height: float) -> Bbox:
    centre = mark + offset
    return Bbox.from_bounds(centre[0] - width / 2, centre[1] - height / 2, width, height)


def _overlap(first: Bbox, second: Bbox) -> float:
    width = min(first.x1, second.x1) - max(first.x0, second.x0)
    height = min(first.y1, second.y1) - max(first.y0, second.y0)
    return max(width, 0.0) * max(height, 0.0)


def _curve_points(axes: Axes, panel: Bbox) -> np.ndarray:
    """Give points along the panel's main curves, in pixels, a few pixels apart."""
    points = [np.empty((0, 2))]
    for line in axes.get_lines():
        data = np.asarray(line.get_xydata(), dtype=float)
        if line.get_linewidth() < 1 or line.get_transform() != axes.transData:
            continue
        pixels = axes.transData.transform(data)
        pixels = pixels[np.isfinite(pixels).all(axis=1)]
        if len(pixels) < 2:
            points.append(pixels)
            continue
        along = np.linspace(0, len(pixels) - 1, max(int(panel.width / 4), 2))
        knots = np.arange(len(pixels))
        sampled = [np.interp(along, knots, pixels[:, k]) for k in (0, 1)]
        points.append(np.column_stack(sampled))
    return np.concatenate(points)
