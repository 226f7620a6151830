"""Every format in the registry gives the same bits back, to us and to the readers of others."""

from __future__ import annotations

import csv
import json
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import scipy.io

from isomorph.extraction.stored import formats
from isomorph.extraction.stored.formats import FORMATS, row_blocks

IDS = ["a.png", 'quote".png', "comma,.png", "Ü ü.png", "", "NA", "007"]
SHAPES = [(), (1,), (5,), (3, 1), (2, 3, 4)]
DTYPES = ["<f2", "<f4", "<f8"]


def bits(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")


def cruel(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    """Any bit pattern but NaNs with a payload, and every special value (text keeps one NaN)."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    raw = rng.integers(0, 256, size=(*shape, kind.itemsize), dtype=np.uint8)
    values = raw.view(kind).reshape(shape).copy()
    values[np.isnan(values)] = np.nan
    info = np.finfo(kind)
    special = np.array(
        [np.nan, np.inf, -np.inf, -0.0, 0.0, info.smallest_subnormal, info.tiny, info.max, 0.1, 1],
        dtype=kind,
    )
    flat = values.reshape(-1)
    flat[: len(special)] = special[: flat.size]
    return values


def needs(name: str) -> None:
    if name == "zarr":
        pytest.importorskip("zarr")


def peer_hdf5(path: Path, n: int) -> tuple[np.ndarray, list[str]]:
    with h5py.File(path, "r") as file:
        return file["features"][:], [str(name) for name in file["stimulus_id"].asstr()[:]]


def peer_mat(path: Path, n: int) -> tuple[np.ndarray, list[str]]:
    content = scipy.io.loadmat(path)
    names = [str(cell[0]) if cell.size else "" for cell in content["stimulus_id"][:, 0]]
    return content["features"], names


def peer_csv(path: Path, n: int) -> tuple[np.ndarray, list[str]]:
    # As texts, since pandas' own parser of numbers rounds otherwise from version to version.
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert list(table.columns[1:]) == [str(i) for i in range(table.shape[1] - 1)]
    return table.iloc[:, 1:].to_numpy(dtype=np.float64), table["stimulus_id"].tolist()


def peer_safetensors(path: Path, n: int) -> tuple[np.ndarray, list[str]]:
    with safetensors.safe_open(path, framework="numpy") as file:
        ids = json.loads(file.metadata()["stimulus_id"])
    return safetensors.numpy.load_file(path)["features"], ids


def peer_zarr(path: Path, n: int) -> tuple[np.ndarray, list[str]]:
    import zarr

    array = zarr.open(path, mode="r")
    return np.asarray(array[...]), list(array.attrs["stimulus_id"])


# Independent readers; the ids where the file holds them.
PEERS = {
    "npy": lambda path, n: (np.load(path, allow_pickle=False), None),
    "hdf5": peer_hdf5,
    "mat": peer_mat,
    "csv": peer_csv,
    "txt": lambda path, n: (np.loadtxt(path, ndmin=2), None),
    "safetensors": peer_safetensors,
    "zarr": peer_zarr,
}


def test_every_format_has_an_independent_reader():
    assert set(PEERS) == set(FORMATS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", FORMATS)
def test_round_trip_is_exact(name, shape, dtype, tmp_path, monkeypatch):
    needs(name)
    monkeypatch.setattr(formats, "BLOCK_BYTES", 40)  # several blocks
    values = cruel((len(IDS), *shape), dtype)
    entry = FORMATS[name]
    path = tmp_path / f"layer{entry.suffix}"
    entry.write(values, path, "layer", IDS)

    for mmap in (True, False):
        ours = entry.read(path, values.shape, values.dtype, mmap)
        assert ours.shape == values.shape
        assert ours.dtype == values.dtype
        np.testing.assert_array_equal(bits(ours), bits(values))

    theirs, ids = PEERS[name](path, len(IDS))
    if name not in ("csv", "txt", "mat"):
        assert theirs.dtype == values.dtype
        assert theirs.shape == values.shape
    if name in ("csv", "txt"):
        assert theirs.shape == (len(IDS), values[0].size)
    with np.errstate(over="ignore"):
        theirs = theirs.reshape(values.shape).astype(values.dtype)
    np.testing.assert_array_equal(bits(theirs), bits(values))
    assert ids is None or ids == IDS


@pytest.mark.parametrize("name", FORMATS)
def test_same_rows_give_the_same_bytes(name, tmp_path, monkeypatch):
    needs(name)
    values = cruel((7, 4, 3), "<f4")
    entry = FORMATS[name]

    def written(folder: str) -> dict[str, bytes]:
        target = tmp_path / folder / f"layer{entry.suffix}"
        target.parent.mkdir()
        entry.write(values, target, "layer", IDS)
        files = (
            [target] if target.is_file() else sorted(p for p in target.rglob("*") if p.is_file())
        )
        return {str(file.relative_to(target.parent)): file.read_bytes() for file in files}

    first = written("one")
    monkeypatch.setattr("time.asctime", lambda *_: "Thu Jan  1 00:00:00 1970")
    monkeypatch.setattr("time.time", lambda: 1e9)
    if name == "hdf5":
        time.sleep(1.1)  # its library asks the system for the time, in seconds
    assert written("two") == first


def test_npy_is_what_numpy_writes(tmp_path):
    values = cruel((7, 2, 3), "<f4")
    FORMATS["npy"].write(values, tmp_path / "ours.npy", "layer", IDS)
    np.save(tmp_path / "numpys.npy", values)
    assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "numpys.npy").read_bytes()


def test_text_is_short_and_survives_rounding_twice(tmp_path):
    values = np.array([[0.1, 1.0, 1e-42, 16777216.0]], "<f4")
    FORMATS["txt"].write(values, tmp_path / "x.txt", "layer", ["a"])
    assert (tmp_path / "x.txt").read_text() == "0.1 1.0 1e-42 1.6777216e+07\n"
    # A text that a reader through float64 would take for a neighbour is written in full.
    many = cruel((1, 300_000), "<f4", seed=3)
    FORMATS["csv"].write(many, tmp_path / "x.csv", "layer", ["a"])
    with (tmp_path / "x.csv").open(newline="") as handle:
        row = list(csv.reader(handle))[1][1:]
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(bits(np.array(row, float).astype("<f4")), bits(many[0]))


def test_signed_zeros_survive_in_chunks_of_zeros(tmp_path):
    pytest.importorskip("zarr")
    values = np.full((4, 3), -0.0, "<f4")
    FORMATS["zarr"].write(values, tmp_path / "x.zarr", "layer", IDS[:4])
    read = FORMATS["zarr"].read(tmp_path / "x.zarr", values.shape, values.dtype, True)
    assert np.signbit(read).all()


@pytest.mark.parametrize("name", ["npy", "hdf5", "safetensors"])
def test_maps_are_read_only_and_lazy(name, tmp_path):
    entry = FORMATS[name]
    values = cruel((7, 3), "<f4")
    entry.write(values, tmp_path / "x", "layer", IDS)
    mapped = entry.read(tmp_path / "x", values.shape, values.dtype, True)
    assert isinstance(mapped, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        mapped[0] = 0


def test_mat_is_refused_before_the_work_where_it_cannot_hold_a_layer():
    check = FORMATS["mat"].check
    check("fc", (1000, 1000), np.dtype("<f4"))
    with pytest.raises(ValueError, match=r"at most 2 GB.*'conv1'.*2\.3 GB.*hdf5.*h5read"):
        check("conv1", (3000, 193_600), np.dtype("<f4"))
    with pytest.raises(ValueError, match="at most 2 GB"):  # half precision becomes single
        check("conv1", (3000, 193_600), np.dtype("<f2"))


def test_zarr_missing_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(ImportError, match=r"pip install 'isomorph\[neuro\]'"):
        FORMATS["zarr"].check("fc", (2, 3), np.dtype("<f4"))


def test_unknown_format_names_the_nearest():
    with pytest.raises(KeyError, match="Did you mean 'hdf5'"):
        FORMATS["hdf"]


def test_row_blocks_cover_all_rows_once():
    blocks = list(row_blocks((1000, 1000), np.dtype("<f8")))
    assert [row for block in blocks for row in range(block.start, block.stop)] == [*range(1000)]
    assert len(blocks) == 1  # 8 MB
    assert [b.stop - b.start for b in row_blocks((3, 10_000_000), np.dtype("<f4"))] == [1, 1, 1]


@pytest.mark.parametrize("name", ["csv", "txt"])
def test_cut_text_is_an_error(name, tmp_path):
    entry = FORMATS[name]
    values = cruel((7, 3), "<f4")
    entry.write(values, tmp_path / "x", "layer", IDS)
    lines = (tmp_path / "x").read_text().splitlines(keepends=True)
    (tmp_path / "x").write_text("".join(lines[:-1]))
    with pytest.raises(ValueError, match="expected 7 lines, got 6"):
        entry.read(tmp_path / "x", values.shape, values.dtype, True)
    (tmp_path / "x").write_text("".join([*lines[:-1], lines[-1].rsplit(None, 1)[0][:-4] + "\n"]))
    with pytest.raises(ValueError):
        entry.read(tmp_path / "x", (7, 30), values.dtype, True)
