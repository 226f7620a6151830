"""Ridge with a penalty for each target, by leave-one-out, folds and bands: ours and the peers'."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch

from bench.timing import side_by_side
from isomorph.encoding import RidgeFit, banded_ridge, pearson_r, ridge_cv, ridge_loo
from isomorph.geometry import Scaling, grams

ALPHAS = np.logspace(-1, 5, 7)
SKLEARN = "scikit-learn RidgeCV, LOO"
KERNEL_PEER = "himalaya KernelRidgeCV, 5-fold (torch)"


def ours(features: np.ndarray, responses: np.ndarray) -> RidgeFit:
    """Features to kernel to penalties, scores and dual coefficients: what himalaya's fit gives."""
    [gram] = grams(features)
    return ridge_loo(gram.products, responses, ALPHAS, coefficients=True, held_out=False)


def ours_with_predictions(features: np.ndarray, responses: np.ndarray) -> RidgeFit:
    """The same, and the left-out predictions with their correlations, which no peer gives."""
    [gram] = grams(features)
    fit = ridge_loo(gram.products, responses, ALPHAS)
    pearson_r(fit.cv_predictions, responses)
    return fit


def ours_in_folds(features: np.ndarray, responses: np.ndarray, scaled: bool) -> RidgeFit:
    """Features to kernel to folds to dual coefficients, as himalaya's; or a kernel for each."""
    n = len(features)
    folds = np.array_split(np.arange(n), 5)
    if not scaled:
        [gram] = grams(features)
        options = {"coefficients": True, "held_out": False}  # as himalaya's gives
        return ridge_cv(gram.products, responses, ALPHAS, folds, **options)
    scalings = [Scaling(tuple(np.delete(np.arange(n), fold))) for fold in folds]
    whole, *inside = grams(features, [Scaling(range(n)), *scalings])
    kernels = [gram.products for gram in inside]
    return ridge_cv(
        whole.products,
        responses,
        ALPHAS,
        folds,
        kernel_folds=kernels,
        coefficients=True,
        held_out=False,
    )


def peer(name: str, features: np.ndarray, responses: np.ndarray) -> Any:
    """One of the peers, fitted."""
    from himalaya.backend import set_backend
    from himalaya.kernel_ridge import KernelRidgeCV
    from himalaya.ridge import RidgeCV as HimalayaRidgeCV
    from sklearn.linear_model import RidgeCV

    if name == SKLEARN:
        return RidgeCV(ALPHAS, alpha_per_target=True).fit(features, responses)
    backend = "torch" if name == KERNEL_PEER else "numpy"
    set_backend(backend)
    try:
        if "KernelRidgeCV" in name:
            model = KernelRidgeCV(alphas=ALPHAS, cv=5, kernel="linear", fit_intercept=True)
        else:
            model = HimalayaRidgeCV(
                alphas=ALPHAS, cv=5, fit_intercept=True, solver_params={"warn": False}
            )
        return model.fit(features, responses)
    finally:
        set_backend("numpy")


