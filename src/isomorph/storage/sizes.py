"""Sizes in bytes, read and written as people do. MB is 10**6 bytes, MiB is 2**20."""

from __future__ import annotations

import re

_UNITS = {"": 1, "B": 1}
_UNITS |= {
    f"{letter}{middle}B": base**power
    for power, letter in enumerate("KMGT", start=1)
    for middle, base in (("", 1000), ("I", 1024))
}


def parse_size(size: int | float | str) -> int:
    """Read a number of bytes: ``12_000_000``, ``"12MB"``, ``"1.5 GiB"``.

    Parameters
    ----------
    size : int, float or str
        Bytes, or a number with a unit. MB is 10**6 bytes; MiB is 2**20.

    Returns
    -------
    int

    Examples
    --------
    >>> parse_size("12MB"), parse_size("1 KiB")
    (12000000, 1024)
    """
    if isinstance(size, int | float) and not isinstance(size, bool):
        value = float(size)
    else:
        match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-zA-Z]*)\s*", str(size))
        if not match or match[2].upper() not in _UNITS:
            raise ValueError(
                f"size: expected bytes or a number with a unit (12MB, 1.5GiB), got {size!r}."
            )
        value = float(match[1]) * _UNITS[match[2].upper()]
    if not value > 0:
        raise ValueError(f"size: expected more than 0 bytes, got {size!r}.")
    return int(value)


def format_size(n_bytes: int | float) -> str:
    """Write a number of bytes with a unit a person can read (MB is 10**6 bytes).

    Examples
    --------
    >>> format_size(31_000_000_000)
    '31.0 GB'
    """
    value = float(n_bytes)
    for unit in ("B", "KB", "MB", "GB"):
        if value < 999.95:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def format_duration(seconds: float) -> str:
    """Write a duration as a person would: 40 seconds, 3 minutes, 2.5 hours."""
    if seconds < 90:
        whole = max(round(seconds, -1 if seconds > 20 else 0), 1)
        return f"{whole:.0f} second{'s' if whole > 1 else ''}"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"
