"""A statistic of the layers against their scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter, LogLocator, NullFormatter

from isomorph.plots.curves import SERIES, individuals, prepare, shown_splits, spearman
from isomorph.plots.style import (
    INK,
    colours,
    hide,
    name_figure,
    new_figure,
    outside_legend,
    panel_grid,
    short_model,
    shorten,
    styled,
)
from isomorph.registry import UnknownNameError, unknown_name
from isomorph.results import check_results, statistic_columns

MARKERS = "os^Dv"
SPLIT_NAMES = {"folds": "mean of folds", "all": "all stimuli"}
LOG_RANGE = 20  # a statistic whose largest value is more than this times its smallest


def plot_statistic(
    results: pd.DataFrame,
    statistic: str = "effective_dimensionality",
    *,
    models: Sequence[str] | str | None = None,
    metrics: Sequence[str] | str | None = None,
    regions: Sequence[str] | str | None = None,
    cv_split: str | None = None,
    colour: Literal["depth", "region"] | None = None,
    normalised: bool = False,
    figure: Figure | SubFigure | None = None,
) -> Figure | SubFigure:
    """Plot a statistic of each layer against its score, one panel a metric.

    A point is a layer of a model, its score averaged over subjects (without ``group``). Spearman's
    rank correlation over the points is written in the panel, for each region. It describes; it
    comes without a p value, since the layers of a model are no independent sample.

    Parameters
    ----------
    results : DataFrame
        A results table made with ``stats=``.
    statistic : str
        The statistic's column. Its axis is logarithmic if its values are positive and the largest
        is more than 20 times the smallest.
    models, metrics, regions : str or sequence of str, optional
        What to show; everything by default. Models get different markers (up to five).
    cv_split : str, optional
        The split whose scores are drawn: test by default (or the mean of the folds, or all).
    colour : {"depth", "region"}, optional
        What the colour of a point shows; the depth by default, or the region if there are several.
        By depth, regions are rows.
    normalised : bool
        Draw ``score_normalised``: score over noise ceiling.
    figure : Figure or SubFigure, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Figure
        Or the SubFigure that was given.

    Raises
    ------
    ValueError
        If the table lacks columns, or has no row to draw.
    KeyError
        If the statistic, or a name to show, is not in the table.

    Examples
    --------
    >>> plot_statistic(results, "effective_dimensionality")  # doctest: +SKIP
    """
    check_results(results)
    _check_statistic(results, statistic)
    if colour not in (None, "depth", "region"):
        raise ValueError(f"colour: expected 'depth' or 'region', got {colour!r}.")
    value = "score_normalised" if normalised else "score"
    frame = prepare(results, models=models, metrics=metrics, regions=regions, value=value)
    points = _points(frame, statistic, value, cv_split)
    areas = points["area"].cat.categories.tolist()
    by_region = colour == "region" or (colour is None and len(areas) > 1)
    columns = points["metric"].cat.categories.tolist()
    rows = [areas] if by_region else [[area] for area in areas]
    palette = colours(areas) if by_region else {}
    with styled():
        if figure is None:
            height = 3.5 if len(rows) == 1 else 2.2 * len(rows) + 0.8
            figure = new_figure(max(3.4 * len(columns), 5.0), height)
        axes = panel_grid(figure, len(rows), len(columns), sharex=True, sharey="col")
        for (row, column), ax in np.ndenumerate(axes):
            shown = points[(points["metric"] == columns[column]) & points["area"].isin(rows[row])]
            split = _main_split(points[points["area"].isin(rows[row])])
            _draw_points(ax, shown, statistic, value, palette, split)
            if row == 0:
                ax.set_title(shorten(columns[column], 34), loc="left")
            if row == len(rows) - 1:
                ax.set_xlabel(statistic.replace("_", " "))
            if column == 0:
                label = f"score, {SPLIT_NAMES[split]}" if split in SPLIT_NAMES else f"{split} score"
                label += " / noise ceiling" if normalised else ""
                prefix = f"{shorten(rows[row][0], 26)}\n" if len(rows) > 1 else ""
                ax.set_ylabel(prefix + label)
            if shown.empty:
                hide(ax)
        _scale(axes, points[statistic].to_numpy(dtype=float))
        _key(figure, axes, points, palette)
        models_shown = points["model_uid"].cat.categories.tolist()
        name_figure(figure, models_shown, frame["benchmark"].unique().tolist())
    return figure


def _check_statistic(results: pd.DataFrame, statistic: str) -> None:
    known = statistic_columns(results)
    if not known:
        raise UnknownNameError(
            f"unknown statistic {statistic!r}: the table has no statistics. Pass stats= to score, "
            f"for example stats=['effective_dimensionality']."
        )
    if statistic not in known:
        hint = "Statistics are computed by score(..., stats=[...])."
        raise unknown_name("statistic", statistic, known, hint)


def _points(frame: pd.DataFrame, statistic: str, value: str, cv_split: str | None) -> pd.DataFrame:
    """Average one split over subjects: a row a model, layer, metric and region."""
    present = frame["cv_split"].unique().tolist()
    if cv_split is not None and cv_split not in present:
        raise unknown_name("cv_split", cv_split, present)
    kept = []
    for _, series in frame.groupby(SERIES, observed=True):
        splits = shown_splits(series, cv_split)
        kept.append(series[series["cv_split"].isin(splits[:1])])
    people = individuals(pd.concat(kept))
    keys = [*SERIES, "cv_split", "model_layer", "model_layer_index", "depth"]
    means = people.groupby(keys, observed=True)[[statistic, value]].mean().reset_index().dropna()
    means = means.sort_values("model_layer_index", kind="stable")
    if means.empty:
        raise ValueError(
            f"results: no layer has both {statistic} and {value}, so there is nothing to draw. "
            f"Score with stats=[{statistic!r}]."
        )
    for name in SERIES:
        means[name] = means[name].cat.remove_unused_categories()
    return means


def _main_split(points: pd.DataFrame) -> str:
    """Give the split that the axis is named after; scores of another say so beside their ρ."""
    splits = points["cv_split"].unique().tolist()
    return "test" if "test" in splits else str(splits[0])


def _draw_points(
    ax: Axes, points: pd.DataFrame, statistic: str, value: str, palette: dict[str, str], split: str
) -> None:
    models = points["model_uid"].cat.categories.tolist()
    lines: list[tuple[str, str]] = []
    for area, of_area in points.groupby("area", observed=True):
        for k, model in enumerate(models):
            some = of_area[of_area["model_uid"] == model]
            fill: dict[str, Any] = (
                {"color": palette[str(area)]}
                if palette
                else {"c": some["depth"], "cmap": "viridis", "vmin": 0, "vmax": 1}
            )
            ax.scatter(
                some[statistic],
                some[value],
                s=22,
                marker=MARKERS[k % len(MARKERS)],
                alpha=0.8,
                linewidths=0.4,
                edgecolors="white",
                **fill,
            )
        rho = spearman(of_area[statistic].to_numpy(float), of_area[value].to_numpy(float))
        told = "undefined" if math.isnan(rho) else f"{round(rho, 2) + 0:.2f}"
        told = told.replace("0.", ".", 1).replace("-", "−")
        others = [str(name) for name in of_area["cv_split"].unique() if name != split]
        remarks = [f"n {len(of_area)}", *(SPLIT_NAMES.get(other, other) for other in others)]
        name = f"{shorten(str(area), 24)}  " if palette else ""
        lines.append((f"{name}ρ {told}  ({', '.join(remarks)})", palette.get(str(area), INK)))
    # Above the panel's points, in its own strip, so that it covers none of them.
    if len(lines) > 8:
        lines = [*lines[:7], (f"and {len(lines) - 7} more", INK)]
    low, high = (points[value].min(), points[value].max()) if len(points) else (0.0, 1.0)
    room = 0.09 * len(lines) + 0.04
    spread = (high - low) or 0.2 * abs(high) or 1.0
    top = low + spread / (1 - room) * 1.05
    ax.set_ylim(min(low - 0.06 * spread, ax.get_ylim()[0]), max(top, ax.get_ylim()[1]))
    for k, (text, shade) in enumerate(lines):
        ax.text(
            0.02, 0.99 - 0.085 * k, text, color=shade, fontsize=8, va="top", transform=ax.transAxes
        )


def _scale(axes: np.ndarray, values: np.ndarray) -> None:
    if values.min() <= 0 or values.max() < LOG_RANGE * values.min():
        return
    for ax in axes.ravel():
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5), numticks=12))
        ax.xaxis.set_major_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(9, 9)))
        ax.xaxis.set_minor_formatter(NullFormatter())


def _key(
    figure: Figure | SubFigure, axes: np.ndarray, points: pd.DataFrame, palette: dict[str, str]
) -> None:
    models = points["model_uid"].cat.categories.tolist()
    handles = [
        Line2D([], [], color=shade, marker="o", ls="", ms=5, label=shorten(area, 34))
        for area, shade in palette.items()
    ]
    if len(models) > 1:
        handles += [
            Line2D(
                [],
                [],
                color=INK,
                marker=MARKERS[k % len(MARKERS)],
                ls="",
                ms=5,
                label=shorten(short_model(model), 34),
            )
            for k, model in enumerate(models)
        ]
    outside_legend(figure, handles)
    if not palette:
        depth = ScalarMappable(Normalize(0, 1), matplotlib.colormaps["viridis"])
        bar = figure.colorbar(depth, ax=axes, shrink=0.8, aspect=25, pad=0.02)
        bar.set_label("relative depth of the layer")
        bar.set_ticks([0, 0.5, 1], labels=["0", ".5", "1"])
        bar.outline.set_visible(False)
