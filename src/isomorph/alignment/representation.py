"""`Representation`: what a metric may ask of one layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from isomorph.extraction import FeaturesNeed, GramNeed, MomentsNeed, Need, ProjectionNeed
from isomorph.geometry import (
    Gram,
    Moments,
    NonFiniteError,
    Scaling,
    as_tensor,
    compute_rdm,
    grams,
    moments_of,
    project,
    rdm_from_gram,
    rdm_method,
    sparse_projection_matrix,
    upper_triangle,
)

# What a layer, which is measured once and without noise, takes where responses take the key.
_WITHOUT_NOISE = {
    "mahalanobis": "euclidean",
    "sqmahalanobis": "sqeuclidean",
    "crossnobis": "sqeuclidean",
    "poisson_cv": "poisson",
}


def layer_distance(distance: str) -> tuple[str, bool]:
    """Name the dissimilarity of a layer's stimuli where responses take `distance`.

    Returns
    -------
    method : str
        The same, or, where it needs noise or repeats, what it estimates.
    per_feature : bool
        Whether it is divided by the number of features: where it stands for another.
    """
    method = _WITHOUT_NOISE.get(distance, distance)
    return method, method != distance and rdm_method(method).per_feature is not None


def layer_need(distance: str) -> Need:
    """Tell what `Representation.rdm` must have of a layer for a distance."""
    method, _ = layer_distance(distance)
    return GramNeed() if rdm_method(method).needs == "gram" else FeaturesNeed()


class Representation:
    """A layer's features over the stimuli, through what the stream provided.

    What was provided is used; what was not is computed from the features if those are here. What
    several metrics share (an RDM, an encoding model's predictions) is kept in `memo`. If the
    features are not finite, `undefined` says so and nothing can be asked.

    Parameters
    ----------
    given : mapping of Need to value
        From `extraction.stream_layers`.
    n_stimuli : int

    Examples
    --------
    >>> layer = Representation.from_features(np.random.default_rng(0).normal(size=(10, 5)))
    >>> layer.rdm(np.arange(10)).shape
    (45,)
    """

    def __init__(self, given: Mapping[Need, Any], n_stimuli: int) -> None:
        self._given = dict(given)
        errors = [value for value in self._given.values() if isinstance(value, NonFiniteError)]
        self.undefined = str(errors[0]) if errors else ""
        self.n_stimuli = n_stimuli
        self.memo: dict[Any, Any] = {}

    @classmethod
    def from_features(cls, features: np.ndarray | torch.Tensor) -> Representation:
        """Wrap features of shape (n_stimuli, ...)."""
        tensor = as_tensor(features)
        flat = tensor.reshape(len(tensor), -1)
        return cls({FeaturesNeed(): flat}, len(flat))

    def apart(self) -> Representation:
        """The same layer with a memo of its own: what is kept for a passing use goes with it."""
        other = Representation({}, self.n_stimuli)
        other._given, other.undefined = self._given, self.undefined
        other.memo = dict(self.memo)
        return other

    @property
    def features(self) -> torch.Tensor:
        """The raw features, (n_stimuli, n_features)."""
        need = FeaturesNeed()
        if need not in self._given:
            raise ValueError(
                "features: expected the raw features, but none of the metric's needs asked for "
                "them. Declare FeaturesNeed() among its needs."
            )
        return self._given[need]

    def gram(self, scaling: Scaling | None = None) -> Gram:
        """The Gram over all stimuli, of the features as they are or scaled."""
        need = GramNeed(scaling)
        if need not in self._given:
            self._given[need] = grams(self.features, [scaling])[0]
        return self._given[need]

    def moments(self) -> Moments:
        """Each feature's mean, variance and share of zeros over the stimuli."""
        need = MomentsNeed()
        if need not in self._given:
            self._given[need] = moments_of(self.features)
        return self._given[need]

    def projection(self, n_components: int, seed: int) -> np.ndarray:
        """The sparse random projection, (n_stimuli, n_components)."""
        need = ProjectionNeed(n_components, seed)
        if need not in self._given:
            matrix = sparse_projection_matrix(self.features.shape[1], n_components, seed=seed)
            self._given[need] = project(self.features, matrix)
        return self._given[need]

    def rdm(self, rows: np.ndarray, distance: str = "pearson") -> np.ndarray:
        """RDM over some stimuli, as its upper triangle (n_pairs,), float64.

        A distance that needs noise or repeats is replaced by what it estimates, per feature: see
        `layer_distance`.
        """
        key = ("rdm", rows.tobytes(), distance)
        if key not in self.memo:
            method, per_feature = layer_distance(distance)
            if rdm_method(method).needs == "gram":
                gram = self.gram()
                rdm = rdm_from_gram(gram, method, per_feature=per_feature, indices=rows)
            else:
                index = torch.as_tensor(rows, device=self.features.device)
                rdm = compute_rdm(self.features[index], method, per_feature=per_feature)
            self.memo[key] = upper_triangle(rdm)
        return self.memo[key]
