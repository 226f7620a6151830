"""Fixtures that many tests share."""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib
import pytest

matplotlib.use("Agg")

DEFAULT_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data: ISOMORPH_DATA, or ../shared/data beside the checkout."""
    folder = Path(os.environ.get("ISOMORPH_DATA") or DEFAULT_DATA)
    if not (folder / "SHA256SUMS").is_file():
        pytest.skip(f"real data: no data folder at {folder} (set ISOMORPH_DATA)")
    return folder
