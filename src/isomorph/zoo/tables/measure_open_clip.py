"""Count the parameters of every architecture of open_clip, on torch's meta device.

``python -m isomorph.zoo.tables.measure_open_clip`` writes ``open_clip.csv`` anew.
"""

from __future__ import annotations

import csv
import logging

import torch

from isomorph.zoo.sources.open_clip import configs, make_tower
from isomorph.zoo.tables.open_clip_facts import TABLE

_COLUMNS: tuple[str, ...] = ("name", "image", "text", "bytes")


def measure(pair: str) -> dict[str, int | str]:
    """Count both towers; ``bytes`` is the size of the whole network in float32."""
    row: dict[str, int | str] = {"name": pair}
    total = 0
    for tower in ("image", "text"):
        try:
            with torch.device("meta"):
                module = make_tower(configs()[pair], tower)
        except (OSError, KeyError) as error:  # a text tower that only the hub knows
            logging.getLogger(__name__).warning("%s, %s: %s", pair, tower, error)
            continue
        row[tower] = sum(parameter.numel() for parameter in module.parameters())
        total += sum(value.nbytes for value in module.state_dict().values())
    if "image" in row and "text" in row:
        row["bytes"] = total
    return row


def main() -> None:
    """Write the table."""
    with TABLE.open("w", newline="") as stream:
        stream.write("# Made by python -m isomorph.zoo.tables.measure_open_clip\n")
        writer = csv.DictWriter(stream, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        for pair in configs():
            writer.writerow(measure(pair))


if __name__ == "__main__":
    main()
