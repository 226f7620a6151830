"""Weights fetched from a published address, checked, and kept in one place."""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import re
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlparse

import torch
from tqdm.auto import tqdm

from isomorph.storage import atomic_write, cache_folder

BLOCK = 1 << 20
# Weights are longer than this; what is shorter is a message of the server's.
SMALLEST = 1000
# How the files begin that hold weights: zip and npz, pickle, HDF5, npy, gzip, xz, bzip2.
_BEGINNINGS = (
    b"PK\x03\x04",
    b"\x80",
    b"\x89HDF\r\n\x1a\n",
    b"\x93NUMPY",
    b"\x1f\x8b",
    b"\xfd7zXZ\x00",
    b"BZh",
)


class _Hash(NamedTuple):
    """What a publisher says of a file: the hash's algorithm, and its first digits or all."""

    algorithm: str
    digits: str

    def __str__(self) -> str:
        name = {"sha256": "SHA-256", "md5": "MD5"}[self.algorithm]
        return f"{name} begins with {self.digits}"


class _ShortError(Exception):
    """A download that ended too early."""


class _AnswerError(Exception):
    """An answer that is not HTTP's."""


class _NoWeightsError(Exception):
    """A download that is whole and holds no weights; its message is what it holds."""


class _WrongHashError(Exception):
    """A download that is whole and not what was published; its message is the hash."""


def weights_folder() -> Path:
    """Give the folder for weights that no library keeps in a cache of its own.

    ``$ISOMORPH_CACHE/weights`` if that variable is set, else torch's own folder of checkpoints,
    which torchvision and timm use too.
    """
    if os.environ.get("ISOMORPH_CACHE"):
        return cache_folder() / "weights"
    return Path(torch.hub.get_dir()) / "checkpoints"


def fetch_weights(
    url: str,
    uid: str,
    *,
    sha256: str = "",
    file_name: str = "",
    progress: bool = True,
    also: tuple[Path, ...] = (),
    md5: str = "",
    home: Path | None = None,
) -> Path:
    """Give the local file of published weights, downloading it if it is not there yet.

    Parameters
    ----------
    url : str
        Where it is published.
    uid : str
        Of the model, for errors.
    sha256 : str
        Of the file, or its first hex digits (torch's file names hold eight); empty if the
        publisher gives none.
    file_name : str
        Name in the cache; by default the last part of the address.
    progress : bool
        Show the download.
    also : tuple of Path
        Further folders in which it may lie: the publisher's own cache.
    md5 : str
        Of the file, where the publisher gives this hash and no SHA-256.
    home : Path, optional
        Folder that the publisher's library keeps its weights in; by default torch's. It is left
        alone if ``ISOMORPH_CACHE`` is set.

    Returns
    -------
    Path

    Raises
    ------
    FileNotFoundError
        If it is not here and cannot be downloaded; says where to put it.
    ConnectionError
        If the download broke off, or the server gave a broken answer.
    ValueError
        If the file has another hash; or, where none is published, begins as no weights do (a web
        page in their place).
    OSError
        If it cannot be written (a full disk, a folder without permission).

    Notes
    -----
    A file takes its name only when it is whole and its hash is right.
    """
    name = file_name or os.path.basename(urlparse(url).path)
    theirs = Path(torch.hub.get_dir()) / "checkpoints"
    wanted = _Hash("md5", md5) if md5 else _Hash("sha256", sha256)
    ours = weights_folder() if home is None or os.environ.get("ISOMORPH_CACHE") else home
    for folder in dict.fromkeys((ours, home or theirs, theirs, *also)):
        if (folder / name).is_file():
            return _checked(folder / name, uid, wanted)
    file = ours / name
    try:
        _download(url, file, wanted, progress)
    except _WrongHashError as error:
        raise ValueError(
            f"{uid}: expected a file whose {wanted} at {url}, got {error}. "
            f"Nothing was kept. The publisher changed it, or the download was altered: try again, "
            f"or name a file that you trust by weights=FILE."
        ) from error
    except _NoWeightsError as error:
        raise ValueError(
            f"{uid}: expected weights at {url}, got {error}; nothing was kept. The publisher moved "
            f"them, or something between you and the publisher answered: open that address "
            f"elsewhere and put the file at {file}, or name a local file by weights=FILE."
        ) from error
    except _AnswerError as error:
        raise ConnectionError(
            f"{uid}: expected weights at {url}, got a broken answer of the server ({error}). "
            f"Nothing was kept. Try again, or download that address elsewhere and put the file at "
            f"{file}."
        ) from error
    except _ShortError as error:
        raise ConnectionError(
            f"{uid}: the download of {url} broke off ({error}). Nothing was kept. Try again."
        ) from error
    except (urllib.error.URLError, TimeoutError, ConnectionError, ssl.SSLError) as error:
        raise FileNotFoundError(not_here(uid, url, file, error)) from error
    except OSError as error:
        needed = _needed(error)
        if not needed:  # a connection's
            raise FileNotFoundError(not_here(uid, url, file, error)) from error
        raise OSError(
            error.errno,
            f"{uid}: expected {needed} for {name} in {file.parent}, got {error.strerror or error}. "
            f"Nothing was kept. Make it so, or set ISOMORPH_CACHE to another folder.",
        ) from error
    return file


