"""Pearson RDM of many features: ours, rsatoolbox, NumPy, and the floor of one matrix product."""

# The peers' annotations are not to be relied on.
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import argparse
import contextlib
import statistics
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import psutil
import torch

from isomorph.geometry import compute_rdm, upper_triangle


def measure(work: Callable[[], Any], repeats: int) -> tuple[Any, float, float]:
    """Result, median seconds, and the most extra memory in MB that a run needed at one time."""
    process = psutil.Process()
    seconds, peak, result = [], 0, None
    for _ in range(repeats):
        result = None  # the last result is not extra memory of the next run
        before = process.memory_info().rss
        with _watched(process) as seen:
            start = time.perf_counter()
            result = work()
            seconds.append(time.perf_counter() - start)
        peak = max(peak, max(seen) - before)
    return result, statistics.median(seconds), peak / 1e6


@contextlib.contextmanager
def _watched(process: psutil.Process) -> Iterator[list[int]]:
    """Memory of the process in bytes, seen every 20 ms."""
    seen, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            seen.append(process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        seen.append(process.memory_info().rss)
        done.set()
        watcher.join()


def table(rows: list[tuple[str, float, float]], floor: str | None = None) -> pd.DataFrame:
    """Timings with their ratio to ours (the first row) and, if given, to the floor."""
    frame = pd.DataFrame(rows, columns=["what", "seconds", "extra_MB"])
    frame["ratio"] = frame["seconds"] / frame["seconds"].iloc[0]
    if floor is not None:
        frame["floor_ratio"] = frame["seconds"] / frame.set_index("what").loc[floor, "seconds"]
    return frame


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
    rows, ours = [], None
    for what, work in {**rdms, **products}.items():
        result, seconds, memory = measure(work, repeats)
        rows.append((what, seconds, memory))
        if ours is None:
            ours = result
        elif what in rdms:
            np.testing.assert_allclose(result, ours, rtol=1e-4, err_msg=what)
    return table(rows, floor)


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
