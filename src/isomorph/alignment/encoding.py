"""eReg and eRSA: how well a layer predicts every neuroid, and RSA on the predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from isomorph.alignment.ceilings import (
    Ceiling,
    EncodingCeiling,
    encoding_reliability,
    normalise_encoding,
    normalise_neuroids,
)
from isomorph.alignment.measured import Measured, response_rdm, scale_responses
from isomorph.alignment.metric import METRICS, Metric, Option, Part, Score, split_parts
from isomorph.alignment.predictions import (
    ENCODING_OPTIONS,
    Predictions,
    check_preset,
    encoding_needs,
    ridge_predictions,
)
from isomorph.alignment.representation import Representation
from isomorph.alignment.rsa import (
    PLAIN_DISTANCES,
    RDM_OPTIONS,
    normalise_rdm_score,
    rdm_ceiling,
    rdm_score,
)
from isomorph.encoding import SCORE_TYPES
from isomorph.geometry import upper_triangle
from isomorph.resampling import Split


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
                group,
                part,
                scores[columns],
                np.isfinite(actual).sum(axis=0)[columns],
                columns,
                predictions,
                {"predictions": predicted},
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
    # Neuroids that miss the same stimuli are scored together.
    patterns, which = np.unique(present, axis=1, return_inverse=True)
    for number, rows in enumerate(patterns.T):
        if rows.sum() >= 3:
            own = np.flatnonzero(which.reshape(-1) == number)
            scores[own] = score(predicted[np.ix_(rows, own)], actual[np.ix_(rows, own)])
    return scores


def encoding_score(
    group: tuple[str, str],
    part: Part,
    scores: np.ndarray,
    counts: np.ndarray,
    columns: np.ndarray,
    predictions: Predictions,
    artefacts: Mapping[str, np.ndarray],
) -> Score:
    """Average the neuroids of a region of a subject."""
    defined = np.isfinite(scores)
    chosen = np.isfinite(predictions.alphas[columns])
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
        n_per_neuroid=counts,
        alphas=predictions.alphas[columns],
        alpha_at_edge=float(predictions.at_edge[columns][chosen].mean())
        if chosen.any()
        else np.nan,
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
        counts = score.n_stimuli if score.n_per_neuroid is None else score.n_per_neuroid
        return normalise_encoding(score.per_neuroid, counts, ceiling.reliability)
    both = np.isfinite(score.per_neuroid) & np.isfinite(ceiling.reliability)
    total = ceiling.reliability[both].sum()
    return float(score.per_neuroid[both].sum() / total) if total > 0 else float("nan")


def normalise_each_neuroid(
    score: Score, ceiling: Ceiling, options: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give each neuroid's ceiling, its score divided by it, and why that is NaN.

    Parameters
    ----------
    score : Score
        With `per_neuroid`.
    ceiling : Ceiling
        Of the region.
    options : mapping

    Returns
    -------
    ceilings, normalised, reasons : (n_neuroids,) arrays
    """
    assert score.per_neuroid is not None
    reliability = np.full(len(score.per_neuroid), np.nan)
    if isinstance(ceiling, EncodingCeiling):
        reliability = ceiling.reliability
    known = np.where(reliability > 0, reliability, np.nan)
    counts = score.n_stimuli if score.n_per_neuroid is None else score.n_per_neuroid
    normalised, reasons = normalise_neuroids(score.per_neuroid, counts, reliability)
    if options["score"] == "pearsonr":
        return np.sqrt(known), normalised, reasons
    return known, score.per_neuroid / known, reasons


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
    "check": check_preset,
}
METRICS.add(
    "eReg",
    Metric(
        name="eReg",
        compute=ereg,
        ceiling=neuroid_ceiling,
        normalise=normalise_encoding_score,
        normalise_neuroids=normalise_each_neuroid,
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
            "distance": Option("pearson", PLAIN_DISTANCES, summary="dissimilarity of two stimuli"),
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
