"""Comparison of RDMs that lack pairs of stimuli: each two over the pairs that both have."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from isomorph.geometry.rdms.rdm import n_stimuli_of, square, upper_triangle

if TYPE_CHECKING:
    from isomorph.geometry.comparing.compare import Comparison


def compare_present(
    comparison: Comparison,
    compare: Callable[..., np.ndarray],
    first: np.ndarray,
    second: np.ndarray,
    needed: np.ndarray,
    sigma_k: ArrayLike | None,
) -> np.ndarray:
    """Compare all pairs of two stacks, each over the dissimilarities that both have.

    RDMs that lack the same pairs are compared in one go.

    Parameters
    ----------
    comparison : Comparison
    compare : callable
        Its ``compare``, or with controls a partial one that also takes ``present``.
    first, second : np.ndarray, (n_rdms, n_pairs)
        NaN where a pair is missing.
    needed : np.ndarray, (n_controls, n_pairs)
        RDMs whose pairs have to be there too.
    sigma_k : array_like, optional
        Covariance of the stimuli, of which those left are taken.

    Returns
    -------
    np.ndarray, (n_first, n_second)
    """
    if first is second and not np.isnan(first).any() and not np.isnan(needed).any():
        return compare(first, second)
    known = ~np.isnan(needed).any(axis=0)
    values = np.full((len(first), len(second)), np.nan)
    kinds = [_kinds(stack) for stack in (first, second)]
    for present_first, rows in kinds[0]:
        for present_second, others in kinds[1]:
            present = present_first & present_second & known
            part = first[rows], second[others]
            place = np.ix_(rows, others)
            if present.all():
                values[place] = compare(*part)
            elif not present.any():
                continue
            elif len(needed):
                values[place] = compare(*(stack[:, present] for stack in part), present)
            elif comparison.over_pairs:
                values[place] = compare(*(stack[:, present] for stack in part))
            else:
                values[place] = _over_stimuli(comparison, *part, present, sigma_k)
    return values


def _kinds(stack: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Which pairs are there, and the RDMs of which that is true."""
    groups: dict[bytes, tuple[np.ndarray, list[int]]] = {}
    for row, vector in enumerate(stack):
        present = ~np.isnan(vector)
        groups.setdefault(np.packbits(present).tobytes(), (present, []))[1].append(row)
    return [(present, np.array(rows)) for present, rows in groups.values()]


def _over_stimuli(
    comparison: Comparison,
    first: np.ndarray,
    second: np.ndarray,
    present: np.ndarray,
    sigma_k: ArrayLike | None,
) -> np.ndarray:
    """Leave stimuli without any pair out; hand pairs that are missing still to the comparison."""
    n = n_stimuli_of(len(present))
    assert n is not None
    kept = np.flatnonzero(square(present).any(axis=1))
    of_kept = np.zeros((n, n), dtype=bool)
    of_kept[np.ix_(kept, kept)] = True
    columns = upper_triangle(of_kept)
    if sigma_k is not None and comparison.with_covariance is not None:
        sigma = np.asarray(sigma_k, dtype=np.float64)
        comparison = comparison.with_covariance(
            sigma[kept] if sigma.ndim == 1 else sigma[np.ix_(kept, kept)]
        )
    first, second, left = first[:, columns], second[:, columns], present[columns]
    if left.all():
        return comparison.compare(first, second)
    if comparison.compare_where is None:
        raise ValueError(
            f"nan='omit': {int((~left).sum())} single pairs of stimuli are missing, and this "
            "comparison is of whole RDMs, so that only whole stimuli may be. Leave those stimuli "
            "out, or compare by 'whitened_cosine'."
        )
    return comparison.compare_where(first, second, left)
