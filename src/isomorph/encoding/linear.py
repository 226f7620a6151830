"""Least squares without a penalty, and with one that makes weights sparse."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import enet_path

_EPS = float(np.finfo(np.float64).eps)

# Shares of the smallest penalty at which every weight is zero. The largest is below one, so that
# at least one feature is always used and a prediction is never constant by choice.
PENALTY_SHARES = tuple(float(f"{share:.6g}") for share in np.logspace(-2, 0, 11)[:-1])


@dataclass(frozen=True, eq=False)
class LeastSquaresFit:
    """Least squares of t targets.

    Parameters
    ----------
    loo_predictions : np.ndarray, (n_train, t)
        Each training stimulus predicted from the others, exactly.
    predictions : np.ndarray, (n_test, t)
    rank : int
        Of the centred training features.
    """

    loo_predictions: np.ndarray
    predictions: np.ndarray
    rank: int


def least_squares(train: ArrayLike, responses: ArrayLike, test: ArrayLike) -> LeastSquaresFit:
    """Least squares with an intercept; of minimal norm where features outnumber stimuli.

    With more features than training stimuli it interpolates them: the limit of ridge for a
    vanishing penalty. The leave-one-out predictions are the same limit, and exact.

    Parameters
    ----------
    train : array_like, (n_train, p)
    responses : array_like, (n_train, t)
    test : array_like, (n_test, p)
        For a wide layer take `isometric_coordinates` of all stimuli first.

    Returns
    -------
    LeastSquaresFit

    Raises
    ------
    ValueError
        If shapes do not fit or a value is not finite.

    References
    ----------
    Hastie, Montanari, Rosset & Tibshirani (2022), Annals of Statistics 50(2), for the
    interpolating solution.

    Examples
    --------
    >>> x = np.array([[0.0], [1], [2], [4]])
    >>> least_squares(x, 3 * x + 1, [[10.0]]).predictions.round(6)
    array([[31.]])
    """
    x, y, z = check_arrays("least_squares", train, responses, test)
    centre, mean = column_means(x), column_means(y)
    left, sizes, right = np.linalg.svd(x - centre, full_matrices=False)
    # What rounding leaves in dimensions that the features do not have: of the decomposition, and
    # of a large offset that the features came with.
    of_offset = 4 * _EPS * np.sqrt(len(x)) * np.linalg.norm(centre)
    rounding = max(max(x.shape) * _EPS * sizes.max(initial=0.0), of_offset)
    rank = int((sizes > rounding).sum())
    # One dimension is the constant's: what rounding leaves of it is not the features'.
    rank = min(rank, len(x) - 1)
    left, sizes, right = left[:, :rank], sizes[:rank], right[:rank]
    components = left.T @ (y - mean)
    fitted = left @ components
    predictions = mean + (z - centre) @ (right.T @ (components / sizes[:, None]))
    unexplained = 1 - 1 / len(x) - (left**2).sum(axis=1)
    alone = unexplained <= len(x) * 8 * _EPS  # interpolated: the features know these one by one
    errors = np.empty_like(y)
    errors[~alone] = (y - mean - fitted)[~alone] / unexplained[~alone, None]
    among = left[alone] / sizes**2
    if alone.any():
        errors[alone] = (among @ components) / (among * left[alone]).sum(axis=1)[:, None]
    return LeastSquaresFit(y - errors, predictions, rank)


@dataclass(frozen=True, eq=False)
class SparseFit:
    """Lasso or elastic net of t targets, a penalty for each chosen by cross-validation.

    Parameters
    ----------
    cv_predictions : np.ndarray, (n_train, t)
        Each training stimulus predicted by the folds that leave it out, at the chosen penalty.
    predictions : np.ndarray, (n_test, t)
    alphas : np.ndarray, (t,)
        The chosen penalty in scikit-learn's units; NaN for a constant target.
    index : np.ndarray of int, (t,)
        Its position in the shares; −1 where there is none.
    n_features : np.ndarray of int, (t,)
        How many features have a weight.
    n_unconverged : int
        Targets of which a fit with the chosen penalty stopped before its tolerance.
    """

    cv_predictions: np.ndarray
    predictions: np.ndarray
    alphas: np.ndarray
    index: np.ndarray
    n_features: np.ndarray
    n_unconverged: int


def sparse_regression(
    train: ArrayLike,
    responses: ArrayLike,
    test: ArrayLike,
    folds: Sequence[np.ndarray],
    *,
    l1_ratio: float = 1.0,
    shares: Sequence[float] = PENALTY_SHARES,
    tol: float = 1e-8,
    max_iter: int = 20_000,
) -> SparseFit:
    """Lasso (or elastic net) by scikit-learn, each target's penalty by cross-validated error.

    Parameters
    ----------
    train : array_like, (n_train, p)
        Scaled as they are to be penalised.
    responses : array_like, (n_train, t)
    test : array_like, (n_test, p)
    folds : sequence of int array
        Rows of `train` that each fold holds out; together all of them.
    l1_ratio : float
        1 for the lasso, less for the elastic net.
    shares : sequence of float
        Penalties as shares of the smallest at which every weight is zero, increasing, at most 1.
    tol : float
        Duality gap at which coordinate descent stops, relative to the responses' sum of squares.
    max_iter : int

    Returns
    -------
    SparseFit

    Raises
    ------
    ValueError
        If shapes do not fit, the shares do not increase, or the folds do not cover the rows.

    References
    ----------
    Tibshirani (1996), JRSS B 58(1); Zou & Hastie (2005), JRSS B 67(2).

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((20, 30))
    >>> fit = sparse_regression(x, x[:, :1], x[:2], np.array_split(np.arange(20), 5))
    >>> int(fit.n_features[0]) <= 5
    True
    """
    x, y, z = check_arrays("sparse_regression", train, responses, test)
    grid = np.asarray(shares, dtype=float)
    if not len(grid) or grid[0] <= 0 or grid[-1] > 1 or (np.diff(grid) <= 0).any():
        raise ValueError(
            f"sparse_regression: expected increasing shares between 0 and 1, got {list(shares)}."
        )
    if not 0 < l1_ratio <= 1:
        raise ValueError(f"sparse_regression: expected l1_ratio above 0, up to 1, got {l1_ratio}.")
    held_out = np.sort(np.concatenate([np.asarray(fold) for fold in folds]))
    if not np.array_equal(held_out, np.arange(len(x))):
        raise ValueError("sparse_regression: expected folds that hold each row out exactly once.")
    n_targets = y.shape[1]
    out = SparseFit(
        np.repeat(column_means(y)[None], len(x), axis=0),
        np.repeat(column_means(y)[None], len(z), axis=0),
        np.full(n_targets, np.nan),
        np.full(n_targets, -1),
        np.zeros(n_targets, dtype=int),
        0,
    )
    unconverged = 0
    centred = x - column_means(x)
    for target in range(n_targets):
        column = y[:, target]
        largest = np.abs(centred.T @ (column - column.mean())).max(initial=0.0)
        if largest <= len(x) * _EPS * np.linalg.norm(centred) * np.linalg.norm(column):
            continue
        alphas = grid * largest / (len(x) * l1_ratio)
        path = _Path(alphas, l1_ratio, tol, max_iter)
        guesses = np.empty((len(x), len(grid)))
        for fold in folds:
            rest = np.setdiff1d(np.arange(len(x)), fold)
            guesses[fold] = path.predict(x[rest], column[rest], x[fold])
        chosen = int(np.argmin(((guesses - column[:, None]) ** 2).mean(axis=0)))
        out.cv_predictions[:, target] = guesses[:, chosen]
        out.predictions[:, target] = path.predict(x, column, z)[:, chosen]
        out.n_features[target] = int(path.n_features[chosen])
        out.alphas[target], out.index[target] = alphas[chosen], chosen
        unconverged += int(path.stopped[chosen])
    return replace(out, n_unconverged=unconverged)


class _Path:
    """Weights of one target along a grid of penalties."""

    def __init__(self, alphas: np.ndarray, l1_ratio: float, tol: float, max_iter: int) -> None:
        self.alphas, self.l1_ratio, self.tol, self.max_iter = alphas, l1_ratio, tol, max_iter
        self.stopped = np.zeros(len(alphas), dtype=bool)
        self.n_features = np.zeros(len(alphas), dtype=int)

    def predict(self, x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
        """Predictions (n_new, n_alphas)."""
        centre, mean = column_means(x), y.mean()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # counted below
            _, weights, _, n_iter = enet_path(
                np.asfortranarray(x - centre),
                y - mean,
                l1_ratio=self.l1_ratio,
                alphas=self.alphas[::-1],  # pyright: ignore[reportArgumentType]
                precompute=x.shape[1] < len(x),
                tol=self.tol,
                max_iter=self.max_iter,
                return_n_iter=True,
            )
        self.stopped |= np.asarray(n_iter)[::-1] >= self.max_iter
        weights = weights[:, ::-1]  # scikit-learn walks from the largest penalty down
        self.n_features = np.count_nonzero(weights, axis=0)
        return mean + (new - centre) @ weights


def column_means(values: np.ndarray) -> np.ndarray:
    """Mean of each column; exact for a constant one, of which rounding would leave a difference."""
    constant = (values == values[0]).all(axis=0)
    return np.where(constant, values[0], values.mean(axis=0))


def check_arrays(
    name: str, train: ArrayLike, responses: ArrayLike, test: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features and responses as finite float64 arrays that fit together."""
    x, y, z = (np.asarray(values, dtype=np.float64) for values in (train, responses, test))
    if x.ndim != 2 or y.ndim != 2 or z.ndim != 2 or len(x) != len(y) or x.shape[1] != z.shape[1]:
        raise ValueError(
            f"{name}: expected features (n_train, p), responses (n_train, t) and test features "
            f"(n_test, p), got {x.shape}, {y.shape} and {z.shape}."
        )
    if len(x) < 2:
        raise ValueError(f"{name}: expected 2 training stimuli or more, got {len(x)}.")
    for what, values in (("train", x), ("responses", y), ("test", z)):
        bad = int((~np.isfinite(values)).sum())
        if bad:
            raise ValueError(
                f"{name}: {bad} of {values.size} values of {what} are not finite. Drop those "
                f"stimuli or targets first."
            )
    return x, y, z
