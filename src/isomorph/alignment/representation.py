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
    grams,
    moments_of,
    project,
    rdm_from_gram,
    sparse_projection_matrix,
    upper_triangle,
)


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
        """RDM over some stimuli, as its upper triangle (n_pairs,), float64."""
        key = ("rdm", rows.tobytes(), distance)
        if key not in self.memo:
            self.memo[key] = upper_triangle(rdm_from_gram(self.gram(), distance, indices=rows))
        return self.memo[key]
