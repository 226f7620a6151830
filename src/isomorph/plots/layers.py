"""Score over layers: where in a model does it look like this region?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import blended_transform_factory

from isomorph.plots.curves import best_layers, individuals, mean_curve, prepare, shown_splits
from isomorph.plots.labels import PointLabel, place_labels
from isomorph.plots.layout import Layout, metric_title, top_areas
from isomorph.plots.style import (
    GREY,
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
from isomorph.plots.ticks import name_layers, thin_names
from isomorph.registry import unknown_name

LINES = {"train": (0, (3.5, 2)), "all": (0, (6, 1.5, 1, 1.5))}  # everything else is solid
SPLIT_NAMES = {"all": "all stimuli (in sample)", "folds": "mean of folds"}
MAX_LINES = 8  # of more subjects the spread is drawn
CEILINGS = ("ceiling", "ceiling_lower", "ceiling_upper")


def plot_layers(
    results: pd.DataFrame,
    *,
    models: Sequence[str] | str | None = None,
    metrics: Sequence[str] | str | None = None,
    regions: Sequence[str] | str | None = None,
    cv_split: str | Sequence[str] | None = None,
    true_layers: Mapping[str, str] | None = None,
    by: Literal["depth", "index"] = "depth",
    normalised: bool = False,
    top: int | None = None,
    subjects: bool = True,
    figure: Figure | SubFigure | None = None,
) -> Figure | SubFigure:
    """Plot scores over the layers of one or several models.

    One model and up to four regions: a panel a metric, a colour a region. One model and more
    regions: a panel a region, a colour a metric. Several models: a column a metric, a row a region,
    a colour a model. Thick lines are means over subjects (without ``group``), thin ones subjects;
    of more than 8 subjects a band shows the mean ± one standard deviation. Solid is the test split,
    dashed the train split. Straight pale bands are noise ceilings, lower to upper bound, averaged
    over subjects. A dot marks the layer with the best mean score in the train split (on folds or
    all stimuli where there is no train split) at its score in the main one: the highest, or the
    lowest of a distance, which is named so. It is hollow where it was chosen in sample.

    Parameters
    ----------
    results : DataFrame
        A results table.
    models, metrics, regions : str or sequence of str, optional
        What to show, in that order; everything by default.
    cv_split : str or sequence of str, optional
        The splits to show, the main one first. By default test (or the mean of the folds, or all)
        and train.
    true_layers : mapping of str to str, optional
        Region to the layer that its responses were made from (a simulated brain): drawn as a
        dotted vertical line. A region without one is left out of the mapping.
    by : {"depth", "index"}
        The x axis: the layer's rank in call order among the model's layers in the table, from 0 to
        1 in equal steps, or its index.
    normalised : bool
        Draw ``score_normalised``: score over noise ceiling.
    top : int, optional
        Show only the regions with the highest scores. By default all, up to 6 rows or 20 panels.
    subjects : bool
        Whether to draw a thin line for each subject, or the band.
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
        If a model, metric, region, split or true layer is not in the table.

    Examples
    --------
    >>> plot_layers(results, metrics=["cRSA", "eReg"]).savefig("layers.png")  # doctest: +SKIP
    """
    if by not in ("depth", "index"):
        raise ValueError(f"by: expected 'depth' or 'index', got {by!r}.")
    value = "score_normalised" if normalised else "score"
    frame = prepare(results, models=models, metrics=metrics, regions=regions, value=value)
    _check_splits(frame, cv_split)
    true_layers = dict(true_layers or {})
    _check_true_layers(results, true_layers)
    frame = frame.assign(x=frame["depth"] if by == "depth" else frame["model_layer_index"])
    frame, left_out = top_areas(frame, value, top)
    layout = Layout.of(frame)
    look = _Look(value, layout.colour_by, colours(layout.coloured), cv_split, subjects, true_layers)
    best = best_layers(frame, value)
    with styled():
        if figure is None:
            figure = new_figure(*layout.size)
        axes = panel_grid(figure, layout.n_rows, layout.n_columns, sharey=layout.share)
        labels = {}
        for position, panel in enumerate(layout.panels):
            ax = axes[divmod(position, layout.n_columns)]
            labels[ax] = _draw_panel(ax, layout.rows_of(frame, panel), look, best)
            _dress(ax, frame, layout, panel, position, by, value)
        for ax in labels:
            _from_zero(ax)
        for position in range(len(layout.panels), axes.size):
            hide(axes[divmod(position, layout.n_columns)])
        _legend(figure, frame, layout, look, left_out)
        if frame["model_uid"].nunique() == 1 and not layout.wrapped:
            thin_names(figure, labels)
        place_labels(figure, labels, size=6.5 if layout.wrapped else 7.5)
    return figure


@dataclass(frozen=True)
class _Look:
    """How the series of all panels are drawn."""

    value: str
    colour_by: str
    colours: dict[str, str]
    cv_split: str | Sequence[str] | None
    subjects: bool
    true_layers: dict[str, str]


def _draw_panel(
    ax: Axes,
    frame: pd.DataFrame,
    look: _Look,
    best: Mapping[tuple[str, str, str], tuple[str, str]],
) -> list[PointLabel]:
    labels: list[PointLabel] = []
    true_layers: list[tuple[float, str, str]] = []
    for key, rows in frame.groupby(["model_uid", "metric", "area"], observed=True):
        model, metric, area = map(str, key)
        series = {"model_uid": model, "metric": metric, "area": area}
        colour = look.colours[series[look.colour_by]]
        splits = shown_splits(rows, look.cv_split)
        for split in reversed(splits):
            _draw_split(
                ax, rows[rows["cv_split"] == split], split, split == splits[0], colour, look
            )
        if not splits:
            continue
        main = individuals(rows[rows["cv_split"] == splits[0]])
        curve = mean_curve(main, ["x", look.value])
        layer, chosen_on = best.get((model, metric, area), (None, None))
        at = curve[curve["model_layer"] == layer]
        if len(at):
            x, y = float(at["x"].iloc[0]), float(at[look.value].iloc[0])
            # Where a layer is shown on the split it was chosen on, its score is a maximum.
            in_sample = chosen_on == splits[0] or _all_in_sample(main)
            _draw_best(ax, x, y, colour, hollow=in_sample)
            labels.append(PointLabel(x, y, shorten(str(layer), 32), colour))
        true = look.true_layers.get(str(rows["region"].iloc[0]))
        where = rows.loc[rows["model_layer"] == true, "x"]
        if len(where):
            shade = colour if look.colour_by == "area" else GREY
            true_layers.append((float(where.iloc[0]), str(true), shade))
    _draw_true_layers(ax, true_layers)
    return labels if len(look.colours) <= 6 else []


def _all_in_sample(rows: pd.DataFrame) -> bool:
    return "selection" in rows and bool((rows["selection"] == "in_sample").all())


def _draw_best(ax: Axes, x: float, y: float, colour: str, *, hollow: bool) -> None:
    look = (
        {"mfc": "white", "mec": colour, "mew": 1.4, "label": "best in sample"}
        if hollow
        else {"mfc": colour, "mec": "white", "mew": 0.9, "label": "best"}
    )
    ax.plot([x], [y], "o", ms=5.5, zorder=5, **look)


def _draw_split(
    ax: Axes, rows: pd.DataFrame, split: str, main: bool, colour: str, look: _Look
) -> None:
    people = individuals(rows)
    curve = mean_curve(people, ["x", look.value])
    style = LINES.get(split, "-")
    marker = "o" if len(curve) <= 15 else None
    n_subjects = people["subj_id"].nunique() if main and look.subjects else 0
    if n_subjects > MAX_LINES:
        _draw_spread(ax, people, look.value, colour)
    elif n_subjects > 1:
        for _, one in people.groupby("subj_id"):
            ax.plot(
                one["x"],
                one[look.value],
                ls=style,
                color=colour,
                lw=0.6,
                alpha=0.3,
                zorder=2,
                label="subject",
            )
    ax.plot(
        curve["x"],
        curve[look.value],
        ls=style,
        color=colour,
        lw=1.9 if main else 1.1,
        alpha=1 if main else 0.75,
        marker=marker,
        ms=3,
        mfc=colour if main else "white",
        zorder=4 if main else 3,
        label=split,
    )
    if main:
        # A ceiling is the brain's, not the model's: with a colour a model it is grey, drawn once.
        shared = look.colour_by == "model_uid"
        if not shared or not any(line.get_label() == "ceiling" for line in ax.get_lines()):
            shade = GREY if shared else colour
            _draw_ceiling(ax, people, shade, normalised=look.value != "score")


def _draw_spread(ax: Axes, people: pd.DataFrame, value: str, colour: str) -> None:
    spread = people.groupby("x")[value].agg(["mean", "std"])
    x, mean, sd = spread.index.to_numpy(float), *spread.to_numpy(float).T
    ax.fill_between(x, mean - sd, mean + sd, color=colour, alpha=0.16, lw=0, label="spread")
    for edge in (mean - sd, mean + sd):
        ax.plot(x, edge, lw=0.5, alpha=0.5, label="spread edge", color=colour)


def _draw_ceiling(ax: Axes, people: pd.DataFrame, colour: str, *, normalised: bool) -> None:
    if normalised:
        ax.axhline(1, color=GREY, lw=0.8, ls="-", zorder=1, label="ceiling")
        return
    if not set(CEILINGS) <= set(people.columns):
        return
    value, lower, upper = (float(people[name].mean()) for name in CEILINGS)
    if np.isfinite([lower, upper]).all():
        ax.axhspan(lower, upper, color=colour, alpha=0.11, lw=0, zorder=0, label="ceiling band")
    if np.isfinite(value):
        ax.axhline(value, color=colour, lw=0.7, alpha=0.6, zorder=0, label="ceiling")


def _draw_true_layers(ax: Axes, marks: Sequence[tuple[float, str, str]]) -> None:
    above = blended_transform_factory(ax.transData, ax.transAxes)
    for x, name, colour in dict.fromkeys(marks):
        ax.axvline(x, color=colour, lw=1.1, ls=":", zorder=1, label="true layer")
        text = f"true: {shorten(name, 22)}"
        ax.text(x, 1.01, text, color=colour, rotation=28, fontsize=7, transform=above)


def _dress(
    ax: Axes,
    frame: pd.DataFrame,
    layout: Layout,
    panel: Mapping[str, str],
    position: int,
    by: str,
    value: str,
) -> None:
    row, column = divmod(position, layout.n_columns)
    lowest = position + layout.n_columns >= len(layout.panels)
    marked = any(line.get_label() == "true layer" for line in ax.get_lines())
    title = None
    if "metric" in panel and (row == 0 or layout.wrapped):
        title = metric_title(frame, panel["metric"])
    elif layout.wrapped:
        title = shorten(panel.get("area", ""), 34)
    if title:
        size = 8.5 if layout.share == "none" else rcParams["axes.titlesize"]
        ax.set_title(title, loc="left", pad=32 if marked else 6, fontsize=size)
    ax.margins(x=0.03, y=0.1)
    one_model = frame["model_uid"].nunique() == 1
    if one_model and not layout.wrapped:
        name_layers(ax, frame)
    elif by == "depth":
        ax.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
    unit = "relative depth" if by == "depth" else "layer index"
    if lowest:
        ax.set_xlabel(
            f"layer, by {unit.removeprefix('layer ')}" if one_model and not layout.wrapped else unit
        )
    else:
        ax.tick_params(labelbottom=False)
    if column == 0:
        label = "score / noise ceiling" if value != "score" else "score"
        if "area" in panel and not layout.wrapped:
            label = f"{shorten(panel['area'], 26)}\n{label}"
        ax.set_ylabel(label)
    elif layout.share == "all":
        ax.tick_params(labelleft=False)


def _from_zero(ax: Axes) -> None:
    """Let the axis start at zero where nothing is negative, or else draw a line at zero."""
    together = ax.get_shared_y_axes().get_siblings(ax)
    heights = [
        np.asarray(line.get_ydata(), dtype=float)
        for other in together
        for line in other.get_lines()
        if line.get_transform() == other.transData
    ]
    if any((height < 0).any() for height in heights):
        ax.axhline(0, color=GREY, lw=0.5, zorder=0, label="zero")
    else:
        highest = max((float(np.nanmax(height)) for height in heights if len(height)), default=0.0)
        # The margin was a share of the curves' own range, which may be a sliver of what is shown.
        top = max(ax.get_ylim()[1], 1.08 * highest)
        ax.set_ylim(0, top if np.isfinite(top) and top > 0 else None)


def _legend(
    figure: Figure | SubFigure, frame: pd.DataFrame, layout: Layout, look: _Look, left_out: int
) -> None:
    drawn = {str(line.get_label()) for ax in figure.axes for line in ax.get_lines()}
    drawn |= {str(patch.get_label()) for ax in figure.axes for patch in ax.patches}
    drawn |= {str(area.get_label()) for ax in figure.axes for area in ax.collections}
    handles: list[Artist] = []
    for name, colour in look.colours.items():
        label = shorten(short_model(name) if look.colour_by == "model_uid" else name, 34)
        if look.colour_by == "metric":
            label = metric_title(frame, name)
        handles.append(Line2D([], [], color=colour, lw=2.2, label=label))
    if len(handles) == 1 and layout.wrapped is False and look.colour_by == "metric":
        handles = []
    for split in sorted(frame["cv_split"].unique(), key=lambda name: (name == "train", name)):
        if split in drawn:
            style = LINES.get(split, "-")
            label = SPLIT_NAMES.get(split, split)
            handles.append(Line2D([], [], color=INK, lw=1.4, ls=style, label=label))
    if "subject" in drawn:
        handles.append(Line2D([], [], color=INK, lw=0.6, alpha=0.5, label="single subject"))
    if "spread" in drawn:
        spread = Patch(fc=(*to_rgb(INK), 0.2), ec=INK, lw=0.5, label="mean ± sd over subjects")
        handles.append(spread)
    if "ceiling" in drawn:
        band = "ceiling band" in drawn
        handles.append(
            Patch(color=GREY, alpha=0.25, lw=0, label="noise ceiling")
            if band
            else Line2D([], [], color=GREY, lw=0.8, label="noise ceiling")
        )
    if "best" in drawn:
        label = "chosen layer" + (" (on train)" if "train" in set(frame["cv_split"]) else "")
        handles.append(Line2D([], [], color=INK, marker="o", ls="", ms=5, label=label))
    if "best in sample" in drawn:
        hollow = {"mfc": "white", "mec": INK, "mew": 1.2}
        handles.append(Line2D([], [], marker="o", ls="", ms=5, label="chosen in sample", **hollow))
    if "true layer" in drawn:
        handles.append(Line2D([], [], color=INK, lw=1.1, ls=":", label="true layer"))
    note = f"{left_out} more regions are not shown: see regions= and top=" if left_out else None
    outside_legend(figure, handles, beside=layout.n_columns == 1, title=note)
    benchmarks = frame["benchmark"].unique().tolist()
    name_figure(figure, frame["model_uid"].cat.categories.tolist(), benchmarks)


def _check_splits(frame: pd.DataFrame, cv_split: str | Sequence[str] | None) -> None:
    present = frame["cv_split"].unique().tolist()
    for name in [] if cv_split is None else [cv_split] if isinstance(cv_split, str) else cv_split:
        if name not in present:
            raise unknown_name("cv_split", name, present)


def _check_true_layers(results: pd.DataFrame, true_layers: Mapping[str, str]) -> None:
    regions = results["region"].dropna().unique().tolist()
    layers = results["model_layer"].dropna().unique().tolist()
    for region, layer in true_layers.items():
        if region not in regions:
            raise unknown_name("region", region, regions, "See true_layers=.")
        if layer not in layers:
            raise unknown_name("layer", layer, layers, "See true_layers=.")
