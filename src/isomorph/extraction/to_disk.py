"""Features streamed to a folder while the model runs: one pass, nothing held."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from isomorph.extraction.batches import Step
from isomorph.extraction.describe import describe_callable
from isomorph.extraction.inputs import Inputs
from isomorph.extraction.loaders import describe_data_set
from isomorph.extraction.model import Batch
from isomorph.extraction.sinks import Overflow
from isomorph.extraction.stored import (
    FeatureFolder,
    FeatureWriter,
    Manifest,
    StoredLayer,
    load_features,
)
from isomorph.extraction.stored.differences import INPUTS
from isomorph.extraction.stored.manifest import library_versions, stored_dtype
from isomorph.extraction.stream import FalseDuplicateError, run_pass
from isomorph.stimuli import ImageSet, TextSet, VideoSet
from isomorph.storage import hash_array, hash_json

if TYPE_CHECKING:
    from isomorph.extraction.extractor import FeatureExtractor

logger = logging.getLogger(__name__)

# A commit waits for the disk; after a kill at most so much of the work is done again.
SECONDS_BETWEEN_COMMITS = 5.0
# What a manifest keeps of a few stimuli, to notice what no name and no hash shows.
PROBED_STIMULI = 3
PROBED_VALUES = 8


class WriterSink:
    """Writes a layer's rows as they come.

    Parameters
    ----------
    writer : FeatureWriter
    layer : str
    shape : tuple of int
        Of a row, as it is stored.
    dtype : torch.dtype
        What is kept of each number, before it is stored.
    """

    def __init__(
        self, writer: FeatureWriter, layer: str, shape: tuple[int, ...], dtype: torch.dtype
    ) -> None:
        self._writer, self._layer, self._shape, self._dtype = writer, layer, shape, dtype
        self._overflow = Overflow(layer)

    def take(self, start: int, rows: torch.Tensor) -> None:
        kept = rows.to(self._dtype)
        self._overflow.check(rows, kept)
        kept = kept.reshape(len(rows), *self._shape).cpu()
        # NumPy knows no bfloat16; float32 holds its every value.
        kept = kept.float() if kept.dtype == torch.bfloat16 else kept
        self._writer.write(self._layer, start, kept.numpy())

    def give(self) -> None:
        """Nothing: the rows are in the file."""


def write_features(
    extractor: FeatureExtractor,
    folder: str | Path,
    *,
    format: str = "npy",
    rows_per_file: int | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> FeatureFolder:
    """Write an extractor's layers to a folder in one forward pass.

    Parameters
    ----------
    extractor : FeatureExtractor
        Its memory limit plays no part: rows go to the disk batch by batch.
    folder : str or Path
        New, empty, or begun by the same call.
    format : str
        A name in `FORMATS`.
    rows_per_file : int, optional
        Split each layer into files of so many rows.
    overwrite : bool
        Replace the features of another extraction.
    progress : bool
        Show a progress bar.

    Returns
    -------
    FeatureFolder
        {layer: array}, read when it is asked for.

    Raises
    ------
    ValueError
        If the folder holds features of something else; says what differs.
    OSError
        If the disk is too small, or becomes full; what is complete is kept.
    """
    if not str(folder).strip():
        raise ValueError("folder: expected the name of a folder, got ''. Use '.' for this one.")
    manifest = make_manifest(extractor, format=format, rows_per_file=rows_per_file)
    with FeatureWriter(folder, manifest, overwrite=overwrite) as writer:
        _follow(extractor, writer)
        while not writer.complete:
            try:
                _run(extractor, writer, progress)
                writer.finish()
            except FalseDuplicateError as error:
                logger.warning("%s Starting again with it.", error)
                extractor.read_apart(error.layer)
                writer.restart(make_manifest(extractor, format=format, rows_per_file=rows_per_file))
    return load_features(folder)


def make_manifest(
    extractor: FeatureExtractor, *, format: str = "npy", rows_per_file: int | None = None
) -> Manifest:
    """Say what an extractor is going to write, and what decides it.

    A few stimuli are run through the model for it. Where they show that a layer was taken for a
    duplicate by chance, the extractor's plan is mended.
    """
    model, inputs, reduction = extractor.model, extractor.inputs, extractor.reduction
    inputs_hash, probes = _probed(extractor)
    dtype = stored_dtype(reduction.dtype)
    kept: dict[str, Any] = reduction.describe()
    if inputs.grouping is not None:
        kept["group"] = inputs.grouping.kind
    forward = describe_callable(model.forward) if model.forward else ""
    labels, groups = _labels_and_groups(inputs)
    return Manifest(
        model_uid=model.uid,
        weights=model.weights_hash(),
        structure=hash_json([repr(model.module), forward]),
        preprocessing=_preprocessing(extractor),
        stimulus_ids=inputs.ids,
        layers=tuple(
            StoredLayer(layer.name, extractor.shape_of(layer.name), dtype)
            for layer in extractor.plan.read()
        ),
        stimulus_hashes=_row_hashes(extractor),
        order=inputs.origin,
        labels=labels,
        groups=groups,
        reduction=kept,
        batch_size=inputs.batch_size,
        precision=extractor.settings.precision,
        format=format,
        rows_per_file=rows_per_file,
        versions={
            **library_versions(),
            "device": extractor.settings.device.type,
            "memory layout": "channels "
            + ("last" if extractor.settings.channels_last else "first"),
        },
        inputs_hash=inputs_hash,
        probes=probes,
    )


def _preprocessing(extractor: FeatureExtractor) -> str:
    words = [extractor.model.preprocess_spec]
    if isinstance(extractor.inputs.stimuli, Dataset):
        words.append(describe_data_set(extractor.inputs.stimuli))
    return "; ".join(filter(None, words))


def _labels_and_groups(inputs: Inputs) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Labels and groups of the rows; where stimuli are grouped, a row's name is its group."""
    stimuli = inputs.stimuli
    # Whatever a data set of one's own calls by these names may be something else.
    if inputs.grouping is not None or not isinstance(stimuli, ImageSet | TextSet | VideoSet):
        return None, None
    labels = None
    if "label" in stimuli.metadata:
        labels = tuple(stimuli.metadata["label"].astype(str))
    groups = None if stimuli.groups is None else tuple(map(str, stimuli.groups))
    return labels, groups


