"""Timing several ways of doing one thing, in turns, with the memory that each needs."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import psutil


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
