"""Classes read out of features: ridge, logistic and nearest-prototype classifiers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV

from isomorph.encoding.examples import draw_shots
from isomorph.encoding.kernels import PUBLISHED_ALPHAS, PUBLISHED_COMPONENTS
from isomorph.registry import Registry, unknown_name

# Of the logistic classifier, for features whose mean squared distance from their mean is one.
LOGISTIC_C = 100.0
ACCURACIES = ("plain", "balanced", "above_chance")

Classifier = Callable[..., np.ndarray]


def ridge_classifier(
    train: ArrayLike, classes: ArrayLike, test: ArrayLike, *, alphas: Sequence[float] | None = None
) -> np.ndarray:
    """Classify by ridge regression on one target of ±1 a class, by scikit-learn.

    Parameters
    ----------
    train : array_like, (n_train, p)
        For a wide layer take `isometric_coordinates` of all stimuli first; the classes are the
        same.
    classes : array_like, (n_train,)
    test : array_like, (n_test, p)
    alphas : sequence of float, optional
        Penalties, of which the least leave-one-out error chooses one. By default logspace(−1, 5, 7)
        / 5920 of the mean squared distance of the training stimuli from their mean.

    Returns
    -------
    np.ndarray, (n_test,)
        Predicted classes.

    References
    ----------
    Rifkin, Yeo & Poggio (2003), Regularized least-squares classification.

    Examples
    --------
    >>> ridge_classifier([[0.0], [1], [9], [10]], ["a", "a", "b", "b"], [[2.0]]).tolist()
    ['a']
    """
    x, labels, z = _checked(train, classes, test)
    grid = alphas
    if grid is None:
        grid = PUBLISHED_ALPHAS / PUBLISHED_COMPONENTS * _size(x)
    model = RidgeClassifierCV(alphas=np.asarray(grid, dtype=float)).fit(x, labels)
    return np.asarray(model.predict(z))


def logistic_classifier(
    train: ArrayLike,
    classes: ArrayLike,
    test: ArrayLike,
    *,
    C: float = LOGISTIC_C,
    tol: float = 1e-6,
    max_iter: int = 5000,
) -> np.ndarray:
    """Classify by multinomial logistic regression with an L2 penalty, by scikit-learn.

    Parameters
    ----------
    train : array_like, (n_train, p)
    classes : array_like, (n_train,)
    test : array_like, (n_test, p)
    C : float
        Inverse penalty, for features divided by the root of the mean squared distance of the
        training stimuli from their mean, so that it means the same in every layer.
    tol, max_iter
        As in scikit-learn.

    Returns
    -------
    np.ndarray, (n_test,)

    References
    ----------
    Alain & Bengio (2016), Understanding intermediate layers using linear classifier probes,
    arXiv:1610.01644.

    Examples
    --------
    >>> logistic_classifier([[0.0], [1], [9], [10]], ["a", "a", "b", "b"], [[2.0]]).tolist()
    ['a']
    """
    if not C > 0:
        raise ValueError(f"logistic_classifier: expected C above 0, got {C}.")
    x, labels, z = _checked(train, classes, test)
    centre, size = x.mean(axis=0), np.sqrt(_size(x))
    model = LogisticRegression(C=C, tol=tol, max_iter=max_iter)
    with warnings.catch_warnings():
        # A separable problem creeps on long after its classes are settled.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit((x - centre) / size, labels)
    return np.asarray(model.predict((z - centre) / size))


def prototype_classifier(train: ArrayLike, classes: ArrayLike, test: ArrayLike) -> np.ndarray:
    """Classify by the nearest class mean (Euclidean).

    Parameters
    ----------
    train : array_like, (n_train, p)
    classes : array_like, (n_train,)
    test : array_like, (n_test, p)

    Returns
    -------
    np.ndarray, (n_test,)
        Ties go to the class that sorts first.

    References
    ----------
    Snell, Swersky & Zemel (2017), Prototypical networks; Sorscher, Ganguli & Sompolinsky (2022),
    PNAS 119(43), for few examples a class.

    Examples
    --------
    >>> prototype_classifier([[0.0], [1], [9]], ["a", "a", "b"], [[6.0]]).tolist()
    ['b']
    """
    x, labels, z = _checked(train, classes, test)
    names, which = np.unique(labels, return_inverse=True)
    member = np.eye(len(names))[which]
    centre = x.mean(axis=0)
    means = (member / member.sum(axis=0)).T @ (x - centre)
    nearness = (z - centre) @ means.T - (means**2).sum(axis=1) / 2
    return names[np.argmax(nearness, axis=1)]


CLASSIFIERS: Registry[Classifier] = Registry("classifier")
CLASSIFIERS.add("ridge", ridge_classifier)
CLASSIFIERS.add("logistic", logistic_classifier)
CLASSIFIERS.add("prototype", prototype_classifier)


def accuracy(predicted: ArrayLike, actual: ArrayLike, kind: str = "plain") -> float:
    """Tell how often the class is right.

    Parameters
    ----------
    predicted, actual : array_like, (n,)
    kind : {"plain", "balanced", "above_chance"}
        ``"plain"``: the share that is right; guessing the largest class gives its share.
        ``"balanced"``: mean over classes of the share of each that is right; chance is one over
        the number of classes. ``"above_chance"``: the same, from 0 at chance to 1.

    Returns
    -------
    float
        NaN for no stimuli, and for ``"above_chance"`` of one class alone.

    References
    ----------
    Brodersen, Ong, Stephan & Buhmann (2010), The balanced accuracy and its posterior distribution.

    Examples
    --------
    >>> accuracy(["a", "a", "a", "b"], ["a", "a", "b", "b"]), accuracy(["a"] * 3, ["a", "a", "b"],
    ...                                                              "balanced")
    (0.75, 0.5)
    """
    if kind not in ACCURACIES:
        raise unknown_name("kind of accuracy", kind, ACCURACIES)
    found, true = np.asarray(predicted), np.asarray(actual)
    if found.shape != true.shape or true.ndim != 1:
        raise ValueError(
            f"accuracy: expected predicted and actual classes of one length, got {found.shape} and "
            f"{true.shape}."
        )
    if not len(true):
        return float("nan")
    right = found == true
    if kind == "plain":
        return float(right.mean())
    names = np.unique(true)
    balanced = float(np.mean([right[true == name].mean() for name in names]))
    if kind == "balanced":
        return balanced
    chance = 1 / len(names)
    return (balanced - chance) / (1 - chance) if len(names) > 1 else float("nan")


@dataclass(frozen=True)
class FewShot:
    """Accuracy from a few examples of each class, over draws of them.

    Parameters
    ----------
    mean, spread : float
        Mean and standard deviation (over draws, n − 1) of the accuracy.
    accuracies : np.ndarray, (n_draws,)
    chance : float
        One over the number of classes.
    """

    mean: float
    spread: float
    accuracies: np.ndarray
    chance: float


def few_shot_accuracy(
    train: ArrayLike,
    classes: ArrayLike,
    test: ArrayLike,
    test_classes: ArrayLike,
    *,
    shots: int,
    n_draws: int = 10,
    classifier: str = "prototype",
    kind: str = "plain",
    seed: int = 0,
) -> FewShot:
    """Accuracy of a classifier that sees only a few examples of each class.

    Parameters
    ----------
    train : array_like, (n_train, p)
        From which the examples are drawn.
    classes : array_like, (n_train,)
    test : array_like, (n_test, p)
    test_classes : array_like, (n_test,)
    shots : int
        Examples of each class.
    n_draws : int
    classifier : str
        One of `CLASSIFIERS`.
    kind : str
        As in `accuracy`.
    seed : int

    Returns
    -------
    FewShot

    Examples
    --------
    >>> x, y = [[0.0], [1], [9], [10]], ["a", "a", "b", "b"]
    >>> few_shot_accuracy(x, y, x, y, shots=1, n_draws=3).mean
    1.0
    """
    classify = CLASSIFIERS[classifier]
    x, labels, z = _checked(train, classes, test)
    found = np.array(
        [
            accuracy(classify(x[rows], labels[rows], z), test_classes, kind)
            for rows in draw_shots(labels, shots, n_draws, seed)
        ]
    )
    spread = float(found.std(ddof=1)) if len(found) > 1 else float("nan")
    return FewShot(float(found.mean()), spread, found, 1 / len(np.unique(labels)))


def _size(x: np.ndarray) -> float:
    size = float(((x - x.mean(axis=0)) ** 2).sum(axis=1).mean())
    return size if size > 0 else 1.0


def _checked(
    train: ArrayLike, classes: ArrayLike, test: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, z = (np.asarray(values, dtype=np.float64) for values in (train, test))
    labels = np.asarray(classes)
    missing = int(np.sum(pd.isna(labels)))
    if missing:
        raise ValueError(
            f"classifier: expected a class for each of the {len(labels)} stimuli, but {missing} "
            f"have none. Leave these stimuli out."
        )
    labels = labels.astype(str) if labels.dtype == object else labels
    if x.ndim != 2 or z.ndim != 2 or labels.shape != (len(x),) or x.shape[1] != z.shape[1]:
        raise ValueError(
            f"classifier: expected features (n_train, p), classes (n_train,) and test features "
            f"(n_test, p), got {x.shape}, {labels.shape} and {z.shape}."
        )
    if len(np.unique(labels)) < 2:
        raise ValueError(
            f"classifier: expected two classes or more, got {np.unique(labels).tolist()}."
        )
    bad = int((~np.isfinite(x)).sum()) + int((~np.isfinite(z)).sum())
    if bad:
        raise ValueError(
            f"classifier: expected finite features, got {bad} that are not. Leave those "
            f"stimuli out."
        )
    return x, labels, z
