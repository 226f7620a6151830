"""Hashes, atomic writes, sizes, and finding data."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import types

import numpy as np
import pytest

from isomorph.storage import (
    atomic_write,
    canonical_json,
    find_data,
    format_size,
    hash_array,
    hash_file,
    hash_json,
    parse_size,
    show_log_in_notebooks,
)


def test_canonical_json_has_one_spelling():
    assert canonical_json({"b": 1, "a": (1, 2)}) == '{"a":[1,2],"b":1}'
    assert canonical_json({"x": np.float64(0.5), "y": np.arange(2)}) == '{"x":0.5,"y":[0,1]}'
    assert hash_json({"a": 1, "b": 2}) == hash_json({"b": 2, "a": 1})
    with pytest.raises(TypeError, match="set cannot be part of a fingerprint"):
        canonical_json({1, 2})


def test_hash_is_blake2b_of_the_canonical_json():
    expected = hashlib.blake2b(b'{"a":1}', digest_size=16).hexdigest()
    assert hash_json({"a": 1}) == expected


def test_array_hash_sees_values_shape_and_type():
    array = np.arange(6.0)
    hashes = {
        hash_array(array),
        hash_array(array.reshape(2, 3)),
        hash_array(array.astype(np.float32)),
        hash_array(array[::-1]),
        hash_array(np.array([])),
    }
    assert len(hashes) == 5
    assert hash_array(array[::2]) == hash_array(array[::2].copy())


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    with atomic_write(path) as temporary:
        temporary.write_text("old")

    def break_off():
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        break_off()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.csv"]
    assert hash_file(path) == hashlib.blake2b(b"old", digest_size=16).hexdigest()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("12MB", 12_000_000), ("1 KiB", 1024), ("1.5GiB", 1_610_612_736), (7, 7), ("2tb", 2 * 10**12)],
)
def test_sizes_are_read(text, expected):
    assert parse_size(text) == expected


@pytest.mark.parametrize("text", ["lots", "12 MBit", "-3MB", 0, ""])
def test_sizes_that_make_no_sense(text):
    with pytest.raises(ValueError, match="size: expected"):
        parse_size(text)


def test_sizes_are_written():
    assert [format_size(n) for n in (999, 1000, 12_000_000, 31e9, 4.2e12)] == [
        "999 B",
        "1.0 KB",
        "12.0 MB",
        "31.0 GB",
        "4.2 TB",
    ]


def test_data_is_found_by_root_or_by_the_environment(tmp_path, monkeypatch):
    folder = tmp_path / "eyes"
    folder.mkdir()
    (folder / "a.npy").touch()
    assert find_data("eyes", ["a.npy"], root=tmp_path) == folder
    assert find_data("eyes", ["a.npy"], root=folder) == folder
    monkeypatch.setenv("ISOMORPH_DATA", str(tmp_path))
    assert find_data("eyes", ["a.npy"]) == folder


def test_missing_data_says_what_and_where(tmp_path):
    (tmp_path / "eyes").mkdir()
    (tmp_path / "eyes" / "a.npy").touch()
    with pytest.raises(FileNotFoundError) as caught:
        find_data("eyes", ["a.npy", "b.npy"], root=tmp_path)
    message = str(caught.value)
    assert "missing b.npy" in message
    assert str(tmp_path / "eyes") in message
    assert "ISOMORPH_DATA or root=" in message


def test_the_log_is_shown_only_where_nobody_set_logging_up(monkeypatch):
    logger = logging.getLogger("isomorph")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(logger, "level", logging.NOTSET)
    show_log_in_notebooks()  # not a notebook
    assert logger.handlers == []

    class ZMQInteractiveShell:
        pass

    notebook = types.SimpleNamespace(get_ipython=ZMQInteractiveShell)
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    show_log_in_notebooks()
    show_log_in_notebooks()
    assert len(logger.handlers) == 1
    assert logger.level == logging.INFO
