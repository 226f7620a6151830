"""Panels of RDMs, and the RDM of RDMs."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr

from isomorph.geometry import cluster_stimuli, second_order_rdm
from isomorph.plots import plot_mds, plot_rdms, plot_second_order, plot_second_order_mds
from isomorph.plots.rdm_panel import named_stack
from isomorph.registry import UnknownNameError


def rdms(n_rdms=4, n=12, seed=0):
    rng = np.random.default_rng(seed)
    return {f"net{i}": squareform(pdist(rng.normal(size=(n, 5)))) for i in range(n_rdms)}


def off(values):
    return values[~np.eye(len(values), dtype=bool)]


def shown(ax):
    return ax.images[0].get_array().filled(np.nan)


def test_percentiles_on_one_scale_with_names_from_either_side(tmp_path):
    figure = plot_rdms(rdms())
    figure.savefig(tmp_path / "rdms.png", dpi=50)
    panels = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title() for ax in panels] == list(rdms())
    assert {ax.images[0].get_clim() for ax in panels} == {(0, 100)}
    vectors = np.stack([squareform(rdm) for rdm in rdms().values()])
    by_vectors = plot_rdms(vectors, list(rdms()))
    for ax, other in zip(panels, by_vectors.axes, strict=False):
        np.testing.assert_array_equal(off(shown(ax)), off(shown(other)))
    raw = plot_rdms(rdms(), percentile=False)
    np.testing.assert_array_equal(off(shown(raw.axes[1])), off(rdms()["net1"]))
    assert len({ax.images[0].get_clim() for ax in raw.axes if ax.images}) == 1


def test_all_are_reordered_by_the_clusters_of_one():
    figure = plot_rdms(rdms(), percentile=False, cluster_by="net2", n_clusters=3)
    clusters = cluster_stimuli(rdms()["net2"], 3)
    order = clusters.order
    for ax, rdm in zip(figure.axes, rdms().values(), strict=False):
        np.testing.assert_array_equal(off(shown(ax)), off(rdm[np.ix_(order, order)]))
    edges = np.flatnonzero(np.diff(clusters.labels[order])) + 0.5
    assert [line.get_ydata()[0] for line in figure.axes[0].get_lines()[::2]] == edges.tolist()
    by_position = plot_rdms(rdms(), percentile=False, cluster_by=2, n_clusters=3)
    np.testing.assert_array_equal(off(shown(by_position.axes[0])), off(shown(figure.axes[0])))


def test_second_order_matrix_is_that_of_scipy(tmp_path):
    figure = plot_second_order(rdms(), title="four networks")
    figure.savefig(tmp_path / "second.png", dpi=50)
    vectors = [squareform(rdm) for rdm in rdms().values()]
    ax, bar = figure.axes
    values = np.asarray(ax.images[0].get_array())
    for i, j in ((0, 1), (2, 3)):
        rho = spearmanr(vectors[i], vectors[j]).statistic
        assert values[i, j] == pytest.approx(1 - rho, abs=1e-12)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == list(rdms())
    assert bar.get_ylabel() == "1 − Spearman ρ"
    assert len(ax.texts) == 12
    assert ax.texts[0].get_text().lstrip("0") == f"{values[0, 1]:.2f}".lstrip("0")
    given = plot_second_order(second_order_rdm(vectors), names=list(rdms()))
    np.testing.assert_allclose(np.asarray(given.axes[0].images[0].get_array()), values)


def test_similar_ones_stand_together_and_the_scale_holds_everything():
    base = rdms(2)
    stack = {"a": base["net0"], "b": base["net1"], "a2": base["net0"] ** 2, "b2": base["net1"] ** 2}
    figure = plot_second_order(stack, cluster=True)
    names = [tick.get_text()[0] for tick in figure.axes[0].get_yticklabels()]
    assert names in (list("aabb"), list("bbaa"))
    opposite = np.array([[1.0, 2, 3], [3, 2, 1]])
    clim = plot_second_order(opposite, limits=None).axes[0].images[0].get_clim()
    assert clim == pytest.approx((0, 2))


def test_errors():
    with pytest.raises(ValueError, match="names: expected one for each of 4 RDMs, got 2"):
        plot_rdms(list(rdms().values()), ["a", "b"])
    with pytest.raises(ValueError, match=r"one size, got \(4, 4\), \(12, 12\)"):
        plot_rdms([rdms()["net0"], np.zeros((4, 4))])
    with pytest.raises(UnknownNameError, match="RDM to cluster by 'nett2'. Did you mean"):
        plot_rdms(rdms(), cluster_by="nett2")
    with pytest.raises(ValueError, match="a position from 0 to 3, got 4"):
        plot_rdms(rdms(), cluster_by=4)
    with pytest.raises(ValueError, match="order: expected none beside cluster_by="):
        plot_rdms(rdms(), cluster_by=0, order=range(12))
    with pytest.raises(ValueError, match="zero diagonal, or a stack of RDMs, got shape"):
        plot_second_order(np.eye(3))
    with pytest.raises(ValueError, match="names: expected one for each of 3 RDMs, got 1"):
        plot_second_order(np.zeros((3, 3)), names=["a"])


def test_an_axes_can_be_given_and_plots_load_no_torch():
    figure = Figure()
    ax = figure.subplots()
    assert plot_second_order(rdms(), ax=ax) is figure
    code = "import isomorph.plots, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("n", [6, 12])
def test_one_rdm_with_rounding_on_its_diagonal_is_one_panel(n: int) -> None:
    """Of 6 stimuli it has the shape of 6 vectors, of 12 that of nothing else."""
    rdm = 1 - np.corrcoef(np.random.default_rng(0).normal(size=(n, 20)))
    rdm[np.diag_indices(n)] = 1e-16
    stack, titles = named_stack(rdm, None)
    assert stack.shape == (1, n, n)
    assert titles == [""]
    assert len(plot_mds(rdm, [f"s{i}" for i in range(n)]).axes) == 1


def test_what_is_no_rdm_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="symmetric RDM"):
        plot_rdms(rng.random((2, 5, 5)) * (1 - np.eye(5)))
    with pytest.raises(ValueError, match="Is it a similarity"):
        plot_rdms(np.corrcoef(rng.normal(size=(6, 20))))
    with pytest.raises(ValueError, match="expected one RDM or more"):
        plot_rdms({})
    with pytest.raises(ValueError, match="expected 2 or more RDMs, got 1"):
        plot_second_order_mds({"alone": np.ones((4, 4)) - np.eye(4)})


def test_many_names_do_not_run_into_one_another() -> None:
    rng = np.random.default_rng(0)
    figure = plot_second_order({f"m{i:03d}": rng.random(10) for i in range(50)})
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].get_xticklabels()]
    assert all(left.x1 <= right.x0 for left, right in itertools.pairwise(boxes))
