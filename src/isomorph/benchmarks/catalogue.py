"""The benchmarks that can be loaded by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from isomorph.benchmarks import kriegeskorte92, macaque_v4, simulated
from isomorph.benchmarks.authors import Publication, is_available
from isomorph.benchmarks.benchmark import Benchmark
from isomorph.registry import Registry


@dataclass(frozen=True)
class BenchmarkEntry:
    """A benchmark that can be loaded by name.

    Parameters
    ----------
    name : str
        Its name in the catalogue and in results.
    loader : callable
        ``loader(root=None, **options) -> Benchmark``.
    summary : str
        One line.
    kind : {"responses", "rdms", "simulated"}
        What is known of the brain: responses, or RDMs only.
    n_stimuli : int or None
        How many stimuli; None if it is chosen.
    citation, licence : str
        For people.
    publication : Publication or None
        The files it needs; None if it needs none.
    """

    name: str
    loader: Callable[..., Benchmark]
    summary: str
    kind: Literal["responses", "rdms", "simulated"]
    n_stimuli: int | None = None
    citation: str = ""
    licence: str = ""
    publication: Publication | None = None

    def available(self, root: str | Path | None = None) -> bool:
        """Tell whether it can be loaded on this machine as it is, without a network."""
        return self.publication is None or is_available(self.publication, root)


BENCHMARKS: Registry[BenchmarkEntry] = Registry(
    "benchmark", "isomorph.list_benchmarks() shows all; make_benchmark takes your own data."
)

BENCHMARKS.add(
    kriegeskorte92.NAME,
    BenchmarkEntry(
        name=kriegeskorte92.NAME,
        loader=kriegeskorte92.load_kriegeskorte92,
        summary=kriegeskorte92.SUMMARY,
        kind="rdms",
        n_stimuli=kriegeskorte92.N_STIMULI,
        citation=kriegeskorte92.CITATION,
        licence=kriegeskorte92.LICENCE,
        publication=kriegeskorte92.PUBLICATION,
    ),
)
BENCHMARKS.add(
    macaque_v4.NAME,
    BenchmarkEntry(
        name=macaque_v4.NAME,
        loader=macaque_v4.load_macaque_v4,
        summary=macaque_v4.SUMMARY,
        kind="responses",
        n_stimuli=macaque_v4.N_STIMULI,
        citation=macaque_v4.CITATION,
        licence=macaque_v4.LICENCE,
        publication=macaque_v4.PUBLICATION,
    ),
)
BENCHMARKS.add(
    simulated.NAME,
    BenchmarkEntry(
        name=simulated.NAME,
        loader=simulated.load_simulated,
        summary=(
            "A brain whose truth is known: regions that read out chosen layers of a model "
            "(in Python: load_benchmark('simulated', model=, regions=); on the command line: "
            "isomorph demo)."
        ),
        kind="simulated",
        citation=simulated.CITATION,
        licence=simulated.LICENCE,
    ),
)


def list_benchmarks(root: str | Path | None = None) -> pd.DataFrame:
    """List every benchmark that can be loaded by name; touches no network.

    Parameters
    ----------
    root : str or Path, optional
        Where to look for data; by default ``ISOMORPH_DATA`` and the cache.

    Returns
    -------
    DataFrame
        One row a benchmark: ``benchmark kind n_stimuli available summary licence citation``;
        `available` tells whether its data are on this machine.

    Examples
    --------
    >>> list_benchmarks()["benchmark"].tolist()  # doctest: +SKIP
    ['kriegeskorte92', 'macaque_v4', 'simulated']
    """
    rows = [
        {
            "benchmark": entry.name,
            "kind": entry.kind,
            "n_stimuli": entry.n_stimuli,
            "available": entry.available(root),
            "summary": entry.summary,
            "licence": entry.licence,
            "citation": entry.citation,
        }
        for entry in BENCHMARKS.values()
    ]
    return pd.DataFrame(rows).astype({"n_stimuli": "Int64"})


def load_registered(name: str, *, root: str | Path | None = None, **options: Any) -> Benchmark:
    """Load a benchmark by name.

    Parameters
    ----------
    name : str
        A name in `list_benchmarks`.
    root : str or Path, optional
        A folder that holds its files, or a folder of its name with them.
    **options
        Handed to its loader.

    Returns
    -------
    Benchmark

    Raises
    ------
    UnknownNameError
        If there is no such benchmark; shows the nearest names.
    FileNotFoundError
        If its data are not on this machine and cannot be fetched.

    Examples
    --------
    >>> load_registered("kriegeskorte92", root="data/")  # doctest: +SKIP
    """
    return BENCHMARKS[name].loader(root=root, **options)
