"""The chosen layers' scores at a glance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from isomorph.plots.curves import individuals, prepare
from isomorph.plots.layout import metric_title
from isomorph.plots.style import (
    GREY,
    INK,
    colours,
    name_figure,
    new_figure,
    outside_legend,
    panel_grid,
    short_model,
    shorten,
    styled,
)
from isomorph.results import select_layers


def plot_best(
    results: pd.DataFrame,
    *,
    models: Sequence[str] | str | None = None,
    metrics: Sequence[str] | str | None = None,
    regions: Sequence[str] | str | None = None,
    figure: Figure | SubFigure | None = None,
) -> Figure | SubFigure:
    """Plot the score of the chosen layer for each region, one panel a metric.

    Small dots are subjects, each with the layer chosen for it (see `select_layers`), large dots
    their mean (without ``group``), pale bars the noise ceiling, from its lower to its upper bound,
    averaged over subjects. Hollow dots were chosen in sample.

    Parameters
    ----------
    results : DataFrame
        A results table, or the table of chosen layers that `select_layers` gives.
    models, metrics, regions : str or sequence of str, optional
        What to show, in that order; everything by default.
    figure : Figure or SubFigure, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Figure
        Or the SubFigure that was given.

    Examples
    --------
    >>> plot_best(results).savefig("best.png")  # doctest: +SKIP
    """
    prepare(results, models=models, metrics=metrics, regions=regions)  # errors, before any work
    chosen = results if "selection_score" in results.columns else select_layers(results)
    chosen = chosen.loc[chosen["model_layer_index"].notna()]
    frame = prepare(chosen, models=models, metrics=metrics, regions=regions)
    names = {column: frame[column].cat.categories.tolist() for column in ("model_uid", "area")}
    names["metric"] = frame["metric"].cat.categories.tolist()
    palette = colours(names["model_uid"])
    with styled():
        if figure is None:
            lanes = len(names["area"]) * (0.22 + 0.14 * len(palette))
            figure = new_figure(max(3.0 * len(names["metric"]) + 0.8, 4.6), lanes + 1.6)
        axes = panel_grid(figure, 1, len(names["metric"]), sharey=True)[0]
        for ax, metric in zip(axes, names["metric"], strict=True):
            _draw(ax, frame[frame["metric"] == metric], names["area"], palette)
            ax.set_title(metric_title(frame, metric), loc="left")
            ax.set_xlabel("score of the chosen layer")
        _key(figure, frame, palette)
        name_figure(figure, names["model_uid"], frame["benchmark"].unique().tolist())
    return figure


def _draw(ax: Axes, frame: pd.DataFrame, areas: Sequence[str], palette: dict[str, str]) -> None:
    step = 0.7 / len(palette)
    for row, area in enumerate(areas):
        people = individuals(frame[frame["area"] == area])
        _draw_ceiling(ax, people, row)
        for k, (model, colour) in enumerate(palette.items()):
            some = people[people["model_uid"] == model]
            if some.empty:
                continue
            height = row + (k - (len(palette) - 1) / 2) * step
            in_sample = "selection" in some and (some["selection"] == "in_sample").all()
            if len(some) > 1:
                ax.plot(
                    some["score"],
                    np.full(len(some), height),
                    "o",
                    ms=3.2,
                    mfc=colour,
                    mec="none",
                    alpha=0.4,
                    label="subject",
                )
            ax.plot(
                [some["score"].mean()],
                [height],
                "o",
                ms=7,
                mfc="white" if in_sample else colour,
                mec=colour if in_sample else "white",
                mew=1.4 if in_sample else 0.9,
                zorder=4,
                label=model,
            )
    ax.set_yticks(range(len(areas)), [shorten(area, 26) for area in areas])
    ax.set_ylim(len(areas) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    low, high = ax.get_xlim()
    ax.set_xlim(min(low, 0), high)
    if low < 0:
        ax.axvline(0, color=GREY, lw=0.5, zorder=0)
    for row in range(len(areas)):
        ax.axhline(row, color="#ececec", lw=0.6, zorder=0)


def _draw_ceiling(ax: Axes, people: pd.DataFrame, row: int) -> None:
    if not {"ceiling_lower", "ceiling_upper"} <= set(people.columns):
        return
    lower, upper = people["ceiling_lower"].mean(), people["ceiling_upper"].mean()
    if np.isfinite([lower, upper]).all():
        bar = Rectangle((lower, row - 0.4), upper - lower, 0.8, color=GREY, alpha=0.2, lw=0)
        ax.add_patch(bar)
        ax.update_datalim([(lower, row), (upper, row)])
        ax.autoscale_view(scaley=False)


def _key(figure: Figure | SubFigure, frame: pd.DataFrame, palette: dict[str, str]) -> None:
    handles: list[Artist] = [
        Line2D([], [], color=colour, marker="o", ls="", ms=6, label=shorten(short_model(uid), 40))
        for uid, colour in palette.items()
    ]
    if any(line.get_label() == "subject" for ax in figure.axes for line in ax.get_lines()):
        handles.append(
            Line2D([], [], color=INK, marker="o", ls="", ms=3, alpha=0.5, label="single subject")
        )
    if "selection" in frame and (frame["selection"] == "in_sample").any():
        hollow = {"mfc": "white", "mec": INK, "mew": 1.2}
        handles.append(Line2D([], [], marker="o", ls="", ms=6, label="chosen in sample", **hollow))
    if any(ax.patches for ax in figure.axes):
        handles.append(Patch(color=GREY, alpha=0.25, lw=0, label="noise ceiling"))
    outside_legend(figure, handles)
