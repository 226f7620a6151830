"""Alignment beside its peers and its floors: ``python -m bench.alignment``."""

# The peers' annotations are not to be relied on.
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch

from bench import ceilings, projection, rdm, ridge
from bench.extraction import image_folder
from bench.peers import plain_forward
from bench.timing import side_by_side
from isomorph.alignment import compare_representations
from isomorph.benchmarks import make_benchmark
from isomorph.encoding import relative_alphas, ridge_loo
from isomorph.extraction import FeatureExtractor
from isomorph.geometry import compare_rdms, compute_rdm, grams
from isomorph.scoring import score
from isomorph.stimuli import from_folder
from isomorph.zoo import load_model

JOB_METRICS = ("cRSA", "eReg", "eRSA")
N_ALPHAS = 7


def rsatoolbox_compare(vectors: np.ndarray) -> np.ndarray:
    """All pairs by rsatoolbox."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from rsatoolbox.rdm import compare

        return compare(vectors, vectors, method="corr")


def all_pairs(
    n_rdms: int = 200, n_stimuli: int = 1000, repeats: int = 3, peers: bool = True
) -> pd.DataFrame:
    """RSA among all RDMs of a stack, beside one matrix product of it."""
    n_pairs = n_stimuli * (n_stimuli - 1) // 2
    vectors = np.random.default_rng(0).random((n_rdms, n_pairs))
    works: dict[str, Callable[[], np.ndarray]] = {
        "isomorph compare_rdms": lambda: compare_rdms(vectors, vectors),
        "numpy corrcoef": lambda: np.corrcoef(vectors),
    }
    if peers:
        works["rsatoolbox compare"] = lambda: rsatoolbox_compare(vectors)
    copy = vectors.copy()
    floors = {
        "floor: V @ V.T (numpy, syrk)": lambda: vectors @ vectors.T,
        "V @ W.T (numpy, GEMM)": lambda: vectors @ copy.T,
    }
    results, frame = side_by_side({**works, **floors}, repeats, next(iter(floors)))
    for what in works:
        np.testing.assert_allclose(results[what], results["numpy corrcoef"], atol=1e-10)
    return frame


def tutorial_job(
    model_name: str = "torchvision/alexnet", n: int = 1000, n_voxels: int = 12_000
) -> pd.DataFrame:
    """Score every layer of a network by three metrics, as a share of what cannot be spared.

    The floor is decoding and one forward pass of the same images, and the matrix products that the
    three metrics are made of at the rates this machine reaches: for each layer two symmetric
    products of its features (plain and scaled, float32), for each of 7 penalties the leave-one-out
    errors of every voxel, their predictions (float64), and the RDMs of those.
    """
    model = load_model(model_name, weights=None)
    with image_folder(n) as folder:
        stimuli = from_folder(folder)
        responses = np.random.default_rng(0).standard_normal((n, n_voxels), dtype=np.float32)
        regions = {"EVC": np.arange(n_voxels) < n_voxels // 3}
        regions["OTC"] = ~regions["EVC"]
        neuroids = pd.DataFrame(
            {"subj_id": np.repeat(["1", "2", "5", "7"], n_voxels // 4), **regions}
        )
        benchmark = make_benchmark(responses, stimuli, neuroids, name="tutorial-sized noise")
        plan = FeatureExtractor(model, stimuli, progress=False).plan
        widths = [layer.n_features for layer in plan.layers if not layer.duplicate_of]
        seconds = {}
        start = time.perf_counter()
        plain_forward(model, folder, 64)
        seconds["decode and forward"] = time.perf_counter() - start
        start = time.perf_counter()
        results = score(
            model,
            benchmark,
            JOB_METRICS,
            stats=["effective_dimensionality"],
            memory_limit="8GB",
            progress=False,
        )
        seconds["isomorph score, 3 metrics"] = time.perf_counter() - start
    flops32, flops64 = _job_flops(widths, n, n_voxels)
    rates = _rates()
    seconds["float32 products"] = flops32 / rates["float32"]
    seconds["float64 products"] = flops64 / rates["float64"]
    floor = sum(value for name, value in seconds.items() if not name.startswith("isomorph"))
    seconds["floor: forward and products"] = floor
    table = pd.DataFrame({"what": list(seconds), "seconds": list(seconds.values())})
    table["floor_ratio"] = table["seconds"] / floor
    table["rows"] = [len(results) if what.startswith("isomorph") else None for what in seconds]
    return table


def _job_flops(widths: list[int], n: int, n_voxels: int) -> tuple[float, float]:
    """Floating point operations of the job's products: in float32, in float64."""
    half = n // 2
    grams_ = 2 * sum(n * n * p for p in widths)
    per_target = 2 * half * half * (N_ALPHAS + 4)  # components, each penalty, chosen, two halves
    predicted_rdms = 2 * half * half  # symmetric, both halves, per voxel
    return float(grams_), float(len(widths) * n_voxels * (per_target + predicted_rdms))


def _rates() -> dict[str, float]:
    """Operations a second of large products here: symmetric in float32, general in float64."""
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((1000, 50_000), dtype=np.float32)
    square, tall = torch.rand(500, 500).double(), torch.rand(500, 12_000).double()
    _, frame = side_by_side({"syrk": lambda: wide @ wide.T, "gemm": lambda: square @ tall}, 5)
    syrk, gemm = frame["seconds"]
    return {"float32": wide.size * 1000 / syrk, "float64": 2 * 500 * 500 * 12_000 / gemm}


def growth(
    sizes: tuple[int, ...] = (250, 500, 1000, 2000, 4000), n_features: int = 6000, t: int = 1000
) -> pd.DataFrame:
    """What each cost grows like with the number of stimuli: seconds, and the last exponent."""
    rng = np.random.default_rng(0)
    rows: dict[str, dict[str, float]] = {}
    for n in sizes:
        features = rng.standard_normal((n, n_features), dtype=np.float32)
        responses = rng.standard_normal((n, t))
        [gram] = grams(features)
        works: dict[str, Callable[[], Any]] = {
            "Gram": lambda features=features: grams(features),
            "Pearson RDM": lambda features=features: compute_rdm(features),
            "ridge, leave-one-out": lambda gram=gram, responses=responses: ridge_loo(
                gram.products, responses, relative_alphas(gram.products)
            ),
        }
        for name in ("CKA", "Procrustes", "mutual_knn"):
            works[name] = lambda gram=gram, name=name: compare_representations(gram, gram, name)
        _, frame = side_by_side(works, 2 if n < 2000 else 1)
        for what, took in zip(frame["what"], frame["seconds"], strict=True):
            rows.setdefault(what, {})[f"n {n}"] = took
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("what").reset_index()
    before, last = (table[f"n {n}"] for n in sizes[-2:])
    table["exponent"] = np.log(last / before) / np.log(sizes[-1] / sizes[-2])
    return table


SECTIONS: dict[str, Callable[[], pd.DataFrame]] = {
    "rdm": rdm.run,
    "ridge": ridge.run,
    "banded": ridge.run_banded,
    "all_pairs": all_pairs,
    "projection": projection.run,
    "job": tutorial_job,
    "growth": growth,
    "ceilings": ceilings.run,
}


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    for name in parser.parse_args().sections:
        print(f"## {name}\n")
        table = SECTIONS[name]()
        print(table.to_string(index=False, float_format=lambda x: f"{x:.3g}", na_rep=""), "\n")


if __name__ == "__main__":
    main()
