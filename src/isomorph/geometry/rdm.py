"""Representational dissimilarity matrices (RDMs), from features or from their Gram.

An RDM is square, (n_stimuli, n_stimuli), symmetric, float64, with a zero diagonal. A stack is
(n_rdms, n_stimuli, n_stimuli); its vectors are (n_rdms, n_pairs), the upper triangle row by row.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike

from isomorph.geometry.gram import Gram, grams
from isomorph.registry import Registry

# A row counts as constant (or zero) where what is left of its sum of squares is within the float64
# rounding of the terms it is made of. `grams` sees to it that this suffices for float32 features.
_ROUNDING = 1e-13


def _squared_distances(products: np.ndarray) -> np.ndarray:
    diagonal = products.diagonal()
    return np.maximum(diagonal[:, None] + diagonal[None, :] - 2 * products, 0)


def _angular(products: np.ndarray, with_mean: np.ndarray, mean_norm: float) -> np.ndarray:
    """1 − cosine between rows z + m, from the products of z, of z with m, and of m with itself.

    1 − cos = [½ |x − y|² − ½ (|x| − |y|)²] / (|x| |y|): the mean has left both terms of the
    numerator before they are subtracted, so a large common mean costs no digits.
    """
    diagonal = products.diagonal()
    squares = diagonal + 2 * with_mean + mean_norm
    vanishing = squares <= _ROUNDING * (diagonal + 2 * np.abs(with_mean) + mean_norm)
    lengths = np.sqrt(np.where(vanishing, np.nan, squares))
    parts = diagonal + 2 * with_mean
    with np.errstate(invalid="ignore"):
        differences = (parts[:, None] - parts[None, :]) / (lengths[:, None] + lengths[None, :])
        numerator = (_squared_distances(products) - differences**2) / 2
        return np.clip(numerator / (lengths[:, None] * lengths[None, :]), 0, 2)


def _pearson(gram: Gram) -> np.ndarray:
    p = gram.n_features
    products = gram.products - np.outer(gram.row_sums, gram.row_sums) / p
    return _angular(products, gram.deviation_products, gram.deviation_norm)


def _cosine(gram: Gram) -> np.ndarray:
    return _angular(gram.products, gram.mean_products, gram.mean_norm)


def _sqeuclidean(gram: Gram) -> np.ndarray:
    return _squared_distances(gram.products)


def _euclidean(gram: Gram) -> np.ndarray:
    return np.sqrt(_squared_distances(gram.products))


RDM_METHODS: Registry[Callable[[Gram], np.ndarray]] = Registry("RDM method")
RDM_METHODS.add("pearson", _pearson)
RDM_METHODS.add("cosine", _cosine)
RDM_METHODS.add("euclidean", _euclidean)
RDM_METHODS.add("sqeuclidean", _sqeuclidean)

# What dividing the squared distances by the number of features does to each distance.
_PER_FEATURE = {"sqeuclidean": 1.0, "euclidean": 0.5}


def rdm_from_gram(
    gram: Gram,
    method: str = "pearson",
    *,
    per_feature: bool = False,
    indices: ArrayLike | None = None,
) -> np.ndarray:
    """RDM from a Gram of unweighted features.

    Parameters
    ----------
    gram : Gram
    method : {"pearson", "cosine", "euclidean", "sqeuclidean"}
        As in `compute_rdm`.
    per_feature : bool
        Divide squared distances by the number of features first.
    indices : array_like of int, optional
        These stimuli alone, in this order.

    Returns
    -------
    np.ndarray, (n_stimuli, n_stimuli), float64

    Examples
    --------
    >>> [gram] = grams(torch.rand(6, 50))
    >>> rdm_from_gram(gram, "cosine", indices=[0, 2]).shape
    (2, 2)
    """
    compute = RDM_METHODS[method]
    rdm = compute(gram if indices is None else gram.subset(indices))
    if per_feature:
        if method not in _PER_FEATURE:
            raise ValueError(
                f"per_feature=True: expected method {' or '.join(_PER_FEATURE)}, got {method!r}, "
                "which does not depend on the number of features. Leave per_feature out."
            )
        rdm = rdm / gram.n_features ** _PER_FEATURE[method]
    # An undefined row stays undefined off the diagonal alone: a stimulus differs from itself by 0.
    np.fill_diagonal(rdm, 0)
    return rdm


def compute_rdm(
    features: torch.Tensor | np.ndarray,
    method: str = "pearson",
    *,
    per_feature: bool = False,
    device: str | torch.device | None = None,
) -> np.ndarray:
    """Representational dissimilarity matrix of features, or of responses.

    Parameters
    ----------
    features : torch.Tensor or np.ndarray, (n_stimuli, n_features, …)
        Stimuli first; further axes are flattened.
    method : {"pearson", "cosine", "euclidean", "sqeuclidean"}
        1 − Pearson r over the features, 1 − cosine, the Euclidean distance (rooted) or its square.
    per_feature : bool
        Euclidean only: divide the squared distance by the number of features first.
    device : str or torch.device, optional
        Where to compute; the features' own device by default.

    Returns
    -------
    np.ndarray, (n_stimuli, n_stimuli), float64
        Symmetric, zero diagonal, and exactly 0 between stimuli with the same features (if these are
        defined). NaN for all pairs of a stimulus whose features are constant
        (``pearson``) or zero (``cosine``).

    Raises
    ------
    KeyError
        If the method does not exist.
    ValueError
        If the shape is not (n_stimuli, n_features, …).
    NonFiniteError
        If a feature is not finite.

    References
    ----------
    Kriegeskorte, Mur & Bandettini (2008), Frontiers in Systems Neuroscience 2:4.

    Examples
    --------
    >>> compute_rdm(np.array([[0.0, 1, 2], [2, 1, 0]]))
    array([[0., 2.],
           [2., 0.]])
    """
    # A wrong name is found before the long work starts.
    RDM_METHODS[method]
    if device is not None:
        features = torch.as_tensor(features).to(device)
    [gram] = grams(features)
    return rdm_from_gram(gram, method, per_feature=per_feature)


def upper_triangle(rdm: ArrayLike) -> np.ndarray:
    """Upper triangle of a square RDM or a stack, row by row, without the diagonal.

    Parameters
    ----------
    rdm : array_like, (n, n) or (n_rdms, n, n)

    Returns
    -------
    np.ndarray, (n_pairs,) or (n_rdms, n_pairs), with n_pairs = n(n − 1)/2
        In the order of ``scipy.spatial.distance.squareform``.

    Examples
    --------
    >>> upper_triangle([[0, 1, 2], [1, 0, 3], [2, 3, 0]])
    array([1, 2, 3])
    """
    array = np.asarray(rdm)
    if array.ndim not in (2, 3) or array.shape[-1] != array.shape[-2]:
        raise ValueError(
            f"RDM: expected shape (n, n) or (n_rdms, n, n), got {array.shape}. "
            "Turn vectors into squares with `square`."
        )
    rows, columns = np.triu_indices(array.shape[-1], k=1)
    return array[..., rows, columns]


def square(vector: ArrayLike) -> np.ndarray:
    """Square RDM, or stack, from upper triangles; the inverse of `upper_triangle`.

    Parameters
    ----------
    vector : array_like, (n_pairs,) or (n_rdms, n_pairs)

    Returns
    -------
    np.ndarray, (n, n) or (n_rdms, n, n)

    Examples
    --------
    >>> square([1, 2, 3])[0]
    array([0, 1, 2])
    """
    array = np.asarray(vector)
    n = n_stimuli_of(array.shape[-1]) if array.ndim in (1, 2) else None
    if n is None:
        raise ValueError(
            f"RDM vector: expected (n_pairs,) or (n_rdms, n_pairs) with n_pairs = n(n − 1)/2, "
            f"got shape {array.shape}. Was a pair dropped?"
        )
    rdm = np.zeros((*array.shape[:-1], n, n), dtype=array.dtype)
    rows, columns = np.triu_indices(n, k=1)
    rdm[..., rows, columns] = array
    rdm[..., columns, rows] = array
    return rdm


def n_stimuli_of(n_pairs: int) -> int | None:
    """Number of stimuli with this many pairs, None if there is none."""
    n = round((1 + (1 + 8 * n_pairs) ** 0.5) / 2)
    return n if n_pairs > 0 and n * (n - 1) // 2 == n_pairs else None


def average_rdms(stack: ArrayLike) -> np.ndarray:
    """Plain mean of a stack of RDMs or vectors; a pair that is NaN in one is NaN in the mean.

    Parameters
    ----------
    stack : array_like, (n_rdms, n, n) or (n_rdms, n_pairs)

    Returns
    -------
    np.ndarray, (n, n) or (n_pairs,)

    Examples
    --------
    >>> average_rdms([[1.0, 2, 3], [3, 4, 5]])
    array([2., 3., 4.])
    """
    array = np.asarray(stack, dtype=np.float64)
    if array.ndim not in (2, 3) or len(array) == 0:
        raise ValueError(
            f"average_rdms: expected a stack (n_rdms, n, n) or (n_rdms, n_pairs), got shape "
            f"{array.shape}. Put the RDMs into one array: np.stack(rdms)."
        )
    return array.mean(axis=0)
