"""Run every benchmark in one go: ``python -m bench``, or ``make bench``."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from bench import extraction, rdm, ridge
from bench.peers import DISCLOSURE
from isomorph.storage import atomic_write

LIBRARIES = (
    *("isomorph", "torch", "torchvision", "numpy", "rsatoolbox", "himalaya", "scikit-learn"),
    *("thingsvision", "torchlens"),
)


@dataclass(frozen=True)
class Section:
    """One table of the report."""

    title: str
    run: Callable[[], pd.DataFrame]
    note: str = ""


SECTIONS = {
    "extraction": Section(
        "Every layer of a network, JPEGs of 425 px (ratio to plain decode + forward)",
        extraction.run,
        DISCLOSURE,
    ),
    "wrong": Section(
        "Maps that differ from a clone at their hook, 5 images in batches of 2",
        extraction.run_wrong,
    ),
    "large": Section(
        "All distinct layers of a network whose maps do not fit, in 4 GB: predicted and taken",
        extraction.run_large,
    ),
    "scaling": Section(
        "More stimuli, every layer pooled and written to disk", extraction.run_scaling
    ),
    "rdm": Section(
        "Pearson RDM of 1000 × 100 000 float32 (ratio to ours; floor: one symmetric product)",
        rdm.run,
    ),
    "ridge": Section(
        "Ridge with leave-one-out, n 500, p 6000, 3000 targets, 7 alphas (ratio to ours)", ridge.run
    ),
}


def machine() -> str:
    """Name the machine and the versions, for the head of a report."""
    cpu = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), cpu)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return f"{cpu}, {torch.get_num_threads()} threads, {gpu}; {', '.join(found)}"


def markdown(table: pd.DataFrame) -> str:
    """Write a table as Markdown, numbers to three figures."""
    cells = [list(table.columns)]
    for row in table.to_dict("records"):
        cells.append([_cell(value) for value in row.values()])
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "---|" * len(cells[0]), *lines[1:]])


def _cell(value: Any) -> str:
    if pd.isna(value):
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Print every table, and keep them in a file if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", type=Path, help="write the report to this Markdown file")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    arguments = parser.parse_args()
    report = ["# Benchmarks", "", f"{datetime.date.today()}; {machine()}", ""]
    report += [
        "Medians of a few turns in one run; `extra_MB` is the most memory needed beside what was",
        "there before. Run it with `make bench`; quote ratios, not seconds.",
        "",
    ]
    print("\n".join(report))
    for section in map(SECTIONS.__getitem__, arguments.sections):
        print(f"## {section.title}\n")
        table = section.run()
        text = table.to_string(index=False, float_format=lambda x: f"{x:.3g}", na_rep="")
        print(text, "\n", flush=True)
        report += [f"## {section.title}", "", markdown(table), ""]
        if section.note:
            print(section.note, "\n")
            report += [section.note, ""]
    if arguments.save:
        with atomic_write(arguments.save) as temporary:
            temporary.write_text("\n".join(report))


if __name__ == "__main__":
    main()
