"""cRSA by every distance: what the layer takes, what the responses take, and when neither can."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr, rankdata

from isomorph.alignment import METRICS, Measured, Representation, parse_metric
from isomorph.alignment.measured import response_rdm
from isomorph.alignment.representation import layer_distance, layer_need
from isomorph.alignment.rsa import PLAIN_DISTANCES, crsa, rdm_ceiling
from isomorph.extraction import FeaturesNeed, GramNeed
from isomorph.geometry import RDM_METHODS, compute_rdm, noise_covariance, upper_triangle
from isomorph.registry import UnknownNameError
from isomorph.resampling import odd_even

N, P, V, R = 30, 40, 8, 4
RNG = np.random.default_rng(0)
FEATURES = RNG.gamma(1.0, size=(N, P))
SIGNAL = FEATURES @ RNG.gamma(0.3, size=(P, V))
REPEATS = SIGNAL[:, None] + RNG.gamma(1.0, size=(N, R, V)) * np.linspace(0.5, 4, V)
GROUP = ("V4", "one")
ROWS = {"train": np.arange(0, N, 2), "test": np.arange(1, N, 2)}


def poisson(rates: np.ndarray) -> np.ndarray:
    rates = (rates + 0.1) / 1.1
    first, second = np.triu_indices(len(rates), k=1)
    return ((rates[first] - rates[second]) * np.log(rates[first] / rates[second])).sum(axis=1)


def gaussian(values: np.ndarray) -> np.ndarray:
    distances = pdist(values)
    return 1 - np.exp(-(distances**2) / (2 * np.median(distances) ** 2))


# Of the layer and of the mean responses, where these are treated alike.
PLAIN = {
    "pearson": lambda x: pdist(x, "correlation"),
    "cosine": lambda x: pdist(x, "cosine"),
    "euclidean": pdist,
    "sqeuclidean": lambda x: pdist(x, "sqeuclidean"),
    "spearman": lambda x: pdist(np.apply_along_axis(rankdata, 1, x), "correlation"),
    "cityblock": lambda x: pdist(x, "cityblock"),
    "gaussian": gaussian,
    "poisson": poisson,
}


def precision_of(repeats: np.ndarray) -> np.ndarray:
    return np.linalg.inv(noise_covariance(repeats).covariance())


def crossnobis(repeats: np.ndarray) -> np.ndarray:
    """Over all ordered pairs of folds, each a product of differences."""
    precision, r = precision_of(repeats), repeats.shape[1]
    first, second = np.triu_indices(len(repeats), k=1)
    differences = repeats[first] - repeats[second]
    pairs = [(f, g) for f in range(r) for g in range(r) if f != g]
    found = [
        np.einsum("ip,pq,iq->i", differences[:, f], precision, differences[:, g]) for f, g in pairs
    ]
    return np.mean(found, axis=0)


def poisson_cv(repeats: np.ndarray) -> np.ndarray:
    first, second = np.triu_indices(len(repeats), k=1)
    found = []
    for f in range(repeats.shape[1]):
        train = (np.delete(repeats, f, axis=1).mean(axis=1) + 0.1) / 1.1
        test = np.log((repeats[:, f] + 0.1) / 1.1)
        found.append(((train[first] - train[second]) * (test[first] - test[second])).sum(axis=1))
    return np.mean(found, axis=0)


# Of the layer, and of the repeats.
BY_REPEATS = {
    "mahalanobis": (
        pdist,
        lambda y: pdist(y.mean(axis=1), "mahalanobis", VI=precision_of(y)),
    ),
    "sqmahalanobis": (
        lambda x: pdist(x, "sqeuclidean"),
        lambda y: pdist(y.mean(axis=1), "mahalanobis", VI=precision_of(y)) ** 2,
    ),
    "crossnobis": (lambda x: pdist(x, "sqeuclidean"), crossnobis),
    "poisson_cv": (poisson, poisson_cv),
}


def measured_of(repeats: np.ndarray | None = REPEATS, responses: np.ndarray | None = None):
    if responses is None:
        assert repeats is not None
        responses = np.nanmean(repeats, axis=1)
    return Measured(
        positions=np.arange(N),
        responses=responses,
        repeats=repeats,
        neuroid_ids=np.arange(V).astype(str),
        groups={GROUP: np.arange(V)},
    )


def scores_of(text: str, measured: Measured | None = None, features=FEATURES):
    spec = parse_metric(text)
    layer = Representation.from_features(features)
    measured = measured_of() if measured is None else measured
    found = list(spec.metric.compute(layer, measured, odd_even(N), **spec.options))
    return {score.cv_split: score for score in found}


def test_every_distance_is_tested_here() -> None:
    assert set(PLAIN) | set(BY_REPEATS) == set(RDM_METHODS)
    choices = METRICS["cRSA"].options["distance"].choices
    assert set(choices) == {*RDM_METHODS, "correlation"}


@pytest.mark.parametrize("distance", PLAIN)
def test_plain_distances_equal_scipy(distance: str) -> None:
    for part, score in scores_of(f"cRSA[distance={distance}]").items():
        rows = ROWS[part]
        first, second = PLAIN[distance](FEATURES[rows]), PLAIN[distance](REPEATS.mean(axis=1)[rows])
        assert score.value == pytest.approx(pearsonr(first, second).statistic, abs=1e-10)


@pytest.mark.parametrize("distance", BY_REPEATS)
def test_distances_by_repeats_equal_their_definition(distance: str) -> None:
    of_layer, of_repeats = BY_REPEATS[distance]
    for part, score in scores_of(f"cRSA[distance={distance}]").items():
        rows = ROWS[part]
        expected = pearsonr(of_layer(FEATURES[rows]), of_repeats(REPEATS[rows])).statistic
        assert score.value == pytest.approx(expected, abs=1e-10)
        kept = score.artefacts["rdms"]
        per_feature = of_layer(FEATURES[rows]) / {"mahalanobis": P**0.5}.get(distance, P)
        np.testing.assert_allclose(kept, per_feature, rtol=1e-10)


@pytest.mark.parametrize("distance", ["mahalanobis", "crossnobis"])
def test_scaling_neuroids_leaves_what_is_normalised_by_the_noise(distance: str) -> None:
    plain = scores_of(f"cRSA[distance={distance}]")["test"].value
    scaled = scores_of(f"cRSA[distance={distance},response_scale=zscore]")["test"].value
    units = measured_of(REPEATS * np.logspace(-2, 2, V))
    moved = scores_of(f"cRSA[distance={distance}]", units)["test"].value
    assert plain == scaled == pytest.approx(moved, abs=1e-9)


def test_real_neurons(data_folder: Path) -> None:
    raw = np.load(data_folder / "macaque_v4" / "responses_raw_210325.npy").transpose(1, 2, 0)[:N]
    raw = raw[:, :, :V]
    measured = measured_of(raw)
    for distance in BY_REPEATS:
        score = scores_of(f"cRSA[distance={distance}]", measured)["test"]
        noise = noise_covariance(raw[1::2]) if distance != "poisson_cv" else None
        values = raw[1::2] if RDM_METHODS[distance].needs == "repeats" else np.nanmean(raw, 1)[1::2]
        target = upper_triangle(compute_rdm(values, distance, noise=noise))
        first = BY_REPEATS[distance][0](FEATURES[1::2])
        assert score.value == pytest.approx(pearsonr(first, target).statistic, abs=1e-10)


def test_a_layer_is_asked_for_features_only_where_its_gram_does_not_do() -> None:
    gram = {"pearson", "cosine", "euclidean", "sqeuclidean", "gaussian"}
    gram |= {"mahalanobis", "sqmahalanobis", "crossnobis"}
    for distance in RDM_METHODS:
        expected = GramNeed() if distance in gram else FeaturesNeed()
        assert layer_need(distance) == expected
        spec = parse_metric(f"cRSA[distance={distance}]")
        assert spec.metric.needs(N, np.arange(N), spec.options) == (expected,)
    assert layer_distance("crossnobis") == ("sqeuclidean", True)
    assert layer_distance("sqeuclidean") == ("sqeuclidean", False)


def test_float32_features_as_the_stream_gives_them() -> None:
    for distance in RDM_METHODS:
        exact = scores_of(f"cRSA[distance={distance}]")["test"].value
        single = torch.from_numpy(FEATURES.astype("f4").reshape(N, 5, 8))
        found = scores_of(f"cRSA[distance={distance}]", features=single)["test"].value
        assert found == pytest.approx(exact, abs=1e-5)


def test_correlation_is_pearson_in_a_metric_string() -> None:
    assert str(parse_metric("cRSA[distance=correlation]")) == "cRSA"
    with pytest.raises(UnknownNameError, match="'crossnobi'. Did you mean 'crossnobis'"):
        parse_metric("cRSA[distance=crossnobi]")


def test_a_benchmark_of_rdms_keeps_theirs() -> None:
    rdms = {GROUP: compute_rdm(SIGNAL, "euclidean")}
    measured = Measured(positions=np.arange(N), rdms=rdms)
    score = scores_of("cRSA[distance=crossnobis]", measured)["all"]
    expected = pearsonr(pdist(FEATURES, "sqeuclidean"), pdist(SIGNAL)).statistic
    assert score.value == pytest.approx(expected, abs=1e-10)


def test_what_is_undefined_has_a_reason() -> None:
    without = measured_of(None, SIGNAL)
    for distance in BY_REPEATS:
        score = scores_of(f"cRSA[distance={distance}]", without)["test"]
        assert np.isnan(score.value)
        assert score.reason == (
            f"the measured RDM: {distance} needs repeats, and the responses have none"
        )
        assert (score.n_stimuli, score.n_neuroids, score.selection) == (15, V, "stimuli")
    few = REPEATS.copy()
    few[3, 1:] = np.nan
    for distance in ("crossnobis", "poisson_cv"):
        score = scores_of(f"cRSA[distance={distance}]", measured_of(few))
        assert "needs two repeats of every stimulus, 1 of 15 have fewer" in score["test"].reason
        assert score["train"].value > 0
    assert np.isfinite(scores_of("cRSA[distance=mahalanobis]", measured_of(few))["test"].value)
    silent = REPEATS.copy()
    silent[:, :, 2] = 3.0
    score = scores_of("cRSA[distance=crossnobis]", measured_of(silent))["test"]
    assert score.reason.startswith("the measured RDM: noise: 1 of 8 features never vary")
    assert not score.reason.endswith(".")
    negative = REPEATS - 100
    for distance in ("poisson", "poisson_cv"):
        score = scores_of(f"cRSA[distance={distance}]", measured_of(negative))["test"]
        assert score.reason.startswith("the measured RDM: poisson: ")
        score = scores_of(f"cRSA[distance={distance}]", features=FEATURES - 1)["test"]
        assert score.reason.startswith("the layer's RDM: poisson: ")
        assert "values are negative" in score.reason


def test_options_that_contradict_each_other_are_refused_at_once() -> None:
    for distance in ("poisson", "poisson_cv"):
        with pytest.raises(ValueError, match="compares rates, which are not negative, but"):
            parse_metric(f"cRSA[distance={distance},response_scale=zscore]")


def test_predictions_have_neither_repeats_nor_only_positive_rates() -> None:
    assert METRICS["eRSA"].options["distance"].choices == PLAIN_DISTANCES
    assert set(PLAIN_DISTANCES) == set(PLAIN) - {"poisson"}
    with pytest.raises(UnknownNameError):
        parse_metric("eRSA[distance=crossnobis]")
    for distance in PLAIN_DISTANCES:
        assert np.isfinite(scores_of(f"eRSA[distance={distance}]")["test"].value)


@pytest.mark.parametrize("distance", [m for m in RDM_METHODS if m != "poisson"])
def test_ceilings_are_given_or_say_why_not(distance: str) -> None:
    spec = parse_metric(f"cRSA[distance={distance}]")
    measured = measured_of()
    [(group, part), *_] = spec.metric.parts(measured, odd_even(N))
    ceiling = rdm_ceiling(measured, group, part, spec.options)
    assert (0 < ceiling.value <= 1) or ceiling.reason
    if distance in ("mahalanobis", "spearman", "cityblock"):
        assert ceiling.value > 0.5


def test_a_distance_between_rdms_is_not_divided_by_another() -> None:
    """Minus a distance over minus a smaller one would praise the worse model."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(N, 60))
    rdms = {
        ("IT", f"s{i}"): compute_rdm(shared + 0.7 * rng.normal(size=(N, 60)), "sqeuclidean")
        for i in range(3)
    }
    measured = Measured(positions=np.arange(N), rdms=rdms)
    options = {"distance": "sqeuclidean", "compare": "riemannian"}
    layer = Representation.from_features(shared)
    for score in crsa(layer, measured, odd_even(N), **options):
        assert score.value < 0
        assert score.reason == ""
    for group, part in METRICS["cRSA"].parts(measured, odd_even(N)):
        ceiling = rdm_ceiling(measured, group, part, options)
        assert np.isnan(ceiling.value)
        assert part.of_others or "not a share of a ceiling" in ceiling.reason


def test_a_comparison_that_is_undefined_says_so() -> None:
    few = Measured(
        positions=np.arange(N), responses=REPEATS.mean(axis=1), groups={GROUP: np.arange(V)}
    )  # 8 neuroids: the second moments of 15 stimuli are singular
    options = {"distance": "sqeuclidean", "compare": "riemannian"}
    for score in crsa(Representation.from_features(FEATURES), few, odd_even(N), **options):
        assert np.isnan(score.value)
        assert "compare=riemannian is undefined for these RDMs" in score.reason


@pytest.mark.parametrize("constant", [0, 3])
def test_a_stimulus_that_is_constant_over_what_a_pair_shares_has_no_pair(constant: int) -> None:
    values = np.random.default_rng(0).normal(size=(4, 8)) + 5
    # Several constants: of some the variance is left with a rounding above zero, which passes for
    # a variance where nobody looks.
    for number in (1 / 3, 0.1, 0.7, 5.3, 1000 / 7, 8.9, 6.1, 4.77):
        values[constant, :5], values[2, 5:] = number, np.nan
        rdm = response_rdm(values, "pearson")
        assert np.isnan(rdm[constant, 2])
        assert np.isnan(rdm[2, constant])
        assert np.isnan(rdm).sum() == 2
