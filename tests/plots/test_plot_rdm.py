"""RDMs as images."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.io import loadmat
from scipy.spatial.distance import pdist, squareform
from scipy.stats import rankdata

from isomorph.plots import plot_rdm
from isomorph.plots.strips import draw_strip
from isomorph.registry import UnknownNameError


def random_rdm(n=9, seed=0):
    return squareform(pdist(np.random.default_rng(seed).normal(size=(n, 5)), "correlation"))


def shown(ax):
    return ax.images[0].get_array().filled(np.nan)


def off(rdm):
    return rdm[~np.eye(len(rdm), dtype=bool)]


def test_values_scale_and_diagonal(tmp_path):
    rdm = random_rdm()
    figure = plot_rdm(rdm, title="IT")
    figure.savefig(tmp_path / "rdm.png", dpi=50)
    assert isinstance(figure, Figure)
    panel, bar = figure.axes
    np.testing.assert_array_equal(off(shown(panel)), off(rdm))
    assert np.isnan(np.diag(shown(panel))).all()
    assert panel.images[0].get_clim() == (off(rdm).min(), off(rdm).max())
    assert panel.images[0].get_cmap().name == "viridis"
    assert panel.get_title() == "IT"
    assert bar.get_ylabel() == "dissimilarity"
    assert plt.get_fignums() == []


def test_percentiles_against_scipy():
    rdm = np.round(random_rdm(12), 1)  # with ties
    ranks = rankdata(squareform(rdm, checks=False))
    expected = squareform(100 * (ranks - ranks.min()) / (ranks.max() - ranks.min()))
    figure = plot_rdm(rdm, percentile=True)
    # Each pair stands twice in the square: ranks double, percentiles stay.
    np.testing.assert_allclose(off(shown(figure.axes[0])), off(expected), atol=1e-9)
    assert figure.axes[0].images[0].get_clim() == (0, 100)
    constant = plot_rdm(np.ones((4, 4)), percentile=True)
    assert set(off(shown(constant.axes[0]))) == {50}


def test_order_goes_through_rows_labels_and_categories():
    rdm, order = random_rdm(6), [5, 0, 3, 2]
    figure = plot_rdm(rdm, order=order, labels=list("abcdef"))
    np.testing.assert_array_equal(off(shown(figure.axes[0])), off(rdm[np.ix_(order, order)]))
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == list("fadc")
    assert [text.get_text() for text in figure.axes[0].texts] == list("fadc")
    kinds = ["face", "body", "face", "face", "body", "body"]
    figure = plot_rdm(rdm, order=[0, 2, 3, 1, 4, 5], categories=kinds)
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.texts] == ["face", "body"]
    assert [text.get_position()[1] for text in ax.texts] == [1, 4]
    assert [line.get_ydata()[0] for line in ax.get_lines()[::2]] == [2.5]


def test_labels_that_repeat_are_classes():
    rdm, kinds = random_rdm(7), ["ox 10", "cat", "ox 9", "ox 10", "cat", "cat", "ox 9"]
    ax = plot_rdm(rdm, labels=kinds).axes[0]
    order = [1, 4, 5, 2, 6, 0, 3]
    np.testing.assert_array_equal(off(shown(ax)), off(rdm[np.ix_(order, order)]))
    assert [text.get_text() for text in ax.texts] == ["cat", "ox 9", "ox 10"]
    # At the centres of the blocks, and lines between them.
    assert [text.get_position()[1] for text in ax.texts] == [1, 3.5, 5.5]
    assert ax.get_xticks().tolist() == [1, 3.5, 5.5]
    assert [line.get_ydata()[0] for line in ax.get_lines()[::2]] == [2.5, 4.5]
    assert [line.get_xdata()[0] for line in ax.get_lines()[1::2]] == [2.5, 4.5]
    # An order that is given stands; categories never reorder.
    given = plot_rdm(rdm, labels=kinds, order=range(7)).axes[0]
    np.testing.assert_array_equal(off(shown(given)), off(rdm))
    kept = plot_rdm(rdm, labels=kinds, categories=kinds).axes[0]
    np.testing.assert_array_equal(off(shown(kept)), off(rdm))
    pictures = np.zeros((7, 4, 4, 3), dtype=np.uint8)
    pictures[..., 0] = np.arange(7)[:, None, None]
    left = plot_rdm(rdm, labels=kinds, thumbnails=pictures).axes[0].child_axes[0]
    strip = left.images[0].get_array()
    side = strip.shape[0] // 7
    assert [strip[i * side + side // 2, -side // 2, 0] for i in range(7)] == order


def test_several_share_one_scale(tmp_path):
    rdms = {f"human{i}": random_rdm(8, i) * (i + 1) for i in range(5)}
    figure = plot_rdm(rdms, categories=["a"] * 4 + ["b"] * 4)
    figure.savefig(tmp_path / "rdm.png", dpi=50)
    panels = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title() for ax in panels] == list(rdms)
    for ax, rdm in zip(panels, rdms.values(), strict=True):
        np.testing.assert_array_equal(off(shown(ax)), off(rdm))
    everything = np.concatenate([off(rdm) for rdm in rdms.values()])
    assert {ax.images[0].get_clim() for ax in panels} == {(everything.min(), everything.max())}
    stacked = plot_rdm(np.stack(list(rdms.values())), title=list("abcde"))
    assert [ax.get_title() for ax in stacked.axes if ax.images] == list("abcde")


def test_differences_are_centred_on_zero():
    difference = random_rdm(8, 0) - random_rdm(8, 1)
    image = plot_rdm(difference).axes[0].images[0]
    largest = np.abs(difference).max()
    assert image.get_clim() == (-largest, largest)
    assert image.get_cmap().name == "RdBu_r"
    rounding = random_rdm(8)
    rounding[0, 1] = rounding[1, 0] = -1e-16
    assert plot_rdm(rounding).axes[0].images[0].get_cmap().name == "viridis"
    assert plot_rdm(difference, limits=(-1, 2)).axes[0].images[0].get_clim() == (-1, 2)


@pytest.mark.parametrize(("n_stimuli", "n_ranks"), [(9, 1), (50, 3)])
def test_thumbnails_stand_beside_their_rows(n_stimuli, n_ranks, tmp_path):
    pictures = np.zeros((n_stimuli, 10, 10, 3), dtype=np.uint8)
    pictures[..., 0] = np.arange(n_stimuli)[:, None, None]
    figure = plot_rdm(random_rdm(n_stimuli), thumbnails=pictures, title="with pictures")
    figure.savefig(tmp_path / "rdm.png", dpi=50)
    panel = figure.axes[0]
    left, above = panel.child_axes
    canvas = left.images[0].get_array()
    side = canvas.shape[1] // n_ranks
    cell = side // n_ranks
    for i in range(n_stimuli):
        # The centre of the picture is at the height of its row.
        across = canvas.shape[1] - (i % n_ranks) * side - side // 2
        assert canvas[i * cell + side // 2, across].tolist() == [i, 0, 0, 255]
        share = (i * cell + side / 2) / canvas.shape[0]
        row = left.transAxes.transform((0, 1 - share))[1]
        assert panel.transData.inverted().transform((0, row))[1] == pytest.approx(i, abs=1e-6)
    np.testing.assert_array_equal(above.images[0].get_array(), canvas.transpose(1, 0, 2))
    # Nothing reaches past the figure.
    inside = figure.get_tightbbox()
    assert inside.x0 >= 0
    assert inside.y0 >= 0
    assert inside.x1 <= figure.get_figwidth()
    assert inside.y1 <= figure.get_figheight()
    floats = draw_strip(Figure().subplots(), [np.full((4, 4, 3), 0.5)] * 4)
    assert floats == pytest.approx(1 / 4 + 0.01)


def test_an_axes_can_be_given():
    figure = Figure()
    ax = figure.subplots()
    assert plot_rdm(random_rdm(), ax=ax) is figure
    assert len(ax.images) == 1
    with pytest.raises(ValueError, match=r"ax: expected one RDM, got 2. Pass figure= instead"):
        plot_rdm([random_rdm(), random_rdm()], ax=ax)


def test_rdm_errors():
    rdm = random_rdm(5)
    with pytest.raises(ValueError, match=r"got \(10,\). A vector of dissimilarities becomes"):
        plot_rdm(squareform(rdm, checks=False))
    with pytest.raises(ValueError, match=r"one size, got \(4, 4\), \(5, 5\)"):
        plot_rdm([rdm, rdm[:4, :4]])
    with pytest.raises(ValueError, match=r"labels: expected one for each of the 5 stimuli, got 2"):
        plot_rdm(rdm, labels=["a", "b"])
    with pytest.raises(ValueError, match=r"title: expected 1, one an RDM, got 2"):
        plot_rdm(rdm, title=["a", "b"])
    with pytest.raises(ValueError, match=r"order: expected positions from 0 to 4"):
        plot_rdm(rdm, order=[0, 5])
    with pytest.raises(ValueError, match=r"thumbnails: expected pictures of shape .* got \(4, 4\)"):
        plot_rdm(rdm, thumbnails=np.zeros((5, 4, 4)))
    with pytest.raises(ValueError, match=r"floats from 0 to 1, got float64 from 0 to 255. Rescale"):
        plot_rdm(rdm, thumbnails=np.tile([0.0, 255.0, 3.0], (5, 4, 4, 1)))
    with pytest.raises(
        UnknownNameError, match=r"unknown colour map 'virdis'. Did you mean 'viridis'"
    ):
        plot_rdm(rdm, cmap="virdis")


def test_the_92_images(data_folder, tmp_path):
    folder = data_folder / "kriegeskorte92"
    structs = loadmat(folder / "92_brainRDMs.mat")["RDMs"]
    rdms = [structs[0, subject, 0]["RDM"] for subject in range(4)]
    rdm = np.mean([np.asarray(one, dtype=float) for one in rdms], axis=0)
    stimuli = loadmat(folder / "Kriegeskorte_Neuron2008_supplementalData.mat")["stimuli_92objs"][0]
    images = [np.asarray(one["image"]) for one in stimuli]
    categories = [str(one["category"][0]) for one in stimuli]
    figure = plot_rdm(rdm, percentile=True, thumbnails=images, categories=categories, title="IT")
    figure.savefig(tmp_path / "rdm.png", dpi=50)
    assert [text.get_text() for text in figure.axes[0].texts] == list(dict.fromkeys(categories))
    inside = figure.get_tightbbox()
    assert inside.x0 >= 0
    assert inside.x1 <= figure.get_figwidth()
    assert inside.y1 <= figure.get_figheight()
