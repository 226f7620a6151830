"""`isomorph score`: pre-flight, work, a table, and files."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from isomorph.benchmarks import Benchmark
from isomorph.cli.show import show_heading, show_line, show_pairs, show_table
from isomorph.extraction import Model
from isomorph.results import GROUP_SUBJECT, mean_over_subjects, select_layers, write_results
from isomorph.scoring import load_benchmark, preflight, prepare, run_job
from isomorph.storage import atomic_write, check_folder, format_duration
from isomorph.zoo import load_model

logger = logging.getLogger(__name__)

MOST_SUBJECTS = 6
MANY_AT_EDGE = 0.25
SELECTION_WORDS = {
    "stimuli": "the train stimuli, scored on the test stimuli",
    "subjects+stimuli": "the other subjects and the train stimuli, scored on the test stimuli",
    "folds": "the other folds",
    "in_sample": "the very data they are scored on (in sample)",
}


def run_score(
    model: str,
    benchmark: str,
    *,
    weights: str | None,
    seed: int,
    out: Path | None,
    data: Path | None,
    dry_run: bool,
    progress: bool,
    options: Mapping[str, Any],
) -> None:
    """Load, score and show; parameters as in the command."""
    if benchmark == "simulated":
        raise ValueError(
            "simulated: a brain to simulate is described in Python (load_benchmark('simulated', "
            "model=, regions=)); `isomorph demo` scores one."
        )
    loaded_benchmark = load_benchmark(benchmark, **({"root": data} if data else {}))
    chosen = None if weights == "random" else weights or "default"
    loaded_model = load_model(model, weights=chosen, seed=seed, progress=progress)
    score_and_show(
        loaded_model,
        loaded_benchmark,
        out=out,
        dry_run=dry_run,
        progress=progress,
        options=options,
    )


def score_and_show(
    model: Model,
    benchmark: Benchmark,
    *,
    out: Path | None,
    progress: bool,
    options: Mapping[str, Any],
    dry_run: bool = False,
    true_layers: Mapping[str, str] | None = None,
) -> pd.DataFrame | None:
    """Say what will be done, do it, show the best layers, and write the files.

    Returns
    -------
    pandas.DataFrame or None
        The results; None after a dry run.
    """
    if out is not None:
        check_folder(out, "--out")
    options = dict(options)
    job = prepare(model, benchmark, options.pop("metrics"), **options, progress=progress)
    show_heading("Pre-flight")
    show_pairs(preflight(job).lines)
    if dry_run:
        show_heading("Layers")
        frame = job.plan.to_frame()
        show_table(frame[["index", "layer", "type", "shape", "pass", "duplicate_of", "left_out"]])
        return None
    start = time.perf_counter()
    results, neuroids = run_job(job, progress=progress)
    show_line(f"\ndone in {format_duration(time.perf_counter() - start)}")
    written = write_files(results, neuroids, out, true_layers) if out is not None else []
    show_best(results)
    for path in written:
        show_line(f"wrote {path}")
    return results


def show_best(results: pd.DataFrame) -> None:
    """Show the layer chosen for each region: every subject if they are few, and their mean."""
    best = select_layers(results)
    show_heading("Best layer of each region")
    show_table(_best_table(best))
    for how in best["selection"].dropna().unique():
        of_these = best[best["selection"] == how]
        regions = ", ".join(of_these["region"].unique())
        whole = len(of_these) == best["region"].isin(of_these["region"].unique()).sum()
        only = "" if whole or (of_these["subj_id"] != GROUP_SUBJECT).any() else " (group)"
        show_line(f"{regions}{only}: layers chosen on {SELECTION_WORDS[how]}.")
    at_edge = results["alpha_at_edge"].mean()
    if at_edge > MANY_AT_EDGE:
        show_line(
            f"{at_edge:.0%} of the neuroids' penalties are at an edge of the grid "
            f"(alpha_at_edge): wider alphas may predict them better."
        )
    for reason in best.loc[best["score"].isna(), "reason"].dropna().unique():
        show_line(f"– is undefined: {reason}.")


def _best_table(best: pd.DataFrame) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    names = ("score", "ceiling", "score_normalised")
    for (metric, region), chosen in best.groupby(["metric", "region"], sort=False):
        single = chosen[chosen["subj_id"] != GROUP_SUBJECT]
        shown = chosen if len(single) <= MOST_SUBJECTS else chosen.drop(single.index)
        for row in shown.to_dict("records"):
            kept = {name: row[name] for name in names}
            rows.append(
                {
                    "metric": metric,
                    "region": region,
                    "subject": row["subj_id"],
                    "best layer": row["model_layer"],
                    **kept,
                }
            )
        if len(single) > 1:
            mean = mean_over_subjects(single).iloc[0]
            counts = single["model_layer"].value_counts()
            often = "none" if counts.empty else str(counts.index[0])
            if len(counts) > 1 and counts.iloc[0] == counts.iloc[1]:
                often = "differ"
            share = 0 if counts.empty else int(counts.iloc[0])
            rows.append(
                {
                    "metric": metric,
                    "region": region,
                    "subject": f"mean of {len(single)}",
                    "best layer": often
                    if often in ("none", "differ")
                    else f"{often} ({share} of {len(single)})",
                    **{name: mean[name] for name in names},
                }
            )
    return pd.DataFrame(rows).rename(columns={"score_normalised": "normalised"})


def write_files(
    results: pd.DataFrame,
    neuroids: pd.DataFrame,
    out: Path,
    true_layers: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write the tables and the figures; each file appears whole or not at all."""
    from isomorph.plots import plot_layers, plot_statistic
    from isomorph.results import statistic_columns

    written = [out / "results.parquet"]
    write_results(results, written[0])
    if len(neuroids):
        written.append(out / "neuroids.parquet")
        with atomic_write(written[-1]) as temporary:
            neuroids.to_parquet(temporary, index=False)
    if results["score"].isna().all():
        logger.warning("no score is defined, so that there is nothing to plot")
        return written
    figures = {"layers.png": plot_layers(results, true_layers=true_layers)}
    for statistic in statistic_columns(results):
        if results[statistic].notna().any():
            figures[f"{statistic}.png"] = plot_statistic(results, statistic)
    for name, figure in figures.items():
        written.append(out / name)
        with atomic_write(written[-1]) as temporary:
            figure.get_figure(root=True).savefig(temporary, dpi=200)
    return written
