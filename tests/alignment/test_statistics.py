"""Statistics of a layer: every one of the registry by name, and by labels."""

from __future__ import annotations

import logging
import math

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.metrics import calinski_harabasz_score, silhouette_score
from torch import nn

import isomorph as iso
from isomorph.alignment import STATISTICS, Representation, list_statistics, resolve_statistics
from isomorph.extraction import GramNeed, MomentsNeed
from isomorph.geometry import (
    class_separation,
    grams,
    manifold_capacity,
    manifold_geometry,
    maximum_likelihood_dimension,
    moments_of,
    power_law_exponent,
    two_nn_dimension,
)
from isomorph.registry import UnknownNameError

RNG = np.random.default_rng(0)
LABELS = np.repeat(["bird", "cat", "dog"], 20).astype(object)
FEATURES = np.maximum(
    np.repeat(RNG.standard_normal((3, 90)), 20, axis=0) + RNG.standard_normal((60, 90)), 0
)
SPECTRUM = PCA(svd_solver="full").fit(FEATURES).explained_variance_
SHARES = SPECTRUM[SPECTRUM > 1e-10] / SPECTRUM.sum()


def pair_means(name: str) -> float:
    """Mean over ordered pairs of classes, one after the other."""
    pairs = getattr(manifold_geometry(FEATURES, LABELS), name)
    return float(np.mean([pairs[a, b] for a in range(3) for b in range(3) if a != b]))


EXPECTED = {
    "effective_dimensionality": lambda: 1 / (SHARES**2).sum(),
    # Its own test is in tests/geometry; here, that it is the right function.
    "effective_dimensionality_corrected": lambda: iso.geometry.effective_dimensionality_corrected(
        FEATURES
    ),
    "entropy_dimensionality": lambda: np.exp(-(SHARES * np.log(SHARES)).sum()),
    "explained_variance_dimensions": lambda: (
        PCA(0.9, svd_solver="full").fit(FEATURES).n_components_
    ),
    "power_law_exponent": lambda: power_law_exponent(SPECTRUM[:-1], 11, 29),
    "two_nn_dimension": lambda: two_nn_dimension(FEATURES),
    "maximum_likelihood_dimension": lambda: maximum_likelihood_dimension(FEATURES),
    "sparsity": lambda: moments_of(torch.from_numpy(FEATURES)).lifetime_sparseness().mean(),
    "zero_share": lambda: (FEATURES == 0).mean(),
    "mean_activation": lambda: FEATURES.mean(),
    "class_separation": lambda: class_separation(FEATURES, LABELS),
    "silhouette": lambda: silhouette_score(FEATURES, LABELS),
    "fisher_ratio": lambda: calinski_harabasz_score(FEATURES, LABELS) * 2 / 57,
    "manifold_radius": lambda: np.mean(
        [np.sqrt(FEATURES[name == LABELS].var(axis=0).sum()) for name in set(LABELS)]
    ),
    "manifold_dimension": lambda: np.mean(
        [
            1 / ((values / values.sum()) ** 2).sum()
            for values in (
                PCA(19).fit(FEATURES[name == LABELS]).explained_variance_ for name in set(LABELS)
            )
        ]
    ),
    "manifold_signal": lambda: pair_means("signal"),
    "manifold_bias": lambda: pair_means("bias"),
    "signal_noise_overlap": lambda: pair_means("overlap"),
    "few_shot_snr": lambda: pair_means("snr"),
    "few_shot_error": lambda: pair_means("error"),
    "manifold_capacity": lambda: manifold_capacity(FEATURES, LABELS),
}


@pytest.mark.parametrize("name", STATISTICS)
def test_every_statistic(name: str) -> None:
    [statistic] = resolve_statistics([name], {"kind": LABELS})
    assert statistic.name == name
    layer = Representation.from_features(FEATURES)
    assert statistic.compute(layer) == pytest.approx(EXPECTED[name](), rel=1e-6)
    # In single precision, from nothing but what it says that it needs.
    single = torch.from_numpy(FEATURES.astype("f4"))
    given = {GramNeed(): lambda: grams(single)[0], MomentsNeed(): lambda: moments_of(single)}
    streamed = Representation({need: given[need]() for need in statistic.needs}, 60)
    assert statistic.compute(streamed) == pytest.approx(
        EXPECTED[name](), rel=0.1 if name == "manifold_capacity" else 1e-3
    )


@pytest.mark.parametrize("name", STATISTICS)
def test_a_layer_that_does_not_vary(name: str) -> None:
    [statistic] = resolve_statistics([name], {"kind": LABELS})
    value = statistic.compute(Representation.from_features(np.full((60, 9), 0.1, dtype="f4")))
    expected = {"sparsity": 0.0, "zero_share": 0.0, "mean_activation": 0.1}.get(name, math.nan)
    assert value == pytest.approx(expected, nan_ok=True, abs=1e-6)


