"""Scores per target against scipy and scikit-learn, one column at a time."""

# The peers' annotations are not to be relied on.
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from isomorph.encoding import SCORE_TYPES, explained_variance, pearson_r, r2

ORACLES = {
    "pearsonr": lambda x, y: scipy.stats.pearsonr(x, y).statistic,
    "r2": lambda x, y: sklearn.metrics.r2_score(y, x),
    "explained_variance": lambda x, y: sklearn.metrics.explained_variance_score(y, x),
}


def columns() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    responses = rng.standard_normal((30, 5)) * [1, 10, 1e-9, 1e6, 1] + [0, 5, 0, 0, 1000]
    predictions = responses + rng.standard_normal((30, 5)) * [0.1, 30, 1e-9, 1e5, 1] + 0.3
    return predictions, responses


def test_every_score_type_has_an_oracle() -> None:
    assert set(SCORE_TYPES) == set(ORACLES)


@pytest.mark.parametrize("name", ORACLES)
def test_equals_the_oracle(name: str) -> None:
    predictions, responses = columns()
    expected = [ORACLES[name](x, y) for x, y in zip(predictions.T, responses.T, strict=True)]
    np.testing.assert_allclose(SCORE_TYPES[name](predictions, responses), expected, rtol=1e-9)


@pytest.mark.parametrize("name", ORACLES)
def test_undefined_is_nan_for_that_target_alone(name: str) -> None:
    predictions, responses = columns()
    responses[:, 1] = 0.1
    responses[4, 2] = np.nan
    predictions[:, 3] = 0.1
    predictions[::2, 3] += 5e-17
    result = SCORE_TYPES[name](predictions, responses)
    # A constant prediction has an r2 (near 0) but no correlation.
    np.testing.assert_array_equal(np.isnan(result), [False, True, True, name == "pearsonr", False])


def test_tiny_values_do_not_underflow() -> None:
    predictions, responses = columns()
    np.testing.assert_allclose(
        pearson_r(1e-200 * predictions, 1e-200 * responses), pearson_r(predictions, responses)
    )


def test_an_offset_costs_r2_but_not_explained_variance() -> None:
    responses = np.random.default_rng(1).standard_normal((20, 2))
    assert (r2(responses + 1, responses) < 1).all()
    np.testing.assert_allclose(explained_variance(responses + 1, responses), 1)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"got \(4, 2\) and \(4, 3\)"):
        pearson_r(np.ones((4, 2)), np.ones((4, 3)))
    with pytest.raises(ValueError, match="Give a single target an axis"):
        r2(np.ones(4), np.ones(4))
