"""The choice of layers, against plain loops."""

import itertools

import numpy as np
import pandas as pd
import pytest

from isomorph.registry import UnknownNameError
from isomorph.results import filter_results, make_results, mean_over_subjects, select_layers

KEYS = ("model_uid", "metric", "benchmark", "region", "subj_id")


def table(
    seed=0,
    splits=("train", "test"),
    n_layers=7,
    regions=("V1", "IT"),
    subjects=("s1", "s2", "group"),
    models=("a@1", "b@2"),
    missing=0.15,
    shuffle=True,
):
    """Random scores on a coarse grid (so that there are ties), some missing, rows in any order."""
    rng = np.random.default_rng(seed)
    rows = []
    for model, metric, region, subject, split, layer in itertools.product(
        models, ("cRSA", "eReg"), regions, subjects, splits, range(n_layers)
    ):
        score = np.nan if rng.random() < missing else round(rng.uniform(-1, 1), 1)
        row = dict(zip(KEYS, (model, metric, "toy", region, subject), strict=True))
        row |= {"model_layer": f"layer{layer}", "model_layer_index": 3 * layer, "cv_split": split}
        row |= {"score": score, "score_normalised": 2 * score, "n_stimuli": 10 + layer, "ed": layer}
        row |= {"ceiling": 0.5, "selection": "in_sample" if split == "all" else "stimuli"}
        rows.append(row)
    if shuffle:
        rows = [rows[i] for i in rng.permutation(len(rows))]
    return make_results(rows, ["ed"])


def grouped(frame):
    """Give {group: {split: {layer index: score}}} by plain loops."""
    groups = {}
    for row in frame.to_dict("records"):
        splits = groups.setdefault(tuple(row[key] for key in KEYS), {})
        splits.setdefault(row["cv_split"], {})[row["model_layer_index"]] = row["score"]
    return groups


def plain_best(scores):
    """Give the first index with the highest score, by a plain loop; None if all are missing."""
    best = None
    for index in sorted(scores):
        if scores[index] == scores[index] and (best is None or scores[index] > scores[best]):
            best = index
    return best


def by_group(chosen):
    return {tuple(row[key] for key in KEYS): row for row in chosen.to_dict("records")}


