"""Options of eReg and eRSA (folds, kernels, one alpha for all), and `fit_encoding`."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.metrics.pairwise import pairwise_kernels
from sklearn.preprocessing import KernelCenterer

from isomorph.alignment import Measured, Representation, fit_encoding, parse_metric
from isomorph.alignment.encoding import score_neuroids
from isomorph.alignment.predictions import encoding_needs, inner_folds, ridge_predictions
from isomorph.encoding import pearson_r
from isomorph.extraction import FeaturesNeed, GramNeed
from isomorph.registry import UnknownNameError
from isomorph.resampling import Split, odd_even

RNG = np.random.default_rng(0)
N, P, V = 60, 90, 5
FEATURES = RNG.gamma(1.0, size=(N, P))
FEATURES[:, :20] *= np.logspace(-2, 2, 20)
RESPONSES = FEATURES @ RNG.normal(size=(P, V)) * 0.05 + RNG.normal(size=(N, V))
TRAIN, TEST = np.arange(0, N, 2), np.arange(1, N, 2)
GRID = np.logspace(-1, 5, 7)


def measured_of(responses: np.ndarray = RESPONSES, **more) -> Measured:
    n, v = responses.shape
    return Measured(
        positions=np.arange(n), responses=responses, groups={("V4", "one"): np.arange(v)}, **more
    )


def predicted(text: str, measured: Measured | None = None, features=FEATURES):
    spec = parse_metric(text)
    layer = Representation.from_features(features)
    chosen = measured or measured_of()
    return ridge_predictions(layer, chosen, odd_even(chosen.n_stimuli), spec.options)


def spread(rows: np.ndarray, scale: str) -> np.ndarray:
    variance = FEATURES[rows].var(axis=0)
    return {
        "none": np.ones(P),
        "standard": np.sqrt(variance),
        "floored": np.sqrt(variance + variance.mean()),
    }[scale]


def test_default_strings_stay() -> None:
    for name in ("eReg", "eRSA"):
        written = f"{name}[cv=loo,folds=contiguous,kernel=linear,alpha_per_target=true]"
        assert str(parse_metric(name)) == str(parse_metric(written)) == name
    text = "eReg[alpha_per_target=False,cv=kfold5,folds=shuffled]"
    assert str(parse_metric(text)) == str(parse_metric(str(parse_metric(text)))) == text


@pytest.mark.parametrize("scale", ["floored", "standard", "none"])
@pytest.mark.parametrize("criterion", ["squared_error", "pearson"])
def test_folds_equal_a_plain_loop_with_the_scaling_inside(scale: str, criterion: str) -> None:
    x = FEATURES[TRAIN] / spread(TRAIN, scale)
    grid = GRID / 5920 * ((x - x.mean(axis=0)) ** 2).sum(axis=1).mean()
    y = RESPONSES[TRAIN]
    table = np.full((7, 30, V), np.nan)
    for fold in np.array_split(np.arange(30), 5):
        rest = np.setdiff1d(np.arange(30), fold)
        inside = FEATURES / spread(TRAIN[rest], scale)
        for a, alpha in enumerate(grid):
            model = Ridge(alpha).fit(inside[TRAIN[rest]], y[rest])
            table[a, fold] = model.predict(inside[TRAIN[fold]])
    if criterion == "pearson":
        scores = np.array([pearson_r(one, y) for one in table])
    else:
        scores = -((table - y) ** 2).mean(axis=1)
    best = scores.argmax(axis=0)
    found = predicted(f"eReg[cv=kfold5,scale={scale},criterion={criterion}]")
    np.testing.assert_allclose(found.alphas, grid[best], rtol=1e-9)
    expected = np.take_along_axis(table, best[None, None], axis=0)[0]
    np.testing.assert_allclose(found.train, expected, atol=1e-7)
    for neuroid, alpha in enumerate(found.alphas):
        whole = FEATURES / spread(TRAIN, scale)
        model = Ridge(alpha).fit(whole[TRAIN], y[:, neuroid])
        np.testing.assert_allclose(found.test[:, neuroid], model.predict(whole[TEST]), atol=1e-7)
    np.testing.assert_array_equal(found.at_edge, np.isin(best, (0, 6)))


@pytest.mark.parametrize("kernel", ["rbf", "poly", "cosine"])
@pytest.mark.parametrize("cv", ["loo", "kfold3"])
def test_kernel_ridge_of_a_layer_equals_scikit_learns(kernel: str, cv: str) -> None:
    found = predicted(f"eReg[kernel={kernel},cv={cv},scale=none]")
    x = FEATURES - FEATURES[TRAIN].mean(axis=0)
    unit = (x[TRAIN] ** 2).sum(axis=1).mean()
    options = {} if kernel == "cosine" else {"gamma": 1 / unit}
    inner = pairwise_kernels(x[TRAIN], metric=kernel, **options)
    across = pairwise_kernels(x[TEST], x[TRAIN], metric=kernel, **options)
    centre, mean = KernelCenterer().fit(inner), RESPONSES[TRAIN].mean(axis=0)
    inner, across = centre.transform(inner), centre.transform(across)
    grid = GRID / 5920 * np.trace(inner) / 30
    assert np.isclose(found.alphas[:, None], grid).any(axis=1).all()
    model = KernelRidge(alpha=found.alphas, kernel="precomputed").fit(
        inner, RESPONSES[TRAIN] - mean
    )
    np.testing.assert_allclose(found.test, model.predict(across) + mean, atol=1e-7)


def test_one_alpha_for_all_neuroids() -> None:
    found = predicted("eReg[alpha_per_target=False,scale=none]")
    x = FEATURES[TRAIN] - FEATURES[TRAIN].mean(axis=0)
    grid = GRID / 5920 * (x**2).sum(axis=1).mean()
    model = RidgeCV(grid, alpha_per_target=False).fit(FEATURES[TRAIN], RESPONSES[TRAIN])
    np.testing.assert_allclose(found.alphas, model.alpha_)
    np.testing.assert_allclose(found.test, model.predict(FEATURES[TEST]), atol=1e-8)


def test_groups_stay_whole_and_shuffling_needs_the_word() -> None:
    groups = np.repeat(np.arange(12), 5)[RNG.permutation(60)]
    rows = np.arange(0, 60, 2)
    for folds in ("contiguous", "grouped"):
        for fold in inner_folds(rows, "kfold4", folds, groups):
            rest = np.setdiff1d(np.arange(30), fold)
            assert not set(groups[rows[fold]]) & set(groups[rows[rest]])
    assert [fold.tolist() for fold in inner_folds(rows[:6], "kfold3", "contiguous")] == [
        [0, 1],
        [2, 3],
        [4, 5],
    ]
    shuffled = inner_folds(rows, "kfold4", "shuffled", groups)
    assert any(np.ptp(fold) > len(fold) for fold in shuffled)
    again = inner_folds(rows, "kfold4", "shuffled", groups)
    assert all((one == other).all() for one, other in zip(shuffled, again, strict=True))
    assert any(
        set(groups[rows[fold]]) & set(groups[rows[np.setdiff1d(np.arange(30), fold)]])
        for fold in shuffled
    )


def test_groups_of_the_stimuli_reach_the_folds() -> None:
    """Each image has five captions: responses are the image's, features the caption's."""
    image = np.repeat(np.arange(12), 5)
    features = RNG.normal(size=(12, 40))[image] + 0.1 * RNG.normal(size=(60, 40))
    responses = RNG.normal(size=(12, V))[image] + 0.1 * RNG.normal(size=(60, V))
    measured = measured_of(responses, stimulus_groups=image)
    whole = predicted("eReg[cv=kfold4,folds=grouped]", measured, features)
    leaky = predicted("eReg[cv=kfold4,folds=shuffled]", measured, features)
    actual = responses[TRAIN]
    assert pearson_r(leaky.train, actual).mean() > 0.9
    assert pearson_r(whole.train, actual).mean() < 0.5
    same = predicted("eReg[cv=kfold4]", measured, features)
    np.testing.assert_array_equal(same.train, whole.train)
    with pytest.raises(ValueError, match="folds=grouped: expected stimuli that come in groups"):
        predicted("eReg[cv=kfold4,folds=grouped]")
    with pytest.raises(ValueError, match=r"expected between 2 and 12 folds \(12 groups\), got 13"):
        predicted("eReg[cv=kfold13]", measured, features)


def test_the_benchmarks_groups_reach_the_metric() -> None:
    from isomorph.benchmarks import make_benchmark
    from isomorph.scoring.measure import measure
    from isomorph.stimuli import procedural_images

    stimuli = procedural_images(10, seed=0).with_groups(list("aabbccddee"))
    block, *_ = measure(make_benchmark(RNG.normal(size=(10, 3)), stimuli))
    assert block.stimulus_groups.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_missing_responses_and_projections_have_folds_too() -> None:
    responses = RESPONSES.copy()
    responses[TRAIN[3], 0] = np.nan
    found = predicted("eReg[cv=kfold5]", measured_of(responses))
    assert np.isnan(found.train[3, 0])
    assert np.isfinite(found.train[:, 1:]).all()
    np.testing.assert_allclose(
        found.train[:, 1:], predicted("eReg[cv=kfold5]").train[:, 1:], atol=1e-9
    )
    projected = predicted("eReg[cv=kfold3,projection=srp]")
    assert np.isfinite(projected.test).all()


def test_needs_follow_the_options() -> None:
    def needs(text: str):
        return encoding_needs(N, TRAIN, parse_metric(text).options)

    assert [type(need) for need in needs("eReg")] == [GramNeed]
    assert [type(need) for need in needs("eReg[cv=kfold5,scale=none]")] == [GramNeed]
    assert FeaturesNeed() in needs("eReg[cv=kfold5]")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("eReg[cv=kfold1]", "kfold with a number of folds of 2 or more"),
        ("eReg[cv=five]", "expected loo, or kfold"),
        ("eReg[folds=shuffled]", "Add cv=kfold5, or leave folds out"),
        ("eReg[gamma=2]", "gamma belongs to kernel=poly, rbf or sigmoid"),
        ("eReg[kernel=rbf,gamma=-1]", "expected a number above 0"),
        ("eReg[alpha_per_target=maybe]", "expected true or false"),
        ("eReg[preset=published,cv=kfold5]", "preset=published means cv=loo"),
        ("eReg[preset=published,kernel=rbf]", "preset=published means kernel=linear"),
    ],
)
def test_options_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_metric(text)


def test_unknown_words_get_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'shuffled'"):
        parse_metric("eReg[cv=kfold5,folds=shuffle]")


@pytest.mark.parametrize("p", [20, 90])
def test_two_arrays_in_two_lines(p: int) -> None:
    fit = fit_encoding(FEATURES[:, :p], RESPONSES)
    spec = parse_metric("eReg")
    layer = Representation.from_features(FEATURES[:, :p])
    rows = list(spec.metric.compute(layer, measured_of(), odd_even(N), **spec.options))
    by_part = {row.cv_split: row for row in rows}
    np.testing.assert_allclose(fit.scores, by_part["test"].per_neuroid, atol=1e-8)
    np.testing.assert_allclose(fit.cv_scores, by_part["train"].per_neuroid, atol=1e-8)
    np.testing.assert_allclose(fit.alphas, by_part["test"].alphas, rtol=1e-8)
    weights = fit.weights()
    assert weights.shape == (p, V)
    np.testing.assert_allclose(
        FEATURES[TEST][:, :p] @ weights + fit.intercept(), fit.predictions, atol=1e-8
    )
    np.testing.assert_allclose(fit.weights([2]), weights[:, [2]], atol=1e-12)
    np.testing.assert_allclose(fit.predict(FEATURES[TEST][:, :p]), fit.predictions, atol=1e-8)
    assert fit.edge_share == by_part["test"].alpha_at_edge


@pytest.mark.parametrize("cv", ["loo", "kfold5"])
def test_fit_encoding_and_the_metric_choose_alike(cv: str) -> None:
    options = {"cv": cv, "criterion": "pearson", "scale": "standard"}
    inside = ",".join(f"{name}={value}" for name, value in options.items())
    expected = predicted(f"eReg[{inside},alphas=0.1|10|1000]")
    fit = fit_encoding(FEATURES, RESPONSES, alphas=[0.1, 10, 1000], **options)
    np.testing.assert_allclose(fit.predictions, expected.test, atol=1e-7)
    np.testing.assert_allclose(fit.cv_predictions, expected.train, atol=1e-7)


def test_fit_encoding_of_repeats_groups_splits_and_tensors() -> None:
    repeats = np.stack([RESPONSES + 1, RESPONSES - 1], axis=1)
    plain = fit_encoding(FEATURES, RESPONSES)
    np.testing.assert_allclose(fit_encoding(FEATURES, repeats).predictions, plain.predictions)
    tensors = fit_encoding(torch.from_numpy(FEATURES), torch.from_numpy(RESPONSES))
    np.testing.assert_array_equal(tensors.predictions, plain.predictions)
    split = Split(np.arange(40), np.arange(40, 60))
    one = fit_encoding(FEATURES, RESPONSES, split=split)
    other = fit_encoding(FEATURES, RESPONSES, split=(range(40), range(40, 60)))
    np.testing.assert_array_equal(one.predictions, other.predictions)
    names = np.repeat([f"clip{i}" for i in range(12)], 5)
    grouped = fit_encoding(FEATURES, RESPONSES, cv="kfold4", folds="grouped", groups=names)
    assert np.isfinite(grouped.scores).all()
    constant = np.hstack([RESPONSES, np.ones((N, 1))])
    assert np.isnan(fit_encoding(FEATURES, constant).scores).tolist() == [False] * V + [True]


def test_a_score_of_pearson_r_is_pearson_r() -> None:
    """BBScore's "pearson" is 2r / (1 + r): .30 becomes .46 there, −.90 becomes −18."""
    fit = fit_encoding(FEATURES, RESPONSES)
    for neuroid in range(V):
        r = pearsonr(fit.predictions[:, neuroid], RESPONSES[TEST, neuroid]).statistic
        assert fit.scores[neuroid] == pytest.approx(r, abs=1e-12)
    noise = np.random.default_rng(1).normal(size=(N, 200))
    scores = fit_encoding(RNG.normal(size=(N, P)), noise).scores
    assert scores.min() >= -1
    assert abs(np.mean(scores)) < 0.05  # not biased down, as 2r / (1 + r) is


