"""`score` on small simulated data: the table, the options, and every bad input."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import torch
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr
from torch import nn

import isomorph as iso
from isomorph.benchmarks import Benchmark, Block, RDMSet
from isomorph.registry import UnknownNameError
from isomorph.resampling import Split
from isomorph.results import COLUMNS, NEUROID_COLUMNS
from isomorph.scoring import preflight, prepare

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


MODEL = small_model()
IMAGES = np.random.default_rng(0).integers(0, 255, (N, 8, 8, 3), np.uint8)


def own_benchmark(responses=None, **options) -> Benchmark:
    rng = np.random.default_rng(1)
    if responses is None:
        signal = rng.normal(size=(N, 1, 8))
        responses = signal + 0.5 * rng.normal(size=(N, 4, 8))
    neuroids = pd.DataFrame(
        {
            "neuroid_id": [f"n{i}" for i in range(8)],
            "subj_id": ["a"] * 4 + ["b"] * 4,
            "V1": True,
            "V1v": [True, True, True, False] * 2,
        }
    )
    return iso.make_benchmark(responses, IMAGES, neuroids, name="own", **options)


BENCHMARK = own_benchmark()


def run(benchmark=BENCHMARK, metrics=None, model=MODEL, **options):
    return iso.score(model, benchmark, metrics, progress=False, **options)


def features_of(layer: str) -> np.ndarray:
    maps = iso.extract_features(MODEL, BENCHMARK.stimuli, [layer], flatten=True, progress=False)
    return maps[layer].double().numpy()


def test_one_row_for_each_layer_metric_region_subject_and_split():
    results = run()
    keys = ["model_layer", "metric", "region", "subj_id", "cv_split"]
    assert not results.duplicated(keys).any()
    assert len(results) == 3 * 3 * 2 * 2 * 2
    assert list(results.columns) == list(COLUMNS)
    assert results["model_layer"].unique().tolist() == ["0", "1", "3"]  # "2" is a view of "1"
    assert results["model_uid"].unique().tolist() == [MODEL.uid]
    assert set(results["cv_split"]) == {"train", "test"}
    assert (results["n_stimuli"] == 12).all()
    assert results.loc[results["region"] == "V1v", "n_neuroids"].eq(3).all()


def test_crsa_of_the_table_equals_scipy():
    results = run(metrics="cRSA")
    means = BENCHMARK.blocks[0].mean_responses().values
    for row in results.to_dict("records"):
        rows = np.arange(0 if row["cv_split"] == "train" else 1, N, 2)
        columns = np.arange(8)[BENCHMARK.regions[row["region"]]]
        columns = columns[(columns < 4) == (row["subj_id"] == "a")]
        expected = pearsonr(
            pdist(features_of(row["model_layer"])[rows], "correlation"),
            pdist(means[np.ix_(rows, columns)], "correlation"),
        ).statistic
        assert row["score"] == pytest.approx(expected, abs=1e-4)


def test_results_do_not_depend_on_batch_size_or_memory_limit():
    whole = run(stats=["effective_dimensionality"])
    parts = run(stats=["effective_dimensionality"], batch_size=5, memory_limit="30KB")
    numbers = ["score", "ceiling", "score_normalised", "effective_dimensionality"]
    pd.testing.assert_frame_equal(whole[numbers], parts[numbers], rtol=1e-4, atol=1e-5)
    others = [name for name in COLUMNS[:8] if name != "score"]
    pd.testing.assert_frame_equal(whole[others], parts[others])


def test_layers_are_those_asked():
    assert run(metrics="cRSA", layers=["3"])["model_layer"].unique().tolist() == ["3"]
    assert run(metrics="cRSA", layers="2")["model_layer"].unique().tolist() == ["1"]


def test_statistics_named_and_own():
    results = run(
        metrics="cRSA",
        stats=["effective_dimensionality", {"silent": lambda x: (x == 0).float().mean()}],
    )
    for layer, rows in results.groupby("model_layer"):
        x = features_of(str(layer))
        values = np.linalg.eigvalsh(np.cov(x.T))
        expected = values.sum() ** 2 / (values**2).sum()
        assert rows["effective_dimensionality"].unique() == pytest.approx(expected, rel=1e-4)
        assert rows["silent"].unique() == pytest.approx((x == 0).mean(), abs=1e-6)
    assert list(results.columns).index("silent") == list(results.columns).index("fingerprint") + 2


def test_score_types_give_rows_of_their_own():
    results = run(metrics="eReg", score_types=["pearsonr", "r2"])
    assert results["metric"].unique().tolist() == ["eReg", "eReg[score=r2]"]
    assert (results["metric"].value_counts() == len(results) / 2).all()
    assert (results["ceiling_scale"] == "r2").all()
    by_metric = results.groupby("metric")["ceiling"].first()
    assert by_metric["eReg[score=r2]"] == pytest.approx(by_metric["eReg"] ** 2)


def test_options_shared_by_all_metrics_reach_those_that_have_them():
    results = run(rdm_compare="spearman", rdm_distance="cosine", alphas=[1, 100])
    assert results["metric"].unique().tolist() == [
        "cRSA[compare=spearman,distance=cosine]",
        "eReg[alphas=1|100]",
        "eRSA[alphas=1|100,compare=spearman,distance=cosine]",
    ]


def test_per_neuroid_scores_average_to_the_table():
    results, neuroids = run(metrics="eReg", per_neuroid=True)
    assert list(neuroids.columns) == list(NEUROID_COLUMNS)
    keys = ["model_layer", "region", "subj_id", "cv_split"]
    means = neuroids.groupby(keys)["score"].mean()
    for key, score in results.set_index(keys)["score"].items():
        assert means[key] == pytest.approx(score)
    overlap = neuroids[(neuroids["region"] == "V1v") & (neuroids["subj_id"] == "a")]
    assert overlap["neuroid_id"].unique().tolist() == ["n0", "n1", "n2"]


def test_swap_scores_both_directions_and_gives_the_spread():
    forth = run(metrics=["cRSA", "eReg"])
    swapped = Split(np.arange(1, N, 2), np.arange(0, N, 2))
    back = run(metrics=["cRSA", "eReg"], split=swapped)
    both = run(metrics=["cRSA", "eReg"], swap=True)
    assert set(both["cv_split"]) == {"train", "test"}
    keys = ["model_layer", "metric", "region", "subj_id", "cv_split"]
    f, b, s = (frame.set_index(keys).sort_index() for frame in (forth, back, both))
    np.testing.assert_allclose(s["score"], (f["score"] + b["score"]) / 2)
    np.testing.assert_allclose(s["score_spread"], (f["score"] - b["score"]).abs())


def test_folds_hold_every_stimulus_out_once():
    results = run(metrics=["cRSA", "eReg"], split="kfold4")
    assert sorted(results["cv_split"].unique()) == ["fold0", "fold1", "fold2", "fold3"]
    assert (results["n_stimuli"] == 6).all()
    assert (results["selection"] == "folds").all()
    chosen = iso.select_layers(results)
    assert (chosen["selection"] == "folds").all()
    assert run(metrics="cRSA", split=4).equals(run(metrics="cRSA", split="kfold4"))


def test_positions_may_be_given():
    results = run(metrics="cRSA", split=(range(10), range(12, 20)))
    counts = results.groupby("cv_split")["n_stimuli"].first()
    assert counts.to_dict() == {"train": 10, "test": 8}


def test_fingerprints_name_what_decides_a_score():
    first = run(metrics="cRSA")
    assert first["fingerprint"].is_unique
    assert first["fingerprint"].tolist() == run(metrics="cRSA")["fingerprint"].tolist()
    others = [
        run(metrics="cRSA", model=small_model(1)),
        run(metrics="cRSA[compare=spearman]"),
        run(metrics="cRSA", split=(range(12), range(12, N))),
        run(own_benchmark(np.ones((N, 2, 8)) * np.arange(N)[:, None, None] ** 2), "cRSA"),
    ]
    for other in others:
        assert not set(first["fingerprint"]) & set(other["fingerprint"])


def test_artefacts_are_kept_by_fingerprint(tmp_path):
    results = run(keep=["rdms", "predictions"], keep_in=tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == set(results["fingerprint"])
    crsa = results[results["metric"] == "cRSA"].iloc[0]
    kept = safetensors.numpy.load_file(tmp_path / f"{crsa['fingerprint']}.safetensors")
    expected = pdist(features_of(crsa["model_layer"])[::2], "correlation")
    np.testing.assert_allclose(kept["rdms"], expected, atol=1e-4)
    ereg = results[(results["metric"] == "eReg") & (results["cv_split"] == "test")].iloc[0]
    kept = safetensors.numpy.load_file(tmp_path / f"{ereg['fingerprint']}.safetensors")
    columns = np.flatnonzero(BENCHMARK.regions[ereg["region"]])[: ereg["n_neuroids"]]
    means = BENCHMARK.blocks[0].mean_responses().values[1::2][:, columns]
    r = [pearsonr(kept["predictions"][:, i], means[:, i]).statistic for i in range(len(columns))]
    assert ereg["score"] == pytest.approx(np.mean(r))
    with pytest.raises(ValueError, match=r"expected keep= and keep_in="):
        run(keep=["rdms"])
    with pytest.raises(ValueError, match="keep: expected some of rdms, predictions, got 'maps'"):
        run(keep=["maps"], keep_in=tmp_path)


def test_subjects_who_saw_different_stimuli_are_scored_on_their_own():
    rng = np.random.default_rng(2)
    ids = iso.as_stimuli(IMAGES).ids
    import xarray as xr

    blocks = tuple(
        Block(
            xr.DataArray(
                rng.normal(size=(len(seen), 4)),
                dims=("stimulus", "neuroid"),
                coords={
                    "stimulus": [ids[i] for i in seen],
                    "neuroid": [f"{s}{k}" for k in range(4)],
                },
            )
        )
        for s, seen in (("a", range(0, 16)), ("b", range(23, 9, -1)))
    )
    neuroids = pd.DataFrame(
        {
            "neuroid_id": [f"{s}{k}" for s in "ab" for k in range(4)],
            "subj_id": list("aaaabbbb"),
            "V1": True,
        }
    )
    benchmark = Benchmark("two", iso.as_stimuli(IMAGES), blocks, neuroids=neuroids)
    results = run(benchmark)
    counts = results.groupby(["subj_id", "cv_split"])["n_stimuli"].first()
    assert counts["a", "test"] == 8
    assert counts["b", "test"] == 7
    # Alone, with their stimuli in the benchmark's order, they score the same.
    x = features_of("3")[10:24]
    y = np.asarray(blocks[1].mean_responses())[::-1]
    expected = iso.score_arrays(x.astype(np.float32), y).set_index(["metric", "cv_split"])["score"]
    for row in results.query("subj_id == 'b' and model_layer == '3'").to_dict("records"):
        assert row["score"] == pytest.approx(expected[row["metric"], row["cv_split"]], abs=1e-3)


def rdm_benchmark(n_subjects: int) -> Benchmark:
    rng = np.random.default_rng(3)
    common = rng.normal(size=(N, 6))
    names = [f"s{i}" for i in range(n_subjects)]
    rdms = [iso.compute_rdm(common + rng.normal(size=(N, 6))) for _ in names]
    if n_subjects > 1:
        names, rdms = [*names, "group"], [*rdms, np.mean(rdms, axis=0)]
    frame = pd.DataFrame({"region": "IT", "subj_id": names})
    return iso.make_benchmark(stimuli=IMAGES, rdm_set=RDMSet(np.stack(rdms), frame), name="rdms")


def test_rdms_of_several_subjects_choose_layers_on_the_others():
    benchmark = rdm_benchmark(3)
    results = run(benchmark).query("model_layer == '1'").set_index(["subj_id", "cv_split"])
    x, rdm_set = features_of("1"), benchmark.rdm_set
    halves = {"train": np.arange(0, N, 2), "test": np.arange(1, N, 2), "all": np.arange(N)}
    rdms = {name: rdm_set.get("IT", name) for name in ("s0", "s1", "s2", "group")}
    for (subject, cv_split), row in results.iterrows():
        rows = halves[cv_split]
        others = [rdms[name] for name in ("s0", "s1", "s2") if name != subject]
        on_others = cv_split == "train" and subject != "group"
        target = np.mean(others, axis=0) if on_others else rdms[subject]
        pairs = target[np.ix_(rows, rows)][np.triu_indices(len(rows), 1)]
        expected = pearsonr(pdist(x[rows], "correlation"), pairs).statistic
        assert row["score"] == pytest.approx(expected, abs=1e-4)
    assert results.loc[("s0", "test"), "selection"] == "subjects+stimuli"
    assert results.loc[("group", "test"), "selection"] == "stimuli"
    assert results.loc[("s0", "all"), "selection"] == "in_sample"
    assert np.isfinite(results.loc[("s0", "test"), "ceiling"])
    assert np.isnan(results.loc[("group", "test"), "ceiling"])
    assert "none is left out" in results.loc[("group", "test"), "reason"]
    assert results["n_neuroids"].isna().all()


def test_one_rdm_is_scored_in_sample_without_a_ceiling():
    results = run(rdm_benchmark(1))
    assert results["cv_split"].unique().tolist() == ["all"]
    assert results["selection"].unique().tolist() == ["in_sample"]
    assert results["ceiling"].isna().all()
    assert results["reason"].str.contains("no ceiling: one subject").all()
    assert (iso.select_layers(results)["selection"] == "in_sample").all()


def test_a_single_repetition_has_no_ceiling_and_says_so():
    results = run(own_benchmark(np.random.default_rng(0).normal(size=(N, 8))))
    assert results["ceiling"].isna().all()
    assert results["score_normalised"].isna().all()
    assert results["reason"].str.contains("no ceiling: one repetition").all()
    assert results["score"].notna().all()


# Bad input: one clear error each, before the long work starts.


def test_missing_responses_are_counted_and_can_be_dropped():
    responses = np.random.default_rng(0).normal(size=(N, 8))
    responses[3, 0] = responses[5, 0] = responses[5, 1] = np.nan
    benchmark = own_benchmark(responses)
    message = (
        r"own: expected a response of every neuroid to every stimulus, got 3 missing \(NaN\) in 2 "
        r"of 8 neuroids, over 2 of 24 stimuli\. Pass nan='drop'"
    )
    with pytest.raises(ValueError, match=message):
        run(benchmark)
    results = run(benchmark, nan="drop").set_index(["metric", "subj_id"]).sort_index()
    assert results.loc["eReg", "score"].notna().all()
    assert results.loc[("cRSA", "b"), "score"].notna().all()
    # Two of subject a's four neuroids are missing for one stimulus: no correlation over the rest.
    undefined = results.loc[("cRSA", "a")].query("cv_split == 'test'")
    assert undefined["score"].isna().all()
    assert undefined["reason"].str.contains("the measured RDM has undefined pairs").all()
    with pytest.raises(ValueError, match="nan: expected 'raise' or 'drop', got 'ignore'"):
        run(benchmark, nan="ignore")


def test_a_constant_neuroid_is_said_and_left_out(caplog):
    responses = np.random.default_rng(0).normal(size=(N, 8))
    responses[:, 2] = 1.5
    with caplog.at_level(logging.WARNING):
        results, neuroids = run(own_benchmark(responses), "eReg", per_neuroid=True)
    assert "1 of 8 neuroids respond the same to every stimulus (n2)" in caplog.text
    assert neuroids.loc[neuroids["neuroid_id"] == "n2", "score"].isna().all()
    assert results["score"].notna().all()
    assert results.loc[results["subj_id"] == "a", "reason"].str.contains("1 of").all()


def test_metric_and_benchmark_must_fit_together():
    message = "metric eReg needs responses, but rdms has rdms only. Metrics that fit: cRSA"
    with pytest.raises(ValueError, match=message):
        run(rdm_benchmark(2), ["cRSA", "eReg"])


def test_unknown_names():
    with pytest.raises(UnknownNameError, match="unknown metric 'cRSAA'. Did you mean 'cRSA'"):
        run(metrics="cRSAA")
    with pytest.raises(UnknownNameError, match="unknown benchmark 'macaque_v5'.*'macaque_v4'"):
        run("macaque_v5")
    with pytest.raises(UnknownNameError, match="unknown torchvision model 'alexnett'"):
        run(model="torchvision/alexnett")
    with pytest.raises(UnknownNameError, match="unknown layer '33'"):
        run(layers=["33"])
    with pytest.raises(UnknownNameError, match="unknown statistic 'effective_dim'"):
        run(stats=["effective_dim"])
    with pytest.raises(UnknownNameError, match="unknown value for eReg.preset=. 'publishd'"):
        run(preset="publishd")


@pytest.mark.parametrize("split", ["halves", "kfold", 0, "kfold0", True])
def test_splits_that_make_no_sense(split):
    with pytest.raises(ValueError, match="split: expected|kfold: expected"):
        run(split=split)


def test_other_bad_options():
    with pytest.raises(TypeError, match="got a Sequential without its preprocessing"):
        run(model=MODEL.module)
    with pytest.raises(ValueError, match="metrics: expected one or more"):
        run(metrics=[])
    with pytest.raises(ValueError, match="swap: expected a split in two halves"):
        run(split=3, swap=True)
    with pytest.raises(TypeError, match="stats: expected a list of names"):
        run(stats="effective_dimensionality")
    with pytest.raises(ValueError, match="size: expected bytes"):
        run(memory_limit="plenty")
    with pytest.raises(ValueError, match="batch_size: expected 1 or more, got 0"):
        run(batch_size=0)


def test_a_broken_image_is_found_before_the_work(tmp_path):
    from PIL import Image

    for i in range(N):
        Image.fromarray(IMAGES[i]).save(tmp_path / f"{i:02d}.png")
    (tmp_path / "07.png").write_bytes(b"no picture")
    benchmark = iso.make_benchmark(np.random.default_rng(0).normal(size=(N, 4)), tmp_path)
    with pytest.raises(ValueError, match=r"07\.png"):
        run(benchmark)


def test_hooks_and_flags_are_gone_after_an_interruption():
    model = small_model()
    model.module.train()

    def stop(_features):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(model=model, stats={"stopped": stop})
    assert model.module.training
    assert not any(part._forward_hooks for part in model.module.modules())


def test_a_statistic_that_fails_costs_its_column_alone(caplog):
    def share(features):
        return (features == 0).mean()  # torch has no mean of truth values

    found = run(stats={"share": share})
    assert found["share"].isna().all()
    assert found["score"].notna().any()
    assert "statistic share of layer 0 is NaN: expected a number" in caplog.text


def test_preflight_tells_what_will_be_done():
    job = prepare(MODEL, BENCHMARK, progress=False)
    found = preflight(job)
    assert found.n_scores == len(run())
    text = str(found)
    for word in ("own: 24 stimuli", "cRSA, eReg, eRSA", "3 of 3 distinct layers", "free on cpu"):
        assert word in text
    kept = prepare(MODEL, BENCHMARK, "cRSA", keep=["rdms"], progress=False)
    assert preflight(kept).disk_bytes == 3 * 8 * 8 * 66  # layers × parts × bytes × pairs
