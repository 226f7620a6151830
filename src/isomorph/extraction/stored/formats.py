"""File formats of features: how rows on disk become a file, and how it is read again.

A writer takes the rows of one layer as something that has `shape` and `dtype` and gives rows for a
slice, the path of the file, the layer's name and the stimulus ids. It reads block by block, so that
memory stays flat (``mat`` alone holds the layer: its library does). The same rows give the same
bytes, whenever and wherever they are written.
"""

from __future__ import annotations

import csv
import json
import shutil
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from isomorph.extraction.stored.disk import claim
from isomorph.registry import Registry
from isomorph.storage import format_size

BLOCK_BYTES = 16_000_000
KEY = "features"
IDS_KEY = "stimulus_id"

# A variable of a version 5 mat file; its own header and the ids take some of it.
_MAT_LIMIT = 2**31 - 2**20


class Rows(Protocol):
    """Rows of one layer: an array, a memory map, or a file of rows."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype: ...
    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


Writer = Callable[[Rows, Path, str, Sequence[str]], None]
Reader = Callable[[Path, tuple[int, ...], np.dtype, bool], np.ndarray]


def _fits(name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Accept any layer."""


@dataclass(frozen=True)
class Format:
    """A file format.

    Parameters
    ----------
    suffix : str
        Of the file's name, with the dot.
    write : callable
        ``(rows, path, layer_name, stimulus_ids) -> None``.
    read : callable
        ``(path, shape, dtype, mmap) -> array``, memory-mapped and read-only if it can be and
        `mmap` is true.
    value_bytes : callable
        ``dtype -> float``: what one value takes in the file, for the estimate of disk space.
    check : callable
        ``(layer_name, shape, dtype) -> None``: raises if the format cannot hold such a layer.
    splits : bool
        Whether a layer may be split into files by rows.
    """

    suffix: str
    write: Writer
    read: Reader
    value_bytes: Callable[[np.dtype], float] = lambda dtype: dtype.itemsize
    check: Callable[[str, tuple[int, ...], np.dtype], None] = _fits
    splits: bool = True


FORMATS: Registry[Format] = Registry("format", "npy is the one that every library can map.")


def row_blocks(shape: tuple[int, ...], dtype: np.dtype) -> Iterator[slice]:
    """Cut the first axis into slices of about 16 MB, at least one row each."""
    step = max(1, BLOCK_BYTES // max(prod(shape[1:]) * dtype.itemsize, 1))
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))


def _map(path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape)


# npy


def write_npy(source: Rows, target: Path, name: str, ids: Sequence[str]) -> None:
    """Write as `numpy.save` does."""
    with target.open("wb") as handle:
        head = {"descr": source.dtype.str, "fortran_order": False, "shape": source.shape}
        np.lib.format.write_array_header_1_0(handle, head)
        for block in row_blocks(source.shape, source.dtype):
            handle.write(np.ascontiguousarray(source[block]).tobytes())


def read_npy(path: Path, shape: tuple[int, ...], dtype: np.dtype, mmap: bool) -> np.ndarray:
    """Read or map a ``.npy`` file."""
    return np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)


# HDF5


def write_hdf5(source: Rows, target: Path, name: str, ids: Sequence[str]) -> None:
    """Write datasets ``features`` and ``stimulus_id``; the values lie in one piece."""
    import h5py

    # On a full disk HDF5 ends the process. So the room is tried first, HDF5 writes the head of the
    # file and the ids only, and the values go to their place by plain writes, which give errors.
    n_bytes = prod(source.shape) * source.dtype.itemsize
    with target.open("wb") as handle:
        claim(handle, n_bytes + 1024 * len(ids) + 2**16)
    with h5py.File(target, "w") as file:
        file.attrs["layer"] = name
        names = np.array(ids, dtype=object)
        text = h5py.string_dtype("utf-8")
        # Times would make the bytes depend on when the file was written.
        file.create_dataset(IDS_KEY, data=names, dtype=text, track_times=False)
        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        data = file.create_dataset(KEY, source.shape, source.dtype, track_times=False, dcpl=layout)
        offset = data.id.get_offset()
    with target.open("rb+") as handle:
        handle.seek(offset)
        for block in row_blocks(source.shape, source.dtype):
            handle.write(np.ascontiguousarray(source[block]).tobytes())


