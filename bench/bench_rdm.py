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


def side_by_side(
    works: dict[str, Callable[[], Any]], repeats: int, floor: str | None = None
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Run each in turn, several rounds, so that a busy moment of the machine hits all alike.

    Returns
    -------
    dict
        What each returned.
    pandas.DataFrame
        Columns ``what``, ``seconds`` (median), ``extra_MB`` (the most memory that it needed beside
        what was there), ``ratio`` (to the first) and, with a floor, ``floor_ratio`` (to that one).
    """
    process = psutil.Process()
    seconds: dict[str, list[float]] = {what: [] for what in works}
    peaks, results = dict.fromkeys(works, 0), {}
    for _ in range(repeats):
        for what, work in works.items():
            results.pop(what, None)  # the last result is not extra memory of the next run
            before = process.memory_info().rss
            with _watched(process) as seen:
                start = time.perf_counter()
                results[what] = work()
                seconds[what].append(time.perf_counter() - start)
            peaks[what] = max(peaks[what], max(seen) - before)
    medians = {what: statistics.median(times) for what, times in seconds.items()}
    first = next(iter(medians.values()))
    frame = pd.DataFrame(
        {
            "what": list(works),
            "seconds": list(medians.values()),
            "extra_MB": [peak / 1e6 for peak in peaks.values()],
            "ratio": [median / first for median in medians.values()],
        }
    )
    if floor is not None:
        frame["floor_ratio"] = frame["seconds"] / medians[floor]
    return results, frame


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
