"""Which panel of a figure over layers shows what."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from isomorph.plots.style import shorten
from isomorph.results import signs

logger = logging.getLogger(__name__)

OVERLAID_REGIONS = 4  # more than that in one panel cannot be told apart
METRICS_IN_A_ROW = 4
MAX_ROWS, MAX_PANELS = 6, 20


@dataclass(frozen=True)
class Layout:
    """Which panel shows what."""

    panels: list[dict[str, str]]
    n_rows: int
    n_columns: int
    colour_by: str
    coloured: list[str]
    share: Literal["all", "col", "none"]
    wrapped: bool  # panels fill row after row

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Layout:
        """Lay out the models, metrics and regions of a prepared table."""
        names = {column: _categories(frame, column) for column in ("model_uid", "metric", "area")}
        n_models, n_metrics, n_areas = (len(values) for values in names.values())
        if n_models == 1 and n_areas <= OVERLAID_REGIONS:
            panels = [{"metric": metric} for metric in names["metric"]]
            if n_metrics <= METRICS_IN_A_ROW:
                return cls(panels, 1, n_metrics, "area", names["area"], "col", False)
            n_rows = math.ceil(n_metrics / METRICS_IN_A_ROW)
            return cls(panels, n_rows, METRICS_IN_A_ROW, "area", names["area"], "none", True)
        colour_by = "metric" if n_models == 1 else "model_uid"
        if n_models == 1 or (n_metrics == 1 and n_areas > 1):
            panels = [{"area": area} for area in names["area"]]
            n_columns = min(5 if n_areas > 12 else 4 if n_areas > 6 else 3, n_areas)
            n_rows = math.ceil(n_areas / n_columns)
            return cls(panels, n_rows, n_columns, colour_by, names[colour_by], "all", True)
        panels = [{"area": a, "metric": m} for a in names["area"] for m in names["metric"]]
        return cls(panels, n_areas, n_metrics, colour_by, names[colour_by], "col", False)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches."""
        if self.share == "none":
            return 2.7 * self.n_columns, 1.9 * self.n_rows + 1.1
        if self.wrapped:
            return max(2.05 * self.n_columns, 4.2), 1.7 * self.n_rows + 1.1
        height = 3.7 if self.n_rows == 1 else 1.9 * self.n_rows + 1.3
        return {1: 6.4, 2: 8.0}.get(self.n_columns, 3.5 * self.n_columns), height

    def rows_of(self, frame: pd.DataFrame, panel: Mapping[str, str]) -> pd.DataFrame:
        """Give the rows that a panel shows."""
        keep = np.ones(len(frame), dtype=bool)
        for column, name in panel.items():
            keep &= (frame[column] == name).to_numpy()
        return frame.loc[keep]


def top_areas(frame: pd.DataFrame, value: str, top: int | None) -> tuple[pd.DataFrame, int]:
    """Keep the regions with the best scores, and say how many were left out."""
    areas = _categories(frame, "area")
    rows = frame["model_uid"].nunique() > 1 and frame["metric"].nunique() > 1
    limit = top if top is not None else MAX_ROWS if rows else MAX_PANELS
    if limit < 1:
        raise ValueError(f"top: expected at least 1 region, got {limit}.")
    if len(areas) <= limit:
        return frame, 0
    # By the score's rank within its metric, as metrics differ in their range.
    better = frame.assign(height=signs(frame, value) * frame[value])
    peak = better.groupby(["metric", "area"], observed=True)["height"].max()
    ranks = peak.groupby("metric", observed=True).rank(ascending=False)
    order = ranks.groupby("area", observed=True).mean()
    kept = set(order.sort_values(kind="stable").index[:limit])
    logger.info("plot_layers shows %d of %d regions; see regions= and top=", limit, len(areas))
    shown = frame.loc[frame["area"].isin(kept)]
    return shown.assign(area=shown["area"].cat.remove_unused_categories()), len(areas) - limit


def metric_title(frame: pd.DataFrame, metric: str) -> str:
    """Give a metric's name in few letters, and say so where it is a distance."""
    rows = frame[frame["metric"] == metric]
    distance = bool(len(rows)) and bool((signs(rows, "score") < 0).all())
    return shorten(metric, 34) + (" (distance: low is best)" if distance else "")


def _categories(frame: pd.DataFrame, column: str) -> list[str]:
    return [str(name) for name in frame[column].cat.categories if (frame[column] == name).any()]
