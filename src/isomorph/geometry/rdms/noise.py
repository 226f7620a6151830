"""The noise covariance of responses, and features whitened by it.

A covariance over 100 000 neuroids is never formed: with fewer residuals than neuroids, a shrinkage
estimate is a diagonal plus a product of few rows, and so is what its inverse does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from isomorph.geometry.columns import BLOCK_BYTES, column_slices
from isomorph.storage import shown_by_shape


class UndefinedRDMError(ValueError):
    """Features or responses for which a method gives no RDM: negative rates, singular noise.

    Examples
    --------
    >>> issubclass(UndefinedRDMError, ValueError)
    True
    """


@dataclass(frozen=True, eq=False, repr=False)
class NoiseCovariance:
    """Covariance Σ of the noise over features, in a form that can be inverted without p × p.

    Made by `noise_covariance`, `from_covariance` or `from_precision`.

    Parameters
    ----------
    form : {"diagonal", "low_rank", "covariance", "precision"}
        ``"low_rank"``: Σ = diag(diagonal) + factorsᵀ factors.
    n_features : int
    diagonal : np.ndarray or None, (n_features,)
    factors : np.ndarray or None, (n_factors, n_features)
    root : np.ndarray or None, (n_features, n_features)
        Lower Cholesky factor of the covariance, or of the precision, as `form` says.
    method : str
        How it was estimated; ``"given"`` if it was not.
    shrinkage : float
        Weight of the target, 0 to 1; NaN where nothing was shrunk.
    dof : float
        Degrees of freedom; NaN if it was given.

    Examples
    --------
    >>> noise = NoiseCovariance.from_covariance(np.diag([1.0, 4.0]))
    >>> noise.whiten(np.array([[1.0, 2.0]]))
    array([[1., 1.]])
    """

    form: Literal["diagonal", "low_rank", "covariance", "precision"]
    n_features: int
    diagonal: np.ndarray | None = None
    factors: np.ndarray | None = None
    root: np.ndarray | None = None
    method: str = "given"
    shrinkage: float = float("nan")
    dof: float = float("nan")

    __repr__ = shown_by_shape

    @classmethod
    def from_covariance(cls, covariance: np.ndarray) -> NoiseCovariance:
        """Take a covariance (n_features, n_features): symmetric, positive definite."""
        root = cholesky_root(covariance, "covariance")
        return cls("covariance", len(root), root=root)

    @classmethod
    def from_precision(cls, precision: np.ndarray) -> NoiseCovariance:
        """Take a precision, the inverse of a covariance: symmetric, positive definite."""
        root = cholesky_root(precision, "precision")
        return cls("precision", len(root), root=root)

    def covariance(self) -> np.ndarray:
        """Σ, (n_features, n_features); formed here only, when it is asked for."""
        if self.root is not None:
            matrix = self.root @ self.root.T
            return matrix if self.form == "covariance" else np.linalg.inv(matrix)
        assert self.diagonal is not None
        matrix = np.diag(self.diagonal)
        return matrix if self.factors is None else matrix + self.factors.T @ self.factors

    def whiten(self, rows: np.ndarray) -> np.ndarray:
        """Rows (n, n_features) times a W with W Wᵀ = Σ⁻¹, so that their noise is uncorrelated."""
        tensor = torch.as_tensor(np.asarray(rows)).double()
        return torch.cat(list(whitened_blocks(tensor, self)), dim=1).numpy()


def whitened_blocks(
    rows: torch.Tensor,
    noise: NoiseCovariance | None,
    *,
    centre: torch.Tensor | None = None,
    keep: torch.Tensor | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[torch.Tensor]:
    """Blocks of columns of whitened rows, float64, on the rows' device.

    Parameters
    ----------
    rows : torch.Tensor, (n_rows, n_features)
    noise : NoiseCovariance or None
        None: the rows as they are.
    centre : torch.Tensor or None, (n_features,)
        Subtracted first.
    keep : torch.Tensor or None, (n_rows,), bool
        The other rows are zero, whatever they hold.
    block_bytes : int

    Yields
    ------
    torch.Tensor (n_rows, width)

    Raises
    ------
    ValueError
        If the noise is of another number of features.
    """
    p = rows.shape[1]
    if noise is not None and noise.n_features != p:
        raise ValueError(
            f"noise: expected the covariance of {p} features, got {noise.n_features}. Estimate it "
            "from residuals of the same features."
        )

    def read(columns: slice) -> torch.Tensor:
        block = rows[:, columns].double()
        if centre is not None:
            block = block - centre[columns]
        return block if keep is None else torch.where(keep[:, None], block, 0.0)

    slices = list(column_slices(rows, block_bytes // 2))
    if noise is None:
        yield from map(read, slices)
    elif noise.root is not None:
        root = torch.as_tensor(noise.root, device=rows.device)
        yield _by_root(read(slice(None)), root, noise.form)
    else:
        yield from _by_parts(read, slices, noise, rows)


def _by_root(rows: torch.Tensor, root: torch.Tensor, form: str) -> torch.Tensor:
    if form == "precision":
        return rows @ root
    return torch.linalg.solve_triangular(root, rows.T, upper=False).T.contiguous()


def _by_parts(
    read: Callable[[slice], torch.Tensor],
    slices: list[slice],
    noise: NoiseCovariance,
    rows: torch.Tensor,
) -> Iterator[torch.Tensor]:
    """Whiten by a diagonal and a few factors.

    With U the factors over the roots of the diagonal, (I + UᵀU)^(−½) = I − Uᵀ Q g(s) Qᵀ U, where
    U Uᵀ = Q s Qᵀ and g(s) = 1 / (√(1+s) (1 + √(1+s))): nothing larger than U is formed.
    """
    assert noise.diagonal is not None
    weight = torch.as_tensor(noise.diagonal, device=rows.device).rsqrt()
    if noise.factors is None:
        yield from (read(columns) * weight[columns] for columns in slices)
        return
    factors = torch.as_tensor(noise.factors, device=rows.device) * weight
    values, vectors = torch.linalg.eigh(factors @ factors.T)
    roots = (1 + values.clamp(min=0)).sqrt()
    inner = (vectors / (roots * (1 + roots))) @ vectors.T
    projected = torch.zeros(len(rows), len(factors), dtype=torch.float64, device=rows.device)
    for columns in slices:
        projected += (read(columns) * weight[columns]) @ factors[:, columns].T
    projected = projected @ inner
    for columns in slices:
        yield read(columns) * weight[columns] - projected @ factors[:, columns]


def cholesky_root(matrix: np.ndarray, name: str) -> np.ndarray:
    """Lower Cholesky factor; an error that says what is wrong where there is none."""
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(
            f"noise {name}: expected a matrix (n_features, n_features), got shape {matrix.shape}."
        )
    if not np.isfinite(matrix).all():
        raise ValueError(f"noise {name}: expected finite numbers, got NaN or infinities.")
    if not np.allclose(matrix, matrix.T, rtol=0, atol=1e-8 * np.abs(matrix).max()):
        raise ValueError(f"noise {name}: expected a symmetric matrix, got halves that differ.")
    try:
        root = np.linalg.cholesky((matrix + matrix.T) / 2)
        # Relative to its own variance: what a feature adds to the ones before it.
        singular = (root.diagonal() ** 2 <= 1e-14 * len(root) * matrix.diagonal()).any()
    except np.linalg.LinAlgError:
        root, singular = np.empty(0), True
    if singular:
        raise UndefinedRDMError(
            f"noise: the {name} of {len(matrix)} features is singular or not positive definite. "
            "Estimate it with shrinkage: noise_covariance(residuals, method='shrinkage_diag')."
        )
    return root
