"""Stacked encoding: a convex mixture of several models' predictions, one for each target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cholesky
from scipy.optimize import nnls

_CHUNK_BYTES = 64_000_000


@dataclass(frozen=True, eq=False)
class Stack:
    """A convex mixture for each target.

    Parameters
    ----------
    names : tuple of str
        Of the models (layers, feature spaces).
    weights : np.ndarray, (n_models, t)
        Not negative, of sum one; NaN for a target that misses a prediction or a response.
    loss : np.ndarray, (t,)
        Mean squared error of the mixture on the predictions it was fitted on.
    """

    names: tuple[str, ...]
    weights: np.ndarray
    loss: np.ndarray

    def predict(self, predictions: Mapping[str, ArrayLike]) -> np.ndarray:
        """Mix predictions of other stimuli, each (n, t), to (n, t).

        Raises
        ------
        ValueError
            If a model's predictions are missing.
        """
        missing = [name for name in self.names if name not in predictions]
        if missing:
            raise ValueError(f"stack: expected predictions of every model, none of {missing}.")
        mixed = 0.0
        for name, weight in zip(self.names, self.weights, strict=True):
            mixed = mixed + weight * np.asarray(predictions[name], dtype=np.float64)
        return np.asarray(mixed)


def stack_predictions(predictions: Mapping[str, ArrayLike], responses: ArrayLike) -> Stack:
    """Find the convex mixture of predictions with the least squared error, for each target.

    Give predictions of stimuli that the models were not fitted on (leave-one-out or
    cross-validated ones of the training stimuli), or the models that overfit most get all the
    weight; then mix the predictions of the test stimuli.

    Parameters
    ----------
    predictions : mapping of str to array_like, (n, t)
    responses : array_like, (n, t)

    Returns
    -------
    Stack

    Raises
    ------
    ValueError
        If shapes do not fit.

    Notes
    -----
    With e_i the errors of model i, wᵀPw with P_ij = e_iᵀe_j is minimised over w ≥ 0, Σw = 1. The
    minimum over u ≥ 0 of uᵀPu + (Σu − 1)² has the same direction, since for a given sum the first
    term alone decides: non-negative least squares, then divided by the sum.

    References
    ----------
    Wolpert (1992), Neural Networks 5(2); Breiman (1996), Machine Learning 24; Lin, Naselaris, Kay
    & Wehbe (2024), Stacked regressions and structured variance partitioning for interpretable
    brain maps, NeuroImage 298, 120772.

    Examples
    --------
    >>> y = np.array([[1.0], [2], [3], [4]])
    >>> stack_predictions({"good": y, "bad": -y}, y).weights.round(6).tolist()
    [[1.0], [0.0]]
    """
    measured = np.asarray(responses, dtype=np.float64)
    if not predictions:
        raise ValueError("stack_predictions: expected predictions of one model or more, got none.")
    for name, values in predictions.items():
        if np.shape(values) != measured.shape or measured.ndim != 2:
            raise ValueError(
                f"stack_predictions: expected predictions and responses of one shape (n, t), got "
                f"{np.shape(values)} of {name!r} and {measured.shape}."
            )
    products = _error_products(list(predictions.values()), measured)
    n_models, n_targets = len(predictions), measured.shape[1]
    weights = np.full((n_models, n_targets), np.nan)
    for target in np.flatnonzero(np.isfinite(products).all(axis=(1, 2))):
        weights[:, target] = _simplex_weights(products[target])
    loss = np.einsum("it,tij,jt->t", weights, products, weights) / len(measured)
    return Stack(tuple(predictions), weights, np.maximum(loss, 0))


def _error_products(predictions: list[ArrayLike], measured: np.ndarray) -> np.ndarray:
    """P (t, n_models, n_models): products of the models' errors, for each target."""
    n_stimuli, n_targets = measured.shape
    products = np.empty((n_targets, len(predictions), len(predictions)))
    step = max(1, _CHUNK_BYTES // (8 * n_stimuli * len(predictions)))
    for start in range(0, n_targets, step):
        part = slice(start, start + step)
        errors = np.stack([np.asarray(p)[:, part] - measured[:, part] for p in predictions])
        by_target = errors.transpose(2, 0, 1).astype(np.float64)
        products[part] = by_target @ by_target.transpose(0, 2, 1)
    return products


def _simplex_weights(product: np.ndarray) -> np.ndarray:
    """Minimise wᵀPw over w ≥ 0, Σw = 1."""
    n = len(product)
    size = np.trace(product) / n
    if size <= 0:
        return np.full(n, 1 / n)  # none of them errs
    # A jitter at rounding lets models with the same errors share their weight.
    root = cholesky(product / size + 1e-12 * np.eye(n), check_finite=False)
    found, _ = nnls(np.vstack([root, np.ones(n)]), np.append(np.zeros(n), 1.0))
    return found / found.sum()
