"""Whitened comparison of RDMs: dissimilarities that share a stimulus are not independent.

Estimates of squared distances have the covariance V = (C Σ Cᵀ)∘², with C the contrasts of all pairs
of stimuli and Σ the covariance of the stimuli's estimates. V is (n_pairs, n_pairs), yet its inverse
takes n × n products only: dᵀ V⁻¹ e is the inner product of Q^½ (−½ D) Q^½ and Q^½ (−½ E) Q^½ with
Q = Σ⁻¹ − Σ⁻¹ 1 1ᵀ Σ⁻¹ / (1ᵀ Σ⁻¹ 1), since Q takes out whatever is constant over a row. With Σ = I,
Q centres, and this is linear CKA.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from isomorph.geometry.comparing.compare import COMPARISONS, Comparison
from isomorph.geometry.comparing.pair_products import Rows, cosines, inner_products, stimulus_sums
from isomorph.geometry.rdms.rdm import n_stimuli_of, square, upper_triangle

_BLOCK_BYTES = 64_000_000
# Fewer digits than that and a covariance counts as singular.
_SINGULAR = 1e-12
# A dense system of so many missing (or present) pairs takes 0.5 GB.
_MAX_SYSTEM = 8000
_REFERENCE = (
    "Diedrichsen, Berlot, Mur, Schütt, Shahbazi & Kriegeskorte 2021, "
    "Neurons Behav. Data Anal. Theory 5(3)"
)


def _products(
    first: np.ndarray, second: np.ndarray, centre: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inner products in the metric V⁻¹ for Σ = I, and squared lengths; both up to scales per RDM.

    With D = c (1 1ᵀ − I) + E, E the deviations from the mean c, and r their sums over stimuli:
    4 ⟨K, L⟩ = (n − 1) c c' + 2 e·e' − (2/n) r·r'. No Gram is formed.
    """
    n = n_stimuli_of(first.shape[1])
    assert n is not None
    parts = []
    for stack in (first,) if second is first else (first, second):
        rows = Rows.of(stack, centre=True)
        undefined = np.flatnonzero(np.isnan(rows.scale))
        constant = np.zeros(len(stack), dtype=bool)
        constant[undefined] = np.isfinite(stack[undefined]).all(axis=1) & (stack[undefined, 0] != 0)
        if not centre and constant.any():
            # Equal dissimilarities differ from zero: without the mean's removal they are defined.
            mean = np.where(constant, stack[:, 0], rows.shift)
            rows = Rows(stack, mean, np.where(constant, np.abs(stack[:, 0]), rows.scale))
        parts.append((rows, stimulus_sums(rows), rows.shift / rows.units))
    (rows, sums, means), (others, other_sums, other_means) = parts[0], parts[-1]
    products, *squares = inner_products(rows, others)
    products = 2 * products - 2 / n * sums @ other_sums.T
    lengths = [
        2 * square_ - 2 / n * np.einsum("ij,ij->i", total, total)
        for square_, total in zip(squares, (sums, other_sums), strict=True)
    ]
    if not centre:
        products += (n - 1) * np.outer(means, other_means)
        for length, mean in zip(lengths, (means, other_means), strict=True):
            length += (n - 1) * mean**2
    return products, lengths[0], lengths[1]


def contrast_precision(sigma_k: np.ndarray) -> np.ndarray:
    """Q: the precision of the stimuli's contrasts, (n, n), which takes out constants.

    Parameters
    ----------
    sigma_k : np.ndarray, (n, n) or (n,)
        Covariance of the stimuli's estimates, or their variances.

    Returns
    -------
    np.ndarray, (n, n)

    Raises
    ------
    ValueError
        If it is not a covariance, or singular over the contrasts.

    Examples
    --------
    >>> contrast_precision(np.eye(2))
    array([[ 0.5, -0.5],
           [-0.5,  0.5]])
    """
    sigma = np.diag(sigma_k) if sigma_k.ndim == 1 else sigma_k
    largest = np.abs(sigma).max(initial=0)
    symmetric = (
        sigma.ndim == 2
        and sigma.shape[0] == sigma.shape[1]
        and np.isfinite(sigma).all()
        and np.allclose(sigma, sigma.T, rtol=0, atol=1e-8 * largest)
    )
    if not symmetric:
        raise ValueError(
            f"sigma_k: expected a finite, symmetric covariance of the stimuli (n, n), or their "
            f"variances (n,), got shape {sigma_k.shape}."
        )
    n = len(sigma)
    centred = sigma - sigma.mean(axis=0) - sigma.mean(axis=1)[:, None] + sigma.mean()
    values, axes = np.linalg.eigh((centred + centred.T) / 2)
    # The constant axis is put at zero by the centring; all others have to be there.
    order = np.argsort(np.abs(axes.sum(axis=0)))
    kept = order[: n - 1]
    if values[kept].min(initial=np.inf) <= _SINGULAR * max(values.max(initial=0), 0):
        raise ValueError(
            "sigma_k: expected a positive definite covariance, got one whose smallest eigenvalue "
            f"over the contrasts is {values[kept].min():.3g}. Shrink it towards its diagonal."
        )
    return (axes[:, kept] / values[kept]) @ axes[:, kept].T


