"""Ridge with a penalty for each target: ours by leave-one-out, himalaya, scikit-learn."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch

from bench.timing import side_by_side
from isomorph.encoding import RidgeFit, pearson_r, ridge_loo
from isomorph.geometry import grams


def ours(features: np.ndarray, responses: np.ndarray, alphas: np.ndarray) -> RidgeFit:
    """Features to kernel to leave-one-out predictions, and their scores."""
    [gram] = grams(features)
    fit = ridge_loo(gram.products, responses, alphas)
    pearson_r(fit.loo_predictions, responses)
    return fit


def peer(name: str, features: np.ndarray, responses: np.ndarray, alphas: np.ndarray) -> Any:
    """One of the peers, fitted."""
    from himalaya.kernel_ridge import KernelRidgeCV
    from himalaya.ridge import RidgeCV as HimalayaRidgeCV
    from sklearn.linear_model import RidgeCV

    if name == "scikit-learn RidgeCV, LOO":
        return RidgeCV(alphas, alpha_per_target=True).fit(features, responses)
    if name == "himalaya KernelRidgeCV, 5-fold":
        model = KernelRidgeCV(alphas=alphas, cv=5, kernel="linear", fit_intercept=True)
        return model.fit(features, responses)
    model = HimalayaRidgeCV(alphas=alphas, cv=5, fit_intercept=True, solver_params={"warn": False})
    return model.fit(features, responses)


def run(
    n_stimuli: int = 500,
    n_features: int = 6000,
    n_targets: int = 3000,
    repeats: int = 3,
    peers: bool = True,
) -> pd.DataFrame:
    """Time all of them side by side, in one process, on the same float32 data and 7 alphas.

    Returns
    -------
    pandas.DataFrame
        Columns ``what``, ``seconds`` (median), ``extra_MB`` (peak) and ``ratio`` (to ours).
    """
    rng = np.random.default_rng(0)
    features = rng.standard_normal((n_stimuli, n_features), dtype=np.float32)
    weights = rng.standard_normal((n_features, n_targets), dtype=np.float32) / n_features**0.5
    noise = rng.standard_normal((n_stimuli, n_targets), dtype=np.float32)
    responses = features @ weights + noise * np.linspace(0.1, 3, n_targets, dtype=np.float32)
    alphas = np.logspace(-1, 5, 7)
    data = (features, responses, alphas)
    ours(features[:20], responses[:20], alphas)  # BLAS and LAPACK start at the first call
    ours_name, *_, sklearn_name = names = [
        "isomorph ridge_loo",
        "himalaya KernelRidgeCV, 5-fold",
        "himalaya RidgeCV, 5-fold",
        "scikit-learn RidgeCV, LOO",
    ]
    works: dict[str, Callable[[], Any]] = {ours_name: lambda: ours(*data)}
    if peers:
        works |= {name: lambda name=name: peer(name, *data) for name in names[1:]}
    results, frame = side_by_side(works, repeats)
    if peers:
        # Float32 leaves a few targets between two penalties that are all but equally good.
        agreement = np.mean(np.isclose(results[sklearn_name].alpha_, results[ours_name].alphas))
        if agreement < 0.99:
            raise AssertionError(f"penalties agree for {agreement:.1%} of the targets only")
    return frame


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-stimuli", type=int, default=500)
    parser.add_argument("--n-features", type=int, default=6000)
    parser.add_argument("--n-targets", type=int, default=3000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="ours alone")
    arguments = parser.parse_args()
    print(f"ridge, 7 penalties, {vars(arguments)}, {torch.get_num_threads()} threads")
    print(run(**vars(arguments)).to_string(index=False, float_format=lambda x: f"{x:.3g}"))


if __name__ == "__main__":
    main()
