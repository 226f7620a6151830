"""The encoding model that eReg and eRSA share: ridge from a layer to every neuroid."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from isomorph.alignment.measured import Measured
from isomorph.alignment.metric import Option, read_alphas
from isomorph.alignment.representation import Representation
from isomorph.encoding import (
    KERNELS,
    PUBLISHED_ALPHAS,
    RidgeFit,
    centre_kernels,
    kernels_from_gram,
    relative_alphas,
    ridge_cv,
    ridge_loo,
)
from isomorph.extraction import FeaturesNeed, GramNeed, Need, ProjectionNeed
from isomorph.geometry import Gram, Scaling, grams, johnson_lindenstrauss_dim
from isomorph.resampling import Split, kfold

# The grid's unit: logspace(-1, 5, 7) was published for about this many standardised components,
# whose kernel has that mean diagonal.
ALPHA_UNIT = 5920
PROJECTION_SEED = 0
FOLD_SEED = 0
FOLD_KINDS = ("contiguous", "grouped", "shuffled")
PUBLISHED = {"scale": "standard", "projection": "srp", "criterion": "pearson"}
# What the preset leaves at the default, so that it stays what was published.
PUBLISHED_DEFAULTS = ("cv", "folds", "kernel", "gamma", "alpha_per_target")


def read_cv(text: str) -> str:
    """Read ``loo``, or ``kfold5``: folds inside the training stimuli that choose alpha."""
    if text == "loo" or (re.fullmatch(r"kfold[1-9]\d*", text) and int(text[5:]) > 1):
        return text
    raise ValueError("expected loo, or kfold with a number of folds of 2 or more, such as kfold5.")


def read_flag(text: str) -> bool:
    """Read ``true`` or ``false``."""
    if text.lower() not in {"true", "false"}:
        raise ValueError("expected true or false.")
    return text.lower() == "true"


def read_gamma(text: str) -> float | None:
    """Read a kernel's gamma: a number above 0, or None."""
    if text == "None":
        return None
    if not 0 < float(text) < np.inf:
        raise ValueError("expected a number above 0.")
    return float(text)


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
    "cv": Option(
        "loo",
        read=read_cv,
        summary="how training stimuli are held out to choose alpha: loo, or kfold5 with the "
        "scaling fitted inside each fold",
    ),
    "folds": Option(
        "contiguous",
        FOLD_KINDS,
        summary="folds of cv=kfold5: runs of stimuli in their order (groups whole where they are "
        "known), groups (which must be known), or shuffled, which leaks between neighbours",
    ),
    "kernel": Option(
        "linear",
        KERNELS,
        summary="kernel ridge: similarity of two stimuli from their scaled features",
    ),
    "gamma": Option(
        None,
        read=read_gamma,
        summary="width of the poly, rbf and sigmoid kernels, in units of 1 / the mean squared "
        "length of the scaled features",
    ),
    "alpha_per_target": Option(
        True, read=read_flag, summary="an alpha for each neuroid, or one for all"
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
        Predictions of the training stimuli left out (alone, or with their fold), at each neuroid's
        alpha.
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
    if scales_inside_folds(settings):
        # Every fold scales by its own stimuli; which those are is known once the groups are.
        return (GramNeed(_scaling(settings, train)), FeaturesNeed())
    return (GramNeed(_scaling(settings, train)),)


def scales_inside_folds(settings: Mapping[str, Any]) -> bool:
    """Whether each fold needs a Gram of its own."""
    return settings["cv"] != "loo" and settings["scale"] != "none"


def ridge_predictions(
    layer: Representation, measured: Measured, split: Split, options: Mapping[str, Any]
) -> Predictions:
    """Fit ridge in dual form on the training stimuli; predict them left out, and the test ones.

    The kernel is the Gram of all features (or of their projection), scaled by the training
    stimuli and centred by their mean; alpha is chosen for each neuroid on the exact leave-one-out
    predictions (or on folds). The result is kept with the layer, so that eReg and eRSA share it.

    Parameters
    ----------
    layer : Representation
    measured : Measured
        With responses. Where a response is missing, its stimulus is left out for that neuroid.
    split : Split
    options : mapping
        ``preset scale projection criterion alphas cv folds kernel gamma alpha_per_target``.

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
        fit = _fit_rows(layer, measured, split, settings, kernel, rows, columns)
        train[np.ix_(np.flatnonzero(pattern), columns)] = fit.cv_predictions
        test[:, columns] = fit.predictions
        alphas[columns] = fit.alphas
        at_edge[columns] = np.isin(fit.alpha_index, (0, len(fit.grid) - 1))
    return Predictions(train, test, alphas, at_edge)


def _fit_rows(
    layer: Representation,
    measured: Measured,
    split: Split,
    settings: Mapping[str, Any],
    kernel: Gram,
    rows: np.ndarray,
    columns: np.ndarray,
) -> RidgeFit:
    """Fit neuroids that have responses to these training stimuli."""
    assert measured.responses is not None
    kernel_train, kernel_test = _kernels(kernel, rows, split.test, settings)
    responses = measured.responses[np.ix_(rows, columns)]
    grid = _grid(kernel_train, settings)
    options: dict[str, Any] = {
        "kernel_test": kernel_test,
        "criterion": settings["criterion"],
        "alpha_per_target": settings["alpha_per_target"],
    }
    if settings["cv"] == "loo":
        return ridge_loo(kernel_train, responses, grid, **options)
    held_out = inner_folds(rows, settings["cv"], settings["folds"], measured.stimulus_groups)
    if scales_inside_folds(settings):
        scalings = [_scaling(settings, np.delete(rows, fold)) for fold in held_out]
        found = _fold_grams(layer, measured, settings, scalings)
        options["kernel_folds"] = [
            _kernels(one, rows, rows[:0], settings, origin=np.delete(rows, fold))[0]
            for one, fold in zip(found, held_out, strict=True)
        ]
    return ridge_cv(kernel_train, responses, grid, held_out, **options)


def inner_folds(
    rows: np.ndarray, cv: str, folds: str, groups: np.ndarray | None = None
) -> list[np.ndarray]:
    """Folds inside the training stimuli, as positions among them.

    Parameters
    ----------
    rows : (n_train,) int array
        The training stimuli, in their order.
    cv : str
        ``kfold5``.
    folds : {"contiguous", "grouped", "shuffled"}
    groups : (n_stimuli,) array, optional
        Which stimuli belong together.

    Returns
    -------
    list of int arrays
        What each fold holds out.

    Raises
    ------
    ValueError
        If there are fewer stimuli or groups than folds, or grouped folds are asked of stimuli
        without groups.
    """
    if folds == "grouped" and groups is None:
        raise ValueError(
            "folds=grouped: expected stimuli that come in groups, got none. Give the stimuli "
            "groups (stimuli.with_groups), or use folds=contiguous."
        )
    shuffled = folds == "shuffled"
    splits = kfold(
        len(rows),
        int(cv.removeprefix("kfold")),
        seed=FOLD_SEED if shuffled else None,
        groups=None if shuffled or groups is None else groups[rows],
    )
    return [split.test for split in splits]


def _fold_grams(
    layer: Representation,
    measured: Measured,
    settings: Mapping[str, Any],
    scalings: list[Scaling | None],
) -> list[Gram]:
    """A Gram for each fold's scaling, over the block's stimuli, in one walk over the features."""
    positions = measured.positions
    if settings["projection"] == "srp":
        components = johnson_lindenstrauss_dim(layer.n_stimuli)
        return grams(layer.projection(components, PROJECTION_SEED)[positions], scalings)
    moved = [
        scaling and Scaling(tuple(positions[list(scaling.stimuli)]), scaling.kind)
        for scaling in scalings
    ]
    return [gram.subset(positions) for gram in grams(layer.features, moved)]


def _kernels(
    gram: Gram,
    train: np.ndarray,
    test: np.ndarray,
    settings: Mapping[str, Any],
    origin: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Kernels of training and test stimuli."""
    if settings["kernel"] == "linear":
        return centre_kernels(gram, train, test)
    options = {"gamma": settings["gamma"], "origin": origin}
    return kernels_from_gram(gram, train, test, settings["kernel"], **options)


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
    # (Of the centred kernel; the linear one is centred already.)
    unit = relative_alphas(kernel_train)[0] / PUBLISHED_ALPHAS[0]
    return np.asarray(settings["alphas"]) * unit


def check_preset(options: Mapping[str, Any]) -> None:
    """Refuse options that the published preset would silently overrule.

    Raises
    ------
    ValueError
        If ``preset=published`` stands beside another scale, projection or criterion.
    """
    if options["folds"] != ENCODING_OPTIONS["folds"].default and options["cv"] == "loo":
        raise ValueError(
            f"metric: folds={options['folds']} says how the folds of cv=kfold5 are made, but "
            f"cv=loo was asked. Add cv=kfold5, or leave folds out."
        )
    if options["gamma"] is not None and options["kernel"] not in {"poly", "rbf", "sigmoid"}:
        raise ValueError(
            f"metric: gamma belongs to kernel=poly, rbf or sigmoid, but kernel="
            f"{options['kernel']} was asked. Leave gamma out."
        )
    if options["preset"] != "published":
        return
    fixed = {name: ENCODING_OPTIONS[name].default for name in PUBLISHED_DEFAULTS}
    for name, value in {**PUBLISHED, **fixed}.items():
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