def _applied(vectors: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """V⁻¹ d of RDM vectors, (n_rdms, n_pairs): half of the off-diagonal entries of Q D Q."""
    found = np.empty(vectors.shape)
    step = max(1, _BLOCK_BYTES // (24 * precision.size))
    for start in range(0, len(vectors), step):
        part = slice(start, start + step)
        found[part] = upper_triangle(precision @ square(vectors[part]) @ precision) / 2
    return found


def _ready(vectors: np.ndarray, centre: bool) -> np.ndarray:
    """RDM vectors scaled to magnitude one, centred if asked; NaN where undefined."""
    rows = Rows.of(vectors, centre=centre, spread=centre)
    return (vectors - rows.shift[:, None]) / rows.scale[:, None]


def _by_precision(
    first: np.ndarray, second: np.ndarray, precision: np.ndarray, centre: bool
) -> np.ndarray:
    n = n_stimuli_of(first.shape[1])
    if n != len(precision):
        raise ValueError(
            f"sigma_k: expected a covariance of the {n} stimuli, got one of {len(precision)}."
        )
    ready = _ready(first, centre)
    others = ready if second is first else _ready(second, centre)
    applied = _applied(others, precision)
    applied_first = applied if others is ready else _applied(ready, precision)
    squares = [
        np.einsum("ij,ij->i", vectors, weights)
        for vectors, weights in ((ready, applied_first), (others, applied))
    ]
    return cosines(ready @ applied.T, squares[0], squares[1])


def _compare_where(
    first: np.ndarray,
    second: np.ndarray,
    present: np.ndarray,
    precision: np.ndarray,
    centre: bool,
) -> np.ndarray:
    """The same over some of the pairs, whose covariance is that part of V."""
    n_missing, n_present = int((~present).sum()), int(present.sum())
    if min(n_missing, n_present) > _MAX_SYSTEM:
        raise ValueError(
            f"nan='omit': {n_missing} pairs are missing beside whole stimuli; for a whitened "
            f"comparison at most {_MAX_SYSTEM} can be. Leave stimuli with many missing pairs out."
        )
    stacks = [_ready(stack[:, present], centre) for stack in (first, second)]
    if n_present <= n_missing:
        covariance = _pair_covariance(np.linalg.pinv(precision, hermitian=True), present)
        applied = [np.linalg.solve(covariance, stack.T).T for stack in stacks]
    else:
        applied = [_applied_where(stack, present, precision) for stack in stacks]
    squares = [
        np.einsum("ij,ij->i", stack, weights)
        for stack, weights in zip(stacks, applied, strict=True)
    ]
    return cosines(stacks[0] @ applied[1].T, squares[0], squares[1])


def _applied_where(ready: np.ndarray, present: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """The inverse of the present part of V, applied: fill the missing with what V predicts."""
    full = np.zeros((len(ready), len(present)))
    full[:, present] = ready
    missing = ~present
    applied = _applied(full, precision)
    rows, columns = (index[missing] for index in np.triu_indices(len(precision), k=1))
    q = precision
    system = q[np.ix_(rows, rows)] * q[np.ix_(columns, columns)]
    system += q[np.ix_(rows, columns)] * q[np.ix_(columns, rows)]
    usable = np.isfinite(applied).all(axis=1)
    filled = np.full((len(ready), int(missing.sum())), np.nan)
    filled[usable] = -np.linalg.solve(system / 2, applied[usable][:, missing].T).T
    full[:, missing] = filled
    return _applied(full, precision)[:, present]


def _pair_covariance(sigma: np.ndarray, present: np.ndarray) -> np.ndarray:
    """V among the pairs that are there."""
    rows, columns = (index[present] for index in np.triu_indices(len(sigma), k=1))
    products = sigma[np.ix_(rows, rows)] + sigma[np.ix_(columns, columns)]
    products -= sigma[np.ix_(rows, columns)] + sigma[np.ix_(columns, rows)]
    return products**2


def _centring(n_pairs: int) -> np.ndarray:
    n = n_stimuli_of(n_pairs)
    assert n is not None
    return np.eye(n) - 1 / n


def _whitened(centre: bool, summary: str) -> Comparison:
    def compare(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", over="ignore"):  # an RDM that is not finite is NaN
            return cosines(*_products(first, second, centre))

    def pool(vectors: np.ndarray) -> np.ndarray:
        ready = _ready(vectors, centre)
        return ready / np.sqrt(_products(ready, ready, centre)[1])[:, None]

    def compare_where(first: np.ndarray, second: np.ndarray, present: np.ndarray) -> np.ndarray:
        return _compare_where(first, second, present, _centring(len(present)), centre)

    def with_covariance(sigma_k: np.ndarray) -> Comparison:
        precision = contrast_precision(sigma_k)

        def pool_by_it(vectors: np.ndarray) -> np.ndarray:
            ready = _ready(vectors, centre)
            squares = np.einsum("ij,ij->i", ready, _applied(ready, precision))
            return ready / np.sqrt(squares)[:, None]

        return replace(
            comparison,
            compare=lambda first, second: _by_precision(first, second, precision, centre),
            pool=pool_by_it,
            compare_where=lambda first, second, present: _compare_where(
                first, second, present, precision, centre
            ),
        )

    comparison = Comparison(
        compare,
        pool,
        (-1.0, 1.0),
        summary,
        _REFERENCE,
        compare_where=compare_where,
        over_pairs=False,
        with_covariance=with_covariance,
    )
    return comparison


COMPARISONS.add(
    "whitened_cosine",
    _whitened(
        False,
        "Cosine of the dissimilarities after whitening by their covariance: linear CKA of squared "
        "Euclidean RDMs.",
    ),
)
COMPARISONS.add(
    "whitened_pearson",
    _whitened(True, "The same after each RDM's mean is subtracted."),
)
