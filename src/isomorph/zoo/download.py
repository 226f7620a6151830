"""Weights fetched from a published address, checked, and kept in one place."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlparse

import torch
from tqdm.auto import tqdm

from isomorph.storage import atomic_write, cache_folder

BLOCK = 1 << 20


class _Hash(NamedTuple):
    """What a publisher says of a file: the hash's algorithm, and its first digits or all."""

    algorithm: str
    digits: str

    def __str__(self) -> str:
        name = {"sha256": "SHA-256", "md5": "MD5"}[self.algorithm]
        return f"{name} begins with {self.digits}"


class _ShortError(Exception):
    """A download that ended too early."""


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
        If the download broke off.
    ValueError
        If the file has another hash.
    OSError
        If it cannot be written (a full disk).

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
    except _ShortError as error:
        raise ConnectionError(
            f"{uid}: the download of {url} broke off ({error}). Nothing was kept. Try again."
        ) from error
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise FileNotFoundError(not_here(uid, url, file, error)) from error
    except OSError as error:
        raise OSError(
            error.errno,
            f"{uid}: expected room for {name} in {file.parent}, got {error.strerror or error}. "
            f"Nothing was kept. Free some, or set ISOMORPH_CACHE to another folder.",
        ) from error
    return file


def _download(url: str, file: Path, wanted: _Hash, progress: bool) -> None:
    """Download to a file that takes its name only if it is whole and right."""
    digest, n_bytes = hashlib.new(wanted.algorithm), 0
    request = urllib.request.Request(url, headers={"User-Agent": "isomorph"})
    with urllib.request.urlopen(request, timeout=60) as response:
        length = int(response.headers.get("Content-Length") or 0)
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
        except http.client.IncompleteRead as error:
            raise _ShortError(str(error)) from error


def not_here(uid: str, url: str, file: Path, error: Exception) -> str:
    """Say that weights could not be downloaded, and what to do."""
    return (
        f"{uid}: its weights are not on this machine and could not be downloaded from {url} "
        f"({type(error).__name__}). Download that address elsewhere and put the file at {file}, or "
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
