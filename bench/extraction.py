"""Extraction of every layer: ours, the peers and plain loops, on the same images and weights."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import torch
from PIL import Image

from bench.peers import (
    DISCLOSURE,
    PEERS,
    forward_only,
    inputs_of,
    judge,
    map_sizes,
    oracle,
    plain_forward,
)
from bench.timing import side_by_side
from isomorph.extraction import (
    FeatureExtractor,
    Inputs,
    Model,
    Plan,
    extract_features,
    fresh_on,
    ready,
)
from isomorph.extraction.stream import taps
from isomorph.stimuli import from_folder
from isomorph.zoo import load_model

_log = logging.getLogger(__name__)

MODELS = ("alexnet", "resnet18", "resnet50", "vit_b_16")
IMAGES, IMAGES_LARGE = 256, 128
# So many images that raw maps of all layers lie in the memory of an ordinary machine.
IMAGES_RAW, IMAGES_RAW_LARGE = 128, 48
LARGE = ("resnet50", "vit_b_16")
MEMORY_SHARE = 0.85
PLAIN = "plain decode + forward"
RAW_TO_DISK = "raw, to disk"
# A row is work that tells (number of maps, their bytes), or why it is not run.
Row = Callable[[], tuple[int, int]] | str


@contextlib.contextmanager
def image_folder(n: int, side: int = 425, distinct: int = 1000) -> Iterator[Path]:
    """Give a folder of n blurred-noise JPEGs, by default of the size that the NSD uses.

    Past `distinct` ones they repeat, as links to the same files: each is still decoded.
    """
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for i in range(n):
            file = folder / f"image{i:06d}.jpg"
            if i >= distinct:
                os.link(folder / f"image{i % distinct:06d}.jpg", file)
                continue
            small = rng.integers(0, 255, (side // 8, side // 8, 3), dtype=np.uint8)
            large = Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)
            large.save(file, quality=90)
        yield folder


def load(name: str) -> Model:
    """Load a network of torchvision with random weights, ready to be run."""
    model = load_model(f"torchvision/{name}", weights=None)
    model.module.eval()
    return model


def first_value(rows: torch.Tensor) -> torch.Tensor:
    """Read next to nothing of a map: one value a stimulus, a view."""
    return rows[(slice(None), *[0] * (rows.ndim - 1))].unsqueeze(1)


def ours(model: Model, folder: Path, batch_size: int, **options: Any) -> dict[str, Any]:
    """Every distinct layer into memory, the survey and the plan included."""
    images = from_folder(folder)
    return extract_features(model, images, batch_size=batch_size, progress=False, **options)


def surveyed(model: Model, folder: Path, batch_size: int) -> dict[str, Any]:
    """The part of ours that does not grow with the number of images."""
    FeatureExtractor(model, from_folder(folder), batch_size=batch_size, progress=False)
    return {}


def planned(model: Model, folder: Path) -> Plan:
    """Survey a network with a few of the images."""
    return FeatureExtractor(model, from_folder(folder), progress=False).plan


def tapped(model: Model, folder: Path, batch_size: int, plan: Plan) -> dict[str, Any]:
    """Hooks on every layer that read nothing, over a survey made before: what tapping costs."""
    inputs = Inputs(model, from_folder(folder), batch_size=batch_size)
    device = torch.device("cpu")
    with (
        ready(model, device),
        torch.inference_mode(),
        taps(model, plan.distinct, lambda _layer, _rows: None) as run_batch,
    ):
        for step in inputs.steps():
            run_batch(fresh_on(step.inputs, device))
    return {}


def tally(maps: dict[str, Any]) -> tuple[int, int]:
    """Count distinct maps and their bytes, and let them go: no row pays for another's result."""
    distinct = {id(item): item.nbytes for item in maps.values()}
    return len(distinct), sum(distinct.values())


def too_large(needed: int) -> str:
    """Say that a row does not fit in memory; empty if it does."""
    available = psutil.virtual_memory().available
    if needed <= MEMORY_SHARE * available:
        return ""
    return f"not run: needs {needed / 1e9:.1f} GB, {available / 1e9:.1f} GB are free"


