"""Linear predictivity: how much of one representation a linear map of the other predicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from isomorph.alignment.measure import Measure, UndefinedScoreError, add_measure
from isomorph.alignment.measures.principal import principal_axes
from isomorph.alignment.metric import Option
from isomorph.encoding import centre_kernels, relative_alphas
from isomorph.geometry import Gram
from isomorph.resampling import kfold

# From so many targets on, forms that serve all of them are cheaper than each target alone.
_MANY = 4


@dataclass(frozen=True, eq=False)
class _Fold:
    """A training kernel's eigenvectors, all but the constant one, and the test stimuli on them.

    vectors (n_train, n_train − 1); values (n_train − 1,); across (n_test, n_train − 1), the test
    kernel times the vectors; alphas (n_alphas,).
    """

    train: np.ndarray
    test: np.ndarray
    vectors: np.ndarray
    values: np.ndarray
    across: np.ndarray
    alphas: np.ndarray


@dataclass(frozen=True, eq=False)
class _Side:
    """One representation, as what is predicted and as what predicts."""

    gram: Gram
    targets: np.ndarray
    n_folds: int
    seed: int | None

    @cached_property
    def kernel(self) -> np.ndarray:
        """Its centred Gram, (n_stimuli, n_stimuli)."""
        return self.targets @ self.targets.T

    @cached_property
    def folds(self) -> list[_Fold]:
        """The decompositions that predicting from it takes, made when first asked for."""
        splits = kfold(self.gram.n_stimuli, self.n_folds, seed=self.seed)
        return [_decompose(self.gram, split.train, split.test) for split in splits]


def _decompose(gram: Gram, train: np.ndarray, test: np.ndarray) -> _Fold:
    kernel, across = centre_kernels(gram, train, test)
    n, trace = len(kernel), float(np.trace(kernel))
    # The constant vector, lifted above all others, comes out last and alone; not so far above them
    # that their digits are lost.
    values, vectors = np.linalg.eigh(kernel + 2 * (trace if trace > 0 else 1.0) / n)
    values, vectors = values[:-1], vectors[:, :-1]
    # What rounding alone has made of a null direction must not predict anything.
    values = np.where(values <= 2 * n * np.finfo(np.float64).eps * trace, 0.0, values)
    return _Fold(train, test, vectors, values, across @ vectors, relative_alphas(kernel))


def _errors(fold: _Fold, targets: np.ndarray) -> tuple[float, float]:
    """Squared error on the held-out stimuli, and that of predicting the training mean."""
    mean = targets[fold.train].mean(axis=0)
    held_out = targets[fold.test] - mean
    components = fold.vectors.T @ (targets[fold.train] - mean)
    alpha = fold.alphas[int(np.argmin([_loo_error(fold, components, a) for a in fold.alphas]))]
    weights = np.where(fold.values > 0, 1 / (fold.values + alpha), 0.0)
    residuals = held_out - fold.across @ (weights[:, None] * components)
    return float(np.vdot(residuals, residuals)), float(np.vdot(held_out, held_out))


def _loo_error(fold: _Fold, components: np.ndarray, alpha: float) -> float:
    """Squared leave-one-out error over all targets, the intercept refitted too."""
    shrink = alpha / (fold.values + alpha)
    residuals = fold.vectors @ (shrink[:, None] * components)
    return float(np.sum((residuals / (fold.vectors**2 @ shrink)[:, None]) ** 2))


def _r2(source: _Side, target: _Side) -> float:
    errors = np.sum([_errors(fold, target.targets) for fold in source.folds], axis=0)
    return float(1 - errors[0] / errors[1])


def _r2_of_many(source: _Side, targets: Sequence[_Side]) -> np.ndarray:
    """The same for many targets: a squared error is a product of the target's Gram with a form.

    The forms cost as much as one wide target or two, and serve all of them.
    """
    if len(targets) < _MANY:
        return np.array([_r2(source, target) for target in targets])
    errors = np.zeros((2, len(targets)))
    for fold in source.folds:
        kernels = [target.kernel[np.ix_(fold.train, fold.train)] for target in targets]
        loo = np.empty((len(fold.alphas), len(targets)))
        for row, alpha in enumerate(fold.alphas):
            form = _loo_form(fold, alpha)
            loo[row] = [np.vdot(form, kernel) for kernel in kernels]
        best = loo.argmin(axis=0)
        for choice in np.unique(best):
            form = _test_form(fold, float(fold.alphas[choice]))
            for column in np.flatnonzero(best == choice):
                errors[0, column] += np.vdot(form, targets[int(column)].kernel)
        form = _test_form(fold, None)
        errors[1] += [np.vdot(form, target.kernel) for target in targets]
    return 1 - errors[0] / errors[1]


def _loo_form(fold: _Fold, alpha: float) -> np.ndarray:
    """F'F of the map F from training responses to their leave-one-out errors."""
    shrink = alpha / (fold.values + alpha)
    hat = (fold.vectors * shrink) @ fold.vectors.T
    errors = hat / (fold.vectors**2 @ shrink)[:, None]
    return errors.T @ errors


