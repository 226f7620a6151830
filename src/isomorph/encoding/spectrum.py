"""Eigenvectors of centred kernels, and what a ridge penalty makes of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from isomorph.geometry import as_tensor

CHUNK_BYTES = 64_000_000
_EPS = torch.finfo(torch.float64).eps


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The eigenvectors of a centred kernel that carry variance, all orthogonal to the constant.

    Parameters
    ----------
    vectors : torch.Tensor, (n, r), float64
        Orthonormal; r is n − 1 if the features fill the space of the stimuli, else their rank.
    values : torch.Tensor, (r,), float64
        Eigenvalues of the kernel. Those within rounding of 0 are 0.
    directions : torch.Tensor or None, (p, r)
        In the primal form the principal axes of the features; None in the dual form.
    """

    vectors: torch.Tensor
    values: torch.Tensor
    directions: torch.Tensor | None = None

    @property
    def n_stimuli(self) -> int:
        """Number of training stimuli."""
        return len(self.vectors)

    @property
    def complete(self) -> bool:
        """Whether the vectors and the constant together span everything."""
        return self.vectors.shape[1] >= self.n_stimuli - 1

    @property
    def silent(self) -> bool:
        """Whether no direction carries variance: nothing can be learned."""
        return not bool((self.values > 0).any())

    def shrink(self, alphas: torch.Tensor) -> torch.Tensor:
        """α / (λ + α), (r, n_alphas): the share of a component left unexplained."""
        return alphas / (self.values[:, None] + alphas)

    def inverse(self, alphas: torch.Tensor) -> torch.Tensor:
        """1 / (λ + α), (r, n_alphas); 0 for components without variance."""
        null = (self.values <= 0)[:, None]
        return (1 / (self.values[:, None] + alphas)).masked_fill(null, 0)

    def remainder(self, alphas: torch.Tensor) -> torch.Tensor:
        """1 − Hᵢᵢ, (n, n_alphas), with H the hat matrix that fits the intercept too."""
        # Summed rather than subtracted from 1: it keeps its digits where the fit interpolates.
        squares = self.vectors.square()
        remainder = squares @ self.shrink(alphas)
        if not self.complete:
            remainder += (1 - 1 / self.n_stimuli - squares.sum(dim=1)).clamp(min=0)[:, None]
        return remainder


def dual_spectrum(kernel: torch.Tensor) -> Spectrum:
    """Decompose a training kernel, (n, n), float64; it is centred here.

    Where the training stimuli differ by no more than rounding, all eigenvalues are 0. Negative
    eigenvalues (the sigmoid kernel is not positive definite) count as 0: directions that it says
    nothing of.
    """
    n = len(kernel)
    rows = kernel.mean(dim=0)
    centred = kernel - rows[:, None] - rows[None, :] + rows.mean()
    trace = float(centred.trace())
    if trace <= 16 * _EPS * float(kernel.diagonal().abs().sum()):
        centred, trace = torch.zeros_like(centred), 1.0
    # The constant vector is an eigenvector with eigenvalue 0, but mixes with other null vectors.
    # Lifted above all others (the largest is at most the trace, or in a kernel that is not positive
    # definite the norm) it comes out alone and is dropped.
    lift = max(trace, float(torch.linalg.matrix_norm(centred)))
    values, vectors = torch.linalg.eigh(centred + 2 * lift / n)
    values, vectors = values[:-1], vectors[:, :-1]
    # Eigenvalues within rounding of 0 are 0: a tiny penalty must not bring them to life.
    null = values <= 2 * n * _EPS * trace
    values = values.masked_fill(null, 0)
    if 0 < n - 1 - int(null.sum()) < n // 2:  # fewer features than stimuli: less work for all
        values, vectors = values[~null], vectors[:, ~null].contiguous()
    return Spectrum(vectors, values)


def primal_spectrum(features: torch.Tensor) -> Spectrum:
    """Decompose features centred over the training stimuli, (n, p) with p < n, float64.

    By the singular values of the features, so that no p × p product loses digits.
    """
    vectors, singular, axes = torch.linalg.svd(features, full_matrices=False)
    n = len(features)
    values = singular.square()
    keep = values > 2 * n * _EPS * values.sum()
    if not bool(keep.any()):
        keep[:1], values = True, torch.zeros_like(values)
    return Spectrum(vectors[:, keep].contiguous(), values[keep], axes[keep].T.contiguous())


