"""Every RDM method against scipy, rsatoolbox and loops written from the definitions."""

# The peers' annotations are not to be relied on.
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rsatoolbox.data import Dataset
from rsatoolbox.rdm import calc_rdm
from rsatoolbox.rdm.calc_unbalanced import calc_rdm_unbalanced
from scipy.spatial.distance import pdist, squareform
from scipy.stats import rankdata, spearmanr

from isomorph.geometry import (
    RDM_METHODS,
    NonFiniteError,
    UndefinedRDMError,
    check_rdm,
    compute_rdm,
    grams,
    noise_covariance,
    rdm_from_gram,
    rdm_method,
    square,
    upper_triangle,
)
from isomorph.geometry.rdms.methods import average_ranks, without_rounding
from isomorph.registry import UnknownNameError

N, R, P = 9, 4, 13
RNG = np.random.default_rng(0)
FEATURES = RNG.gamma(2.0, size=(N, P)).round(1)  # rounded: ranks have ties; and rates
REPEATS = FEATURES[:, None] + RNG.gamma(1.0, size=(N, R, P))
_ROOT = RNG.normal(size=(P, 3 * P))
COVARIANCE = _ROOT @ _ROOT.T / (3 * P)
PRECISION = np.linalg.inv(COVARIANCE)
NEEDS_REPEATS = [name for name, entry in RDM_METHODS.items() if entry.needs == "repeats"]
NEEDS_NOISE = [name for name, entry in RDM_METHODS.items() if entry.noise == "required"]
OF_FEATURES = [name for name in RDM_METHODS if name not in NEEDS_REPEATS]


def gaussian(features: np.ndarray) -> np.ndarray:
    distances = pdist(features)
    return 1 - np.exp(-(distances**2) / (2 * np.median(distances) ** 2))


def poisson(features: np.ndarray, prior_lambda: float = 1.0, weight: float = 0.1) -> np.ndarray:
    rates = (features + prior_lambda * weight) / (1 + weight)
    return np.array(
        [
            sum((a - b) * (np.log(a) - np.log(b)) for a, b in zip(rates[i], rates[j], strict=True))
            for i in range(len(rates))
            for j in range(i + 1, len(rates))
        ]
    )


ORACLES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "pearson": lambda x: pdist(x, "correlation"),
    "cosine": lambda x: pdist(x, "cosine"),
    "euclidean": lambda x: pdist(x, "euclidean"),
    "sqeuclidean": lambda x: pdist(x, "sqeuclidean"),
    "spearman": lambda x: pdist(np.apply_along_axis(rankdata, 1, x), "correlation"),
    "cityblock": lambda x: pdist(x, "cityblock"),
    "gaussian": gaussian,
    "poisson": poisson,
    "mahalanobis": lambda x: pdist(x, "mahalanobis", VI=PRECISION),
    "sqmahalanobis": lambda x: pdist(x, "mahalanobis", VI=PRECISION) ** 2,
}


def rdm_of(features: np.ndarray | torch.Tensor, method: str, **options) -> np.ndarray:
    """With the repeats or the noise that a method needs."""
    if method in NEEDS_NOISE:
        options.setdefault("noise", {"covariance": COVARIANCE})
    return compute_rdm(features, method, **options)


@pytest.mark.parametrize("method", OF_FEATURES)
@pytest.mark.parametrize("shape", [(N, P), (40, P), (2, P)])
def test_features_equal_the_oracle(method: str, shape: tuple[int, int]) -> None:
    features = np.random.default_rng(1).gamma(2.0, size=shape).round(1)
    before = features.copy()
    rdm = rdm_of(features, method)
    np.testing.assert_allclose(upper_triangle(rdm), ORACLES[method](features), rtol=1e-9)
    np.testing.assert_array_equal(rdm, rdm.T)
    assert rdm.dtype == np.float64
    assert not rdm.diagonal().any()
    np.testing.assert_array_equal(features, before)


def test_every_method_has_an_oracle_here() -> None:
    assert set(ORACLES) | set(NEEDS_REPEATS) == set(RDM_METHODS)
    for entry in RDM_METHODS.values():
        assert entry.summary.endswith(".")
        assert any(letter.isdigit() for letter in entry.reference)


