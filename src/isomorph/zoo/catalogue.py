"""`list_models`: one table of everything that the installed libraries can load."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from isomorph.storage import atomic_write, cache_folder, hash_json
from isomorph.zoo.query import compared_rows, is_glob, keyword_rows, matching_rows
from isomorph.zoo.registered import OURS, model_sources, plug_ins
from isomorph.zoo.uid import ALIASES

if TYPE_CHECKING:  # torch is not waited for where the catalogue is kept
    from isomorph.zoo.source import Row, Source

logger = logging.getLogger(__name__)

_WHOLE = ("n_params", "input_size", "weights_bytes")
_HERE = Path(__file__).parent


def list_models(
    query: str = "", *, where: str = "", random_twins: bool = False, **columns: Any
) -> pd.DataFrame:
    """List the models that can be loaded, one row for each published weight set.

    Every row is also there as its random twin: ``load_model(uid, weights=None)``.

    Parameters
    ----------
    query : str
        Words that must all occur in the uid, modality, architecture, family, task or training
        data, as parts of words too: ``"dino vit"``.
    where : str
        Comparisons of columns with values: ``"n_params < 30e6 and task == 'classification'"``.
    random_twins : bool
        Add a row ``source/name@random-0`` for every name, trained on nothing.
    **columns
        Column = value, to keep only such rows: an exact value (texts in any case), a glob, or a
        list of them: ``source="timm"``, ``name="resnet*"``, ``family=["mlp", "hybrid"]``.

    Returns
    -------
    pandas.DataFrame
        Columns ``uid source name weights default modality architecture family task train_data
        n_params input_size license weights_bytes url``; their meaning is that of the fields of
        `isomorph.zoo.Row`. Nothing is downloaded or built. Libraries that are not installed are
        not in it.

    Raises
    ------
    UnknownNameError
        If a column does not exist, or no model has such a value; gives the nearest.
    ImportError
        If the library of the source asked for is not installed; names the extra that installs it.
    ValueError
        If `where` cannot be read.

    Examples
    --------
    >>> list_models(source="torchvision", name="alexnet").uid.tolist()
    ['torchvision/alexnet@IMAGENET1K_V1']
    """
    if not isinstance(query, str) or not isinstance(where, str):
        raise TypeError(
            f"list_models: expected texts as query and where, got {query!r} and {where!r}. Several "
            f"values go to a column: name=[...]."
        )
    frame = catalogue()
    if random_twins:
        frame = pd.concat([frame, twins_of(frame)], ignore_index=True)
    kept = pd.Series(True, index=frame.index)
    for column, wanted in columns.items():
        if column == "source" and isinstance(wanted, str) and not is_glob(wanted):
            wanted = ALIASES.get(wanted, wanted)
            # A source without models is no mistake; one that does not exist, or whose library is
            # missing, is.
            if wanted not in set(frame["source"]):
                model_sources()[wanted].need_library()
            kept &= frame["source"] == wanted
            continue
        kept &= matching_rows(frame, column, wanted)
    if query:
        kept &= keyword_rows(frame, query)
    if where:
        kept &= compared_rows(frame, where)
    return frame[kept].reset_index(drop=True)


def twins_of(frame: pd.DataFrame) -> pd.DataFrame:
    """Give the random twin of every name in a catalogue: trained on nothing, at no address."""
    twins = frame.sort_values("default", ascending=False, kind="stable")
    twins = twins.drop_duplicates(["source", "name"]).sort_index()
    return twins.assign(
        uid=twins["source"] + "/" + twins["name"] + "@random-0",
        weights="random-0",
        default=False,
        task="none",
        train_data="none",
        weights_bytes=pd.array([pd.NA] * len(twins), dtype="Int64"),
        url="",
    )


def catalogue() -> pd.DataFrame:
    """Give the whole catalogue, from the cache where the same libraries made it before."""
    frame = _catalogue(_key())
    changing = [source for source in _loaded_sources().values() if not source.fixed]
    own = [row for source in changing if source.installed for row in source.rows()]
    return pd.concat([frame, as_frame(own)], ignore_index=True) if own else frame.copy()


def _loaded_sources() -> Mapping[str, Source]:
    """Give the sources whose rows may change; none where nobody has imported any."""
    asked = model_sources.cache_info().currsize or plug_ins()
    return model_sources() if asked or "isomorph.zoo.sources.own" in sys.modules else {}


@functools.lru_cache(maxsize=1)
def _catalogue(key: str) -> pd.DataFrame:
    file = cache_folder() / "catalogue" / f"{key}.parquet"
    if file.is_file():
        try:
            kept = pd.read_parquet(file)
            if {"uid", "source", "n_params", "default"} <= set(kept):
                return kept
        except Exception:  # a cache that cannot be read is made again
            logger.info("%s could not be read and is made again.", file, exc_info=True)
    there = [source for source in model_sources().values() if source.installed and source.fixed]
    rows: list[Row] = []
    whole = True
    for source in there:
        try:
            rows.extend(source.rows())
        except Exception as error:  # a library that does not import must not cost the others
            whole = False
            logger.warning(
                "source %s is left out: %s: %s", source.name, type(error).__name__, error
            )
    frame = as_frame(rows)
    if not whole:
        return frame
    try:
        with atomic_write(file) as temporary:
            frame.to_parquet(temporary)
    except OSError as error:  # a home that may not be written to: only the time is lost
        logger.info("the catalogue is not kept (%s).", error)
    return frame


def as_frame(rows: list[Row]) -> pd.DataFrame:
    """Make the table of rows."""
    from isomorph.zoo.source import COLUMNS

    frame = pd.DataFrame([{name: getattr(row, name) for name in COLUMNS} for row in rows])
    frame = frame.reindex(columns=list(COLUMNS))
    return frame.astype(dict.fromkeys(_WHOLE, "Int64") | {"default": bool})


def _key() -> str:
    """Name what the catalogue depends on: libraries with their versions, and our own files."""
    there = {
        name: version_of(distribution)
        for name, (library, distribution) in OURS.items()
        if not library or importlib.util.find_spec(library) is not None
    }
    plugged = [
        (point.name, point.value, str(point.dist and point.dist.version)) for point in plug_ins()
    ]
    files = sorted(path for path in _HERE.rglob("*") if path.suffix in {".py", ".csv", ".json"})
    ours = [(str(path.relative_to(_HERE)), path.stat().st_mtime_ns) for path in files]
    return hash_json([there, plugged, ours])[:16]


def version_of(distribution: str) -> str:
    """Give the version of a distribution; empty if it is not installed."""
    try:
        return importlib.metadata.version(distribution) if distribution else ""
    except importlib.metadata.PackageNotFoundError:
        return ""
