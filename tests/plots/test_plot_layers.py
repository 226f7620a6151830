"""Score over layers: the figure shows the table's numbers."""

import itertools

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from isomorph.plots import plot_best, plot_layers
from isomorph.registry import UnknownNameError


def lines(ax, label):
    return [line for line in ax.get_lines() if line.get_label() == label]


def texts(figure):
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def drawn(figure, tmp_path):
    figure.savefig(tmp_path / "figure.png", dpi=50)
    return figure


def mean_scores(frame, n_layers=30, **keys):
    """Average by plain loops, without group."""
    means = []
    for layer in range(n_layers):
        scores = [
            row["score"]
            for row in frame.to_dict("records")
            if row["model_layer_index"] == layer
            and row["subj_id"] != "group"
            and all(row[name] == value for name, value in keys.items())
        ]
        means.append(sum(scores) / len(scores))
    return np.array(means)


def test_one_model_a_panel_a_metric(results, tmp_path):
    frame = results()
    figure = drawn(plot_layers(frame), tmp_path)
    assert isinstance(figure, Figure)
    assert [ax.get_title("left") for ax in figure.axes] == ["cRSA", "eReg"]
    for ax, metric in zip(figure.axes, ["cRSA", "eReg"], strict=True):
        for line, region in zip(lines(ax, "test"), ["V1", "IT"], strict=True):
            expected = mean_scores(frame, metric=metric, region=region, cv_split="test")
            np.testing.assert_allclose(line.get_ydata(), expected)
            np.testing.assert_allclose(line.get_xdata(), np.arange(30) / 29)
            assert line.get_linestyle() == "-"
        for line, region in zip(lines(ax, "train"), ["V1", "IT"], strict=True):
            expected = mean_scores(frame, metric=metric, region=region, cv_split="train")
            np.testing.assert_allclose(line.get_ydata(), expected)
            assert line.get_linestyle() == "--"
        assert len(lines(ax, "subject")) == 4  # two subjects, two regions; group is no subject
        bands = [patch.get_extents().transformed(ax.transData.inverted()) for patch in ax.patches]
        np.testing.assert_allclose([(b.y0, b.y1) for b in bands], [(0.51, 0.7)] * 2)
        assert ax.get_ylim()[0] == 0


def test_the_chosen_layer_is_marked_and_named(results, tmp_path):
    frame = results()
    figure = drawn(plot_layers(frame), tmp_path)
    for ax, metric in zip(figure.axes, ["cRSA", "eReg"], strict=True):
        names = []
        for dot, region in zip(lines(ax, "best"), ["V1", "IT"], strict=True):
            train = mean_scores(frame, metric=metric, region=region, cv_split="train")
            test = mean_scores(frame, metric=metric, region=region, cv_split="test")
            best = int(np.argmax(train))
            np.testing.assert_allclose(dot.get_xydata(), [[best / 29, test[best]]])
            names.append(f"features.{best}.expand3x3_activation")
        assert [text.get_text() for text in ax.texts] == names
        boxes = [text.get_window_extent() for text in ax.texts]
        assert not boxes[0].overlaps(boxes[1])
        panel = ax.get_window_extent().padded(2)
        assert all(panel.x0 <= box.x0 and box.x1 <= panel.x1 for box in boxes)


def test_a_long_name_at_the_edge_stays_in_the_panel(results, tmp_path):
    frame = results(("V1",), ("cRSA",))
    frame.loc[frame["model_layer_index"] == 0, "score"] = 0.45
    figure = drawn(plot_layers(frame), tmp_path)
    box = figure.axes[0].texts[0].get_window_extent()
    panel = figure.axes[0].get_window_extent().padded(2)
    assert figure.axes[0].texts[0].get_text() == "features.0.expand3x3_activation"
    assert panel.x0 <= box.x0 < box.x1 <= panel.x1


def test_many_regions_get_a_panel_each_and_many_models_a_grid(results, tmp_path):
    regions = [f"region{i}" for i in range(7)]
    figure = drawn(plot_layers(results(regions, n_layers=5)), tmp_path)
    shown = [ax for ax in figure.axes if ax.axison]
    assert [ax.get_title("left") for ax in shown] == regions
    assert all(len(lines(ax, "test")) == 2 for ax in shown)  # a line a metric
    models = ("a/net@1", "a/net@random-0")
    frame = results(models=models, n_layers=5)
    figure = drawn(plot_layers(frame), tmp_path)
    assert len(figure.axes) == 4
    assert [ax.get_ylabel() for ax in figure.axes] == ["V1\nscore", "", "IT\nscore", ""]
    line = lines(figure.axes[2], "test")[1]
    expected = mean_scores(
        frame, 5, model_uid=models[1], metric="cRSA", region="IT", cv_split="test"
    )
    np.testing.assert_allclose(line.get_ydata(), expected)
    assert "net@random-0" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert all(len(ax.patches) == 1 for ax in figure.axes)  # one ceiling, whatever the model