@pytest.mark.parametrize("method", [m for m in OF_FEATURES if m not in NEEDS_NOISE])
def test_real_responses(method: str, data_folder: Path) -> None:
    responses = np.load(data_folder / "macaque_v4" / "responses_210325.npy").T[:60]
    embedding = np.load(data_folder / "things_vice" / "things_embedding.npy")[:60].astype("f8")
    for features in (responses, np.maximum(embedding, 0)):
        found = upper_triangle(compute_rdm(features, method))
        np.testing.assert_allclose(found, ORACLES[method](features), rtol=1e-8)
        single = upper_triangle(compute_rdm(features.astype("f4"), method))
        expected = ORACLES[method](features.astype("f4").astype("f8"))
        np.testing.assert_allclose(single, expected, rtol=2e-5)


@pytest.mark.parametrize("method", ["spearman", "cityblock", "gaussian", "poisson"])
@pytest.mark.parametrize("dtype", ["u1", "f2", "i4"])
def test_small_types_do_not_overflow(method: str, dtype: str) -> None:
    """rsatoolbox on uint8 overflows, and gives NaN on float16 (190.9 for 10763.7)."""
    features = RNG.integers(0, 255, size=(8, 900)).astype(dtype)
    expected = ORACLES[method](features.astype("f8"))
    np.testing.assert_allclose(upper_triangle(compute_rdm(features, method)), expected, rtol=1e-5)


@pytest.mark.parametrize("method", ["spearman", "cityblock", "gaussian", "sqmahalanobis"])
def test_a_large_offset_costs_no_digits(method: str) -> None:
    """rsatoolbox's Gram of float32 cancels (1.79 for 1.96 at an offset of 1000)."""
    features = np.random.default_rng(2).normal(size=(N, P))
    moved = rdm_of(features + 1e4, method)
    np.testing.assert_allclose(moved, rdm_of(features, method), rtol=1e-6)
    single = (features + 1e4).astype("f4")
    expected = square(ORACLES[method](single.astype("f8")))
    np.testing.assert_allclose(rdm_of(single, method), expected, rtol=1e-4)


@pytest.mark.parametrize("method", OF_FEATURES)
def test_edge_shapes(method: str) -> None:
    noise = {"covariance": np.eye(1)} if method in NEEDS_NOISE else None
    one = compute_rdm(np.array([[1.0], [2.0], [4.0]]), method, noise=noise)
    if method in ("pearson", "spearman"):
        assert np.isnan(upper_triangle(one)).all()
    elif method == "cosine":
        np.testing.assert_allclose(one, 0, atol=1e-15)
    else:
        assert (upper_triangle(one) > 0).all()
    wide = np.random.default_rng(3).gamma(2.0, size=(3, 5000))
    if method not in NEEDS_NOISE:
        np.testing.assert_allclose(
            upper_triangle(compute_rdm(wide, method)), ORACLES[method](wide), rtol=1e-9
        )
        np.testing.assert_allclose(
            compute_rdm(torch.from_numpy(wide.reshape(3, 50, 100)), method),
            compute_rdm(wide, method),
        )
    for bad in (np.nan, np.inf):
        features = FEATURES.copy()
        features[2, 3] = bad
        with pytest.raises((NonFiniteError, UndefinedRDMError), match="not finite"):
            rdm_of(features, method)


@pytest.mark.parametrize("method", OF_FEATURES)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_same_features_have_a_dissimilarity_of_zero(method: str, dtype: str) -> None:
    features = FEATURES.astype(dtype)
    features = np.concatenate([features, features[[0, 3, 3]]])
    kinds = np.array([*range(N), 0, 3, 3])
    rdm = rdm_of(features, method)
    same = kinds[:, None] == kinds
    assert not rdm[same].any()
    assert (rdm[~same] > 0).all()


def test_constant_rows_are_nan_where_there_is_no_pattern() -> None:
    features = FEATURES.copy()
    features[2], features[5] = 3.0, 0.0
    for method in OF_FEATURES:
        undefined = {"pearson": [2, 5], "spearman": [2, 5], "cosine": [5]}.get(method, [])
        rdm = rdm_of(features, method)
        expected = np.zeros((N, N), dtype=bool)
        expected[undefined] = expected[:, undefined] = True
        np.fill_diagonal(expected, False)
        np.testing.assert_array_equal(np.isnan(rdm), expected)


