"""Noise ceilings of RDM comparisons, from several subjects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isomorph.alignment.ceilings.ceiling import Ceiling
from isomorph.geometry import compare_rdms
from isomorph.geometry.comparing.compare import find_comparison

SUBJECTS_METHOD = "leave one subject out"


@dataclass(frozen=True)
class SubjectCeilings:
    """Noise ceilings of RDM comparisons over subjects.

    Attributes
    ----------
    lower, upper : float arrays (n_subjects,)
        Each subject's RDM compared with the pool of the others, and with that of all.
    reason : str
        Why values are NaN; empty if none is.
    """

    lower: np.ndarray
    upper: np.ndarray
    reason: str = ""

    def subject(self, position: int) -> Ceiling:
        """The ceiling of one subject's scores.

        Its value is the lower bound, which does not hold the subject's own noise: what the other
        subjects' data tell of this one's. A model may exceed it.
        """
        lower, upper = float(self.lower[position]), float(self.upper[position])
        return Ceiling(lower, lower, upper, "r", SUBJECTS_METHOD, self.reason)

    def mean(self) -> Ceiling:
        """The ceiling of the mean score over subjects; its value is the lower bound."""
        lower, upper = float(self.lower.mean()), float(self.upper.mean())
        return Ceiling(lower, lower, upper, "r", SUBJECTS_METHOD, self.reason)


def leave_one_subject_out_ceiling(
    rdm_vectors: np.ndarray, compare: str = "pearson"
) -> SubjectCeilings:
    """Lower and upper noise ceiling of each subject's RDM.

    Pooled are, over subjects, RDMs made alike by the comparison's own `pool`: z-scored (Pearson),
    ranked (Spearman, Kendall, rho-a), of length one (cosine), or of length one after whitening.
    The pool of all then has the highest mean comparison with the subjects that any RDM can have
    (for ranks up to ties, and nearly for Kendall's taus, Bures and Riemannian).

    Parameters
    ----------
    rdm_vectors : array (n_subjects, n_pairs)
        One RDM a subject, as upper triangles.
    compare : str
        How the score compares RDMs; any of COMPARISONS.

    Returns
    -------
    SubjectCeilings
        NaN, with the reason, for one subject, an undefined RDM or a constant pool.

    References
    ----------
    Nili et al. (2014), PLoS Computational Biology 10(4): e1003553.

    Examples
    --------
    >>> leave_one_subject_out_ceiling(np.array([[1.0, 2, 3], [1, 2, 3]])).lower.round(6)
    array([1., 1.])
    """
    pool = find_comparison(compare).pool
    vectors = np.asarray(rdm_vectors, dtype=float)
    if vectors.ndim != 2:
        raise ValueError(
            f"rdm_vectors: expected (n_subjects, n_pairs), got shape {vectors.shape}; "
            "take upper_triangle of a stack of square RDMs."
        )
    n_subjects = len(vectors)
    undefined = np.full(n_subjects, np.nan)
    if n_subjects < 2:
        reason = "one subject: no leave-one-subject-out ceiling"
        return SubjectCeilings(undefined, undefined.copy(), reason)
    with_itself = np.array([float(compare_rdms(own, own, compare)) for own in vectors])
    broken = np.flatnonzero(~np.isfinite(with_itself))
    if len(broken):
        reason = f"RDMs at positions {broken.tolist()} are constant or have undefined pairs"
        return SubjectCeilings(undefined, undefined.copy(), reason)
    parts = pool(vectors)
    total = parts.sum(axis=0)
    pools = total - parts
    lower = np.array(
        [compare_rdms(own, pool, compare) for own, pool in zip(vectors, pools, strict=True)]
    )
    upper = np.atleast_2d(compare_rdms(vectors, total[None], compare))[:, 0]
    undefined_pools = np.isnan(lower).any() or np.isnan(upper).any()
    return SubjectCeilings(lower, upper, "a pool of RDMs is constant" if undefined_pools else "")
