"""RDM models: their fits against rsatoolbox, SciPy and brute force; their cross-validation."""

# The peers' annotations are not to be relied on.
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import rsatoolbox.model
import rsatoolbox.rdm
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st
from rsatoolbox.model import fitter
from scipy.io import loadmat
from scipy.spatial.distance import pdist

from isomorph.geometry import (
    FeatureWeightedRDM,
    FixedRDM,
    InterpolateRDM,
    SelectRDM,
    WeightedRDM,
    compare_rdms,
    compute_rdm,
    crossvalidate_rdm_model,
    square,
    upper_triangle,
)
from isomorph.geometry.comparing.pair_metrics import pair_metric
from isomorph.geometry.rdm_models.crossvalidation import stimulus_folds
from isomorph.geometry.rdm_models.feature_weights import part_products
from isomorph.registry import UnknownNameError

N = 10
METHODS = {
    "cosine": "cosine",
    "pearson": "corr",
    "whitened_cosine": "cosine_cov",
    "whitened_pearson": "corr_cov",
}


def distances(n_rdms: int, seed: int, n: int = N) -> np.ndarray:
    features = np.random.default_rng(seed).normal(size=(n_rdms, n, 4))
    return np.stack([pdist(one, "sqeuclidean") for one in features])


def measured(parts: np.ndarray, n_rdms: int = 3, noise: float = 1.0, seed: int = 5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    truth = rng.gamma(0.7, size=len(parts)) @ parts
    return truth + noise * truth.std() * rng.random((n_rdms, parts.shape[1]))


def unit(weights: np.ndarray) -> np.ndarray:
    return weights / np.linalg.norm(weights)


def mean_score(vector: np.ndarray, rdms: np.ndarray, method: str) -> float:
    return float(np.mean(compare_rdms(vector[None], rdms, method)))


@pytest.mark.parametrize("method", [*METHODS, "spearman", "tau_a"])
def test_select_and_fixed_equal_rsatoolbox(method: str) -> None:
    parts = distances(5, 0)
    rdms = measured(parts)
    fitted = SelectRDM(parts).fit(rdms, method)
    peer = METHODS.get(method, method.replace("_", "-"))
    best = fitter.fit_select(
        rsatoolbox.model.ModelSelect("m", parts), rsatoolbox.rdm.RDMs(rdms), method=peer
    )
    np.testing.assert_array_equal(fitted.weights, np.eye(5)[best])
    np.testing.assert_array_equal(fitted.predict(), square(parts[best]))
    fixed = FixedRDM(parts[best]).fit(rdms, method)
    assert fixed.score == fitted.score == pytest.approx(mean_score(parts[best], rdms, method))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_weights_are_those_of_rsatoolbox_and_of_scipy(method: str, seed: int) -> None:
    parts = distances(4, seed)
    rdms = measured(parts, seed=seed)
    fitted = WeightedRDM(parts).fit(rdms, method)
    assert (fitted.weights >= 0).all()
    model = rsatoolbox.model.ModelWeighted("m", parts)
    data = rsatoolbox.rdm.RDMs(rdms)
    if "whitened" not in method:
        # Its own NNLS ends only where gradients are below 2e-14: RDMs of ordinary size, or systems
        # solved by conjugate gradients, keep it going for ever.
        tiny = rsatoolbox.model.ModelWeighted("m", parts * 1e-5)
        by_nnls = fitter.fit_regress_nn(tiny, data, method=METHODS[method])
        np.testing.assert_allclose(unit(fitted.weights), by_nnls, atol=1e-9)
    np.random.seed(0)  # noqa: NPY002  the peer has no seed of its own
    by_search = fitter.fit_optimize_positive(model, data, method=METHODS[method])
    theirs = mean_score(by_search @ parts, rdms, method)
    assert fitted.score >= theirs - 1e-9
    assert fitted.score == pytest.approx(theirs, abs=1e-4)
    if method == "cosine":
        target = (rdms / np.linalg.norm(rdms, axis=1, keepdims=True)).sum(axis=0)
        plain = scipy.optimize.nnls(parts.T, target)[0]
        np.testing.assert_allclose(unit(fitted.weights), unit(plain), atol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_no_weights_on_a_grid_are_better(method: str) -> None:
    parts = distances(3, 7)
    rdms = measured(parts, noise=3)
    best = WeightedRDM(parts).fit(rdms, method).score
    for weights in itertools.product(np.linspace(0, 1, 9), repeat=3):
        if any(weights):
            assert mean_score(np.array(weights) @ parts, rdms, method) <= best + 1e-12


@pytest.mark.parametrize("method", METHODS)
def test_signed_weights_with_ridge_equal_rsatoolbox(method: str) -> None:
    parts = distances(4, 1)
    # Its penalty is of the weights themselves: of parts of length one it is ours.
    applied = pair_metric(method)(parts)
    parts = parts / np.sqrt(np.einsum("ij,ij->i", parts, applied))[:, None]
    rdms = measured(parts)
    ours = WeightedRDM(parts, ridge=0.3, non_negative=False).fit(rdms, method)
    theirs = fitter.fit_regress(
        rsatoolbox.model.ModelWeighted("m", parts),
        rsatoolbox.rdm.RDMs(rdms),
        method=METHODS[method],
        ridge_weight=0.3,
    )
    atol = 1e-4 if "whitened" in method else 1e-10
    np.testing.assert_allclose(unit(ours.weights), theirs, atol=atol)
    assert ours.ridge == 0.3


@pytest.mark.parametrize("method", METHODS)
def test_interpolation_equals_rsatoolbox_and_a_fine_grid(method: str) -> None:
    parts = distances(4, 3)
    rdms = 0.3 * parts[2] + 0.7 * parts[1] + np.random.default_rng(0).random((3, 45))
    fitted = InterpolateRDM(parts).fit(rdms, method)
    theirs = fitter.fit_interpolate(
        rsatoolbox.model.ModelInterpolate("m", parts),
        rsatoolbox.rdm.RDMs(rdms),
        method=METHODS[method],
    )
    np.testing.assert_allclose(fitted.weights, theirs, atol=1e-4)
    assert fitted.weights.sum() == pytest.approx(1)
    for i in range(3):
        for share in np.linspace(0, 1, 101):
            way = (1 - share) * parts[i] + share * parts[i + 1]
            assert mean_score(way, rdms, method) <= fitted.score + 1e-12


@settings(max_examples=10, deadline=None, derandomize=True)
@given(st.integers(0, 1000), st.sampled_from([*METHODS]), st.floats(1e-3, 1e3))
def test_weighted_properties(seed: int, method: str, factor: float) -> None:
    parts = distances(3, seed)
    rdms = measured(parts, seed=seed)
    fitted = WeightedRDM(parts).fit(rdms, method)
    # A part in other units, or the RDMs in others, leave the prediction but for its size.
    scaled = parts * np.array([[factor], [1], [1]])
    again = WeightedRDM(scaled, ridge=0.2).fit(rdms, method)
    once = WeightedRDM(parts, ridge=0.2).fit(rdms, method)
    np.testing.assert_allclose(again.vector, once.vector, rtol=1e-6)
    np.testing.assert_allclose(
        WeightedRDM(parts).fit(factor * rdms, method).vector, factor * fitted.vector, rtol=1e-6
    )
    single = SelectRDM(parts).fit(rdms, method).score
    assert fitted.score >= InterpolateRDM(parts).fit(rdms, method).score - 1e-12 >= single - 2e-12


def test_what_is_a_sum_of_the_parts_is_found() -> None:
    parts = distances(4, 2)
    fitted = WeightedRDM(parts).fit(parts.T @ [2.0, 0, 0.5, 0])
    np.testing.assert_allclose(fitted.weights, [2, 0, 0.5, 0], atol=1e-9)
    # A part that repeats shares its weight, one of zeros has none.
    many = np.vstack([parts[:2], parts[:1], np.zeros((1, 45))])
    fitted = WeightedRDM(many).fit(3 * parts[0])
    np.testing.assert_allclose(fitted.vector, 3 * parts[0], rtol=1e-9)
    assert fitted.weights[3] == 0


def test_only_the_given_stimuli_are_looked_at() -> None:
    parts, rdms = distances(3, 0), measured(distances(3, 0))
    seen = np.array([0, 2, 3, 5, 8, 9])
    spoiled = square(rdms)
    others = np.setdiff1d(np.arange(N), seen)
    spoiled[:, others] *= 100
    spoiled[:, :, others] *= 100
    spoiled = (spoiled + spoiled.transpose(0, 2, 1)) / 2
    features = np.random.default_rng(1).normal(size=(N, 4))
    for model in (
        SelectRDM(parts),
        WeightedRDM(parts),
        InterpolateRDM(parts),
        FeatureWeightedRDM(features, ridge=0.1),
        FeatureWeightedRDM(features, n_components=2, ridge=(0.0, 1.0), n_folds=2),
    ):
        fits = [model.fit(stack, "pearson", stimuli=seen) for stack in (rdms, spoiled)]
        np.testing.assert_array_equal(fits[0].weights, fits[1].weights)
        np.testing.assert_array_equal(fits[0].predict(seen), fits[0].predict()[np.ix_(seen, seen)])


@pytest.mark.parametrize("method", METHODS)
def test_products_of_the_features_rdms(method: str) -> None:
    parts = np.random.default_rng(0).normal(size=(8, 3))
    parts -= parts.mean(axis=0)
    rdms = np.stack([pdist(column[:, None], "sqeuclidean") for column in parts.T])
    expected = rdms @ pair_metric(method)(rdms).T
    np.testing.assert_allclose(part_products(parts, method), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ridge", [0.0, 0.5])
def test_feature_weights_are_those_of_an_rdm_for_each_feature(method: str, ridge: float) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(12, 5)) + 1e4
    rdms = measured(np.stack([pdist(f[:, None], "sqeuclidean") for f in features.T]))
    parts = [pdist(column[:, None], "sqeuclidean") for column in features.T]
    expected = WeightedRDM(np.stack(parts), ridge=ridge).fit(rdms, method)
    found = FeatureWeightedRDM(features, ridge=ridge).fit(rdms, method)
    np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.vector, expected.vector, rtol=1e-6)
    assert found.score == pytest.approx(expected.score, abs=1e-9)
    signed = FeatureWeightedRDM(features, ridge=ridge, non_negative=False).fit(rdms, method)
    free = WeightedRDM(np.stack(parts), ridge=ridge, non_negative=False).fit(rdms, method)
    np.testing.assert_allclose(signed.vector, free.vector, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_feature_weights_of_some_stimuli_are_centred_on_these(method: str) -> None:
    rng = np.random.default_rng(0)
    features, seen = rng.normal(size=(14, 4)), np.array([9, 0, 3, 12, 5, 7, 2, 8])
    features[np.setdiff1d(np.arange(14), seen)] += 30
    parts = np.stack([pdist(column[:, None], "sqeuclidean") for column in features.T])
    rdms = measured(parts)
    expected = WeightedRDM(parts).fit(rdms, method, stimuli=seen)
    found = FeatureWeightedRDM(features, ridge=0.0).fit(rdms, method, stimuli=seen)
    np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.vector, expected.vector, rtol=1e-6)
    assert found.score == pytest.approx(expected.score, abs=1e-9)


@pytest.mark.parametrize(
    "stimuli", [[0, 1, 2, 2], [0, 1, 2, 99], [-1, 0, 1, 2], np.arange(10) < 6, [[0, 1, 2]]]
)
def test_positions_to_fit_on_are_checked(stimuli: list[int]) -> None:
    parts = distances(4, 0)
    for model in (WeightedRDM(parts), FeatureWeightedRDM(np.eye(N)[:, :3], ridge=0.0)):
        with pytest.raises(ValueError, match="different positions from 0 to 9"):
            model.fit(parts[0], stimuli=stimuli)


def test_a_number_of_folds_may_be_numpys() -> None:
    model, rdms = FixedRDM(distances(1, 0, n=12)), distances(2, 1, n=12)
    tables = [crossvalidate_rdm_model(model, rdms, folds=kind(3)) for kind in (int, np.int64)]
    assert tables[0].equals(tables[1])


def test_reweighting_finds_the_features_that_matter_and_wide_layers_go_by_components() -> None:
    rng = np.random.default_rng(3)
    features = rng.normal(size=(60, 20))
    gains = np.zeros(20)
    gains[:3] = [3.0, 2.0, 1.5]
    rdm = compute_rdm(features * gains, "sqeuclidean")
    noisy = square(upper_triangle(rdm) + rng.normal(size=1770) * upper_triangle(rdm).std())
    table = crossvalidate_rdm_model(FeatureWeightedRDM(features), noisy, "pearson")
    plain = crossvalidate_rdm_model(
        FixedRDM(compute_rdm(features, "sqeuclidean")), noisy, "pearson"
    )
    assert table["score"].mean() > plain["score"].mean() + 0.1
    wide = features @ rng.normal(size=(20, 6000))
    with pytest.raises(ValueError, match="at most 4000 features .* got 6000. Pass n_components=50"):
        FeatureWeightedRDM(wide)
    fitted = FeatureWeightedRDM(wide.astype(np.float32), n_components=20, ridge=0.0).fit(rdm)
    assert len(fitted.weights) == 20


def test_components_are_made_of_the_stimuli_that_are_fitted() -> None:
    rng = np.random.default_rng(0)
    features, seen = rng.normal(size=(14, 40)), np.arange(9)
    parts = FeatureWeightedRDM(features, n_components=3)._parts(seen)
    centred = features[seen] - features[seen].mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    expected = (features - features[seen].mean(axis=0)) @ axes[:3].T
    np.testing.assert_allclose(np.abs(parts), np.abs(expected), atol=1e-9)


def test_pure_noise_scores_nothing_when_cross_validated() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 100))
    rdms = rng.random((2, 780))
    model = FeatureWeightedRDM(features, ridge=0.0)
    assert model.fit(rdms, "pearson").score > 0.15
    table = crossvalidate_rdm_model(model, rdms, "pearson", folds=4)
    assert abs(table["score"].mean()) < 0.1


