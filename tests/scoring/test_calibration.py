"""`calibrate`: the same choice as `score` and `select_layers`, for the data and for chance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import kstest
from torch import nn

import isomorph as iso
from isomorph.alignment import Measured, Representation, calibrated, null_scores, parse_metric
from isomorph.resampling import odd_even, permutation_orders
from isomorph.results import CALIBRATED_COLUMNS, statistic_columns
from isomorph.scoring import calibrate
from isomorph.scoring.chosen import choose
from isomorph.scoring.job import prepare

N = 32
KEYS = ["metric", "region", "subj_id"]


def to_tensor(image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image, dtype=np.float32)).movedim(2, 0) / 255


def small_model(seed: int = 0) -> iso.Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4 * 36, 10)
        )
    return iso.Model(module, to_tensor, preprocess_spec="0 to 1")


MODEL = small_model()
LATENT = np.random.default_rng(0).normal(size=(N, 4))


def images_of(latent: np.ndarray) -> np.ndarray:
    pixels = 128 + 15 * latent @ np.random.default_rng(1).normal(size=(4, 192))
    return pixels.clip(1, 255).astype(np.uint8).reshape(-1, 8, 8, 3)


IMAGES = images_of(LATENT)
NEUROIDS = pd.DataFrame(
    {"neuroid_id": [f"n{i}" for i in range(8)], "subj_id": ["a"] * 4 + ["b"] * 4, "V1": True}
)


def own_benchmark(signal: float = 0.3, seed: int = 1):
    rng = np.random.default_rng(seed)
    responses = signal * LATENT @ rng.normal(size=(4, 8)) + rng.normal(size=(N, 8))
    return iso.make_benchmark(responses, IMAGES, NEUROIDS, name="own")


BENCHMARK = own_benchmark()


def run(benchmark=BENCHMARK, metrics=None, **options):
    return calibrate(MODEL, benchmark, metrics, progress=False, **options)


@pytest.mark.parametrize(
    "options", [{}, {"split": "kfold4"}, {"swap": True}, {"layers": ["0", "3"], "alphas": [1, 100]}]
)
def test_score_and_choice_are_those_of_score_and_select_layers(options):
    metrics = ["cRSA", "eReg", "Procrustes[form=angular]", "mutual_knn[k=3]"]
    found = run(metrics=metrics, n_permutations=2, **options)
    results = iso.score(MODEL, BENCHMARK, metrics, progress=False, **options)
    expected = iso.select_layers(results)
    for name in ("model_uid", "model_layer", "model_layer_index", "cv_split", "n_candidates"):
        assert found[name].tolist() == expected[name].tolist()
    assert found[KEYS].equals(expected[KEYS])
    for name in ("score", "n_stimuli", "n_neuroids"):
        np.testing.assert_allclose(found[name].astype(float), expected[name].astype(float))
    assert found["selection"].tolist() == expected["selection"].tolist()
    assert list(found.columns) == list(CALIBRATED_COLUMNS)
    assert statistic_columns(found) == []


@pytest.mark.parametrize("split", ["odd_even", "kfold3"])
def test_the_null_is_the_choice_repeated_on_permuted_responses(split):
    orders = permutation_orders(N, 4, seed=5)
    found = run(metrics="eReg", n_permutations=4, seed=5, split=split)
    responses = BENCHMARK.blocks[0].mean_responses().values
    reported = []
    for order in orders:
        benchmark = iso.make_benchmark(responses[order], IMAGES, NEUROIDS, name="own")
        results = iso.score(MODEL, benchmark, "eReg", split=split, progress=False)
        reported.append(iso.select_layers(results)["score"].to_numpy())
    np.testing.assert_allclose(found["null_mean"], np.mean(reported, axis=0), atol=1e-6)
    np.testing.assert_allclose(found["null_sd"], np.std(reported, axis=0, ddof=1), atol=1e-6)
    better = (np.array(reported) >= found["score"].to_numpy()).sum(axis=0)
    np.testing.assert_allclose(found["p_value"], (better + 1) / 5)
    np.testing.assert_allclose(found["score_excess"], found["score"] - found["null_mean"])
    assert (found["n_permutations"] == 4).all()


def test_the_rows_of_every_layer_stand_beside_their_own_null():
    table, layers = run(metrics=["cRSA", "CKA"], n_permutations=3, per_layer=True)
    results = iso.score(MODEL, BENCHMARK, ["cRSA", "CKA"], progress=False)
    names = [*KEYS, "model_layer", "cv_split"]
    first, second = (frame.set_index(names).sort_index() for frame in (layers, results))
    np.testing.assert_allclose(first["score"], second["score"])
    assert (layers["n_candidates"] == 1).all()
    assert (table["n_candidates"] == 3).all()
    assert len(table) == 4


def test_a_true_match_is_significant_and_its_excess_is_reproducible():
    benchmark = own_benchmark(signal=3.0)
    found = run(benchmark, ["CKA", "eReg"], n_permutations=39)
    assert (found["p_value"] == 1 / 40).all()
    assert (found["score_excess"] > 3 * found["null_sd"]).all()
    assert found.equals(run(benchmark, ["CKA", "eReg"], n_permutations=39))
    other = run(benchmark, ["CKA", "eReg"], n_permutations=39, seed=1)
    assert (found["null_mean"] != other["null_mean"]).all()
    assert found["score"].equals(other["score"])


def test_rdm_benchmarks_of_several_subjects_and_of_one():
    from isomorph.benchmarks import Benchmark, RDMSet

    rng = np.random.default_rng(0)
    rdms = [iso.compute_rdm(rng.normal(size=(N, 6))) for _ in range(3)]
    frame = pd.DataFrame({"region": "IT", "subj_id": ["a", "b", "c"]})
    several = Benchmark("r", BENCHMARK.stimuli, rdm_set=RDMSet(np.stack(rdms), frame))
    single = Benchmark("r", BENCHMARK.stimuli, rdm_set=RDMSet(np.stack(rdms[:1]), frame[:1]))
    for benchmark, split in ((several, "test"), (single, "all")):
        found = run(benchmark, n_permutations=5)
        results = iso.score(MODEL, benchmark, progress=False)
        expected = iso.select_layers(results)
        np.testing.assert_allclose(found["score"], expected["score"])
        assert found["model_layer"].tolist() == expected["model_layer"].tolist()
        assert found["selection"].tolist() == expected["selection"].tolist()
        assert (found["cv_split"] == split).all()
        assert np.isfinite(found["p_value"]).all()


def test_groups_of_the_stimuli_are_heeded_and_can_be_left_aside():
    labels = np.repeat(np.arange(8), 4)
    grouped = iso.make_benchmark(
        BENCHMARK.blocks[0].mean_responses().values,
        BENCHMARK.stimuli.with_groups(labels.tolist()),
        NEUROIDS,
        name="own",
    )
    inside = run(grouped, "CKA", n_permutations=5, exchange="within")
    assert inside.equals(run(BENCHMARK, "CKA", n_permutations=5, blocks=labels))
    # Stimuli of a group are not exchangeable one by one, unless somebody says so.
    whole = run(grouped, "CKA", n_permutations=5)
    assert whole.equals(run(grouped, "CKA", n_permutations=5, exchange="whole"))
    aside = run(grouped, "CKA", n_permutations=5, blocks=np.zeros(N))
    assert aside.equals(run(BENCHMARK, "CKA", n_permutations=5))
    alone = iso.make_benchmark(
        BENCHMARK.blocks[0].mean_responses().values,
        BENCHMARK.stimuli.with_groups(list(range(N))),
        NEUROIDS,
        name="own",
    )
    assert aside.equals(run(alone, "CKA", n_permutations=5))
    means = [frame["null_mean"][0] for frame in (inside, whole, aside)]
    assert len(set(means)) == 3


def test_wrong_input_is_found_before_the_work():
    with pytest.raises(ValueError, match="one label for each of the 32 stimuli, got 2"):
        run(blocks=[0, 1])
    with pytest.raises(ValueError, match="nothing can be exchanged within"):
        run(blocks=range(N))
    with pytest.raises(ValueError, match="1 or more permutations, got 32 and 0"):
        run(n_permutations=0)
    with pytest.raises(ValueError, match="keep, stats is of score"):
        run(keep=["rdms"], stats=["effective_dimensionality"])


def test_layers_without_values_say_why():
    class Logarithm(nn.Module):
        def forward(self, x):
            return x.flatten(1).log()

    images = IMAGES.copy()
    images[20, 0, 0, 0] = 0  # not among the survey's stimuli
    responses = BENCHMARK.blocks[0].mean_responses().values
    benchmark = iso.make_benchmark(responses, images, NEUROIDS, name="own")
    model = iso.Model(nn.Sequential(Logarithm()), to_tensor, preprocess_spec="0 to 1")
    found = calibrate(model, benchmark, "cRSA", n_permutations=3, progress=False)
    assert found["score"].isna().all()
    assert found["p_value"].isna().all()
    assert found["reason"].str.contains("not finite").all()
    assert (found["n_permutations"] == 0).all()


def test_choosing_a_layer_inflates_its_own_p_but_not_the_calibrated_one():
    # Eight layers of noise against one noise RDM: the best of eight, chosen in sample.
    rng = np.random.default_rng(7)
    n, n_layers, n_permutations = 12, 8, 39
    alone, corrected = [], []
    spec = parse_metric("cRSA")
    for seed in range(150):
        rdm = iso.compute_rdm(rng.normal(size=(n, 8)))
        measured = Measured(positions=np.arange(n), rdms={("IT", "a"): rdm})
        orders = permutation_orders(n, n_permutations, seed=seed)
        table = np.empty((n_layers, n_permutations + 1))
        for row in table:
            layer = Representation.from_features(rng.normal(size=(n, 30)))
            [score] = spec.metric.compute(layer, measured, odd_even(n), **spec.options)
            row[0] = score.value
            row[1:] = null_scores(spec, layer, measured, odd_even(n), orders)["IT", "a", "all"]
        chosen = choose({"all": table})
        best = table[chosen.layer]
        alone.append(calibrated(best[0], best[1:]).p_value)
        corrected.append(calibrated(chosen.values[0], chosen.values[1:]).p_value)
    assert np.mean(np.array(alone) <= 0.05) > 0.25
    assert np.mean(np.array(corrected) <= 0.05) < 0.1
    jitter = rng.uniform(0, 1 / (n_permutations + 1), size=150)
    assert kstest(np.array(corrected) - jitter, "uniform").pvalue > 0.01


def test_choose_leaves_undefined_layers_out_and_takes_the_first_of_ties():
    nan = np.nan
    train = np.array([[nan, 0.1, nan], [0.5, 0.1, nan], [0.5, nan, nan]])
    test = np.array([[9.0, 1, 1], [2, 8, 1], [3, 7, 1]])
    found = choose({"train": train, "test": test})
    np.testing.assert_array_equal(found.values, [2, 1, nan])
    assert found.layer == 1
    found = choose({"train": -train, "test": test}, larger_is_better=False)
    np.testing.assert_array_equal(found.values, [2, 1, nan])
    empty = choose({"train": train[:, 2:], "test": test[:, 2:]})
    assert empty.layer is None
    assert empty.reason == "no layer has a score to choose by"
    assert choose({"test": test}).reason == "there is no split to choose a layer by"


def test_folds_keep_groups_of_stimuli_whole_and_torn_groups_are_told(caplog):
    labels = [f"clip{i}" for i in np.arange(N) % 8]
    grouped = iso.make_benchmark(
        BENCHMARK.blocks[0].mean_responses().values,
        BENCHMARK.stimuli.with_groups(labels),
        NEUROIDS,
        name="own",
    )
    (splits,) = prepare(MODEL, grouped, "CKA", split="kfold4", progress=False).splits
    for split in splits:
        assert not {labels[i] for i in split.train} & {labels[i] for i in split.test}
    assert "groups of stimuli" not in caplog.text
    halves = [f"clip{i}" for i in np.arange(N) // 4]
    torn = iso.make_benchmark(
        BENCHMARK.blocks[0].mean_responses().values,
        BENCHMARK.stimuli.with_groups(halves),
        NEUROIDS,
        name="own",
    )
    prepare(MODEL, torn, "CKA", progress=False)
    assert "8 of 8 groups of stimuli have some in the train and some in the test" in caplog.text
