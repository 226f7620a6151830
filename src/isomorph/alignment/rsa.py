"""cRSA: classical representational similarity analysis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from isomorph.alignment.ceilings import (
    Ceiling,
    leave_one_subject_out_ceiling,
    rdm_repeats_ceiling,
)
from isomorph.alignment.measured import GROUP, Measured, needs_repeats
from isomorph.alignment.metric import METRICS, Metric, Option, Part, Score, is_fold, split_parts
from isomorph.alignment.representation import Representation, layer_need
from isomorph.extraction import Need
from isomorph.geometry import (
    COMPARISONS,
    RDM_METHODS,
    UndefinedRDMError,
    compare_rdms,
    rdm_method,
)
from isomorph.resampling import Split, is_swapped

# A correlation over fewer pairs than this says nothing; 4 stimuli give 6 pairs.
MIN_STIMULI = 4
MIN_NEUROIDS = 3


def _read_distance(text: str) -> str:
    """The registered name: ``correlation`` is ``pearson``."""
    found = rdm_method(text)
    return next(name for name, method in RDM_METHODS.items() if method is found)


PLAIN_DISTANCES = tuple(
    name for name, method in RDM_METHODS.items() if not (needs_repeats(name) or method.rates)
)
"""Distances that any features have, negative ones too, with nothing beside them."""

RDM_OPTIONS = {
    "compare": Option(
        "pearson", tuple(COMPARISONS), summary="how two RDMs are compared over their pairs"
    ),
    "response_scale": Option(
        "none",
        ("none", "zscore"),
        summary="z-score each neuroid over the scored stimuli before the measured RDM",
    ),
}


def rdm_parts(measured: Measured, split: Split) -> Iterator[tuple[tuple[str, str], Part]]:
    """Give every (region, subject) with the parts on which its RDM is scored.

    Responses: the split's train and test halves. RDMs of several subjects: the layer is chosen on
    the other subjects and the other half of the stimuli, and every subject is also scored on all
    stimuli. One RDM only: all stimuli, in sample.
    """
    everything = np.arange(measured.n_stimuli)
    for group in measured.groups or measured.rdms:
        if measured.kind == "responses" or is_fold(split):
            for part in split_parts(split):
                yield group, part
            continue
        n_subjects = len(_single_subjects(measured, group[0]))
        if n_subjects > 1:
            how = "stimuli" if group[1] == GROUP else "subjects+stimuli"
            yield group, Part(split.train_name, split.train, how, of_others=group[1] != GROUP)
            yield group, Part(split.test_name, split.test, how)
        if not is_swapped(split):  # all stimuli are the same in both directions
            yield group, Part("all", everything, "in_sample")


def crsa(
    layer: Representation,
    measured: Measured,
    split: Split,
    *,
    distance: str = "pearson",
    compare: str = "pearson",
    response_scale: str = "none",
) -> Iterator[Score]:
    """Compare the RDM of a layer's features with each region's measured RDM.

    Parameters
    ----------
    layer : Representation
        Features over the benchmark's stimuli.
    measured : Measured
        Responses, or RDMs.
    split : Split
        Rows of `measured`.
    distance : str
        Dissimilarity of two stimuli, in the features and in the responses: see `compute_rdm`.
        ``mahalanobis``, ``sqmahalanobis`` and ``crossnobis`` normalise the responses by the noise
        between their repeats, and take the (squared) Euclidean distance, per feature, of the
        layer, which has no noise; ``poisson_cv`` takes ``poisson`` of the layer.
    compare : str
        How two RDMs are compared over the pairs of stimuli: ``"pearson"``, ``"spearman"``.
    response_scale : str
        ``"zscore"`` z-scores each neuroid over the scored stimuli first.

    Yields
    ------
    Score
        One for each region, subject and part.

    References
    ----------
    Kriegeskorte, Mur & Bandettini 2008, Frontiers in Systems Neuroscience 2:4.
    """
    for group, part in rdm_parts(measured, split):
        try:
            target = target_rdm(measured, group, part, distance, response_scale)
        except UndefinedRDMError as error:
            yield _undefined(measured, group, part, f"the measured RDM: {error}")
            continue
        try:
            model_rdm = layer.rdm(measured.positions[part.rows], distance)
        except UndefinedRDMError as error:
            yield _undefined(measured, group, part, f"the layer's RDM: {error}")
            continue
        yield rdm_score(measured, group, part, model_rdm, target, compare)


def _undefined(measured: Measured, group: tuple[str, str], part: Part, reason: str) -> Score:
    return Score(
        region=group[0],
        subj_id=group[1],
        cv_split=part.cv_split,
        value=float("nan"),
        n_stimuli=len(part.rows),
        n_neuroids=len(measured.groups[group]) if measured.kind == "responses" else None,
        selection=part.selection,
        reason=reason.rstrip("."),
    )


def rdm_score(
    measured: Measured,
    group: tuple[str, str],
    part: Part,
    model_rdm: np.ndarray,
    target: np.ndarray,
    compare: str,
) -> Score:
    """Compare two RDM vectors and say, where the result is undefined, why."""
    n_neuroids = len(measured.groups[group]) if measured.kind == "responses" else None
    reason = ""
    if len(part.rows) < MIN_STIMULI:
        reason = f"{len(part.rows)} stimuli; an RDM comparison needs {MIN_STIMULI}"
    elif n_neuroids is not None and n_neuroids < MIN_NEUROIDS:
        reason = f"{n_neuroids} neuroids; a measured RDM needs {MIN_NEUROIDS}"
    elif not np.isfinite(target).all():
        reason = "the measured RDM has undefined pairs (a stimulus with constant responses)"
    elif not np.isfinite(model_rdm).all():
        reason = "the layer's RDM has undefined pairs (a stimulus with constant features)"
    elif np.ptp(target) == 0:
        reason = "the measured RDM is constant"
    elif np.ptp(model_rdm) == 0:
        reason = "the layer's RDM is constant"
    value = float("nan") if reason else float(compare_rdms(model_rdm, target, method=compare))
    if not reason and np.isnan(value):
        reason = (
            f"compare={compare} is undefined for these RDMs: it may take squared distances between "
            "points, and more neuroids and features than stimuli"
        )
    return Score(
        region=group[0],
        subj_id=group[1],
        cv_split=part.cv_split,
        value=value,
        n_stimuli=len(part.rows),
        n_neuroids=n_neuroids,
        selection=part.selection,
        reason=reason,
        artefacts={"rdms": model_rdm},
    )


def rdm_ceiling(
    measured: Measured,
    group: tuple[str, str],
    part: Part,
    options: Mapping[str, Any],
    *,
    seed: int = 0,
) -> Ceiling:
    """Ceiling of an RDM score: from the repeats, or from the other subjects.

    Parameters
    ----------
    measured : Measured
    group : (region, subj_id)
    part : Part
    options : mapping
        The metric's: ``distance``, ``compare``, ``response_scale``.
    seed : int
        For the halves of the repeats, the simulated twin and the interval.

    Returns
    -------
    Ceiling
        NaN with a reason where there is neither a repeat nor another subject.
    """
    if measured.kind == "responses":
        if measured.repeats is None:
            return _no_ceiling("one repetition: no split halves")
        return rdm_repeats_ceiling(
            measured.repeats[part.rows][:, :, measured.groups[group]],
            distance=options.get("distance", "pearson"),
            compare=options["compare"],
            response_scale=options["response_scale"],
            seed=seed,
        )
    subjects = _single_subjects(measured, group[0])
    if group[1] == GROUP:
        return _no_ceiling("the group's mean RDM holds every subject: none is left out")
    if not np.isfinite(COMPARISONS[options["compare"]].range).all():
        return _no_ceiling(f"compare={options['compare']} is a distance: not a share of a ceiling")
    if part.of_others:
        return _no_ceiling("train rows score the other subjects' mean RDM, to choose layers")
    vectors = np.stack([measured.rdm((group[0], subject), part.rows) for subject in subjects])
    found = leave_one_subject_out_ceiling(vectors, options["compare"])
    return found.subject(subjects.index(group[1]))


def normalise_rdm_score(score: Score, ceiling: Ceiling, options: Mapping[str, Any]) -> float:
    """Divide an RDM score by its ceiling; never clipped."""
    return score.value / ceiling.value


def _no_ceiling(reason: str) -> Ceiling:
    nan = float("nan")
    return Ceiling(value=nan, lower=nan, upper=nan, scale="r", method="", reason=reason)


def _single_subjects(measured: Measured, region: str) -> list[str]:
    return [subject for name, subject in measured.rdms if name == region and subject != GROUP]


def target_rdm(
    measured: Measured, group: tuple[str, str], part: Part, distance: str, response_scale: str
) -> np.ndarray:
    """Give the measured RDM of a part: the subject's, or the mean of the others."""
    if part.of_others:
        others = [
            subject for subject in _single_subjects(measured, group[0]) if subject != group[1]
        ]
        return np.mean([measured.rdm((group[0], subject), part.rows) for subject in others], axis=0)
    return measured.rdm(group, part.rows, distance=distance, response_scale=response_scale)