def _download(url: str, file: Path, wanted: _Hash, progress: bool) -> None:
    """Download to a file that takes its name only if it is whole and right."""
    digest, n_bytes = hashlib.new(wanted.algorithm), 0
    request = urllib.request.Request(url, headers={"User-Agent": "isomorph"})
    with _open(request) as response:
        length = _length(response.headers.get("Content-Length"))
        bar = tqdm(
            total=length or None,
            unit="B",
            unit_scale=True,
            unit_divisor=1000,
            desc=file.name,
            disable=not progress,
            leave=False,
        )
        try:
            with bar, atomic_write(file) as temporary:
                with temporary.open("wb") as stream:
                    while block := response.read(BLOCK):
                        stream.write(block)
                        digest.update(block)
                        n_bytes += len(block)
                        bar.update(len(block))
                if length and n_bytes < length:
                    raise _ShortError(f"{n_bytes} of {length} bytes")
                if not digest.hexdigest().startswith(wanted.digits):
                    raise _WrongHashError(digest.hexdigest())
                if not wanted.digits and (found := _instead_of_weights(temporary)):
                    raise _NoWeightsError(found)
        except http.client.IncompleteRead as error:
            raise _ShortError(str(error)) from error
        except http.client.HTTPException as error:
            raise _AnswerError(f"{type(error).__name__}: {str(error).strip()!r:.80}") from error


def _needed(error: OSError) -> str:
    """Say what the disk lacks for a file; empty if it is not the disk that failed."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "room"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return "permission to write"
    return "a folder" if error.filename is not None else ""


def _open(request: urllib.request.Request) -> http.client.HTTPResponse:
    """Ask a server, whose answer may be none of HTTP's."""
    try:
        return urllib.request.urlopen(request, timeout=60)
    except http.client.RemoteDisconnected:
        raise  # a broken connection, which is an OSError
    except http.client.HTTPException as error:
        raise _AnswerError(f"{type(error).__name__}: {str(error).strip()!r:.80}") from error


def _length(header: str | None) -> int:
    """Read how many bytes are to come; 0 where the server does not say."""
    if header is None or not header.strip():
        return 0
    if not re.fullmatch(r"[0-9]+", header.strip()):
        raise _AnswerError(f"Content-Length: {header!r:.80}")
    return int(header)


def _instead_of_weights(file: Path) -> str:
    """Say what a file holds that begins as no weights do; empty where it may hold some."""
    with file.open("rb") as stream:
        head = stream.read(512)
    size = file.stat().st_size
    safetensors = head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8
    if size >= SMALLEST and (
        safetensors or head.startswith(_BEGINNINGS) or head[257:262] == b"ustar"
    ):
        return ""
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return "a web page"
    if size < SMALLEST:
        return f"{size} bytes that begin with {head[:40]!r}"
    return f"a file of no known kind, which begins with {head[:16]!r}"


def not_here(uid: str, url: str, file: Path, error: Exception) -> str:
    """Say that weights could not be downloaded, and what to do."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    why = type(error).__name__
    if isinstance(cause, ssl.SSLError):
        why = f"no safe connection: {cause.args[-1]}; check the network and its certificates"
    return (
        f"{uid}: its weights are not on this machine and could not be downloaded from {url} "
        f"({why}). Download that address elsewhere and put the file at {file}, or "
        f"name a local file by weights=FILE. weights=None gives the random twin."
    )


def _checked(file: Path, uid: str, wanted: _Hash) -> Path:
    found = _hash(file, wanted.algorithm) if wanted.digits else ""
    if not found.startswith(wanted.digits):
        raise ValueError(
            f"{uid}: expected a file whose {wanted}, got {file} with "
            f"{found[: len(wanted.digits)]}. Remove it to download it anew, or name a file that "
            f"you trust by weights=FILE."
        )
    return file


def _hash(file: Path, algorithm: str) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()
