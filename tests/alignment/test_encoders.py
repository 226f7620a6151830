"""PLS, OLS, lasso, elastic net and single units as metrics, against scikit-learn pipelines."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import LassoCV, LinearRegression
from sklearn.metrics import r2_score

from isomorph.alignment import METRICS, Measured, Representation, parse_metric
from isomorph.alignment.encoder_fits import layer_coordinates
from isomorph.encoding.linear import PENALTY_SHARES
from isomorph.resampling import kfold, odd_even

RNG = np.random.default_rng(0)
N, P, V = 60, 140, 6
FEATURES = RNG.gamma(1.0, size=(N, P)) * np.logspace(-1, 1, P)
RESPONSES = FEATURES @ RNG.normal(size=(P, V)) * 0.05 + RNG.normal(size=(N, V))
TRAIN, TEST = np.arange(0, N, 2), np.arange(1, N, 2)
ENCODERS = ("PLS", "OLS", "lasso", "elastic_net", "one_to_one")
FOLDS = np.array_split(np.arange(30), 5)


def measured_of(responses: np.ndarray, **more) -> Measured:
    n, v = responses.shape
    return Measured(
        positions=np.arange(n),
        responses=responses,
        neuroid_ids=np.arange(v).astype(str),
        groups={("V4", "one"): np.arange(0, v, 2), ("all", "one"): np.arange(v)},
        **more,
    )


def scores_of(text, features=FEATURES, responses=RESPONSES, split=None, layer=None, **more):
    spec = parse_metric(text)
    layer = layer or Representation.from_features(features)
    block = measured_of(responses, **more)
    split = split or odd_even(len(features))
    found = spec.metric.compute(layer, block, split, **spec.options)
    return {(s.region, s.cv_split): s for s in found}


def pearson(predicted, actual):
    return np.array([pearsonr(a, b).statistic for a, b in zip(predicted.T, actual.T, strict=True)])


def cross_validated(make, features, responses):
    """Contiguous fifths of the training stimuli, each predicted from the other four."""
    predicted = np.empty_like(responses)
    for fold in FOLDS:
        rest = np.setdiff1d(np.arange(len(responses)), fold)
        predicted[fold] = make(features[rest], responses[rest], features[fold])
    return predicted


def sklearn_pls(components):
    def make(train, responses, test):
        model = PLSRegression(components, scale=False, tol=1e-28, max_iter=100_000)
        return model.fit(train, responses).predict(test)

    return make


@pytest.mark.parametrize("region", ["V4", "all"])
def test_pls_is_scikit_learns_on_raw_features_region_by_region(region):
    """A region's components are its own: what else was measured does not change its scores."""
    columns = measured_of(RESPONSES).groups[region, "one"]
    make = sklearn_pls(10)
    own = RESPONSES[:, columns]
    found = scores_of("PLS[components=10]")
    expected = make(FEATURES[TRAIN], own[TRAIN], FEATURES[TEST])
    test = found[region, "test"]
    np.testing.assert_allclose(test.artefacts["predictions"], expected, atol=1e-7)
    np.testing.assert_allclose(test.per_neuroid, pearson(expected, own[TEST]), atol=1e-7)
    # Brain-Score reports the median over neuroids; a region's score here is their mean.
    assert test.value == pytest.approx(np.mean(test.per_neuroid))
    inner = cross_validated(make, FEATURES[TRAIN], own[TRAIN])
    np.testing.assert_allclose(
        found[region, "train"].per_neuroid, pearson(inner, own[TRAIN]), atol=1e-7
    )
    assert test.reason == ""
    assert np.isnan(test.alphas).all()


def test_pls_has_as_many_components_as_there_are_and_says_so():
    found = scores_of("PLS")["all", "test"]
    assert found.reason == "23 of 25 components: layer or training stimuli have no more"
    expected = sklearn_pls(25)(FEATURES[TRAIN], RESPONSES[TRAIN], FEATURES[TEST])
    np.testing.assert_allclose(found.artefacts["predictions"], expected, atol=1e-6)
    narrow = scores_of("PLS", features=FEATURES[:, :4])["all", "test"]
    assert narrow.reason.startswith("4 of 25 components")
    with pytest.raises(ValueError, match="expected 1 component or more"):
        parse_metric("PLS[components=0]")


