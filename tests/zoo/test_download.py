"""Weights from an address, from a server on this machine that misbehaves."""

from __future__ import annotations

import hashlib
import http.server
import os
import threading

import pytest
import torch

from isomorph.zoo.download import fetch_weights, weights_folder

CONTENT = os.urandom(300_000)
HASH = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if "missing" in self.path:
            self.send_error(404)
            return
        self.send_response(200)
        if "unsized" not in self.path:
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:1000] if "short" in self.path else CONTENT)

    def log_message(self, *_args):
        pass


@pytest.fixture
def server():
    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.asked = []
    thread = threading.Thread(target=found.serve_forever, daemon=True)
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


def test_a_name_of_its_own(address, cache):
    assert fetch(f"{address}/net.pth?raw=1", file_name="other.pth") == cache / "other.pth"
