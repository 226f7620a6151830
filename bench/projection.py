"""Sparse random projection of many features: ours in its two forms, and scikit-learn's."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from sklearn.random_projection import SparseRandomProjection

from bench.timing import side_by_side
from isomorph.geometry import (
    SparseProjector,
    johnson_lindenstrauss_dim,
    project,
    sparse_projection_matrix,
)


def sklearn_projection(features: np.ndarray, k: int) -> np.ndarray:
    """scikit-learn's fit and transform."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        projection = SparseRandomProjection(n_components=k, random_state=0)  # pyright: ignore
        return np.asarray(projection.fit_transform(features))


def run(
    n_stimuli: int = 1000, n_features: int = 290_400, repeats: int = 3, peers: bool = True
) -> pd.DataFrame:
    """Time them side by side, each with the making of its matrix, on the same float32 features.

    Returns
    -------
    pandas.DataFrame
        Columns ``what``, ``seconds`` (median), ``extra_MB`` (peak) and ``ratio`` (to ours).
    """
    features = np.random.default_rng(0).standard_normal((n_stimuli, n_features), dtype=np.float32)
    tensor = torch.from_numpy(features)
    k = johnson_lindenstrauss_dim(n_stimuli)
    blocks, exact, peer = "isomorph SparseProjector", "isomorph project", "scikit-learn"
    works: dict[str, Callable[[], np.ndarray]] = {
        blocks: lambda: SparseProjector(n_features, k, seed=0)(tensor).numpy(),
        exact: lambda: project(tensor, sparse_projection_matrix(n_features, k, seed=0)),
    }
    if peers:
        works[peer] = lambda: sklearn_projection(features, k)
    SparseProjector(n_features, k, seed=0)(tensor[:8])  # torch starts its threads at the first call
    results, frame = side_by_side(works, repeats)
    if peers:
        np.testing.assert_allclose(results[exact], results[peer], rtol=1e-3, atol=1e-2)
    # The blocks draw another matrix; squared lengths must be kept as well by either.
    kept = (results[blocks] ** 2).sum(axis=1) / (results[exact] ** 2).sum(axis=1)
    if not np.allclose(kept, 1, atol=0.1):
        raise AssertionError(f"squared lengths differ by up to {np.abs(kept - 1).max():.1%}")
    return frame


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-stimuli", type=int, default=1000)
    parser.add_argument("--n-features", type=int, default=290_400)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="ours alone")
    arguments = parser.parse_args()
    print(f"sparse projection, {vars(arguments)}, {torch.get_num_threads()} threads")
    print(run(**vars(arguments)).to_string(index=False, float_format=lambda x: f"{x:.3g}"))


if __name__ == "__main__":
    main()