def read_hdf5(path: Path, shape: tuple[int, ...], dtype: np.dtype, mmap: bool) -> np.ndarray:
    """Read the dataset ``features``, or map the piece of the file that holds it."""
    import h5py

    with h5py.File(path, "r") as file:
        data = file[KEY]
        if not isinstance(data, h5py.Dataset):
            raise ValueError(f"expected a dataset {KEY!r}, got a group")
        offset = data.id.get_offset() if data.chunks is None else None
        if not mmap or offset is None:
            return data[()]
        held, kind = data.shape, data.dtype
    return _map(path, offset, held, kind)


# MATLAB


def write_mat(source: Rows, target: Path, name: str, ids: Sequence[str]) -> None:
    """Write a version 5 mat file: ``features``, ``stimulus_id`` (a cell of strings), ``layer``.

    MATLAB has no half precision in it: float16 becomes single, which holds it exactly.
    """
    import scipy.io

    values = np.asarray(source[:])
    if values.dtype.itemsize < 4:
        values = values.astype(np.float32)
    cells = np.empty((len(ids), 1), dtype=object)
    cells[:, 0] = list(ids)
    scipy.io.savemat(
        target, {KEY: values, IDS_KEY: cells, "layer": name}, format="5", oned_as="column"
    )
    # The first 116 bytes are a text with the time of day; the same features give the same file.
    with target.open("rb+") as handle:
        handle.write(b"MATLAB 5.0 MAT-file, written by isomorph".ljust(116))


def read_mat(path: Path, shape: tuple[int, ...], dtype: np.dtype, mmap: bool) -> np.ndarray:
    """Read ``features``."""
    import scipy.io

    return scipy.io.loadmat(path, variable_names=[KEY])[KEY].reshape(shape).astype(dtype)


