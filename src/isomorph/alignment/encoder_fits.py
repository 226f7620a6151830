"""Encoding models other than ridge, fitted on a layer: predictions of both halves of a split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from isomorph.alignment.representation import Representation
from isomorph.encoding import (
    PENALTY_SHARES,
    AssignmentError,
    isometric_coordinates,
    least_squares,
    match_units,
    pls_regression,
    sparse_regression,
)
from isomorph.geometry import Scaling
from isomorph.geometry.columns import (
    BLOCK_BYTES,
    as_features,
    column_scale,
    column_slices,
    require_finite,
)


@dataclass(frozen=True)
class Task:
    """What one fit is given: rows of the layer, and responses to learn.

    Parameters
    ----------
    layer : Representation
    train, test : int arrays
        Rows of the layer.
    responses : (n_train, t) array
        Finite.
    folds : tuple of int array
        Rows of the training stimuli that each fold holds out.
    score_train : bool
        Whether predictions of the training stimuli are wanted.
    """

    layer: Representation
    train: np.ndarray
    test: np.ndarray
    responses: np.ndarray
    folds: tuple[np.ndarray, ...]
    score_train: bool


@dataclass(frozen=True)
class Fitted:
    """Predictions of the training stimuli, held out, and of the test stimuli.

    Parameters
    ----------
    train : (n_train, t) array
    test : (n_test, t) array
    alphas : (t,) array
        Penalties, NaN where there are none.
    at_edge : (t,) bool array
    note : str
        What should be known of the fit.
    """

    train: np.ndarray
    test: np.ndarray
    alphas: np.ndarray
    at_edge: np.ndarray
    note: str = ""


Fit = Callable[[Task, Mapping[str, Any]], Fitted]


def fit_pls(task: Task, options: Mapping[str, Any]) -> Fitted:
    """PLS of all neuroids of a region of a subject together."""
    coordinates = layer_coordinates(task.layer)
    asked, found = options["components"], []

    def predict(fit_on: np.ndarray, new: np.ndarray, responses: np.ndarray) -> np.ndarray:
        x = coordinates[fit_on]
        most = min(len(x) - 1, x.shape[1])
        fit = pls_regression(x, responses, min(asked, most))
        found.append(fit.n_components)
        return fit.predict(coordinates[new])

    fitted = _cross_validated(task, predict)
    if min(found) < asked:
        note = f"{min(found)} of {asked} components: layer or training stimuli have no more"
        return replace(fitted, note=note)
    return fitted


def fit_least_squares(task: Task, options: Mapping[str, Any]) -> Fitted:
    """Least squares of minimal norm; the training stimuli by exact leave-one-out."""
    coordinates = layer_coordinates(task.layer)
    fit = least_squares(coordinates[task.train], task.responses, coordinates[task.test])
    return _without_penalty(fit.loo_predictions, fit.predictions)


def fit_sparse(task: Task, options: Mapping[str, Any]) -> Fitted:
    """Lasso or elastic net, the penalty of each neuroid by cross-validation on the train half."""
    features = task.layer.features
    shift, weight = 0.0, 1.0
    if options["scale"] != "none":
        stimuli = tuple(int(row) for row in task.train)
        scale = column_scale(features, Scaling(stimuli=stimuli, kind=options["scale"]))
        shift, weight = scale.shift.double(), scale.weight.double()
    train, test = (
        ((features[torch.as_tensor(rows)].double() - shift) * weight).cpu().numpy()
        for rows in (task.train, task.test)
    )
    shares = options["penalties"] or PENALTY_SHARES
    fit = sparse_regression(
        train,
        task.responses,
        test,
        task.folds,
        l1_ratio=options.get("l1_ratio", 1.0),
        shares=shares,
    )
    note = ""
    if fit.n_unconverged:
        note = f"{fit.n_unconverged} of {len(fit.index)} neuroids did not converge"
    at_edge = np.isin(fit.index, (0, len(shares) - 1))
    return Fitted(fit.cv_predictions, fit.predictions, fit.alphas, at_edge, note)


def fit_single_units(task: Task, options: Mapping[str, Any]) -> Fitted:
    """Each neuroid's best unit, chosen without the stimuli that are predicted."""
    features = task.layer.features

    def predict(fit_on: np.ndarray, new: np.ndarray, responses: np.ndarray) -> np.ndarray:
        matches = match_units(features, responses, match=options["match"], rows=fit_on)
        return matches.predict(features)[new]

    try:
        return _cross_validated(task, predict)
    except AssignmentError as error:
        nothing = [
            np.full((len(rows), task.responses.shape[1]), np.nan)
            for rows in (task.train, task.test)
        ]
        return _without_penalty(*nothing, note=str(error).rstrip("."))


def layer_coordinates(layer: Representation) -> np.ndarray:
    """The layer's `isometric_coordinates` over all stimuli, computed once."""
    if "coordinates" not in layer.memo:
        layer.memo["coordinates"] = isometric_coordinates(layer.features)
    return layer.memo["coordinates"]


def layer_varies(layer: Representation) -> bool:
    """Whether any feature differs between two stimuli, in blocks of features.

    Raises
    ------
    NonFiniteError
        If a feature is not finite.
    """
    features = as_features(layer.features)
    varies = False
    for columns in column_slices(features, BLOCK_BYTES):
        block = features[:, columns]
        if not bool(torch.isfinite(block).all()):
            require_finite(features, block.double().sum(), BLOCK_BYTES)
        varies = varies or bool((block != block[0]).any())
    return varies


def _cross_validated(
    task: Task, predict: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
) -> Fitted:
    """Predict each fold of the training stimuli from the others, and the test stimuli from all."""
    train = np.full(task.responses.shape, np.nan)
    for fold in task.folds if task.score_train else ():
        rest = np.setdiff1d(np.arange(len(task.train)), fold)
        if len(rest) >= 2:  # a group may be nearly all there is: without it nothing is learned
            train[fold] = predict(task.train[rest], task.train[fold], task.responses[rest])
    return _without_penalty(train, predict(task.train, task.test, task.responses))


def _without_penalty(train: np.ndarray, test: np.ndarray, note: str = "") -> Fitted:
    n_targets = train.shape[1]
    return Fitted(train, test, np.full(n_targets, np.nan), np.zeros(n_targets, bool), note)
