"""Procrustes, NBS, Bures and the shape family against dense singular value decompositions."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import scipy.linalg
import torch

from isomorph.alignment.measure import compare_representations
from isomorph.alignment.metric import parse_metric

RNG = np.random.default_rng(0)
N = 40
FIRST = RNG.gamma(1.0, size=(N, 15)) * np.logspace(0.5, -0.5, 15)
SECOND = FIRST[:, :6] @ RNG.normal(size=(6, 9)) + RNG.normal(size=(N, 9))
WIDE = RNG.normal(size=(N, 150)) + FIRST @ RNG.normal(size=(15, 150))
PAIRS = {"n > p": (FIRST, SECOND), "p > n": (WIDE, FIRST), "both wide": (WIDE, WIDE[:, 40:])}


def centred(x: np.ndarray) -> np.ndarray:
    return x - x.mean(0)


def nuclear(x: np.ndarray, y: np.ndarray) -> float:
    """By the dense features × features matrix, which the code never makes."""
    return scipy.linalg.svdvals(x.T @ y).sum()


def best_rotation(x: np.ndarray, y: np.ndarray) -> float:
    """Smallest |X − YQ|² with both filled up with zeros to the same number of features."""
    width = max(x.shape[1], y.shape[1])
    x, y = (np.pad(side, ((0, 0), (0, width - side.shape[1]))) for side in (x, y))
    rotation, _ = scipy.linalg.orthogonal_procrustes(y, x)
    return float(np.sum((x - y @ rotation) ** 2))


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("name", ["Procrustes", "NBS"])
def test_procrustes_equals_its_definition(pair, name):
    x, y = (centred(side) for side in PAIRS[pair])
    score = nuclear(x, y) / np.linalg.norm(x) / np.linalg.norm(y)
    x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
    expected = {
        "score": score,
        "angular": np.arccos(score),
        "euclidean": np.sqrt(best_rotation(x, y)),
        "squared": best_rotation(x, y),
    }
    for form, value in expected.items():
        found = compare_representations(*PAIRS[pair], f"{name}[form={form}]")
        assert found == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("pair", PAIRS)
def test_nbs_equals_the_normalised_bures_similarity_of_the_centred_grams(pair):
    k, m = (centred(side) @ centred(side).T for side in PAIRS[pair])
    root = scipy.linalg.sqrtm(k + 1e-13 * np.trace(k) * np.eye(N)).real
    fidelity = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ m @ root), 0)).sum()
    expected = fidelity / np.sqrt(np.trace(k) * np.trace(m))
    assert compare_representations(*PAIRS[pair], "NBS") == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("pair", PAIRS)
def test_bures_is_the_size_and_shape_distance(pair):
    x, y = (centred(side) for side in PAIRS[pair])
    found = compare_representations(*PAIRS[pair], "Bures")
    assert found == pytest.approx(np.sqrt(best_rotation(x, y)), rel=1e-9)
    squared = compare_representations(*PAIRS[pair], "Bures[form=squared]")
    assert squared == pytest.approx(best_rotation(x, y), rel=1e-9)
    x, y = (side / np.sqrt(side.shape[1]) for side in (x, y))
    found = compare_representations(*PAIRS[pair], "Bures[per_feature=yes]")
    assert found == pytest.approx(np.sqrt(best_rotation(x, y)), rel=1e-9)


def whitened(x: np.ndarray, alpha: float) -> np.ndarray:
    """X(αI + (1 − α)(X'X)^(−1/2)), Williams et al. (2021), null directions left out."""
    x = centred(x)
    values, vectors = np.linalg.eigh(x.T @ x)
    keep = values > 1e-9 * values.max()
    values, vectors = values[keep], vectors[:, keep]
    return x @ vectors @ np.diag(alpha + (1 - alpha) * values**-0.5) @ vectors.T


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("alpha", [0.01, 0.3, 0.9, 1.0])
def test_shape_equals_its_definition(pair, alpha):
    x, y = (whitened(side, alpha) for side in PAIRS[pair])
    score = nuclear(x, y) / np.linalg.norm(x) / np.linalg.norm(y)
    found = compare_representations(*PAIRS[pair], f"shape[alpha={alpha}]")
    assert found == pytest.approx(np.arccos(score), abs=1e-8)
    found = compare_representations(*PAIRS[pair], f"shape[alpha={alpha},form=euclidean]")
    assert found == pytest.approx(np.sqrt(2 - 2 * score), abs=1e-8)


def test_ends_of_the_shape_family_are_cca_and_procrustes():
    x, y = FIRST, SECOND
    score = compare_representations(x, y, "shape[alpha=0,form=score]")
    mean = compare_representations(x, y, "CCA")
    assert score == pytest.approx(mean * 9 / np.sqrt(9 * 15), abs=1e-10)
    score = compare_representations(x, y, "shape[form=score]")
    assert score == pytest.approx(compare_representations(x, y, "Procrustes"), abs=1e-12)


def test_shape_on_real_neurons_and_behaviour(v4_halves, behaviour):
    for pair in (v4_halves, behaviour):
        x, y = (centred(side) for side in pair)
        expected = nuclear(x, y) / np.linalg.norm(x) / np.linalg.norm(y)
        assert compare_representations(*pair, "Procrustes") == pytest.approx(expected, abs=1e-9)
        x, y = (whitened(side, 0.5) for side in pair)
        score = nuclear(x, y) / np.linalg.norm(x) / np.linalg.norm(y)
        found = compare_representations(*pair, "shape[alpha=.5]")
        assert found == pytest.approx(np.arccos(score), abs=1e-8)


def test_cortexlab_truncation_gives_the_same_units_in_another_order_as_unlike():
    """cortexlab-toolkit keeps the first min(p, q) columns: .06 for the same units elsewhere."""
    rng = np.random.default_rng(1)
    few = rng.normal(size=(50, 20))
    many = np.hstack([1e-3 * rng.normal(size=(50, 200)), few])
    assert compare_representations(few, many, "Procrustes") == pytest.approx(1.0, abs=1e-3)
    assert compare_representations(few, many[:, ::-1], "Bures") < 0.2


def test_a_constant_is_undefined(caplog):
    """A silent layer, at the same distance from all, must never be the nearest of the layers."""
    constant = np.full((N, 4), 3.0)
    for text in ("Procrustes", "NBS", "shape", "Bures"):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert np.isnan(compare_representations(FIRST, constant, text))
        assert "do not vary" in caplog.text


def test_a_distance_form_is_ranked_as_one():
    assert not parse_metric("Procrustes[form=angular]").larger_is_better
    assert parse_metric("Procrustes").larger_is_better
    assert not parse_metric("shape").larger_is_better
    assert parse_metric("shape[form=score]").larger_is_better
    assert not parse_metric("Bures").larger_is_better
    assert not parse_metric("CKA[form=euclidean]").larger_is_better


def test_shape_bad_options():
    with pytest.raises(ValueError, match="from 0"):
        compare_representations(FIRST, SECOND, "shape[alpha=1.5]")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["Procrustes", "Bures", "shape[alpha=.5]"])
def test_cuda_gives_the_same_number(name):
    sides = [torch.from_numpy(side).cuda() for side in (WIDE, FIRST)]
    expected = compare_representations(WIDE, FIRST, name)
    assert compare_representations(*sides, name) == pytest.approx(expected, rel=1e-8)