def test_spearman_equals_scipys_own_and_ranks_are_averaged() -> None:
    ours = 1 - compute_rdm(FEATURES, "spearman")
    np.testing.assert_allclose(ours, spearmanr(FEATURES, axis=1).statistic, atol=1e-12)
    rows = torch.from_numpy(RNG.integers(0, 4, size=(5, 50)).astype("f8"))
    for values in (rows, rows * 0, torch.arange(50.0).flip(0)[None].repeat(2, 1)):
        expected = np.apply_along_axis(rankdata, 1, values.numpy())
        np.testing.assert_array_equal(average_ranks(values), expected)
    # Rows are ranked a few at a time.
    wide = RNG.normal(size=(30, 300_000)).astype("f4")[:, ::100]
    rdm = compute_rdm(wide, "spearman")
    np.testing.assert_allclose(1 - rdm, spearmanr(wide, axis=1).statistic, atol=1e-6)


def test_correlation_is_another_name_of_pearson() -> None:
    np.testing.assert_array_equal(compute_rdm(FEATURES, "correlation"), compute_rdm(FEATURES))
    assert rdm_method("correlation") is RDM_METHODS["pearson"]


def test_gaussian_takes_a_sigma() -> None:
    expected = 1 - np.exp(-pdist(FEATURES, "sqeuclidean") / (2 * 0.7**2))
    for rdm in (
        compute_rdm(FEATURES, "gaussian", sigma=0.7),
        rdm_from_gram(grams(FEATURES)[0], "gaussian", sigma=0.7),
    ):
        np.testing.assert_allclose(upper_triangle(rdm), expected, rtol=1e-10)
    # Tiny dissimilarities keep their digits, and what has no scale has no RDM.
    tiny = compute_rdm(FEATURES, "gaussian", sigma=1e9)
    np.testing.assert_allclose(
        upper_triangle(tiny), pdist(FEATURES, "sqeuclidean") / 2e18, rtol=1e-9
    )
    assert np.isnan(upper_triangle(compute_rdm(np.ones((4, 3)), "gaussian"))).all()
    with pytest.raises(ValueError, match="sigma above 0"):
        compute_rdm(FEATURES, "gaussian", sigma=0)


def test_a_gram_gives_the_methods_that_follow_from_it() -> None:
    [gram] = grams(FEATURES)
    np.testing.assert_array_equal(compute_rdm(gram, "cosine"), compute_rdm(FEATURES, "cosine"))
    with pytest.raises(ValueError, match="'cityblock' does not follow from a Gram; pearson"):
        compute_rdm(gram, "cityblock")
    with pytest.raises(ValueError, match="a function needs the features, got a Gram"):
        compute_rdm(gram, lambda x: x @ x.T)


def test_any_function_of_the_features() -> None:
    def chebyshev(features: np.ndarray) -> np.ndarray:
        return squareform(pdist(features, "chebyshev"))

    np.testing.assert_array_equal(
        compute_rdm(torch.from_numpy(FEATURES), chebyshev), chebyshev(FEATURES)
    )
    with pytest.raises(ValueError, match=r"a square RDM \(9, 9\), got shape \(36,\)"):
        compute_rdm(FEATURES, lambda x: pdist(x))
    with pytest.raises(ValueError, match="the function's RDM: expected a symmetric RDM"):
        compute_rdm(FEATURES, lambda x: np.triu(chebyshev(x)))
    with pytest.raises(ValueError, match="zero diagonal, got 1 on it. Is it a similarity"):
        compute_rdm(FEATURES, np.corrcoef)
    with pytest.raises(ValueError, match="no other option"):
        compute_rdm(FEATURES, chebyshev, per_feature=True)


# What rsatoolbox divides by the number of channels, and never roots.
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("euclidean", "sqeuclidean"),
        ("correlation", "pearson"),
        ("mahalanobis", "sqmahalanobis"),
        ("poisson", "poisson"),
    ],
)
def test_rsatoolbox_agrees_per_feature(theirs: str, ours: str) -> None:
    noise = PRECISION if theirs == "mahalanobis" else None
    expected = calc_rdm(Dataset(FEATURES), method=theirs, noise=noise).get_vectors()[0]
    given = {"noise": {"precision": PRECISION}} if noise is not None else {}
    per_feature = RDM_METHODS[ours].per_feature is not None
    found = compute_rdm(FEATURES, ours, per_feature=per_feature, **given)
    np.testing.assert_allclose(upper_triangle(found), expected, rtol=1e-10)
    if per_feature:
        raw = compute_rdm(FEATURES, ours, **given)
        np.testing.assert_allclose(raw, found * P, rtol=1e-12)


