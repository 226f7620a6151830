"""A real network against real brains: the figures that a first try by hand gave, and oracles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from sklearn.linear_model import RidgeCV
from torch import nn

import isomorph as iso
from isomorph.alignment.encoding import neuroid_ceiling, normalise_encoding_score
from isomorph.alignment.metric import Score, split_parts
from isomorph.resampling import odd_even
from isomorph.scoring.measure import measure

NAME = "torchvision/squeezenet1_0"
V4_LAYERS = ["features.3", "features.7", "features.10", "features.11", "features.12"]


@pytest.fixture(scope="module")
def trained(data_folder):
    return iso.load_model(NAME, data_folder / "squeezenet1_0" / "squeezenet1_0.safetensors")


@pytest.fixture(scope="module")
def twin():
    return iso.load_model(NAME, weights=None)


@pytest.fixture(scope="module")
def kriegeskorte(data_folder):
    return iso.load_benchmark("kriegeskorte92", root=data_folder)


@pytest.fixture(scope="module")
def v4(data_folder):
    return iso.load_benchmark("macaque_v4", root=data_folder)


@pytest.fixture(scope="module")
def kriegeskorte_results(trained, kriegeskorte):
    return iso.score(trained, kriegeskorte, progress=False)


def over_layers(results, **where):
    for column, value in where.items():
        results = results[results[column] == value]
    return results.set_index("model_layer")["score"]


@pytest.mark.slow
def test_training_brings_the_network_closer_to_human_it(kriegeskorte_results, twin, kriegeskorte):
    untrained = iso.score(twin, kriegeskorte, progress=False)
    gains = {}
    for subject in ("human1", "human2", "human3", "human4", "group"):
        where = {"region": "human_IT", "subj_id": subject, "cv_split": "all"}
        best = over_layers(kriegeskorte_results, **where)
        gains[subject] = best.max() - over_layers(untrained, **where).max()
        late = best[[f"features.{i}" for i in (9, 10, 12)]]
        assert late.max() > best["features.0"] + 0.05
    assert np.mean([gains[f"human{i}"] for i in range(1, 5)]) > 0.15
    assert gains["group"] > 0.15
    # Chosen on other subjects and stimuli it holds too.
    chosen = [
        iso.mean_over_subjects(iso.select_layers(r, filters={"region": "human_IT"}))
        for r in (kriegeskorte_results, untrained)
    ]
    assert chosen[0]["score"].item() - chosen[1]["score"].item() > 0.15


@pytest.mark.slow
def test_crsa_on_real_images_equals_rsatoolbox(kriegeskorte_results, trained, kriegeskorte):
    import rsatoolbox

    layer = "features.12"
    features = iso.extract_features(
        trained, kriegeskorte.stimuli, [layer], flatten=True, progress=False
    )[layer].double()
    theirs = rsatoolbox.rdm.calc_rdm(
        rsatoolbox.data.Dataset(features.numpy()), method="correlation"
    )
    found = over_layers(kriegeskorte_results, region="human_IT", subj_id="human3", cv_split="all")
    measured = kriegeskorte.rdm_set.get("human_IT", "human3")[np.triu_indices(92, 1)]
    expected = rsatoolbox.rdm.compare(theirs.dissimilarities, measured[None], "corr").item()
    assert found[layer] == pytest.approx(expected, abs=1e-5)


@pytest.fixture(scope="module")
def v4_scores(trained, v4):
    return iso.score(trained, v4, layers=V4_LAYERS, per_neuroid=True, progress=False)


@pytest.mark.slow
def test_v4_reaches_the_figures_found_by_hand(v4_scores):
    _, neuroids = v4_scores
    of_ereg = neuroids[neuroids["metric"] == "eReg"]
    medians = of_ereg.groupby(["cv_split", "model_layer"])["score"].median()
    expected = {"features.7": 0.496, "features.10": 0.532, "features.12": 0.525}
    for layer, figure in expected.items():
        assert medians["test", layer] == pytest.approx(figure, abs=0.01)
    assert medians["test", "features.10"] > 0.50  # what the field's projection reaches
    assert medians["test", "features.11"] == pytest.approx(0.550, abs=0.01)
    assert medians["train", "features.10"] == pytest.approx(0.51, abs=0.015)


@pytest.mark.slow
def test_plain_standardisation_collapses_on_test_and_the_floor_does_not(trained, v4, v4_scores):
    plain = iso.score(
        trained, v4, "eReg[scale=standard]", layers="features.10", progress=False
    ).set_index("cv_split")["score"]
    assert plain["train"] > 0.45  # leave-one-out sees nothing
    assert plain["test"] < 0.35
    floored = over_layers(v4_scores[0], metric="eReg", cv_split="test")
    assert floored["features.10"] > plain["test"] + 0.15


@pytest.mark.slow
def test_training_brings_the_network_closer_to_v4(v4_scores, twin, v4):
    untrained = iso.score(twin, v4, "eReg", layers=V4_LAYERS, progress=False)
    best = iso.select_layers(v4_scores[0], filters={"metric": "eReg"})["score"].item()
    assert best - iso.select_layers(untrained)["score"].item() > 0.15


@pytest.mark.slow
def test_ereg_on_v4_equals_scikit_learn(trained, v4, v4_scores):
    layer = "features.12"
    x = iso.extract_features(trained, v4.stimuli, [layer], flatten=True, progress=False)[layer]
    x = x.double().numpy()
    y = v4.blocks[0].mean_responses().values
    variance = x[::2].var(axis=0)
    x = (x - x[::2].mean(axis=0)) / np.sqrt(variance + variance.mean())
    kernel_diagonal = (x[::2] ** 2).sum(axis=1).mean()
    model = RidgeCV(np.logspace(-1, 5, 7) / 5920 * kernel_diagonal, alpha_per_target=True)
    predicted = model.fit(x[::2], y[::2]).predict(x[1::2])
    expected = [pearsonr(predicted[:, i], y[1::2, i]).statistic for i in range(50)]
    neuroids = v4_scores[1]
    mine = neuroids[
        (neuroids["metric"] == "eReg")
        & (neuroids["model_layer"] == layer)
        & (neuroids["cv_split"] == "test")
    ]
    np.testing.assert_allclose(mine["alpha"], model.alpha_, rtol=1e-3)
    np.testing.assert_allclose(mine["score"], expected, atol=1e-4)


def as_tensor(image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image, dtype=np.float32)).movedim(2, 0)


TINY = iso.Model(nn.Sequential(nn.AvgPool2d(2), nn.Flatten()), as_tensor)


def perfect_scores(reliability, seed: int) -> float:
    """eReg's normalised score when the predictions are the noise-free simulated responses."""
    images = np.random.default_rng(seed).integers(0, 255, (200, 12, 12, 3), np.uint8)
    benchmark = iso.simulate_benchmark(
        TINY,
        {"V1": "0"},
        stimuli=images,
        reliability=reliability,
        seed=seed,
        n_subjects=1,
        n_neuroids=100,
        progress=False,
    )
    (measured,) = measure(benchmark)
    _, part = split_parts(odd_even(200))
    signal = benchmark.metadata["signal"][part.rows]
    r = np.array(
        [pearsonr(signal[:, i], measured.responses[part.rows, i]).statistic for i in range(100)]
    )
    score = Score("V1", "subj1", "test", r.mean(), len(part.rows), 100, per_neuroid=r)
    ceiling = neuroid_ceiling(measured, ("V1", "subj1"), part, {"score": "pearsonr"}, seed=seed)
    return normalise_encoding_score(score, ceiling, {"score": "pearsonr"})


MIXED = np.clip(np.random.default_rng(0).beta(0.5, 1.0, 100), 0.001, 0.95)


@pytest.mark.parametrize("reliability", [0.2, 0.5, 0.8, MIXED], ids=["0.2", "0.5", "0.8", "mixed"])
def test_a_perfect_model_scores_its_ceiling(reliability):
    scores = [perfect_scores(reliability, seed) for seed in range(20)]
    assert np.mean(scores) == pytest.approx(1.0, abs=0.03)
