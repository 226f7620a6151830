"""The reference page of metrics, written from the registries, so that it cannot be out of date."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from isomorph.alignment.metric import METRICS, Metric, Option
from isomorph.alignment.statistics import STATISTICS
from isomorph.geometry import COMPARISONS, RDM_METHODS

_HEAD = """# Metrics

Written by `isomorph metrics --reference docs/metrics.md` from what each metric declares; a test
fails where this page and the code differ. A metric string holds the options that are not the
default: `cRSA[compare=spearman]`, `CKA[kernel=rbf]`. Every metric works in `score`; those that
compare two sets of features also in `compare_representations(first, second, "CKA")`.

*Invariances* are changes of the layer's features that leave the score, with the default options;
each is held by a test, and so is the absence of every other.
"""


def metrics_reference() -> str:
    """Write the reference page of all metrics, RDM methods, comparisons and statistics.

    Returns
    -------
    str
        Markdown.

    Examples
    --------
    >>> metrics_reference().splitlines()[0]
    '# Metrics'
    """
    parts = [_HEAD, *(_metric(metric) for metric in METRICS.values())]
    parts.append("## Dissimilarities of stimuli (`distance=`, `compute_rdm`)\n")
    parts.append(
        _table(
            ("method", "what", "reference"),
            ((f"`{name}`", m.summary, m.reference) for name, m in RDM_METHODS.items()),
        )
    )
    parts.append("## Comparisons of RDMs (`compare=`, `compare_rdms`)\n")
    parts.append(
        _table(
            ("method", "what", "range", "reference"),
            (
                (f"`{name}`", c.summary, range_text(c.range), c.reference)
                for name, c in COMPARISONS.items()
            ),
        )
    )
    parts.append("## Statistics of a layer (`stats=`)\n")
    parts.append(
        _table(
            ("statistic", "what", "reference"),
            ((f"`{name}`", item.summary, item.reference) for name, item in STATISTICS.items()),
        )
    )
    return "\n".join(parts).rstrip() + "\n"


def range_text(bounds: tuple[float, float]) -> str:
    """Lowest and highest value in words."""
    low, high = (
        str(bound).replace("inf", "∞") if abs(bound) == float("inf") else f"{bound:g}"
        for bound in bounds
    )
    return f"{low} to {high}"


def direction_text(metric: Metric) -> str:
    """Which end of the range means alike."""
    return "larger is more alike" if metric.larger_is_better else "a distance: 0 is alike"


def option_values(option: Option) -> str:
    """What an option may be."""
    return " · ".join(option.choices) if option.choices else ""


def _metric(metric: Metric) -> str:
    lines = [f"## {metric.name}\n", f"{metric.summary}\n"]
    facts = [
        f"range {range_text(metric.range)}, {direction_text(metric)}",
        "symmetric" if metric.symmetric else "not symmetric",
        f"scores {' and '.join(sorted(metric.data))}",
        f"invariances: {', '.join(sorted(metric.invariances)) or 'none'}",
    ]
    if metric.axioms:
        facts.append(f"metric axioms: {', '.join(sorted(metric.axioms))}")
    lines.append("- " + "\n- ".join(facts) + f"\n- {metric.reference}\n")
    if metric.options:
        lines.append(
            _table(
                ("option", "default", "may be", "what"),
                (
                    (f"`{name}`", f"`{option.default}`", option_values(option), option.summary)
                    for name, option in metric.options.items()
                ),
            )
        )
    return "\n".join(lines)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    body = [line(row) for row in rows]
    return "\n".join([line(columns), "|" + "---|" * len(columns), *body]) + "\n"
