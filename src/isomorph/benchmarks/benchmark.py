"""`Benchmark`: stimuli and what was measured in response to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from PIL import Image

from isomorph.benchmarks.blocks import Block, RDMSet
from isomorph.benchmarks.card import describe
from isomorph.benchmarks.labels import label_columns
from isomorph.registry import unknown_name
from isomorph.stimuli import ImageSet, listing, positions_of
from isomorph.storage import hash_array, hash_json

GROUP = "group"  # the subject that stands for the mean of all: kept out of averages over subjects


@dataclass(frozen=True, eq=False, repr=False)
class Benchmark:
    """Stimuli, responses or RDMs, and who and where they were measured in.

    `make_benchmark` builds one from arrays or tables; `load_benchmark` from a known data set.

    Parameters
    ----------
    name : str
        Stands in the results' column ``benchmark``.
    stimuli : ImageSet
        Every stimulus that has data, in the order that RDMs follow. Columns of its table that
        name classes are `labels`, which may be all that there is.
    blocks : tuple of Block
        Measured responses. One block where everybody saw the same stimuli; subjects who saw
        different ones are blocks of their own, so that no rectangle is filled with NaN. A neuroid
        is in one block only, and so is a subject's region. Empty where there are RDMs only.
    rdm_set : RDMSet, optional
        RDMs that were published without the responses behind them: of other subjects or regions
        than the responses.
    neuroids : DataFrame, optional
        One row a neuroid: ``neuroid_id``, ``subj_id``, a boolean column for each region (regions
        may overlap), and anything else. No subject is called ``group``, which stands for a mean
        over subjects.
    region_columns : tuple of str, optional
        Which columns of `neuroids` are regions. By default all boolean ones.
    description, citation, licence : str
        For people.
    metadata : mapping
        Anything more, such as a model's RDMs to compare with.

    Raises
    ------
    ValueError
        If stimuli, responses, RDMs and neuroids do not fit together; says which do not.

    Examples
    --------
    >>> benchmark = make_benchmark(responses, "images/")  # doctest: +SKIP
    >>> benchmark.regions["V4"].sum(), benchmark.subjects  # doctest: +SKIP
    (50, ('monkey',))
    """

    name: str
    stimuli: ImageSet
    blocks: tuple[Block, ...] = ()
    rdm_set: RDMSet | None = None
    neuroids: pd.DataFrame = field(default_factory=pd.DataFrame)
    region_columns: tuple[str, ...] | None = None
    description: str = ""
    citation: str = ""
    licence: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    _cache: dict[str, Any] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", tuple(self.blocks))
        if not self.blocks and self.rdm_set is None and not self.labels:
            raise ValueError(
                f"{self.name}: expected responses or RDMs, or labels of the stimuli, got none."
            )
        if self.blocks:
            check_stimuli(self.stimuli.ids, self.blocks)
            object.__setattr__(self, "neuroids", _checked_neuroids(self))
        if self.region_columns is None:
            object.__setattr__(self, "region_columns", boolean_columns(self.neuroids))
        if self.blocks:
            _check_regions(self)
            _check_rows_differ(self)
        if self.rdm_set is not None and self.rdm_set.n_stimuli != len(self.stimuli):
            raise ValueError(
                f"{self.name}: expected RDMs of the {len(self.stimuli)} stimuli, got RDMs of "
                f"{self.rdm_set.n_stimuli}. Give both for the same stimuli in the same order."
            )

    def __repr__(self) -> str:
        return describe(self)

    @property
    def responses(self) -> xr.DataArray:
        """The responses, where everybody saw the same stimuli (one block)."""
        if len(self.blocks) == 1:
            return self.blocks[0].responses
        if not self.blocks:
            raise ValueError(
                f"{self.name}: expected responses, but it has RDMs only: use .rdm_set."
            )
        raise ValueError(
            f"{self.name}: expected one block of responses, got {len(self.blocks)}, whose subjects "
            f"saw different stimuli: use .blocks."
        )

    @property
    def labels(self) -> dict[str, np.ndarray]:
        """Classes of the stimuli by the name of the label: text, None where one is missing."""
        if "labels" not in self._cache:
            self._cache["labels"] = label_columns(self.stimuli.metadata)
        return self._cache["labels"]

    @property
    def regions(self) -> dict[str, np.ndarray]:
        """Each region's neuroids, as a boolean mask over the rows of `neuroids`."""
        columns = self.region_columns or ()
        return {name: self.neuroids[name].to_numpy(dtype=bool) for name in columns}

    @property
    def region_names(self) -> tuple[str, ...]:
        """All regions, of responses and of RDMs."""
        of_rdms = self.rdm_set.regions if self.rdm_set is not None else ()
        return tuple(dict.fromkeys([*(self.region_columns or ()), *of_rdms]))

    @property
    def subjects(self) -> tuple[str, ...]:
        """All subjects, in the order they come; ``group`` is a mean over subjects."""
        of_neuroids = self.neuroids["subj_id"].tolist() if self.blocks else []
        of_rdms = self.rdm_set.subjects if self.rdm_set is not None else ()
        return tuple(dict.fromkeys([*of_neuroids, *of_rdms]))

    def get_stimulus(self, stimulus: int | str) -> Image.Image:
        """Give one stimulus, by position or id."""
        if isinstance(stimulus, str):
            return self.stimuli.load(self.stimuli.position(stimulus))
        return self.stimuli.load(int(positions_of([stimulus], len(self.stimuli))[0]))

    def positions(self, block: Block) -> np.ndarray:
        """Give the positions in `stimuli` of a block's stimuli: (n,) int."""
        return np.array([self.stimuli.position(name) for name in block.stimulus_ids])

    def select(
        self,
        *,
        regions: str | Sequence[str] | None = None,
        subjects: str | Sequence[str] | None = None,
        stimuli: Sequence[int] | Sequence[str] | np.ndarray | None = None,
    ) -> Benchmark:
        """Give the part of some regions, subjects or stimuli.

        Parameters
        ----------
        regions, subjects : str or sequence of str, optional
            Names to keep. Regions that no kept subject has are left out.
        stimuli : sequence of int or str, or mask, optional
            Positions or ids to keep; the benchmark's order stays as it is. Stimuli that no kept
            subject saw are left out.

        Returns
        -------
        Benchmark
            `metadata` is handed on as it is and still describes the whole; a ``group`` RDM
            remains the mean over all subjects.

        Raises
        ------
        UnknownNameError
            If a name does not exist.
        """
        kept_regions = _names("region", regions, self.region_names)
        kept_subjects = _names("subject", subjects, self.subjects)
        chosen = self._stimulus_mask(stimuli)
        neuroids, blocks = self._select_blocks(kept_regions, kept_subjects, chosen)
        rdm_set = self._select_rdms(kept_regions, kept_subjects, chosen)
        labels_only = not self.blocks and self.rdm_set is None
        if not blocks and rdm_set is None and not labels_only:
            raise ValueError(
                f"{self.name}: no data of subjects {', '.join(kept_subjects)} in regions "
                f"{', '.join(kept_regions)} for these stimuli."
            )
        if (
            rdm_set is None and not labels_only
        ):  # stimuli that only left-out subjects saw go with them
            seen = {name for block in blocks for name in block.stimulus_ids}
            chosen = np.array([name in seen for name in self.stimuli.ids]) & chosen
        columns = tuple(
            c
            for c in self.region_columns or ()
            if c in kept_regions and np.asarray(neuroids[c]).any()
        )
        return replace(
            self,
            stimuli=self.stimuli.subset(chosen),
            blocks=blocks,
            rdm_set=rdm_set,
            neuroids=neuroids,
            region_columns=columns,
        )

    def fingerprint(self) -> str:
        """Hash stimuli (ids and content), responses, RDMs, neuroids and labels; computed once."""
        if "fingerprint" not in self._cache:
            table = {
                str(c): _hash_column(np.asarray(self.neuroids[c])) for c in self.neuroids.columns
            }
            self._cache["fingerprint"] = hash_json(
                {
                    "stimuli": [self.stimuli.ids, self.stimuli.content_hashes()],
                    "blocks": [block.fingerprint() for block in self.blocks],
                    "rdms": self.rdm_set.fingerprint() if self.rdm_set is not None else None,
                    "neuroids": table,
                    "regions": self.region_columns,
                    "labels": {name: classes.tolist() for name, classes in self.labels.items()},
                }
            )
        return self._cache["fingerprint"]

    def _stimulus_mask(self, stimuli: Any) -> np.ndarray:
        mask = np.ones(len(self.stimuli), dtype=bool)
        if stimuli is not None:
            chosen = list(stimuli)
            if chosen and all(isinstance(name, str) for name in chosen):
                chosen = [self.stimuli.position(name) for name in chosen]
            mask[:] = False
            mask[positions_of(np.asarray(chosen), len(self.stimuli))] = True
        return mask

    def _select_blocks(
        self, regions: tuple[str, ...], subjects: tuple[str, ...], stimuli: np.ndarray
    ) -> tuple[pd.DataFrame, tuple[Block, ...]]:
        columns = [name for name in self.region_columns or () if name in regions]
        if not self.blocks or not columns:
            return self.neuroids.iloc[:0], ()
        subject = np.asarray(self.neuroids["subj_id"], dtype=object)
        kept = np.isin(subject, list(subjects))
        if len(columns) < len(self.regions):  # neuroids outside all regions go only then
            kept &= np.any([self.regions[name] for name in columns], axis=0)
        names = np.asarray(self.neuroids["neuroid_id"], dtype=object)
        ids, seen = set(names[kept]), set()
        blocks = []
        for block in self.blocks:
            neuroids = [i for i, name in enumerate(block.neuroid_ids) if name in ids]
            rows = np.flatnonzero(stimuli[self.positions(block)])
            if neuroids and len(rows):
                blocks.append(block.select(rows, neuroids))
                seen.update(blocks[-1].neuroid_ids)
        rows = np.flatnonzero([name in seen for name in names])
        return self.neuroids.iloc[rows].reset_index(drop=True), tuple(blocks)

    def _select_rdms(
        self, regions: tuple[str, ...], subjects: tuple[str, ...], stimuli: np.ndarray
    ) -> RDMSet | None:
        if self.rdm_set is None:
            return None
        frame = self.rdm_set.frame
        pairs = zip(frame["region"].tolist(), frame["subj_id"].tolist(), strict=True)
        rows = np.flatnonzero([region in regions and name in subjects for region, name in pairs])
        return self.rdm_set.select(rows, np.flatnonzero(stimuli)) if len(rows) else None


