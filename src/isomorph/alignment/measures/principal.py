"""The principal axes of a layer over the stimuli, from its Gram alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isomorph.alignment.measure import UndefinedScoreError
from isomorph.alignment.measures.kernels import CONSTANT
from isomorph.geometry import Gram


@dataclass(frozen=True, eq=False)
class PrincipalAxes:
    """Left singular vectors and singular values of the features: X Q = U S for a rotation Q.

    Parameters
    ----------
    vectors : np.ndarray, (n_stimuli, rank)
        Orthonormal columns, largest singular value first.
    lengths : np.ndarray, (rank,)
        Singular values, all above rounding.
    """

    vectors: np.ndarray
    lengths: np.ndarray

    @property
    def n_stimuli(self) -> int:
        """Number of stimuli."""
        return len(self.vectors)

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.lengths)

    def first(self, count: int) -> PrincipalAxes:
        """The largest axes alone."""
        return PrincipalAxes(self.vectors[:, :count], self.lengths[:count])

    def reordered(self, order: np.ndarray) -> PrincipalAxes:
        """The same of the stimuli in another order."""
        return PrincipalAxes(self.vectors[order], self.lengths)

    def scores(self) -> np.ndarray:
        """The stimuli in the rotated space, (n_stimuli, rank)."""
        return self.vectors * self.lengths


def principal_axes(gram: Gram, *, centred: bool = True) -> PrincipalAxes:
    """Decompose a Gram; directions that rounding alone has made are left out.

    Parameters
    ----------
    gram : Gram
    centred : bool
        Subtract the mean over the stimuli first.

    Returns
    -------
    PrincipalAxes
        At most n_stimuli − 1 (not centred: n_stimuli) and at most n_features. From float32
        products, directions whose spread is below about 1e-3 of the largest are lost in rounding;
        pass float64 features to keep them.

    Raises
    ------
    UndefinedScoreError
        If nothing varies.
    """
    kernel = gram.centred() if centred else gram.uncentred()
    values, vectors = np.linalg.eigh(kernel)
    values, vectors = values[::-1], vectors[:, ::-1]
    n = gram.n_stimuli
    # Rounding in n² products moves an eigenvalue by about its size in one of them times √n.
    rounding = 4 * np.sqrt(n) * gram.resolution * gram.products.diagonal().max()
    rounding += 2 * n * np.finfo(np.float64).eps * values[0]
    most = min(n - centred, gram.n_features)
    rank = min(int((values > rounding).sum()), most)
    if rank == 0:
        raise UndefinedScoreError(CONSTANT)
    return PrincipalAxes(vectors[:, :rank], np.sqrt(values[:rank]))
