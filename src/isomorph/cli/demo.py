"""`isomorph demo`: can the true layer of a simulated brain be found?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from isomorph.benchmarks import simulate_benchmark
from isomorph.cli.scored import score_and_show
from isomorph.cli.show import show_heading, show_line, show_table
from isomorph.zoo import load_model

MODEL = "torchvision/squeezenet1_1@random-0"
# One map for each stage of the network: its convolution, then every Fire module and pooling.
CANDIDATES = [f"features.{stage}" for stage in (0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)]
REGIONS = {"early": "features.2", "middle": "features.6", "late": "features.11"}
N_STIMULI = 400


def run_demo(out: Path, *, seed: int = 0, progress: bool = True) -> pd.DataFrame:
    """Simulate a brain, score it, and tell whether its true layers were found.

    Returns
    -------
    pandas.DataFrame
        One row a metric and region: the true layer, the layer found, and the verdict.
    """
    show_line(
        f"A simulated brain: each region reads out one layer of {MODEL}, with noise; no data and "
        f"no download. Does scoring find the layers?"
    )
    model = load_model(MODEL)
    benchmark = simulate_benchmark(
        model,
        REGIONS,
        n_stimuli=N_STIMULI,
        n_subjects=2,
        n_neuroids=100,
        reliability=0.5,
        seed=seed,
        progress=progress,
    )
    results = score_and_show(
        model,
        benchmark,
        out=out,
        progress=progress,
        options={
            "metrics": ["cRSA", "eReg", "eRSA"],
            "layers": CANDIDATES,
            "stats": ["effective_dimensionality"],
        },
        true_layers=REGIONS,
    )
    assert results is not None
    found = judge(results, REGIONS)
    show_heading("Was the true layer found? (highest train score, averaged over subjects)")
    show_table(found)
    return found


def judge(results: pd.DataFrame, true_layers: Mapping[str, str]) -> pd.DataFrame:
    """Compare the layer that training scores choose, averaged over subjects, with the true one.

    Returns
    -------
    pandas.DataFrame
        ``metric region true_layer found verdict``; the verdict is ``the true layer``, ``its
        neighbour`` or ``n layers away``, in steps of the scored layers.
    """
    order = results.sort_values("model_layer_index")["model_layer"].drop_duplicates().tolist()
    train = results[results["cv_split"] == "train"]
    rows = []
    for metric in train["metric"].unique():
        for region, true in true_layers.items():
            mine = train[(train["metric"] == metric) & (train["region"] == region)]
            found = str(mine.groupby("model_layer", sort=False)["score"].mean().idxmax())
            steps = abs(order.index(found) - order.index(true))
            verdict = {0: "the true layer", 1: "its neighbour"}.get(steps, f"{steps} layers away")
            rows.append(
                {
                    "metric": metric,
                    "region": region,
                    "true_layer": true,
                    "found": found,
                    "verdict": verdict,
                }
            )
    return pd.DataFrame(rows)