def run(
    names: Sequence[str] = MODELS,
    n: int | None = None,
    n_raw: int | None = None,
    batch_size: int = 32,
    repeats: int = 3,
) -> pd.DataFrame:
    """Time every way for every network, in turns.

    Parameters
    ----------
    names : sequence of str
        Networks of torchvision.
    n, n_raw : int or None
        Images for the rows that keep little and for those that keep raw maps; None is 256 and 128,
        or 128 and 48 for networks whose maps are large.
    batch_size, repeats : int
        Images a batch; rounds, after a first one that warms up and is not counted.

    Returns
    -------
    pandas.DataFrame
        ``model n what maps GB seconds extra_MB ratio note``: medians; the ratio is to plain decode
        + forward. A row that could not be run says why.
    """
    tables = []
    for name in names:
        model, large = load(name), name in LARGE
        n_light = n or (IMAGES_LARGE if large else IMAGES)
        n_maps = n_raw or (IMAGES_RAW_LARGE if large else IMAGES_RAW)
        for images, rows_of in ((n_light, light_rows), (n_maps, raw_rows)):
            with image_folder(images) as folder:
                table = timed(rows_of(model, folder, batch_size), repeats)
            table.insert(0, "n", images)
            table.insert(0, "model", name)
            tables.append(table)
    return pd.concat(tables, ignore_index=True)


def light_rows(model: Model, folder: Path, batch_size: int) -> dict[str, Row]:
    """Give every way of running a network over the images that keeps little or nothing."""
    inputs = torch.stack(list(inputs_of(model, folder)))

    def of(extract: Callable[..., dict[str, Any]], *given: Any, **options: Any) -> Row:
        return lambda: tally(extract(model, *given, batch_size, **options))

    return {
        PLAIN: of(plain_forward, folder),
        "forward only": of(forward_only, inputs),
        "isomorph, survey and plan alone": of(surveyed, folder),
        "isomorph, taps that read nothing": of(tapped, folder, plan=planned(model, folder)),
        "isomorph, one value of every layer": of(ours, folder, tensor_fn=first_value),
        'isomorph, every layer, pool="mean"': of(ours, folder, pool="mean"),
    }


def raw_rows(model: Model, folder: Path, batch_size: int) -> dict[str, Row]:
    """Give every way that brings all raw maps of a network to memory, ours and the peers'."""
    n = sum(1 for _ in folder.iterdir())
    sizes = map_sizes(model, next(inputs_of(model, folder)))
    raw_bytes = n * sizes.distinct
    limit = int(1.1 * raw_bytes)
    rows: dict[str, Row] = {
        PLAIN: lambda: tally(plain_forward(model, folder, batch_size)),
        "isomorph, every layer, raw to memory": too_large(raw_bytes)
        or (lambda: tally(ours(model, folder, batch_size, memory_limit=limit))),
    }
    for peer in PEERS:
        if not peer.installed:
            rows[peer.name] = "not installed"
            continue
        extract = peer.extract
        rows[peer.name] = too_large(peer.needs(sizes, n)) or (
            lambda extract=extract: tally(extract(model, folder, batch_size))
        )
    return rows