@dataclass(frozen=True)
class _Few:
    """A batch of stimuli from all over the set, each a row."""

    batch: Batch
    grouping: None = None

    def steps(self, start: int = 0) -> Iterator[Step]:
        yield Step(self.batch, start)


@dataclass(frozen=True)
class _ProbeSink:
    """Keeps a few numbers of each row."""

    dtype: torch.dtype
    words: dict[int, str] = field(default_factory=dict)

    def take(self, start: int, rows: torch.Tensor) -> None:
        kept = rows.to(self.dtype).flatten(start_dim=1) if rows.ndim > 1 else rows[:, None]
        self.words.update(enumerate(_probe_words(kept), start))

    def give(self) -> tuple[str, ...]:
        return tuple(self.words[row] for row in sorted(self.words))


def _probe_words(rows: torch.Tensor) -> list[str]:
    """Values at fixed places of each row, then its mean and root mean square, (n, …) → n texts."""
    wide = rows.detach().reshape(len(rows), -1).cpu().double()
    places = torch.linspace(0, wide.shape[1] - 1, min(PROBED_VALUES, wide.shape[1])).long()
    sums = torch.stack([wide.mean(dim=1), wide.square().mean(dim=1).sqrt()], dim=1)
    numbers = torch.cat([wide[:, places], sums], dim=1)
    return [" ".join(f"{number:.6g}" for number in row) for row in numbers.tolist()]


