"""Comparison of RDMs as second moments: the Bures fidelity and the Riemannian distance.

Both are of the Gram that squared distances come from, K = −½ J D J. Dissimilarities are taken as
squared distances as they are.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
import scipy.optimize

from isomorph.geometry.comparing.compare import COMPARISONS, Comparison
from isomorph.geometry.rdms.rdm import square

# Relative to the largest eigenvalue.
_ROUNDING = 1e-12
_NEGATIVE = 1e-10


def _factor(vector: np.ndarray) -> np.ndarray | None:
    """F with F Fᵀ = K / tr K, its negative eigenvalues cut off; None where K is undefined or zero.

    An RDM of no Euclidean distances has negative eigenvalues, and no fidelity in the strict sense.
    """
    largest = np.abs(vector).max()
    if not np.isfinite(largest) or largest == 0:
        return None
    distances = square(vector / largest)
    kernel = -(distances - distances.mean(axis=0) - distances.mean(axis=1)[:, None]) / 2
    kernel -= distances.mean() / 2
    values, axes = np.linalg.eigh(kernel)
    kept = values > _ROUNDING * np.abs(values).max()
    if not kept.any():
        return None
    return axes[:, kept] * np.sqrt(values[kept] / values[kept].sum())


def _bures(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """tr (K^½ L K^½)^½ / (tr K tr L)^½: the sum of the singular values of the factors' product."""
    same = first is second
    factors = [_factor(vector) for vector in first]
    others = factors if same else [_factor(vector) for vector in second]
    values = np.full((len(first), len(second)), np.nan)
    for i, left in enumerate(factors):
        for j in range(i if same else 0, len(others)):
            right = others[j]
            if left is None or right is None:
                continue
            fidelity = min(1.0, float(np.linalg.svd(left.T @ right, compute_uv=False).sum()))
            values[i, j] = fidelity
            if same:
                values[j, i] = fidelity
    return values


def _moments(vector: np.ndarray) -> np.ndarray | None:
    """Second moments about the first stimulus, (n − 1, n − 1), of magnitude one, or None."""
    largest = np.abs(vector).max()
    if not np.isfinite(largest) or largest == 0:
        return None
    distances = square(vector / largest)
    to_first = distances[0, 1:]
    return (to_first[:, None] + to_first - distances[1:, 1:]) / 2


def _riemannian(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    moments = [_moments(vector) for vector in first]
    others = moments if second is first else [_moments(vector) for vector in second]
    values = np.full((len(first), len(second)), np.nan)
    for j, target in enumerate(others):
        root = None if target is None else _inverse_root(target)
        if root is None:
            continue
        noise = root @ (np.eye(len(root)) + 1) @ root.T
        for i, moment in enumerate(moments):
            if moment is not None and np.linalg.eigvalsh(moment)[0] > -_NEGATIVE * len(moment):
                values[i, j] = -_distance(root @ moment @ root.T, noise)
    return values


def _inverse_root(target: np.ndarray) -> np.ndarray | None:
    """R with R G Rᵀ = I; None where G is not positive definite."""
    values, axes = np.linalg.eigh(target)
    if values[0] <= _ROUNDING * values[-1]:
        return None
    return (axes / np.sqrt(values)).T


def _distance(moment: np.ndarray, noise: np.ndarray) -> float:
    """Least ‖log(a G + b S)‖ over positive a and b, G and S relative to the target."""

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        scaled = np.exp(theta[0]) * moment, np.exp(theta[1]) * noise
        values, axes = np.linalg.eigh(scaled[0] + scaled[1])
        values = np.maximum(values, np.finfo(float).tiny)
        logs = np.log(values)
        slopes = [np.einsum("ij,ij->j", axes, part @ axes) for part in scaled]
        gradient = [float((2 * logs / values * slope).sum()) for slope in slopes]
        return float((logs**2).sum()), np.array(gradient)

    # Bounds keep e^θ a number; where one part alone fits best, θ of the other has no minimum.
    size = [np.log(max(np.trace(part), 1e-300) / len(part)) for part in (moment, noise)]
    bounds = [(-part - 50, -part + 50) for part in size]
    found = [
        scipy.optimize.minimize(
            loss,
            (-size[0] - less, -size[1] - little),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"ftol": 1e-14},
        ).fun
        for less, little in ((0, 4), (1, 1), (4, 0))
    ]
    alone = [_scaled_distance(part) for part in (moment, noise)]
    return float(np.sqrt(max(min(found + alone), 0)))


def _scaled_distance(part: np.ndarray) -> float:
    """Least ‖log(a G)‖² over positive a alone: the spread of the logarithms."""
    values = np.linalg.eigvalsh(part)
    if values[0] <= _ROUNDING * values[-1]:
        return np.inf
    logs = np.log(values)
    return float(((logs - logs.mean()) ** 2).sum())


def _by_mean(vectors: np.ndarray) -> np.ndarray:
    return vectors / vectors.mean(axis=1, keepdims=True)


COMPARISONS.add(
    "bures",
    Comparison(
        _bures,
        _by_mean,
        (0.0, 1.0),
        "Normalised Bures similarity (fidelity) of the centred Grams: the cosine of their "
        "Procrustes angle, for squared Euclidean RDMs.",
        "Harvey, Larsen & Williams 2024, UniReps (PMLR 243)",
        over_pairs=False,
    ),
)
COMPARISONS.add(
    "riemannian",
    Comparison(
        _riemannian,
        _by_mean,
        (-float("inf"), 0.0),
        "Minus the affine-invariant Riemannian distance of the second's moments from the first's, "
        "scaled and with noise added as fits best; not symmetric.",
        "Shahbazi, Shirali, Aghajan & Nili 2021, NeuroImage 239: 118271",
        over_pairs=False,
    ),
)
