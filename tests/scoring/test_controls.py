"""The controls: noise of the layer's width, shuffled stimuli, the random twin."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import kstest
from torch import nn

import isomorph as iso
from isomorph.extraction import FeaturesNeed, GramNeed, MomentsNeed
from isomorph.geometry import Scaling, grams, noise_gram, rdm_from_gram
from isomorph.results import COLUMNS, CONTROLS, statistic_columns
from isomorph.scoring import controls
from isomorph.scoring.controls import noise_representation, random_twin

N = 24


def to_tensor(image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image, dtype=np.float32)).movedim(2, 0) / 255


def small_model(seed: int = 0) -> iso.Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4 * 36, 10)
        )
    return iso.Model(module, to_tensor, preprocess_spec="0 to 1")


LATENT = np.random.default_rng(0).normal(size=(N, 4))
PIXELS = 128 + 15 * LATENT @ np.random.default_rng(1).normal(size=(4, 192))
IMAGES = PIXELS.clip(1, 255).astype(np.uint8).reshape(-1, 8, 8, 3)
NEUROIDS = pd.DataFrame(
    {"neuroid_id": [f"n{i}" for i in range(8)], "subj_id": ["a"] * 4 + ["b"] * 4, "V1": True}
)


def own_benchmark(signal: float = 0.3, images: np.ndarray = IMAGES):
    rng = np.random.default_rng(1)
    responses = signal * LATENT @ rng.normal(size=(4, 8)) + rng.normal(size=(N, 8))
    return iso.make_benchmark(responses, images, NEUROIDS, name="own")


MODEL = small_model()
BENCHMARK = own_benchmark()
METRICS = ["cRSA", "eReg", "CKA", "soft_matching"]
SAME = ["model_layer", "metric", "region", "subj_id", "cv_split", "score"]


def run(model=MODEL, benchmark=BENCHMARK, metrics=METRICS, **options):
    return iso.score(model, benchmark, metrics, controls=True, progress=False, **options)


def test_three_columns_stand_at_the_right_and_nothing_else_changes():
    results = run()
    assert list(results.columns) == [*COLUMNS, *CONTROLS]
    plain = iso.score(MODEL, BENCHMARK, METRICS, progress=False)
    pd.testing.assert_frame_equal(results[list(COLUMNS)], plain)
    assert np.isfinite(results[list(CONTROLS)]).all(axis=None)
    assert statistic_columns(results) == []
    pd.testing.assert_frame_equal(results, run())
    assert (run(seed=1)["score_noise"] != results["score_noise"]).all()


def test_a_true_match_is_far_above_its_controls():
    results = run(benchmark=own_benchmark(signal=4.0), metrics=["CKA", "eReg"])
    test = results[results["cv_split"] == "test"]
    for name in ("score_noise", "score_shuffled"):
        assert (test["score"] > test[name] + 0.1).all()
        assert test[name].abs().mean() < 0.2


def test_the_twin_is_scored_as_the_model_would_be():
    results = run()
    twin = random_twin(MODEL, seed=0)
    alone = iso.score(twin, BENCHMARK, METRICS, progress=False)
    np.testing.assert_allclose(results["score_twin"], alone["score"], atol=1e-6)
    assert (results["score_twin"] - results["score"]).abs().min() > 1e-6


def test_shuffled_is_the_mean_over_shuffles_of_the_layer():
    from isomorph.resampling import permutation_orders

    results = run(metrics="CKA", layers=["3"])
    maps = iso.extract_features(MODEL, BENCHMARK.stimuli, ["3"], flatten=True, progress=False)["3"]
    responses = BENCHMARK.blocks[0].mean_responses().values
    orders = permutation_orders(N, controls.N_SHUFFLES, seed=0)
    from isomorph.alignment import compare_representations

    for row in results.to_dict("records"):
        rows = np.arange(0 if row["cv_split"] == "train" else 1, N, 2)
        columns = slice(0, 4) if row["subj_id"] == "a" else slice(4, 8)
        values = [
            compare_representations(maps[order][rows], responses[rows, columns], "CKA")
            for order in orders
        ]
        assert row["score_shuffled"] == pytest.approx(np.mean(values), abs=1e-5)


def test_with_folds_and_swapped_splits_the_chosen_layer_brings_its_controls():
    for options in ({"split": "kfold4"}, {"swap": True}):
        results = run(metrics=["eReg", "cRSA"], **options)
        assert np.isfinite(results[list(CONTROLS)]).all(axis=None)
        chosen = iso.select_layers(results)
        assert np.isfinite(chosen[list(CONTROLS)]).all(axis=None)
        if "split" in options:  # averaged over the folds, as the score is
            row = chosen.iloc[0]
            picked = results[(results[SAME[1:4]] == row[SAME[1:4]]).all(axis=1)]
            in_range = picked["score_noise"].min(), picked["score_noise"].max()
            assert in_range[0] < row["score_noise"] < in_range[1]


def test_controls_of_rdm_benchmarks():
    from isomorph.benchmarks import Benchmark, RDMSet

    rdms = [iso.compute_rdm(np.random.default_rng(i).normal(size=(N, 6))) for i in range(2)]
    frame = pd.DataFrame({"region": "IT", "subj_id": ["a", "b"]})
    benchmark = Benchmark("r", BENCHMARK.stimuli, rdm_set=RDMSet(np.stack(rdms), frame))
    results = run(benchmark=benchmark, metrics="cRSA")
    assert set(results["cv_split"]) == {"train", "test", "all"}
    assert np.isfinite(results[list(CONTROLS)]).all(axis=None)


class Token(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(3 * 64))

    def forward(self, x):
        return x.flatten(1) + self.token


def test_a_model_without_a_twin_has_nan_and_a_logged_reason(caplog):
    model = iso.Model(nn.Sequential(Token(), nn.Linear(192, 5)), to_tensor, preprocess_spec="x")
    with caplog.at_level(logging.WARNING):
        results = run(model=model, metrics="cRSA")
    assert results["score_twin"].isna().all()
    assert np.isfinite(results[["score_noise", "score_shuffled"]]).all(axis=None)
    assert "score_twin is NaN" in caplog.text
    assert "0 (Token) has none" in caplog.text


def test_twins_keep_structure_and_preprocessing_and_leave_the_model_alone():
    before = MODEL.weights_hash()
    state = torch.random.get_rng_state()
    twin = random_twin(MODEL, seed=3)
    assert torch.equal(state, torch.random.get_rng_state())
    assert MODEL.weights_hash() == before
    assert twin.preprocess is MODEL.preprocess
    assert twin.uid.endswith("@random-3")
    assert twin.weights_hash() == random_twin(MODEL, seed=3).weights_hash()
    assert twin.weights_hash() != random_twin(MODEL, seed=4).weights_hash()
    normed = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.MultiheadAttention(4, 2))
    normed[1].running_mean.fill_(7.0)
    assert (random_twin(iso.Model(normed)).module[1].running_mean == 0).all()


def test_the_twin_of_a_published_model_is_that_of_its_source():
    model = iso.load_model("torchvision/squeezenet1_0", weights=None, seed=0)
    twin = random_twin(model, seed=0)
    assert twin.uid == "torchvision/squeezenet1_0@random-1"  # it is the twin of seed 0 itself
    other = iso.load_model("torchvision/squeezenet1_0", weights=None, seed=1)
    assert twin.weights_hash() == other.weights_hash()
    assert twin.preprocess is model.preprocess


def test_layers_without_values_have_no_controls():
    class Logarithm(nn.Module):
        def forward(self, x):
            return x.flatten(1).log()

    images = IMAGES.copy()
    images[20, 0, 0, 0] = 0  # not among the survey's stimuli
    model = iso.Model(nn.Sequential(Logarithm()), to_tensor, preprocess_spec="x")
    results = run(model=model, benchmark=own_benchmark(images=images), metrics="cRSA")
    assert results[["score", *CONTROLS]].isna().all(axis=None)


def test_the_drawn_gram_of_noise_is_distributed_as_that_of_drawn_noise():
    rng = np.random.default_rng(0)
    n, p, draws = 5, 9, 1500
    direct = [grams(rng.normal(size=(n, p)))[0] for _ in range(draws)]
    drawn = [noise_gram(n, p, seed=[1, k]) for k in range(draws)]
    few = [noise_gram(n, 4, seed=[2, k]) for k in range(draws)]
    direct_few = [grams(rng.normal(size=(n, 4)))[0] for _ in range(draws)]
    for ours, theirs in ((drawn, direct), (few, direct_few)):
        for statistic in (
            lambda g: g.uncentred()[0, 0],
            lambda g: g.uncentred()[0, 1],
            lambda g: np.linalg.eigvalsh(g.uncentred())[-1],
            lambda g: np.trace(g.centred()),
            lambda g: rdm_from_gram(g, "pearson")[0, 1],
            lambda g: rdm_from_gram(g, "cosine")[2, 3],
        ):
            both = [[statistic(gram) for gram in side] for side in (ours, theirs)]
            assert kstest(*both).pvalue > 0.001


def test_row_sums_belong_to_their_products():
    # Sums and products of one draw: the sum's variance given the products is what it should be.
    sums = np.array([noise_gram(3, 50, seed=k).row_sums for k in range(2000)])
    squares = np.array([noise_gram(3, 50, seed=k).products.diagonal() for k in range(2000)])
    assert np.cov(sums.T) == pytest.approx(50 * np.eye(3), abs=6)
    assert (sums**2 <= 50 * squares * (1 + 1e-12)).all()  # Cauchy–Schwarz
    assert np.corrcoef(sums[:, 0] ** 2, squares[:, 0])[0, 1] == pytest.approx(1 / 50**0.5, abs=0.07)
    one = noise_gram(4, 1)
    np.testing.assert_allclose(one.products, np.outer(one.row_sums, one.row_sums))


def test_wide_noise_is_drawn_as_its_gram_and_narrow_noise_as_features():
    scaled = GramNeed(Scaling(range(0, 20, 2)))
    wide = noise_representation([GramNeed(), scaled, MomentsNeed()], 20, 2_000_000, seed=0)
    assert wide.gram().n_features == 2_000_000
    assert wide.gram(scaled.scaling) is wide.gram()
    with pytest.raises(ValueError, match="expected the raw features"):
        _ = wide.features
    narrow = noise_representation([GramNeed(), scaled], 20, 300, seed=0)
    assert narrow.features.shape == (20, 300)
    assert narrow.gram(scaled.scaling) is not narrow.gram()
    whole = noise_representation([GramNeed(), FeaturesNeed()], 20, 900_000, seed=0)
    assert whole.features.shape == (20, 900_000)


def test_the_drawn_gram_scores_as_wide_noise_does(monkeypatch):
    plain = run(metrics=["eReg", "cRSA", "CKA"])["score_noise"]
    monkeypatch.setattr(controls, "NOISE_VALUES", 0)
    drawn = run(metrics=["eReg", "cRSA", "CKA"])["score_noise"]
    assert (plain != drawn).all()
    metric = iso.score(MODEL, BENCHMARK, ["eReg", "cRSA", "CKA"], progress=False)["metric"]
    for name in ("cRSA", "CKA"):
        assert abs(plain[metric == name].mean() - drawn[metric == name].mean()) < 0.15


def test_noise_gram_refuses_nothing():
    with pytest.raises(ValueError, match="1 or more stimuli and features, got 3 and 0"):
        noise_gram(3, 0)
