"""A layer statistic against score, and the chosen layers at a glance."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from isomorph.plots import plot_best, plot_statistic
from isomorph.plots.curves import spearman
from isomorph.registry import UnknownNameError
from isomorph.results import select_layers


def means(frame, **keys):
    people = frame[(frame["subj_id"] != "group") & (frame["cv_split"] == "test")]
    for name, value in keys.items():
        people = people[people[name] == value]
    grouped = people.groupby("model_layer_index")
    return grouped[["effective_dimensionality", "score"]].mean().to_numpy()


def test_points_and_rank_correlation(results, tmp_path):
    frame = results()
    figure = plot_statistic(frame)
    figure.savefig(tmp_path / "figure.png", dpi=50)
    assert [ax.get_title("left") for ax in figure.axes] == ["cRSA", "eReg"]
    for ax, metric in zip(figure.axes, ["cRSA", "eReg"], strict=True):
        assert ax.get_xscale() == "log"
        for dots, text, region in zip(ax.collections, ax.texts, ["V1", "IT"], strict=True):
            expected = means(frame, metric=metric, region=region)
            np.testing.assert_allclose(dots.get_offsets(), expected)
            rho = spearmanr(*expected.T).statistic
            shown = f"{rho:.2f}".replace("0.", ".").replace("-", "\N{MINUS SIGN}")
            assert text.get_text() == f"{region}  ρ {shown}  (n 30)"


def test_colour_by_depth_gives_rows(results, tmp_path):
    frame = results(models=("a@1", "b@2"))
    frame["effective_dimensionality"] = 5 + frame["model_layer_index"] / 10
    figure = plot_statistic(frame, colour="depth", metrics="eReg")
    figure.savefig(tmp_path / "figure.png", dpi=50)
    panels = figure.axes[:2]
    assert [ax.get_ylabel() for ax in panels] == ["V1\ntest score", "IT\ntest score"]
    assert panels[0].get_xscale() == "linear"
    np.testing.assert_allclose(panels[0].collections[0].get_array(), np.arange(30) / 29)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a@1", "b@2"]
    assert figure.axes[2].get_ylabel() == "relative depth of the layer"


def test_a_negative_correlation_has_a_true_minus_sign(results):
    frame = results(("V4",), ("cRSA",), subjects=("m",), n_layers=9)
    frame["score"] = 0.5 - frame["model_layer_index"] / 100
    assert plot_statistic(frame).axes[0].texts[0].get_text() == "ρ \N{MINUS SIGN}1.00  (n 9)"


def test_the_axis_says_which_scores(results):
    frame = results(n_layers=6)
    figure = plot_statistic(frame)
    assert [ax.get_ylabel() for ax in figure.axes] == ["test score", ""]
    assert figure.get_suptitle() == "net@IMAGENET1K_V1  ·  nsd"
    assert plot_statistic(frame, cv_split="train").axes[0].get_ylabel() == "train score"
    label = plot_statistic(frame, normalised=True).axes[0].get_ylabel()
    assert label == "test score / noise ceiling"
    folds = results(splits=("fold0", "fold1"), n_layers=6)
    assert plot_statistic(folds).axes[0].get_ylabel() == "score, mean of folds"
    # One region has no test split: it says so where there is one axis, and else its axis does.
    frame = pd.concat([frame[frame["region"] == "V1"], results(("IT",), splits=("all",))])
    figure = plot_statistic(frame, metrics="cRSA")
    assert figure.axes[0].get_ylabel() == "test score"
    remarks = [text.get_text().split("  ")[-1] for text in figure.axes[0].texts]
    assert remarks == ["(n 6)", "(n 30, all stimuli)"]
    figure = plot_statistic(frame, metrics="cRSA", colour="depth")
    labels = [ax.get_ylabel() for ax in figure.axes[:2]]
    assert labels == ["V1\ntest score", "IT\nscore, all stimuli"]


def test_spearman_against_scipy():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, 40).astype(float), rng.normal(size=40)
    assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
    assert np.isnan(spearman(np.ones(4), y[:4]))
    assert np.isnan(spearman(x[:2], y[:2]))


def test_an_undefined_correlation_is_said(results):
    frame = results(("V4",), ("cRSA",), n_layers=1)
    figure = plot_statistic(frame)
    assert figure.axes[0].texts[0].get_text() == "ρ undefined  (n 1)"


def test_statistic_errors(results):
    frame = results(n_layers=3)
    with pytest.raises(UnknownNameError, match=r"unknown statistic 'effective_dim'. Did you mean"):
        plot_statistic(frame, "effective_dim")
    with pytest.raises(
        UnknownNameError, match=r"'foo': the table has no statistics. Pass stats= to score, for"
    ):
        plot_statistic(frame.drop(columns="effective_dimensionality"), "foo")
    with pytest.raises(UnknownNameError, match=r"unknown cv_split 'all'. Known: test, train"):
        plot_statistic(frame, cv_split="all")
    with pytest.raises(UnknownNameError, match=r"unknown metric 'CKA'. .* See metrics=.$"):
        plot_statistic(frame, metrics="CKA")
    with pytest.raises(ValueError, match=r"missing the column metric"):
        plot_statistic(frame.drop(columns="metric"))
    with pytest.raises(ValueError, match=r"at least one row"):
        plot_statistic(frame.iloc[:0])
    with pytest.raises(ValueError, match=r"no layer has both effective_dimensionality and score"):
        plot_statistic(frame.assign(effective_dimensionality=np.nan))
    with pytest.raises(ValueError, match=r"colour: expected 'depth' or 'region', got 'red'"):
        plot_statistic(frame, colour="red")


def test_best_shows_the_chosen_layers(results, tmp_path):
    frame = results(models=("a@1", "b@2"), subjects=("s1", "s2", "s3", "group"))
    chosen = select_layers(frame)
    for figure in (plot_best(frame), plot_best(chosen)):
        assert isinstance(figure, Figure)
        figure.savefig(tmp_path / "figure.png", dpi=50)
        for ax, metric in zip(figure.axes, ["cRSA", "eReg"], strict=True):
            rows = chosen[(chosen["metric"] == metric) & (chosen["subj_id"] != "group")]
            for model in ("a@1", "b@2"):
                dots = [line for line in ax.get_lines() if line.get_label() == model]
                expected = rows[rows["model_uid"] == model].groupby("region", sort=False)["score"]
                got = [dot.get_xdata()[0] for dot in dots]
                np.testing.assert_allclose(got, expected.mean())
            bars = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches]
            np.testing.assert_allclose(bars, [(0.52, 0.7)] * 2)
        assert figure.get_suptitle() == "2 models  ·  nsd"
        names = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
        assert names == ["V1", "IT"]


def test_best_marks_what_was_chosen_in_sample(results):
    frame = results(("V4",), ("cRSA",), subjects=("monkey",), splits=("all",))
    figure = plot_best(frame)
    assert figure.get_suptitle() == "net@IMAGENET1K_V1  ·  nsd"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["net@IMAGENET1K_V1", "chosen in sample", "noise ceiling"]
    with pytest.raises(UnknownNameError, match=r"unknown region 'V3'. .* See regions=.$"):
        plot_best(frame, regions="V3")
