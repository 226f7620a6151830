"""Variance partitioning and the product measure against himalaya and plain sums."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from himalaya.scoring import r2_score_split
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score

from isomorph.encoding import commonality, partition_variance, product_measure

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("n_spaces", [1, 2, 4])
def test_product_measure_equals_himalaya(n_spaces):
    responses = RNG.normal(size=(30, 6)) + 5
    parts = RNG.normal(size=(n_spaces, 30, 6))
    centred = responses - responses.mean(axis=0)
    expected = r2_score_split(centred, parts)
    found = product_measure(parts, responses)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(
        found.sum(axis=0),
        r2_score(centred, parts.sum(axis=0), multioutput="raw_values"),
        atol=1e-12,
    )


def test_product_measure_of_constant_and_missing_responses():
    """himalaya warns, divides by zero, and writes zeros over missing predictions in place."""
    responses = RNG.normal(size=(10, 3))
    responses[:, 0] = 0.1
    parts = RNG.normal(size=(2, 10, 3))
    parts[0, 0, 1] = np.nan
    before = parts.copy()
    found = product_measure(parts, responses)
    assert np.isnan(found[:, 0]).all()
    assert np.isnan(found[:, 1]).all()
    assert np.isfinite(found[:, 2]).all()
    np.testing.assert_array_equal(parts, before)


def test_product_measure_of_a_large_offset():
    responses, parts = RNG.normal(size=(20, 2)), RNG.normal(size=(3, 20, 2))
    np.testing.assert_allclose(
        product_measure(parts, responses + 1e4), product_measure(parts, responses), atol=1e-8
    )


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(2, 4), st.integers(0, 10**6))
def test_parts_of_subsets_add_up(n_spaces, seed):
    """Any union's explained variance is the sum of the parts that touch it."""
    from isomorph.encoding.partitioning import subsets_of

    names = tuple("abcd"[:n_spaces])
    rng = np.random.default_rng(seed)
    explained = {subset: rng.normal(size=3) for subset in subsets_of(names)}
    parts = commonality(explained)
    assert list(parts) == list(explained)
    for union, value in explained.items():
        touching = sum(part for subset, part in parts.items() if set(subset) & set(union))
        np.testing.assert_allclose(touching, value, atol=1e-12)


def test_two_and_three_spaces_are_the_textbook_formulas():
    r = {("a",): 0.5, ("b",): 0.4, ("c",): 0.3, ("a", "b"): 0.7, ("a", "c"): 0.6, ("b", "c"): 0.55}
    r["a", "b", "c"] = 0.8
    parts = {subset: float(value) for subset, value in commonality(r).items()}
    assert parts["a",] == pytest.approx(0.8 - 0.55)
    assert parts["b",] == pytest.approx(0.8 - 0.6)
    assert parts["a", "b"] == pytest.approx(0.6 + 0.55 - 0.3 - 0.8)
    shared = 0.5 + 0.4 + 0.3 - 0.7 - 0.6 - 0.55 + 0.8
    assert parts["a", "b", "c"] == pytest.approx(shared)
    assert sum(parts.values()) == pytest.approx(0.8)


def test_a_missing_subset_is_named():
    with pytest.raises(ValueError, match=r"every subset of a, b, got none for a \+ b"):
        commonality({("a",): 0.5, ("b",): 0.4})


def spaces_and_responses(n=120, seed=0):
    rng = np.random.default_rng(seed)
    only_a, only_b, both = (rng.normal(size=(n, 4)) for _ in range(3))
    spaces = {"a": np.hstack([only_a, both]), "b": np.hstack([only_b, both])}
    mix = rng.normal(size=(3, 4, 5))
    responses = only_a @ mix[0] + both @ mix[1]
    return spaces, responses + 0.5 * rng.normal(size=responses.shape)


def test_shared_and_unique_variance_are_found():
    spaces, responses = spaces_and_responses()
    table = partition_variance(spaces, responses, np.arange(0, 120, 2), np.arange(1, 120, 2))
    mean = table.groupby("part", sort=False)["explained"].mean()
    assert list(mean.index) == ["a", "b", "a + b", "total"]
    assert mean["a"] > 0.2
    assert abs(mean["b"]) < 0.05
    assert mean["a + b"] > 0.2
    assert mean["total"] == pytest.approx(mean["a"] + mean["b"] + mean["a + b"])
    assert set(table["kind"]) == {"unique", "shared", "total"}
    assert len(table) == 5 * 4


