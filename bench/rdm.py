"""Pearson RDM of many features: ours, rsatoolbox, NumPy, and the floor of one matrix product."""

# The peers' annotations are not to be relied on.
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch

from bench.timing import side_by_side
from isomorph.geometry import compute_rdm, upper_triangle


def rsatoolbox_rdm(features: np.ndarray) -> np.ndarray:
    """Upper triangle by rsatoolbox."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from rsatoolbox.data import Dataset
        from rsatoolbox.rdm import calc_rdm

        return calc_rdm(Dataset(features), method="correlation").get_vectors()[0]


def run(
    n_stimuli: int = 1000, n_features: int = 100_000, repeats: int = 3, peers: bool = True
) -> pd.DataFrame:
    """Time all of them side by side, in one process, on the same float32 features.

    Returns
    -------
    pandas.DataFrame
        Columns ``what``, ``seconds`` (median), ``extra_MB`` (peak), ``ratio`` (to ours) and
        ``floor_ratio`` (to one symmetric product).
    """
    features = np.random.default_rng(0).standard_normal((n_stimuli, n_features), dtype=np.float32)
    tensor = torch.from_numpy(features)
    rdms: dict[str, Callable[[], np.ndarray]] = {
        "isomorph compute_rdm": lambda: upper_triangle(compute_rdm(tensor)),
        "numpy corrcoef": lambda: upper_triangle(1 - np.corrcoef(features)),
    }
    if peers:
        rdms["rsatoolbox calc_rdm"] = lambda: rsatoolbox_rdm(features)
    products: dict[str, Callable[[], Any]] = {
        "floor: X @ X.T (numpy, syrk)": lambda: features @ features.T,
        "X @ X.T (torch, GEMM)": lambda: tensor @ tensor.T,
    }
    floor = next(iter(products))
    np.dot(features[:8], features[:8].T)  # BLAS starts its threads at the first call
    compute_rdm(tensor[:8])
    results, frame = side_by_side({**rdms, **products}, repeats, floor)
    ours = next(iter(rdms))
    for what in rdms:
        np.testing.assert_allclose(results[what], results[ours], rtol=1e-4, err_msg=what)
    return frame


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-stimuli", type=int, default=1000)
    parser.add_argument("--n-features", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="skip rsatoolbox")
    arguments = parser.parse_args()
    print(f"Pearson RDM, {vars(arguments)}, {torch.get_num_threads()} threads")
    print(run(**vars(arguments)).to_string(index=False, float_format=lambda x: f"{x:.3g}"))


if __name__ == "__main__":
    main()
