"""`extract_features`: a model's maps over a stimulus set, in memory or in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from isomorph.extraction.extractor import FeatureExtractor
from isomorph.extraction.features import Features
from isomorph.extraction.model import Model
from isomorph.extraction.selection import LayersAsked
from isomorph.extraction.stored import FORMATS
from isomorph.storage import check_folder


def extract_features(
    model: Model | torch.nn.Module,
    stimuli: Any,
    layers: LayersAsked = None,
    *,
    out: str | Path | None = None,
    format: str = "npy",
    rows_per_file: int | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    **options: Any,
) -> Any:
    """Extract a model's maps over a stimulus set: all in memory, or to a folder.

    Parameters
    ----------
    model, stimuli, layers
        As in `FeatureExtractor`.
    out : str or Path, optional
        A folder to stream to in one forward pass, whatever the memory: one file a layer, the order
        of the stimuli and a manifest. Called again after it was interrupted, it goes on from the
        last complete batch and ends with the same bytes; called again when complete, it reads.
    format : str
        Of the files: ``"npy"``, ``"hdf5"``, ``"mat"``, ``"csv"``, ``"txt"``, ``"safetensors"``,
        ``"zarr"``.
    rows_per_file : int, optional
        Split each layer into files of so many rows.
    overwrite : bool
        Replace the features of another extraction in that folder.
    dry_run : bool
        Do nothing; give what it would cost, an `Estimate`.
    **options
        The other options of `FeatureExtractor`.

    Returns
    -------
    Features
        {layer: (n_stimuli, ...)}, in call order, with the ``ids`` of the rows; with ``out``, a
        `FeatureFolder`, whose arrays are read when they are asked for.

    Raises
    ------
    MemoryError
        If the maps do not fit together; use `FeatureExtractor`, which gives them in groups, or
        ``out``.
    ValueError
        If the folder holds features of something else; says what differs.

    Examples
    --------
    >>> features = extract_features(model, "images/", layers=["features.10"])  # doctest: +SKIP
    >>> features = extract_features(model, "images/", out="features/")  # doctest: +SKIP
    """
    if out is not None:
        check_target(out, format)
    extractor = FeatureExtractor(model, stimuli, layers=layers, **options)
    if dry_run:
        return extractor.estimate(to_disk=out is not None)
    if out is not None:
        return extractor.write(out, format=format, rows_per_file=rows_per_file, overwrite=overwrite)
    if len(extractor) > 1:
        raise MemoryError(
            f"{extractor.plan.summary()}: more than one pass. Choose layers=, raise "
            f"memory_limit=, write to a folder by out=, or iterate over a FeatureExtractor, which "
            f"gives groups that fit."
        )
    found: dict[str, Any] = {}
    for group in extractor:
        found.update(group)
    features = Features(extractor.ids, extractor.plan, extractor.reduction)
    features.update({layer.name: found[layer.name] for layer in extractor.plan.read()})
    return features


def check_target(out: str | Path, format: str) -> None:
    """Refuse a folder or a format that cannot be, before a model is run for it."""
    if not str(out):
        raise ValueError("out: expected a folder, got an empty name.")
    FORMATS[format]  # names the nearest if there is no such format
    check_folder(out, "out")
