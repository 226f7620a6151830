"""What a metric or a statistic may ask of a layer; the plan unions what all of them ask.

A need is a frozen description, so that equal ones are computed once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from isomorph.extraction.layer import Layer
from isomorph.geometry import Scaling


@dataclass(frozen=True)
class GramNeed:
    """The Gram over all stimuli, of the features as they are or scaled by training stimuli.

    Parameters
    ----------
    scaling : Scaling or None
        Which stimuli give the features' scale, and how; None leaves the features as they are.
    """

    scaling: Scaling | None = None

    def held_bytes(self, n_stimuli: int, n_features: int) -> int:
        """Bytes held during the pass: the whole map, and the product."""
        return 4 * n_stimuli * n_features + 8 * n_stimuli**2


@dataclass(frozen=True)
class ProjectionNeed:
    """A sparse random projection of the flattened features, computed at the hook.

    Parameters
    ----------
    n_components : int
        Dimensions to project to (up as well as down).
    seed : int
        Seed of the projection matrix.
    """

    n_components: int
    seed: int = 0

    def held_bytes(self, n_stimuli: int, n_features: int) -> int:
        """Bytes held during the pass: the matrix (values and indices) and the projection."""
        nonzero = self.n_components * math.sqrt(n_features)
        return int(12 * nonzero) + 4 * n_stimuli * self.n_components


@dataclass(frozen=True)
class MomentsNeed:
    """Each feature's mean, variance and share of zeros over the stimuli, summed at the hook."""

    def held_bytes(self, n_stimuli: int, n_features: int) -> int:
        """Bytes held during the pass; no map among them."""
        return 24 * n_features


@dataclass(frozen=True)
class FeaturesNeed:
    """The raw features themselves, (n_stimuli, n_features), float32."""

    def held_bytes(self, n_stimuli: int, n_features: int) -> int:
        """Bytes held during the pass."""
        return 4 * n_stimuli * n_features


Need = GramNeed | ProjectionNeed | MomentsNeed | FeaturesNeed


def holds_maps(needs: Sequence[Need]) -> bool:
    """Whether some need asks for a whole map at once."""
    return any(isinstance(need, GramNeed | FeaturesNeed) for need in needs)


def held_bytes(needs: Sequence[Need], n_stimuli: int, layer: Layer) -> int:
    """Bytes that a layer holds during its pass: the map is shared by all needs that ask for it."""
    whole_map = 4 * n_stimuli * layer.n_features
    total = sum(need.held_bytes(n_stimuli, layer.n_features) for need in needs)
    sharing = sum(isinstance(need, GramNeed | FeaturesNeed) for need in needs)
    return total - whole_map * max(sharing - 1, 0)
