"""Thin scikit-learn transformers: principal components and sparse random projection."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from isomorph.geometry import SparseProjector, johnson_lindenstrauss_dim, sparse_projection_matrix
from isomorph.registry import unknown_name


class TorchPCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Principal components by the singular values of the centred features, on any device.

    Parameters
    ----------
    n_components : int, optional
        By default as many as there are.
    device : str or torch.device, optional
        Where to compute; by default on the CPU.

    Attributes
    ----------
    components_ : np.ndarray, (k, p)
        Signs as scikit-learn's: the largest weight of each is positive.
    mean_ : np.ndarray, (p,)
    explained_variance_, explained_variance_ratio_, singular_values_ : np.ndarray, (k,)

    Examples
    --------
    >>> TorchPCA(3).fit_transform(np.random.default_rng(0).standard_normal((30, 100))).shape
    (30, 3)
    """

    def __init__(
        self, n_components: int | None = None, *, device: str | torch.device | None = None
    ) -> None:
        self.n_components = n_components
        self.device = device

    def fit(self, X: Any, y: Any = None) -> TorchPCA:
        """Fit to features (n, p)."""
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        most = min(X.shape)
        k = most if self.n_components is None else self.n_components
        if not 1 <= k <= most:
            raise ValueError(
                f"n_components: expected 1 to {most} for features of shape {X.shape}, got {k}."
            )
        x = on_device(X, self.device)
        mean = x.mean(dim=0)
        _, singular, axes = torch.linalg.svd(x - mean, full_matrices=False)
        largest = axes.abs().argmax(dim=1)
        axes = axes * axes[torch.arange(len(axes), device=x.device), largest].sign()[:, None]
        variance = singular.square() / (len(x) - 1)
        total = float(variance.sum())
        self.mean_ = mean.cpu().numpy()
        self.components_ = axes[:k].cpu().numpy()
        self.singular_values_ = singular[:k].cpu().numpy()
        self.explained_variance_ = variance[:k].cpu().numpy()
        self.explained_variance_ratio_ = self.explained_variance_ / (total or 1.0)
        self.n_components_ = k
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Coordinates of stimuli in the components, (m, k)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        x = on_device(X - self.mean_, self.device)
        return (x @ on_device(self.components_, self.device).T).cpu().numpy()

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Features (m, p) of coordinates (m, k)."""
        check_is_fitted(self)
        return np.asarray(check_array(X), dtype=np.float64) @ self.components_ + self.mean_

    @property
    def _n_features_out(self) -> int:
        return self.n_components_


class SparseProjection(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Sparse random projection that never holds its matrix, or scikit-learn's exact matrix.

    Parameters
    ----------
    n_components : int, optional
        By default the Johnson–Lindenstrauss dimension for the number of stimuli and ``eps``.
    eps : float
    method : {"streamed", "sklearn"}
        ``"sklearn"`` draws the matrix of its ``SparseRandomProjection`` with the same seed.
    random_state : int
    device : str or torch.device, optional
        For ``"streamed"``.

    Examples
    --------
    >>> SparseProjection(50).fit_transform(np.random.default_rng(0).random((6, 400))).shape
    (6, 50)
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        eps: float = 0.1,
        method: str = "streamed",
        random_state: int = 0,
        device: str | torch.device | None = None,
    ) -> None:
        self.n_components = n_components
        self.eps = eps
        self.method = method
        self.random_state = random_state
        self.device = device

    def fit(self, X: Any, y: Any = None) -> SparseProjection:
        """Draw the projection; the numbers of stimuli and features alone matter."""
        X = validate_data(self, X, dtype=[np.float32, np.float64])
        if self.method not in ("streamed", "sklearn"):
            raise unknown_name("method", self.method, ("streamed", "sklearn"))
        self.n_features_in_ = X.shape[1]
        k = self.n_components
        k = johnson_lindenstrauss_dim(len(X), self.eps) if k is None else k
        if k < 1:
            raise ValueError(f"n_components: expected 1 or more, got {k}.")
        self.n_components_ = k
        if self.method == "sklearn":
            self.components_ = sparse_projection_matrix(X.shape[1], k, seed=self.random_state)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Project stimuli, (m, n_components)."""
        check_is_fitted(self, "n_components_")
        X = validate_data(self, X, reset=False, dtype=[np.float32, np.float64])
        if self.method == "sklearn":
            return np.ascontiguousarray((self.components_.astype(X.dtype) @ X.T).T)
        projector = SparseProjector(self.n_features_in_, self.n_components_, self.random_state)
        return projector(on_device(X, self.device).float()).cpu().numpy().astype(X.dtype)

    @property
    def _n_features_out(self) -> int:
        return self.n_components_


def on_device(array: np.ndarray, device: str | torch.device | None) -> torch.Tensor:
    """A tensor of an array, on a device. (A copy: torch will not write to it, but warns.)"""
    return torch.tensor(array, device=device)
