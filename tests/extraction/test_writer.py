"""Features on disk: streamed, killed and continued, refused, read again."""

from __future__ import annotations

import errno
import logging
import os
import resource
import shutil
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from isomorph.extraction.stored import contents
from isomorph.extraction.stored.disk import DiskFullError, exactly, is_full, join_intervals
from isomorph.extraction.stored.folder import load_features
from isomorph.extraction.stored.formats import FORMATS
from isomorph.extraction.stored.manifest import Manifest, StoredLayer, read_manifest
from isomorph.extraction.stored.writer import FeatureWriter

N = 13
LAYERS = (
    StoredLayer("features.0", (2, 3), "float32"),
    StoredLayer("attn[0]", (4,), "float16"),
    StoredLayer("(root)", (), "float64"),
)
IDS = tuple(f"im {i},ä.png" for i in range(N))


# A process with threads warns when it forks; these children do nothing with torch.
forks = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def make(**changes) -> Manifest:
    plain: dict = {
        "model_uid": "mine/net@random-0",
        "weights": "1a2b3c4d5e6f",
        "structure": "77aa",
        "preprocessing": "none",
        "stimulus_ids": IDS,
        "layers": LAYERS,
    }
    return Manifest(**(plain | changes))


def values_of(layer: StoredLayer, n: int = N) -> np.ndarray:
    rng = np.random.default_rng(len(layer.name))
    values = rng.normal(size=(n, *layer.shape)).astype(layer.numpy_dtype)
    values.reshape(-1)[:4] = [np.nan, -np.inf, -0.0, 1e-7]
    return values


def run(writer: FeatureWriter, step: int = 4, stop: int = N) -> None:
    for start in range(writer.rows_done, stop, step):
        end = min(start + step, stop)
        for layer in writer.manifest.layers:
            writer.write(layer.name, start, values_of(layer)[start:end])
        writer.commit(end)


def write_all(folder: Path, manifest: Manifest, **options) -> None:
    with FeatureWriter(folder, manifest, **options) as writer:
        run(writer)
        writer.finish()