@pytest.mark.parametrize("p", [10, P])
def test_ols_is_scikit_learns_with_leave_one_out(p):
    features = FEATURES[:, :p]
    found = scores_of("OLS", features=features)
    model = LinearRegression().fit(features[TRAIN], RESPONSES[TRAIN])
    expected = pearson(model.predict(features[TEST]), RESPONSES[TEST])
    np.testing.assert_allclose(found["all", "test"].per_neuroid, expected, atol=1e-8)
    left_out = np.empty((30, V))
    for i in range(30):
        rest = np.delete(TRAIN, i)
        model = LinearRegression().fit(features[rest], RESPONSES[rest])
        left_out[i] = model.predict(features[TRAIN[i : i + 1]])[0]
    np.testing.assert_allclose(found["all", "train"].artefacts["predictions"], left_out, atol=1e-6)


def test_lasso_is_scikit_learns():
    x = FEATURES - FEATURES[TRAIN].mean(axis=0)
    variance = FEATURES[TRAIN].var(axis=0)
    x = x / np.sqrt(variance + variance.mean())
    found = scores_of("lasso")["all", "test"]
    cv = [(np.setdiff1d(np.arange(30), fold), fold) for fold in FOLDS]
    for v in range(V):
        y = RESPONSES[TRAIN, v]
        largest = np.abs(x[TRAIN].T @ (y - y.mean())).max() / 30
        alphas = largest * np.array(PENALTY_SHARES)
        model = LassoCV(alphas=alphas, cv=cv, tol=1e-10, max_iter=100_000).fit(x[TRAIN], y)
        assert found.alphas[v] == pytest.approx(model.alpha_)
        expected = pearsonr(model.predict(x[TEST]), RESPONSES[TEST, v]).statistic
        assert found.per_neuroid[v] == pytest.approx(expected, abs=1e-5)
    assert 0 <= found.alpha_at_edge <= 1


def test_options_of_the_sparse_encoders():
    def found(text):
        return scores_of(text, features=FEATURES[:, ::4], responses=RESPONSES[:, :2])["all", "test"]

    base, lasso = found("elastic_net").value, found("lasso").value
    assert found("elastic_net[l1_ratio=0.1]").value != base
    assert found("elastic_net[l1_ratio=1]").value == pytest.approx(lasso)
    assert found("lasso[penalties=0.5]").alpha_at_edge == 1
    assert found("lasso[scale=none]").value != pytest.approx(lasso)
    assert str(parse_metric("lasso[penalties=0.01|0.5]")) == "lasso[penalties=0.01|0.5]"
    for text in ("lasso[penalties=0.5|0.1]", "lasso[penalties=2]", "elastic_net[l1_ratio=0]"):
        with pytest.raises(ValueError, match="expected"):
            parse_metric(text)


def test_one_to_one_chooses_on_train_and_scores_on_test():
    found = scores_of("one_to_one")
    r = np.array(
        [[pearsonr(u, y).statistic for u in FEATURES[TRAIN].T] for y in RESPONSES[TRAIN].T]
    )
    best = r.argmax(axis=1)
    expected = pearson(FEATURES[TEST][:, best], RESPONSES[TEST])
    np.testing.assert_allclose(found["all", "test"].per_neuroid, expected, atol=1e-9)


def test_one_to_one_of_independent_noise_is_zero():
    """A peer matches on the test data: independent noise (515 stimuli, 40 and 60) scores .278."""
    rng = np.random.default_rng(0)
    features, responses = rng.normal(size=(515, 60)), rng.normal(size=(515, 40))
    for text in ("one_to_one", "one_to_one[match=assignment]"):
        found = scores_of(text, features=features, responses=responses)
        for score in found.values():
            assert abs(score.value) < 0.03


@pytest.mark.parametrize("match", ["semi", "assignment"])
def test_one_to_one_finds_the_same_units_in_another_order(match):
    """A peer keeps the first min(d1, d2) units, so that the same units score near zero there."""
    order = RNG.permutation(P)
    found = scores_of(f"one_to_one[match={match}]", responses=FEATURES[:, order][:, :20])
    assert found["all", "test"].value == pytest.approx(1)
    assert found["all", "train"].value == pytest.approx(1)


def test_an_assignment_without_enough_units_has_no_score_and_says_why():
    found = scores_of("one_to_one[match=assignment]", features=FEATURES[:, :4])
    assert np.isnan(found["all", "test"].value)
    assert "4 units for 6 neuroids" in found["all", "test"].reason
    assert np.isfinite(found["V4", "test"].value)  # three neuroids
    assert np.isfinite(scores_of("one_to_one", features=FEATURES[:, :4])["all", "test"].value)


@pytest.mark.parametrize("name", ENCODERS)
def test_folds_are_scored_on_what_they_hold_out(name):
    for fold in kfold(N, 3)[:1]:
        found = scores_of(name, split=fold)
        assert {key[1] for key in found} == {fold.test_name}
        assert found["all", fold.test_name].selection == "folds"
        assert np.isfinite(found["all", fold.test_name].value)