def test_crossvalidation_equals_a_plain_loop() -> None:
    parts = distances(3, 0, n=12)
    rdms = measured(parts)
    model = WeightedRDM(parts)
    table = crossvalidate_rdm_model(
        model, rdms, "pearson", folds=3, subjects="leave_one_out", compare="spearman", names="abc"
    )
    assert list(table.columns) == [
        "subj_id", "cv_split", "score", "score_train", "n_train", "n_test", "method", "weights"
    ]  # fmt: skip
    squares, found = square(rdms), {(r.subj_id, r.cv_split): r for r in table.itertuples()}
    assert len(found) == len(table) == 9
    for number, test in enumerate(stimulus_folds(12, 3, seed=0)):
        train = np.setdiff1d(np.arange(12), test)
        for subject in range(3):
            others = np.delete(squares, subject, axis=0)[:, train][:, :, train]
            own = squares[subject][np.ix_(test, test)]
            fitted = WeightedRDM(square(parts)[:, train][:, :, train]).fit(others, "pearson")
            prediction = np.tensordot(fitted.weights, square(parts)[:, test][:, :, test], 1)
            row = found["abc"[subject], f"fold{number}"]
            expected = compare_rdms(prediction, own, "spearman")
            assert row.score == pytest.approx(expected, abs=1e-10)
            assert row.score_train == pytest.approx(fitted.score, abs=1e-10)
            assert (row.n_train, row.n_test, row.method) == (8, 4, "spearman")