def tree(folder: Path) -> dict[str, bytes]:
    """Every file's bytes, but of the manifest, which holds the time."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if path.name != "manifest.json"
    }


def needs(name: str) -> None:
    if name == "zarr":
        pytest.importorskip("zarr")


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("rows_per_file", [None, 5])
@pytest.mark.parametrize("name", FORMATS)
def test_what_is_written_is_read_bit_for_bit(name, rows_per_file, mmap, tmp_path):
    needs(name)
    if rows_per_file and not FORMATS[name].splits:
        pytest.skip("chunked by rows already")
    folder = tmp_path / "new" / "features"
    write_all(folder, make(format=name, rows_per_file=rows_per_file))
    features = load_features(folder, mmap=mmap)
    assert list(features) == [layer.name for layer in LAYERS]
    assert features.ids == IDS
    for layer in LAYERS:
        got, expected = features[layer.name], values_of(layer)
        assert got.shape == expected.shape
        assert got.dtype == expected.dtype
        assert got.tobytes() == expected.tobytes()
    n_files = 3 if rows_per_file is None else 9
    data = [path for path in folder.iterdir() if path.name.endswith(FORMATS[name].suffix)]
    data = [path for path in data if path.name not in ("stimuli.csv", "file_names.txt")]
    assert len(data) == n_files
    names = {path.name for path in folder.iterdir()} - {path.name for path in data}
    assert names == {"manifest.json", "stimuli.csv", "file_names.txt"}


def test_split_files_are_read_alone_too(tmp_path):
    write_all(tmp_path, make(rows_per_file=5))
    part = np.load(tmp_path / "features.0.0000005-0000010.npy")
    np.testing.assert_array_equal(part, values_of(LAYERS[0])[5:10])


def test_tables_beside_the_layers(tmp_path):
    labels = tuple("cat" if i % 2 else "NA" for i in range(N))
    groups = tuple(f"clip {i // 3}" for i in range(N))
    write_all(tmp_path, make(labels=labels, groups=groups))
    table = pd.read_csv(tmp_path / "stimuli.csv", keep_default_na=False)
    assert list(table.columns) == ["position", "stimulus_id", "label", "group"]
    assert tuple(table["stimulus_id"]) == IDS
    assert tuple(table["label"]) == labels
    assert table["position"].tolist() == [*range(N)]
    assert (tmp_path / "file_names.txt").read_text(encoding="utf-8").splitlines() == [*IDS]
    pd.testing.assert_frame_equal(load_features(tmp_path).stimuli, table, check_dtype=False)


def test_rows_in_any_order_and_of_any_exact_dtype(tmp_path):
    manifest = make(layers=(StoredLayer("fc", (2,), "float64"),))
    rows = np.arange(2 * N).reshape(N, 2)
    with FeatureWriter(tmp_path, manifest) as writer:
        writer.write("fc", 7, rows[7:].astype(np.float32))
        with pytest.raises(ValueError, match=r"'fc': expected rows 0-13 before the commit, got 0"):
            writer.commit(N)
        writer.write("fc", 0, rows[:5].astype(np.int64))
        with pytest.raises(ValueError, match=r"expected rows 0-13 before the commit, got 5"):
            writer.finish()
        writer.write("fc", 3, rows[3:8].astype(np.float16))
        writer.finish()
    np.testing.assert_array_equal(load_features(tmp_path)["fc"], rows.astype(float))


def test_layers_of_several_passes_are_committed_apart(tmp_path):
    manifest = make(layers=LAYERS[:2])
    first, second = LAYERS[:2]
    with FeatureWriter(tmp_path, manifest) as writer:
        writer.write(first.name, 0, values_of(first))
        writer.commit(N, layers=[first.name])
        writer.write(second.name, 0, values_of(second)[:4])
        writer.commit(4, layers=[second.name])
    with FeatureWriter(tmp_path, manifest) as writer:
        assert (writer.rows_done, writer.rows_of(first.name), writer.rows_of(second.name)) == (
            4,
            N,
            4,
        )
        writer.write(second.name, 4, values_of(second)[4:])
        writer.finish()
    np.testing.assert_array_equal(load_features(tmp_path)[first.name], values_of(first))


@pytest.mark.parametrize(
    ("rows", "dtype"),
    [
        (np.array([0.1]), "<f4"),
        (np.array([1e10]), "<f4"),
        (np.array([70000.0], "f4"), "<f2"),
        (np.array([2**24 + 1]), "<f4"),
        (np.array([2**53 + 1]), "<f8"),
        (np.array([2**63 - 1]), "<f8"),
        (np.array([1j]), "<f8"),
        (np.array(["1"]), "<f8"),
    ],
)
def test_what_the_stored_type_cannot_hold_is_refused(rows, dtype):
    if rows.dtype == np.float64 and float(np.float32(rows[0])) == rows[0]:
        np.testing.assert_array_equal(exactly(rows, np.dtype(dtype), "fc"), rows)
        return
    with pytest.raises(ValueError, match="'fc': got .* values that float.* cannot hold exactly"):
        exactly(rows, np.dtype(dtype), "fc")


def test_exact_conversions_keep_what_is_special():
    rows = np.array([np.nan, np.inf, -np.inf, -0.0, 0.5, 2.0**-24])
    got = exactly(rows, np.dtype("<f2"), "fc")
    assert got.tobytes() == rows.astype("<f2").tobytes()
    assert exactly(np.array([True, False]), np.dtype("<f4"), "fc").tolist() == [1, 0]
    assert join_intervals([(4, 6), (0, 2), (2, 3), (1, 2)]) == [(0, 3), (4, 6)]


def test_wrong_rows_are_refused(tmp_path):
    with FeatureWriter(tmp_path, make()) as writer:
        with pytest.raises(KeyError, match="unknown layer 'feature.0'. Did you mean 'features.0'"):
            writer.write("feature.0", 0, np.zeros((1, 2, 3)))
        with pytest.raises(
            ValueError, match=r"expected rows of shape \(2, 3\) in 0-13, got \(6,\)"
        ):
            writer.write("features.0", 0, np.zeros((1, 6)))
        with pytest.raises(ValueError, match="for 12-14"):
            writer.write("features.0", 12, np.zeros((2, 2, 3)))
    with pytest.raises(ValueError, match="it is not open"):
        writer.write("features.0", 0, np.zeros((1, 2, 3)))


# A kill, and the same call again.


def fork(work: Callable[[], object]) -> tuple[int, int]:
    """Run in a child process; gives its id, and where what it says can be read."""
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        return pid, read
    try:
        os.dup2(write, 1)
        work()
        os._exit(0)
    except BaseException:
        os.write(1, traceback.format_exc().encode())
        os._exit(1)


def say(text: object) -> None:
    os.write(1, f"{text}\n".encode())


def ended(pid: int, pipe: int) -> str:
    """Wait for a child: what it said, or an error unless it ended well."""
    with os.fdopen(pipe) as handle:
        said = handle.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, (status, said)
    return said


def kill_at(folder: Path, manifest: Manifest, call: int) -> bool:
    """Run in a process that is killed before its `call`-th change of the disk."""
    count = 0

    def counted(function):
        def wrapped(*args, **kwargs):
            nonlocal count
            count += 1
            if count == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return wrapped

    def work():
        for name in ("pwrite", "replace", "fsync", "unlink", "posix_fallocate", "ftruncate"):
            setattr(os, name, counted(getattr(os, name)))
        write_all(folder, manifest)

    pid, pipe = fork(work)
    with os.fdopen(pipe) as handle:
        said = handle.read()
    _, status = os.waitpid(pid, 0)
    assert status in (0, signal.SIGKILL), said
    return status == signal.SIGKILL


@forks
@pytest.mark.parametrize(("name", "rows_per_file"), [("npy", None), ("npy", 7), ("hdf5", None)])
def test_a_kill_before_any_change_of_the_disk_then_the_same_call(
    name, rows_per_file, tmp_path, monkeypatch
):
    # What a killed process wrote stays with the system, so that waiting for the disk proves
    # nothing here.
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    manifest = make(format=name, rows_per_file=rows_per_file, layers=LAYERS[:2])
    write_all(tmp_path / "whole", manifest)
    expected = tree(tmp_path / "whole")
    call, killed = 0, True
    while killed:
        call += 1
        folder = tmp_path / f"killed{call}"
        killed = kill_at(folder, manifest, call)
        if killed:
            write_all(folder, manifest)
        assert tree(folder) == expected, f"killed before change {call}"
        shutil.rmtree(folder)
    assert call > 40  # it was killed at many places, not at none


@forks
def test_many_kills_in_one_extraction(tmp_path):
    manifest = make(format="hdf5")
    write_all(tmp_path / "whole", manifest)
    done = []
    # Before its first commit a new extraction changes the disk about 40 times, later ones less.
    for call in (12, 45, 5, 12, 16, 3):
        assert kill_at(tmp_path / "killed", manifest, call)
        done.append(min((contents.rows_on_disk(tmp_path / "killed", manifest) or {"": 0}).values()))
    assert done == sorted(done)
    assert done[0] == 0
    assert 0 < done[1] < N
    write_all(tmp_path / "killed", manifest)
    assert tree(tmp_path / "killed") == tree(tmp_path / "whole")


@forks
@pytest.mark.parametrize("name", ["npy", "safetensors", "zarr"])
def test_a_process_killed_in_the_middle(name, tmp_path):
    needs(name)
    manifest = make(format=name)
    write_all(tmp_path / "whole", manifest)

    def work():
        with FeatureWriter(tmp_path / "killed", manifest) as writer:
            run(writer, stop=8)
            say("ready")
            time.sleep(60)

    pid, pipe = fork(work)
    assert os.read(pipe, 6) == b"ready\n"
    # While it lives, nobody else may write there.
    with (
        pytest.raises(BlockingIOError, match=rf"another extraction \(process {pid}\)"),
        FeatureWriter(tmp_path / "killed", manifest),
    ):
        pass
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(pipe)
    with pytest.raises(ValueError, match="not complete: 8 of 13 .* goes on from row 8"):
        load_features(tmp_path / "killed")
    with FeatureWriter(tmp_path / "killed", manifest) as writer:
        assert writer.rows_done == 8
        assert not writer.complete
        run(writer)
        writer.finish()
    assert tree(tmp_path / "killed") == tree(tmp_path / "whole")


@forks
def test_a_forked_worker_does_not_keep_the_folder_locked(tmp_path):
    # As a worker process of a data loader that outlives its killed parent by a few seconds.
    def work():
        with FeatureWriter(tmp_path, make()):
            worker = os.fork()
            if worker:
                say(worker)
            time.sleep(60)

    pid, pipe = fork(work)
    with os.fdopen(pipe) as handle:
        worker = int(handle.readline())
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    try:
        with FeatureWriter(tmp_path, make()) as writer:
            assert writer.rows_done == 0
    finally:
        os.kill(worker, signal.SIGKILL)


def test_a_second_writer_in_one_process_is_refused(tmp_path):
    with FeatureWriter(tmp_path, make()) as writer:
        with (
            pytest.raises(BlockingIOError, match="being written to by another extraction"),
            FeatureWriter(tmp_path, make()),
        ):
            pass
        run(writer)  # the first is none the worse for it
        writer.finish()
    with FeatureWriter(tmp_path, make()) as writer:
        assert writer.complete


def test_a_complete_folder_is_left_as_it_is(tmp_path):
    write_all(tmp_path, make())
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    with FeatureWriter(tmp_path, make()) as writer:
        assert writer.complete
        assert writer.rows_done == N
        writer.finish()
        with pytest.raises(ValueError, match="it is complete"):
            writer.write("features.0", 0, np.zeros((1, 2, 3)))
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


# A full disk.


def limit(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def error_of(work: Callable[[], object]) -> str:
    """What a child process says of its OSError; its files cannot grow past a limit it sets."""

    def child():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            work()
        except OSError as error:
            say(f"{type(error).__name__} {error}")

    return ended(*fork(child))


WIDE = StoredLayer("fc", (1000,), "float32")


@forks
def test_a_disk_too_full_to_begin_leaves_nothing_behind(tmp_path):
    def work():
        limit(20_000)
        write_all(tmp_path / "x", make(layers=(WIDE,)))

    said = error_of(work)
    assert said.startswith("DiskFullError layer 'fc': no room to write")
    assert "fc.npy.partial" in said
    assert not (tmp_path / "x").exists()


@forks
def test_a_disk_that_fills_while_writing_keeps_what_is_there(tmp_path):
    manifest = make(layers=(WIDE,))

    def work():
        with FeatureWriter(tmp_path, manifest) as writer:
            limit(20_000)
            run(writer)

    said = error_of(work)
    assert "DiskFullError layer 'fc', rows 4-8: no room to write" in said
    assert "fc.npy.partial" in said
    assert "first 4 of 13 rows of every layer are kept" in said
    assert "make the same call again" in said
    with FeatureWriter(tmp_path, manifest) as writer:
        assert writer.rows_done == 4
        run(writer)
        writer.finish()
    np.testing.assert_array_equal(load_features(tmp_path)["fc"], values_of(WIDE))


@forks
@pytest.mark.parametrize("name", FORMATS)
def test_a_disk_that_fills_while_converting_keeps_all_rows(name, tmp_path):
    needs(name)
    manifest = make(layers=(WIDE,), format=name, rows_per_file=8 if name == "npy" else None)

    def work():
        with FeatureWriter(tmp_path, manifest) as writer:
            run(writer)
            limit(20_000)
            writer.finish()

    said = error_of(work)
    assert "DiskFullError layer 'fc': no room to write" in said
    assert "first 13 of 13 rows of every layer are kept" in said
    assert not any(path.name.endswith(".tmp") for path in tmp_path.iterdir())
    with FeatureWriter(tmp_path, manifest) as writer:
        assert writer.rows_done == N
        writer.finish()
    np.testing.assert_array_equal(load_features(tmp_path)["fc"], values_of(WIDE))


def test_room_is_claimed_at_the_start_where_the_system_can(tmp_path, monkeypatch):
    with FeatureWriter(tmp_path / "claimed", make(layers=(WIDE,))):
        state = (tmp_path / "claimed" / "fc.npy.partial").stat()
        assert state.st_size > N * 4000
        if hasattr(os, "posix_fallocate"):
            assert state.st_blocks * 512 >= state.st_size

    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    write_all(tmp_path / "sparse", make())
    write_all(tmp_path / "whole", make())
    assert tree(tmp_path / "sparse") == tree(tmp_path / "whole")


def test_a_full_disk_is_known_by_its_number_or_by_hdf5s_text():
    assert is_full(OSError(errno.ENOSPC, "No space left on device"))
    assert is_full(OSError("Can't write data (file write failed: errno = 28, error message = ...)"))
    assert not is_full(OSError("Can't open (errno = 2)"))
    assert not is_full(OSError(errno.EACCES, "Permission denied"))


def test_too_little_room_is_found_before_the_work(tmp_path, monkeypatch):
    layers = (StoredLayer("a", (1000,), "float32"), StoredLayer("b", (3000,), "float32"))
    manifest = make(layers=layers)
    a, b = N * 4000, N * 12000
    assert contents.needed_bytes(manifest) - 1_000_000 == a + b
    # a is converted and goes, then b: both of b and the new a.
    assert contents.needed_bytes(make(layers=layers, format="hdf5")) - 1_000_000 == a + b + b
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with (
        pytest.raises(
            DiskFullError, match=r"2 layers of 13 stimuli need 1\.2 MB .* 1\.0 MB is free"
        ),
        FeatureWriter(tmp_path / "x", manifest),
    ):
        pass
    assert not (tmp_path / "x").exists()


def test_too_little_room_keeps_what_would_be_overwritten(tmp_path, monkeypatch):
    write_all(tmp_path, make())
    before = tree(tmp_path)
    usage = shutil.disk_usage(tmp_path)._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with (
        pytest.raises(DiskFullError, match="0 B is free"),
        FeatureWriter(tmp_path, make(weights="other"), overwrite=True),
    ):
        pass
    assert tree(tmp_path) == before


def test_what_is_there_already_needs_no_more_room(tmp_path, monkeypatch):
    with FeatureWriter(tmp_path, make(layers=(WIDE,))) as writer:
        run(writer, stop=8)
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)  # the spare, but no layer
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with FeatureWriter(tmp_path, make(layers=(WIDE,))) as writer:
        assert writer.rows_done == 8


# What does not match.


def test_a_foreign_folder_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    for overwrite in (False, True):
        with (
            pytest.raises(ValueError, match=r"holds thesis.txt and no manifest.json"),
            FeatureWriter(tmp_path, make(), overwrite=overwrite),
        ):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(FileNotFoundError, match="it has no manifest.json"):
        load_features(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load_features(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="expected a folder, but .*thesis.txt is a file"):
        FeatureWriter(tmp_path / "thesis.txt", make()).__enter__()


def test_another_manifest_is_refused_and_overwritten_on_request(tmp_path):
    write_all(tmp_path, make())
    (tmp_path / "notes.md").write_text("mine")
    before = tree(tmp_path)
    other = make(weights="999", layers=(StoredLayer("fc", (3,), "float32"),), format="hdf5")
    with (
        pytest.raises(ValueError) as caught,
        FeatureWriter(tmp_path, other),
    ):
        pass
    message = str(caught.value)
    assert "weights: stored 1a2b3c4d…, asked for 999…" in message
    assert "not stored: 'fc'; not asked for: 'features.0'" in message
    assert "format: stored 'npy', asked for 'hdf5'" in message
    assert "Choose another folder, or pass overwrite=True" in message
    assert tree(tmp_path) == before

    write_all(tmp_path, other, overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {
        "fc.h5",
        "manifest.json",
        "stimuli.csv",
        "file_names.txt",
        "notes.md",
    }


def test_overwrite_begins_a_complete_folder_again_but_continues_an_unfinished_one(tmp_path):
    write_all(tmp_path, make())
    with FeatureWriter(tmp_path, make(), overwrite=True) as writer:
        assert writer.rows_done == 0
        run(writer, stop=8)
    with FeatureWriter(tmp_path, make(), overwrite=True) as writer:
        assert writer.rows_done == 8


def test_other_versions_are_a_warning_and_the_first_batch_size_stays(tmp_path, caplog):
    with FeatureWriter(tmp_path, make(batch_size=4, versions={"torch": "1.0"})) as writer:
        run(writer, stop=4)
    with (
        caplog.at_level(logging.WARNING),
        FeatureWriter(tmp_path, make(batch_size=8, versions={"torch": "2.0"})) as writer,
    ):
        assert writer.rows_done == 4
        assert writer.manifest.batch_size == 4
    assert "torch: stored with 1.0, now 2.0" in caplog.text


def test_a_restart_begins_again_and_is_found_by_the_same_call(tmp_path):
    mended = make(layers=(*LAYERS, StoredLayer("twin", (2,), "float32")))
    with FeatureWriter(tmp_path, make()) as writer:
        run(writer, stop=8)
        writer.restart(mended)
        assert writer.rows_done == 0
        run(writer, stop=4)
    # The same call plans as it did at first; the folder knows better.
    with FeatureWriter(tmp_path, make()) as writer:
        assert writer.rows_done == 4
        assert [layer.name for layer in writer.manifest.layers][-1] == "twin"
        run(writer)
        writer.finish()
    write_all(tmp_path / "direct", mended)
    assert load_features(tmp_path)["twin"].tobytes() == values_of(mended.layers[-1]).tobytes()
    with FeatureWriter(tmp_path, make()) as writer:
        assert writer.complete
    with (
        pytest.raises(ValueError, match="weights: stored"),
        FeatureWriter(tmp_path, make(weights="other")),
    ):
        pass


# What is broken.


@pytest.mark.parametrize("harm", ["missing", "truncated"])
def test_a_broken_working_file_is_said(harm, tmp_path):
    with FeatureWriter(tmp_path, make()) as writer:
        run(writer, stop=8)
    working = tmp_path / "features.0.npy.partial"
    if harm == "missing":
        working.unlink()
    else:
        os.truncate(working, 100)
    with (
        pytest.raises(ValueError, match=r"'features\.0': .*partial is missing or truncated"),
        FeatureWriter(tmp_path, make()),
    ):
        pass
    with FeatureWriter(tmp_path, make(), overwrite=True) as writer:
        assert writer.rows_done == 0
        run(writer)
        writer.finish()
    assert load_features(tmp_path)["(root)"].tobytes() == values_of(LAYERS[2]).tobytes()


@pytest.mark.parametrize("name", FORMATS)
def test_a_broken_data_file_is_named(name, tmp_path):
    needs(name)
    write_all(tmp_path, make(format=name))
    path = tmp_path / f"features.0{FORMATS[name].suffix}"
    victim = path if path.is_file() else next(p for p in path.glob("c/**/*") if p.is_file())
    content = victim.read_bytes()

    victim.write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"'features\.0': its file .* is truncated: expected"):
        load_features(tmp_path)
    assert list(load_features(tmp_path, "attn[0]")) == ["attn[0]"]  # the others are whole
    with (
        pytest.raises(ValueError, match="is truncated"),
        FeatureWriter(tmp_path, make(format=name)),
    ):
        pass
    if path.is_file():
        # The same size, but no such file at all.
        victim.write_bytes(b"\x01" * len(content))
        with pytest.raises(
            ValueError, match=r"'features\.0': .*features\.0.* (is damaged|expected)"
        ):
            load_features(tmp_path)["features.0"]
        victim.unlink()
        with pytest.raises(FileNotFoundError, match=r"'features\.0': its file .* is missing"):
            load_features(tmp_path)
    else:
        victim.unlink()  # zarr itself would read zeros in its place
        with pytest.raises(ValueError, match="is truncated"):
            load_features(tmp_path)


def test_a_file_of_other_values_is_refused(tmp_path):
    write_all(tmp_path, make())
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    np.save(tmp_path / "features.0.npy", np.zeros((N, 3, 2), "<f4"))
    with pytest.raises(ValueError, match=r"expected \(13, 2, 3\) float32 .* got \(13, 3, 2\)"):
        load_features(tmp_path)["features.0"]


def test_features_are_a_mapping_with_near_names(tmp_path):
    write_all(tmp_path, make())
    features = load_features(tmp_path, ["attn[0]"])
    assert "attn[0]" in features
    assert "features.0" not in features
    assert len(features) == 1
    assert "1 layers x 13 stimuli, mine/net@random-0" in repr(features)
    with pytest.raises(KeyError, match=r"unknown layer 'attn\[1\]'. Did you mean 'attn\[0\]'"):
        load_features(tmp_path, ["attn[1]"])
    with pytest.raises(KeyError, match="unknown layer 'x'. Known: attn"):
        features["x"]
    mapped = features["attn[0]"]
    assert isinstance(mapped, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        mapped[0] = 0


def test_mat_is_refused_before_anything_is_written(tmp_path):
    layer = StoredLayer("conv1", (300_000_000,), "float32")
    with (
        pytest.raises(ValueError, match=r"at most 2 GB, but layer 'conv1'.*hdf5"),
        FeatureWriter(tmp_path / "x", make(layers=(layer,), format="mat")),
    ):
        pass
    assert not (tmp_path / "x").exists()


def test_what_is_not_the_manifests_is_never_removed(tmp_path):
    write_all(tmp_path, make())
    text = (tmp_path / "manifest.json").read_text().replace("features.0.npy", "../victim.npy")
    (tmp_path / "manifest.json").write_text(text)
    with (
        pytest.raises(ValueError, match="expected the name of a file in the folder"),
        FeatureWriter(tmp_path, make(), overwrite=True),
    ):
        pass