def test_top_keeps_the_highest_regions_and_says_so(results):
    frame = results([f"region{i}" for i in range(9)], n_layers=4)
    frame.loc[frame["region"].isin(["region3", "region7"]), "score"] += 0.5
    figure = plot_layers(frame, top=2)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:2] == ["region3", "region7"]
    assert "7 more regions are not shown" in figure.legends[0].get_title().get_text()
    with pytest.raises(ValueError, match=r"top: expected at least 1 region, got 0"):
        plot_layers(frame, top=0)
    many = results([f"r{i}" for i in range(25)], n_layers=2, subjects=("s1",), metrics=("cRSA",))
    assert sum(ax.axison for ax in plot_layers(many).axes) == 20


def test_true_layers_are_marked(results, tmp_path):
    frame = results()
    true = {"V1": "features.3.expand3x3_activation", "IT": "features.20.expand3x3_activation"}
    figure = drawn(plot_layers(frame, true_layers=true, by="index"), tmp_path)
    for ax in figure.axes:
        assert [line.get_xdata()[0] for line in lines(ax, "true layer")] == [3, 20]
        assert sum(text.get_text().startswith("true: features.3") for text in ax.texts) == 1
    with pytest.raises(UnknownNameError, match=r"unknown region 'V2'. Did you mean 'V1'"):
        plot_layers(frame, true_layers={"V2": "features.3"})
    with pytest.raises(
        UnknownNameError, match=r"unknown layer 'feature.3.expand3x3_activation'. Did"
    ):
        plot_layers(frame, true_layers={"V1": "feature.3.expand3x3_activation"})


def test_what_is_asked_for_is_shown_in_that_order(results):
    frame = results()
    figure = plot_layers(frame, metrics=["eReg", "cRSA"], regions="IT", cv_split="train")
    assert [ax.get_title("left") for ax in figure.axes] == ["eReg", "cRSA"]
    expected = mean_scores(frame, metric="eReg", region="IT", cv_split="train")
    np.testing.assert_allclose(lines(figure.axes[0], "train")[0].get_ydata(), expected)
    assert not lines(figure.axes[0], "test")
    figure = plot_layers(frame, normalised=True, subjects=False, regions=["IT", "V1"])
    people = frame[(frame["subj_id"] != "group") & (frame["cv_split"] == "test")]
    one = people[(people["region"] == "IT") & (people["metric"] == "cRSA")]
    expected = one.groupby("model_layer_index")["score_normalised"].mean()
    np.testing.assert_allclose(lines(figure.axes[0], "test")[0].get_ydata(), expected)
    assert lines(figure.axes[0], "ceiling")[0].get_ydata() == [1, 1]
    assert not lines(figure.axes[0], "subject")
    assert figure.axes[0].get_ylabel() == "score / noise ceiling"


def test_folds_are_averaged_and_all_is_marked_in_sample(results):
    frame = results(splits=("fold0", "fold1", "fold2"), n_layers=6)
    figure = plot_layers(frame)
    expected = mean_scores(frame, 6, metric="cRSA", region="V1")
    np.testing.assert_allclose(lines(figure.axes[0], "folds")[0].get_ydata(), expected)
    best = lines(figure.axes[0], "best in sample")[0].get_xydata()
    np.testing.assert_allclose(best, [[np.argmax(expected) / 5, expected.max()]])
    frame = results(splits=("all",), subjects=("monkey",), n_layers=6)
    frame[["ceiling", "ceiling_lower", "ceiling_upper"]] = np.nan
    figure = plot_layers(frame)
    assert len(lines(figure.axes[0], "all")) == 2
    assert not figure.axes[0].patches
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "all stimuli (in sample)" in legend
    assert "single subject" not in legend
    assert "noise ceiling" not in legend


def test_group_is_shown_where_there_is_nobody_else(results):
    frame = results(subjects=("group",), n_layers=4)
    line = lines(plot_layers(frame).axes[0], "test")[0]
    rows = frame[(frame["metric"] == "cRSA") & (frame["region"] == "V1")]
    expected = rows.loc[rows["cv_split"] == "test", "score"]
    np.testing.assert_allclose(line.get_ydata(), expected)


