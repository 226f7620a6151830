"""Results tables as files: parquet, which keeps every type, and CSV, which people can read."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from isomorph.results.schema import INTEGERS, SCHEMA_VERSION, STRINGS, check_results
from isomorph.storage import atomic_write

SUFFIXES = (".parquet", ".csv")
METADATA_KEY = b"isomorph"
_TEXT_COLUMNS = (*STRINGS, "neighbourhood")
# The default of pandas 3.1 is exact, and naming it deprecated; before that it was a fast guess.
_PANDAS = tuple(int(part) for part in pd.__version__.split(".")[:2])
_EXACT_FLOATS: dict[str, Any] = {} if _PANDAS >= (3, 1) else {"float_precision": "round_trip"}
_MISSING_NUMBERS = ["", "nan", "NaN", "NA", "N/A", "null", "None"]


def write_results(frame: pd.DataFrame, path: str | Path) -> Path:
    """Write a results table (or one of neuroids, or of chosen layers).

    The file appears whole or not at all. The index of the table is not kept.

    Parameters
    ----------
    frame : DataFrame
        The table.
    path : str or Path
        Ends in ``.parquet`` (types and schema version are kept) or ``.csv``. Its folder is made
        if needed; a file of that name is replaced.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        If the table lacks columns, or the suffix is another one.

    Examples
    --------
    >>> write_results(results, "runs/results.parquet")  # doctest: +SKIP
    """
    path = _known_suffix(path)
    check_results(frame)
    with atomic_write(path) as temporary:
        if path.suffix.lower() == ".csv":
            frame.to_csv(temporary, index=False)
        else:
            table = pa.Table.from_pandas(frame, preserve_index=False)
            note = json.dumps({"schema": SCHEMA_VERSION}).encode()
            metadata = {**(table.schema.metadata or {}), METADATA_KEY: note}
            pq.write_table(table.replace_schema_metadata(metadata), temporary)
    return path


def read_results(path: str | Path) -> pd.DataFrame:
    """Read a results table that `write_results` wrote.

    Parameters
    ----------
    path : str or Path
        A ``.parquet`` or ``.csv`` file.

    Returns
    -------
    DataFrame
        With the types that it had.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a results table, is damaged, or was written by a later version.

    Examples
    --------
    >>> results = read_results("runs/results.parquet")  # doctest: +SKIP
    """
    path = _known_suffix(path)
    if not path.is_file():
        raise FileNotFoundError(f"results: no file {path}. Check the path, or run score() first.")
    frame = _read_csv(path) if path.suffix.lower() == ".csv" else _read_parquet(path)
    try:
        check_results(frame)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return frame


def _known_suffix(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"results: expected a path that ends in {' or '.join(SUFFIXES)}, got {path.name!r}. "
            f"Add the suffix."
        )
    return path


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        table = pq.read_table(path)
    except pa.ArrowException as error:
        raise ValueError(f"{path}: not a parquet file that can be read ({error}).") from error
    note = (table.schema.metadata or {}).get(METADATA_KEY)
    version = json.loads(note)["schema"] if note else SCHEMA_VERSION
    if version > SCHEMA_VERSION:
        raise ValueError(
            f"{path}: its schema is version {version}, this isomorph reads up to {SCHEMA_VERSION}. "
            f"Update isomorph."
        )
    return table.to_pandas()


def _read_csv(path: Path) -> pd.DataFrame:
    with path.open(newline="", encoding="utf-8") as handle:
        header = next(csv.reader(handle), [])
    # A region may be called "NA" and a subject "01": text columns are text, and only "" is missing.
    texts = [name for name in header if name in _TEXT_COLUMNS]
    dtypes: dict[Any, Any] = dict.fromkeys(texts, "str")
    dtypes |= {name: "Int64" for name in header if name in INTEGERS}
    if "neighbourhood" in header:  # chosen layers: a group may have none
        dtypes["model_layer_index"] = "Int64"
    missing: dict[Any, Any] = {name: [""] if name in texts else _MISSING_NUMBERS for name in header}
    if not header:
        return pd.DataFrame()
    return pd.read_csv(
        path,
        dtype=dtypes,
        keep_default_na=False,
        na_values=missing,
        **_EXACT_FLOATS,
    )
