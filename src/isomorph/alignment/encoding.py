"""eReg and eRSA: ridge regression from a layer to every neuroid, and RSA on its predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from isomorph.alignment.ceilings import (
    Ceiling,
    EncodingCeiling,
    encoding_reliability,
    normalise_encoding,
)
from isomorph.alignment.measured import Measured, response_rdm, scale_responses
from isomorph.alignment.metric import (
    METRICS,
    Metric,
    Option,
    Part,
    Score,
    read_alphas,
    split_parts,
)
from isomorph.alignment.representation import Representation
from isomorph.alignment.rsa import RDM_OPTIONS, normalise_rdm_score, rdm_ceiling, rdm_score
from isomorph.encoding import (
    PUBLISHED_ALPHAS,
    SCORE_TYPES,
    centre_kernels,
    relative_alphas,
    ridge_loo,
)
from isomorph.extraction import GramNeed, Need, ProjectionNeed
from isomorph.geometry import (
    RDM_METHODS,
    Gram,
    Scaling,
    grams,
    johnson_lindenstrauss_dim,
    upper_triangle,
)
from isomorph.resampling import Split

# The grid's unit: logspace(-1, 5, 7) was published for about this many standardised components,
# whose kernel has that mean diagonal.
ALPHA_UNIT = 5920
PROJECTION_SEED = 0

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


def _settings(options: Mapping[str, Any]) -> dict[str, Any]:
    settings = {name: options[name] for name in ENCODING_OPTIONS}
    if settings["preset"] == "published":
        settings |= {"scale": "standard", "projection": "srp", "criterion": "pearson"}
    return settings


def ereg(
    layer: Representation, measured: Measured, split: Split, **options: Any
) -> Iterator[Score]:
    """Score the predictions of every neuroid; a region's score is the mean over its neuroids.

    Parameters
    ----------
    layer : Representation
    measured : Measured
        With responses.
    split : Split
        The training half is scored on leave-one-out predictions.
    **options
        ``score`` ("pearsonr", "r2", "explained_variance") and those of the ridge.

    Yields
    ------
    Score
        With `per_neuroid` scores. A neuroid whose score is undefined (constant responses) is left
        out of the mean, and counted in `reason`.

    References
    ----------
    Conwell, Prince, Kay, Alvarez & Konkle 2024, Nature Communications 15:9383.
    """
    assert measured.responses is not None
    predictions = ridge_predictions(layer, measured, split, options)
    for part in split_parts(split):
        predicted = predictions.train if part.rows is split.train else predictions.test
        actual = measured.responses[part.rows]
        scores = score_neuroids(predicted, actual, options["score"])
        # Without a penalty there was nothing to learn from; the left-out means that stand in for
        # predictions would correlate by −1 with the responses.
        scores[np.isnan(predictions.alphas)] = np.nan
        for group, columns in measured.groups.items():
            yield encoding_score(
                group, part, scores[columns], columns, predictions, {"predictions": predicted}
            )


def score_neuroids(predicted: np.ndarray, actual: np.ndarray, score_type: str) -> np.ndarray:
    """Score each column, over the stimuli that have a response (all, as a rule).

    Parameters
    ----------
    predicted, actual : (n_stimuli, n_neuroids) arrays
    score_type : str
        One of `isomorph.encoding.SCORE_TYPES`.

    Returns
    -------
    (n_neuroids,) array
    """
    score = SCORE_TYPES[score_type]
    present = np.isfinite(actual) & np.isfinite(predicted)
    if present.all():
        return score(predicted, actual)
    scores = np.full(actual.shape[1], np.nan)
    for column, rows in enumerate(present.T):
        if rows.sum() >= 3:
            scores[column] = score(
                predicted[rows, column : column + 1], actual[rows, column : column + 1]
            )[0]
    return scores


def encoding_score(
    group: tuple[str, str],
    part: Part,
    scores: np.ndarray,
    columns: np.ndarray,
    predictions: Predictions,
    artefacts: Mapping[str, np.ndarray],
) -> Score:
    """Average the neuroids of a region of a subject."""
    defined = np.isfinite(scores)
    reason = ""
    if not defined.all():
        undefined = int((~defined).sum())
        reason = (
            f"{undefined} of {len(scores)} neuroids have no score (constant responses, or a layer "
            f"without variance)" + ("; they are left out" if defined.any() else "")
        )
    return Score(
        region=group[0],
        subj_id=group[1],
        cv_split=part.cv_split,
        value=float(scores[defined].mean()) if defined.any() else float("nan"),
        n_stimuli=len(part.rows),
        n_neuroids=len(scores),
        selection=part.selection,
        reason=reason,
        per_neuroid=scores,
        neuroids=columns,
        alphas=predictions.alphas[columns],
        alpha_at_edge=float(predictions.at_edge[columns].mean()),
        artefacts={name: array[:, columns] for name, array in artefacts.items()},
    )


def neuroid_ceiling(
    measured: Measured,
    group: tuple[str, str],
    part: Part,
    options: Mapping[str, Any],
    *,
    seed: int = 0,
) -> Ceiling:
    """Ceiling of an encoding score: the split-half reliability of the mean over repeats.

    The reliability is estimated on all stimuli, since that of the scored half (or of one fold) is
    as unbiased and noisier. For ``score=pearsonr`` the ceiling is
    the root of the neuroids' mean reliability; for the shares of variance ("r2",
    "explained_variance") it is the mean reliability itself.
    """
    if measured.repeats is None:
        nan = float("nan")
        reason = "one repetition: no split halves"
        return Ceiling(value=nan, lower=nan, upper=nan, scale="r2", method="", reason=reason)
    key = ("reliability", seed)
    if key not in measured.memo:
        measured.memo[key] = encoding_reliability(measured.repeats, seed=seed)
    found = measured.memo[key].ceiling(measured.groups[group])
    if options["score"] == "pearsonr":
        return found
    bounds = [np.sign(bound) * bound**2 for bound in (found.value, found.lower, found.upper)]
    return replace(found, value=bounds[0], lower=bounds[1], upper=bounds[2])


def normalise_encoding_score(score: Score, ceiling: Ceiling, options: Mapping[str, Any]) -> float:
    """Divide by the ceiling on the r² scale, over all neuroids of the region together."""
    if not isinstance(ceiling, EncodingCeiling) or score.per_neuroid is None:
        return float("nan")
    if options["score"] == "pearsonr":
        return normalise_encoding(score.per_neuroid, score.n_stimuli, ceiling.reliability)
    both = np.isfinite(score.per_neuroid) & np.isfinite(ceiling.reliability)
    total = ceiling.reliability[both].sum()
    return float(score.per_neuroid[both].sum() / total) if total > 0 else float("nan")


def ersa(
    layer: Representation, measured: Measured, split: Split, **options: Any
) -> Iterator[Score]:
    """Compare the RDM of an encoding model's predictions with the measured RDM.

    Parameters
    ----------
    layer : Representation
    measured : Measured
        With responses.
    split : Split
        The training half's RDM is of leave-one-out predictions.
    **options
        ``distance``, ``compare``, ``response_scale``, and those of the ridge.

    Yields
    ------
    Score

    References
    ----------
    Conwell et al. 2024, Nature Communications 15:9383 (there "weighted RSA"); Kaniuth & Hebart
    2022, NeuroImage 257:119294.
    """
    assert measured.responses is not None
    predictions = ridge_predictions(layer, measured, split, options)
    for part in split_parts(split):
        predicted = predictions.train if part.rows is split.train else predictions.test
        shown = np.where(np.isfinite(measured.responses[part.rows]), predicted, np.nan)
        for group, columns in measured.groups.items():
            values = shown[:, columns]
            if np.isnan(predictions.alphas[columns]).all():
                values = np.zeros_like(values)  # nothing was learned: a constant RDM, said as such
            values = scale_responses(values, options["response_scale"])
            model_rdm = upper_triangle(response_rdm(values, options["distance"]))
            target = measured.rdm(
                group,
                part.rows,
                distance=options["distance"],
                response_scale=options["response_scale"],
            )
            yield rdm_score(measured, group, part, model_rdm, target, options["compare"])


def encoding_parts(measured: Measured, split: Split) -> Iterator[tuple[tuple[str, str], Part]]:
    """Give every (region, subject) with the parts of the split."""
    for group in measured.groups:
        for part in split_parts(split):
            yield group, part


_SHARED = {
    "needs": encoding_needs,
    "parts": encoding_parts,
    "data": frozenset({"responses"}),
    "symmetric": False,
    "version": 1,
}
METRICS.add(
    "eReg",
    Metric(
        name="eReg",
        compute=ereg,
        ceiling=neuroid_ceiling,
        normalise=normalise_encoding_score,
        options={
            "score": Option("pearsonr", tuple(SCORE_TYPES), summary="score of a neuroid"),
            **ENCODING_OPTIONS,
        },
        range=(-1.0, 1.0),
        invariances=frozenset({"permutation", "isotropic scaling", "translation"}),
        ceiling_scale="r2",
        summary="Encoding regression: ridge on all features, score per neuroid.",
        reference="Conwell et al. 2024, Nat. Commun. 15:9383",
        **_SHARED,
    ),
)
METRICS.add(
    "eRSA",
    Metric(
        name="eRSA",
        compute=ersa,
        ceiling=rdm_ceiling,
        normalise=normalise_rdm_score,
        options={
            "distance": Option(
                "pearson", tuple(RDM_METHODS), summary="dissimilarity of two stimuli"
            ),
            **RDM_OPTIONS,
            **ENCODING_OPTIONS,
        },
        range=(-1.0, 1.0),
        invariances=frozenset({"permutation", "isotropic scaling", "translation"}),
        ceiling_scale="r",
        summary="Encoding RSA: the RDM of the predicted responses against the measured one.",
        reference="Conwell et al. 2024, Nat. Commun. 15:9383; Kaniuth & Hebart 2022",
        **_SHARED,
    ),
)
