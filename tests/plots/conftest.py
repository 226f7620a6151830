"""Results tables as a real run gives them, for the figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest

from isomorph.results import make_results


def _results(
    regions: Sequence[str] = ("V1", "IT"),
    metrics: Sequence[str] = ("cRSA", "eReg"),
    models: Sequence[str] = ("torchvision/net@IMAGENET1K_V1",),
    subjects: Sequence[str] = ("s1", "s2", "group"),
    splits: Sequence[str] = ("train", "test"),
    n_layers: int = 30,
    seed: int = 0,
) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [
        {
            "model_uid": model,
            "model_layer": f"features.{layer}.expand3x3_activation",
            "model_layer_index": layer,
            "metric": metric,
            "benchmark": "nsd",
            "region": region,
            "subj_id": subject,
            "cv_split": split,
            "score": rng.uniform(0.1, 0.4),
            "n_stimuli": 50,
            "ceiling": 0.6,
            "ceiling_lower": 0.5 + 0.02 * position,
            "ceiling_upper": 0.7,
            "score_normalised": rng.uniform(0.2, 0.8),
            "selection": "in_sample" if split == "all" else "stimuli",
            "effective_dimensionality": 2.0 + layer**2,
        }
        for model in models
        for metric in metrics
        for region in regions
        for position, subject in enumerate(subjects)
        for split in splits
        for layer in range(n_layers)
    ]
    return make_results(rows, ["effective_dimensionality"])


@pytest.fixture
def results() -> Callable[..., pd.DataFrame]:
    """Make a table of random scores, with a ceiling and a statistic."""
    return _results
