"""How much memory there is, how much of it maps may take, and files that stand in for it."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
import torch

from isomorph.storage import format_size, parse_size

# Of the memory that is free when the work starts: the maps, and the preprocessed stimuli kept
# for a second pass. The rest is for the model's own activations and the products.
MAPS_SHARE = 0.5
INPUTS_SHARE = 0.1

MemoryLimit = int | float | str | None


def available_memory(device: torch.device) -> int:
    """Bytes that can be taken on a device now (on the CPU, within the job's own limit)."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = psutil.virtual_memory().available
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        (
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
    ):
        if os.path.exists(limit) and os.path.exists(used):
            text = Path(limit).read_text().strip()
            if text != "max":
                free = min(free, max(int(text) - int(Path(used).read_text()), 0))
    return free


def memory_budget(memory_limit: MemoryLimit, device: torch.device) -> int:
    """Give the bytes that the maps of one pass may take.

    Parameters
    ----------
    memory_limit : int, float, str or None
        Bytes, ``"12MB"``, or a share of what is free on the device: ``0.25``, ``"25%"``. None is
        half of what is free.
    device : torch.device
        Where the maps are held.

    Examples
    --------
    >>> memory_budget("12MB", torch.device("cpu"))
    12000000
    """
    if memory_limit is None:
        return int(MAPS_SHARE * available_memory(device))
    share = _share(memory_limit)
    if share is None:
        return parse_size(memory_limit)
    if not 0 < share <= 1:
        raise ValueError(
            f"memory_limit: expected a share above 0 and up to 1 (100%), bytes or a size such as "
            f"'8GB', got {memory_limit!r}."
        )
    return int(share * available_memory(device))


def _share(memory_limit: int | float | str) -> float | None:
    if isinstance(memory_limit, float) and memory_limit <= 1:
        return memory_limit
    text = str(memory_limit).strip()
    if not text.endswith("%"):
        return None
    try:
        return float(text.removesuffix("%")) / 100
    except ValueError:
        return None


def inputs_budget() -> int:
    """Give the bytes that preprocessed stimuli may take between passes: they stay on the CPU."""
    return int(INPUTS_SHARE * available_memory(torch.device("cpu")))


def room(
    shape: Sequence[int], device: torch.device, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Make a tensor to be filled, as ``torch.empty``, that is cheap to touch for the first time.

    NumPy asks the kernel for huge pages where torch does not: for gigabytes of maps the first
    touch of 4 KB pages, by several threads that wait for each other, costs more than the copy.

    Parameters
    ----------
    shape : sequence of int
    device : torch.device
    dtype : torch.dtype
    """
    if device.type != "cpu":
        return torch.empty(*shape, dtype=dtype, device=device)
    memory = np.empty(math.prod(shape) * dtype.itemsize, np.uint8)
    return torch.from_numpy(memory).view(dtype).view(*shape)


def spilled(shape: Sequence[int], folder: str | Path | None) -> torch.Tensor:
    """Make a float32 tensor whose memory is a file that vanishes with it.

    Parameters
    ----------
    shape : sequence of int
    folder : str, Path or None
        Where; None is the system's folder for temporary files.

    Raises
    ------
    OSError
        If the disk has no room for it. The room is taken at once: a disk that becomes full
        later would end the process without a word.
    """
    size = 4
    for length in shape:
        size *= length
    handle, name = tempfile.mkstemp(prefix="isomorph-map-", dir=folder)
    try:
        try:
            os.posix_fallocate(handle, 0, size)
        except OSError as error:
            raise OSError(
                error.errno,
                f"expected room for a map of {format_size(size)} in "
                f"{Path(name).parent}, got {error.strerror}. Free some, or name another folder "
                f"by spill=.",
            ) from error
        tensor = torch.from_file(name, shared=True, size=size // 4, dtype=torch.float32)
    finally:
        os.close(handle)
        # The mapping keeps the file's content; its name is not needed any more.
        os.unlink(name)
    return tensor.view(*shape)
