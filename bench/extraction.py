"""Extraction of every layer: ours and THINGSvision (if installed) beside plain decode + forward."""

# The peer's annotations are not to be relied on.
# pyright: reportMissingImports=false

from __future__ import annotations

import argparse
import sys
import tempfile
import types
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from bench.timing import side_by_side
from isomorph.extraction import FeatureExtractor, Inputs, Model, ready, survey_model
from isomorph.extraction.stream import taps
from isomorph.stimuli import from_folder
from isomorph.zoo import load_model


def write_images(folder: Path, n: int, side: int = 425) -> None:
    """Write n blurred-noise JPEGs of the size that the NSD uses."""
    rng = np.random.default_rng(0)
    for i in range(n):
        small = Image.fromarray(rng.integers(0, 255, (side // 8, side // 8, 3), dtype=np.uint8))
        large = small.resize((side, side), Image.Resampling.BICUBIC)
        large.save(folder / f"image{i:04d}.jpg", quality=90)


def plain_forward(model: Model, folder: Path, batch_size: int) -> torch.Tensor:
    """The floor that decodes: one thread decodes, then the model runs, nothing is read."""
    files = sorted(folder.iterdir())
    outputs = []
    assert model.preprocess is not None
    with torch.inference_mode():
        for start in range(0, len(files), batch_size):
            batch = []
            for file in files[start : start + batch_size]:
                with Image.open(file) as image:
                    batch.append(model.preprocess(image.convert("RGB")))
            outputs.append(model.module(torch.stack(batch)))
    return torch.cat(outputs)


def forward_only(model: Model, inputs: torch.Tensor, batch_size: int) -> torch.Tensor:
    """The floor of floors: preprocessed inputs through the model."""
    with torch.inference_mode():
        return torch.cat([model.module(part) for part in inputs.split(batch_size)])


def ours(model: Model, folder: Path, batch_size: int) -> dict[str, torch.Tensor]:
    """Every distinct layer into memory, the survey and the plan included."""
    extractor = FeatureExtractor(
        model, from_folder(folder), batch_size=batch_size, progress=False, flatten=True
    )
    return next(iter(extractor))


def taps_only(model: Model, folder: Path, batch_size: int) -> int:
    """Hooks on every layer that read nothing: what tapping alone costs."""
    inputs = Inputs(model, from_folder(folder), batch_size=batch_size)
    plan = survey_model(model, inputs.first(3), device=torch.device("cpu"))
    seen = 0

    def count(_layer: Any, flat: torch.Tensor) -> None:
        nonlocal seen
        seen += len(flat)

    device = torch.device("cpu")
    with ready(model, device), torch.inference_mode(), taps(model, plan.distinct, count) as run_:
        for _, batch in inputs.batches():
            run_(batch)
    return seen


def thingsvision_all(model: Model, folder: Path, batch_size: int) -> dict[str, np.ndarray]:
    """The peer's all-module pass over the same network, as raw arrays.

    THINGSvision pins an old torch and imports TensorFlow: it is installed with ``pip install
    --no-deps thingsvision``, a stub stands in for TensorFlow, and ``np.AxisError`` is put back.
    """
    extractor, dataset_type, loader_type = _thingsvision(model)
    dataset = dataset_type(
        root=str(folder), out_path=tempfile.mkdtemp(), backend="pt", transforms=model.preprocess
    )
    batches = loader_type(dataset=dataset, batch_size=batch_size, backend="pt")
    names = [name for name in extractor.get_module_names() if name and "out_proj" not in name]
    return extractor.extract_features(
        batches=batches, module_names=names, flatten_acts=True, output_type="ndarray"
    )


def _thingsvision(model: Model) -> tuple[Any, Any, Any]:
    vars(np).setdefault("AxisError", np.exceptions.AxisError)
    for name in ("tensorflow", "tensorflow.keras", "tensorflow.keras.layers"):
        sys.modules.setdefault(name, types.ModuleType(name))
    from thingsvision import get_extractor_from_model
    from thingsvision.utils.data import DataLoader, ImageDataset

    return (
        get_extractor_from_model(model=model.module, device="cpu", backend="pt"),
        ImageDataset,
        DataLoader,
    )


def run(
    names: tuple[str, ...] = ("alexnet", "resnet18"),
    n: int = 128,
    batch_size: int = 32,
    repeats: int = 3,
    peer: bool = True,
) -> pd.DataFrame:
    """Time every way for every network, in turns.

    Returns
    -------
    pandas.DataFrame
        ``model what seconds extra_MB ratio``: medians; the ratio is to plain decode + forward.
    """
    tables = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_images(folder, n)
        for name in names:
            model = load_model(f"torchvision/{name}", weights=None)
            images = from_folder(folder)
            assert model.preprocess is not None
            inputs = torch.stack([model.preprocess(images.load(i)) for i in range(n)])
            works: dict[str, Callable[[], Any]] = {
                "plain decode + forward": lambda m=model: plain_forward(m, folder, batch_size),
                "forward only": lambda m=model, x=inputs: forward_only(m, x, batch_size),
                "isomorph, taps reading nothing": lambda m=model: taps_only(m, folder, batch_size),
                "isomorph, every layer to memory": lambda m=model: ours(m, folder, batch_size),
            }
            if peer and _has_thingsvision():
                works["THINGSvision, every module"] = lambda m=model: thingsvision_all(
                    m, folder, batch_size
                )
            # A first round, not counted, warms caches and allocators.
            side_by_side(works, 1)
            _, table = side_by_side(works, repeats)
            tables.append(table.assign(model=name)[["model", *table.columns]])
    return pd.concat(tables, ignore_index=True)


def _has_thingsvision() -> bool:
    return find_spec("thingsvision") is not None


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["alexnet", "resnet18"])
    parser.add_argument("--n", type=int, default=128, help="images")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    table = run(tuple(arguments.models), arguments.n, arguments.batch_size, arguments.repeats)
    print(table.round(2).to_string(index=False))


if __name__ == "__main__":
    main()
