"""`stack_encoding` against scikit-learn's ridge of each layer and scipy's optimiser."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import pearsonr
from sklearn.linear_model import RidgeCV
from torch import nn

import isomorph as iso
from isomorph.scoring import STACKED, stack_encoding

N, V = 40, 6
TRAIN, TEST = np.arange(0, N, 2), np.arange(1, N, 2)


def to_tensor(image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image, dtype=np.float32)).movedim(2, 0) / 255


class Silent(nn.Module):
    def forward(self, x):
        return x * 0.0


def small_model() -> iso.Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 12), nn.Tanh(), Silent()
        )
    return iso.Model(module, to_tensor, preprocess_spec="0 to 1")


MODEL = small_model()
IMAGES = np.random.default_rng(0).integers(0, 255, (N, 8, 8, 3), np.uint8)
LAYERS = ["0", "1", "3", "4", "5"]


def features() -> dict[str, np.ndarray]:
    maps = iso.extract_features(MODEL, IMAGES, LAYERS, flatten=True, progress=False)
    return {name: maps[name].double().numpy() for name in LAYERS}


def own_benchmark(missing: bool = False):
    rng = np.random.default_rng(1)
    found = features()
    first, second = (found[name] - found[name].mean(0) for name in ("0", "4"))
    signal = first @ rng.normal(size=(144, V)) / first.std() / 12
    signal += second @ rng.normal(size=(12, V)) / second.std() / 3
    responses = signal[:, None] + 0.7 * rng.normal(size=(N, 3, V))
    if missing:
        responses[[3, 4], :, 1] = np.nan
    neuroids = pd.DataFrame(
        {
            "neuroid_id": [f"n{i}" for i in range(V)],
            "subj_id": "a",
            "V1": True,
            "V1v": [True, True, True, False, False, False],
        }
    )
    return iso.make_benchmark(responses, IMAGES, neuroids, name="own"), responses


BENCHMARK, RESPONSES = own_benchmark()


def oracle(responses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (layers, V) and test predictions: scikit-learn and a general optimiser."""
    held_out, predicted = [], []
    for name, x in features().items():
        if name == "5":
            continue
        variance = x[TRAIN].var(0)
        x = (x - x[TRAIN].mean(0)) / np.sqrt(variance + variance.mean())
        grid = np.logspace(-1, 5, 7) / 5920 * (x[TRAIN] ** 2).sum(1).mean()
        model = RidgeCV(grid, alpha_per_target=True, store_cv_results=True)
        model.fit(x[TRAIN], responses[TRAIN])
        predicted.append(model.predict(x[TEST]))
        loo = np.empty((len(TRAIN), V))
        for i in range(len(TRAIN)):
            rest = np.delete(np.arange(len(TRAIN)), i)
            for v in range(V):
                one = RidgeCV([model.alpha_[v]]).fit(x[TRAIN[rest]], responses[TRAIN[rest], v])
                loo[i, v] = one.predict(x[TRAIN[i : i + 1]])[0]
        held_out.append(loo)
    held_out, predicted = np.stack(held_out), np.stack(predicted)
    weights = np.empty((len(held_out), V))
    for v in range(V):
        weights[:, v] = minimize(
            lambda w, v=v: ((w @ held_out[:, :, v] - responses[TRAIN, v]) ** 2).mean(),
            np.full(len(held_out), 1 / len(held_out)),
            method="SLSQP",
            bounds=[(0, 1)] * len(held_out),
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
            options={"ftol": 1e-14, "maxiter": 1000},
        ).x
    return weights, np.einsum("lv,lnv->nv", weights, predicted)


def test_the_stack_is_the_convex_mixture_of_scikit_learns_ridges():
    results, weights = stack_encoding(MODEL, BENCHMARK, layers=LAYERS, progress=False)
    expected, predicted = oracle(RESPONSES.mean(axis=1))
    actual = RESPONSES.mean(axis=1)[TEST]
    r = [pearsonr(predicted[:, v], actual[:, v]).statistic for v in range(V)]
    together = results[results["model_layer"] == STACKED].set_index("region")
    assert together.loc["V1", "score"] == pytest.approx(np.mean(r), abs=1e-4)
    assert together.loc["V1v", "score"] == pytest.approx(np.mean(r[:3]), abs=1e-4)
    found = weights[weights["region"] == "V1"].set_index("model_layer")["weight"]
    assert list(found.index) == ["0", "1", "3", "4"]  # the silent layer is no part of it
    np.testing.assert_allclose(found, expected.mean(axis=1), atol=1e-3)
    assert found.sum() == pytest.approx(1)


