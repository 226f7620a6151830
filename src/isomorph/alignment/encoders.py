"""Other encoding models as metrics: PLS, least squares, lasso, elastic net, single units."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from isomorph.alignment.encoder_fits import (
    Fit,
    Fitted,
    Task,
    fit_least_squares,
    fit_pls,
    fit_single_units,
    fit_sparse,
    layer_coordinates,
    layer_varies,
)
from isomorph.alignment.encoding import (
    neuroid_ceiling,
    normalise_each_neuroid,
    normalise_encoding_score,
    score_neuroids,
)
from isomorph.alignment.measured import Measured
from isomorph.alignment.metric import METRICS, Metric, Option, Part, Score, is_fold, split_parts
from isomorph.alignment.representation import Representation
from isomorph.encoding import BRAIN_SCORE_COMPONENTS, SCORE_TYPES
from isomorph.extraction import FeaturesNeed, Need
from isomorph.geometry import NonFiniteError
from isomorph.resampling import Split, kfold

N_FOLDS = 5
# With fewer nothing can be held out of them and still be learned from.
MIN_TRAIN = 4


def encoder_scores(
    fit: Fit,
    together: Callable[[Mapping[str, Any]], bool],
    name: str,
    layer: Representation,
    measured: Measured,
    split: Split,
    options: Mapping[str, Any],
) -> Iterator[Score]:
    """Score the predictions of an encoding model; a region's score is its neuroids' mean.

    Parameters
    ----------
    fit : callable
        ``fit(task, options)`` gives `Fitted`.
    together : callable
        ``together(options)`` tells whether a neuroid's prediction depends on the others it is
        fitted with: then each region of a subject is fitted by itself, so that no score depends on
        what else was measured.
    name : str
        Of the metric.
    layer, measured, split, options
        As in `Metric`.

    Yields
    ------
    Score
        Train rows score predictions of contiguous fifths of the training stimuli from the other
        four (of single stimuli, where leave-one-out has a closed form).
    """
    assert measured.responses is not None
    everything = np.arange(measured.responses.shape[1])
    settings = {key: value for key, value in options.items() if key != "score"}
    alone = together(settings)
    for group, columns in measured.groups.items():
        fitted_columns = columns if alone else everything
        key = (name, id(measured), split, tuple(settings.items()), fitted_columns.tobytes())
        if key not in layer.memo:
            layer.memo[key] = _fit_columns(fit, layer, measured, split, settings, fitted_columns)
        fitted, where = layer.memo[key], np.arange(len(columns)) if alone else columns
        for part in split_parts(split):
            yield _score(measured, split, group, part, columns, fitted, where, options["score"])


def _fit_columns(
    fit: Fit,
    layer: Representation,
    measured: Measured,
    split: Split,
    options: Mapping[str, Any],
    columns: np.ndarray,
) -> Fitted:
    """Fit some neuroids; those that miss the same stimuli are fitted together without them."""
    assert measured.responses is not None
    responses = measured.responses[:, columns]
    train = np.full((len(split.train), len(columns)), np.nan)
    test = np.full((len(split.test), len(columns)), np.nan)
    alphas, at_edge = np.full(len(columns), np.nan), np.zeros(len(columns), dtype=bool)
    notes: dict[str, None] = {}
    silent = _why_silent(layer, fit in (fit_pls, fit_least_squares))
    if silent:
        return Fitted(train, test, alphas, at_edge, silent)
    patterns, which = np.unique(np.isfinite(responses[split.train]), axis=1, return_inverse=True)
    for number, pattern in enumerate(patterns.T):
        own = np.flatnonzero(which.reshape(-1) == number)
        rows = split.train[pattern]
        if len(rows) < MIN_TRAIN:
            notes[f"{len(rows)} training stimuli; an encoding model needs {MIN_TRAIN}"] = None
            continue
        task = Task(
            layer,
            measured.positions[rows],
            measured.positions[split.test],
            responses[np.ix_(rows, own)],
            _folds(measured, rows),
            not is_fold(split),
        )
        fitted = fit(task, options)
        train[np.ix_(np.flatnonzero(pattern), own)] = fitted.train
        test[:, own] = fitted.test
        alphas[own], at_edge[own] = fitted.alphas, fitted.at_edge
        notes[fitted.note] = None
    return Fitted(train, test, alphas, at_edge, "; ".join(filter(None, notes)))


def _folds(measured: Measured, rows: np.ndarray) -> tuple[np.ndarray, ...]:
    """Contiguous folds of training rows; stimuli of one group stay together."""
    groups = measured.stimulus_groups
    own = None if groups is None else groups[rows]
    n = len(rows) if own is None else len(set(own.tolist()))
    if n < 2:
        own, n = None, len(rows)
    return tuple(fold.test for fold in kfold(len(rows), min(N_FOLDS, n), groups=own))


def _why_silent(layer: Representation, by_coordinates: bool) -> str:
    """Why nothing can be learned from a layer; by its coordinates only where the fit takes them."""
    key = ("silent", by_coordinates)
    if key not in layer.memo:
        try:
            varies = layer_coordinates(layer).shape[1] if by_coordinates else layer_varies(layer)
            layer.memo[key] = "" if varies else "the layer's features are constant"
        except NonFiniteError as error:
            layer.memo[key] = str(error)
    return layer.memo[key]


def _score(
    measured: Measured,
    split: Split,
    group: tuple[str, str],
    part: Part,
    columns: np.ndarray,
    fitted: Fitted,
    where: np.ndarray,
    score_type: str,
) -> Score:
    assert measured.responses is not None
    predicted = (fitted.train if part.rows is split.train else fitted.test)[:, where]
    actual = measured.responses[np.ix_(part.rows, columns)]
    scores = score_neuroids(predicted, actual, score_type)
    defined = np.isfinite(scores)
    reasons = [fitted.note]
    if not defined.all() and not (fitted.note and not defined.any()):
        reasons.append(
            f"{int((~defined).sum())} of {len(scores)} neuroids have no score (constant responses "
            f"or predictions)" + ("; they are left out" if defined.any() else "")
        )
    chosen = np.isfinite(fitted.alphas[where])
    return Score(
        region=group[0],
        subj_id=group[1],
        cv_split=part.cv_split,
        value=float(scores[defined].mean()) if defined.any() else float("nan"),
        n_stimuli=len(part.rows),
        n_neuroids=len(scores),
        selection=part.selection,
        reason="; ".join(filter(None, reasons)),
        per_neuroid=scores,
        neuroids=columns,
        n_per_neuroid=np.isfinite(actual).sum(axis=0),
        alphas=fitted.alphas[where],
        alpha_at_edge=float(fitted.at_edge[where][chosen].mean()) if chosen.any() else np.nan,
        artefacts={"predictions": predicted},
    )


def _parts(measured: Measured, split: Split) -> Iterator[tuple[tuple[str, str], Part]]:
    for group in measured.groups:
        for part in split_parts(split):
            yield group, part


def _needs(_n: int, _train: np.ndarray, _options: Mapping[str, Any]) -> tuple[Need, ...]:
    return (FeaturesNeed(),)


def add_encoder(
    name: str,
    fit: Fit,
    *,
    options: Mapping[str, Option],
    rotation: bool,
    summary: str,
    reference: str,
    together: Callable[[Mapping[str, Any]], bool] = lambda _options: False,
) -> Metric:
    """Add a metric that scores the predictions of an encoding model for each neuroid."""

    def compute(
        layer: Representation, measured: Measured, split: Split, **given: Any
    ) -> Iterator[Score]:
        return encoder_scores(fit, together, name, layer, measured, split, given)

    invariances = {"permutation", "isotropic scaling", "translation"}
    return METRICS.add(
        name,
        Metric(
            name=name,
            compute=compute,
            parts=_parts,
            needs=_needs,
            ceiling=neuroid_ceiling,
            normalise=normalise_encoding_score,
            normalise_neuroids=normalise_each_neuroid,
            options={
                "score": Option("pearsonr", tuple(SCORE_TYPES), summary="score of a neuroid"),
                **options,
            },
            data=frozenset({"responses"}),
            range=(-1.0, 1.0),
            symmetric=False,
            invariances=frozenset(invariances | ({"rotation"} if rotation else set())),
            ceiling_scale="r2",
            version=1,
            summary=summary,
            reference=reference,
        ),
    )


def read_components(text: str) -> int:
    """Read a number of components, 1 or more."""
    number = int(text)
    if number < 1:
        raise ValueError("expected 1 component or more.")
    return number


def read_shares(text: str) -> tuple[float, ...] | None:
    """Read ``0.01|0.1``: penalties as shares of the largest useful one, in rising order."""
    if text == "None":
        return None
    values = tuple(float(item) for item in text.split("|") if item)
    if not values or list(values) != sorted(set(values)) or values[0] <= 0 or values[-1] > 1:
        raise ValueError("expected shares above 0, up to 1, in rising order, such as 0.01|0.1.")
    return values


def read_ratio(text: str) -> float:
    """Read a share above 0, up to 1."""
    value = float(text)
    if not 0 < value <= 1:
        raise ValueError("expected a share above 0, up to 1.")
    return value


_SPARSE_OPTIONS = {
    "scale": Option(
        "floored",
        ("floored", "none", "standard"),
        summary="features divided by sqrt(s² + mean s²) of the training stimuli, by nothing, or "
        "by s",
    ),
    "penalties": Option(
        None,
        read=read_shares,
        summary="shares of the smallest penalty at which every weight is zero (0.01|0.1|...)",
    ),
}
add_encoder(
    "PLS",
    fit_pls,
    together=lambda _options: True,
    rotation=True,
    options={
        "components": Option(
            BRAIN_SCORE_COMPONENTS, read=read_components, summary="components, or as many as exist"
        )
    },
    summary="Partial least squares of a region's neuroids together, features unscaled; mean over "
    "neuroids (Brain-Score takes their median).",
    reference="Schrimpf et al. 2018, Brain-Score, bioRxiv 407007; Wegelin 2000",
)
add_encoder(
    "OLS",
    fit_least_squares,
    rotation=True,
    options={},
    summary="Least squares on all features, of minimal norm where they outnumber stimuli.",
    reference="Hastie, Montanari, Rosset & Tibshirani 2022, Ann. Statist. 50(2)",
)
add_encoder(
    "lasso",
    fit_sparse,
    rotation=False,
    options=_SPARSE_OPTIONS,
    summary="Lasso of each neuroid by itself, penalty by cross-validation; slow on wide layers.",
    reference="Tibshirani 1996, JRSS B 58(1)",
)
add_encoder(
    "elastic_net",
    fit_sparse,
    rotation=False,
    options={
        "l1_ratio": Option(0.5, read=read_ratio, summary="share of the penalty that is L1"),
        **_SPARSE_OPTIONS,
    },
    summary="Elastic net of each neuroid by itself, penalty by cross-validation; slow on wide "
    "layers.",
    reference="Zou & Hastie 2005, JRSS B 67(2)",
)
add_encoder(
    "one_to_one",
    fit_single_units,
    together=lambda options: options["match"] == "assignment",
    rotation=False,
    options={
        "match": Option(
            "semi",
            ("semi", "assignment"),
            summary="each neuroid's best unit, or the best assignment that uses no unit twice",
        )
    },
    summary="Each neuroid by the single unit most like it, chosen on other stimuli than scored.",
    reference="Li et al. 2015, arXiv:1511.07543; Khosla & Williams 2024, arXiv:2311.09466",
)
