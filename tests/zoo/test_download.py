"""Weights from an address, from a server on this machine that misbehaves."""

from __future__ import annotations

import errno
import hashlib
import http.server
import io
import os
import random
import ssl
import tarfile
import threading
import urllib.error

import numpy as np
import pytest
import safetensors.torch
import torch

from isomorph.zoo.download import fetch_weights, weights_folder

# A zip archive by its first bytes, as torch writes them.
CONTENT = b"PK\x03\x04" + random.Random(0).randbytes(299_996)
HASH = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if "missing" in self.path:
            self.send_error(404)
            return
        if "status" in self.path:
            self.wfile.write(b"what is this\r\n\r\n")
            return
        content = self.server.content
        self.send_response(200)
        if "lettered" in self.path:
            self.send_header("Content-Length", "many")
        elif "unsized" not in self.path:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:1000] if "short" in self.path else content)

    def log_message(self, *_args):
        pass


@pytest.fixture
def server():
    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.asked, found.content = [], CONTENT
    thread = threading.Thread(target=found.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield found
    found.shutdown()
    found.server_close()
    thread.join()


@pytest.fixture
def address(server):
    return f"http://127.0.0.1:{server.server_address[1]}"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ISOMORPH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "cache" / "weights"


def fetch(url, sha256="", **options):
    return fetch_weights(url, "hub/net@x", sha256=sha256, progress=False, **options)


@pytest.mark.parametrize("sha256", [HASH, HASH[:8], ""])
@pytest.mark.parametrize("path", ["net.pth", "unsized/net.pth"])
def test_a_file_is_fetched_once_and_kept_whole(address, server, cache, sha256, path):
    first = fetch(f"{address}/{path}", sha256)
    assert first == cache / "net.pth"
    assert first.read_bytes() == CONTENT
    assert fetch(f"{address}/{path}", sha256) == first
    assert len(server.asked) == 1
    assert [file.name for file in cache.iterdir()] == ["net.pth"]


def test_the_checkpoints_of_torch_are_used_too(address, server, tmp_path):
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    file = tmp_path / "hub" / "checkpoints" / "net.pth"
    file.write_bytes(CONTENT)
    assert fetch(f"{address}/net.pth", HASH) == file
    assert server.asked == []


def test_without_isomorph_cache_files_are_shared_with_torch(tmp_path, monkeypatch):
    monkeypatch.delenv("ISOMORPH_CACHE")
    assert weights_folder() == tmp_path / "hub" / "checkpoints"


def test_another_hash_is_refused_and_nothing_kept(address, cache):
    with pytest.raises(ValueError, match=r"hub/net@x: expected a file whose SHA-256 begins") as e:
        fetch(f"{address}/net.pth", "0" * 64)
    assert HASH in str(e.value)
    assert "Nothing was kept" in str(e.value)
    assert list(cache.iterdir()) == []


def test_a_file_in_the_cache_that_was_altered_is_refused(address, cache):
    file = fetch(f"{address}/net.pth", HASH)
    file.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(ValueError, match="Remove it to download it anew"):
        fetch(f"{address}/net.pth", HASH)


def test_a_download_that_breaks_off_keeps_nothing(address, cache):
    with pytest.raises(ConnectionError, match=r"broke off .*1000 of 300000|broke off .*1000 bytes"):
        fetch(f"{address}/short/net.pth")
    assert list(cache.iterdir()) == []


def test_no_such_address_and_no_network_say_where_to_put_the_file(address, cache):
    for url in (f"{address}/missing/net.pth", "http://127.0.0.1:9/net.pth"):
        with pytest.raises(FileNotFoundError) as caught:
            fetch(url)
        message = str(caught.value)
        assert f"put the file at {cache / 'net.pth'}" in message
        assert "weights=FILE" in message
    assert not cache.exists() or list(cache.iterdir()) == []


def test_a_full_disk_is_told_and_nothing_kept(address, cache, monkeypatch):
    import isomorph.zoo.download as download

    class Full:
        def __init__(self, path):
            self.path = path

        def __enter__(self):
            raise OSError(28, "No space left on device")

        def __exit__(self, *_):
            return False

    monkeypatch.setattr(download, "atomic_write", Full)
    with pytest.raises(OSError, match=r"expected room for net.pth in .*No space left") as caught:
        fetch(f"{address}/net.pth")
    assert caught.value.errno == 28
    assert not (cache / "net.pth").exists()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("status/net.pth", "broken answer of the server .BadStatusLine: 'what is this'"),
        ("lettered/net.pth", "broken answer of the server .Content-Length: 'many'"),
    ],
)
def test_a_broken_answer_is_told_as_one(address, cache, path, message):
    with pytest.raises(ConnectionError, match=message) as caught:
        fetch(f"{address}/{path}", HASH)
    assert f"put the file at {cache / 'net.pth'}" in str(caught.value)
    assert not cache.exists() or list(cache.iterdir()) == []


