"""Thin scikit-learn estimators on the solvers of this room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import (
    BaseEstimator,
    MultiOutputMixin,
    RegressorMixin,
)
from sklearn.model_selection import check_cv
from sklearn.utils.validation import check_is_fitted, validate_data

from isomorph.encoding.banded import banded_ridge
from isomorph.encoding.feature_ridge import fit_ridge
from isomorph.encoding.kernel_ridge import kernel_matrix
from isomorph.encoding.kernels import PUBLISHED_ALPHAS
from isomorph.encoding.kfold import ridge_cv
from isomorph.encoding.reducers import on_device
from isomorph.encoding.ridge import RidgeFit, ridge_loo


class _Ridge(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """What the ridge estimators share: checks, folds, and the shape of a single target."""

    cv: Any
    device: Any

    def _read(self, X: Any, y: Any) -> tuple[torch.Tensor, torch.Tensor]:
        X, y = validate_data(  # pyright: ignore[reportCallIssue]
            self, X, y, multi_output=True, y_numeric=True, dtype=np.float64, ensure_min_samples=2
        )
        self._one = y.ndim == 1
        targets = y[:, None] if self._one else y
        return on_device(X, self.device), on_device(targets.astype(np.float64), self.device)

    def _folds(self, X: Any, y: torch.Tensor) -> list[np.ndarray] | None:
        if self.cv is None:
            return None
        splitter: Any = check_cv(self.cv)
        return [test for _, test in splitter.split(np.empty((len(X), 1)))]

    def _keep(self, fit: RidgeFit) -> None:
        # A target without a penalty is predicted by its mean: any penalty would do.
        alphas = np.where(np.isnan(fit.alphas), fit.grid[-1], fit.alphas)
        self.alpha_ = float(alphas[0]) if self._one else alphas
        self.best_score_ = float(fit.cv_score[0]) if self._one else fit.cv_score
        self.edge_share_ = fit.edge_share

    def _shaped(self, predictions: np.ndarray) -> np.ndarray:
        return predictions[:, 0] if self._one else predictions


class TorchRidgeCV(_Ridge):
    """Ridge regression with an intercept and a penalty for each target, primal or dual by shape.

    Parameters
    ----------
    alphas : array_like, optional
        Penalties, positive and increasing; by default logspace(−1, 5, 7).
    relative : bool
        Whether alphas are in units of the mean squared length of the centred features / 5920.
    cv : None, int or scikit-learn splitter
        None: exact leave-one-out. A number: contiguous folds.
    scale : {"none", "floored", "standard"}
    criterion : {"squared_error", "pearson"}
    alpha_per_target : bool
    device : str or torch.device, optional

    Attributes
    ----------
    coef_ : np.ndarray, (p,) or (t, p)
    intercept_ : float or np.ndarray, (t,)
    alpha_ : float or np.ndarray, (t,)
    best_score_ : float or np.ndarray, (t,)
        Minus the mean squared held-out error, or the Pearson r.
    edge_share_ : float

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((30, 100))
    >>> TorchRidgeCV().fit(x, x[:, :2]).predict(x).shape
    (30, 2)
    """

    def __init__(
        self,
        alphas: ArrayLike | None = None,
        *,
        relative: bool = False,
        cv: Any = None,
        scale: str = "none",
        criterion: str = "squared_error",
        alpha_per_target: bool = True,
        device: str | torch.device | None = None,
    ) -> None:
        self.alphas = alphas
        self.relative = relative
        self.cv = cv
        self.scale = scale
        self.criterion = criterion
        self.alpha_per_target = alpha_per_target
        self.device = device

    def fit(self, X: Any, y: Any) -> TorchRidgeCV:
        """Fit to features (n, p) and targets (n,) or (n, t)."""
        x, targets = self._read(X, y)
        model = fit_ridge(
            x,
            targets,
            PUBLISHED_ALPHAS if self.alphas is None else self.alphas,
            folds=self._folds(x, targets),
            scale=self.scale,  # pyright: ignore[reportArgumentType]
            relative=self.relative,
            criterion=self.criterion,  # pyright: ignore[reportArgumentType]
            alpha_per_target=self.alpha_per_target,
        )
        weights, intercept = model.weights(x)
        self.coef_ = weights[:, 0] if self._one else weights.T
        self.intercept_ = float(intercept[0]) if self._one else intercept
        self._keep(model.fit)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predict targets, (m,) or (m, t)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        return X @ self.coef_.T + self.intercept_


class TorchKernelRidgeCV(_Ridge):
    """Kernel ridge regression with an intercept and a penalty for each target.

    Parameters
    ----------
    alphas : array_like, optional
        Penalties, positive and increasing; by default logspace(−1, 5, 7).
    kernel : {"linear", "poly", "rbf", "sigmoid", "cosine", "precomputed"}
        Of ``"sigmoid"``, which is not positive definite, the part that is.
    gamma, degree, coef0
        As in `kernel_matrix`.
    cv : None, int or scikit-learn splitter
        None: exact leave-one-out. A number: contiguous folds.
    criterion : {"squared_error", "pearson"}
    alpha_per_target : bool
    device : str or torch.device, optional

    Attributes
    ----------
    dual_coef_ : np.ndarray, (n,) or (n, t)
        For the kernel centred over the training stimuli.
    intercept_, alpha_, best_score_, edge_share_
        As in `TorchRidgeCV`; the intercept is the mean of the targets.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((30, 100))
    >>> TorchKernelRidgeCV(kernel="rbf").fit(x, x[:, 0]).predict(x).shape
    (30,)
    """

    def __init__(
        self,
        alphas: ArrayLike | None = None,
        *,
        kernel: str = "linear",
        gamma: float | None = None,
        degree: int = 3,
        coef0: float = 1.0,
        cv: Any = None,
        criterion: str = "squared_error",
        alpha_per_target: bool = True,
        device: str | torch.device | None = None,
    ) -> None:
        self.alphas = alphas
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.cv = cv
        self.criterion = criterion
        self.alpha_per_target = alpha_per_target
        self.device = device

    def fit(self, X: Any, y: Any) -> TorchKernelRidgeCV:
        """Fit to features (n, p), or a kernel (n, n), and targets (n,) or (n, t)."""
        x, targets = self._read(X, y)
        kernel = self._kernel(x)
        self.X_fit_ = x.cpu().numpy()
        options: dict[str, Any] = {
            "criterion": self.criterion,
            "alpha_per_target": self.alpha_per_target,
            "coefficients": True,
        }
        alphas = PUBLISHED_ALPHAS if self.alphas is None else self.alphas
        folds = self._folds(x, targets)
        if folds is None:
            fit = ridge_loo(kernel, targets, alphas, **options)
        else:
            fit = ridge_cv(kernel, targets, alphas, folds, **options)
        assert fit.coefficients is not None
        self._rows = kernel.mean(dim=0).cpu().numpy()
        self.dual_coef_ = self._shaped(fit.coefficients)
        self.intercept_ = float(fit.intercept[0]) if self._one else fit.intercept
        self._keep(fit)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predict targets, (m,) or (m, t), from features (m, p) or a kernel (m, n)."""
        check_is_fitted(self)
        X = np.asarray(validate_data(self, X, reset=False, dtype=np.float64))
        x = on_device(X, self.device)
        across = self._kernel(x, on_device(self.X_fit_, self.device)).cpu().numpy()
        centred = across - across.mean(axis=1, keepdims=True) - self._rows + self._rows.mean()
        return centred @ self.dual_coef_ + self.intercept_

    def _kernel(self, x: torch.Tensor, fitted: torch.Tensor | None = None) -> torch.Tensor:
        if self.kernel == "precomputed":
            return x
        first, second = (x, None) if fitted is None else (x, fitted)
        return kernel_matrix(
            first,
            second,
            self.kernel,  # pyright: ignore[reportArgumentType]
            gamma=self.gamma,
            degree=self.degree,
            coef0=self.coef0,
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.kernel == "precomputed"
        return tags


class TorchBandedRidgeCV(_Ridge):
    """Banded ridge regression: a penalty for each group of features and each target.

    Parameters
    ----------
    groups : array_like of length p, optional
        Which band each feature is of; by default all are of one.
    alphas : array_like, optional
        Penalties, positive and increasing; by default logspace(−1, 5, 7).
    gammas : int or (n_candidates, b) array
        How many candidates to draw, or the candidates themselves: shares of the bands, in the
        order of the sorted group labels.
    cv : None, int or scikit-learn splitter
        None: exact leave-one-out. A number: contiguous folds.
    criterion : {"squared_error", "pearson"}
    random_state : int
        For the drawn candidates.
    device : str or torch.device, optional

    Attributes
    ----------
    coef_ : np.ndarray, (p,) or (t, p)
    intercept_, alpha_, best_score_, edge_share_
        As in `TorchRidgeCV`.
    deltas_ : np.ndarray, (b,) or (b, t)
        log(gamma / alpha): minus the logarithm of each band's penalty.
    cv_scores_ : np.ndarray, (n_candidates,) or (n_candidates, t)

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((30, 100))
    >>> model = TorchBandedRidgeCV(np.repeat([0, 1], 50), gammas=10).fit(x, x[:, :2])
    >>> model.deltas_.shape
    (2, 2)
    """

    def __init__(
        self,
        groups: Sequence[Any] | np.ndarray | None = None,
        alphas: ArrayLike | None = None,
        *,
        gammas: int | ArrayLike = 20,
        cv: Any = None,
        criterion: str = "squared_error",
        random_state: int = 0,
        device: str | torch.device | None = None,
    ) -> None:
        self.groups = groups
        self.alphas = alphas
        self.gammas = gammas
        self.cv = cv
        self.criterion = criterion
        self.random_state = random_state
        self.device = device

    def fit(self, X: Any, y: Any) -> TorchBandedRidgeCV:
        """Fit to features (n, p) and targets (n,) or (n, t)."""
        x, targets = self._read(X, y)
        labels = np.zeros(x.shape[1], dtype=int) if self.groups is None else np.array(self.groups)
        if labels.shape != (x.shape[1],):
            raise ValueError(
                f"groups: expected one label for each of the {x.shape[1]} features, got "
                f"{labels.shape}."
            )
        mean = x.mean(dim=0)
        centred = x - mean
        members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        bands = [centred[:, torch.as_tensor(columns, device=x.device)] for columns in members]
        fit = banded_ridge(
            [band @ band.T for band in bands],
            targets,
            PUBLISHED_ALPHAS if self.alphas is None else self.alphas,
            gammas=self.gammas,
            folds=self._folds(x, targets),
            criterion=self.criterion,  # pyright: ignore[reportArgumentType]
            seed=self.random_state,
        )
        weights = np.zeros((x.shape[1], targets.shape[1]))
        for columns, band, shares in zip(members, bands, fit.gammas, strict=True):
            weights[columns] = band.T.cpu().numpy() @ (fit.coefficients * np.nan_to_num(shares))
        intercept = fit.intercept - mean.cpu().numpy() @ weights
        self.coef_ = weights[:, 0] if self._one else weights.T
        self.intercept_ = float(intercept[0]) if self._one else intercept
        self.deltas_ = fit.deltas[:, 0] if self._one else fit.deltas
        self.cv_scores_ = fit.scores[:, 0] if self._one else fit.scores
        self._keep(fit)  # pyright: ignore[reportArgumentType]
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predict targets, (m,) or (m, t)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        return X @ self.coef_.T + self.intercept_