def check_stimuli(ids: Sequence[str], blocks: Sequence[Block], hint: str = "") -> None:
    """Raise if responses and stimuli are not of the same stimuli; say how many and which."""
    with_responses = dict.fromkeys(name for block in blocks for name in block.stimulus_ids)
    known = set(ids)
    no_image = [name for name in with_responses if name not in known]
    no_response = [name for name in ids if name not in with_responses]
    if not no_image and not no_response:
        return
    parts = [f"{len(with_responses)} responses but {len(ids)} images"]
    if no_image:
        parts.append(f"missing: {listing(no_image)}")
    if no_response:
        parts.append(f"without responses: {listing(no_response)}")
    shared = len(with_responses) - len(no_image)
    if not shared:
        hint = f"No id is in both (images are named like {ids[0]}): name them alike."
    raise ValueError(
        f"stimuli: {'; '.join(parts)}. "
        + (hint or (f'Pass on_missing="drop" to make_benchmark to score the {shared}.'))
    )


def _checked_neuroids(benchmark: Benchmark) -> pd.DataFrame:
    """Give the table of neuroids with ids as text, after checking it against the blocks."""
    table = benchmark.neuroids
    absent = [name for name in ("neuroid_id", "subj_id") if name not in table.columns]
    if absent:
        raise ValueError(
            f"neuroids: expected the columns neuroid_id and subj_id, got "
            f"{[str(c) for c in table.columns]}. Add {' and '.join(absent)}."
        )
    if any(np.asarray(table[name].isna()).any() for name in ("subj_id", "neuroid_id")):
        raise ValueError("neuroids: expected neuroid_id and subj_id in every row, got empty ones.")
    table = table.reset_index(drop=True)
    table = table.assign(
        neuroid_id=table["neuroid_id"].astype(str), subj_id=table["subj_id"].astype(str)
    )
    if (table["subj_id"] == GROUP).any():
        raise ValueError(
            f"neuroids: expected the subj_id of a participant or animal, got {GROUP!r}, which "
            f"stands for a mean over subjects and is kept out of averages. Give another name."
        )
    measured = [name for block in benchmark.blocks for name in block.neuroid_ids]
    for where, names in (("neuroids", table["neuroid_id"].tolist()), ("blocks", measured)):
        repeated = [name for name, count in Counter(names).items() if count > 1]
        if repeated:
            raise ValueError(
                f"{where}: expected each neuroid once, but {len(repeated)} come more often: "
                f"{listing(repeated)}. Give neuroids of different subjects different ids."
            )
    described = set(table["neuroid_id"])
    missing = [name for name in measured if name not in described]
    unmeasured = sorted(described - set(measured))
    if missing or unmeasured:
        raise ValueError(
            f"neuroids: expected one row for each of the {len(measured)} neuroids with responses, "
            f"got {len(table)} rows; without a row: {listing(missing)}; without responses: "
            f"{listing(unmeasured)}."
        )
    return table


