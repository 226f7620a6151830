"""`FeatureWriter`: rows of many layers stream to a folder; what a kill leaves can go on."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np

from isomorph.extraction.stored.contents import (
    FILE_NAMES,
    PROGRESS_NAME,
    STIMULI_TABLE,
    check_files,
    check_format,
    check_room,
    order_file,
    refuse_foreign,
    remove,
    remove_files,
    remove_working_files,
    room_taken,
    rows_on_disk,
    size_of,
    stimuli_table,
    working_name,
)
from isomorph.extraction.stored.disk import (
    TEMPORARY_SUFFIX,
    FolderLock,
    RowFile,
    RowSlice,
    durable_write,
    exactly,
    explain_full_disk,
    join_intervals,
    sync_file,
    sync_folder,
)
from isomorph.extraction.stored.formats import FORMATS
from isomorph.extraction.stored.manifest import MANIFEST_NAME, Manifest, StoredLayer, read_manifest
from isomorph.registry import unknown_name
from isomorph.storage import check_folder

logger = logging.getLogger(__name__)


class FeatureWriter:
    """Write the features of many layers to a folder while they are extracted.

    Rows go straight to one working file a layer. `commit` makes what is there safe; after a kill
    the same call goes on from the last commit, and ends with the same bytes. `finish` turns the
    working files into the format, one layer at a time.

    Parameters
    ----------
    folder : str or Path
        New, empty, or begun by an earlier call with the same manifest.
    manifest : Manifest
        What is going to be there.
    overwrite : bool
        Begin again if the folder holds a finished extraction, or one with another manifest. Only
        files that its manifest names are removed. An unfinished extraction with the same manifest
        is continued.

    Raises
    ------
    ValueError
        If the folder holds something else, or features with another manifest; if the format
        cannot hold a layer.
    OSError
        If the disk has too little room (`DiskFullError`), or somebody else is writing there
        (BlockingIOError).

    Examples
    --------
    >>> with FeatureWriter(folder, manifest) as writer:  # doctest: +SKIP
    ...     for start in range(writer.rows_done, manifest.n_stimuli, 32):
    ...         writer.write("fc", start, features_of(start, start + 32))
    ...         writer.commit(start + 32)
    ...     writer.finish()
    """

    def __init__(self, folder: str | Path, manifest: Manifest, *, overwrite: bool = False) -> None:
        self.folder = Path(folder).expanduser()
        self.manifest = manifest
        self.overwrite = overwrite
        self._lock: FolderLock | None = None
        self._committed: dict[str, int] = {}
        self._written: dict[str, list[tuple[int, int]]] = {}

    def __enter__(self) -> FeatureWriter:
        self.folder = check_folder(self.folder, "folder")
        check_format(self.manifest)
        made = not self.folder.exists()
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(self.folder)
        try:
            self._open()
        except BaseException:
            lock.release()
            if made and not any(self.folder.iterdir()):
                self.folder.rmdir()
            raise
        self._lock = lock
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @property
    def complete(self) -> bool:
        """Whether everything is there already, in its format."""
        return self.manifest.complete

    @property
    def rows_done(self) -> int:
        """Number of first rows that every layer has safe on disk: where to go on."""
        if self.complete:
            return self.manifest.n_stimuli
        return min(self._committed[layer.name] for layer in self.manifest.layers)

    def rows_of(self, layer: str) -> int:
        """Number of first rows that one layer has safe on disk."""
        self._stored(layer)
        return self.manifest.n_stimuli if self.complete else self._committed[layer]

    def write(self, layer: str, start: int, rows: np.ndarray) -> None:
        """Write rows of a layer.

        Parameters
        ----------
        layer : str
            Its name.
        start : int
            Position of the first of the rows.
        rows : numpy.ndarray
            (b, *shape) of a dtype whose values the stored dtype holds exactly.
        """
        stored = self._stored(layer)
        self._check_open()
        stop = start + len(rows)
        if rows.shape[1:] != stored.shape or start < 0 or stop > self.manifest.n_stimuli:
            raise ValueError(
                f"layer {layer!r}: expected rows of shape {stored.shape} in "
                f"0-{self.manifest.n_stimuli}, got {rows.shape[1:]} for {start}-{stop}. "
                "Make the manifest from the plan that is run."
            )
        values = exactly(rows, stored.numpy_dtype, layer)
        file = self._working(stored)
        with explain_full_disk(f"layer {layer!r}, rows {start}-{stop}", file.path, self._kept):
            file.write(start, values)
        self._written[layer] = join_intervals([*self._written[layer], (start, stop)])

    def commit(self, stop: int, layers: Iterable[str] | None = None) -> None:
        """Make the first rows safe: after a kill the work goes on from here.

        Parameters
        ----------
        stop : int
            Every layer has rows 0 to `stop`.
        layers : iterable of str, optional
            Commit these layers only: those of one pass of several.

        Raises
        ------
        ValueError
            If a layer lacks some of the rows; names it.
        """
        self._check_open()
        names = [layer.name for layer in self.manifest.layers] if layers is None else list(layers)
        stop = min(stop, self.manifest.n_stimuli)
        for name in names:
            first, last = (self._written[name] or [(0, 0)])[0]
            if first > 0 or last < stop:
                raise ValueError(
                    f"layer {name!r}: expected rows 0-{stop} before the commit, got "
                    f"{last if first == 0 else 0}. Write the rows of every layer first."
                )
        for name in names:
            file = self._working(self._stored(name))
            with explain_full_disk(f"layer {name!r}", file.path, self._kept):
                file.sync()
        self._committed |= {name: max(stop, self._committed[name]) for name in names}
        self._record_progress()

    def finish(self) -> None:
        """Turn the working files into the format, and mark the folder complete.

        Raises
        ------
        ValueError
            If a layer lacks rows.
        """
        if self.complete:
            return
        if self.rows_done < self.manifest.n_stimuli:
            self.commit(self.manifest.n_stimuli)
        sizes: dict[str, int] = {}
        for layer in self.manifest.layers:
            self._convert(layer)
            for _, _, name in self.manifest.parts(layer):
                sizes[name] = size_of(self.folder / name)
        finished = replace(self.manifest, sizes=sizes)
        self._record(MANIFEST_NAME, finished.to_json())
        self.manifest = finished
        (self.folder / PROGRESS_NAME).unlink(missing_ok=True)
        logger.info("%s: %d layers are complete", self.folder, len(self.manifest.layers))

    def restart(self, manifest: Manifest) -> None:
        """Begin again with another manifest: a layer taken for a duplicate was none.

        Parameters
        ----------
        manifest : Manifest
            What is going to be there instead. It remembers what it replaces, so that after a kill
            the same call, whose plan is the first one again, finds the folder its own: look at
            `manifest` for the layers to extract.
        """
        check_format(manifest)
        self._check_open()
        before = self.manifest
        remove_files(self.folder, before)
        self.manifest = replace(manifest, replaces=(*before.replaces, before.fingerprint()))
        self._begin()

    def _open(self) -> None:
        stored = read_manifest(self.folder)
        if stored is None:
            refuse_foreign(self.folder)
            self._begin()
            return
        if self.manifest.fingerprint() in stored.replaces:
            self.manifest = replace(self.manifest, layers=stored.layers, replaces=stored.replaces)
        differences = stored.differences(self.manifest)
        if differences and not self.overwrite:
            raise ValueError(
                f"folder: {self.folder} holds other features than are asked for:\n  "
                + "\n  ".join(differences)
                + "\nChoose another folder, or pass overwrite=True to replace them."
            )
        if differences or (self.overwrite and stored.complete):
            logger.info("%s: begins again", self.folder)
            check_room(self.folder, self.manifest, claimed=room_taken(self.folder, stored))
            remove_files(self.folder, stored)
            self._begin()
            return
        for difference in stored.version_differences(self.manifest):
            logger.warning("%s: other library versions: %s", self.folder, difference)
        self._resume(stored)

    def _begin(self) -> None:
        """Claim the room for every layer, so that a full disk is an error now."""
        manifest = self.manifest
        check_room(self.folder, manifest, claimed=0)
        self._committed = {layer.name: 0 for layer in manifest.layers}
        self._written = {layer.name: [] for layer in manifest.layers}
        try:
            self._record(MANIFEST_NAME, manifest.to_json())
            self._record(STIMULI_TABLE, stimuli_table(manifest))
            self._record(FILE_NAMES, order_file(manifest))
            for layer in manifest.layers:
                file = self._working(layer)
                with explain_full_disk(
                    f"layer {layer.name!r}", file.path, lambda: "Nothing was begun."
                ):
                    file.allocate()
            self._record_progress()
        except BaseException:
            remove_files(self.folder, manifest)
            raise

    def _resume(self, stored: Manifest) -> None:
        asked, self.manifest = self.manifest, stored
        rows = None if stored.complete else rows_on_disk(self.folder, stored)
        if stored.complete:
            check_files(self.folder, stored)
            remove_working_files(self.folder, stored)
            return
        broken = None if rows is None else self._broken_layer(rows)
        if broken is not None and not self.overwrite:
            raise ValueError(
                f"layer {broken.name!r}: {self._working(broken).path} is missing or truncated, so "
                "that the extraction cannot go on. Pass overwrite=True to begin again."
            )
        if rows is None or broken is not None:  # killed before the first row could be written
            remove_files(self.folder, stored)
            self.manifest = asked
            self._begin()
            return
        self._committed = rows
        self._written = {name: [(0, stop)] if stop else [] for name, stop in rows.items()}
        check_room(self.folder, stored, claimed=room_taken(self.folder, stored))
        logger.info("%s: goes on from row %d of %d", self.folder, self.rows_done, stored.n_stimuli)

    def _broken_layer(self, rows: dict[str, int]) -> StoredLayer | None:
        for layer in self.manifest.layers:
            parts = [self.folder / name for _, _, name in self.manifest.parts(layer)]
            working = self._working(layer)
            all_rows = min(rows.values()) == self.manifest.n_stimuli
            converted = all_rows and all(part.exists() for part in parts)
            if not working.is_whole() and (working.path.exists() or not converted):
                return layer
        return None

    def _convert(self, layer: StoredLayer) -> None:
        working, manifest = self._working(layer), self.manifest
        if not working.path.exists():
            return  # done before a kill: the working file goes last
        if manifest.format == "npy" and manifest.rows_per_file is None:
            os.replace(working.path, self.folder / layer.file)
            sync_folder(self.folder)
            return
        write = FORMATS[manifest.format].write
        for start, stop, name in manifest.parts(layer):
            target = self.folder / name
            temporary = target.with_name(target.name + TEMPORARY_SUFFIX)
            part = RowSlice(working, start, stop)
            try:
                with explain_full_disk(f"layer {layer.name!r}", target, self._kept):
                    write(part, temporary, layer.name, manifest.stimulus_ids[start:stop])
                    sync_file(temporary)
            except BaseException:
                remove(temporary)
                raise
            if target.is_dir():  # a folder cannot be replaced in one step; a kill came in between
                shutil.rmtree(target)
            os.replace(temporary, target)
        sync_folder(self.folder)
        working.path.unlink()

    def _working(self, layer: StoredLayer) -> RowFile:
        path = self.folder / working_name(self.manifest, layer)
        return RowFile(path, (self.manifest.n_stimuli, *layer.shape), layer.numpy_dtype)

    def _stored(self, name: str) -> StoredLayer:
        try:
            return self.manifest.by_name[name]
        except KeyError:
            raise unknown_name("layer", name, self.manifest.by_name) from None

    def _check_open(self) -> None:
        if self._lock is None or self.complete:
            state = "complete" if self.complete else "not open"
            raise ValueError(
                f"{self.folder}: expected an extraction that goes on, but it is {state}. "
                "Write inside `with FeatureWriter(...)`, before finish()."
            )

    def _kept(self) -> str:
        return (
            f"The first {self.rows_done} of {self.manifest.n_stimuli} rows of every layer are kept."
        )

    def _record(self, name: str, content: str) -> None:
        path = self.folder / name
        with explain_full_disk(name, path, self._kept):
            durable_write(path, content)

    def _record_progress(self) -> None:
        self._record(PROGRESS_NAME, json.dumps({"rows": self._committed}) + "\n")
