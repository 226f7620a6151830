"""Features streamed to a folder while the model runs: one pass, nothing held."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tqdm.auto import tqdm

from isomorph.extraction.model import describe_callable
from isomorph.extraction.stored import (
    FeatureFolder,
    FeatureWriter,
    Manifest,
    StoredLayer,
    load_features,
)
from isomorph.extraction.stream import FalseDuplicateError, run_pass
from isomorph.storage import hash_json

if TYPE_CHECKING:
    from isomorph.extraction.extractor import FeatureExtractor

logger = logging.getLogger(__name__)

# A commit waits for the disk; after a kill at most so much of the work is done again.
SECONDS_BETWEEN_COMMITS = 10.0


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

    def take(self, start: int, rows: torch.Tensor) -> None:
        kept = rows.to(self._dtype).reshape(len(rows), *self._shape).cpu()
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
    """Say what an extractor is going to write, and what decides it."""
    model, inputs, reduction = extractor.model, extractor.inputs, extractor.reduction
    dtype = "float32" if reduction.dtype == "bfloat16" else reduction.dtype
    kept: dict[str, Any] = reduction.describe()
    if inputs.grouping is not None:
        kept["group"] = inputs.grouping.kind
    forward = describe_callable(model.forward) if model.forward else ""
    metadata = getattr(inputs.stimuli, "metadata", None)
    labels = None
    if metadata is not None and "label" in metadata and inputs.grouping is None:
        labels = tuple(metadata["label"].astype(str))
    return Manifest(
        model_uid=model.uid,
        weights=model.weights_hash(),
        structure=hash_json([repr(model.module), forward]),
        preprocessing=model.preprocess_spec,
        stimulus_ids=inputs.ids,
        layers=tuple(
            StoredLayer(layer.name, extractor.shape_of(layer.name), dtype)
            for layer in extractor.plan.read()
        ),
        stimulus_hashes=_row_hashes(extractor),
        order=inputs.origin,
        labels=labels,
        reduction=kept,
        batch_size=inputs.batch_size,
        precision=extractor.settings.precision,
        format=format,
        rows_per_file=rows_per_file,
    )


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
    last_commit = time.monotonic()
    batches = iter(starts[starts.index(done) + 1 :])
    with tqdm(
        total=inputs.n_stimuli,
        initial=inputs.stimuli_before(done),
        unit="stimulus",
        disable=not progress,
        leave=False,
    ) as bar:

        def tick(n_stimuli: int) -> None:
            nonlocal last_commit
            stop = next(batches)
            if time.monotonic() - last_commit >= SECONDS_BETWEEN_COMMITS:
                writer.commit(stop)
                last_commit = time.monotonic()
            bar.update(n_stimuli)

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
    bar.close()
