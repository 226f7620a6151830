"""What the commands write to the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

# A pipe or a file has no width of its own; 120 keeps a table's rows whole.
_out = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
_SHORT = 12
_err = Console(stderr=True, highlight=False)


def terminal_width() -> int | None:
    """Characters in a line; None in a pipe or a file, which have no end."""
    return _out.width if _out.is_terminal else None


def show_line(text: str = "") -> None:
    """Write a line."""
    _out.print(escape(text))


def show_heading(text: str) -> None:
    """Write a heading."""
    _out.print(f"\n[bold]{escape(text)}[/bold]")


def show_error(error: BaseException) -> None:
    """Write an error in one message."""
    # soft_wrap leaves paths whole, so that they can be copied.
    _err.print(f"[bold red]error[/bold red] {escape(str(error))}", soft_wrap=True)


def show_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Write names and values in two columns."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(escape(name), escape(value))
    _out.print(table)


def show_table(frame: pd.DataFrame, title: str = "", *, whole: bool = False) -> None:
    """Write a table: numbers to three decimals and to the right, what is missing as a dash.

    With `whole`, rows are never shortened in a pipe or a file, however long they are.
    """
    if whole and _out.is_terminal:
        frame = _fitted(frame, _out.width)
    table = Table(
        box=SIMPLE_HEAD,
        title=title or None,
        title_justify="left",
        header_style="bold",
        pad_edge=False,
    )
    for name in frame.columns:
        right = pd.api.types.is_numeric_dtype(frame[name])
        longest = max((len(_cell(value)) for value in frame[name]), default=0)
        # Only prose may run over several lines, and what is short is never cut.
        prose = not right and longest > 60
        table.add_column(
            escape(str(name)),
            justify="right" if right else "left",
            no_wrap=not prose,
            overflow="fold" if prose else "ellipsis",
            min_width=max(longest, len(str(name))) if whole and longest <= _SHORT else None,
        )
    for row in frame.itertuples(index=False):
        table.add_row(*[escape(_cell(value)) for value in row])
    if whole and not _out.is_terminal:
        wide = Console(highlight=False, width=10_000)
        Console(highlight=False, width=Measurement.get(wide, wide.options, table).maximum).print(
            table
        )
        return
    _out.print(table)


def _fitted(frame: pd.DataFrame, width: int) -> pd.DataFrame:
    """Shorten the widest column from its front, where names are most alike, so that rows fit."""
    cells = frame.map(_cell)
    widths = {str(name): max([len(str(name)), *cells[name].map(len)]) for name in cells}
    excess = sum(widths.values()) + 3 * len(widths) + 2 - width
    if excess <= 0:
        return frame
    widest = max(widths, key=lambda name: widths[name])
    room = max(widths[widest] - excess, 12)
    short = [
        str(text) if len(str(text)) <= room else "…" + str(text)[1 - room :]
        for text in cells[widest]
    ]
    return frame.assign(**{widest: short})


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if pd.isna(value):  # type: ignore[arg-type]
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