def test_there_is_an_intercept() -> None:
    """LITcoder fits without one, so that a constant added to the responses changes its scores."""
    plain = fit_encoding(FEATURES, RESPONSES)
    moved = fit_encoding(FEATURES + 100, RESPONSES + 1000)
    np.testing.assert_allclose(moved.predictions - 1000, plain.predictions, atol=1e-6)
    np.testing.assert_allclose(moved.scores, plain.scores, atol=1e-8)


def test_predictions_are_never_written_to() -> None:
    """himalaya overwrites NaN with 0 in the caller's predictions while it scores them."""
    features, responses = FEATURES.copy(), RESPONSES.copy()
    features.flags.writeable = responses.flags.writeable = False
    fit_encoding(features, responses)
    np.testing.assert_array_equal(features, FEATURES)
    np.testing.assert_array_equal(responses, RESPONSES)
    with_nan = np.where(np.arange(N)[:, None] == 3, np.nan, RESPONSES)
    before = with_nan.copy()
    scores = pearson_r(with_nan, RESPONSES)
    assert np.isnan(scores).all()
    np.testing.assert_array_equal(with_nan, before)


def test_errors_of_fit_encoding() -> None:
    with pytest.raises(ValueError, match=r"responses of shape \(60, n_neuroids\)"):
        fit_encoding(FEATURES, RESPONSES[:50])
    with pytest.raises(ValueError, match="one group for each of the 60 stimuli, got 3"):
        fit_encoding(FEATURES, RESPONSES, cv="kfold5", groups=[1, 2, 3])
    with pytest.raises(ValueError, match="not finite"):
        fit_encoding(FEATURES, np.full((N, 2), np.nan))
    with pytest.raises(ValueError, match="between 2 and 30 folds"):
        fit_encoding(FEATURES, RESPONSES, cv="kfold31")
    with pytest.raises(ValueError, match="expected loo, or kfold"):
        fit_encoding(FEATURES, RESPONSES, cv="ten")
    for cv in ("loo", "kfold5"):
        with pytest.raises(UnknownNameError, match="Did you mean 'shuffled'"):
            fit_encoding(FEATURES, RESPONSES, cv=cv, folds="shufled")
    for unused in ({"folds": "grouped"}, {"groups": np.arange(N) // 2}):
        with pytest.raises(ValueError, match="but cv='loo' was asked"):
            fit_encoding(FEATURES, RESPONSES, **unused)
    with pytest.raises(ValueError, match=r"positive and increase.*got \[2.0, 1.0\]"):
        fit_encoding(FEATURES, RESPONSES, alphas=[2, 1])


def test_neuroids_that_miss_stimuli_are_scored_on_the_others() -> None:
    rng = np.random.default_rng(0)
    predicted, actual = rng.normal(size=(2, 20, 30))
    actual[rng.random((20, 30)) < 0.1] = np.nan
    actual[:, 4:20] = np.where(np.arange(20)[:, None] < 3, np.nan, rng.normal(size=(20, 16)))
    actual[2:, 7] = np.nan
    predicted[:, 9] = np.nan
    found = score_neuroids(predicted, actual, "pearsonr")
    for column in range(30):
        rows = np.isfinite(actual[:, column]) & np.isfinite(predicted[:, column])
        if column in (7, 9):
            assert np.isnan(found[column])
        else:
            r = pearsonr(predicted[rows, column], actual[rows, column]).statistic
            assert found[column] == pytest.approx(r, abs=1e-12)


def test_real_neurons(data_folder: Path) -> None:
    responses = np.load(data_folder / "macaque_v4" / "responses_210325.npy").T[:160].astype(float)
    x, y = responses[:, :30], responses[:, 30:]
    fit = fit_encoding(x, y, scale="none")
    centred = x[::2] - x[::2].mean(axis=0)
    grid = GRID / 5920 * (centred**2).sum(axis=1).mean()
    model = RidgeCV(grid, alpha_per_target=True).fit(x[::2], y[::2])
    np.testing.assert_allclose(fit.alphas, model.alpha_)
    np.testing.assert_allclose(fit.predictions, model.predict(x[1::2]), rtol=1e-8)
    np.testing.assert_allclose(fit.weights(), model.coef_.T, atol=1e-9)