@pytest.mark.parametrize("name", ["PLS", "OLS", "one_to_one"])
def test_missing_responses_leave_the_stimulus_out_for_that_neuroid(name):
    responses = RESPONSES.copy()
    responses[[4, 7, 8], 1] = np.nan
    found = scores_of(name, responses=responses)
    score = found["all", "test"]
    assert np.isfinite(score.per_neuroid).all()
    assert score.n_per_neuroid.tolist() == [30, 29, 30, 30, 30, 30]
    if name != "PLS":  # whose neuroids share their components
        whole = scores_of(name)["all", "test"]
        np.testing.assert_allclose(
            np.delete(score.per_neuroid, 1), np.delete(whole.per_neuroid, 1), atol=1e-9
        )
    kept, test = np.setdiff1d(TRAIN, [4, 8]), np.setdiff1d(TEST, [7])
    if name == "OLS":
        model = LinearRegression().fit(FEATURES[kept], responses[kept, 1])
        expected = pearsonr(model.predict(FEATURES[test]), responses[test, 1]).statistic
        assert score.per_neuroid[1] == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("name", ENCODERS)
def test_constant_neuroids_and_silent_layers(name):
    responses = RESPONSES.copy()
    responses[:, 0] = 3.0
    score = scores_of(name, responses=responses)["all", "test"]
    assert np.isnan(score.per_neuroid[0])
    assert score.value == pytest.approx(np.mean(score.per_neuroid[1:]))
    assert "1 of 6 neuroids have no score" in score.reason
    for silent in (np.zeros((N, 5)), np.full((N, 300), 0.1)):
        for found in scores_of(name, features=silent).values():
            assert np.isnan(found.value)
            assert found.reason == "the layer's features are constant"


@pytest.mark.parametrize("name", ENCODERS)
def test_features_that_are_not_finite_give_nan_with_the_reason(name):
    features = FEATURES.copy()
    features[3, 5] = np.inf
    for found in scores_of(name, features=features).values():
        assert np.isnan(found.value)
        assert "1 of 8400 values are not finite" in found.reason


@pytest.mark.parametrize("name", ENCODERS)
def test_a_large_offset_and_small_types(name):
    features, responses = FEATURES[:, ::3], RESPONSES[:, :2]

    def found(changed, actual=responses):
        return scores_of(name, features=changed, responses=actual)["all", "test"].per_neuroid

    shifted = found(features + 1e4, responses + 1e4)
    np.testing.assert_allclose(shifted, found(features), atol=1e-5)
    for small in ((features * 3).clip(0, 255).astype(np.uint8), features.astype(np.float16)):
        np.testing.assert_allclose(found(small), found(small.astype(np.float64)), atol=1e-4)


@pytest.mark.parametrize("name", ENCODERS)
def test_few_stimuli_and_one_feature(name):
    few = scores_of(name, features=FEATURES[:6], responses=RESPONSES[:6])["all", "test"]
    assert np.isnan(few.value)
    assert "3 training stimuli; an encoding model needs 4" in few.reason
    one = scores_of(name, features=FEATURES[:, -1:])["all", "test"]
    expected = np.abs(pearson(np.repeat(FEATURES[TEST, -1:], V, axis=1), RESPONSES[TEST]))
    np.testing.assert_allclose(np.abs(one.per_neuroid), expected, atol=1e-6)


def test_score_types_share_one_fit_and_are_scikit_learns():
    layer = Representation.from_features(FEATURES)
    block, split = measured_of(RESPONSES), odd_even(N)
    found = {}
    for kind in ("pearsonr", "r2"):
        spec = parse_metric(f"OLS[score={kind}]")
        for score in spec.metric.compute(layer, block, split, **spec.options):
            found[kind, score.region, score.cv_split] = score
    assert sum(key[0] == "OLS" for key in layer.memo if isinstance(key, tuple)) == 1
    model = LinearRegression().fit(FEATURES[TRAIN], RESPONSES[TRAIN])
    expected = r2_score(RESPONSES[TEST], model.predict(FEATURES[TEST]), multioutput="raw_values")
    np.testing.assert_allclose(found["r2", "all", "test"].per_neuroid, expected, atol=1e-8)


