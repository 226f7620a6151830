"""Representational dissimilarity matrices (RDMs), from features, their Gram or repeats.

An RDM is square, (n_stimuli, n_stimuli), symmetric, float64, with a zero diagonal. A stack is
(n_rdms, n_stimuli, n_stimuli); its vectors are (n_rdms, n_pairs), the upper triangle row by row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import numpy as np
import torch
from numpy.typing import ArrayLike

from isomorph.geometry.columns import as_features, as_tensor, working_dtype
from isomorph.geometry.gram import Gram, grams
from isomorph.geometry.rdms import crossnobis as _crossnobis  # noqa: F401  registers what needs repeats
from isomorph.geometry.rdms.methods import RDM_METHODS, RDMMethod, rdm_method
from isomorph.geometry.rdms.noise_estimates import Noise, as_noise
from isomorph.registry import unknown_name

# Relative to the largest dissimilarity: what is left of a zero or of symmetry after rounding.
_TOLERANCE = 1e-6


def rdm_from_gram(
    gram: Gram,
    method: str = "pearson",
    *,
    per_feature: bool = False,
    indices: ArrayLike | None = None,
    **options: float,
) -> np.ndarray:
    """RDM from a Gram of unweighted features.

    Parameters
    ----------
    gram : Gram
    method : {"pearson", "cosine", "euclidean", "sqeuclidean", "gaussian"}
        As in `compute_rdm`.
    per_feature : bool
        Divide squared distances by the number of features first.
    indices : array_like of int, optional
        These stimuli alone, in this order.
    **options : float
        ``sigma``, as in `compute_rdm`.

    Returns
    -------
    np.ndarray, (n_stimuli, n_stimuli), float64

    Raises
    ------
    UnknownNameError
        If there is no such method or option.
    ValueError
        If the method needs more than a Gram, or knows no ``per_feature``.

    Examples
    --------
    >>> [gram] = grams(torch.rand(6, 50))
    >>> rdm_from_gram(gram, "cosine", indices=[0, 2]).shape
    (2, 2)
    """
    entry = _checked(method, per_feature, options)
    if entry.needs != "gram":
        known = ", ".join(name for name, other in RDM_METHODS.items() if other.needs == "gram")
        raise ValueError(
            f"rdm_from_gram: {method!r} does not follow from a Gram; {known} do. Give compute_rdm "
            f"the {entry.needs}."
        )
    rdm = entry.compute(gram if indices is None else gram.subset(indices), **options)
    return _finished(rdm, entry, per_feature, gram.n_features)


def compute_rdm(
    features: torch.Tensor | np.ndarray | Gram,
    method: str | Callable[[np.ndarray], ArrayLike] = "pearson",
    *,
    noise: Noise = None,
    per_feature: bool = False,
    device: str | torch.device | None = None,
    **options: float,
) -> np.ndarray:
    """Representational dissimilarity matrix of features, or of responses.

    Parameters
    ----------
    features : torch.Tensor or np.ndarray, (n_stimuli, n_features, …); or Gram
        Stimuli first; further axes are flattened. For ``crossnobis`` and ``poisson_cv``, and where
        `noise` names a method, repeats: (n_stimuli, n_repetitions, n_features), NaN where a
        repeat is missing; one that lacks some feature counts as missing.
    method : str or callable
        - ``pearson`` (or ``correlation``): 1 − Pearson r over the features; ``spearman``: the same
          of their ranks, ties by their average; ``cosine``: 1 − cosine.
        - ``euclidean`` (rooted), ``sqeuclidean``, ``cityblock``; ``gaussian``: 1 − exp(−d² / 2σ²).
        - ``mahalanobis`` (rooted) and ``sqmahalanobis``: Euclidean after whitening by the noise.
        - ``crossnobis``: (x_i − x_j)' Σ⁻¹ (y_i − y_j), x and y different repeats, averaged over
          all ordered pairs of repeats: squared, unbiased, below zero where there is nothing.
          Without noise, Σ is the identity. Where repeats are missing each of the three products
          that it is made of is averaged over the pairs there are; then what all stimuli of a
          repeat share cancels only between stimuli that have the same repeats.
        - ``poisson``: Σ (m_i − m_j)(log m_i − log m_j), m = (x + λw) / (1 + w); ``poisson_cv``:
          the same, m of one repeat and log m of the mean of the others, the other way round, mean
          over the repeats that both stimuli have.
        - A function of the features (n_stimuli, n_features), as an array, that gives the RDM.
    noise : NoiseCovariance, dict or str, optional
        For ``mahalanobis`` (which must have it), ``sqmahalanobis`` and ``crossnobis``: what
        `noise_covariance` gives, or ``{"covariance": array}``, ``{"precision": array}``,
        ``{"residuals": array}`` or ``{"repeats": array}``; or a method of `noise_covariance`, by
        which it is estimated from the repeats in `features`.
    per_feature : bool
        Divide the squared distance, or the sum over features, by the number of features.
        rsatoolbox always does, and never takes the root: its ``euclidean`` is ``sqeuclidean`` per
        feature, its ``mahalanobis`` ``sqmahalanobis`` per feature.
    device : str or torch.device, optional
        Where to compute; the features' own device by default.
    **options : float
        ``sigma`` of ``gaussian``: the median of the Euclidean distances by default.
        ``prior_lambda`` (1) and ``prior_weight`` (0.1) of ``poisson`` and ``poisson_cv``.

    Returns
    -------
    np.ndarray, (n_stimuli, n_stimuli), float64
        Symmetric, zero diagonal, and exactly 0 between stimuli with the same features (if these are
        defined, and nothing is cross-validated). NaN for all pairs of a stimulus whose features
        are constant (``pearson``, ``spearman``) or zero (``cosine``), or that has too few repeats.

    Raises
    ------
    UnknownNameError
        If there is no such method or option.
    ValueError
        If a shape is not what the method needs, noise is missing, or given to a method without it,
        or a function returns no RDM.
    UndefinedRDMError
        If rates are negative, noise is singular, or nothing was repeated.
    NonFiniteError
        If a feature is not finite.

    References
    ----------
    Kriegeskorte, Mur & Bandettini (2008), Frontiers in Systems Neuroscience 2:4; Walther et al.
    (2016), NeuroImage 137; Schütt et al. (2023), eLife 12:e82566.

    Examples
    --------
    >>> compute_rdm(np.array([[0.0, 1, 2], [2, 1, 0]]))
    array([[0., 2.],
           [2., 0.]])
    >>> repeats = np.random.default_rng(0).normal(size=(6, 4, 30))
    >>> compute_rdm(repeats, "crossnobis", noise="shrinkage_diag", per_feature=True).shape
    (6, 6)
    """
    # A wrong name is found before the long work starts.
    entry = None if callable(method) else _checked(method, per_feature, options)
    _check_noise(method, entry, noise)
    if isinstance(features, Gram):
        if entry is None:
            raise ValueError("compute_rdm: a function needs the features, got a Gram.")
        return rdm_from_gram(features, str(method), per_feature=per_feature, **options)
    tensor = as_tensor(features)
    if device is not None:
        tensor = tensor.to(device)
    if entry is None:
        if per_feature or options:
            raise ValueError("compute_rdm: a function takes the features and no other option.")
        return _by_function(method, tensor)
    if entry.needs == "gram":
        [gram] = grams(tensor)
        return rdm_from_gram(gram, str(method), per_feature=per_feature, **options)
    settings: dict[str, object] = dict(options)
    if entry.noise != "none":
        settings["noise"] = as_noise(noise, tensor)
    if entry.needs == "features":
        tensor = as_features(_mean_repeats(tensor) if isinstance(noise, str) else tensor)
    rdm = entry.compute(tensor.detach(), **settings)
    return _finished(rdm, entry, per_feature, tensor.shape[-1])


def _checked(method: object, per_feature: bool, options: Collection[str]) -> RDMMethod:
    """Find a method and check what it was asked."""
    entry = rdm_method(str(method))
    if per_feature and entry.per_feature is None:
        known = [name for name, other in RDM_METHODS.items() if other.per_feature is not None]
        known.sort(key=lambda name: name != "sqeuclidean")
        raise ValueError(
            f"per_feature=True: expected method {' or '.join(known)}, got {method!r}, which is "
            "not a sum over the features. Leave per_feature out."
        )
    for name in options:
        if name not in entry.options:
            raise unknown_name(f"option of {method}", name, entry.options)
    return entry


def _check_noise(method: object, entry: RDMMethod | None, noise: Noise) -> None:
    if entry is not None and entry.noise == "required" and noise is None:
        raise ValueError(
            f"compute_rdm: {method!r} needs the noise, got none; without it this is the Euclidean "
            "distance, so ask for that, or give noise=noise_covariance(residuals)."
        )
    if noise is not None and (entry is None or entry.noise == "none"):
        known = ", ".join(name for name, other in RDM_METHODS.items() if other.noise != "none")
        raise ValueError(
            f"compute_rdm: noise= has a part in {known} alone, got method {method!r}. Leave it out."
        )


def _mean_repeats(repeats: torch.Tensor) -> torch.Tensor:
    """Mean over the repeats that are there, (n_stimuli, n_features), in float64."""
    present = ~torch.isnan(repeats).any(dim=2)
    values = torch.where(present[:, :, None], repeats.double(), 0.0)
    return values.sum(dim=1) / present.sum(dim=1)[:, None]


def _by_function(method: object, features: torch.Tensor) -> np.ndarray:
    assert callable(method)
    matrix = as_features(features)
    # A copy: a function that works in place must not change the caller's features.
    own = np.array(matrix.to(working_dtype(matrix)).cpu().numpy())
    rdm = np.array(method(own), dtype=np.float64)
    n = len(matrix)
    if rdm.shape != (n, n):
        raise ValueError(
            f"compute_rdm: expected the function to give a square RDM ({n}, {n}), got shape "
            f"{rdm.shape}. Turn a vector into a square with `square`."
        )
    return check_rdm(rdm, "compute_rdm: the function's RDM")


def _finished(rdm: np.ndarray, entry: RDMMethod, per_feature: bool, n_features: int) -> np.ndarray:
    if per_feature and entry.per_feature is not None:
        rdm /= n_features**entry.per_feature
    # An undefined row stays undefined off the diagonal alone: a stimulus differs from itself by 0.
    np.fill_diagonal(rdm, 0)
    return rdm


def check_rdm(rdm: ArrayLike, name: str = "RDM") -> np.ndarray:
    """Check that an array is one square RDM: symmetric, with a zero diagonal, up to rounding.

    Parameters
    ----------
    rdm : array_like, (n, n)
        NaN pairs are let through.
    name : str
        What to call it in the error.

    Returns
    -------
    np.ndarray, (n, n), float64
        A copy, exactly symmetric, with a diagonal of exactly 0.

    Raises
    ------
    ValueError
        If it is not square, not symmetric beyond rounding, or its diagonal is not zero.

    Examples
    --------
    >>> check_rdm([[0, 1], [1, 0]])
    array([[0., 1.],
           [1., 0.]])
    """
    array = np.asarray(rdm, dtype=np.float64)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or not array.size:
        raise ValueError(f"{name}: expected a square (n, n), got shape {array.shape}.")
    finite = np.abs(array[np.isfinite(array)])
    atol = _TOLERANCE * float(finite.max(initial=0))
    if not np.allclose(array, array.T, rtol=0, atol=atol, equal_nan=True):
        raise ValueError(
            f"{name}: expected a symmetric RDM, got halves that differ. Average it with its "
            "transpose if both halves measure the same."
        )
    if (np.abs(array.diagonal()) > atol).any():
        raise ValueError(
            f"{name}: expected dissimilarities with a zero diagonal, got "
            f"{float(np.nanmax(np.abs(array.diagonal()))):g} on it. Is it a similarity: 1 − it?"
        )
    array = (array + array.T) / 2
    np.fill_diagonal(array, 0)
    return array


def is_one_rdm(array: np.ndarray, name: str = "RDM") -> bool:
    """Tell a square RDM from a stack of as many vectors as each has pairs (n = 3, 6, 10, 15 …).

    One RDM is (n, n), symmetric, with a diagonal that is zero or NaN, all up to rounding.

    Raises
    ------
    ValueError
        If it has the diagonal of an RDM and is not symmetric, or is a matrix of similarities.

    Examples
    --------
    >>> is_one_rdm(1 - np.corrcoef(np.eye(6))), is_one_rdm(np.ones((6, 6)))
    (True, False)
    """
    if array.ndim != 2 or array.shape[0] != array.shape[1] or not array.size:
        return False
    diagonal = array.diagonal()
    atol = _TOLERANCE * float(np.abs(array[np.isfinite(array)]).max(initial=0))
    symmetric = np.allclose(array, array.T, rtol=0, atol=atol, equal_nan=True)
    missing = np.isnan(diagonal)
    if symmetric and (missing | (np.abs(diagonal) <= atol)).all():
        return True
    if (np.abs(diagonal) <= atol).all():
        raise ValueError(
            f"{name}: expected a symmetric RDM, got shape {array.shape} with a zero diagonal and "
            "halves that differ. Average it with its transpose if both halves measure the same; "
            "give a stack of RDMs as (n_rdms, n, n)."
        )
    # Vectors that happen to be symmetric are toys of few pairs, or all alike.
    alike = len(array) > 3 and symmetric and (np.abs(diagonal - diagonal[0]) <= atol).all()
    between = array[~np.eye(len(array), dtype=bool)]
    if alike and between.any() and np.ptp(array) > atol:
        raise ValueError(
            f"{name}: expected dissimilarities with a zero diagonal, got a symmetric matrix with "
            f"{diagonal[0]:g} on it. Is it a similarity: 1 − it?"
        )
    return False


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
    n = array.shape[-1]
    rows, columns = np.triu_indices(n, k=1)
    pairs = rows * n + columns
    # Indexed by pairs of arrays, a stack would come out with its pairs far apart in memory.
    flat = array.reshape(math.prod(array.shape[:-2]), n * n)
    vectors = np.empty((len(flat), len(pairs)), dtype=array.dtype)
    for vector, one in zip(vectors, flat, strict=True):
        np.take(one, pairs, out=vector, mode="clip")
    return vectors.reshape(*array.shape[:-2], len(pairs))


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
