"""Inputs that once gave a wrong number in silence, or an error after the work."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr
from torch import nn

import isomorph as iso
from isomorph.alignment.measured import response_rdm, scale_responses
from isomorph.benchmarks import RDMSet
from isomorph.resampling import Split

N = 40
IMAGES = np.random.default_rng(0).integers(0, 255, (N, 6, 6, 3), np.uint8)


def to_tensor(image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image, dtype=np.float32)).movedim(2, 0) / 255


MODEL = iso.Model(nn.Sequential(nn.AvgPool2d(2), nn.Flatten()), to_tensor)


def run(benchmark, metrics=None, model=MODEL, **options):
    return iso.score(model, benchmark, metrics, progress=False, **options)


def responses_benchmark(responses=None, **options):
    if responses is None:
        responses = np.random.default_rng(1).normal(size=(N, 3, 6))
    return iso.make_benchmark(responses, IMAGES, **options)


def rdm_benchmark():
    rng = np.random.default_rng(3)
    rdms = [iso.compute_rdm(rng.normal(size=(N, 6))) for _ in range(3)]
    frame = pd.DataFrame({"region": "IT", "subj_id": ["s0", "s1", "s2"]})
    return iso.make_benchmark(stimuli=IMAGES, rdm_set=RDMSet(np.stack(rdms), frame))


def others_rdm(benchmark, subject: str, rows) -> np.ndarray:
    others = [benchmark.rdm_set.get("IT", s) for s in ("s0", "s1", "s2") if s != subject]
    return np.mean(others, axis=0)[np.ix_(rows, rows)][np.triu_indices(len(rows), 1)]


def features() -> np.ndarray:
    maps = iso.extract_features(MODEL, iso.as_stimuli(IMAGES), "0", flatten=True, progress=False)
    return maps["0"].double().numpy()


@pytest.mark.parametrize("how", ["swap", "named"])
def test_a_subjects_layer_is_never_chosen_on_its_own_rdm(how):
    benchmark = rdm_benchmark()
    even, odd = np.arange(0, N, 2), np.arange(1, N, 2)
    options = {"swap": True} if how == "swap" else {"split": Split(even, odd, "fit", "hold")}
    results = run(benchmark, **options)
    halves = [even, odd] if how == "swap" else [even]
    x = features()
    for subject in ("s0", "s1", "s2"):
        row = results.query("subj_id == @subject and cv_split == 'train'").iloc[0]
        expected = [
            pearsonr(pdist(x[rows], "correlation"), others_rdm(benchmark, subject, rows)).statistic
            for rows in halves
        ]
        assert row["score"] == pytest.approx(np.mean(expected), abs=1e-4)
        assert np.isnan(row["score_normalised"])
    assert sorted(results["cv_split"].unique()) == ["all", "test", "train"]


def test_one_defined_direction_does_not_pass_for_the_mean_of_two():
    responses = np.random.default_rng(0).normal(size=(N, 6))
    responses[::2] = 5.0
    row = run(responses_benchmark(responses), "cRSA", swap=True).query("cv_split == 'test'").iloc[0]
    assert np.isnan(row["score"])
    assert np.isnan(row["score_spread"])
    assert "undefined pairs" in row["reason"]


@pytest.mark.parametrize("score_type", ["r2", "explained_variance"])
def test_neuroids_scored_in_shares_of_variance_are_divided_by_their_reliability(score_type):
    benchmark = responses_benchmark(
        features()[:, :6][:, None] * 50 + np.random.default_rng(0).normal(size=(N, 3, 6))
    )
    results, neuroids = run(benchmark, f"eReg[score={score_type}]", per_neuroid=True)
    reliability = neuroids["ceiling"]
    np.testing.assert_allclose(neuroids["score_normalised"], neuroids["score"] / reliability)
    region = results.query("cv_split == 'test'").iloc[0]
    of_test = neuroids.query("cv_split == 'test'")
    assert region["ceiling"] == pytest.approx(of_test["ceiling"].mean())
    assert region["score_normalised"] == pytest.approx(
        of_test["score"].sum() / of_test["ceiling"].sum()
    )


def test_options_that_contradict_the_preset_are_refused():
    with pytest.raises(ValueError, match="preset=published means scale=standard, but scale=none"):
        run(responses_benchmark(), "eReg[preset=published,scale=none]")


def test_a_default_that_is_written_stays():
    results = run(
        responses_benchmark(),
        ["cRSA[compare=pearson]", "cRSA[compare=spearman]"],
        rdm_compare="spearman",
    )
    assert results["metric"].unique().tolist() == ["cRSA", "cRSA[compare=spearman]"]


def test_a_model_that_was_trained_further_is_another_model():
    linear = nn.Linear(108, 4)
    model = iso.Model(nn.Sequential(nn.Flatten(), linear), to_tensor, uid="lab/net@epoch-1")
    first = run(responses_benchmark(), "cRSA", model=model)
    with torch.no_grad():
        linear.weight.mul_(torch.linspace(-1, 2, 108))
    second = run(responses_benchmark(), "cRSA", model=model)
    assert first["model_uid"].unique().tolist() == ["lab/net@epoch-1"]
    assert second["model_uid"].iloc[0].startswith("lab/net@state-")
    assert not set(first["fingerprint"]) & set(second["fingerprint"])


def test_another_forward_is_another_fingerprint_and_addresses_are_not():
    def once(module, x):
        return module(x)

    def doubled(module, x):
        return module(2 * x + 1)

    module = MODEL.module
    prints = [iso.Model(module, to_tensor, forward=f).fingerprint() for f in (once, doubled, once)]
    assert prints[0] == prints[2] != prints[1]

    class Transform:
        def __call__(self, image):
            return to_tensor(image)

    specs = {iso.Model(module, Transform()).preprocess_spec for _ in range(2)}
    assert len(specs) == 1


def test_a_constant_neuroid_zscored_is_zero_and_not_rounding():
    values = np.random.default_rng(0).normal(size=(37, 3))
    values[:, 1] = 0.1
    scaled = scale_responses(values, "zscore")
    assert (scaled[:, 1] == 0).all()
    np.testing.assert_allclose(scaled[:, 0].std(), 1)


def test_a_constant_pattern_beside_missing_responses_is_undefined():
    values = np.random.default_rng(1).normal(size=(6, 10))
    values[0] = 0.1
    values[5, 9] = np.nan
    rdm = response_rdm(values, "pearson")
    assert np.isnan(rdm[0, 1:]).all()
    assert np.isfinite(rdm[1:, 1:]).all()


def test_alpha_at_edge_is_of_the_neuroids_that_have_an_alpha():
    responses = np.random.default_rng(0).normal(size=(N, 6))
    responses[:, :3] = 1.0
    results = run(responses_benchmark(responses), "eReg", alphas=[1.0])
    assert (results["alpha_at_edge"] == 1).all()
    silent = iso.Model(nn.Sequential(nn.Flatten(), nn.Threshold(9, 0.0)), to_tensor)
    results = run(responses_benchmark(), "eReg", model=silent, layers="1")
    assert results["alpha_at_edge"].isna().all()


@pytest.mark.parametrize("n", [4, 6, 9])
def test_few_stimuli_give_nan_and_no_crash(n):
    responses = np.random.default_rng(0).normal(size=(n, 3, 4))
    results = run(iso.make_benchmark(responses, IMAGES[:n]))
    assert len(results)
    undefined = results["score_normalised"].isna() & results["score"].notna()
    assert results.loc[undefined, "reason"].notna().all()


LATE = to_tensor(IMAGES[20]).flatten()


class Infinite(nn.Module):
    """Finite for the stimuli of the survey, infinite for a later one."""

    def forward(self, x):
        return x.masked_fill((x == LATE).all(dim=1, keepdim=True), torch.inf)


def test_one_layer_that_is_not_finite_does_not_cost_the_others():
    module = nn.Sequential(nn.Flatten(), Infinite(), nn.Hardtanh(-0.9, 0.9), nn.Linear(108, 4))
    module = module.requires_grad_(False)
    model = iso.Model(module, to_tensor)
    results = run(
        responses_benchmark(),
        model=model,
        stats=["effective_dimensionality"],
        layers=["0", "1", "3"],
    )
    by_layer = results.set_index("model_layer")
    assert by_layer.loc["0", "score"].notna().all()
    assert by_layer.loc["1", "score"].isna().all()
    assert by_layer.loc["1", "reason"].str.contains("not finite").all()
    assert by_layer.loc["1", "effective_dimensionality"].isna().all()


def test_a_layer_that_is_not_finite_in_the_survey_is_left_out():
    class Masked(nn.Module):
        def forward(self, x):
            return x.masked_fill(x > 0.5, -torch.inf)

    module = nn.Sequential(nn.Flatten(), Masked(), nn.Softmax(dim=1))
    plan = iso.FeatureExtractor(module, torch.rand(6, 3, 4), progress=False).plan
    assert plan.names() == ["0", "2"]
    assert "not finite" in plan["1"].left_out


def test_an_offset_does_not_hide_which_stimulus_is_whose():
    class Windows(nn.Module):
        """(windows × stimuli) entries with a large common offset."""

        def forward(self, x):
            return 1000 + x.movedim(1, 0).flatten(0, 1)

    inputs = torch.randn(7, 6, 4, generator=torch.Generator().manual_seed(0))
    module = nn.Sequential(Windows())
    maps = iso.extract_features(module, inputs, "0", progress=False)
    torch.testing.assert_close(maps["0"], 1000 + inputs)


def refused(message: str, *arguments, error=ValueError, **options):
    calls = []
    module = nn.Sequential(nn.Flatten())
    module.register_forward_hook(lambda *_: calls.append(1))
    model = iso.Model(module, to_tensor)
    benchmark = arguments[0] if arguments else responses_benchmark()
    with pytest.raises(error, match=message):
        run(benchmark, model=model, **options)
    assert len(calls) <= 3  # at most the survey ran


def test_bad_options_are_found_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    refused("keep_in: expected a folder, but", keep=["rdms"], keep_in=tmp_path / "file" / "sub")
    refused("stats: score is a column of the results", stats={"score": len})
    refused("stats: expected each once, got x", stats=[{"x": len}, {"x": len}])
    refused("layers: expected one or more", layers=[])
    refused("score_types: expected one or more", score_types=[])
    refused("expected positive penalties in rising order", alphas=[])
    refused("expected positive penalties", metrics="cRSA", alphas=[-1, 1])
    refused("device: expected 'auto', 'cpu', 'cuda'", device="gpu")
    refused("keep: expected some of rdms, predictions, got 'maps'", keep="maps", keep_in=tmp_path)
    responses = np.random.default_rng(0).normal(size=(N, 6))
    responses[0, 0] = np.nan
    refused(
        "distance 'pearson' only",
        responses_benchmark(responses),
        nan="drop",
        rdm_distance="euclidean",
    )


def test_a_statistic_that_is_no_number_names_itself_and_the_layer(caplog):
    found = run(responses_benchmark(), "cRSA", stats={"odd": lambda _: "many"})
    assert found["odd"].isna().all()
    assert "statistic odd of layer 0 is NaN: expected a number" in caplog.text


def test_training_on_the_test_stimuli_is_refused():
    x = np.random.default_rng(0).normal(size=(20, 4))
    with pytest.raises(ValueError, match="split"):
        iso.score_arrays(x, x, split=Split(np.arange(20), np.arange(20)))
    three = iso.score_arrays(x, np.stack([x, x + 1], axis=1), "cRSA")
    assert three["score"].min() == pytest.approx(1)


def test_normalising_counts_the_stimuli_that_a_neuroid_has():
    some = np.random.default_rng(0).normal(size=(N, 3, 6)) + features()[:, None, :6] * 9
    some[np.arange(1, 29, 2), :, 0] = np.nan
    from isomorph.alignment import parse_metric
    from isomorph.alignment.representation import Representation
    from isomorph.resampling import odd_even
    from isomorph.scoring.measure import measure

    (block,) = measure(responses_benchmark(some), nan="drop")
    spec = parse_metric("eReg")
    found = list(
        spec.metric.compute(
            Representation.from_features(features()), block, odd_even(N), **spec.options
        )
    )
    assert found[1].n_per_neuroid.tolist() == [6, 20, 20, 20, 20, 20]
    table = run(responses_benchmark(some), "eReg", nan="drop")
    assert np.isfinite(table["score_normalised"]).all()


def test_a_layer_that_is_a_duplicate_by_chance_is_scored_all_the_same(caplog):
    class Cap(nn.Module):
        def forward(self, x):
            return torch.where((x == LATE).all(dim=1, keepdim=True), x * 2, x)

    model = iso.Model(nn.Sequential(nn.Flatten(), Cap(), nn.Linear(108, 3)), to_tensor)
    results = run(responses_benchmark(), "cRSA", model=model)
    assert results["model_layer"].unique().tolist() == ["0", "1", "2"]
    assert results["model_layer_index"].unique().tolist() == [0, 1, 2]
    assert "Starting again with it" in caplog.text
