"""How every figure looks: one palette, thin spines, type that is legible in a paper's column."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure, SubFigure

# Okabe & Ito (2008), which people with any colour vision tell apart; its yellow and black are left
# out: one is lost on white, the other is the colour of the text.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
GREY = "#6b6b6b"
INK = "#222222"

STYLE: dict[str, Any] = {
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 9,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "axes.grid": False,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    # A layer or model may have a dollar sign in its name; it is no formula.
    "text.parse_math": False,
}


class PlotFigure(Figure):
    """A figure that notebooks show whether or not pyplot was imported; not kept by pyplot."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=120)
        return buffer.getvalue()


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the style within the block; the user's own settings are left as they are."""
    settings: dict[Any, Any] = STYLE
    with matplotlib.rc_context(settings):
        yield


def new_figure(width: float, height: float) -> PlotFigure:
    """Make an empty figure (inches) whose layout keeps labels from being cut off."""
    return PlotFigure(figsize=(width, height), dpi=150, layout="constrained")


def panel_grid(figure: Figure | SubFigure, n_rows: int, n_columns: int, **share: Any) -> np.ndarray:
    """Make a (n_rows, n_columns) array of axes."""
    return figure.subplots(n_rows, n_columns, squeeze=False, **share)


def colours(names: Sequence[str]) -> dict[str, str]:
    """Give each name a colour: the palette's, or for many names steps of a perceptual map.

    Parameters
    ----------
    names : sequence of str
        In the order in which the colours are given.

    Returns
    -------
    dict
        Name to hexadecimal colour.

    Examples
    --------
    >>> colours(["V4", "IT"])
    {'V4': '#0072B2', 'IT': '#D55E00'}
    """
    if len(names) <= len(PALETTE):
        return dict(zip(names, PALETTE, strict=False))
    steps = colormaps["viridis"](np.linspace(0, 0.9, len(names)))
    return {name: to_hex(step) for name, step in zip(names, steps, strict=True)}


def outside_legend(
    figure: Figure | SubFigure,
    handles: Sequence[Artist],
    *,
    beside: bool = False,
    title: str | None = None,
) -> None:
    """Write one legend for all panels, below them in as many columns as fit, or beside them."""
    if not handles:
        return
    width = figure.bbox.width / root_figure(figure).dpi
    widest = max(len(str(handle.get_label())) for handle in handles)
    n_columns = max(1, min(len(handles), int(width / (0.062 * widest + 0.45))))
    figure.legend(
        handles=list(handles),
        loc="outside right center" if beside else "outside lower center",
        ncols=1 if beside else n_columns,
        title=title,
        title_fontsize=7.5,
    )


def name_figure(
    figure: Figure | SubFigure, models: Sequence[str], benchmarks: Sequence[str]
) -> None:
    """Write the model, or how many there are, and the benchmarks above all panels."""
    name = shorten(short_model(models[0]), 60) if len(models) == 1 else f"{len(models)} models"
    title = f"{name}  ·  {shorten(', '.join(benchmarks), 40)}"
    figure.suptitle(title, fontsize=9, color=GREY)


def root_figure(figure: Figure | SubFigure) -> Figure:
    """Give the figure that a subfigure belongs to, or the figure itself."""
    root = figure.figure
    assert isinstance(root, Figure)
    return root


def hide(axes: Axes) -> None:
    """Take an unused panel out of the figure."""
    axes.set_axis_off()
    axes.set_in_layout(False)


def shorten(name: str, length: int = 26) -> str:
    """Cut the middle out of a long name.

    Examples
    --------
    >>> shorten("features.3.expand1x1_activation", 20)
    'features.…activation'
    """
    if len(name) <= length:
        return name
    tail = (length - 1 + 1) // 2
    return f"{name[: length - 1 - tail]}…{name[-tail:]}"


def short_model(uid: str) -> str:
    """Give a model's name without its source: ``squeezenet1_0@random-0``."""
    return uid.split("/", 1)[-1]