def data(n: int, p: int, t: int) -> tuple[np.ndarray, np.ndarray]:
    """Features, and responses from easy to hopeless, in float32."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((n, p), dtype=np.float32)
    weights = rng.standard_normal((p, t), dtype=np.float32) / p**0.5
    noise = rng.standard_normal((n, t), dtype=np.float32)
    return features, features @ weights + noise * np.linspace(0.1, 3, t, dtype=np.float32)


def run(
    n_stimuli: int = 500,
    n_features: int = 6000,
    n_targets: int = 3000,
    repeats: int = 3,
    peers: bool = True,
    slow_peers: bool = True,
) -> pd.DataFrame:
    """Time all of them side by side, in one process, on the same float32 data and 7 alphas.

    Returns
    -------
    pandas.DataFrame
        Columns ``what``, ``seconds`` (median), ``extra_MB`` (peak) and ``ratio`` (to ours).
    """
    given = data(n_stimuli, n_features, n_targets)
    ours(*(array[:20] for array in given))  # BLAS and LAPACK start at the first call
    first = "isomorph ridge_loo"
    works: dict[str, Callable[[], Any]] = {
        first: lambda: ours(*given),
        "isomorph ridge_loo, and the left-out predictions": lambda: ours_with_predictions(*given),
        "isomorph ridge_cv, 5-fold": lambda: ours_in_folds(*given, scaled=False),
        "isomorph ridge_cv, 5-fold, scaled inside": lambda: ours_in_folds(*given, scaled=True),
    }
    names = [KERNEL_PEER] if peers else []
    if peers and slow_peers:
        names += [
            "himalaya KernelRidgeCV, 5-fold (numpy)",
            "himalaya RidgeCV, 5-fold",
            SKLEARN,
        ]
    works |= {name: lambda name=name: peer(name, *given) for name in names}
    results, frame = side_by_side(works, repeats)
    if SKLEARN in results:
        # Float32 leaves a few targets between two penalties that are all but equally good.
        agreement = np.mean(np.isclose(results[SKLEARN].alpha_, results[first].alphas))
        if agreement < 0.99:
            raise AssertionError(f"penalties agree for {agreement:.1%} of the targets only")
    return frame


def run_banded(
    n_stimuli: int = 500, n_targets: int = 3000, n_candidates: int = 5, repeats: int = 3
) -> pd.DataFrame:
    """Banded ridge on three kernels with the same candidates; seconds are per candidate."""
    from himalaya.backend import set_backend
    from himalaya.kernel_ridge import MultipleKernelRidgeCV

    features, responses = data(n_stimuli, 3000, n_targets)
    kernels = np.stack([grams(part)[0].products for part in np.split(features, 3, axis=1)])
    gammas = np.random.default_rng(0).dirichlet([1, 1, 1], n_candidates)
    folds = np.array_split(np.arange(n_stimuli), 5)
    single = kernels.astype(np.float32)

    def himalaya(backend: str) -> Any:
        set_backend(backend)
        try:
            params = {"n_iter": gammas.astype("f4"), "alphas": ALPHAS, "progress_bar": False}
            model = MultipleKernelRidgeCV(
                kernels="precomputed", cv=5, fit_intercept=True, solver_params=params
            )
            return model.fit(single, responses)
        finally:
            set_backend("numpy")

    def banded(inside: list[np.ndarray] | None) -> Any:
        return banded_ridge(list(kernels), responses, ALPHAS, gammas=gammas, folds=inside)

    _, frame = side_by_side(
        {
            "isomorph banded_ridge, LOO": lambda: banded(None),
            "isomorph banded_ridge, 5-fold": lambda: banded(folds),
            "himalaya MultipleKernelRidgeCV, 5-fold (torch)": lambda: himalaya("torch"),
            "himalaya MultipleKernelRidgeCV, 5-fold (numpy)": lambda: himalaya("numpy"),
        },
        repeats,
    )
    frame["seconds"] /= n_candidates
    return frame


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-stimuli", type=int, default=500)
    parser.add_argument("--n-features", type=int, default=6000)
    parser.add_argument("--n-targets", type=int, default=3000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="ours alone")
    parser.add_argument("--no-slow-peers", dest="slow_peers", action="store_false")
    parser.add_argument("--no-banded", dest="banded", action="store_false")
    arguments = vars(parser.parse_args())
    with_banded = arguments.pop("banded")
    print(f"ridge, 7 penalties, {arguments}, {torch.get_num_threads()} threads")
    print(run(**arguments).to_string(index=False, float_format=lambda x: f"{x:.3g}"))
    if with_banded and arguments["peers"]:
        sizes = {name: arguments[name] for name in ("n_stimuli", "n_targets", "repeats")}
        print("banded ridge, 3 bands, seconds per candidate")
        print(run_banded(**sizes).to_string(index=False, float_format=lambda x: f"{x:.3g}"))


if __name__ == "__main__":
    main()
