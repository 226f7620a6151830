"""Cross-validation of RDM models over stimuli and over subjects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from isomorph.geometry.comparing.compare import as_vectors, compare_rdms
from isomorph.geometry.rdms.rdm import square, upper_triangle

if TYPE_CHECKING:
    from isomorph.geometry.rdm_models.models import RDMModel

# Three stimuli have three pairs, the fewest over which a comparison can come out differently.
MIN_TEST_STIMULI = 3


def stimulus_folds(n_stimuli: int, n_folds: int, seed: int | None = None) -> list[np.ndarray]:
    """Positions of the stimuli that are held out in each fold.

    Parameters
    ----------
    n_stimuli, n_folds : int
    seed : int, optional
        None: contiguous folds. A number: shuffled by it.

    Returns
    -------
    list of np.ndarray

    Raises
    ------
    ValueError
        If a fold would have fewer than 3 stimuli, or there are fewer than 2 folds.

    Examples
    --------
    >>> [fold.tolist() for fold in stimulus_folds(7, 2)]
    [[0, 1, 2, 3], [4, 5, 6]]
    """
    if n_folds < 2 or n_stimuli // n_folds < MIN_TEST_STIMULI:
        raise ValueError(
            f"folds: expected 2 or more, of {MIN_TEST_STIMULI} or more stimuli each, got {n_folds} "
            f"folds of {n_stimuli} stimuli."
        )
    order = np.arange(n_stimuli)
    if seed is not None:
        order = np.random.default_rng(seed).permutation(n_stimuli)
    return [np.sort(fold) for fold in np.array_split(order, n_folds)]


def crossvalidate_rdm_model(
    model: RDMModel,
    rdms: ArrayLike,
    method: str = "pearson",
    *,
    folds: int | Sequence[ArrayLike] | None = 5,
    subjects: Literal["leave_one_out"] | None = None,
    compare: str | None = None,
    seed: int | None = 0,
    names: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Score an RDM model on stimuli, and on subjects, that it was not fitted to.

    A fold's model sees the pairs of which both stimuli are in the training part, and is scored on
    the pairs of which neither is: a pair of one and the other would leak its stimulus.

    Parameters
    ----------
    model : RDMModel
        `FixedRDM`, `SelectRDM`, `WeightedRDM`, `InterpolateRDM`, `FeatureWeightedRDM`, or anything
        with their `fit`.
    rdms : array_like, (n_rdms, n, n) or (n_rdms, n_pairs)
        Measured RDMs, one a subject (or one alone).
    method : str
        The comparison that is maximised. (The cosine of RDMs, which are positive, is near 1 for
        noise too.)
    folds : int, sequence of array_like of int, or None
        How many folds over stimuli, or the positions that each holds out (groups of stimuli that
        belong together). None: all stimuli are both fitted and scored, for other subjects.
    subjects : {"leave_one_out"}, optional
        Fit each subject's model to the others' RDMs. By default to all, the subject's own included.
    compare : str, optional
        The comparison that is reported; `method` by default.
    seed : int or None
        Folds are shuffled by it; None leaves them contiguous.
    names : sequence of str, optional
        (n_rdms,) of the subjects.

    Returns
    -------
    pandas.DataFrame
        One row a subject and fold: ``subj_id cv_split score score_train n_train n_test method
        weights``; ``score_train`` is the mean over the RDMs that were fitted.

    Raises
    ------
    ValueError
        If nothing is held out, or too little is.

    References
    ----------
    Schütt, Kipnis, Diedrichsen & Kriegeskorte (2023), eLife 12: e82566.

    Examples
    --------
    >>> from isomorph.geometry import FixedRDM
    >>> rdms = np.random.default_rng(0).random((4, 66))
    >>> crossvalidate_rdm_model(FixedRDM(rdms.mean(axis=0)), rdms, folds=3).shape
    (12, 8)
    """
    vectors = np.atleast_2d(as_vectors(rdms, "rdms"))
    squares = square(vectors)
    labels = [str(name) for name in (names if names is not None else range(len(vectors)))]
    if len(labels) != len(vectors):
        raise ValueError(f"names: expected one for each of {len(vectors)} RDMs, got {len(labels)}.")
    rows = []
    for name, train, test in _splits(squares.shape[1], folds, subjects, seed):
        for trained, tested in _subjects(len(vectors), subjects):
            fitted = model.fit(vectors[trained], method, stimuli=train)
            prediction = upper_triangle(fitted.predict(test))
            target = upper_triangle(squares[np.ix_(tested, test, test)])
            scores = np.asarray(compare_rdms(prediction[None], target, compare or method))[0]
            rows += [
                {
                    "subj_id": labels[subject],
                    "cv_split": name,
                    "score": score,
                    "score_train": fitted.score,
                    "n_train": len(train),
                    "n_test": len(test),
                    "method": compare or method,
                    "weights": tuple(fitted.weights.tolist()),
                }
                for subject, score in zip(tested, scores, strict=True)
            ]
    return pd.DataFrame(rows)


def _splits(
    n_stimuli: int, folds: int | Sequence[ArrayLike] | None, subjects: str | None, seed: int | None
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    everything = np.arange(n_stimuli)
    if folds is None:
        if subjects is None:
            raise ValueError(
                "crossvalidate_rdm_model: nothing is held out. Pass folds=5, or "
                "subjects='leave_one_out', or both; model.fit(rdms).score is the score in sample."
            )
        yield "all", everything, everything
        return
    whole = isinstance(folds, int | np.integer)
    held_out = stimulus_folds(n_stimuli, int(folds), seed) if whole else folds
    for number, fold in enumerate(held_out):
        test = np.asarray(fold)
        train = np.setdiff1d(everything, test)
        if test.ndim != 1 or not np.isin(test, everything).all() or len(set(test)) < len(test):
            raise ValueError(
                f"folds: expected different positions from 0 to {n_stimuli - 1}, got {fold} in "
                f"fold {number}."
            )
        if min(len(test), len(train)) < MIN_TEST_STIMULI:
            raise ValueError(
                f"folds: expected {MIN_TEST_STIMULI} or more stimuli in either part, got "
                f"{len(train)} to fit and {len(test)} to score in fold {number}."
            )
        yield f"fold{number}", train, test


def _subjects(n_rdms: int, subjects: str | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    everyone = np.arange(n_rdms)
    if subjects is None:
        yield everyone, everyone
    elif subjects == "leave_one_out":
        if n_rdms < 2:
            raise ValueError("subjects='leave_one_out': expected 2 or more RDMs, got 1.")
        for subject in everyone:
            yield np.delete(everyone, subject), everyone[subject : subject + 1]
    else:
        raise ValueError(f"subjects: expected None or 'leave_one_out', got {subjects!r}.")