@pytest.mark.parametrize("seed", range(5))
def test_chosen_on_train_reported_on_test(seed):
    frame = table(seed)
    chosen = by_group(select_layers(frame))
    expected = grouped(frame)
    assert set(chosen) == set(expected)
    for key, splits in expected.items():
        row, best = chosen[key], plain_best(splits["train"])
        assert row["model_layer"] == f"layer{best // 3}"
        assert row["model_layer_index"] == best
        assert row["selection_score"] == splits["train"][best]
        np.testing.assert_equal(row["score"], splits["test"][best])
        np.testing.assert_equal(row["score_normalised"], 2 * splits["test"][best])
        assert row["cv_split"] == "test"
        assert row["selection"] == "stimuli"
        assert row["n_candidates"] == 7
        near = [i for i in (best // 3 - 1, best // 3 + 1) if 0 <= i < 7]
        assert row["neighbourhood"] == ", ".join(f"layer{i}" for i in near)
        assert row["ed"] == best // 3
        assert np.isnan(row["layer_agreement"])


@pytest.mark.parametrize("seed", range(5))
def test_folds_choose_on_the_other_folds(seed):
    n_folds = 4
    frame = table(seed, splits=[f"fold{k}" for k in range(n_folds)], missing=0)
    chosen = by_group(select_layers(frame))
    for key, splits in grouped(frame).items():
        picks, scores, means = [], [], []
        for k in range(n_folds):
            others = {
                index: np.mean([splits[f"fold{j}"][index] for j in range(n_folds) if j != k])
                for index in splits["fold0"]
            }
            best = plain_best(others)
            picks.append(best)
            scores.append(splits[f"fold{k}"][best])
            means.append(others[best])
        row = chosen[key]
        winner = max(sorted(set(picks)), key=picks.count)
        assert row["score"] == pytest.approx(np.mean(scores), abs=1e-15)
        assert row["score_normalised"] == pytest.approx(2 * np.mean(scores), abs=1e-15)
        assert row["selection_score"] == pytest.approx(np.mean(means), abs=1e-15)
        assert row["model_layer_index"] == winner
        assert row["layer_agreement"] == picks.count(winner) / n_folds
        assert row["n_stimuli"] == sum(10 + pick // 3 for pick in picks)
        assert (row["cv_split"], row["selection"]) == ("folds", "folds")
        assert row["ed"] == winner // 3


def test_a_fold_without_scores_is_left_out_and_a_gap_is_told():
    frame = table(1, splits=["fold0", "fold1", "fold2"], missing=0, models=("a@1",))
    frame.loc[frame["cv_split"] == "fold1", "score"] = np.nan
    row = select_layers(frame).iloc[0]
    assert row["reason"] == "no layer has a score in fold1: averaged over the others"
    assert np.isfinite(row["score"])
    # Chosen for fold2 by its best fold0 and fold1, the layer has no score in fold2 itself.
    frame = table(1, splits=["fold0", "fold1", "fold2"], missing=0, models=("a@1",))
    frame.loc[frame["model_layer_index"] == 6, "score"] = 2.0
    frame.loc[(frame["model_layer_index"] == 6) & (frame["cv_split"] == "fold2"), "score"] = np.nan
    row = select_layers(frame).iloc[0]
    assert np.isnan(row["score"])
    assert row["reason"] == "the layer chosen for fold2 has no score there"
    frame["score"] = np.nan
    row = select_layers(frame).iloc[0]
    assert row["reason"] == "fewer than two folds have scores"
    assert np.isnan(row["score"])


def test_one_split_only_is_in_sample():
    frame = table(2, splits=("all",))
    mixed = pd.concat([table(3, models=("c@3",)), frame], ignore_index=True)
    for row in by_group(select_layers(mixed)).values():
        alone = row["model_uid"] != "c@3"
        assert (row["selection"] == "in_sample") == alone
        assert (row["cv_split"] == "all") == alone
        assert not alone or row["score"] == row["selection_score"]
    for key, row in by_group(select_layers(frame)).items():
        assert row["model_layer_index"] == plain_best(grouped(frame)[key]["all"])
    same = select_layers(table(2), criterion="test")
    assert (same["selection"] == "in_sample").all()
    assert (same["score"] == same["selection_score"]).all()


def test_ties_go_to_the_first_layer_whatever_the_order_of_rows():
    frame = table(0, missing=0)
    frame["score"] = 0.5
    assert (select_layers(frame)["model_layer_index"] == 0).all()
    frame.loc[frame["model_layer_index"].isin([9, 15]), "score"] = 0.75
    chosen = select_layers(frame.iloc[::-1])
    assert (chosen["model_layer"] == "layer3").all()
    assert (chosen["neighbourhood"] == "layer2, layer4").all()


def test_nothing_to_choose_is_missing_with_a_reason():
    frame = table(0, models=("a@1",), missing=0)
    frame.loc[frame["region"] == "V1", ["score", "reason"]] = [np.nan, "a constant response"]
    chosen = select_layers(frame)
    lost = chosen[chosen["region"] == "V1"]
    assert len(lost) == 6
    assert lost["score"].isna().all()
    assert lost["model_layer"].isna().all()
    assert lost["model_layer_index"].isna().all()
    text = "no layer has a score to choose by in 'train' (a constant response)"
    assert (lost["reason"] == text).all()
    assert chosen.loc[chosen["region"] == "IT", "score"].notna().all()
    gone = (frame["region"] == "IT") & (frame["cv_split"] == "test")
    row = select_layers(frame[~gone], filters={"region": "IT"}).iloc[0]
    assert row["reason"] == "the chosen layer has no 'test' row"
    assert np.isnan(row["score"])
    assert np.isnan(row["ceiling"])
    assert np.isfinite(row["selection_score"])
    gone = (frame["region"] == "IT") & (frame["cv_split"] == "train")
    rows = select_layers(frame[~gone])
    assert (
        rows.loc[rows["region"] == "IT", "reason"] == "no 'train' row to choose a layer by"
    ).all()
    assert (rows["n_candidates"] == 7).all()


def test_value_report_and_filters():
    frame = table(4, missing=0)
    frame["score_normalised"] = -frame["score"]
    chosen = by_group(
        select_layers(
            frame,
            value="score_normalised",
            criterion="test",
            report="train",
            filters={"region": ["IT"], "model_uid": "a@1"},
        )
    )
    assert {key[0] for key in chosen} == {"a@1"}
    assert {key[3] for key in chosen} == {"IT"}
    for key, row in chosen.items():
        splits = grouped(frame)[key]
        best = plain_best({index: -score for index, score in splits["test"].items()})
        assert row["model_layer_index"] == best
        assert row["score"] == splits["train"][best]
        assert row["cv_split"] == "train"


def test_without_model_the_best_model_wins():
    frame = table(5, missing=0)
    group = ("metric", "benchmark", "region", "subj_id")
    frame.loc[(frame["model_uid"] == "b@2") & (frame["model_layer_index"] == 0), "score"] = 3.0
    chosen = select_layers(frame, group=group)
    assert (chosen["model_uid"] == "b@2").all()
    assert (chosen["n_candidates"] == 14).all()
    # Its neighbours are layers of its own model.
    assert set(chosen["neighbourhood"].dropna()) <= {"layer1"}


def test_degenerate_layers_are_left_out():
    frame = table(6, n_layers=30, missing=0)
    odd = (frame["model_uid"] == "a@1") & (frame["model_layer_index"] == 12)
    frame.loc[odd & (frame["metric"] == "eReg") & (frame["cv_split"] == "train"), "score"] = 30.0
    columns = [*KEYS, "model_layer_index", "score"]
    train = frame.loc[frame["cv_split"] == "train", columns]
    test = frame.loc[frame["cv_split"] == "test", columns]
    joined = train.merge(test, on=columns[:-1], suffixes=("_train", "_test"))
    joined["difference"] = joined["score_test"] - joined["score_train"]
    dropped = set()
    for _, part in joined.groupby("metric"):
        z = (part["difference"] - part["difference"].mean()) / part["difference"].std(ddof=1)
        for row in part[z <= -3.291].to_dict("records"):
            dropped.add((*(row[key] for key in KEYS), row["model_layer_index"]))
    assert len(dropped) == 6
    plain, robust = by_group(select_layers(frame)), by_group(select_layers(frame, degenerate=True))
    for key, splits in grouped(frame).items():
        kept = {i: s for i, s in splits["train"].items() if (*key, i) not in dropped}
        assert robust[key]["model_layer_index"] == plain_best(kept)
        assert robust[key]["n_candidates"] == len(kept)
        assert (plain[key]["model_layer_index"] == 12) >= (len(kept) < 30)
    equal = frame.assign(score=1.0)
    assert (select_layers(equal, degenerate=True)["n_candidates"] == 30).all()


def test_names_that_do_not_exist():
    frame = table()
    with pytest.raises(UnknownNameError, match=r"unknown cv_split 'trian'. Did you mean 'train'\?"):
        select_layers(frame, criterion="trian")
    with pytest.raises(UnknownNameError, match=r"unknown cv_split 'train'. Known: test"):
        select_layers(frame[frame["cv_split"] == "test"])
    with pytest.raises(UnknownNameError, match=r"unknown column 'scoer'. Did you mean 'score'"):
        select_layers(frame, value="scoer")
    with pytest.raises(UnknownNameError, match=r"unknown column 'regions'. Did you mean 'region'"):
        select_layers(frame, group=("model_uid", "regions"))
    with pytest.raises(UnknownNameError, match=r"unknown region 'v1'. Did you mean 'V1'\?"):
        select_layers(frame, filters={"region": ["IT", "v1"]})
    with pytest.raises(UnknownNameError, match=r"unknown column 'rgion'"):
        filter_results(frame, {"rgion": "V1"})
    with pytest.raises(ValueError, match=r"leave out model_layer, model_layer_index and cv_split"):
        select_layers(frame, group=("metric", "cv_split"))
    with pytest.raises(ValueError, match=r"missing the column subj_id"):
        select_layers(frame.drop(columns="subj_id"))


def test_rows_that_cannot_be_told_apart_are_an_error():
    frame = table()
    with pytest.raises(ValueError, match=r"336 rows share.*They differ in subj_id: add that to"):
        select_layers(frame, group=("model_uid", "metric", "region"))
    seeds = pd.concat([frame.assign(seed=0), frame.assign(seed=1)])
    with pytest.raises(ValueError, match=r"They differ in seed"):
        select_layers(seeds)
    assert len(select_layers(seeds, group=(*KEYS, "seed"))) == 48


def test_empty_and_foreign_tables():
    empty = select_layers(make_results([]))
    assert empty.empty
    assert "selection_score" in empty
    foreign = table(7, missing=0).iloc[:, :9]
    chosen = select_layers(foreign)
    pd.testing.assert_series_equal(chosen["score"], select_layers(table(7, missing=0))["score"])
    before = foreign.copy()
    select_layers(foreign, degenerate=True)
    pd.testing.assert_frame_equal(foreign, before)


def test_types_are_kept():
    frame = table()
    chosen = select_layers(frame)
    for name in frame.columns.drop("model_layer_index"):
        assert chosen[name].dtype == frame[name].dtype, name
    assert str(chosen["model_layer_index"].dtype) == "Int64"


def test_mean_over_subjects_leaves_group_out():
    frame = table(8)
    frame["n_neuroids"] = 20
    averaged = mean_over_subjects(frame)
    assert len(averaged) * 3 == len(frame)
    assert (averaged["subj_id"] == "mean").all()
    for row in averaged.to_dict("records"):
        same = frame
        for key in ("model_uid", "metric", "region", "model_layer", "cv_split"):
            same = same[same[key] == row[key]]
        scores = [s for s, i in zip(same["score"], same["subj_id"], strict=True) if i != "group"]
        present = [s for s in scores if s == s]
        assert row["n_subjects"] == len(present)
        assert row["n_neuroids"] == 40
        assert row["score"] == pytest.approx(np.mean(present) if present else np.nan, nan_ok=True)
        spread = np.std(present, ddof=1) if len(present) > 1 else np.nan
        assert row["score_sd"] == pytest.approx(spread, nan_ok=True)
    chosen = select_layers(frame)
    summary = mean_over_subjects(chosen)
    assert len(summary) == 8
    people = chosen[chosen["subj_id"] != "group"]
    expected = people.groupby(["model_uid", "metric", "region"])["score"].mean()
    got = summary.set_index(["model_uid", "metric", "region"])["score"]
    np.testing.assert_allclose(got.reindex(expected.index), expected)
    layers = people.groupby(["model_uid", "metric", "region"])["model_layer"].nunique()
    shared = summary.set_index(["model_uid", "metric", "region"])["model_layer"].notna()
    assert (shared.reindex(layers.index) == (layers == 1)).all()


@pytest.mark.parametrize("splits", [("train", "test"), ("fold0", "fold1", "fold2"), ("all",)])
def test_the_best_layer_of_a_distance_is_the_nearest(splits):
    frame = table(splits=splits)
    distance = frame.assign(
        score=-frame["score"],
        score_normalised=-frame["score_normalised"],
        larger_is_better=False,
    )
    expected, found = select_layers(frame), select_layers(distance)
    assert found["model_layer"].tolist() == expected["model_layer"].tolist()
    for name in ("score", "selection_score", "score_normalised"):
        np.testing.assert_allclose(found[name], -expected[name])
    # Other columns have no better end: their largest value is taken, as always.
    by_statistic = select_layers(distance, value="ed")
    assert (
        by_statistic["model_layer"].tolist()
        == select_layers(frame, value="ed")["model_layer"].tolist()
    )


def test_similarities_and_distances_stand_in_one_table():
    frame = table(missing=0)
    frame.loc[frame["metric"] == "eReg", "larger_is_better"] = False
    for row in select_layers(frame).to_dict("records"):
        rows = frame[(frame[list(KEYS)] == [row[key] for key in KEYS]).all(axis=1)]
        train = rows[rows["cv_split"] == "train"]["score"]
        extreme = train.min() if row["metric"] == "eReg" else train.max()
        assert row["selection_score"] == extreme


def test_a_mean_over_subjects_keeps_which_end_is_better():
    frame = table(missing=0).assign(larger_is_better=False)
    mean = mean_over_subjects(frame)
    assert mean["larger_is_better"].tolist() == [False] * len(mean)


def test_degenerate_layers_of_a_distance_are_those_that_get_worse():
    frame = table(6, n_layers=30, missing=0)
    odd = (frame["model_uid"] == "a@1") & (frame["model_layer_index"] == 12)
    frame.loc[odd & (frame["metric"] == "eReg") & (frame["cv_split"] == "train"), "score"] = 30.0
    expected = select_layers(frame, degenerate=True)
    assert (expected["n_candidates"] < 30).any()
    distance = frame.assign(score=-frame["score"], larger_is_better=False)
    found = select_layers(distance, degenerate=True)
    assert found["model_layer"].tolist() == expected["model_layer"].tolist()
    assert found["n_candidates"].tolist() == expected["n_candidates"].tolist()


@pytest.mark.parametrize("larger", [True, False])
@pytest.mark.parametrize("splits", [("train", "test"), ("fold0", "fold1")])
def test_where_no_layer_is_chosen_the_row_still_says_which_end_is_better(splits, larger):
    frame = table(missing=0, splits=splits).assign(score=np.nan, larger_is_better=larger)
    found = select_layers(frame)
    assert found["model_layer"].isna().all()
    assert found["larger_is_better"].dtype == bool
    assert (found["larger_is_better"] == larger).all()


def test_brain_score_counts_missing_cells_as_zero_and_a_mean_here_does_not():
    """Brain-Score's average takes the 43 % of its cells that failed or never ran for zeros."""
    frame = table(missing=0)
    gone = (frame["subj_id"] == "s1") & (frame["metric"] == "eReg")
    assert gone.any()
    frame.loc[gone, "score"] = np.nan
    mean = mean_over_subjects(frame)
    mean = mean[mean["metric"] == "eReg"]
    others = frame[(frame["metric"] == "eReg") & ~frame["subj_id"].isin(["s1", "group"])]
    keys = ["model_uid", "metric", "region", "model_layer", "cv_split"]
    expected = others.groupby(keys)["score"].mean()
    assert (mean["n_subjects"] == others["subj_id"].nunique()).all()
    np.testing.assert_allclose(mean.set_index(keys)["score"].reindex(expected.index), expected)
    alone = frame[frame["subj_id"] == "s1"]
    nothing = mean_over_subjects(alone)
    nothing = nothing[nothing["metric"] == "eReg"]
    assert nothing["score"].isna().all()
    assert (nothing["n_subjects"] == 0).all()