def test_blocks_of_some_of_the_stimuli_use_their_own_rows():
    rows = np.arange(10, 50)
    block = Measured(
        positions=rows,
        responses=RESPONSES[rows],
        groups={("all", "one"): np.arange(V)},
        neuroid_ids=np.arange(V).astype(str),
    )
    layer = Representation.from_features(FEATURES)
    for name in ("PLS", "OLS", "one_to_one"):
        spec = parse_metric(name)
        found = [
            score.value for score in spec.metric.compute(layer, block, odd_even(40), **spec.options)
        ]
        alone = scores_of(name, features=FEATURES[rows], responses=RESPONSES[rows])
        expected = [alone["all", "train"].value, alone["all", "test"].value]
        np.testing.assert_allclose(found, expected, atol=1e-7)


@pytest.mark.parametrize("name", ENCODERS)
def test_they_share_the_ceilings_of_ereg_and_declarations(name):
    metric = METRICS[name]
    assert metric.ceiling is METRICS["eReg"].ceiling
    assert metric.normalise_neuroids is METRICS["eReg"].normalise_neuroids
    assert metric.ceiling_scale == "r2"


@pytest.mark.parametrize("name", ["PLS", "OLS", "one_to_one"])
def test_a_perfect_model_scores_its_ceiling(name):
    """The noise-free responses as features: normalised scores of 1, at two reliabilities."""
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(400, 12)) @ rng.normal(size=(12, 40))
    for reliability in (0.5, 0.8):
        noise = signal.std() * np.sqrt(4 * (1 - reliability) / reliability)
        repeats = signal[:, None] + noise * rng.normal(size=(400, 4, 40))
        spec = parse_metric(name)
        block = measured_of(repeats.mean(axis=1), repeats=repeats)
        layer = Representation.from_features(signal)
        scores = spec.metric.compute(layer, block, odd_even(400), **spec.options)
        score = next(s for s in scores if (s.region, s.cv_split) == ("all", "test"))
        part = next(p for g, p in spec.metric.parts(block, odd_even(400)) if p.cv_split == "test")
        ceiling = spec.metric.ceiling(block, ("all", "one"), part, spec.options, seed=0)
        assert spec.metric.normalise(score, ceiling, spec.options) == pytest.approx(1, abs=0.05)


def test_real_layers_and_neurons(data_folder):
    rates = np.load(data_folder / "macaque_v4" / "responses_210325.npy").T.astype(float)[:120]
    for name in ("PLS[components=5]", "OLS", "one_to_one"):
        found = scores_of(name, features=rates[:, :25], responses=rates[:, 25:31])
        assert 0 < found["all", "test"].value < 1
    model = LinearRegression().fit(rates[0:120:2, :25], rates[0:120:2, 25:31])
    expected = pearson(model.predict(rates[1:120:2, :25]), rates[1:120:2, 25:31])
    ols = scores_of("OLS", features=rates[:, :25], responses=rates[:, 25:31])
    np.testing.assert_allclose(ols["all", "test"].per_neuroid, expected, atol=1e-8)


def test_a_wide_layer_costs_stimuli_by_stimuli():
    wide = torch.randn(40, 50_000, generator=torch.Generator().manual_seed(0))
    layer = Representation.from_features(wide)
    assert layer_coordinates(layer).shape == (40, 39)
    found = scores_of("PLS[components=3]", features=wide, responses=RESPONSES[:40], layer=layer)
    assert np.isfinite(found["all", "test"].value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ENCODERS)
def test_on_cuda(name):
    here = scores_of(name, features=torch.from_numpy(FEATURES))
    there = scores_of(name, features=torch.from_numpy(FEATURES).cuda())
    for key, score in here.items():
        np.testing.assert_allclose(there[key].per_neuroid, score.per_neuroid, atol=1e-5)


@pytest.mark.parametrize("text", ENCODERS)
def test_a_group_that_is_nearly_all_there_is(text):
    """One other stimulus is nothing to learn from: an error came up in the middle of a run."""
    groups = np.zeros(N, dtype=int)
    groups[8] = 1
    found = scores_of(text, stimulus_groups=groups)["all", "test"]
    alone = scores_of(text)["all", "test"]
    if text in ("PLS", "OLS", "one_to_one"):  # without a penalty to choose on the folds
        assert found.value == pytest.approx(alone.value)
    assert np.isfinite(found.value)


def test_single_units_need_no_coordinates_of_the_layer():
    """Whether a wide layer is silent is seen without a Gram."""
    layer = Representation.from_features(FEATURES)
    scores_of("one_to_one", layer=layer)
    assert "coordinates" not in layer.memo
    for features, reason in (
        (np.full((N, P), 0.1), "features are constant"),
        (np.where(np.arange(P) == 3, np.nan, FEATURES), "60 of 8400 values are not finite"),
    ):
        for text in ("one_to_one", "lasso", "PLS"):
            score = scores_of(text, features)["all", "test"]
            assert np.isnan(score.value)
            assert reason in score.reason
