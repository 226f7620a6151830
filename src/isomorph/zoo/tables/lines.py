"""Reading our own tables: CSV files whose first lines, after a #, say how they were made."""

from __future__ import annotations

import csv
from pathlib import Path


def named_lines(file: Path) -> dict[str, dict[str, str]]:
    """Give a table's lines by their ``name``."""
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    return {line["name"]: line for line in csv.DictReader(lines)}
