"""`isomorph metrics`: what the registry of metrics says."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from isomorph.alignment import METRICS, STATISTICS
from isomorph.alignment.reference import (
    direction_text,
    metrics_reference,
    option_values,
    range_text,
)
from isomorph.cli.show import show_heading, show_line, show_pairs, show_table
from isomorph.geometry import COMPARISONS, RDM_METHODS
from isomorph.storage import atomic_write

METHODS = {
    "a dissimilarity of stimuli: cRSA[distance=…], compute_rdm": RDM_METHODS,
    "a comparison of RDMs: cRSA[compare=…], compare_rdms": COMPARISONS,
    "a statistic of a layer: stats=[…]": STATISTICS,
}


def run_metrics(reference: Path | None) -> None:
    """List every metric, RDM method, comparison and statistic, or write their reference page."""
    if reference is not None:
        with atomic_write(reference) as temporary:
            temporary.write_text(metrics_reference(), encoding="utf-8")
        show_line(f"{len(METRICS)} metrics written to {reference}")
        return
    show_heading("Metrics")
    rows = [
        {
            "metric": metric.name,
            "what": metric.summary,
            "range": range_text(metric.range),
            "alike": "high" if metric.larger_is_better else "low",
            "scores": ", ".join(sorted(metric.data)),
        }
        for metric in METRICS.values()
    ]
    show_table(pd.DataFrame(rows))
    for heading, registry in (
        ("Dissimilarities of stimuli: cRSA[distance=…], compute_rdm", RDM_METHODS),
        ("Comparisons of RDMs: cRSA[compare=…], compare_rdms", COMPARISONS),
        ("Statistics of a layer: stats=[…]", STATISTICS),
    ):
        show_heading(heading)
        found = [{"name": name, "what": entry.summary} for name, entry in registry.items()]
        show_table(pd.DataFrame(found))
    show_line("isomorph metrics show NAME tells a metric's options, invariances and source.")


def show_metric(name: str) -> None:
    """Show all that one metric declares."""
    name = name.partition("[")[0].strip()
    for kind, registry in METHODS.items():
        if name in registry and name not in METRICS:
            entry = registry[name]
            show_heading(name)
            show_pairs([("is", kind), ("what", entry.summary), ("source", entry.reference)])
            return
    metric = METRICS[name]
    show_heading(metric.name)
    show_pairs(
        [
            ("what", metric.summary),
            ("range", f"{range_text(metric.range)}, {direction_text(metric)}"),
            ("scores", ", ".join(sorted(metric.data))),
            ("symmetric", "yes" if metric.symmetric else "no"),
            ("invariances", ", ".join(sorted(metric.invariances)) or "none"),
            *([("axioms", ", ".join(sorted(metric.axioms)))] if metric.axioms else []),
            ("source", metric.reference),
        ]
    )
    if metric.options:
        show_heading("options")
        options = [
            {
                "option": key,
                "default": str(option.default),
                "may be": option_values(option),
                "what": option.summary,
            }
            for key, option in metric.options.items()
        ]
        show_table(pd.DataFrame(options))