def test_the_best_layer_stands_beside_it_as_score_and_selection_give_it():
    results, _ = stack_encoding(MODEL, BENCHMARK, layers=LAYERS, progress=False)
    best = iso.select_layers(iso.score(MODEL, BENCHMARK, "eReg", layers=LAYERS, progress=False))
    single = results[results["model_layer"] != STACKED]
    keys = ["region", "subj_id", "model_layer", "score", "ceiling", "score_normalised"]
    pd.testing.assert_frame_equal(
        single[keys].reset_index(drop=True), best[keys].reset_index(drop=True)
    )
    assert results.groupby("region").size().to_dict() == {"V1": 2, "V1v": 2}
    assert set(results["cv_split"]) == {"test"}
    assert not results["fingerprint"].duplicated().any()
    together = results[results["model_layer"] == STACKED]
    assert (together["model_layer_index"] > single["model_layer_index"].max()).all()
    assert together["ceiling"].tolist() == single["ceiling"].tolist()
    assert together["score_normalised"].notna().all()


def test_options_reach_it_and_directions_are_averaged():
    options = {"layers": LAYERS, "progress": False}
    both, _ = stack_encoding(MODEL, BENCHMARK, swap=True, **options)
    forth, _ = stack_encoding(MODEL, BENCHMARK, **options)
    back, _ = stack_encoding(MODEL, BENCHMARK, split=(TEST, TRAIN), **options)
    scores = [table.loc[table["model_layer"] == STACKED, "score"] for table in (both, forth, back)]
    np.testing.assert_allclose(
        scores[0].to_numpy(), (scores[1].to_numpy() + scores[2].to_numpy()) / 2, atol=1e-9
    )
    r2, _ = stack_encoding(MODEL, BENCHMARK, "eReg[score=r2,scale=none]", **options)
    assert set(r2["metric"]) == {"eReg[scale=none,score=r2]"}
    one, weights = stack_encoding(MODEL, BENCHMARK, layers=["3"], progress=False)
    assert weights["weight"].tolist() == [1.0, 1.0]
    np.testing.assert_allclose(one["score"].iloc[0], one["score"].iloc[1], atol=1e-6)


def test_missing_responses_are_left_out_for_that_neuroid():
    benchmark, responses = own_benchmark(missing=True)
    results, weights = stack_encoding(MODEL, benchmark, layers=LAYERS, nan="drop", progress=False)
    together = results[results["model_layer"] == STACKED]
    assert together["score"].notna().all()
    assert together["reason"].isna().all()
    assert weights.groupby("region")["weight"].sum().to_numpy() == pytest.approx(1)
    del responses


def test_what_cannot_be_stacked():
    with pytest.raises(ValueError, match="expected the metric eReg.*got PLS"):
        stack_encoding(MODEL, BENCHMARK, "PLS", progress=False)
    with pytest.raises(ValueError, match="expected a split in two halves, got folds"):
        stack_encoding(MODEL, BENCHMARK, split="kfold4", progress=False)
    with pytest.raises(ValueError, match="stats is of score.. alone"):
        stack_encoding(MODEL, BENCHMARK, stats=["sparsity"], progress=False)


def test_a_model_without_any_variance_has_no_stack():
    silent = iso.Model(nn.Sequential(Silent(), nn.Flatten()), to_tensor, preprocess_spec="x")
    results, weights = stack_encoding(silent, BENCHMARK, progress=False)
    together = results[results["model_layer"] == STACKED]
    assert together["score"].isna().all()
    assert together["reason"].str.startswith("no layer has predictions").all()
    assert weights.empty


def test_predictions_that_do_not_fit_are_refused_before_the_work(monkeypatch):
    from isomorph.scoring import stacked

    monkeypatch.setattr(stacked, "available_memory", lambda _device: 1000)
    with pytest.raises(MemoryError, match="predictions of 5 layers take .* Choose layers="):
        stack_encoding(MODEL, BENCHMARK, layers=LAYERS, progress=False)


def test_a_large_offset_of_the_responses_does_not_drown_the_mixture():
    """Predictions are kept in float32, which would round those of responses near 1e6."""
    options = {"layers": LAYERS, "progress": False}
    moved = iso.make_benchmark(RESPONSES + 1e6, IMAGES, BENCHMARK.neuroids, name="own")
    for score in ("pearsonr", "r2"):
        plain, weights = stack_encoding(MODEL, BENCHMARK, f"eReg[score={score}]", **options)
        other, found = stack_encoding(MODEL, moved, f"eReg[score={score}]", **options)
        np.testing.assert_allclose(other["score"], plain["score"], atol=1e-6)
        np.testing.assert_allclose(found["weight"], weights["weight"], atol=1e-5)
