"""Files of the Hugging Face hub: from a cache on this machine, else downloaded into it."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlparse

from isomorph.storage import cache_folder

WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")
# What goes with the weights: settings, vocabularies, templates.
SETTINGS = ("*.json", "*.txt", "*.model", "*.jinja", "*.spm", "*.tiktoken")
# The same weights for other runtimes.
ELSEWHERE = ("onnx/*", "openvino/*", "coreml/*", "gguf/*", "*.h5", "*.msgpack", "original/*")


def hub_caches() -> list[Path]:
    """Give the folders in which files of the hub are looked for; downloads go to the first.

    ``$ISOMORPH_CACHE/huggingface`` if that variable is set, and the cache that Hugging Face's
    libraries share.
    """
    from huggingface_hub import constants

    theirs = Path(constants.HF_HUB_CACHE)
    return (
        [cache_folder() / "huggingface", theirs] if os.environ.get("ISOMORPH_CACHE") else [theirs]
    )


def hub_file(
    repository: str, names: Sequence[str], uid: str, *, revision: str | None = None
) -> Path:
    """Give the local path of a file of a repository: of the first of `names` that there is.

    Parameters
    ----------
    repository : str
        ``ORG/NAME``.
    names : sequence of str
        Files, the preferred first.
    uid : str
        Of the model, for errors.
    revision : str, optional
        Branch, tag or commit; by default ``main``.

    Returns
    -------
    Path

    Raises
    ------
    FileNotFoundError
        If none is here and none can be downloaded; says what to do.
    """
    from huggingface_hub import hf_hub_download

    check_repository(repository, uid)
    for cache in hub_caches():
        for name in names:
            with contextlib.suppress(OSError):
                return Path(
                    hf_hub_download(
                        repository, name, revision=revision, cache_dir=cache, local_files_only=True
                    )
                )
    cache, last = hub_caches()[0], OSError("not asked for")
    for name in names:
        try:
            check_network()
            return Path(hf_hub_download(repository, name, revision=revision, cache_dir=cache))
        except Exception as error:
            last = _about_getting(error)
    raise FileNotFoundError(not_in_cache(repository, uid, last)) from last


def check_network() -> None:
    """Raise an OSError at once where the hub's address is unknown; the library would ask on and on.

    A proxy may know addresses that this machine does not.
    """
    from huggingface_hub import constants

    proxies = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
    if constants.HF_HUB_OFFLINE or any(os.environ.get(name) for name in proxies):
        return
    address = urlparse(constants.ENDPOINT)
    socket.getaddrinfo(address.hostname, address.port or 443)


def hub_folder(
    repository: str,
    uid: str,
    *,
    revision: str | None = None,
    whole: Callable[[Path], bool],
    local_only: bool = False,
) -> Path:
    """Give the local folder of a repository's weights, settings and vocabularies.

    Parameters
    ----------
    repository, uid, revision
        As in `hub_file`.
    whole : callable
        ``whole(folder)``: whether all that is needed is in it; else it is downloaded.
    local_only : bool
        Look in the caches alone.

    Raises
    ------
    FileNotFoundError
        If it is not here and cannot be downloaded; says what to do.
    """
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download

    check_repository(repository, uid)
    for cache in hub_caches():
        with contextlib.suppress(OSError):
            first = hf_hub_download(
                repository, "config.json", revision=revision, cache_dir=cache, local_files_only=True
            )
            if whole(Path(first).parent):
                return Path(first).parent
    if local_only:
        raise FileNotFoundError(not_in_cache(repository, uid, None))
    try:
        check_network()
        files = HfApi().list_repo_files(repository, revision=revision)
        folder = snapshot_download(
            repository,
            revision=revision,
            cache_dir=hub_caches()[0],
            allow_patterns=wanted_files(files),
        )
    except Exception as error:
        raise FileNotFoundError(not_in_cache(repository, uid, _about_getting(error))) from error
    return Path(folder)


def wanted_files(files: Sequence[str]) -> list[str]:
    """Choose what to download of a repository: safetensors where there are any.

    Examples
    --------
    >>> wanted_files(["config.json", "model.safetensors", "pytorch_model.bin", "tf_model.h5"])
    ['config.json', 'model.safetensors']
    """
    here = [name for name in files if not _fits(name, ELSEWHERE)]
    settings = [name for name in here if _fits(name, SETTINGS)]
    by_kind = [[name for name in here if _fits(os.path.basename(name), [kind])] for kind in WEIGHTS]
    weights = next((names for names in by_kind if any("/" not in name for name in names)), [])
    return settings + [name for name in weights if name not in settings]


def check_repository(repository: str, uid: str) -> None:
    """Check that a name can be that of a repository.

    Raises
    ------
    ValueError
        If it cannot; the hub is not asked.
    """
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise ValueError(
            f"{uid}: expected a repository of the Hugging Face hub, ORG/NAME in letters without "
            f"accents, digits and . _ -, or a folder (./NAME), got {repository!r}."
        ) from error


def has_weights(folder: Path) -> bool:
    """Whether a folder holds weights as `save_pretrained` writes them."""
    return any(next(folder.glob(kind), None) is not None for kind in WEIGHTS)


def not_in_cache(repository: str, uid: str, error: Exception | None) -> str:
    """Say that files of the hub are not here, and what to do."""
    cache = hub_caches()[0]
    why = f" and could not be downloaded ({type(error).__name__})" if error is not None else ""
    if type(error).__name__ == "GatedRepoError":
        why = " and its publisher asks you to accept terms (on its page of the hub), then to log in"
    return (
        f"{uid}: the files of {repository} are not in {cache}{why}. Run 'hf download {repository}' "
        f"on a machine with a network and copy the folder models--{repository.replace('/', '--')} "
        f"into {cache}, or name a folder that holds them by weights=FOLDER. weights=None gives the "
        f"random twin."
    )


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _about_getting(error: Exception) -> OSError:
    """Pass on what is of the network or the hub; anything else is a mistake of ours."""
    if isinstance(error, OSError):
        if error.errno == 28:  # no space left on the device
            raise error
        return error
    of_network = any(
        kind.__module__.partition(".")[0]
        in {"httpx", "httpx2", "httpcore", "httpcore2", "huggingface_hub"}
        for kind in type(error).__mro__
    )
    if not of_network:
        raise error
    return OSError(f"{type(error).__name__}: {error}")


@contextlib.contextmanager
def quiet_hub(progress: bool) -> Iterator[None]:
    """Show no progress bars of Hugging Face's libraries in a block, unless they are wanted."""
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if progress or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
