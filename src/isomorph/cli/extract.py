"""`isomorph extract`: a model's plan as a table, or its features in a folder."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from isomorph.cli.show import show_heading, show_line, show_pairs, show_table
from isomorph.extraction import FeatureExtractor, Plan
from isomorph.extraction.extractor import check_target
from isomorph.stimuli import procedural_images
from isomorph.storage import format_duration, format_size
from isomorph.zoo import load_model

SHOWN_STIMULI = 3


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
        show_plan(extractor.plan, chosen_only=layers is not None)
        return
    estimate = extractor.estimate()
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
    show_line(f"\nwrote {len(features)} layers of {len(features.ids)} stimuli to {out} in {took}")


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
            "features": frame["n_features"],
            "bytes": [format_size(size // (plan.n_stimuli or 1)) for size in frame["n_bytes"]],
            "same as": frame["duplicate_of"].map(
                lambda name: str(plan[str(name)].index) if name else ""
            ),
            "note": note,
        }
    )
    if not (shown["note"] != "").any():
        shown = shown.drop(columns="note")
    show_table(shown, whole=True)
    if plan.never_called and not chosen_only:
        show_line(
            f"never called (fused into their parents, or unused): {', '.join(plan.never_called)}"
        )
