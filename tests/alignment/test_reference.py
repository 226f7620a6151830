"""The reference page is what the registries say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from isomorph.alignment import METRICS, STATISTICS, compare_representations
from isomorph.alignment.reference import metrics_reference
from isomorph.geometry import COMPARISONS, RDM_METHODS
from isomorph.registry import UnknownNameError

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_page_is_what_the_registries_say():
    assert PAGE.read_text(encoding="utf-8") == metrics_reference(), (
        "docs/metrics.md is out of date: isomorph metrics --reference docs/metrics.md"
    )


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_has_its_section_with_every_option(name):
    section = metrics_reference().partition(f"## {name}\n")[2].partition("\n## ")[0]
    assert METRICS[name].summary in section
    assert METRICS[name].reference in section
    assert all(f"`{option}`" in section for option in METRICS[name].options)


@pytest.mark.parametrize(
    "registry", [RDM_METHODS, COMPARISONS, STATISTICS], ids=["distances", "comparisons", "stats"]
)
def test_every_method_has_its_line_a_summary_and_a_source(registry):
    page = metrics_reference()
    for name, entry in registry.items():
        assert f"| `{name}` |" in page
        assert entry.summary
        assert entry.reference or registry is STATISTICS


@pytest.mark.parametrize("name", ["eReg", "cRSA[compare=spearman]", "probe"])
def test_metrics_that_are_no_measures_say_where_to_go(name):
    with pytest.raises(UnknownNameError, match="scores a layer against responses: use score"):
        compare_representations(np.eye(5), np.eye(5), name)
