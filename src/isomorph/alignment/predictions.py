"""The encoding model that eReg and eRSA share: ridge from a layer to every neuroid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from isomorph.alignment.measured import Measured
from isomorph.alignment.metric import Option, read_alphas
from isomorph.alignment.representation import Representation
from isomorph.encoding import PUBLISHED_ALPHAS, centre_kernels, relative_alphas, ridge_loo
from isomorph.extraction import GramNeed, Need, ProjectionNeed
from isomorph.geometry import Gram, Scaling, grams, johnson_lindenstrauss_dim
from isomorph.resampling import Split

# The grid's unit: logspace(-1, 5, 7) was published for about this many standardised components,
# whose kernel has that mean diagonal.
ALPHA_UNIT = 5920
PROJECTION_SEED = 0
PUBLISHED = {"scale": "standard", "projection": "srp", "criterion": "pearson"}

ENCODING_OPTIONS = {
    "preset": Option(
        "default",
        ("default", "published"),
        summary="'published': sparse random projection, plain standardisation, absolute alphas, "
        "alpha by Pearson r, as Conwell et al.",
    ),
    "scale": Option(
        "floored",
        ("floored", "none", "standard"),
        summary="features divided by sqrt(s² + mean s²) of the training stimuli, by nothing, or "
        "by s",
    ),
    "projection": Option(
        "none", ("none", "srp"), summary="ridge on all features, or on a sparse random projection"
    ),
    "criterion": Option(
        "squared_error",
        ("squared_error", "pearson"),
        summary="what chooses each neuroid's alpha on the leave-one-out predictions",
    ),
    "alphas": Option(
        None, read=read_alphas, summary="ridge penalties, in units of the grid (0.1|1|10|...)"
    ),
}


@dataclass(frozen=True)
class Predictions:
    """An encoding model's predictions over a split.

    Parameters
    ----------
    train : (n_train, n_neuroids) array
        Leave-one-out predictions of the training stimuli, at each neuroid's alpha.
    test : (n_test, n_neuroids) array
    alphas : (n_neuroids,) array
    at_edge : (n_neuroids,) bool array
        Whether the alpha is at an edge of the grid.
    """

    train: np.ndarray
    test: np.ndarray
    alphas: np.ndarray
    at_edge: np.ndarray


def encoding_needs(
    n_stimuli: int, train: np.ndarray, options: Mapping[str, Any]
) -> tuple[Need, ...]:
    """Tell what ridge with these options must have of a layer."""
    settings = _settings(options)
    if settings["projection"] == "srp":
        return (ProjectionNeed(johnson_lindenstrauss_dim(n_stimuli), PROJECTION_SEED),)
    return (GramNeed(_scaling(settings, train)),)


def ridge_predictions(
    layer: Representation, measured: Measured, split: Split, options: Mapping[str, Any]
) -> Predictions:
    """Fit ridge in dual form on the training stimuli; predict them left out, and the test ones.

    The kernel is the Gram of all features (or of their projection), scaled by the training
    stimuli and centred by their mean; alpha is chosen for each neuroid on the exact leave-one-out
    predictions. The result is kept with the layer, so that eReg and eRSA share it.

    Parameters
    ----------
    layer : Representation
    measured : Measured
        With responses. Where a response is missing, its stimulus is left out for that neuroid.
    split : Split
    options : mapping
        ``preset scale projection criterion alphas``.

    Returns
    -------
    Predictions
        In the units of the responses.
    """
    settings = _settings(options)
    key = ("ridge", id(measured), split, tuple(settings.items()))
    if key not in layer.memo:
        layer.memo[key] = _fit(layer, measured, split, settings)
    return layer.memo[key]


def _fit(
    layer: Representation, measured: Measured, split: Split, settings: Mapping[str, Any]
) -> Predictions:
    assert measured.responses is not None
    responses = measured.responses
    kernel = _kernel(layer, measured, split, settings)
    n_neuroids = responses.shape[1]
    train = np.full((len(split.train), n_neuroids), np.nan)
    test = np.full((len(split.test), n_neuroids), np.nan)
    alphas = np.full(n_neuroids, np.nan)
    at_edge = np.zeros(n_neuroids, dtype=bool)
    present = np.isfinite(responses[split.train])
    # Neuroids that miss the same stimuli share a kernel; with nothing missing that is all of them.
    patterns, which = np.unique(present, axis=1, return_inverse=True)
    for number, pattern in enumerate(patterns.T):
        columns = np.flatnonzero(which.reshape(-1) == number)
        rows = split.train[pattern]
        if len(rows) < 3:
            continue
        kernel_train, kernel_test = centre_kernels(kernel, rows, split.test)
        grid = _grid(kernel_train, settings)
        fit = ridge_loo(
            kernel_train,
            responses[np.ix_(rows, columns)],
            grid,
            kernel_test=kernel_test,
            criterion=settings["criterion"],
        )
        train[np.ix_(np.flatnonzero(pattern), columns)] = fit.loo_predictions
        test[:, columns] = fit.predictions
        alphas[columns] = fit.alphas
        at_edge[columns] = np.isin(fit.alpha_index, (0, len(grid) - 1))
    return Predictions(train, test, alphas, at_edge)


def _kernel(
    layer: Representation, measured: Measured, split: Split, settings: Mapping[str, Any]
) -> Gram:
    positions = measured.positions
    if settings["projection"] == "none":
        return layer.gram(_scaling(settings, positions[split.train])).subset(positions)
    components = johnson_lindenstrauss_dim(layer.n_stimuli)
    projected = layer.projection(components, PROJECTION_SEED)[positions]
    return grams(projected, [_scaling(settings, split.train)])[0]


def _scaling(settings: Mapping[str, Any], train: np.ndarray) -> Scaling | None:
    if settings["scale"] == "none":
        return None
    return Scaling(stimuli=tuple(int(i) for i in train), kind=settings["scale"])


def _grid(kernel_train: np.ndarray, settings: Mapping[str, Any]) -> np.ndarray:
    if settings["preset"] == "published":
        return np.asarray(settings["alphas"] or PUBLISHED_ALPHAS, dtype=float)
    if settings["alphas"] is None:
        return relative_alphas(kernel_train)
    return np.asarray(settings["alphas"]) / ALPHA_UNIT * float(np.mean(np.diag(kernel_train)))


def check_preset(options: Mapping[str, Any]) -> None:
    """Refuse options that the published preset would silently overrule.

    Raises
    ------
    ValueError
        If ``preset=published`` stands beside another scale, projection or criterion.
    """
    if options["preset"] != "published":
        return
    for name, value in PUBLISHED.items():
        if options[name] not in (ENCODING_OPTIONS[name].default, value):
            raise ValueError(
                f"metric: preset=published means {name}={value}, but {name}={options[name]} was "
                f"asked too. Leave one of them out."
            )


def _settings(options: Mapping[str, Any]) -> dict[str, Any]:
    settings = {name: options[name] for name in ENCODING_OPTIONS}
    if settings["preset"] == "published":
        settings |= PUBLISHED
    return settings