@pytest.mark.parametrize("method", [m for m, e in RDM_METHODS.items() if e.per_feature is not None])
def test_per_feature_is_the_mean_over_features(method: str) -> None:
    data = REPEATS if method in NEEDS_REPEATS else FEATURES
    once = rdm_of(data, method, per_feature=True)
    noise = (
        {"noise": {"covariance": np.kron(np.eye(2), COVARIANCE)}} if method in NEEDS_NOISE else {}
    )
    twice = rdm_of(np.concatenate([data, data], axis=-1), method, per_feature=True, **noise)
    np.testing.assert_allclose(once, twice, rtol=1e-9, atol=1e-12)


def test_mahalanobis_without_noise_is_an_error() -> None:
    """rsatoolbox 0.3.2 silently gives the Euclidean distance (recent_peers C19)."""
    silent = calc_rdm(Dataset(FEATURES), method="mahalanobis").get_vectors()
    np.testing.assert_array_equal(silent, calc_rdm(Dataset(FEATURES)).get_vectors())
    for method in NEEDS_NOISE:
        with pytest.raises(ValueError, match=f"'{method}' needs the noise, got none"):
            compute_rdm(FEATURES, method)


def test_noise_must_be_told_apart_and_have_a_part_in_the_method() -> None:
    with pytest.raises(ValueError, match="got ndarray: say noise={'covariance': array}"):
        compute_rdm(FEATURES, "mahalanobis", noise=COVARIANCE)
    with pytest.raises(ValueError, match="noise= has a part in mahalanobis, sqmahalanobis"):
        compute_rdm(FEATURES, "pearson", noise={"covariance": COVARIANCE})
    with pytest.raises(UnknownNameError, match="unknown kind of noise 'covariances'. Did you mean"):
        compute_rdm(FEATURES, "mahalanobis", noise={"covariances": COVARIANCE})
    with pytest.raises(UnknownNameError, match="unknown noise method 'shrinkage'"):
        compute_rdm(REPEATS, "crossnobis", noise="shrinkage")
    with pytest.raises(ValueError, match=r"repeats \(n_stimuli, n_repetitions, n_features\)"):
        compute_rdm(FEATURES, "mahalanobis", noise="shrinkage_diag")
    with pytest.raises(ValueError, match="covariance of 13 features, got 2"):
        compute_rdm(FEATURES, "mahalanobis", noise={"covariance": np.eye(2)})
    with pytest.raises(ValueError, match="'residuals': …}: expected 2 axes"):
        compute_rdm(FEATURES, "mahalanobis", noise={"residuals": REPEATS})
    found = compute_rdm(REPEATS, "mahalanobis", noise="shrinkage_diag")
    expected = compute_rdm(REPEATS.mean(axis=1), "mahalanobis", noise={"repeats": REPEATS})
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_options_that_a_method_does_not_have() -> None:
    with pytest.raises(UnknownNameError, match="unknown option of gaussian 'sigm'. Did you mean"):
        compute_rdm(FEATURES, "gaussian", sigm=1)
    with pytest.raises(UnknownNameError, match="unknown option of pearson 'sigma'"):
        compute_rdm(FEATURES, "pearson", sigma=1)
    with pytest.raises(ValueError, match="got 'gaussian', which is not a sum over the features"):
        compute_rdm(FEATURES, "gaussian", per_feature=True)


def test_poisson_compares_rates() -> None:
    for prior in ((2.0, 0.5), (1.0, 0.0)):
        features = FEATURES + 0.1
        found = compute_rdm(features, "poisson", prior_lambda=prior[0], prior_weight=prior[1])
        np.testing.assert_allclose(upper_triangle(found), poisson(features, *prior), rtol=1e-10)
    for data, method in ((FEATURES, "poisson"), (REPEATS, "poisson_cv")):
        low = data.copy()
        low.flat[7] = -1
        with pytest.raises(UndefinedRDMError, match="1 of .* values are negative"):
            compute_rdm(low, method)
        low.flat[7] = 0
        assert np.isfinite(compute_rdm(low, method)).all()
        with pytest.raises(UndefinedRDMError, match="rates of zero have no logarithm"):
            compute_rdm(low, method, prior_weight=0)
        with pytest.raises(ValueError, match="prior_lambda above 0"):
            compute_rdm(data, method, prior_lambda=0)