def _needs(_n_stimuli: int, _train: np.ndarray, options: Mapping[str, Any]) -> tuple[Need, ...]:
    return (layer_need(options["distance"]),)


def _check(options: Mapping[str, Any]) -> None:
    if rdm_method(options["distance"]).rates and options["response_scale"] != "none":
        raise ValueError(
            f"metric: distance={options['distance']} compares rates, which are not negative, but "
            f"response_scale={options['response_scale']} makes them so. Leave one of them out."
        )


METRICS.add(
    "cRSA",
    Metric(
        name="cRSA",
        compute=crsa,
        parts=rdm_parts,
        needs=_needs,
        ceiling=rdm_ceiling,
        normalise=normalise_rdm_score,
        options={
            "distance": Option(
                "pearson",
                (*RDM_METHODS, "correlation"),
                read=_read_distance,
                summary="dissimilarity of two stimuli",
            ),
            **RDM_OPTIONS,
        },
        check=_check,
        data=frozenset({"responses", "rdms"}),
        range=(-1.0, 1.0),
        symmetric=True,
        # For the Pearson distance; a translation that is equal for all features leaves it too.
        invariances=frozenset({"isotropic scaling", "permutation"}),
        ceiling_scale="r",
        version=1,
        summary="Classical RSA: the RDM of the features against the measured RDM.",
        reference="Kriegeskorte, Mur & Bandettini 2008, Front. Syst. Neurosci. 2:4",
    ),
)