def _probed(extractor: FeatureExtractor) -> tuple[str, dict[str, tuple[str, ...]]]:
    """Run a few stimuli: a hash of what is exact of the inputs, and numbers of what is not."""
    batch = extractor.inputs.spread(PROBED_STIMULI)
    named = batch if isinstance(batch, Mapping) else {"": batch}
    exact = [
        [name, str(tensor.dtype), list(tensor.shape[1:])]
        + ([] if tensor.is_floating_point() else [hash_array(tensor.cpu().numpy())])
        for name, tensor in named.items()
    ]
    measured = [tensor for tensor in named.values() if tensor.is_floating_point()]
    probes = {INPUTS: tuple(words for tensor in measured for words in _probe_words(tensor))}
    probes = probes if measured else {}
    while True:
        sinks = {
            layer.name: [_ProbeSink(extractor.reduction.torch_dtype)]
            for layer in extractor.plan.read()
        }
        try:
            run_pass(
                extractor.model,
                cast(Inputs, _Few(batch)),
                extractor.plan,
                sinks,
                extractor.settings,
                reducers=extractor.reducers,
            )
        except FalseDuplicateError as error:
            logger.warning("%s It is read too.", error)
            extractor.read_apart(error.layer)
            continue
        return hash_json(exact), probes | {name: sink[0].give() for name, sink in sinks.items()}


def _row_hashes(extractor: FeatureExtractor) -> tuple[str, ...]:
    hashes, grouping = extractor.inputs.content_hashes(), extractor.inputs.grouping
    if grouping is None:
        return hashes
    rows: list[str] = []
    first = 0
    for size in grouping.sizes:
        rows.append(hash_json([hashes[i] for i in grouping.order[first : first + size]]))
        first += size
    return tuple(rows)


def _follow(extractor: FeatureExtractor, writer: FeatureWriter) -> None:
    """Go on as the folder was begun: with its layers, and in its batches."""
    stored = writer.manifest
    planned = {layer.name for layer in extractor.plan.read()}
    for layer in stored.layers:
        if layer.name not in planned:
            # Found, before the interruption, to be no duplicate.
            extractor.read_apart(extractor.plan[layer.name])
    if writer.rows_done and not writer.complete:
        logger.info("%s: going on after %d rows.", writer.folder, writer.rows_done)
        if stored.batch_size and stored.batch_size != extractor.inputs.batch_size:
            # Sums round differently in other batches; the bytes are to be the same.
            logger.warning(
                "batch_size: going on with %d, as the folder was begun, and not %d.",
                stored.batch_size,
                extractor.inputs.batch_size,
            )
            extractor.inputs.cut(stored.batch_size)


def _run(extractor: FeatureExtractor, writer: FeatureWriter, progress: bool) -> None:
    inputs = extractor.inputs
    sinks = {
        layer.name: [
            WriterSink(
                writer,
                layer.name,
                extractor.shape_of(layer.name),
                extractor.reduction.torch_dtype,
            )
        ]
        for layer in extractor.plan.read()
    }
    starts = inputs.starts()
    done = writer.rows_done
    # Whole batches only: rows of a batch that was cut by the interruption are made again.
    done = max(start for start in starts if start <= done)
    last_commit, whole = time.monotonic(), done
    batches = iter(starts[starts.index(done) + 1 :])
    with tqdm(
        total=inputs.n_stimuli,
        initial=inputs.stimuli_before(done),
        unit="stimulus",
        disable=not progress,
        leave=False,
    ) as bar:

        def tick(n_stimuli: int) -> None:
            nonlocal last_commit, whole
            whole = next(batches)
            if time.monotonic() - last_commit >= SECONDS_BETWEEN_COMMITS:
                writer.commit(whole)
                last_commit = time.monotonic()
            bar.update(n_stimuli)

        try:
            run_pass(
                extractor.model,
                inputs,
                extractor.plan,
                sinks,
                extractor.settings,
                reducers=extractor.reducers,
                start=done,
                tick=tick,
            )
        except FalseDuplicateError:
            raise
        except BaseException:
            # An error or an interruption: what is whole is kept. The error itself comes first.
            with contextlib.suppress(OSError, ValueError):
                writer.commit(whole)
            raise
