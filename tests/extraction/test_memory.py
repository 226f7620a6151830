"""Memory: limits as sizes and shares, peaks measured, maps in files, cost flat in the stimuli."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch

from isomorph.extraction import FeatureExtractor, available_memory, memory_budget
from isomorph.extraction.memory import spilled

CPU = torch.device("cpu")

# Runs in a process of its own, whose peak memory is that of the work alone.
MEASURE = """
import json, re, sys, torch
import isomorph as iso
from torchvision import models

def status(name):
    return 1024 * int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read())[1])

torch.manual_seed(0)
torch.set_num_threads(1)
module = models.alexnet(weights=None).eval()
way, n, limit, batch_size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
inputs = torch.randn(1, 3, 224, 224).expand(n, -1, -1, -1)
options = dict(batch_size=batch_size, progress=False, memory_limit=limit)
warm = iso.FeatureExtractor(module, inputs[:batch_size], **options)
for maps in warm:
    pass
del warm, maps
before = status("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # the peak is counted anew
passes = 1
if way == "groups":
    extractor = iso.FeatureExtractor(module, inputs, **options)
    passes = len(extractor)
    total = 0.0
    for maps in extractor:
        for name, features in maps.items():
            total += float(features[0].sum())
elif way == "pooled":
    iso.extract_features(module, inputs, pool="mean", **options)
elif way == "disk":
    iso.extract_features(module, inputs, out=sys.argv[5], **options)
print(json.dumps({"extra": status("VmHWM") - before, "passes": passes}))
"""


def measure(way: str, n: int, limit: int, batch_size: int, folder: str = "") -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, way, str(n), str(limit), str(batch_size), folder],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


linux = pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="needs Linux")
MAPS_OF_ONE = 4 * 1_075_688  # AlexNet's distinct features at 224 pixels


@linux
@pytest.mark.slow
def test_the_peak_stays_within_the_limit_plus_one_batch():
    limit, batch_size, n = 90_000_000, 8, 96
    seen = measure("groups", n, limit, batch_size)
    assert seen["passes"] >= 5  # 413 MB of maps
    # One layer more: the last one of a group is what the loop's variable still holds.
    widest = 4 * 193_600 * n
    assert seen["extra"] < limit + batch_size * MAPS_OF_ONE + widest


@linux
@pytest.mark.slow
@pytest.mark.parametrize("way", ["pooled", "disk"])
def test_what_streams_holds_no_maps_however_many_stimuli(way, tmp_path):
    few = measure(way, 16, 10**9, 8, str(tmp_path / "few"))
    many = measure(way, 96, 10**9, 8, str(tmp_path / "many"))
    assert many["extra"] < few["extra"] + 16_000_000
    assert many["extra"] < 16 * MAPS_OF_ONE


def test_limits_are_sizes_or_shares_of_what_is_free():
    free = available_memory(CPU)
    assert memory_budget("12MB", CPU) == memory_budget(12_000_000, CPU) == 12_000_000
    for share in (0.25, "25%"):
        assert memory_budget(share, CPU) == pytest.approx(0.25 * free, rel=0.2)
    for wrong in ("150%", 0.0, "-3%"):
        with pytest.raises(ValueError, match="expected a share above 0 and up to 1"):
            memory_budget(wrong, CPU)
    with pytest.raises(ValueError, match="expected bytes or a number with a unit"):
        memory_budget("much", CPU)
    with pytest.raises(ValueError, match="expected bytes or a number with a unit"):
        memory_budget("a few%", CPU)


def test_a_spilled_map_is_a_tensor_whose_file_is_gone(tmp_path):
    held = spilled((50, 3, 7), tmp_path)
    assert held.shape == (50, 3, 7)
    assert held.dtype == torch.float32
    held.copy_(torch.arange(1050.0).view(50, 3, 7))
    assert float(held[-1, -1, -1]) == 1049
    assert list(tmp_path.iterdir()) == []


def test_a_map_larger_than_the_disk_is_one_clear_error(tmp_path):
    with pytest.raises(OSError, match=r"expected room for a map of 40\.0 TB .* by spill="):
        spilled((10**7, 10**6), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_estimate_counts_bytes_exactly():
    module = torch.nn.Sequential(torch.nn.Linear(4, 100), torch.nn.Linear(100, 50))
    extractor = FeatureExtractor(
        module, torch.randn(30, 4), memory_limit=12_000, progress=False, dtype="float16"
    )
    estimate = extractor.estimate()
    assert estimate.bytes_total == 2 * 30 * 150
    assert estimate.bytes_held == 2 * 30 * 150
    tight = FeatureExtractor(module, torch.randn(30, 4), memory_limit=12_000, progress=False)
    assert tight.estimate().bytes_held == 4 * 30 * 100
    assert tight.estimate().n_passes == 2
    assert 0 < estimate.seconds < 60
    assert "2 forward passes" in str(tight.estimate())