class Failing:
    """A connection that breaks while it is read."""

    def __init__(self, error):
        self.error, self.headers = error, {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False

    def read(self, _n):
        raise self.error


CERTIFICATE = ssl.SSLCertVerificationError(1, "certificate verify failed")


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_certificate_that_is_refused_is_not_a_full_disk(cache, monkeypatch, late, wrapped):
    error = urllib.error.URLError(CERTIFICATE) if wrapped else CERTIFICATE

    def answer(*_args, **_options):
        if not late:
            raise error
        return Failing(error)

    monkeypatch.setattr("urllib.request.urlopen", answer)
    with pytest.raises(FileNotFoundError, match="certificate verify failed; check") as caught:
        fetch("https://example.org/net.pth")
    assert "no safe connection" in str(caught.value)
    assert f"put the file at {cache / 'net.pth'}" in str(caught.value)
    assert not cache.exists() or list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "file", "kind", "message"),
    [
        (errno.EDQUOT, None, OSError, "expected room for net.pth in .*Disk quota"),
        (errno.EROFS, None, OSError, "expected permission to write for net.pth in .*Read-only"),
        (errno.EACCES, "net", PermissionError, "expected permission to write for net.pth in"),
        (errno.ENOTDIR, "net", NotADirectoryError, "expected a folder for net.pth in"),
        (errno.EHOSTUNREACH, None, FileNotFoundError, "could not be downloaded from .*put the"),
    ],
)
def test_what_the_disk_lacks_is_told_apart(cache, monkeypatch, number, file, kind, message):
    connection = Failing(OSError(number, os.strerror(number), file))
    monkeypatch.setattr("urllib.request.urlopen", lambda *_args, **_options: connection)
    with pytest.raises(kind, match=message):
        fetch("https://example.org/net.pth")
    assert list(cache.iterdir()) == []


PAGE = b"<!DOCTYPE html><html><body>Log in first.</body></html>"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (PAGE, "got a web page; nothing was kept"),
        (PAGE * 100, "got a web page; nothing was kept"),
        (b"\xef\xbb\xbf\r\n " + PAGE * 100, "got a web page; nothing was kept"),
        (b"<script>{" + b"x" * 5000, "got a web page; nothing was kept"),
        (b"PK\x03\x04 too short", "got 14 bytes that begin with b'PK.*; nothing was kept"),
        (b"", "got 0 bytes that begin with b''; nothing was kept"),
        (b"version https://git-lfs\n" * 99, "got a file of no known kind, .*b'version https"),
        (b'{"error": "gone"}' * 99, "got a file of no known kind, which begins with b'{"),
    ],
)
def test_what_is_no_weights_is_refused_where_no_hash_is_known(
    address, server, cache, content, message
):
    server.content = content
    with pytest.raises(ValueError, match=f"hub/net@x: expected weights at .*{message}") as caught:
        fetch(f"{address}/net.pth")
    assert f"put the file at {cache / 'net.pth'}" in str(caught.value)
    assert list(cache.iterdir()) == []
    # A hash that is right says more than the first bytes.
    assert fetch(f"{address}/net.pth", hashlib.sha256(content).hexdigest()).is_file()


def written(kind):
    state, stream = {"weight": torch.randn(50, 50)}, io.BytesIO()
    if kind == "safetensors":
        return safetensors.torch.save(state)
    if kind == "safetensors, a length that reads as a blank and <":
        return (0x3C20).to_bytes(8, "little") + b"{" + b" " * 0x3C20
    if kind == "npz":
        np.savez(stream, **state)
    elif kind == "hdf5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(stream, "w") as file:
            file["weight"] = state["weight"].numpy()
    elif kind in {"tar", "tar.gz"}:
        info = tarfile.TarInfo("net.pth")
        info.size = 10_000
        with tarfile.open(fileobj=stream, mode="w:gz" if kind == "tar.gz" else "w") as archive:
            archive.addfile(info, io.BytesIO(random.Random(0).randbytes(10_000)))
    else:
        torch.save(state, stream, _use_new_zipfile_serialization=kind == "torch")
    return stream.getvalue()


@pytest.mark.parametrize(
    "kind",
    [
        "torch",
        "torch before 1.6",
        "safetensors",
        "safetensors, a length that reads as a blank and <",
        "npz",
        "hdf5",
        "tar",
        "tar.gz",
    ],
)
def test_weights_of_every_kind_come_through_without_a_hash(address, server, kind):
    server.content = written(kind)
    assert fetch(f"{address}/net.pth").read_bytes() == server.content


def test_a_name_of_its_own(address, cache):
    assert fetch(f"{address}/net.pth?raw=1", file_name="other.pth") == cache / "other.pth"
