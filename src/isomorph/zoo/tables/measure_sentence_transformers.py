"""Count the parameters of every catalogued sentence encoder, on torch's meta device.

``python -m isomorph.zoo.tables.measure_sentence_transformers`` fills the column ``n_params`` of
``sentence_transformers.csv``.
"""

from __future__ import annotations

import csv
import json
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, T5EncoderModel

from isomorph.zoo.sources import sentence_transformers as source


def measure(line: dict[str, str]) -> int:
    """Count the parameters of the transformer, and of a dense layer behind it."""
    config: Any = AutoConfig.for_model(**json.loads(line["config"]))
    with torch.device("meta"):
        kind = T5EncoderModel if config.model_type == "t5" else AutoModel.from_config
        module = kind(config)
    count = sum(parameter.numel() for parameter in module.parameters())
    if line["dense"]:
        dense = json.loads(line["dense"])
        count += dense["size"] * (config.hidden_size + int(dense["bias"]))
    return count


def main() -> None:
    """Fill the column."""
    text = source.TABLE.read_text().splitlines(keepends=True)
    head = [line for line in text if line.startswith("#")]
    lines = list(source.table().values())
    for line in lines:
        line["n_params"] = str(measure(line))
    with source.TABLE.open("w", newline="") as stream:
        stream.writelines(head)
        writer = csv.DictWriter(stream, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


if __name__ == "__main__":
    main()
