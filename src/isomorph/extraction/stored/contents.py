"""The files of a folder of features: their names, tables, room on disk, what is missing."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

from isomorph.extraction.stored.disk import LOCK_NAME, TEMPORARY_SUFFIX, DiskFullError
from isomorph.extraction.stored.formats import FORMATS
from isomorph.extraction.stored.manifest import MANIFEST_NAME, Manifest, StoredLayer
from isomorph.storage import format_size

PARTIAL_SUFFIX = ".npy.partial"
PROGRESS_NAME = "progress.json"
STIMULI_TABLE = "stimuli.csv"
FILE_NAMES = "file_names.txt"

# Room for the manifest, the tables and the file system's own bookkeeping.
_SPARE_BYTES = 1_000_000


def working_name(manifest: Manifest, layer: StoredLayer) -> str:
    """Name the file that holds a layer's rows until they are all there."""
    return layer.file.removesuffix(FORMATS[manifest.format].suffix) + PARTIAL_SUFFIX


def stimuli_table(manifest: Manifest) -> str:
    """Write the stimuli as CSV: position, stimulus_id, and label and group if there are any."""
    columns = {"position": range(manifest.n_stimuli), "stimulus_id": manifest.stimulus_ids}
    columns |= {"label": manifest.labels} if manifest.labels else {}
    columns |= {"group": manifest.groups} if manifest.groups else {}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def order_file(manifest: Manifest) -> str:
    """Write the stimuli as THINGSvision's ``file_names.txt``: an id a line, in order."""
    return "".join(f"{name}\n" for name in manifest.stimulus_ids)


def check_format(manifest: Manifest) -> None:
    """Refuse layers that the format cannot hold, before they are extracted."""
    check = FORMATS[manifest.format].check
    rows = min(manifest.rows_per_file or manifest.n_stimuli, manifest.n_stimuli)
    for layer in manifest.layers:
        check(layer.name, (rows, *layer.shape), layer.numpy_dtype)


def needed_bytes(manifest: Manifest) -> int:
    """Estimate the most room that an extraction takes on disk at any moment.

    Every working file is there from the start. A layer that is turned into another format is
    there twice until its working file goes.
    """
    working = [
        manifest.n_stimuli * layer.n_features * layer.numpy_dtype.itemsize
        for layer in manifest.layers
    ]
    most = held = sum(working)
    if manifest.format != "npy" or manifest.rows_per_file is not None:
        value_bytes = FORMATS[manifest.format].value_bytes
        for size, layer in zip(working, manifest.layers, strict=True):
            held += int(manifest.n_stimuli * layer.n_features * value_bytes(layer.numpy_dtype))
            most = max(most, held)
            held -= size
    return most + _SPARE_BYTES


def check_room(folder: Path, manifest: Manifest, claimed: int) -> None:
    """Refuse to start what the disk cannot hold.

    Parameters
    ----------
    folder : Path
        It exists.
    manifest : Manifest
        What is going to be there.
    claimed : int
        Bytes that its files have on the disk already.
    """
    needed = needed_bytes(manifest) - claimed
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskFullError(
            f"folder: {len(manifest.layers)} layers of {manifest.n_stimuli} stimuli need "
            f"{format_size(needed)} on disk (format {manifest.format!r}, with room to convert one "
            f"layer at a time), but {format_size(free)} is free in {folder}. Choose another "
            "folder, fewer layers, a reduction (pooling, a projection) or dtype='float16'."
        )


def room_taken(folder: Path, manifest: Manifest) -> int:
    """Count the bytes that a manifest's data and working files have on the disk already."""
    names = [name for layer in manifest.layers for _, _, name in manifest.parts(layer)]
    names += [working_name(manifest, layer) for layer in manifest.layers]
    return sum(max(_claimed(folder / name), 0) for name in names)


def _claimed(path: Path) -> int:
    if not path.is_file():
        return size_of(path)
    state = path.stat()
    # A sparse file has less room than its size; Windows does not tell.
    return getattr(state, "st_blocks", state.st_size // 512) * 512


def size_of(path: Path) -> int:
    """Count a file's bytes, or those of all files in a folder; -1 if it is not there."""
    if path.is_dir():
        return sum(item.stat().st_size for item in path.rglob("*") if item.is_file())
    return path.stat().st_size if path.is_file() else -1


def check_files(folder: Path, manifest: Manifest, layers: tuple[str, ...] | None = None) -> None:
    """Check that every data file of a complete folder is there, at its size.

    Raises
    ------
    FileNotFoundError
        If one is missing.
    ValueError
        If one has another size than when it was written.
    """
    remedy = "Copy the folder again, or extract again with overwrite=True."
    for layer in manifest.layers:
        if layers is not None and layer.name not in layers:
            continue
        for _, _, name in manifest.parts(layer):
            size, expected = size_of(folder / name), manifest.sizes.get(name)
            if size < 0:
                raise FileNotFoundError(
                    f"layer {layer.name!r}: its file {folder / name} is missing. {remedy}"
                )
            if expected is not None and size != expected:
                state = "truncated" if size < expected else "changed"
                raise ValueError(
                    f"layer {layer.name!r}: its file {folder / name} is {state}: expected "
                    f"{expected} bytes, got {size}. {remedy}"
                )


def rows_on_disk(folder: Path, manifest: Manifest) -> dict[str, int] | None:
    """Read how many first rows each layer has safe in its working file; None before the first."""
    path = folder / PROGRESS_NAME
    if not path.is_file():
        return None
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return {
        layer.name: max(0, min(int(rows.get(layer.name, 0)), manifest.n_stimuli))
        for layer in manifest.layers
    }


def refuse_foreign(folder: Path) -> None:
    """Refuse a folder that holds something, but no manifest."""
    ours = {LOCK_NAME, MANIFEST_NAME + TEMPORARY_SUFFIX}
    found = sorted(item.name for item in folder.iterdir() if item.name not in ours)
    if found:
        shown = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
        raise ValueError(
            f"folder: expected a new or empty folder, or one with features, but {folder} holds "
            f"{shown} and no {MANIFEST_NAME}. Choose another folder; nothing was changed in it."
        )


def remove_files(folder: Path, manifest: Manifest) -> None:
    """Remove the files that a manifest names, and nothing else; the manifest goes last."""
    remove_working_files(folder, manifest)
    names = [name for layer in manifest.layers for _, _, name in manifest.parts(layer)]
    for name in [*names, STIMULI_TABLE, FILE_NAMES, MANIFEST_NAME]:
        remove(folder / name)


def remove_working_files(folder: Path, manifest: Manifest) -> None:
    """Remove what an extraction needs while it runs only."""
    names = [name for layer in manifest.layers for _, _, name in manifest.parts(layer)]
    written = [*names, STIMULI_TABLE, FILE_NAMES, MANIFEST_NAME, PROGRESS_NAME]
    remove(folder / PROGRESS_NAME)
    for name in written:
        remove(folder / (name + TEMPORARY_SUFFIX))
    for layer in manifest.layers:
        remove(folder / working_name(manifest, layer))


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
