"""Weights fetched from a published address, checked, and kept in one place."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlparse

import torch
from tqdm.auto import tqdm

from isomorph.storage import atomic_write, cache_folder

BLOCK = 1 << 20


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
    for folder in dict.fromkeys((weights_folder(), Path(torch.hub.get_dir()) / "checkpoints")):
        if (folder / name).is_file():
            return _checked(folder / name, uid, sha256)
    file = weights_folder() / name
    try:
        _download(url, file, sha256, progress)
    except _WrongHashError as error:
        raise ValueError(
            f"{uid}: expected a file whose SHA-256 begins with {sha256} at {url}, got {error}. "
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


def _download(url: str, file: Path, sha256: str, progress: bool) -> None:
    """Download to a file that takes its name only if it is whole and right."""
    digest, n_bytes = hashlib.sha256(), 0
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
                if not digest.hexdigest().startswith(sha256):
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


def _checked(file: Path, uid: str, sha256: str) -> Path:
    found = _sha256(file) if sha256 else ""
    if not found.startswith(sha256):
        raise ValueError(
            f"{uid}: expected a file whose SHA-256 begins with {sha256}, got {file} with "
            f"{found[: len(sha256)]}. Remove it to download it anew, or name a file that you "
            f"trust by weights=FILE."
        )
    return file


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