def _check_regions(benchmark: Benchmark) -> None:
    table, columns = benchmark.neuroids, benchmark.region_columns or ()
    if not columns:
        raise ValueError(
            f"neuroids: expected a boolean column for each region, got none among "
            f"{[str(c) for c in table.columns]}. For one region of all neuroids add a column of "
            f"True, or pass regions= to make_benchmark."
        )
    for name in columns:
        if name not in table.columns:
            raise unknown_name("region column", name, [str(c) for c in table.columns])
        if table[name].dtype != bool:
            raise ValueError(
                f"region {name}: expected a boolean column, got dtype {table[name].dtype}. "
                f"Convert it with .astype(bool) once no value is missing."
            )
        if not np.asarray(table[name]).any():
            raise ValueError(f"region {name}: expected neuroids, got none. Leave the region out.")
    inside = table[list(columns)].any(axis=1)
    empty = sorted(set(table["subj_id"]) - set(table.loc[inside, "subj_id"]))
    if empty:
        raise ValueError(
            f"neuroids: expected every subject to have neuroids in a region, got none for "
            f"{listing(empty)}. Leave these subjects out, or add a region for them."
        )


def _check_rows_differ(benchmark: Benchmark) -> None:
    """Refuse a region of a subject that would be scored twice under the same names."""
    where = {
        name: number for number, block in enumerate(benchmark.blocks) for name in block.neuroid_ids
    }
    in_block = benchmark.neuroids["neuroid_id"].map(where)
    of_rdms = set()
    if benchmark.rdm_set is not None:
        frame = benchmark.rdm_set.frame
        of_rdms = set(zip(frame["region"], frame["subj_id"], strict=True))
    for region, inside in benchmark.regions.items():
        blocks = in_block[inside].groupby(benchmark.neuroids["subj_id"][inside]).nunique()
        for subject, count in blocks.items():
            if count > 1:
                raise ValueError(
                    f"region {region} of subject {subject}: expected its neuroids in one block, "
                    f"got them in {count}, whose scores could not be told apart. Give each part a "
                    f"region of its own, or put them into one block."
                )
            if (region, subject) in of_rdms:
                raise ValueError(
                    f"region {region} of subject {subject}: expected responses or an RDM, got "
                    f"both, whose scores could not be told apart. Leave one out or rename it."
                )


def _names(
    kind: str, wanted: str | Sequence[str] | None, known: tuple[str, ...]
) -> tuple[str, ...]:
    if wanted is None:
        return known
    chosen = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    for name in chosen:
        if name not in known:
            raise unknown_name(kind, name, known)
    return chosen


def boolean_columns(table: pd.DataFrame) -> tuple[str, ...]:
    """Name the columns of a table that hold true and false alone."""
    return tuple(str(name) for name in table.columns if table[name].dtype == bool)


def _hash_column(column: np.ndarray) -> str:
    if column.dtype.kind in "biuf":
        return hash_array(column)
    return hash_json([str(value) for value in column])
