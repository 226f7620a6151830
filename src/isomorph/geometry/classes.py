"""Classes of stimuli: who is in which, and how far apart they lie.

Everything follows from the Gram of the stimuli, whatever the number of features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import silhouette_score

from isomorph.geometry.gram import Gram, grams
from isomorph.geometry.rdms.rdm import rdm_from_gram

Labels = Sequence[object] | np.ndarray


def class_separation(
    features: Gram | torch.Tensor | np.ndarray, labels: Labels, *, distance: str = "cosine"
) -> float:
    """One minus the mean distance within classes over the mean distance of all, classes balanced.

    Parameters
    ----------
    features : Gram, torch.Tensor or np.ndarray
        The features, (n_stimuli, n_features, …), or their Gram.
    labels : array_like, (n_stimuli,)
        Each stimulus's class. Stimuli whose label is missing (None, NaN or empty) are left out.
    distance : str
        As in `compute_rdm`; the cosine distance in the paper.

    Returns
    -------
    float
        1 where the stimuli of a class are all alike, about 0 where classes mean nothing. Each class
        and each pair of classes counts alike, however many stimuli it has; a stimulus's distance to
        itself, 0, is part of both means. NaN if a distance is undefined or all are 0.

    Raises
    ------
    ValueError
        If labels do not fit the stimuli, there is but one class, or one of a single stimulus.

    References
    ----------
    Kornblith, Chen, Lee & Norouzi (2021), Why do better loss functions lead to less transferable
    features?, NeurIPS 34, section 4.

    Examples
    --------
    >>> features = np.array([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1]])
    >>> round(class_separation(features, ["a", "a", "b", "b"]), 2)
    0.99
    """
    gram, _, member = labelled_classes(features, labels)
    averages = member / member.sum(axis=1, keepdims=True)
    blocks = averages @ rdm_from_gram(gram, distance) @ averages.T
    total = blocks.mean()
    return float(1 - blocks.diagonal().mean() / total) if total > 0 else float("nan")


def silhouette(
    features: Gram | torch.Tensor | np.ndarray, labels: Labels, *, distance: str = "euclidean"
) -> float:
    """Mean silhouette of the stimuli: how much nearer their own class is than the next.

    Parameters
    ----------
    features : Gram, torch.Tensor or np.ndarray
        The features, (n_stimuli, n_features, …), or their Gram.
    labels : array_like, (n_stimuli,)
        Each stimulus's class. Stimuli whose label is missing (None, NaN or empty) are left out.
    distance : str
        As in `compute_rdm`.

    Returns
    -------
    float
        From −1 to 1, as scikit-learn's; NaN if a distance is undefined or all are 0.

    Raises
    ------
    ValueError
        If labels do not fit the stimuli, there is but one class, or one of a single stimulus.

    References
    ----------
    Rousseeuw (1987), Journal of Computational and Applied Mathematics 20.

    Examples
    --------
    >>> features = np.array([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1]])
    >>> round(silhouette(features, ["a", "a", "b", "b"]), 2)
    0.93
    """
    gram, _, member = labelled_classes(features, labels)
    rdm = rdm_from_gram(gram, distance)
    if not rdm.max() > 0:  # NaN among them too
        return float("nan")
    return float(silhouette_score(rdm, member.argmax(axis=0), metric="precomputed"))


def fisher_ratio(features: Gram | torch.Tensor | np.ndarray, labels: Labels) -> float:
    """Scatter between classes over scatter within: tr S_B / tr S_W.

    Parameters
    ----------
    features : Gram, torch.Tensor or np.ndarray
        The features, (n_stimuli, n_features, …), or their Gram.
    labels : array_like, (n_stimuli,)
        Each stimulus's class. Stimuli whose label is missing (None, NaN or empty) are left out.

    Returns
    -------
    float
        0 or more; about (n_classes − 1) / (n_stimuli − n_classes) where classes mean nothing (the
        Caliński–Harabasz index is this ratio divided by that). NaN if nothing varies within.

    Raises
    ------
    ValueError
        If labels do not fit the stimuli, there is but one class, or one of a single stimulus.

    References
    ----------
    Fukunaga (1990), Introduction to Statistical Pattern Recognition, section 10.2.

    Examples
    --------
    >>> round(fisher_ratio(np.array([[0.0], [1], [4], [5]]), ["a", "a", "b", "b"]), 6)
    16.0
    """
    gram, _, member = labelled_classes(features, labels)
    kernel = gram.centred()
    total = np.trace(kernel)
    between = ((member @ kernel) * member).sum(axis=1) @ (1 / member.sum(axis=1))
    within = total - between
    return float(between / within) if within > 16 * gram.resolution * total else float("nan")


def check_classes(labels: Labels, n_stimuli: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Read class labels.

    Parameters
    ----------
    labels : array_like, (n_stimuli,)
        Missing where None, NaN or empty.
    n_stimuli : int, optional
        How many there should be.

    Returns
    -------
    classes : np.ndarray, (n_classes,)
        In rising order.
    codes : np.ndarray, (n_stimuli,), int
        Which class each stimulus is of; −1 where the label is missing.

    Raises
    ------
    ValueError
        If their number is not that of the stimuli, there are fewer than 2 classes, or one has a
        single stimulus.
    """
    given = np.asarray(labels, dtype=object)
    if given.ndim != 1 or (n_stimuli is not None and len(given) != n_stimuli):
        raise ValueError(
            f"labels: expected one for each of {n_stimuli or 'the'} stimuli, got shape "
            f"{given.shape}."
        )
    codes, found = pd.factorize(
        np.array([None if label == "" else label for label in given], object)
    )
    order = sorted(range(len(found)), key=lambda i: _rank(found[i]))
    ranks = np.append(np.argsort(order), -1)
    counts = np.bincount(codes[codes >= 0], minlength=len(found))
    if len(found) < 2:
        raise ValueError(
            f"labels: expected at least 2 classes, got {len(found)} over {len(given)} stimuli."
        )
    if counts.min() < 2:
        single = [str(found[i]) for i in order if counts[i] < 2]
        raise ValueError(
            f"labels: expected at least 2 stimuli of each class, got one for {len(single)} of "
            f"{len(found)} classes (first: {single[0]!r}). Leave such stimuli without a label."
        )
    return found[order], ranks[codes]


def _rank(label: object) -> tuple[bool, object]:
    """Numbers by size, before all else by its text."""
    number = isinstance(label, int | float | np.number)
    return (not number, label if number else str(label))


def labelled_classes(
    features: Gram | torch.Tensor | np.ndarray, labels: Labels
) -> tuple[Gram, np.ndarray, np.ndarray]:
    """Gram of the stimuli with a label, their classes, and who is in which, (classes, stimuli)."""
    gram = features if isinstance(features, Gram) else grams(features)[0]
    classes, codes = check_classes(labels, gram.n_stimuli)
    labelled = np.flatnonzero(codes >= 0)
    if len(labelled) < gram.n_stimuli:
        gram = gram.subset(labelled)
    member = codes[labelled] == np.arange(len(classes))[:, None]
    return gram, classes, member.astype(np.float64)