def test_folds_over_subjects_alone_groups_and_the_subjects_included() -> None:
    parts = distances(3, 0, n=12)
    rdms = measured(parts)
    table = crossvalidate_rdm_model(SelectRDM(parts), rdms, folds=None, subjects="leave_one_out")
    assert set(table["cv_split"]) == {"all"}
    assert (table["n_test"] == 12).all()
    groups = [np.arange(4), np.arange(4, 12)]
    table = crossvalidate_rdm_model(SelectRDM(parts), rdms, folds=groups)
    assert table.groupby("cv_split")["n_test"].first().tolist() == [4, 8]
    assert len(table) == 6
    np.testing.assert_array_equal(np.sort(np.concatenate(stimulus_folds(11, 3, seed=1))), range(11))


def test_real_rdms_reweighted(data_folder: Path) -> None:
    folder = data_folder / "kriegeskorte92"
    parts = np.stack([upper_triangle(np.asarray(m["RDM"], float))
                      for m in loadmat(folder / "92_modelRDMs.mat")["Models"][0]])  # fmt: skip
    structs = loadmat(folder / "92_brainRDMs.mat")["RDMs"]
    subjects = np.stack(
        [upper_triangle(np.asarray(structs[0, s, 0]["RDM"], float)) for s in range(4)]
    )
    weighted = WeightedRDM(parts).fit(subjects, "pearson")
    centred = parts - parts.mean(axis=1, keepdims=True)
    target = subjects - subjects.mean(axis=1, keepdims=True)
    target = (target / target.std(axis=1, keepdims=True)).sum(axis=0)
    by_nnls = scipy.optimize.nnls(centred.T, target)[0]
    np.testing.assert_allclose(unit(weighted.weights), unit(by_nnls), atol=1e-9)
    table = crossvalidate_rdm_model(
        WeightedRDM(parts), subjects, "pearson", subjects="leave_one_out", folds=4
    )
    best = crossvalidate_rdm_model(
        SelectRDM(parts), subjects, "pearson", subjects="leave_one_out", folds=4
    )
    assert table["score"].mean() > best["score"].mean()


