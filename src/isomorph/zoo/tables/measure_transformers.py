"""Count the parameters of every catalogued network of transformers, on torch's meta device.

``python -m isomorph.zoo.tables.measure_transformers`` fills the column ``n_params`` of
``transformers.csv``.
"""

from __future__ import annotations

import csv

import torch

from isomorph.zoo.sources import transformers


def measure(name: str) -> int:
    """Count the parameters of the network, or encoder, that a name means."""
    with torch.device("meta"):
        module = transformers.build_module(name)
    return sum(parameter.numel() for parameter in module.parameters())


def main() -> None:
    """Fill the column."""
    text = transformers.TABLE.read_text().splitlines(keepends=True)
    head = [line for line in text if line.startswith("#")]
    lines = list(transformers.table().values())
    for line in lines:
        line["n_params"] = str(measure(line["name"]))
    with transformers.TABLE.open("w", newline="") as stream:
        stream.writelines(head)
        writer = csv.DictWriter(stream, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


if __name__ == "__main__":
    main()
