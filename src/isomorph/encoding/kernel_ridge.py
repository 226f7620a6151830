"""Kernels beyond the linear one, from features or from the Gram alone."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike

from isomorph.encoding.kernels import centre_kernels
from isomorph.geometry import Gram, as_tensor
from isomorph.registry import unknown_name

Kernel = Literal["linear", "poly", "rbf", "sigmoid", "cosine"]
KERNELS = ("linear", "poly", "rbf", "sigmoid", "cosine")


def kernel_matrix(
    first: np.ndarray | torch.Tensor,
    second: np.ndarray | torch.Tensor | None = None,
    kernel: Kernel = "linear",
    *,
    gamma: float | None = None,
    degree: int = 3,
    coef0: float = 1.0,
) -> torch.Tensor:
    """Kernel between two sets of stimuli, as scikit-learn's ``pairwise_kernels`` defines it.

    Parameters
    ----------
    first : np.ndarray or torch.Tensor, (n, p)
    second : np.ndarray or torch.Tensor, (m, p), optional
        By default the first.
    kernel : {"linear", "poly", "rbf", "sigmoid", "cosine"}
        x·y; (gamma x·y + coef0)^degree; exp(−gamma |x − y|²); tanh(gamma x·y + coef0);
        x·y / (|x| |y|).
    gamma : float, optional
        By default 1 / p.
    degree, coef0

    Returns
    -------
    torch.Tensor, (n, m), float64
        On the device of the features.

    Raises
    ------
    UnknownNameError
        If there is no such kernel.
    ValueError
        If shapes do not fit or a value is not finite.

    References
    ----------
    Schölkopf & Smola (2002), Learning with Kernels, chapter 2.

    Examples
    --------
    >>> kernel_matrix(np.eye(3), kernel="rbf", gamma=0.5).diagonal().tolist()
    [1.0, 1.0, 1.0]
    """
    _check_kernel(kernel, gamma)
    x = _features(first)
    y = x if second is None else _features(second).to(x)
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"kernel_matrix: expected as many features in both, got {x.shape[1]} and {y.shape[1]}."
        )
    width = 1 / x.shape[1] if gamma is None else gamma
    if kernel == "rbf":
        # Distances do not change with a common offset, but their rounding does.
        offset = y.mean(dim=0)
        x, y = x - offset, (y - offset if second is not None else x - offset)
    products = x @ y.T
    squares = x.square().sum(dim=1)[:, None], y.square().sum(dim=1)[None, :]
    found = _apply(products, *squares, kernel, width, degree, coef0)
    if second is None and kernel == "rbf":
        found.fill_diagonal_(1.0)
    return found


def kernels_from_gram(
    gram: Gram | np.ndarray,
    train: ArrayLike,
    test: ArrayLike,
    kernel: Kernel = "linear",
    *,
    gamma: float | None = None,
    degree: int = 3,
    coef0: float = 1.0,
    origin: ArrayLike | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Kernels of features centred over the training stimuli, without touching the features.

    Parameters
    ----------
    gram : Gram or np.ndarray, (n_stimuli, n_stimuli)
        Products of the features of all stimuli, shifted by any vector.
    train, test : array_like of int
    kernel : {"linear", "poly", "rbf", "sigmoid", "cosine"}
        As in `kernel_matrix`.
    gamma : float, optional
        In units of 1 / the mean diagonal of the centred training kernel, so that it means the same
        for every layer; by default 1. (Not 1 / p: features of small variance would all look
        alike.)
    degree, coef0
    origin : array_like of int, optional
        Stimuli whose mean is the origin, and whose mean squared length the unit of gamma; by
        default the training stimuli. Inside a fold: those that the fold does not hold out.

    Returns
    -------
    kernel_train : np.ndarray, (n_train, n_train)
    kernel_test : np.ndarray, (n_test, n_train)
        In float64; `ridge_loo` and `ridge_cv` centre them. Zero where the training stimuli differ
        by no more than rounding.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((6, 20))
    >>> [k.shape for k in kernels_from_gram(x @ x.T, range(4), range(4, 6), "rbf")]
    [(4, 4), (2, 4)]
    """
    _check_kernel(kernel, gamma)
    train, test = np.asarray(train), np.asarray(test)
    middle = train if origin is None else np.asarray(origin)
    own, _ = centre_kernels(gram, middle, middle[:0])
    if not own.any():
        return np.zeros((len(train), len(train))), np.zeros((len(test), len(train)))
    products = gram.products if isinstance(gram, Gram) else np.asarray(gram, dtype=np.float64)
    # x·z about the mean m of the origin: x·z − x·m − z·m + m·m.
    rows = np.concatenate([train, test])
    inner = products[np.ix_(middle, middle)].mean()
    to_mean = products[np.ix_(rows, middle)].mean(axis=1) - inner / 2
    n = len(train)
    centred = products[np.ix_(rows, train)] - to_mean[:, None] - to_mean[:n]
    squares = np.diag(products)[rows] - 2 * to_mean
    unit = np.diag(own).mean()
    width = (1.0 if gamma is None else gamma) / unit
    inner_products, lengths = torch.as_tensor(centred), torch.as_tensor(squares)
    made = _apply(
        inner_products, lengths[:, None], lengths[None, :n], kernel, width, degree, coef0
    ).numpy()
    return made[:n], made[n:]


def _apply(
    products: torch.Tensor,
    rows: torch.Tensor,
    columns: torch.Tensor,
    kernel: str,
    gamma: float,
    degree: int,
    coef0: float,
) -> torch.Tensor:
    """A kernel from inner products (n, m) and squared lengths (n, 1), (1, m)."""
    if kernel == "linear":
        return products
    if kernel == "poly":
        return (gamma * products + coef0) ** degree
    if kernel == "sigmoid":
        return torch.tanh(gamma * products + coef0)
    if kernel == "cosine":
        lengths = (rows.clamp(min=0) * columns.clamp(min=0)).sqrt()
        # A stimulus without features is like none.
        return torch.where(lengths > 0, products / torch.where(lengths > 0, lengths, 1.0), 0.0)
    return torch.exp(-gamma * (rows + columns - 2 * products).clamp(min=0))


def _features(features: np.ndarray | torch.Tensor) -> torch.Tensor:
    x = as_tensor(features).detach().double()
    if x.ndim != 2 or not x.numel():
        raise ValueError(
            f"kernel_matrix: expected features of shape (n_stimuli, n_features), got "
            f"{tuple(x.shape)}."
        )
    bad = int((~torch.isfinite(x)).sum())
    if bad:
        raise ValueError(f"kernel_matrix: {bad} of {x.numel()} features are not finite.")
    return x


def _check_kernel(kernel: str, gamma: float | None) -> None:
    if kernel not in KERNELS:
        raise unknown_name("kernel", kernel, KERNELS)
    if gamma is not None and not gamma > 0:
        raise ValueError(f"kernel {kernel}: expected a gamma above 0, got {gamma}.")