@pytest.mark.parametrize("name", STATISTICS)
def test_every_statistic_is_documented(name: str) -> None:
    statistic = STATISTICS[name]
    assert statistic.summary.endswith(".")
    assert statistic.reference or name in ("zero_share", "mean_activation")
    row = list_statistics().set_index("statistic").loc[name]
    assert row["summary"] == statistic.summary
    assert row["labels"] == statistic.labelled


def test_labels_by_name() -> None:
    layer = Representation.from_features(FEATURES)
    shuffled = np.random.default_rng(1).permutation(LABELS)
    labels = {"kind": LABELS, "other": shuffled}
    kind, other = resolve_statistics(
        ["class_separation[label=kind]", " class_separation[ label = other ]"], labels
    )
    assert (kind.name, other.name) == (
        "class_separation[label=kind]",
        "class_separation[ label = other ]",
    )
    assert kind.compute(layer) == pytest.approx(class_separation(FEATURES, LABELS))
    assert other.compute(layer) == pytest.approx(class_separation(FEATURES, shuffled))
    [plain] = resolve_statistics(["few_shot_snr"], {"kind": shuffled, "label": LABELS})
    assert plain.compute(layer) == pytest.approx(pair_means("snr"))
    # What is kept of a layer for one label is not another's.
    [again] = resolve_statistics(["few_shot_snr[label=other]"], labels)
    assert again.compute(layer) < 0.5 * plain.compute(layer)
    [renamed] = resolve_statistics({"mine": "silhouette[label=kind]"}, labels)
    assert renamed.compute(layer) == pytest.approx(silhouette_score(FEATURES, LABELS))


def test_without_labels_it_is_nan_and_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="isomorph"):
        [statistic] = resolve_statistics(["class_separation"])
    assert math.isnan(statistic.compute(Representation.from_features(FEATURES)))
    assert statistic.needs == ()
    assert "class_separation is NaN: the stimuli have no labels" in caplog.text


def test_errors() -> None:
    labels = {"kind": LABELS, "other": LABELS}
    with pytest.raises(ValueError, match=r"since there are 2: kind, other. Write silhouette\[lab"):
        resolve_statistics(["silhouette"], labels)
    with pytest.raises(UnknownNameError, match="unknown label of the stimuli 'kinds'.*'kind'"):
        resolve_statistics(["silhouette[label=kinds]"], labels)
    with pytest.raises(UnknownNameError, match="Did you mean 'silhouette'.*list_statistics"):
        resolve_statistics(["silhouete"], labels)
    with pytest.raises(ValueError, match="sparsity describes no classes"):
        resolve_statistics(["sparsity[label=kind]"], labels)
    with pytest.raises(ValueError, match="expected a name, if need be with its labels"):
        resolve_statistics(["silhouette[kind]"], labels)
    with pytest.raises(ValueError, match="stats: silhouette: labels: expected at least 2 classes"):
        resolve_statistics(["silhouette"], {"kind": np.repeat("a", 60)})
    with pytest.raises(TypeError, match="expected a list of names, got the string"):
        resolve_statistics("silhouette", labels)


def test_in_a_table_of_scores() -> None:
    images = np.random.default_rng(0).integers(0, 255, (24, 8, 8, 3), np.uint8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Flatten(), nn.Linear(192, 30), nn.ReLU())

    def to_tensor(image) -> torch.Tensor:
        return torch.from_numpy(np.asarray(image, dtype=np.float32)) / 255

    model = iso.Model(module, to_tensor, preprocess_spec="0 to 1")
    classes = ["a", "b", "c", "d"] * 6
    responses = np.random.default_rng(1).normal(size=(24, 5))
    neuroids = pd.DataFrame({"neuroid_id": list("vwxyz"), "subj_id": "s", "V1": True})
    options = {"metrics": "cRSA", "progress": False}
    benchmark = iso.make_benchmark(responses, images, neuroids, labels=classes)
    asked = ["class_separation", "fisher_ratio[label=label]", "entropy_dimensionality"]
    results = iso.score(model, benchmark, stats=asked, **options)
    [layer] = {"2"} & set(results["model_layer"])
    features = iso.extract_features(model, images, [layer], flatten=True, progress=False)[layer]
    rows = results[results["model_layer"] == layer]
    expected = class_separation(features, classes)
    assert rows["class_separation"].to_numpy() == pytest.approx(expected, rel=1e-4)
    assert rows["fisher_ratio[label=label]"].notna().all()
    plain = iso.make_benchmark(responses, images, neuroids)
    assert iso.score(model, plain, stats=asked[:1], **options)["class_separation"].isna().all()