def _fits_mat(name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    size = prod(shape) * max(dtype.itemsize, 4)
    if size > _MAT_LIMIT:
        raise ValueError(
            f"format 'mat': a variable of a version 5 mat file holds at most 2 GB, but layer "
            f"{name!r} takes {format_size(size)} {shape}. Use format='hdf5' (MATLAB: "
            f"h5read(file, '/{KEY}')), or split it by rows_per_file."
        )


# Text


def _texts(values: np.ndarray) -> list[str]:
    """Write numbers as the shortest decimals that give the same bits when read."""
    texts = values.astype(str).tolist()
    read = np.fromiter(map(float, texts), np.float64, len(texts))
    with np.errstate(over="ignore"):
        wrong = (read.astype(values.dtype) != values) & ~np.isnan(values)
    # The shortest decimal is for a reader of the very dtype. Most readers go through float64, and
    # rounding twice could, for a rare number, end elsewhere: that one is written in full.
    for index in np.flatnonzero(wrong):
        texts[index] = repr(float(values[index]))
    return texts


def _flat_rows(source: Rows) -> Iterator[tuple[int, np.ndarray]]:
    for block in row_blocks(source.shape, source.dtype):
        rows = np.asarray(source[block])
        yield from enumerate(rows.reshape(len(rows), -1), start=block.start)


def write_csv(source: Rows, target: Path, name: str, ids: Sequence[str]) -> None:
    """Write a table: ``stimulus_id,0,1,2,...``, a line a stimulus, features flattened."""
    with target.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow([IDS_KEY, *range(prod(source.shape[1:]))])
        for index, row in _flat_rows(source):
            writer.writerow([ids[index], *_texts(row)])


def read_csv(path: Path, shape: tuple[int, ...], dtype: np.dtype, mmap: bool) -> np.ndarray:
    """Read what `write_csv` wrote, in shape."""
    with path.open(newline="", encoding="utf-8") as handle:
        lines = csv.reader(handle)
        next(lines)
        return _parse((line[1:] for line in lines), shape, dtype)


def write_txt(source: Rows, target: Path, name: str, ids: Sequence[str]) -> None:
    """Write numbers only, as THINGSvision does: a line a stimulus, features flattened."""
    with target.open("w", newline="", encoding="ascii") as handle:
        for _, row in _flat_rows(source):
            handle.write(" ".join(_texts(row)) + "\n")


def read_txt(path: Path, shape: tuple[int, ...], dtype: np.dtype, mmap: bool) -> np.ndarray:
    """Read what `write_txt` wrote, in shape."""
    with path.open(encoding="ascii") as handle:
        return _parse((line.split() for line in handle), shape, dtype)


def _parse(lines: Iterable[Sequence[str]], shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    width = prod(shape[1:])
    values = np.empty((shape[0], width), dtype)
    count = 0
    for count, texts in enumerate(lines, start=1):
        if count > shape[0] or len(texts) != width:
            raise ValueError(f"expected {shape[0]} lines of {width} numbers; line {count} differs")
        with np.errstate(over="ignore"):
            values[count - 1] = np.fromiter(map(float, texts), np.float64, width).astype(dtype)
    if count < shape[0]:
        raise ValueError(f"expected {shape[0]} lines, got {count}")
    return values.reshape(shape)


def _text_bytes(dtype: np.dtype) -> float:
    return {2: 10, 4: 14, 8: 24}[dtype.itemsize]


# safetensors

_SAFETENSORS_DTYPES = {2: "F16", 4: "F32", 8: "F64"}


def write_safetensors(source: Rows, target: Path, name: str, ids: Sequence[str]) -> None:
    """Write the tensor ``features``, streaming; the ids are JSON in the metadata."""
    n_bytes = prod(source.shape) * source.dtype.itemsize
    kind = _SAFETENSORS_DTYPES[source.dtype.itemsize]
    metadata = {"layer": name, IDS_KEY: json.dumps(list(ids), ensure_ascii=False)}
    content = {
        "__metadata__": metadata,
        KEY: {"dtype": kind, "shape": list(source.shape), "data_offsets": [0, n_bytes]},
    }
    head = json.dumps(content, ensure_ascii=False).encode()
    head += b" " * (-len(head) % 8)  # values begin at a multiple of 8, so that they can be mapped
    with target.open("wb") as handle:
        handle.write(struct.pack("<Q", len(head)) + head)
        for block in row_blocks(source.shape, source.dtype):
            handle.write(np.ascontiguousarray(source[block]).tobytes())


def read_safetensors(path: Path, shape: tuple[int, ...], dtype: np.dtype, mmap: bool) -> np.ndarray:
    """Read or map the tensor ``features``."""
    if not mmap:
        from safetensors.numpy import load_file

        return load_file(path)[KEY]
    with path.open("rb") as handle:
        (length,) = struct.unpack("<Q", handle.read(8))
        entry = json.loads(handle.read(length))[KEY]
    if _SAFETENSORS_DTYPES[dtype.itemsize] != entry["dtype"]:
        raise ValueError(f"expected {dtype.name}, got {entry['dtype']}")
    return _map(path, 8 + length + entry["data_offsets"][0], tuple(entry["shape"]), dtype)


# zarr


def write_zarr(source: Rows, target: Path, name: str, ids: Sequence[str]) -> None:
    """Write a zarr (version 3) array, chunked by rows, compressed; a folder a layer."""
    zarr = _zarr()
    if target.exists():
        shutil.rmtree(target)
    blocks = list(row_blocks(source.shape, source.dtype))
    array = zarr.create_array(
        target,
        shape=source.shape,
        chunks=(blocks[0].stop, *source.shape[1:]),
        dtype=source.dtype,
        fill_value=0,
        zarr_format=3,
        attributes={"layer": name, IDS_KEY: list(ids)},
        # Else chunks of zeros are left out (in some versions those of -0.0 too, their sign lost),
        # and a chunk that went missing could not be told from them.
        config={"write_empty_chunks": True},
    )
    for block in blocks:
        array[block] = source[block]


def read_zarr(path: Path, shape: tuple[int, ...], dtype: np.dtype, mmap: bool) -> np.ndarray:
    """Read the array."""
    return np.asarray(_zarr().open_array(path, mode="r")[...])


def _fits_zarr(name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    _zarr()


def _zarr() -> Any:
    try:
        import zarr
    except ImportError as error:
        raise ImportError(
            "format 'zarr' needs the zarr library: pip install 'isomorph[neuro]'"
        ) from error
    return zarr


FORMATS.add("npy", Format(".npy", write_npy, read_npy))
FORMATS.add("hdf5", Format(".h5", write_hdf5, read_hdf5))
FORMATS.add(
    "mat",
    Format(".mat", write_mat, read_mat, lambda dtype: max(dtype.itemsize, 4), check=_fits_mat),
)
FORMATS.add("csv", Format(".csv", write_csv, read_csv, _text_bytes))
FORMATS.add("txt", Format(".txt", write_txt, read_txt, _text_bytes))
FORMATS.add("safetensors", Format(".safetensors", write_safetensors, read_safetensors))
FORMATS.add("zarr", Format(".zarr", write_zarr, read_zarr, check=_fits_zarr, splits=False))
