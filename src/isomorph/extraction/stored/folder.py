"""`load_features`: the features in a folder as arrays, mapped where the format allows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from isomorph.extraction.stored.contents import check_files, rows_on_disk
from isomorph.extraction.stored.formats import FORMATS
from isomorph.extraction.stored.manifest import MANIFEST_NAME, Manifest, StoredLayer, read_manifest
from isomorph.registry import unknown_name


class FeatureFolder(Mapping[str, np.ndarray]):
    """The features in a folder: layer names to arrays (n_stimuli, ...), read when asked for.

    Parameters
    ----------
    folder : Path
        Where they are.
    manifest : Manifest
        What they are.
    layers : tuple of str
        Which of them.
    mmap : bool
        Whether arrays are memory-mapped, read-only, where the format allows it (npy, HDF5 and
        safetensors, not split by rows).

    Attributes
    ----------
    manifest : Manifest
        Model, stimuli, layers, versions.
    ids : tuple of str
        The stimuli, in the order of the first axis.
    stimuli : pandas.DataFrame
        ``position``, ``stimulus_id``, and ``label`` and ``group`` if there are any.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, layers: tuple[str, ...], mmap: bool
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self._mmap = mmap
        self._layers = {layer.name: layer for layer in manifest.layers if layer.name in layers}

    @property
    def ids(self) -> tuple[str, ...]:
        """The stimuli, in the order of the first axis."""
        return self.manifest.stimulus_ids

    @property
    def stimuli(self) -> pd.DataFrame:
        """The stimuli as a table, a row a stimulus."""
        columns: dict[str, object] = {
            "position": range(self.manifest.n_stimuli),
            "stimulus_id": list(self.ids),
        }
        columns |= {"label": list(self.manifest.labels)} if self.manifest.labels else {}
        columns |= {"group": list(self.manifest.groups)} if self.manifest.groups else {}
        return pd.DataFrame(columns)

    def __getitem__(self, layer: str) -> np.ndarray:
        if layer not in self._layers:
            raise unknown_name("layer", str(layer), self._layers, f"In {self.folder}.")
        stored = self._layers[layer]
        parts = self.manifest.parts(stored)
        if len(parts) == 1:
            return self._read(stored, *parts[0], mmap=self._mmap)
        values = np.empty((self.manifest.n_stimuli, *stored.shape), stored.numpy_dtype)
        for start, stop, name in parts:
            values[start:stop] = self._read(stored, start, stop, name, mmap=self._mmap)
        return values

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def __contains__(self, layer: object) -> bool:
        return layer in self._layers

    def __repr__(self) -> str:
        return (
            f"FeatureFolder({str(self.folder)!r}, {len(self)} layers x "
            f"{self.manifest.n_stimuli} stimuli, {self.manifest.model_uid})"
        )

    def _read(
        self, layer: StoredLayer, start: int, stop: int, name: str, *, mmap: bool
    ) -> np.ndarray:
        path = self.folder / name
        shape, dtype = (stop - start, *layer.shape), layer.numpy_dtype
        try:
            values = FORMATS[self.manifest.format].read(path, shape, dtype, mmap)
        except (FileNotFoundError, ImportError):
            raise
        # Each library has errors of its own for a file that is not what it should be.
        except Exception as error:
            raise ValueError(
                f"layer {layer.name!r}: {path} is damaged ({type(error).__name__}: {error}). "
                "Copy the folder again, or extract again with overwrite=True."
            ) from error
        if values.shape != shape or values.dtype != dtype:
            raise ValueError(
                f"layer {layer.name!r}: expected {shape} {dtype.name} in {path}, got "
                f"{values.shape} {values.dtype.name}. Copy the folder again, or extract again "
                "with overwrite=True."
            )
        return values


def load_features(
    folder: str | Path, layers: str | Iterable[str] | None = None, *, mmap: bool = True
) -> FeatureFolder:
    """Open a folder of features.

    Parameters
    ----------
    folder : str or Path
        Where an extraction wrote.
    layers : str or iterable of str, optional
        Names of layers; all by default.
    mmap : bool
        Map files instead of reading them, where the format allows it: only what is used is read.

    Returns
    -------
    FeatureFolder
        Layer names to arrays (n_stimuli, ...).

    Raises
    ------
    FileNotFoundError
        If the folder, its manifest or a data file is missing.
    ValueError
        If the extraction is not complete, or a data file is truncated.
    KeyError
        If there is no such layer; names the nearest.

    Examples
    --------
    >>> features = load_features("features/alexnet")  # doctest: +SKIP
    >>> features["features.10"].shape, features.ids[:2]  # doctest: +SKIP
    ((92, 256, 13, 13), ('face_001.png', 'face_002.png'))
    """
    folder = Path(folder).expanduser()
    manifest = read_manifest(folder)
    if manifest is None:
        what = "no such folder" if not folder.exists() else f"it has no {MANIFEST_NAME}"
        raise FileNotFoundError(
            f"folder: expected a folder of features, but {folder}: {what}. Name the folder that "
            "an extraction wrote to."
        )
    known = [layer.name for layer in manifest.layers]
    wanted = known if layers is None else [layers] if isinstance(layers, str) else list(layers)
    for name in wanted:
        if name not in known:
            raise unknown_name("layer", str(name), known, f"In {folder}.")
    if not manifest.complete:
        rows = min((rows_on_disk(folder, manifest) or {"": 0}).values())
        raise ValueError(
            f"folder: the extraction to {folder} is not complete: {rows} of {manifest.n_stimuli} "
            "stimuli are there. Make the same call again (same model, stimuli, layers and "
            f"folder): it goes on from row {rows}."
        )
    check_files(folder, manifest, tuple(wanted))
    return FeatureFolder(folder, manifest, tuple(wanted), mmap)
