"""Feature-reweighted RSA: an RDM for each feature, weighted so that their sum fits best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike

from isomorph.geometry.columns import as_features
from isomorph.geometry.comparing.compare import find_comparison
from isomorph.geometry.comparing.pair_metrics import pair_metric
from isomorph.geometry.gram import grams
from isomorph.geometry.rdm_models.crossvalidation import stimulus_folds
from isomorph.geometry.rdm_models.models import (
    FittedRDM,
    fitted_stimuli,
    mean_comparison,
    measured_vectors,
    pooled,
    regressed,
    subset_rdms,
)
from isomorph.geometry.rdms.rdm import square, upper_triangle
from isomorph.storage import shown_by_shape

MAX_PARTS = 4000
RIDGES = (0.0, 0.01, 0.1, 1.0, 10.0)


@dataclass(frozen=True, eq=False, repr=False)
class FeatureWeightedRDM:
    """Squared distances between stimuli over features that are weighted to fit measured RDMs.

    The RDM of feature f is (x_if − x_jf)²; the prediction is their sum with weights w_f ≥ 0, the
    squared gains of the features. Neither the features' RDMs nor anything of the size of all pairs
    times all features is formed: products of RDMs are polynomials in products of features.

    Parameters
    ----------
    features : np.ndarray or torch.Tensor, (n_stimuli, n_features, …)
    n_components : int, optional
        Weight this many principal components instead, made on the stimuli that are fitted (wide
        layers have too many features to be weighted one by one).
    ridge : float or sequence of float
        Shrinkage of the weights, as in `WeightedRDM`. Of several the best is chosen by
        cross-validation over the stimuli that are fitted: scores are over pairs of stimuli of which
        neither was fitted.
    non_negative : bool
    n_folds, seed : int
        Of that cross-validation; folds are shuffled.

    References
    ----------
    Kaniuth & Hebart (2022), NeuroImage 257: 119294; Jozwik, Kriegeskorte & Mur (2016),
    Neuropsychologia 83.

    Examples
    --------
    >>> features = np.random.default_rng(0).standard_normal((20, 3))
    >>> measured = compute_rdm(features * [2, 1, 0], "sqeuclidean")
    >>> FeatureWeightedRDM(features, ridge=0.0).fit(measured).weights.round(6)
    array([4., 1., 0.])
    """

    features: np.ndarray | torch.Tensor
    n_components: int | None = None
    ridge: float | Sequence[float] = RIDGES
    non_negative: bool = True
    n_folds: int = 5
    seed: int = 0

    __repr__ = shown_by_shape

    def __post_init__(self) -> None:
        flat = as_features(self.features)
        object.__setattr__(self, "features", flat)
        if self.n_components is not None and self.n_components < 1:
            raise ValueError(f"n_components: expected 1 or more, got {self.n_components}.")
        if self.n_components is None and flat.shape[1] > MAX_PARTS:
            raise ValueError(
                f"FeatureWeightedRDM: expected at most {MAX_PARTS} features to be weighted one by "
                f"one, got {flat.shape[1]}. Pass n_components=50, say, to weight principal "
                "components."
            )

    @property
    def n_stimuli(self) -> int:
        """Number of stimuli of the features."""
        return len(self.features)

    def fit(
        self, rdms: ArrayLike, method: str = "cosine", *, stimuli: ArrayLike | None = None
    ) -> FittedRDM:
        """Fit to one or several measured RDMs; parameters as in `WeightedRDM.fit`."""
        measured = measured_vectors(rdms, self.n_stimuli, None)
        seen = fitted_stimuli(stimuli, self.n_stimuli)
        ridges = [float(ridge) for ridge in np.atleast_1d(np.asarray(self.ridge, dtype=float))]
        ridge = ridges[0] if len(ridges) == 1 else self._best_ridge(ridges, measured, seen, method)
        parts = self._parts(seen)
        weights = self._weights(parts, measured, seen, method, [ridge])[0]
        vector = upper_triangle(square_distances(parts * np.sqrt(np.abs(weights)), weights))
        found = _of_stimuli(vector[None], seen)[0]
        score = mean_comparison(found, _of_stimuli(measured, seen), method)
        return FittedRDM(vector, weights, score, method, ridge)

    def _parts(self, seen: np.ndarray) -> np.ndarray:
        """What is weighted, (n_stimuli, n_parts), centred on the stimuli that are fitted."""
        if self.n_components is None:
            values = torch.as_tensor(self.features).double().cpu().numpy()
            return values - values[seen].mean(axis=0)
        products = self._products
        own = products[np.ix_(seen, seen)]
        to_seen = products[:, seen]
        centred = to_seen - to_seen.mean(axis=1, keepdims=True) - own.mean(axis=0) + own.mean()
        values, axes = np.linalg.eigh(centred[seen])
        kept = np.argsort(values)[::-1][: self.n_components]
        kept = kept[values[kept] > 1e-10 * values[-1]]
        return centred @ (axes[:, kept] / np.sqrt(values[kept]))

    @cached_property
    def _products(self) -> np.ndarray:
        return grams(self.features)[0].products

    def _best_ridge(
        self, ridges: list[float], measured: np.ndarray, seen: np.ndarray, method: str
    ) -> float:
        scores = []
        for held_out in stimulus_folds(len(seen), self.n_folds, self.seed):
            fitted, tested = np.delete(seen, held_out), seen[held_out]
            parts = self._parts(fitted)
            target = _of_stimuli(measured, tested)
            found = [
                upper_triangle(square_distances(parts[tested] * np.sqrt(np.abs(w)), w))
                for w in self._weights(parts, measured, fitted, method, ridges)
            ]
            scores.append([mean_comparison(vector, target, method) for vector in found])
        means = np.nan_to_num(np.mean(scores, axis=0), nan=-np.inf)
        return ridges[int(np.argmax(means))]

    def _weights(
        self,
        parts: np.ndarray,
        measured: np.ndarray,
        seen: np.ndarray,
        method: str,
        ridges: Sequence[float],
    ) -> list[np.ndarray]:
        own = parts[seen]
        target = pooled(_of_stimuli(measured, seen), find_comparison(method))
        applied = square(pair_metric(method)(target))
        with_target = applied.sum(axis=0) @ own**2 - np.einsum("if,if->f", own, applied @ own)
        products = part_products(own, method)
        return [
            regressed(products, with_target, ridge=ridge, non_negative=self.non_negative)
            for ridge in ridges
        ]


def _of_stimuli(vectors: np.ndarray, stimuli: np.ndarray) -> np.ndarray:
    return upper_triangle(subset_rdms(square(vectors), stimuli))


def square_distances(parts: np.ndarray, signs: np.ndarray | None = None) -> np.ndarray:
    """Squared distances between rows, (n, n); columns where `signs` is negative are subtracted."""
    weighted = parts if signs is None else parts * np.sign(signs)
    products = weighted @ parts.T
    diagonal = products.diagonal()
    distances = diagonal[:, None] + diagonal - products - products.T
    np.fill_diagonal(distances, 0)
    return distances


def part_products(parts: np.ndarray, method: str) -> np.ndarray:
    """Inner products of the RDMs (z_if − z_jf)² of all pairs of columns, in a comparison's metric.

    Parameters
    ----------
    parts : np.ndarray, (n_stimuli, n_parts)
        Centred over the stimuli.
    method : {"cosine", "pearson", "whitened_cosine", "whitened_pearson"}

    Returns
    -------
    np.ndarray, (n_parts, n_parts)

    Examples
    --------
    >>> part_products(np.array([[-1.0], [0], [1]]), "cosine")  # 1² + 2² · 2² + 1²
    array([[18.]])
    """
    n = len(parts)
    squares = parts**2
    sums = squares.sum(axis=0)
    grams_squared = (parts.T @ parts) ** 2
    # The centred Gram of a column's RDM is z zᵀ: whitened products are squared inner products.
    if method == "whitened_cosine":
        return grams_squared
    if method == "whitened_pearson":
        return grams_squared - np.outer(sums, sums) / (n - 1)
    products = n * squares.T @ squares + np.outer(sums, sums) + 2 * grams_squared
    if method == "pearson":
        return products - np.outer(sums, sums) * 2 * n / (n - 1)
    return products
