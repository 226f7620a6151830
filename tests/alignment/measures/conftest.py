"""Real representations that the tests of the measures share."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="session")
def v4_halves(data_folder) -> tuple[np.ndarray, np.ndarray]:
    """Two halves of a population of macaque V4 neurons over the same 60 images, (60, 25) each."""
    responses = np.load(data_folder / "macaque_v4" / "responses_210325.npy").T[:60].astype(float)
    return responses[:, ::2], responses[:, 1::2]


@pytest.fixture(scope="session")
def behaviour(data_folder) -> tuple[np.ndarray, np.ndarray]:
    """Two halves of the human embedding of 60 THINGS concepts, (60, 21) each."""
    embedding = np.load(data_folder / "things_vice" / "things_embedding.npy")[:60].astype(float)
    return embedding[:, ::2], embedding[:, 1::2]
