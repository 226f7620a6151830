"""The geometry of classes of stimuli: how far apart, how wide, how many dimensions.

Everything follows from the Gram of the stimuli, whatever the number of features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.optimize
import torch
from scipy.special import ndtr

from isomorph.geometry.classes import Labels, labelled_classes
from isomorph.geometry.gram import Gram


@dataclass(frozen=True, eq=False)
class ManifoldGeometry:
    """Geometry of class manifolds, as it sets how well few examples teach a class.

    A pair [a, b] is that of a test stimulus of class a, told from class b. With x_a, x_b the
    classes' centres, C_a, C_b their covariances (n in the denominator) and R_a² = tr C_a, all is in
    units of R_a: Δ = (x_a − x_b) / R_a. The diagonals of pairs are NaN.

    Parameters
    ----------
    classes : np.ndarray, (n_classes,)
        Labels, in rising order.
    n_stimuli : np.ndarray, (n_classes,), int
    n_shots : int
        Examples of each class that are learnt from.
    radius : np.ndarray, (n_classes,)
        R_a, the root mean square distance from the class's centre, in the features' units.
    dimension : np.ndarray, (n_classes,)
        (tr C_a)² / tr C_a²: how many dimensions a class spreads over, its participation ratio.
    signal : np.ndarray, (n_classes, n_classes)
        ‖Δ‖².
    bias : np.ndarray, (n_classes, n_classes)
        (R_b² / R_a² − 1) / n_shots: the wider class's centre is estimated worse.
    overlap : np.ndarray, (n_classes, n_classes)
        Signal–noise overlap ΔᵀC_aΔ / R_a²: how much class a varies along the way to class b.
    other_overlap : np.ndarray, (n_classes, n_classes)
        The same of class b's variation, ΔᵀC_bΔ / R_a².
    noise_overlap : np.ndarray, (n_classes, n_classes)
        tr(C_a C_b) / R_a⁴: how much the classes vary along the same dimensions.
    """

    classes: np.ndarray
    n_stimuli: np.ndarray
    n_shots: int
    radius: np.ndarray
    dimension: np.ndarray
    signal: np.ndarray
    bias: np.ndarray
    overlap: np.ndarray
    other_overlap: np.ndarray
    noise_overlap: np.ndarray

    @property
    def snr(self) -> np.ndarray:
        """Few-shot signal-to-noise ratio of every pair, (n_classes, n_classes)."""
        from_few = 1 / self.dimension[:, None] + self.other_overlap + self.noise_overlap
        with np.errstate(divide="ignore", invalid="ignore"):
            return (self.signal + self.bias) / 2 / np.sqrt(self.overlap + from_few / self.n_shots)

    @property
    def error(self) -> np.ndarray:
        """Predicted error of a nearest-prototype classifier, (n_classes, n_classes): Φ(−SNR)."""
        return ndtr(-self.snr)


def manifold_geometry(
    features: Gram | torch.Tensor | np.ndarray, labels: Labels, *, n_shots: int = 5
) -> ManifoldGeometry:
    """Radius, dimension, signal, bias and overlaps of class manifolds, and their few-shot SNR.

    Parameters
    ----------
    features : Gram, torch.Tensor or np.ndarray
        The features, (n_stimuli, n_features, …), or their Gram.
    labels : array_like, (n_stimuli,)
        Each stimulus's class. Stimuli whose label is missing (None, NaN or empty) are left out.
    n_shots : int
        Examples of each class that a prototype is the mean of; 5 in the paper.

    Returns
    -------
    ManifoldGeometry
        NaN for pairs with a class whose stimuli are all alike.

    Raises
    ------
    ValueError
        If labels do not fit the stimuli, there is but one class, or one of a single stimulus.

    Notes
    -----
    The SNR is that of the authors' code, whose denominator has the term tr(C_a C_b) / R_a⁴ beside
    those of the paper's main text; only terms of the order 1 / n_shots² are left out. Centre and
    covariance are those of the sample: with few stimuli a class the dimension is too low.

    References
    ----------
    Sorscher, Ganguli & Sompolinsky (2022), PNAS 119(43).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat(["cat", "dog"], 50)
    >>> features = rng.standard_normal((100, 20)) + 2 * (labels == "cat")[:, None]
    >>> geometry = manifold_geometry(features, labels)
    >>> bool(geometry.error[0, 1] < 0.02)
    True
    """
    if n_shots < 1:
        raise ValueError(f"n_shots: expected at least 1 example of each class, got {n_shots}.")
    gram, classes, member = labelled_classes(features, labels)
    kernel, counts = gram.centred(), member.sum(axis=1)
    averages = member / counts[:, None]
    centres = averages @ kernel  # products of the classes' centres with all stimuli
    centre_products = centres @ averages.T
    # Products of the stimuli's deviations from their class's centre with the centres …
    along = centres - centre_products @ member
    # … and with each other.
    residual = kernel - centres.T @ member - member.T @ along
    squares = averages @ residual.diagonal()
    # A class whose stimuli are alike leaves rounding alone.
    squares = np.where(
        squares > 16 * gram.resolution * np.trace(kernel) / len(kernel), squares, np.nan
    )
    shared = averages @ residual**2 @ averages.T
    own = np.stack(
        [(averages[a] * (along[a] - along) ** 2).sum(axis=1) for a in range(len(counts))]
    )
    norms = centre_products.diagonal()
    apart = np.maximum(norms[:, None] + norms - 2 * centre_products, 0)
    scale = squares[:, None]
    return ManifoldGeometry(
        classes=classes,
        n_stimuli=counts.astype(int),
        n_shots=n_shots,
        radius=np.sqrt(squares),
        dimension=squares**2 / shared.diagonal(),
        signal=_off_diagonal(apart / scale),
        bias=_off_diagonal((squares / scale - 1) / n_shots),
        overlap=_off_diagonal(own / scale**2),
        other_overlap=_off_diagonal(own.T / scale**2),
        noise_overlap=_off_diagonal(shared / scale**2),
    )


def manifold_capacity(
    features: Gram | torch.Tensor | np.ndarray,
    labels: Labels,
    *,
    n_samples: int = 200,
    seed: int = 0,
) -> float:
    """Mean-field capacity: how many class manifolds for each dimension a plane can still divide.

    A plane through the origin can give P manifolds in N dimensions any of the labels ±1 while P / N
    is below the capacity α. 1/α is the mean over manifolds of E‖Π(t)‖², Π(t) the projection of a
    Gaussian vector t on the cone of the manifold's points (its statistical dimension). The origin
    is the mean of all stimuli. 2 for manifolds that are single points, never below 1 / n for those
    of n points.

    Parameters
    ----------
    features : Gram, torch.Tensor or np.ndarray
        The features, (n_stimuli, n_features, …), or their Gram.
    labels : array_like, (n_stimuli,)
        Each stimulus's class. Stimuli whose label is missing (None, NaN or empty) are left out.
    n_samples : int
        Gaussian vectors for each class; the result's relative error falls as its root.
    seed : int

    Returns
    -------
    float
        At zero margin. NaN if a class lies at the origin.

    Raises
    ------
    ValueError
        If labels do not fit the stimuli, there is but one class, or one of a single stimulus.

    Notes
    -----
    The theory is of many manifolds whose centres are not correlated, and of planes in a space of
    many dimensions; correlated centres, which real classes have, lower the true capacity.

    References
    ----------
    Chung, Lee & Sompolinsky (2018), Physical Review X 8, 031003; Amelunxen, Lotz, McCoy & Tropp
    (2014), Information and Inference 3(3) (the statistical dimension of cones).

    Examples
    --------
    >>> points = np.repeat(np.random.default_rng(0).standard_normal((20, 50)), 2, axis=0)
    >>> 1.8 < manifold_capacity(points, np.repeat(np.arange(20), 2)) < 2.2
    True
    """
    if n_samples < 1:
        raise ValueError(f"n_samples: expected at least 1, got {n_samples}.")
    gram, _, member = labelled_classes(features, labels)
    kernel = gram.centred()
    rounding = 16 * gram.resolution * np.trace(kernel) / len(kernel)
    rng = np.random.default_rng(seed)
    sizes = []
    for row in member.astype(bool):
        values, vectors = np.linalg.eigh(kernel[np.ix_(row, row)])
        kept = values > max(rounding, len(values) * gram.resolution * values[-1])
        if not kept.any():
            return float("nan")
        # Any points with these products will do: t has no preferred direction.
        points = vectors[:, kept] * np.sqrt(values[kept])
        sizes.append(_cone_dimension(points, rng.standard_normal((n_samples, kept.sum()))))
    return float(1 / np.mean(sizes))


def _cone_dimension(points: np.ndarray, normals: np.ndarray) -> float:
    """Mean squared length of projections of vectors on the cone of some points (rows)."""
    # Their length says nothing of the cone, but much of how the solver fares.
    rays = points / np.linalg.norm(points, axis=1, keepdims=True).clip(min=1e-300)
    found = 0.0
    for normal in normals:
        _, rest = scipy.optimize.nnls(rays.T, normal)
        found += normal @ normal - rest**2
    return found / len(normals)


def _off_diagonal(pairs: np.ndarray) -> np.ndarray:
    return np.where(np.eye(len(pairs), dtype=bool), np.nan, pairs)