def once(work: Callable[[], tuple[int, int]]) -> tuple[float, tuple[int, int], float]:
    """Run a work alone: (seconds, what it told, MB that it needed beside what was there)."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc alone
        # What earlier works gave back is still the process's: it would hide what this one takes.
        ctypes.CDLL(None).malloc_trim(0)
    results, table = side_by_side({"it": work}, 1)
    return table["seconds"][0], results["it"], table["extra_MB"][0]


def timed(rows: dict[str, Row], repeats: int) -> pd.DataFrame:
    """Run each once, for its memory and to warm caches, then time those that ran, in turns."""
    notes = {what: row for what, row in rows.items() if isinstance(row, str)}
    works: dict[str, Callable[[], tuple[int, int]]] = {}
    counts: dict[str, tuple[int, int]] = {}
    memory: dict[str, float] = {}
    for what, row in rows.items():
        if isinstance(row, str):
            continue
        try:
            counts[what], memory[what] = once(row)[1:]
        except Exception as error:  # a peer that fails is a row, not the end of the benchmark
            _log.warning("%s failed", what, exc_info=True)
            message = str(error).strip().partition("\n")[0]
            notes[what] = f"failed: {type(error).__name__}: {message[:100]}"
        else:
            works[what] = row
    _, table = side_by_side(works, repeats)
    # The timed rounds reuse what the allocator kept of the first: their memory tells nothing.
    table["extra_MB"] = table["what"].map(memory)
    table.insert(1, "GB", [counts[what][1] / 1e9 for what in table["what"]])
    table.insert(1, "maps", [counts[what][0] for what in table["what"]])
    table = table.set_index("what").reindex(list(rows)).reset_index()
    table["maps"] = table["maps"].astype("Int64")
    table["note"] = [notes.get(what, "") for what in table["what"]]
    return table


def run_wrong(names: Sequence[str] = MODELS, n: int = 5, batch_size: int = 2) -> pd.DataFrame:
    """Compare every map of ours and of the peers with what a clone at its hook holds.

    Returns
    -------
    pandas.DataFrame
        ``model what calls given wrong missing which``: how many module calls there are, how many
        maps were given, how many of these are wrong, and how many calls have none.
    """
    records = []
    for name in names:
        model = load(name)
        with image_folder(n) as folder:
            truth = oracle(model, folder, batch_size)
            ways = {"isomorph": our_maps} | {peer.name: peer.extract for peer in PEERS}
            absent = {peer.name for peer in PEERS if not peer.installed}
            for what, extract in ways.items():
                record: dict[str, Any] = {"model": name, "what": what, "calls": len(truth)}
                if what in absent:
                    records.append(record | {"which": "not installed"})
                    continue
                try:
                    verdict = judge(extract(model, folder, batch_size), truth)
                except Exception as error:  # as in `timed`
                    _log.warning("%s failed", what, exc_info=True)
                    records.append(record | {"which": f"failed: {type(error).__name__}"})
                    continue
                which = [
                    f"{word}: {layers[0]}{', …' if len(layers) > 1 else ''}"
                    for word, layers in (("wrong", verdict.wrong), ("missing", verdict.missing))
                    if layers
                ]
                record |= {"given": verdict.given, "wrong": len(verdict.wrong)}
                record |= {"missing": len(verdict.missing), "which": "; ".join(which)}
                records.append(record)
    frame = pd.DataFrame(records)
    return frame.astype(dict.fromkeys(("given", "wrong", "missing"), "Int64"))


def our_maps(model: Model, folder: Path, batch_size: int) -> dict[str, torch.Tensor]:
    """Give every layer of ours, duplicates too, named by the module call."""
    extractor = FeatureExtractor(
        model, from_folder(folder), batch_size=batch_size, flatten=True, progress=False
    )
    kept: dict[str, torch.Tensor] = {}
    for maps in extractor:
        kept.update(maps)
    layers = [layer for layer in extractor.plan.layers if layer.path and not layer.left_out]
    return {
        layer.name.removesuffix("[0]"): kept[layer.duplicate_of or layer.name] for layer in layers
    }


def run_large(
    name: str = "resnet50", n: int = 1000, n_raw: int = 100, memory_limit: str = "4GB"
) -> pd.DataFrame:
    """Extract all distinct layers of a network whose maps do not fit, and check the plan's word.

    For each way the frame has passes, seconds and bytes as predicted and as they were, and
    ``extra_MB``, the most memory needed beside what was there; and the peers' needs.
    """
    model, records = load(name), []
    ways: dict[str, tuple[int, dict[str, Any]]] = {
        'pool="mean"': (n, {"pool": "mean"}),
        "project=4096": (n, {"project": 4096}),
        "raw, in groups": (n_raw, {}),
        RAW_TO_DISK: (n_raw, {}),
    }
    with image_folder(max(n, n_raw)) as folder:
        sizes = map_sizes(model, next(inputs_of(model, folder)))
        files = sorted(folder.iterdir())
        for what, (images, options) in ways.items():
            options |= {"memory_limit": memory_limit, "batch_size": 32, "progress": False}
            record = {"model": name, "n": images, "what": f"isomorph, {what}"}
            try:
                extractor = FeatureExtractor(model, files[:images], **options)
                record |= _beside_prediction(extractor, to_disk=what == RAW_TO_DISK)
            except Exception as error:  # the other ways are still told
                _log.warning("%s failed", what, exc_info=True)
                record["note"] = f"failed: {type(error).__name__}: {str(error)[:100]}"
            records.append(record)
    for peer in PEERS:
        note = f"raw, in memory: needs {peer.needs(sizes, n) / 1e9:.0f} GB"
        records.append({"model": name, "n": n, "what": peer.name, "note": note})
    frame = pd.DataFrame(records)
    frame = frame.astype({"maps": "Int64", "passes": "Int64"})
    return frame.assign(note=frame.pop("note").fillna(""))


def _beside_prediction(extractor: FeatureExtractor, to_disk: bool) -> dict[str, Any]:
    """Run one extraction, its prediction beside what it took."""
    said = extractor.estimate(to_disk=to_disk)
    with tempfile.TemporaryDirectory() as temporary:
        to_write = said.bytes_total if to_disk else 0
        free = shutil.disk_usage(temporary).free
        if to_write > free:
            needs = f"{to_write / 1e9:.1f} GB of disk, {free / 1e9:.1f} GB are free"
            return {"note": f"not run: needs {needs}"}
        out = Path(temporary) / "maps" if to_disk else None
        seconds, (n_maps, _), extra = once(lambda: _walk(extractor, out))
        written = sum(file.stat().st_size for file in Path(temporary).rglob("*") if file.is_file())
    return {
        "maps": n_maps,
        "passes": 1 if to_disk else len(extractor),
        "predicted_s": said.seconds,
        "seconds": seconds,
        "predicted_held_MB": 0 if to_disk else said.bytes_held / 1e6,
        "extra_MB": extra,
        "predicted_written_GB": to_write / 1e9,
        "written_GB": written / 1e9,
    }


def _walk(extractor: FeatureExtractor, out: Path | None) -> tuple[int, int]:
    """Write all layers to a folder, or take every group and let it go."""
    if out is not None:
        return len(extractor.write(out, format="npy")), 0
    n_maps, n_bytes = 0, 0
    for maps in extractor:
        n_maps += len(maps)
        n_bytes += sum(item.nbytes for item in maps.values())
        del maps
    return n_maps, n_bytes


def run_scaling(
    sizes: Sequence[int] = (100, 1000, 10_000), name: str = "alexnet", batch_size: int = 32
) -> pd.DataFrame:
    """Pool every layer over more and more stimuli, written to disk as they come.

    The time a stimulus and ``extra_MB`` should both stay flat.
    """
    model, records = load(name), []
    with image_folder(max(sizes), side=256, distinct=100) as folder:
        files = sorted(folder.iterdir())
        options: dict[str, Any] = {"pool": "mean", "batch_size": batch_size, "progress": False}
        # A first one, not counted, warms caches and allocators.
        for n in (batch_size, *sizes):
            with tempfile.TemporaryDirectory() as out:

                def work(n: int = n, out: str = out) -> tuple[int, int]:
                    taken = files[:n]
                    return _walk(FeatureExtractor(model, taken, **options), Path(out) / "maps")

                seconds, _, extra = once(work)
            each = 1e3 * seconds / n
            records.append(
                {
                    "model": name,
                    "n": n,
                    "seconds": seconds,
                    "ms_per_stimulus": each,
                    "extra_MB": extra,
                }
            )
    return pd.DataFrame(records[1:])


def main() -> None:
    """Print the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=DISCLOSURE)
    sections = ("speed", "wrong", "large", "scaling")
    parser.add_argument("--sections", nargs="+", default=sections, choices=sections)
    parser.add_argument("--models", nargs="+", default=MODELS, help="for speed and wrong")
    parser.add_argument("--n", type=int, help="images for speed (256, or 128 for large networks)")
    parser.add_argument("--raw-n", type=int, help="images kept raw for speed (128 or 48)")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--large-n", type=int, default=1000, help="images pooled and projected")
    parser.add_argument("--large-raw-n", type=int, default=100, help="images kept raw")
    parser.add_argument("--large-limit", default="4GB", help="memory limit of large")
    parser.add_argument("--scaling-n", type=int, nargs="+", default=(100, 1000, 10_000))
    given = parser.parse_args()
    runs: dict[str, Callable[[], pd.DataFrame]] = {
        "speed": lambda: run(given.models, given.n, given.raw_n, given.batch_size, given.repeats),
        "wrong": lambda: run_wrong(given.models),
        "large": lambda: run_large("resnet50", given.large_n, given.large_raw_n, given.large_limit),
        "scaling": lambda: run_scaling(given.scaling_n),
    }
    print(DISCLOSURE)
    for section in given.sections:
        table = runs[section]()
        print(f"\n{section}\n{table.round(2).to_string(index=False, na_rep='')}", flush=True)


if __name__ == "__main__":
    main()
