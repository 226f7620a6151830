"""RDM ceilings: against plain loops, rsatoolbox and known values."""

from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.stats
from rsatoolbox.inference.noise_ceiling import boot_noise_ceiling
from rsatoolbox.rdm.rdms import RDMs
from scipy.spatial.distance import pdist, squareform

from isomorph.alignment.ceilings import leave_one_subject_out_ceiling, rdm_split_half_ceiling
from isomorph.alignment.ceilings.halves import _subset_correlations, half_agreement
from isomorph.geometry import COMPARISONS, compare_rdms
from isomorph.resampling.repeats import present_repeats, split_halves

CORRELATE = {"pearson": scipy.stats.pearsonr, "spearman": scipy.stats.spearmanr}


def repeated(n_stimuli=25, n_repeats=4, n_neuroids=12, noise=1.0, seed=0, missing=0.0):
    rng = np.random.default_rng(seed)
    responses = rng.normal(size=(n_stimuli, 1, n_neuroids)) * rng.uniform(1, 3, n_neuroids)
    responses = 5 + responses + noise * rng.normal(size=(n_stimuli, n_repeats, n_neuroids))
    gone = rng.random((n_stimuli, n_repeats, 1)) < missing
    return np.where(gone, np.nan, responses)


def ceiling_by_loops(
    responses, *, metric: Any = "correlation", compare="pearson", zscore=False, seed=0
):
    present = present_repeats(responses)
    kept = present.sum(axis=1) >= 2
    responses, present = responses[kept], present[kept]
    if zscore:
        mean = np.nanmean(responses, axis=1)
        responses = (responses - mean.mean(axis=0)) / mean.std(axis=0)
    r = []
    for halves in split_halves(present, seed=seed):
        rdms = [
            pdist(
                [row[mask].mean(axis=0) for row, mask in zip(responses, half, strict=True)], metric
            )
            for half in halves
        ]
        r.append(CORRELATE[compare](*rdms)[0])
    n_repeats = present.sum(axis=1)
    # Spearman-Brown for halves of unequal length: noise of a half over noise of the whole.
    factor = np.mean(1 / (n_repeats // 2)) / np.mean(1 / n_repeats)
    return np.sqrt(factor * np.mean(r) / (1 + (factor - 1) * np.mean(r)))


@pytest.mark.parametrize("compare", ["pearson", "spearman"])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_rdm_ceiling_equals_loops(compare, missing):
    responses = repeated(n_repeats=5, missing=missing)
    found = rdm_split_half_ceiling(responses, compare=compare, seed=3)
    expected = ceiling_by_loops(responses, compare=compare, seed=3)
    assert found.value == pytest.approx(expected, rel=1e-9)
    assert found.lower < found.value < found.upper
    assert (found.scale, found.reason) == ("r", "")
    assert found.method == "split-half RDMs, Spearman–Brown (biased at low reliability)"


def test_rdm_ceiling_takes_distances_scales_and_stimuli():
    responses = repeated()
    euclidean = rdm_split_half_ceiling(responses, distance="euclidean").value
    assert euclidean == pytest.approx(ceiling_by_loops(responses, metric="euclidean"), rel=1e-9)
    custom = rdm_split_half_ceiling(
        responses, distance=lambda features: squareform(pdist(features, "cityblock"))
    ).value
    assert custom == pytest.approx(ceiling_by_loops(responses, metric="cityblock"), rel=1e-9)
    scaled = rdm_split_half_ceiling(responses, response_scale="zscore").value
    assert scaled == pytest.approx(ceiling_by_loops(responses, zscore=True), rel=1e-9)
    odd = rdm_split_half_ceiling(responses, indices=np.arange(1, 25, 2)).value
    assert odd == pytest.approx(ceiling_by_loops(responses[1::2]), rel=1e-9)


@pytest.mark.parametrize("value", [0.1, 0.5])
def test_a_constant_neuroid_adds_nothing_to_zscored_rdms(value):
    responses = repeated(n_repeats=5, missing=0.3)
    constant = np.where(np.isnan(responses[:, :, :1]), np.nan, value)
    found = rdm_split_half_ceiling(
        np.concatenate([responses, constant], axis=2),
        distance="euclidean",
        response_scale="zscore",
    )
    expected = rdm_split_half_ceiling(responses, distance="euclidean", response_scale="zscore")
    assert found.value == pytest.approx(expected.value, rel=1e-9)


def test_rdm_ceiling_equals_loops_on_v4(data_folder):
    raw = np.load(data_folder / "macaque_v4" / "responses_raw_210325.npy")
    responses = raw.transpose(1, 2, 0)[::8]
    found = rdm_split_half_ceiling(responses, response_scale="zscore", seed=1)
    assert found.value == pytest.approx(ceiling_by_loops(responses, zscore=True, seed=1), rel=1e-9)


def test_repeats_that_a_neuroid_misses_and_single_repeats_are_left_out():
    responses = repeated(n_repeats=4)
    expected = rdm_split_half_ceiling(responses[5:, 1:])
    responses[:5, 1:] = np.nan
    responses[5:, 0, 3] = np.nan
    found = rdm_split_half_ceiling(responses)
    # The random order of the halves differs, since another repeat is missing.
    assert found.value == pytest.approx(ceiling_by_loops(responses), rel=1e-9)
    assert found.value == pytest.approx(expected.value, abs=0.03)


@pytest.mark.parametrize("n_stimuli", [6, 30])
def test_subsets_correlate_the_pairs_within_them(n_stimuli):
    rng = np.random.default_rng(0)
    subsets = rng.random((8, n_stimuli)).argsort(axis=1) < max(3, n_stimuli // 2)
    vectors = 1e4 + rng.random((2, n_stimuli * (n_stimuli - 1) // 2))
    found = _subset_correlations(*vectors, subsets)
    for value, subset in zip(found, subsets, strict=True):
        x, y = (squareform(squareform(v)[np.ix_(subset, subset)], checks=False) for v in vectors)
        assert value == pytest.approx(np.corrcoef(x, y)[0, 1], rel=1e-6)


@pytest.mark.parametrize("compare", ["pearson", "cosine", "rho_a"])
def test_errors_are_those_of_halves_of_the_stimuli(compare):
    # The interval of n stimuli is right if estimates of independent n differ as it says.
    estimates, errors = [], []
    for seed in range(25):
        responses = repeated(n_stimuli=40, n_neuroids=40, seed=seed)
        found = half_agreement(
            responses,
            np.ones((40, 4), bool),
            "euclidean",
            compare,
            seed=seed,
            n_draws=4,
            n_bootstrap=40,
        )
        estimates.append(found.mean)
        errors.append(np.sqrt(np.mean(found.errors**2)))
    assert 0.6 < np.mean(errors) / np.std(estimates) < 1.7


def test_rdm_ceiling_is_near_the_truth_at_high_reliability():
    ratios = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        signal = rng.normal(size=(80, 60))
        responses = signal[:, None] + rng.normal(size=(80, 4, 60))
        truth = np.corrcoef(pdist(signal, "correlation"), pdist(responses.mean(1), "correlation"))
        found = rdm_split_half_ceiling(responses, seed=seed, n_draws=4, n_bootstrap=2)
        ratios.append(truth[0, 1] / found.value)
    assert np.mean(ratios) == pytest.approx(1, abs=0.02)


def test_undefined_rdm_ceilings_say_why():
    responses = repeated()
    one = rdm_split_half_ceiling(responses[:, :1])
    assert np.isnan(one.value)
    assert one.reason == "0 stimuli with two or more repeats, at least 3 are needed"
    assert np.isnan([one.lower, one.upper]).all()
    silent = responses.copy()
    silent[3] = 0
    assert "undefined pairs" in rdm_split_half_ceiling(silent).reason
    noise = [
        rdm_split_half_ceiling(np.random.default_rng(seed).normal(size=(20, 4, 10)), n_draws=4)
        for seed in range(10)
    ]
    undefined = [ceiling for ceiling in noise if np.isnan(ceiling.value)]
    assert undefined
    assert all("not above 0" in ceiling.reason for ceiling in undefined)


def test_unknown_options_get_the_nearest_names():
    responses = repeated()
    with pytest.raises(KeyError, match="Did you mean 'pearson'"):
        rdm_split_half_ceiling(responses, distance="pearsn")
    with pytest.raises(KeyError, match="Did you mean 'spearman'"):
        rdm_split_half_ceiling(responses, compare="spearmann")
    with pytest.raises(ValueError, match=r"expected one of \('none', 'zscore'\), got 'z'"):
        rdm_split_half_ceiling(responses, response_scale="z")
    with pytest.raises(KeyError, match="Did you mean 'spearman'"):
        leave_one_subject_out_ceiling(np.ones((2, 3)), "spearmann")


def human_it(data_folder):
    path = data_folder / "kriegeskorte92" / "92_brainRDMs.mat"
    sessions = scipy.io.loadmat(path)["RDMs"]["RDM"][0]
    # The files hold float32; in it the peers' own sums differ in the eighth digit.
    return np.array([np.mean(list(subject), axis=0, dtype=float) for subject in sessions])


@pytest.mark.parametrize(
    ("compare", "lower", "upper"),
    [("pearson", 0.3944, 0.6804), ("spearman", 0.3723, 0.6657)],
)
def test_known_ceilings_of_human_it(data_folder, compare, lower, upper):
    vectors = np.array([squareform(rdm, checks=False) for rdm in human_it(data_folder)])
    found = leave_one_subject_out_ceiling(vectors, compare)
    assert found.lower.shape == found.upper.shape == (4,)
    assert found.mean().lower == pytest.approx(lower, abs=5e-5)
    assert found.mean().upper == pytest.approx(upper, abs=5e-5)
    assert found.mean().value == found.mean().lower
    assert (found.mean().scale, found.reason) == ("r", "")
    assert found.subject(2).lower == found.lower[2]
    assert found.subject(2).upper == found.upper[2]


def stacks(data_folder):
    path = data_folder / "kriegeskorte92" / "92_behavRDMs.mat"
    behaviour = scipy.io.loadmat(path)["rdms_behav_92"]["RDM"][0]
    rng = np.random.default_rng(0)
    common = rng.random(45)
    return {
        "human IT": np.array([squareform(r, checks=False) for r in human_it(data_folder)]),
        "behaviour": np.array([squareform(r, checks=False) for r in behaviour]),
        "random": rng.random((5, 45)) * rng.uniform(0.1, 10, (5, 1)) + common,
        "ties": rng.integers(0, 4, (6, 45)).astype(float),
        "two subjects": rng.random((2, 45)),
    }


METHODS = {
    "pearson": "corr",
    "spearman": "spearman",
    "cosine": "cosine",
    "kendall": "tau-b",
    "tau_a": "tau-a",
    "rho_a": "rho-a",
}


@pytest.mark.filterwarnings("ignore:Noise ceiling for tau")
@pytest.mark.parametrize("compare", METHODS)
@pytest.mark.parametrize("name", ["human IT", "behaviour", "random", "ties", "two subjects"])
def test_subject_ceilings_equal_rsatoolbox(data_folder, name, compare):
    vectors = stacks(data_folder)[name]
    if compare in ("kendall", "tau_a") and vectors.shape[1] > 1000:
        # The peer's taus take seconds a pair.
        first = np.arange(30)
        squares = np.array([squareform(vector)[np.ix_(first, first)] for vector in vectors])
        vectors = np.array([squareform(one, checks=False) for one in squares])
    expected = boot_noise_ceiling(RDMs(vectors), method=METHODS[compare])
    found = leave_one_subject_out_ceiling(vectors, compare).mean()
    np.testing.assert_allclose([found.lower, found.upper], expected, rtol=1e-10)


def whitened_by_hand(vectors, centre):
    """Each RDM times the root of the inverse covariance of dissimilarities, by eigenvectors."""
    n = round((1 + np.sqrt(1 + 8 * vectors.shape[1])) / 2)
    contrast = np.zeros((vectors.shape[1], n))
    pairs = list(zip(*np.triu_indices(n, 1), strict=True))
    for row, (i, j) in enumerate(pairs):
        contrast[row, i], contrast[row, j] = 1, -1
    values, axes = np.linalg.eigh((contrast @ contrast.T) ** 2)
    if centre:
        vectors = vectors - vectors.mean(axis=1, keepdims=True)
    return vectors @ axes @ np.diag(values**-0.5) @ axes.T


@pytest.mark.parametrize("compare", ["whitened_cosine", "whitened_pearson"])
def test_whitened_ceilings_pool_whitened_rdms(compare):
    # rsatoolbox pools them before it whitens, which is not the pool that they agree with most.
    rng = np.random.default_rng(3)
    vectors = rng.random((4, 36)) + rng.random(36)
    white = whitened_by_hand(vectors, compare == "whitened_pearson")
    units = white / np.linalg.norm(white, axis=1, keepdims=True)
    found = leave_one_subject_out_ceiling(vectors, compare)
    for k, own in enumerate(units):
        others, everyone = units.sum(axis=0) - own, units.sum(axis=0)
        assert found.lower[k] == pytest.approx(own @ others / np.linalg.norm(others), rel=1e-8)
        assert found.upper[k] == pytest.approx(own @ everyone / np.linalg.norm(everyone), rel=1e-8)
    method = {"whitened_cosine": "cosine_cov", "whitened_pearson": "corr_cov"}[compare]
    _, upper = boot_noise_ceiling(RDMs(vectors), method=method)
    assert found.mean().upper >= upper - 1e-9


@pytest.mark.parametrize("compare", COMPARISONS)
def test_subject_ceilings_exist_for_every_comparison(data_folder, compare):
    first = np.arange(20)
    squares = human_it(data_folder)[:, first][:, :, first]
    vectors = np.array([squareform(rdm, checks=False) for rdm in squares])
    found = leave_one_subject_out_ceiling(vectors, compare)
    assert np.isfinite([*found.lower, *found.upper]).all()
    # The pool of all holds each subject's own noise, so on average it agrees more.
    assert found.lower.mean() < found.upper.mean()
    # It is the pool of highest mean agreement, exactly or nearly: no subject's RDM beats it.
    for own in vectors:
        alone = np.asarray(compare_rdms(vectors, own[None], compare))[:, 0].mean()
        assert alone < found.upper.mean() + 0.1


@pytest.mark.parametrize("compare", ["pearson", "spearman"])
def test_each_subject_is_compared_with_the_pool(compare):
    vectors = np.random.default_rng(1).random((4, 28)) ** 2
    scale = scipy.stats.rankdata if compare == "spearman" else scipy.stats.zscore
    pooled = np.asarray(scale(vectors, axis=1))
    found = leave_one_subject_out_ceiling(vectors, compare)
    for k in range(4):
        others = np.delete(pooled, k, axis=0).mean(axis=0)
        lower, upper = (CORRELATE[compare](vectors[k], p)[0] for p in (others, pooled.mean(axis=0)))
        assert found.lower[k] == pytest.approx(lower, rel=1e-12)
        assert found.upper[k] == pytest.approx(upper, rel=1e-12)


def test_undefined_subject_ceilings_say_why():
    one = leave_one_subject_out_ceiling(np.arange(6.0)[None])
    assert np.isnan([*one.lower, *one.upper]).all()
    assert one.mean().reason == "one subject: no leave-one-subject-out ceiling"
    vectors = np.random.default_rng(0).random((4, 6))
    vectors[1] = 2.0
    vectors[3, 0] = np.nan
    broken = leave_one_subject_out_ceiling(vectors)
    assert np.isnan(broken.subject(0).value)
    assert broken.reason == "RDMs at positions [1, 3] are constant or have undefined pairs"
    with pytest.raises(ValueError, match=r"got shape \(4, 6, 6\); take upper_triangle"):
        leave_one_subject_out_ceiling(np.ones((4, 6, 6)))
