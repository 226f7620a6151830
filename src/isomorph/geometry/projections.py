"""Sparse random projection, as the literature uses it. The exact Gram needs none."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import scipy.sparse
import torch
from sklearn.exceptions import DataDimensionalityWarning
from sklearn.random_projection import SparseRandomProjection

from isomorph.geometry.columns import as_features, require_finite

_ROW_BYTES = 64_000_000
# Features that one block of a `SparseProjector` covers: its matrix takes a few MB.
_BLOCK_FEATURES = 65_536
# Stimuli, and features of a tile, that a `SparseProjector` handles at a time on the CPU.
_CACHED_STIMULI = 128
_TILE_FEATURES = 256
# A matrix of so few entries is kept between batches (under 1 MB).
_KEPT_DRAWS = 100_000


def johnson_lindenstrauss_dim(n: int, eps: float = 0.1) -> int:
    """Number of components that keeps all squared distances among n stimuli within 1 ± eps.

    Parameters
    ----------
    n : int
        Number of stimuli.
    eps : float
        Distortion, between 0 and 1.

    Returns
    -------
    int
        floor(4 ln n / (eps²/2 − eps³/3)).

    References
    ----------
    Dasgupta & Gupta (2003), Random Structures & Algorithms 22(1), theorem 2.1.

    Examples
    --------
    >>> johnson_lindenstrauss_dim(1000)
    5920
    """
    if n < 1 or not 0 < eps < 1:
        raise ValueError(
            f"johnson_lindenstrauss_dim: expected n ≥ 1 and 0 < eps < 1, got n={n}, eps={eps}."
        )
    return math.floor(4 * math.log(n) / (eps**2 / 2 - eps**3 / 3))


def sparse_projection_matrix(n_features: int, k: int, seed: int) -> scipy.sparse.csr_matrix:
    """Sparse random projection, the same as scikit-learn's ``SparseRandomProjection``.

    Entries are ±sqrt(1/density)/sqrt(k) with density 1/sqrt(n_features), else 0. k may exceed
    n_features (Conwell et al. 2024 project small layers up).

    Parameters
    ----------
    n_features, k : int
        Features in, components out.
    seed : int

    Returns
    -------
    scipy.sparse.csr_matrix, (k, n_features), float32

    References
    ----------
    Li, Hastie & Church (2006), Very sparse random projections, KDD.

    Examples
    --------
    >>> sparse_projection_matrix(400, 50, seed=0).shape
    (50, 400)
    """
    # (The annotation that pyright infers for n_components is that of its default, "auto".)
    projection = SparseRandomProjection(n_components=k, random_state=seed)  # pyright: ignore
    with warnings.catch_warnings():
        # Projecting up is what the published pipeline does; it is not a mistake here.
        warnings.simplefilter("ignore", DataDimensionalityWarning)
        # The matrix depends on the number of features alone, so an empty row stands for the data.
        projection.fit(scipy.sparse.csr_matrix((1, n_features), dtype=np.float32))
    return scipy.sparse.csr_matrix(projection.components_)


def project(features: torch.Tensor | np.ndarray, matrix: scipy.sparse.csr_matrix) -> np.ndarray:
    """Project features, some stimuli at a time.

    Parameters
    ----------
    features : torch.Tensor or np.ndarray, (n_stimuli, n_features, …)
    matrix : scipy.sparse.csr_matrix, (k, n_features)

    Returns
    -------
    np.ndarray, (n_stimuli, k), float32

    Raises
    ------
    ValueError
        If the numbers of features differ or a feature is not finite.

    Examples
    --------
    >>> project(torch.rand(6, 400), sparse_projection_matrix(400, 50, seed=0)).shape
    (6, 50)
    """
    rows = as_features(features)
    n, p = rows.shape
    k, expected = matrix.shape  # pyright: ignore
    if p != expected:
        raise ValueError(
            f"project: expected {expected} features (the matrix's columns), got {p}. "
            "Make a matrix for this layer with sparse_projection_matrix."
        )
    projected = torch.zeros(k, n, device=rows.device)
    for start in range(0, p, _BLOCK_FEATURES):
        columns = slice(start, min(start + _BLOCK_FEATURES, p))
        part = scipy.sparse.csr_matrix(matrix[:, columns], dtype=np.float32)
        entries = [part.indices.astype(np.int64), part.data, part.indptr[:-1].astype(np.int64)]
        _add_sums(projected, rows[:, columns], *(_on(array, rows) for array in entries))
    found = projected.T.contiguous().cpu()
    require_finite(rows, found, _ROW_BYTES)
    return found.numpy()


class SparseProjector:
    """A sparse random projection whose matrix is never made as a whole.

    The features are cut into blocks of at most 65 536. Of every block each component draws the same
    number of features, with replacement, about width / sqrt(n_features) of them, and adds them up
    with random signs, scaled such that squared lengths are kept on average. A block's draws follow
    from the seed and the block's number alone, and are made anew for each batch.

    Parameters
    ----------
    n_features, n_components : int
        Features in, components out.
    seed : int

    Notes
    -----
    The density 1 / sqrt(n_features) is that of Li, Hastie & Church; unlike
    `sparse_projection_matrix`, which gives scikit-learn's very matrix, draws are stratified by
    blocks. Components are unbiased: E[(Rx)·(Ry)] = x·y for every x and y.

    References
    ----------
    Li, Hastie & Church (2006), Very sparse random projections, KDD.

    Examples
    --------
    >>> SparseProjector(400, 50, seed=0)(torch.rand(6, 400)).shape
    torch.Size([6, 50])
    """

    def __init__(self, n_features: int, n_components: int, seed: int = 0) -> None:
        self.n_features, self.n_components, self.seed = n_features, n_components, seed
        n_blocks = math.ceil(n_features / _BLOCK_FEATURES)
        self._cuts = [round(i * n_features / n_blocks) for i in range(n_blocks + 1)]
        self._only: tuple[torch.Tensor, torch.Tensor] | None = None

    def draws(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Which features of a block each component adds up, and with which weights.

        Returns
        -------
        columns : np.ndarray, (n_components, n_drawn), int32
        weights : np.ndarray, (n_components, n_drawn), float32
        """
        width = self._cuts[number + 1] - self._cuts[number]
        drawn = max(1, round(width / math.sqrt(self.n_features)))
        shape = (self.n_components, drawn)
        rng = np.random.Generator(np.random.SFC64([self.seed, number, self.n_features]))
        columns = rng.integers(0, width, shape, dtype=np.int32)
        signs = rng.integers(0, 2, shape, dtype=np.int8)
        scale = np.float32(math.sqrt(width / (drawn * self.n_components)))
        return columns, np.where(signs, scale, -scale)

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Project, (n_stimuli, n_features) → (n_stimuli, n_components), float32."""
        if rows.shape[1] != self.n_features:
            raise ValueError(
                f"SparseProjector: expected {self.n_features} features, got {rows.shape[1]}. Make "
                f"one for this layer."
            )
        projected = torch.zeros(self.n_components, len(rows), device=rows.device)
        for number, (start, stop) in enumerate(itertools.pairwise(self._cuts)):
            _add_sums(projected, rows[:, start:stop].detach(), *self._draws_on(number, rows))
        return projected.T.contiguous()

    def _draws_on(self, number: int, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self._only is not None and self._only[0].device == rows.device:
            return self._only
        columns, weights = self.draws(number)
        found = _on(columns, rows), _on(weights, rows)
        if len(self._cuts) == 2 and columns.size <= _KEPT_DRAWS:
            self._only = found
        return found


def _on(array: np.ndarray, rows: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(array).to(rows.device)


def _add_sums(
    projected: torch.Tensor,
    part: torch.Tensor,
    columns: torch.Tensor,
    weights: torch.Tensor,
    starts: torch.Tensor | None = None,
) -> None:
    """Add weighted sums over some features to each component, (n_components, n_stimuli).

    ``columns`` and ``weights`` have a row for each component, or are flat with the ``starts`` of
    the components in them.
    """
    n, width = part.shape
    on_cpu = part.device.type == "cpu"
    # On the CPU few enough stimuli at a time that what the sums draw from stays in the cache.
    step = max(1, min(n, _CACHED_STIMULI) if on_cpu else n)
    tile = _TILE_FEATURES if on_cpu else width
    buffer = torch.empty(width * step, device=part.device)
    for first in range(0, n, step):
        chosen = part[first : first + step]
        turned = buffer[: width * len(chosen)].view(width, len(chosen))
        # In tiles: a plain transposed copy jumps through memory.
        for start in range(0, width, tile):
            turned[start : start + tile].copy_(chosen[:, start : start + tile].T)
        # A weighted sum of rows of the transposed features: torch has a fast kernel for it.
        projected[:, first : first + step] += torch.nn.functional.embedding_bag(
            columns, turned, starts, per_sample_weights=weights, mode="sum"
        )
