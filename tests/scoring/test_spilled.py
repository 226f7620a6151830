"""Scores do not depend on where the maps lie: in memory, in passes, or in files."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import isomorph as iso
from isomorph.extraction import extract_features
from isomorph.scoring import preflight, prepare

N = 20
IMAGES = np.random.default_rng(0).integers(0, 255, (N, 8, 8, 3), np.uint8)


def to_tensor(image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image, dtype=np.float32)).movedim(2, 0) / 255


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return iso.Model(
        nn.Sequential(nn.Conv2d(3, 20, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(720, 9)),
        to_tensor,
        preprocess_spec="0 to 1",
    )


@pytest.fixture(scope="module")
def benchmark():
    rng = np.random.default_rng(1)
    responses = rng.normal(size=(N, 1, 6)) + 0.5 * rng.normal(size=(N, 4, 6))
    neuroids = pd.DataFrame(
        {"neuroid_id": [f"n{i}" for i in range(6)], "subj_id": "a", "V1": [True] * 6}
    )
    return iso.make_benchmark(responses, IMAGES, neuroids, name="own")


STATS = ["effective_dimensionality", "sparsity", "zero_share", "mean_activation"]


def run(model, benchmark, **options):
    return iso.score(
        model, benchmark, ["cRSA", "eReg", "eRSA"], stats=STATS, progress=False, **options
    )


def test_files_passes_and_memory_give_one_table(model, benchmark, tmp_path):
    whole = run(model, benchmark)
    limit = 4 * N * 720 + 100_000
    ways = {
        "one pass, in files": {"memory_limit": limit, "spill": tmp_path},
        "passes": {"memory_limit": limit},
        "layers larger than the limit": {"memory_limit": 40_000},
    }
    for what, options in ways.items():
        pd.testing.assert_frame_equal(run(model, benchmark, **options), whole, obj=what)
    assert list(tmp_path.iterdir()) == []


def test_the_pre_flight_says_what_lies_in_files(model, benchmark, tmp_path):
    job = prepare(model, benchmark, ["eReg"], memory_limit=40_000, progress=False)
    assert any(part.spilled for parts in job.plan.passes for part in parts)
    lines = dict(preflight(job).lines)
    assert "of maps larger than the memory limit, for a while" in lines["disk"]
    assert "held in files" in lines["layers"]
    spilled = prepare(model, benchmark, memory_limit="150KB", spill=tmp_path, progress=False)
    assert len(spilled.plan.passes) == 1
    with pytest.raises(ValueError, match="spill: expected a folder that exists"):
        prepare(model, benchmark, spill=tmp_path / "nowhere", progress=False)


def test_streamed_statistics_are_those_of_the_maps(model, benchmark):
    results = run(model, benchmark).drop_duplicates("model_layer").set_index("model_layer")
    images = torch.stack([to_tensor(image) for image in IMAGES])
    maps = extract_features(model, images, progress=False, flatten=True, output="numpy")
    assert list(results.index) == list(maps)
    for layer, values in maps.items():
        values = values.astype(np.float64)
        square = (values**2).mean(axis=0)
        alive = square > 0
        ratio = values.mean(axis=0)[alive] ** 2 / square[alive]
        sparsity = ((1 - ratio) / (1 - 1 / N)).mean()
        assert results.loc[layer, "sparsity"] == pytest.approx(sparsity, rel=1e-5)
        assert results.loc[layer, "zero_share"] == pytest.approx((values == 0).mean())
        assert results.loc[layer, "mean_activation"] == pytest.approx(values.mean(), rel=1e-5)


def test_a_statistic_that_streams_holds_no_map(model, benchmark):
    job = prepare(model, benchmark, ["cRSA"], stats=["sparsity"], progress=False)
    kinds = {type(need).__name__ for need in job.needs}
    assert kinds == {"GramNeed", "MomentsNeed"}
