"""`isomorph extract`: a model's plan as a table, or its features in a folder."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from isomorph.cli.show import show_heading, show_line, show_pairs, show_table, terminal_width
from isomorph.extraction import FeatureExtractor, Plan
from isomorph.extraction.extract import check_target
from isomorph.extraction.stored.manifest import read_manifest
from isomorph.stimuli import procedural_images
from isomorph.storage import format_duration, format_size
from isomorph.zoo import load_model

SHOWN_STIMULI = 3
# Terminals narrower than this many characters get fewer columns, and none of them cut.
WIDE, NARROW = 120, 90


def run_extract(
    model: str,
    stimuli: Path | None,
    *,
    layers: str | None,
    out: Path | None,
    weights: str | None,
    seed: int,
    show: bool,
    dry_run: bool,
    format: str,
    overwrite: bool,
    options: Mapping[str, Any],
) -> None:
    """Show a model's plan, or extract its features.

    Parameters
    ----------
    model : str
        A model's uid.
    stimuli : Path or None
        A folder, a zip file, an image or a video; None is enough to show the plan.
    layers : str or None
        Separated by spaces; a number with a point is a relative depth.
    out : Path or None
        Where to write; not needed to show or estimate.
    weights, seed
        As in `load_model`.
    show : bool
        Print every layer and stop.
    dry_run : bool
        Print what it would cost and stop.
    format, overwrite
        As in `extract_features`.
    options : mapping
        Of `FeatureExtractor`.
    """
    if not (show or dry_run) and out is None:
        raise ValueError("--out: expected a folder to write to, got none (or use --show).")
    if stimuli is None and not show:
        raise ValueError("--stimuli: expected a folder of images, got none (or use --show).")
    if out is not None:
        check_target(out, format)
    if weights is None:
        # The structure needs no trained weights, and so no download.
        untrained = stimuli is None and "@" not in model
        loaded = load_model(model, weights=None if untrained else "default", seed=seed)
    else:
        loaded = load_model(model, weights=None if weights == "random" else weights, seed=seed)
    extractor = FeatureExtractor(
        loaded,
        procedural_images(SHOWN_STIMULI, seed=0) if stimuli is None else stimuli,
        layers=None if layers is None else layers.split(),
        **options,
    )
    if show:
        plan = extractor.plan if stimuli is not None else replace(extractor.plan, n_stimuli=1)
        show_plan(plan, chosen_only=layers is not None)
        return
    before = read_manifest(out) if out is not None and out.is_dir() else None
    complete = before is not None and before.complete and not overwrite
    estimate = extractor.estimate(to_disk=True)
    show_heading("Pre-flight")
    show_pairs(
        [
            ("model", loaded.uid),
            ("stimuli", f"{len(extractor.ids)}: {extractor.inputs.origin}"),
            ("layers", extractor.plan.summary()),
            ("to write", f"{format_size(estimate.bytes_total)}, as {format}"),
            ("time", f"about {format_duration(estimate.seconds)}"),
        ]
    )
    if dry_run:
        return
    assert out is not None
    start = time.perf_counter()
    features = extractor.write(out, format=format, overwrite=overwrite)
    took = format_duration(time.perf_counter() - start)
    words = (
        f"{len(features)} layer{'s' if len(features) != 1 else ''} of {len(features.ids)} stimuli"
    )
    if complete:
        show_line(f"\n{words} were complete in {out} already")
        return
    show_line(f"\nwrote {words} to {out} in {took}")


def show_plan(plan: Plan, *, chosen_only: bool = False) -> None:
    """Print every layer of a plan: path, type, shape, features, bytes, duplicate of."""
    frame = plan.to_frame()
    if chosen_only:
        frame = frame[frame["pass"].notna()]
    show_line(f"{plan.model_uid}: {plan.summary()}")
    note = frame["left_out"].where(frame["left_out"] != "", "")
    note = note.mask((note == "") & frame["overwritten"], "overwritten")
    shown = pd.DataFrame(
        {
            "index": frame["index"].map(lambda index: "" if pd.isna(index) else str(index)),
            "layer": frame["layer"],
            "type": frame["type"],
            "shape": frame["shape"],
            **({"kept": frame["kept"]} if "kept" in frame else {}),
            "features": frame["n_features"].map("{:,}".format),
            "bytes": [format_size(size // (plan.n_stimuli or 1)) for size in frame["n_bytes"]],
            "same as": frame["duplicate_of"].map(
                lambda name: str(plan[str(name)].index) if name else ""
            ),
            "note": note,
        }
    )
    width = terminal_width()
    if not (shown["note"] != "").any() or (width is not None and width < WIDE):
        shown = shown.drop(columns="note")
    if width is not None and width < NARROW:
        shown = shown.drop(columns="bytes")
    show_table(shown, whole=True)
    if plan.never_called and not chosen_only:
        show_line(
            f"never called (fused into their parents, or unused): {', '.join(plan.never_called)}"
        )
