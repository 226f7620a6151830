"""Linear kernels centred by the training stimuli, and the penalties that suit them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from isomorph.geometry import Gram, doubly_centred

# Conwell et al. (2024): seven penalties for standardised features projected to 5920 components,
# where the mean diagonal of the training kernel is 5920.
PUBLISHED_ALPHAS = np.logspace(-1, 5, 7)
PUBLISHED_ALPHAS.flags.writeable = False
PUBLISHED_COMPONENTS = 5920


def centre_kernels(
    kernel: Gram | np.ndarray, train: ArrayLike, test: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Kernels of the features centred by their mean over the training stimuli, in float64.

    Parameters
    ----------
    kernel : Gram or np.ndarray, (n_stimuli, n_stimuli)
        Products of the features of all stimuli, shifted by any vector.
    train, test : array_like of int
        Positions of the stimuli.

    Returns
    -------
    kernel_train : np.ndarray, (n_train, n_train)
    kernel_test : np.ndarray, (n_test, n_train)
        Both zero where the training stimuli differ by no more than rounding (a silent layer).

    Examples
    --------
    >>> train, test = centre_kernels(np.outer([1.0, 2, 3], [1.0, 2, 3]), [0, 2], [1])
    >>> train.tolist(), test.tolist()
    ([[1.0, -1.0], [-1.0, 1.0]], [[0.0, 0.0]])
    """
    products = kernel.products if isinstance(kernel, Gram) else np.asarray(kernel, np.float64)
    resolution = kernel.resolution if isinstance(kernel, Gram) else float(np.finfo(float).eps)
    rows, columns = np.asarray(train), np.asarray(test)
    among = products[np.ix_(rows, rows)]
    centred = doubly_centred(among)
    across = products[np.ix_(columns, rows)]
    if np.trace(centred) <= 16 * resolution * np.trace(among):
        return np.zeros_like(among), np.zeros_like(across)
    means = among.mean(axis=0)
    return centred, across - across.mean(axis=1, keepdims=True) - means + means.mean()


def relative_alphas(kernel_train: np.ndarray) -> np.ndarray:
    """The published grid of penalties, relative to the mean diagonal of the training kernel.

    A fixed grid shrinks a layer of 128 features and one of 370 000 quite differently; relative to
    the mean diagonal it means the same everywhere.

    Parameters
    ----------
    kernel_train : np.ndarray, (n_train, n_train)
        Centred or not; it is centred here.

    Returns
    -------
    np.ndarray, (7,)
        logspace(−1, 5, 7) / 5920 × mean diagonal; for a zero kernel, as if that were 1.

    Examples
    --------
    >>> relative_alphas(np.array([[5920.0, -5920], [-5920, 5920]])).tolist()
    [0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0, 100000.0]
    """
    mean_diagonal = np.trace(doubly_centred(kernel_train)) / len(kernel_train)
    return PUBLISHED_ALPHAS / PUBLISHED_COMPONENTS * (mean_diagonal if mean_diagonal > 0 else 1.0)