def test_every_model_is_scikit_learns_ridge():
    spaces, responses = spaces_and_responses(40)
    train, test = np.arange(0, 40, 2), np.arange(1, 40, 2)
    table = partition_variance(spaces, responses, train, test)
    for part, names in (("a", ["a"]), ("b", ["b"]), ("a + b", ["a", "b"])):
        scaled = []
        for name in names:
            x = spaces[name] - spaces[name][train].mean(axis=0)
            scaled.append(x / np.sqrt((x[train] ** 2).sum(axis=1).mean()))
        x = np.hstack(scaled)
        grid = np.logspace(-1, 5, 7) / 5920 * len(names)
        model = RidgeCV(grid, alpha_per_target=True).fit(x[train], responses[train])
        expected = r2_score(responses[test], model.predict(x[test]), multioutput="raw_values")
        found = table[table["part"] == part].sort_values("target")["model"]
        np.testing.assert_allclose(found, expected, atol=1e-8)


def test_squared_r_and_own_fits():
    spaces, responses = spaces_and_responses(40)
    train, test = np.arange(0, 40, 2), np.arange(1, 40, 2)
    spaces["silent"] = np.zeros((40, 3))
    table = partition_variance(spaces, responses, train, test, score="squared_r")
    alone = table[table["part"] == "silent"]
    assert (alone["model"] == 0).all()
    assert (table["model"] >= 0).all()
    seen = []

    def fit(kernels_train, kernels_test, y):
        seen.append(len(kernels_train))
        assert kernels_train[0].shape == (20, 20)
        assert kernels_test[0].shape == (20, 20)
        return np.repeat(y.mean(axis=0)[None], 20, axis=0)

    partition_variance(spaces, responses, train, test, fit=fit)
    assert seen == [1, 1, 1, 2, 2, 2, 3]


def test_constant_responses_are_nan():
    spaces, responses = spaces_and_responses(40)
    responses[:, 0] = 2.0
    for score in ("r2", "squared_r"):
        table = partition_variance(spaces, responses, range(20), range(20, 40), score=score)
        assert table.loc[table["target"] == 0, "explained"].isna().all()
        assert table.loc[table["target"] == 1, "explained"].notna().all()


def test_inputs_are_not_changed_and_bad_ones_are_refused():
    spaces, responses = spaces_and_responses(40)
    before = {name: values.copy() for name, values in spaces.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        partition_variance(spaces, responses, range(20), range(20, 40))
    for name, values in spaces.items():
        np.testing.assert_array_equal(values, before[name])
    with pytest.raises(ValueError, match="expected 2 to 4 feature spaces, got 1"):
        partition_variance({"a": spaces["a"]}, responses, range(20), range(20, 40))
    with pytest.raises(ValueError, match=r"stimuli \{'a': 40, 'b': 39\}"):
        partition_variance(
            {"a": spaces["a"], "b": spaces["b"][1:]}, responses, range(20), range(20, 40)
        )
    with pytest.raises(ValueError, match="expected score 'r2' or 'squared_r', got 'r'"):
        partition_variance(spaces, responses, range(20), range(20, 40), score="r")
    with pytest.raises(ValueError, match=r"got \(2, 5\) and \(5, 1\)"):
        product_measure(np.ones((2, 5)), np.ones((5, 1)))


def test_real_embeddings(data_folder):
    """Two halves of the VICE dimensions predicting others: parts add up on real data."""
    items = np.load(data_folder / "things_vice" / "things_embedding.npy")[:300].astype(float)
    spaces = {"a": items[:, :12], "b": items[:, 12:24], "c": items[:, 24:30]}
    table = partition_variance(
        spaces, items[:, 30:], np.arange(0, 300, 2), np.arange(1, 300, 2), score="squared_r"
    )
    wide = table.pivot_table(index="target", columns="part", values="explained")
    parts = wide.drop(columns="total").sum(axis=1)
    np.testing.assert_allclose(parts, wide["total"], atol=1e-10)


def test_stimuli_that_train_do_not_test():
    space = RNG.normal(size=(20, 3))
    with pytest.raises(ValueError, match="not trained on, got 5 that are"):
        partition_variance({"a": space, "b": space[:, :2]}, space, range(10), range(5, 20))