def test_errors() -> None:
    parts, rdms = distances(3, 0), measured(distances(3, 0))
    with pytest.raises(ValueError, match="FixedRDM: expected one RDM, got 3. SelectRDM chooses"):
        FixedRDM(parts)
    with pytest.raises(ValueError, match="rdms: expected 2 or more RDMs, got 1"):
        InterpolateRDM(parts[:1])
    with pytest.raises(ValueError, match="rdms: 1 dissimilarities are not finite"):
        WeightedRDM(np.where(parts == parts[0, 0], np.nan, parts))
    with pytest.raises(ValueError, match="expected measured RDMs of the model's 10 stimuli, got 9"):
        SelectRDM(parts).fit(distances(1, 0, n=9))
    with pytest.raises(
        UnknownNameError, match="comparison that weights can be fitted by 'spearman'"
    ):
        WeightedRDM(parts).fit(rdms, "spearman")
    with pytest.raises(ValueError, match="a measured RDM is constant"):
        WeightedRDM(parts).fit(np.ones((1, 45)), "pearson")
    with pytest.raises(ValueError, match="no RDM can be compared with the measured ones"):
        SelectRDM(np.ones((2, 45))).fit(rdms, "pearson")
    with pytest.raises(ValueError, match="ridge: expected 0 or more, got -1"):
        WeightedRDM(parts, ridge=-1).fit(rdms)
    with pytest.raises(ValueError, match="nothing is held out. Pass folds=5"):
        crossvalidate_rdm_model(SelectRDM(parts), rdms, folds=None)
    with pytest.raises(ValueError, match="3 or more stimuli each, got 4 folds of 10 stimuli"):
        crossvalidate_rdm_model(SelectRDM(parts), rdms, folds=4)
    with pytest.raises(ValueError, match="got 8 to fit and 2 to score in fold 0"):
        crossvalidate_rdm_model(SelectRDM(parts), rdms, folds=[[0, 1]])
    with pytest.raises(ValueError, match="expected different positions from 0 to 9"):
        crossvalidate_rdm_model(SelectRDM(parts), rdms, folds=[[0, 1, 10]])
    with pytest.raises(ValueError, match="expected 2 or more RDMs, got 1"):
        crossvalidate_rdm_model(SelectRDM(parts), rdms[:1], subjects="leave_one_out", folds=2)
    with pytest.raises(ValueError, match="names: expected one for each of 3 RDMs, got 2"):
        crossvalidate_rdm_model(SelectRDM(parts), rdms, names=["a", "b"], folds=2)