def centred_test_kernel(kernel: torch.Tensor, across: torch.Tensor) -> torch.Tensor:
    """Centre a test kernel (m, n) as the training kernel (n, n) is; a centred one stays."""
    rows = kernel.mean(dim=0)
    return across - across.mean(dim=1, keepdim=True) - rows + rows.mean()


def centred_targets(y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Responses (n, t) about their mean, the mean (t,) in float64, which are constant (t,) bool."""
    constant = y.amin(dim=0) == y.amax(dim=0)
    # About the first row before the mean is taken: a large common mean costs no digits, and a
    # constant is left at exactly 0.
    first = y[0]
    centred = y - first
    mean = centred.mean(dim=0)
    return centred.sub_(mean), first.double() + mean.double(), constant


def read_penalties(alphas: ArrayLike, device: torch.device, name: str) -> torch.Tensor:
    """Penalties as a float64 tensor, (n_alphas,).

    Raises
    ------
    ValueError
        If they are not positive, finite and increasing.
    """
    grid = torch.as_tensor(np.array(alphas, dtype=np.float64), device=device)
    fine = grid.ndim == 1 and len(grid) > 0 and bool(torch.isfinite(grid).all())
    if not fine or not bool((grid > 0).all() & (grid.diff() > 0).all()):
        raise ValueError(
            f"{name}: expected alphas that are positive and increase, for example "
            f"np.logspace(-1, 5, 7), got {grid.tolist()}."
        )
    return grid


def read_kernel(
    kernel: np.ndarray | torch.Tensor, name: str, what: str = "training kernel"
) -> torch.Tensor:
    """A square kernel in float64.

    Raises
    ------
    ValueError
        If it is not (n, n) with n of 2 or more, or not finite.
    """
    tensor = as_tensor(kernel).detach().double()
    n = len(tensor) if tensor.ndim else 0
    if tensor.shape != (n, n) or n < 2:
        raise ValueError(
            f"{name}: expected a {what} of shape (n, n) with n of 2 or more, "
            f"got {tuple(tensor.shape)}."
        )
    require_finite_values(tensor, name, "kernel_train" if what == "training kernel" else what)
    return tensor


def read_test_kernel(
    across: np.ndarray | torch.Tensor | None, kernel: torch.Tensor, name: str
) -> torch.Tensor:
    """A test kernel (n_test, n) beside its training kernel; without one (0, n)."""
    if across is None:
        return kernel[:0]
    tensor = as_tensor(across).detach().to(kernel)
    if tensor.ndim != 2 or tensor.shape[1] != len(kernel):
        raise ValueError(
            f"{name}: expected a test kernel of shape (n_test, {len(kernel)}), "
            f"got {tuple(tensor.shape)}."
        )
    require_finite_values(tensor, name, "kernel_test")
    return tensor


def read_targets(
    responses: np.ndarray | torch.Tensor, like: torch.Tensor, name: str
) -> torch.Tensor:
    """Responses (n, t) beside a kernel or features of n stimuli; float32 stays, else float64.

    Raises
    ------
    ValueError
        If the shape does not fit or a value is not finite.
    """
    y, n = as_tensor(responses).detach().to(like.device), len(like)
    # float32 responses have digits for float32 products, which cost half.
    y = y if y.dtype == torch.float32 else y.double()
    if y.ndim != 2 or len(y) != n or y.shape[1] == 0:
        raise ValueError(
            f"{name}: expected responses of shape ({n}, n_targets) for {n} training "
            f"stimuli, got {tuple(y.shape)}."
        )
    require_finite_values(y, name, "responses")
    return y


def require_finite_values(tensor: torch.Tensor, name: str, what: str) -> None:
    """Raise if a value is not finite, and say how many are not."""
    # One pass without a mask: a sum is finite only if its terms are.
    if bool(torch.isfinite(tensor.sum())):
        return
    bad = int((~torch.isfinite(tensor)).sum())
    if bad:
        whole = int((~torch.isfinite(tensor)).all(dim=0).sum()) if tensor.ndim == 2 else 0
        columns = f" ({whole} whole columns of {tensor.shape[1]})" if whole else ""
        raise ValueError(
            f"{name}: {bad} of {tensor.numel()} values of {what} are not finite{columns}. "
            "Drop those stimuli or targets first."
        )