def test_one_layer_negative_scores_and_odd_names(results, tmp_path):
    frame = results(("V4",), ("cRSA",), subjects=("m",), n_layers=1)
    frame["model_layer"] = "$a$_{b"
    frame["score"] = -0.1
    figure = drawn(plot_layers(frame), tmp_path)
    ax = figure.axes[0]
    assert ax.get_ylim()[0] < -0.1
    assert len(lines(ax, "zero")) == 1
    assert texts(figure) == ["$a$_{b"]


def test_missing_scores_leave_gaps_and_regions_without_any_are_told(results, caplog):
    frame = results(n_layers=5)
    frame.loc[frame["region"] == "V1", "score"] = np.nan
    frame.loc[frame["model_layer_index"] == 2, "score"] = np.nan
    with caplog.at_level("WARNING"):
        figure = plot_layers(frame)
    assert "V1 is not drawn: every score is missing" in caplog.text
    assert lines(figure.axes[0], "test")[0].get_xdata().tolist() == [0, 0.25, 0.75, 1]


def test_several_benchmarks_are_told_apart(results):
    frame = pd.concat([results(("IT",), n_layers=3), results(("IT",), n_layers=3, seed=1)])
    frame["benchmark"] = np.repeat(["nsd", "mine"], len(frame) // 2)
    figure = plot_layers(frame)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[:2] == ["nsd · IT", "mine · IT"]


SUBSET = {"features.3": 9, "features.7": 31, "features.10": 52, "features.11": 53, "classifier": 60}


def named(results, layers, metrics=("cRSA",), **options):
    """Make a table whose layers have the given names and indices."""
    frame = results(metrics=metrics, n_layers=len(layers), **options)
    position = frame["model_layer_index"].to_numpy()
    frame["model_layer"] = np.array(list(layers))[position]
    frame["model_layer_index"] = np.array(list(layers.values()))[position]
    return frame


def ticks(ax):
    return [label.get_text() for label in ax.get_xticklabels()]


def overprinted(figure, ax):
    """Count the pixels that two names of layers share, each drawn alone."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    figure.set_layout_engine("none")
    names = [label for label in ax.get_xticklabels() if label.get_text()]
    for artist in [*ax.get_children(), ax.xaxis.label, *names]:
        artist.set_visible(artist is ax.xaxis)
    pictures = []
    for alone in [None, *names]:
        for label in names:
            label.set_visible(label is alone)
        canvas.draw()
        pictures.append(np.array(canvas.buffer_rgba()).astype(int)[..., :3].sum(axis=2))
    ink = [np.abs(picture - pictures[0]) > 150 for picture in pictures[1:]]
    assert all(one.sum() > 50 for one in ink)  # each name was seen
    return int((np.sum(ink, axis=0) > 1).sum())


def test_a_subset_of_layers_is_equally_spaced(results):
    frame = named(results, SUBSET)
    figure = plot_layers(frame, true_layers={"V1": "features.11"})
    for line in [*lines(figure.axes[0], "test"), *lines(figure.axes[0], "train")]:
        np.testing.assert_allclose(line.get_xdata(), [0, 0.25, 0.5, 0.75, 1])
    assert lines(figure.axes[0], "true layer")[0].get_xdata()[0] == 0.75
    assert figure.axes[0].get_xlabel() == "layer, by relative depth"
    figure = plot_layers(frame, by="index")
    assert lines(figure.axes[0], "test")[0].get_xdata().tolist() == [9, 31, 52, 53, 60]
    assert figure.axes[0].get_xlabel() == "layer, by index"
    # Each model by its own layers; the table counts, not what is shown of it.
    other = named(results, {"a": 5, "b": 7, "c": 99}, models=("other@1",))
    figure = plot_layers(pd.concat([frame, other]), regions="V1")
    got = [line.get_xdata().tolist() for line in lines(figure.axes[0], "test")]
    assert got == [[0, 0.25, 0.5, 0.75, 1], [0, 0.5, 1]]


@pytest.mark.parametrize("by", ["depth", "index"])
def test_names_of_layers_never_overprint(results, by):
    three = ("cRSA", "eReg", "eRSA")
    figure = plot_layers(named(results, SUBSET, three), by=by)
    for ax in figure.axes:
        dropped = [] if by == "depth" else ["features.11"]
        assert ticks(ax) == [name for name in SUBSET if name not in dropped]
    assert overprinted(figure, figure.axes[0]) == 0
    clustered = {f"blocks.{i}.mlp": int(i**2.2) for i in range(16)}
    figure = plot_layers(named(results, clustered, three), by=by)
    shown = ticks(figure.axes[1])
    assert {"blocks.0.mlp", "blocks.15.mlp"} <= set(shown)
    assert 5 <= len(shown) < 16
    assert overprinted(figure, figure.axes[1]) == 0


def test_up_to_16_layers_are_all_named_if_they_fit(results):
    sixteen = {f"features.{i}": 3 * i for i in range(16)}
    figure = plot_layers(named(results, sixteen))
    assert ticks(figure.axes[0]) == list(sixteen)
    assert overprinted(figure, figure.axes[0]) == 0
    many = {f"features.{i}": i for i in range(64)}
    figure = plot_layers(named(results, many))
    assert 5 <= len(ticks(figure.axes[0])) <= 7
    narrow = Figure(figsize=(2.5, 3), layout="constrained")
    plot_layers(named(results, sixteen), figure=narrow)
    assert len(ticks(narrow.axes[0])) < 8
    assert overprinted(narrow, narrow.axes[0]) == 0


def test_what_was_chosen_in_sample_is_hollow(results):
    held_out = results(("human_IT",), ("cRSA",), n_layers=6)
    alone = results(("monkey_IT",), ("cRSA",), subjects=("monkey",), splits=("all",), n_layers=6)
    ax = (figure := plot_layers(pd.concat([held_out, alone]))).axes[0]
    (full,), (hollow,) = lines(ax, "best"), lines(ax, "best in sample")
    assert (full.get_markerfacecolor(), full.get_markeredgecolor()) == ("#0072B2", "white")
    assert (hollow.get_markerfacecolor(), hollow.get_markeredgecolor()) == ("white", "#D55E00")
    scores = mean_scores(alone, 6)
    np.testing.assert_allclose(hollow.get_xydata(), [[np.argmax(scores) / 5, scores.max()]])
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[-2:] == ["chosen layer (on train)", "chosen in sample"]
    legend = [text.get_text() for text in plot_layers(alone).legends[0].get_texts()]
    assert "chosen in sample" in legend
    assert not any(text.startswith("chosen layer") for text in legend)
    # On the split that it was chosen on, a layer's score is a maximum whatever the table says.
    ax = plot_layers(held_out, cv_split="train").axes[0]
    assert len(lines(ax, "best in sample")) == 1
    assert not lines(ax, "best")


def test_more_than_8_subjects_are_a_band(results):
    people = tuple(f"behav{i}" for i in range(9))
    many = results(("behavior",), ("cRSA",), subjects=(*people, "group"), n_layers=5)
    many["score"] -= 0.25  # a lower edge below zero is shown
    few = results(("human_IT",), ("cRSA",), subjects=people[:8], n_layers=5)
    ax = (figure := plot_layers(pd.concat([many, few]))).axes[0]
    assert len(lines(ax, "subject")) == 8
    test = many[(many["cv_split"] == "test") & (many["subj_id"] != "group")]
    by_layer = test.pivot(index="model_layer_index", columns="subj_id", values="score").to_numpy()
    mean, sd = by_layer.mean(axis=1), by_layer.std(axis=1, ddof=1)
    low, high = (line.get_ydata() for line in lines(ax, "spread edge"))
    np.testing.assert_allclose(low, mean - sd)
    np.testing.assert_allclose(high, mean + sd)
    (band,) = (area for area in ax.collections if area.get_label() == "spread")
    corners = band.get_paths()[0].vertices
    assert corners[:, 1].min() == pytest.approx((mean - sd).min())
    assert corners[:, 1].max() == pytest.approx((mean + sd).max())
    assert ax.get_ylim()[0] < (mean - sd).min() < 0
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"single subject", "mean ± sd over subjects"} <= set(legend)
    assert not plot_layers(many, subjects=False).axes[0].collections


def test_the_title_names_model_and_benchmark(results):
    frame = results(("V1",), n_layers=3)
    assert plot_layers(frame).get_suptitle() == "net@IMAGENET1K_V1  ·  nsd"
    frame = results(("V1",), models=("a@1", "b@2"), n_layers=3)
    assert plot_layers(frame).get_suptitle() == "2 models  ·  nsd"


def test_errors(results):
    frame = results(n_layers=3)
    with pytest.raises(ValueError, match=r"missing the columns region, score"):
        plot_layers(frame.drop(columns=["region", "score"]))
    with pytest.raises(ValueError, match=r"missing the column score_normalised"):
        plot_layers(frame.drop(columns="score_normalised"), normalised=True)
    with pytest.raises(ValueError, match=r"at least one row, got none"):
        plot_layers(frame.iloc[:0])
    with pytest.raises(
        UnknownNameError, match=r"unknown metric 'eregg'. Did you mean 'eReg'\? See metrics=.$"
    ):
        plot_layers(frame, metrics="eregg")
    with pytest.raises(UnknownNameError, match=r"unknown model_uid 'net'. .* See models=.$"):
        plot_layers(frame, models="net")
    with pytest.raises(UnknownNameError, match=r"unknown region 'it'. Did you mean 'IT'\?"):
        plot_layers(frame, regions=["it"])
    with pytest.raises(UnknownNameError, match=r"unknown cv_split 'tset'. Did you mean 'test'"):
        plot_layers(frame, cv_split="tset")
    with pytest.raises(ValueError, match=r"by: expected 'depth' or 'index', got 'layer'"):
        plot_layers(frame, by="layer")
    empty = frame.assign(score=np.nan, reason="a constant response")
    with pytest.raises(ValueError, match=r"every score is missing.*a constant response"):
        plot_layers(empty)


def test_nothing_global_is_touched(results, tmp_path):
    before, frame = dict(matplotlib.rcParams), results(n_layers=4)
    copy = frame.copy()
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, _ = figure.subfigures(1, 2)
    assert plot_layers(frame, figure=left) is left
    drawn(figure, tmp_path)
    assert dict(matplotlib.rcParams) == before
    assert plt.get_fignums() == []
    pd.testing.assert_frame_equal(frame, copy)
    png = plot_layers(frame)._repr_png_()
    assert png.startswith(b"\x89PNG")


@pytest.mark.parametrize("splits", [("train", "test"), ("fold0", "fold1", "fold2"), ("all",)])
def test_the_marked_layer_of_a_distance_is_the_nearest(results, splits):
    frame = results(("V1",), ("shape",), n_layers=12, splits=splits)
    distance = frame.assign(larger_is_better=False)
    chosen_on = splits[:1] if splits[0] != "fold0" else splits
    train = np.mean([mean_scores(frame, 12, cv_split=name) for name in chosen_on], axis=0)
    shown = "test" if "test" in splits else splits[0]
    main = mean_scores(frame, 12, cv_split=shown) if shown != "fold0" else train
    for table, pick in ((frame, np.argmax), (distance, np.argmin)):
        ax = (figure := plot_layers(table)).axes[0]
        best = int(pick(train))
        (dot,) = lines(ax, "best") + lines(ax, "best in sample")
        np.testing.assert_allclose(dot.get_xydata(), [[best / 11, main[best]]])
        title = "shape (distance: low is best)" if table is distance else "shape"
        assert title in [
            *(ax.get_title("left") for ax in figure.axes),
            *(text.get_text() for text in figure.legends[0].get_texts()),
        ]
    assert plot_best(distance).axes[0].get_title("left") == "shape (distance: low is best)"


def test_the_top_regions_of_a_distance_are_the_nearest(results):
    frame = results(("near", "far"), ("shape",), n_layers=3)
    frame["score"] = np.where(frame["region"] == "near", 0.1, 0.9)
    for larger, name in ((True, "far"), (False, "near")):
        figure = plot_layers(frame.assign(larger_is_better=larger), top=1)
        heights = [line.get_ydata()[0] for line in lines(figure.axes[0], "test")]
        assert heights == [0.9 if name == "far" else 0.1]


def test_many_metrics_fill_several_rows_each_on_its_own_scale(results):
    frame = results().drop(columns=["ceiling", "ceiling_lower", "ceiling_upper"])
    one = frame[frame["metric"] == frame["metric"].iloc[0]]
    many = pd.concat(
        [one.assign(metric=f"m{k}", score=one["score"] * 10.0**k) for k in range(6)],
        ignore_index=True,
    )
    figure = plot_layers(many)
    shown = [ax for ax in figure.axes if ax.get_visible() and ax.axison and ax.get_lines()]
    assert len(shown) == 6
    assert figure.get_size_inches()[0] < 12
    tops = [ax.get_ylim()[1] for ax in shown]
    assert all(9 < after / before < 11 for before, after in itertools.pairwise(tops))


def test_curves_of_little_range_keep_clear_of_the_frame(results):
    frame = results().drop(columns=["ceiling", "ceiling_lower", "ceiling_upper"])
    flat = frame.assign(score=0.4 + 0.001 * frame["score"].rank(pct=True))
    for ax in plot_layers(flat).axes:
        heights = [np.nanmax(line.get_ydata()) for line in ax.get_lines() if len(line.get_ydata())]
        assert ax.get_ylim()[1] >= 1.05 * max(heights)