def _test_form(fold: _Fold, alpha: float | None) -> np.ndarray:
    """E'E of the map E from responses to errors on held-out stimuli; None predicts the mean."""
    n = len(fold.train) + len(fold.test)
    errors = np.zeros((len(fold.test), n))
    errors[:, fold.train] = -1 / len(fold.train)
    if alpha is not None:
        weights = np.where(fold.values > 0, 1 / (fold.values + alpha), 0.0)
        errors[:, fold.train] -= (fold.across * weights) @ fold.vectors.T
    errors[np.arange(len(fold.test)), fold.test] += 1
    return errors.T @ errors


def read_folds(text: str) -> int:
    """Read a number of folds, 2 or more."""
    value = int(text)
    if value < 2:
        raise ValueError("expected 2 folds or more.")
    return value


def read_seed(text: str) -> int | None:
    """Read a seed, or None for folds in the order of the stimuli."""
    return None if text == "None" else int(text)


def _prepare(gram: Gram, folds: int, seed: int | None, **_direction: str) -> _Side:
    if gram.n_stimuli < 2 * folds:
        raise UndefinedScoreError(f"{gram.n_stimuli} stimuli; {folds} folds need {2 * folds}")
    # In their principal axes targets are as few as can be, and the sum of squares is the same.
    return _Side(gram, principal_axes(gram).scores(), folds, seed)


def _reorder(side: _Side, order: np.ndarray) -> _Side:
    return _Side(side.gram.subset(order), side.targets[order], side.n_folds, side.seed)


def _predictivity(first: _Side, second: _Side, direction: str, **_options: int | None) -> float:
    forward = _r2(first, second) if direction != "backward" else 0.0
    backward = _r2(second, first) if direction != "forward" else 0.0
    return (forward + backward) / 2 if direction == "both" else forward + backward


def _predictivity_table(
    firsts: Sequence[_Side], seconds: Sequence[_Side], direction: str, **_options: int | None
) -> np.ndarray:
    total = np.zeros((len(firsts), len(seconds)))
    if direction != "backward":
        total += np.stack([_r2_of_many(first, seconds) for first in firsts])
    if direction != "forward":
        total += np.stack([_r2_of_many(second, firsts) for second in seconds], axis=1)
    return total / 2 if direction == "both" else total


add_measure(
    Measure(
        name="linear_predictivity",
        compute=_predictivity,
        prepare=_prepare,
        reorder=_reorder,
        table=_predictivity_table,
        needs="gram",
        options={
            "direction": Option(
                "forward",
                ("forward", "backward", "both"),
                summary="predict the second from the first, the first from the second, or the mean",
            ),
            "folds": Option(5, read=read_folds, summary="number of held-out parts"),
            "seed": Option(
                None,
                read=read_seed,
                summary="shuffles the stimuli over the folds; None takes them in their order, as "
                "time series and sorted categories need",
            ),
        },
        range=(-np.inf, 1.0),
        symmetric=False,
        invariances=frozenset({"permutation", "rotation", "isotropic scaling", "translation"}),
        summary="Share of the variance of the second that ridge regression from the first predicts "
        "in held-out folds; one penalty per fold, by leave-one-out.",
        reference="Yamins et al. 2014, PNAS 111; Schrimpf et al. 2020, Neuron 108",
        min_stimuli=4,
    )
)