def dataset(repeats: np.ndarray) -> Dataset:
    """rsatoolbox's form: a row for each repeat that is there."""
    rows = [
        (f"c{i:02}", f"r{r}", repeats[i, r])
        for i in range(len(repeats))
        for r in range(repeats.shape[1])
        if not np.isnan(repeats[i, r]).any()
    ]
    conditions, folds, values = zip(*rows, strict=True)
    return Dataset(np.array(values), obs_descriptors={"c": list(conditions), "r": list(folds)})


def crossnobis(repeats: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """The definition: three means over ordered pairs of different repeats."""
    n, r = repeats.shape[:2]
    there = ~np.isnan(repeats).any(axis=2)

    def mean(i: int, j: int) -> float:
        found = [
            repeats[i, f] @ precision @ repeats[j, g]
            for f in range(r)
            for g in range(r)
            if f != g and there[i, f] and there[j, g]
        ]
        return float(np.mean(found)) if found else np.nan

    return np.array(
        [mean(i, i) + mean(j, j) - 2 * mean(i, j) for i in range(n) for j in range(i + 1, n)]
    )


@pytest.mark.parametrize("noise", [None, PRECISION])
@pytest.mark.parametrize("r", [2, 4])
def test_crossnobis_equals_rsatoolbox_and_its_definition(noise, r: int) -> None:
    repeats = REPEATS[:, :r]
    given = None if noise is None else {"precision": noise}
    found = upper_triangle(compute_rdm(repeats, "crossnobis", noise=given))
    data = dataset(repeats)
    theirs = calc_rdm(data, method="crossnobis", descriptor="c", noise=noise, cv_descriptor="r")
    np.testing.assert_allclose(found / P, theirs.get_vectors()[0], rtol=1e-10)
    expected = crossnobis(repeats, np.eye(P) if noise is None else noise)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_crossnobis_is_unbiased_and_may_be_negative() -> None:
    """Of pure noise: zero on average, which a distance of means is not; never clipped."""
    noise = np.random.default_rng(5).normal(size=(40, 3, 50))
    found = upper_triangle(compute_rdm(noise, "crossnobis", per_feature=True))
    assert (found < 0).mean() > 0.3
    assert abs(found.mean()) < 0.03
    plain = compute_rdm(noise.mean(axis=1), "sqeuclidean", per_feature=True)
    assert upper_triangle(plain).mean() > 0.6


def test_repeats_that_are_missing() -> None:
    repeats = REPEATS.copy()
    repeats[0, 3] = repeats[4, 0] = repeats[4, 2] = np.nan
    repeats[7, 1, 5] = np.nan  # one feature: the repeat counts as missing
    before = repeats.copy()
    found = compute_rdm(repeats, "crossnobis", noise={"precision": PRECISION})
    np.testing.assert_array_equal(repeats, before)
    # The features' mean is subtracted first, so that a common offset does no harm.
    present = ~np.isnan(repeats).any(axis=2)
    centred = repeats - repeats[present].mean(axis=0)
    np.testing.assert_allclose(upper_triangle(found), crossnobis(centred, PRECISION), rtol=1e-9)
    theirs = calc_rdm_unbalanced(
        dataset(centred), method="crossnobis", descriptor="c", noise=PRECISION, cv_descriptor="r"
    )
    np.testing.assert_allclose(upper_triangle(found) / P, theirs.get_vectors()[0], rtol=1e-9)
    moved = compute_rdm(repeats + 1e4, "crossnobis", noise={"precision": PRECISION})
    np.testing.assert_allclose(moved, found, rtol=1e-6)


@pytest.mark.parametrize("method", NEEDS_REPEATS)
def test_too_few_repeats(method: str) -> None:
    repeats = REPEATS.copy()
    repeats[2, 1:] = np.nan
    rdm = compute_rdm(repeats, method)
    others = np.delete(np.arange(N), 2)
    assert np.isnan(rdm[2, others]).all()
    assert np.isfinite(rdm[np.ix_(others, others)]).all()
    assert rdm[2, 2] == 0
    expected = compute_rdm(repeats[others], method)
    if method == "poisson_cv":
        np.testing.assert_allclose(rdm[np.ix_(others, others)], expected, rtol=1e-9)
    with pytest.raises(UndefinedRDMError, match="two or more of some stimulus, got 9 stimuli"):
        compute_rdm(REPEATS[:, :1], method)
    with pytest.raises(ValueError, match=r"got shape \(9, 13\).*single repeats, not their mean"):
        compute_rdm(FEATURES, method)
    repeats[0, 0, 0] = np.inf
    with pytest.raises(ValueError, match="1 values are infinite. Mark missing repeats with NaN"):
        compute_rdm(repeats, method)


def poisson_cv(repeats: np.ndarray) -> np.ndarray:
    """The definition, over all folds that both stimuli have."""
    n, r = repeats.shape[:2]
    there = ~np.isnan(repeats).any(axis=2)
    found = []
    for i in range(n):
        for j in range(i + 1, n):
            folds = []
            for f in range(r):
                if not (there[i, f] and there[j, f]):
                    continue
                rest = [[g for g in range(r) if g != f and there[k, g]] for k in (i, j)]
                train = [repeats[k, g].mean(axis=0) for k, g in zip((i, j), rest, strict=True)]
                train = [(x + 0.1) / 1.1 for x in train]
                test = [np.log((repeats[k, f] + 0.1) / 1.1) for k in (i, j)]
                folds.append((train[0] - train[1]) @ (test[0] - test[1]))
            found.append(np.mean(folds))
    return np.array(found)


def test_poisson_cv_averages_all_folds() -> None:
    """rsatoolbox overwrites the RDM in its loop and returns the last fold alone."""
    found = upper_triangle(compute_rdm(REPEATS, "poisson_cv"))
    np.testing.assert_allclose(found, poisson_cv(REPEATS), rtol=1e-9)
    theirs = [
        calc_rdm(
            dataset(REPEATS[:, order]), method="poisson_cv", descriptor="c", cv_descriptor="r"
        ).get_vectors()[0]
        for order in ([0, 1, 2, 3], [3, 1, 2, 0], [0, 3, 2, 1], [0, 1, 3, 2])
    ]
    assert not np.allclose(theirs[0] * P, found, rtol=0.01)
    # Each fold last once: their mean is what it should have been.
    last = {0: theirs[1], 1: theirs[2], 2: theirs[3], 3: theirs[0]}
    np.testing.assert_allclose(np.mean(list(last.values()), axis=0) * P, found, rtol=1e-9)


def test_poisson_cv_with_missing_repeats() -> None:
    repeats = REPEATS.copy()
    repeats[0, 3] = repeats[4, 0] = repeats[4, 2] = np.nan
    found = upper_triangle(compute_rdm(repeats, "poisson_cv"))
    np.testing.assert_allclose(found, poisson_cv(repeats), rtol=1e-9)


def test_repeats_of_real_neurons(data_folder: Path) -> None:
    raw = np.load(data_folder / "macaque_v4" / "responses_raw_210325.npy")
    repeats = raw.transpose(1, 2, 0)[:30]
    noise = noise_covariance(repeats)
    precision = np.linalg.inv(noise.covariance())
    found = compute_rdm(repeats, "crossnobis", noise=noise)
    centred = repeats - repeats[~np.isnan(repeats).any(axis=2)].mean(axis=0)
    np.testing.assert_allclose(upper_triangle(found), crossnobis(centred, precision), rtol=1e-8)
    np.testing.assert_allclose(
        upper_triangle(compute_rdm(repeats, "poisson_cv")), poisson_cv(repeats), rtol=1e-8
    )
    single = compute_rdm(repeats.astype("f4"), "crossnobis", noise=noise)
    np.testing.assert_allclose(single, found, rtol=1e-5, atol=1e-5)


def test_crossnobis_of_wide_repeats_forms_nothing_p_by_p() -> None:
    """rsatoolbox makes a p × p identity: 80 GB at 100 000 features. Here 200 000 would be 320."""
    repeats = np.random.default_rng(0).normal(size=(4, 3, 200_000)).astype("f4")
    found = compute_rdm(repeats, "crossnobis", noise="shrinkage_diag", per_feature=True)
    assert np.isfinite(found).all()
    narrow = repeats[:, :, :500].astype("f8")
    covariance = noise_covariance(narrow).covariance()
    np.testing.assert_allclose(
        upper_triangle(compute_rdm(narrow, "crossnobis", noise="shrinkage_diag")),
        crossnobis(narrow, np.linalg.inv(covariance)),
        rtol=1e-8,
    )


def test_check_rdm() -> None:
    rdm = compute_rdm(FEATURES)
    rdm[1, 2] += 1e-9
    found = check_rdm(rdm)
    np.testing.assert_array_equal(found, found.T)
    for bad, words in [
        (rdm[:, 1:], r"a square \(n, n\), got shape \(9, 8\)"),
        (np.triu(rdm), "halves that differ"),
        (rdm + np.eye(N), "zero diagonal, got 1 on it"),
    ]:
        with pytest.raises(ValueError, match=words):
            check_rdm(bad)
    rdm[3, 4] = np.nan
    with pytest.raises(ValueError, match="halves that differ"):
        check_rdm(rdm)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_dissimilarities_have_the_properties_of_their_kind(seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.gamma(1.0, size=(6, 8))
    order = rng.permutation(6)
    for method, entry in RDM_METHODS.items():
        data = features[:, None] + rng.gamma(1.0, size=(6, 3, 8))
        data = data if entry.needs == "repeats" else features
        noise = {"noise": {"covariance": COVARIANCE[:8, :8]}} if entry.noise == "required" else {}
        rdm = compute_rdm(data, method, **noise)
        # Stimuli in another order, and features in another order.
        moved = compute_rdm(data[order], method, **noise)
        np.testing.assert_allclose(moved, rdm[np.ix_(order, order)], rtol=1e-9, atol=1e-12)
        low, high = entry.range
        assert ((rdm >= low) & (rdm <= high)).all()
        if method in ("euclidean", "cityblock", "mahalanobis"):
            around = rdm[:, :, None] + rdm[None]
            assert (rdm[:, None, :] <= around.transpose(0, 1, 2) + 1e-9).all()  # triangle
    for method in ("pearson", "spearman"):
        scaled = compute_rdm(3 * features + 5, method)
        np.testing.assert_allclose(scaled, compute_rdm(features, method), atol=1e-9)
    np.testing.assert_allclose(
        compute_rdm(np.exp(features), "spearman"), compute_rdm(features, "spearman"), atol=1e-12
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("method", list(RDM_METHODS))
def test_cuda_gives_the_same(method: str) -> None:
    data = REPEATS if method in NEEDS_REPEATS else FEATURES
    for dtype, rtol in (("f8", 1e-10), ("f4", 1e-4)):
        expected = rdm_of(data.astype(dtype), method)
        found = rdm_of(torch.from_numpy(data.astype(dtype)).cuda(), method)
        np.testing.assert_allclose(found, expected, rtol=rtol)


@pytest.mark.parametrize("method", ["sqmahalanobis", "mahalanobis", "poisson"])
def test_the_same_features_are_at_zero_however_a_product_rounds(method: str) -> None:
    """The same row in other places of a wide product rounds otherwise; its root would show."""
    features = np.tile(np.random.default_rng(4).gamma(2.0, size=(4, 3001)), (9, 1))
    noise = {"noise": {"residuals": RNG.normal(size=(20, 3001))}} if method != "poisson" else {}
    rdm = compute_rdm(features, method, **noise)
    kinds = np.arange(36) % 4
    np.testing.assert_array_equal(rdm == 0, kinds[:, None] == kinds)


def test_what_is_within_rounding_of_its_terms_is_zero() -> None:
    """A BLAS may round equal rows by their place: 1e-16 of the terms, 1e-8 after a root."""
    rdm = np.array([[0.0, 3e-13, 1.0], [3e-13, 0.0, -1e-13], [1.0, -1e-13, 0.0]])
    found = without_rounding(rdm, np.array([20.0, 20.0, 1e-3]))
    np.testing.assert_array_equal(found, [[0, 0, 1], [0, 0, 0], [1, 0, 0]])
    np.testing.assert_array_equal(without_rounding(rdm, np.full(3, 1e-3)), rdm)
