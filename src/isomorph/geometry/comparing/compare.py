"""Comparison of RDMs. An RDM is a unit vector: all comparisons are one matrix product."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from isomorph.geometry.comparing.missing import compare_present
from isomorph.geometry.comparing.partial import partial_correlations
from isomorph.geometry.rdms.rdm import check_rdm, is_one_rdm, n_stimuli_of, square, upper_triangle
from isomorph.registry import Registry, unknown_name

NAN_POLICIES = ("propagate", "omit", "raise")


@dataclass(frozen=True)
class Comparison:
    """A way to compare RDMs over their pairs of stimuli.

    Parameters
    ----------
    compare : callable
        ``compare(first, second)`` of RDM vectors, (n_first, n_pairs) and (n_second, n_pairs),
        float64 and finite, gives (n_first, n_second). NaN where an RDM is undefined for it.
    pool : callable
        ``pool(vectors)`` of RDM vectors (n_rdms, n_pairs) gives the parts whose sum over RDMs is
        the RDM that these agree with most (exactly, or as nearly as is known): (n_rdms, n_pairs).
    range : (float, float)
    summary, reference : str
    transform : callable or None
        For a correlation: what is done to the vectors (n_rdms, n_pairs) before they are centred,
        scaled to length one and multiplied.
    compare_where : callable or None
        ``compare_where(first, second, present)``: the same over the pairs of stimuli where
        ``present`` (n_pairs,) is true, for comparisons that need to know which pairs these are
        (``over_pairs`` false).
    over_pairs : bool
        Whether the pairs of stimuli are exchangeable, so that some may simply be left out.
    with_covariance : callable or None
        ``with_covariance(sigma_k)`` gives the same comparison for another covariance of the
        stimuli's estimates, (n_stimuli, n_stimuli).
    """

    compare: Callable[[np.ndarray, np.ndarray], np.ndarray]
    pool: Callable[[np.ndarray], np.ndarray]
    range: tuple[float, float]
    summary: str
    reference: str
    transform: Callable[[np.ndarray], np.ndarray] | None = None
    compare_where: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray] | None = None
    over_pairs: bool = True
    with_covariance: Callable[[np.ndarray], Comparison] | None = None


COMPARISONS: Registry[Comparison] = Registry("RDM comparison")
COMPARISON_ALIASES = {"tau_b": "kendall", "tau-b": "kendall", "tau-a": "tau_a", "rho-a": "rho_a"}


def find_comparison(method: str, sigma_k: ArrayLike | None = None) -> Comparison:
    """Look up a comparison by its name or an alias (``"tau_b"`` is ``"kendall"``).

    Parameters
    ----------
    method : str
    sigma_k : array_like, (n_stimuli, n_stimuli) or (n_stimuli,), optional
        For the whitened ones: covariance, or variances, of the stimuli's estimates.

    Returns
    -------
    Comparison

    Examples
    --------
    >>> find_comparison("tau_b") is COMPARISONS["kendall"]
    True
    """
    comparison = COMPARISONS[COMPARISON_ALIASES.get(method, method)]
    if sigma_k is None:
        return comparison
    if comparison.with_covariance is None:
        able = [name for name, known in COMPARISONS.items() if known.with_covariance]
        raise ValueError(
            f"sigma_k: expected method {' or '.join(able)}, got {method!r}, which does not depend "
            "on a covariance of the stimuli. Leave sigma_k out."
        )
    return comparison.with_covariance(np.asarray(sigma_k, dtype=np.float64))


def unit_vectors(vectors: ArrayLike, method: str = "pearson") -> np.ndarray:
    """Centre RDM vectors and scale them to length one, so that their products are correlations.

    Parameters
    ----------
    vectors : array_like, (n_rdms, n_pairs) or (n_pairs,)
    method : {"pearson", "spearman"}
        ``"spearman"`` ranks the dissimilarities first, ties by their average rank.

    Returns
    -------
    np.ndarray, same shape, float64
        NaN for an RDM that is constant or holds a NaN: its correlations are undefined.

    Examples
    --------
    >>> units = unit_vectors([[1.0, 2, 4], [3, 1, 1]])
    >>> bool(np.isclose(units[0] @ units[1], np.corrcoef([1, 2, 4], [3, 1, 1])[0, 1]))
    True
    """
    transform = find_comparison(method).transform
    if transform is None:
        raise ValueError(
            f"unit_vectors: {method!r} is not a correlation of transformed RDMs. Use compare_rdms."
        )
    array = np.asarray(vectors, dtype=np.float64)
    rows = np.atleast_2d(array)
    units = np.full(rows.shape, np.nan)
    # The extremes are exact, where a sum of squares would be left with rounding.
    low, high = rows.min(axis=1), rows.max(axis=1)
    for i in np.flatnonzero(np.isfinite(low) & np.isfinite(high) & (high > low)):
        # One RDM at a time stays in the cache over these passes.
        unit = np.subtract(*_with_mean(transform(rows[i : i + 1])[0]), out=units[i])
        # Scaled by the largest first: squares of tiny dissimilarities must not underflow.
        unit /= max(unit.max(), -unit.min())
        unit /= np.sqrt(unit @ unit)
    return units.reshape(array.shape)


def _with_mean(vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return vector, vector.mean()


def compare_rdms(
    first: ArrayLike,
    second: ArrayLike,
    method: str = "pearson",
    *,
    nan: str = "propagate",
    sigma_k: ArrayLike | None = None,
    controls: ArrayLike | None = None,
    semipartial: bool = False,
) -> float | np.ndarray:
    """Compare RDMs over their pairs of stimuli: two, or all pairs of two stacks in one call.

    Larger is always more similar. Correlations: ``pearson``; ``spearman`` and ``kendall`` (tau-b),
    which favour RDMs with ties, such as those of categories; ``rho_a`` and ``tau_a``, which do not
    (Nili et al. 2014). ``cosine`` needs dissimilarities with a meaningful zero.
    ``whitened_cosine`` and ``whitened_pearson`` take into account that dissimilarities which share
    a stimulus are not independent (Diedrichsen et al. 2021); on squared Euclidean RDMs
    ``whitened_cosine`` is linear CKA. ``bures`` is the fidelity of the two centred Grams
    (normalised Bures similarity), ``riemannian`` minus the affine-invariant distance of the second
    from the first's, scaled and with noise added as fits best: at most 0, not symmetric.

    Parameters
    ----------
    first, second : array_like
        One RDM, (n, n) or (n_pairs,), or a stack, (n_rdms, n, n) or (n_rdms, n_pairs). A square,
        symmetric array with a zero diagonal, both up to rounding, is one RDM: so is
        ``1 - np.corrcoef(features)``.
    method : str
        A name in `COMPARISONS`, as above; ``"tau_b"`` is ``"kendall"``.
    nan : {"propagate", "omit", "raise"}
        What to do with pairs of stimuli that are NaN in an RDM. ``"propagate"``: its comparisons
        are NaN. ``"omit"``: each two RDMs are compared over the pairs that both (and the controls)
        have; ranks are taken among these. For ``bures`` and ``riemannian`` only whole stimuli can
        be missing. ``"raise"``: an error that counts them.
    sigma_k : array_like, (n, n) or (n,), optional
        Whitened comparisons only: covariance of the stimuli's pattern estimates (variances alone:
        a diagonal one). By default independent and equal. Solved exactly.
    controls : array_like, optional
        One RDM or a stack, for ``pearson`` and ``spearman``: partial correlation. What is linear in
        the controls (or in their ranks) is taken out of both RDMs by least squares.
    semipartial : bool
        Take the controls out of `first` alone: the square is then the share of the variance of
        `second` that `first` explains beyond the controls.

    Returns
    -------
    float or np.ndarray, (n_first, n_second)
        A float if both are one RDM. NaN where an RDM is constant (for ``cosine``: zero) or holds a
        NaN, or where nothing is left of it beyond the controls.

    Raises
    ------
    ValueError
        If a shape is none of these, a square array with a zero diagonal is not symmetric, the two
        have different numbers of stimuli, the covariance is singular, or options contradict.
    KeyError
        If the method does not exist.

    References
    ----------
    Kriegeskorte, Mur & Bandettini (2008), Frontiers in Systems Neuroscience 2:4; Nili et al.
    (2014), PLoS Computational Biology 10(4): e1003553; Diedrichsen et al. (2021), Neurons,
    Behavior, Data Analysis and Theory 5(3).

    Examples
    --------
    >>> compare_rdms([1.0, 2, 3], [[2.0, 4, 6], [3, 2, 1]]).round(6)
    array([[ 1., -1.]])
    >>> compare_rdms([1.0, 2, np.nan], [1.0, 3, 2], nan="omit")
    1.0
    """
    if nan not in NAN_POLICIES:
        raise unknown_name("policy for NaN", nan, NAN_POLICIES)
    one = as_vectors(first, "first")
    other = one if second is first else as_vectors(second, "second")
    _require_same_stimuli(one, other, "second")
    comparison = find_comparison(method, sigma_k)
    needed = np.zeros((0, one.shape[-1]))
    compare = comparison.compare
    if controls is not None:
        needed = np.atleast_2d(as_vectors(controls, "controls"))
        _require_same_stimuli(one, needed, "controls")
        compare = _partial(comparison, method, needed, semipartial)
    elif semipartial:
        raise ValueError("semipartial=True: expected controls, got none. Pass controls=.")
    stacks = (np.atleast_2d(one), np.atleast_2d(other))
    stacks = (stacks[0], stacks[0]) if other is one else stacks
    if nan == "propagate":
        values = compare(*stacks)
    else:
        missing = _count_missing(*stacks, needed)
        if missing and nan == "raise":
            raise ValueError(
                f"compare_rdms: {missing} dissimilarities are NaN. Pass nan='omit' to compare over "
                "the pairs that both RDMs have, or leave those stimuli out."
            )
        values = compare_present(comparison, compare, *stacks, needed, sigma_k)
    return float(values[0, 0]) if one.ndim == other.ndim == 1 else values


def _count_missing(*stacks: np.ndarray) -> int:
    different = {id(stack): stack for stack in stacks}.values()
    return sum(int(np.isnan(stack).sum()) for stack in different)


def _partial(
    comparison: Comparison, method: str, controls: np.ndarray, semipartial: bool
) -> Callable[..., np.ndarray]:
    transform = comparison.transform
    if transform is None:
        able = [name for name, known in COMPARISONS.items() if known.transform]
        raise ValueError(
            f"controls: expected method {' or '.join(able)}, got {method!r}, for which partial "
            "comparison is not defined."
        )

    def compare(
        first: np.ndarray, second: np.ndarray, present: np.ndarray | None = None
    ) -> np.ndarray:
        known = controls if present is None else controls[:, present]
        return partial_correlations(first, second, known, transform, semipartial)

    return compare


def _require_same_stimuli(first: np.ndarray, other: np.ndarray, name: str) -> None:
    n_pairs = first.shape[-1], other.shape[-1]
    if n_pairs[0] != n_pairs[1]:
        n_stimuli = [n_stimuli_of(pairs) for pairs in n_pairs]
        raise ValueError(
            f"compare_rdms: expected RDMs over the same stimuli, got {n_stimuli[0]} stimuli "
            f"({n_pairs[0]} pairs) and {n_stimuli[1]} ({n_pairs[1]} pairs)"
            f"{' in ' + name if name != 'second' else ''}. Take the stimuli that both have."
        )


def second_order_rdm(
    rdms: ArrayLike, method: str = "spearman", *, nan: str = "propagate"
) -> np.ndarray:
    """RDM of RDMs: how much each two of a stack differ, 1 − their comparison.

    Parameters
    ----------
    rdms : array_like, (n_rdms, n, n) or (n_rdms, n_pairs)
        Or a list of RDMs.
    method : str
        A name in `COMPARISONS`. 1 is the highest value of each of them but ``riemannian``, whose
        distances are given as they are, averaged over both directions.
    nan : {"propagate", "omit", "raise"}
        As in `compare_rdms`.

    Returns
    -------
    np.ndarray, (n_rdms, n_rdms)
        Symmetric, zero diagonal.

    References
    ----------
    Kriegeskorte, Mur & Bandettini (2008), Frontiers in Systems Neuroscience 2:4.

    Examples
    --------
    >>> second_order_rdm([[1.0, 2, 3], [1, 2, 4], [3, 2, 1]]).round(6)
    array([[0., 0., 2.],
           [0., 0., 2.],
           [2., 2., 0.]])
    """
    stack = np.atleast_2d(as_vectors(rdms, "rdms"))
    similarity = np.asarray(compare_rdms(stack, stack, method, nan=nan))
    distances = find_comparison(method).range[1] - similarity
    distances = (distances + distances.T) / 2
    np.fill_diagonal(distances, 0)
    return distances


def as_vectors(rdm: ArrayLike, name: str) -> np.ndarray:
    """RDM vectors as float64: (n_pairs,) for one RDM, (n_rdms, n_pairs) for a stack.

    Parameters
    ----------
    rdm : array_like, (n, n), (n_pairs,), (n_rdms, n, n) or (n_rdms, n_pairs)
    name : str
        Of the argument, for the error.

    Returns
    -------
    np.ndarray

    Raises
    ------
    ValueError
        If it is none of these, or a square is not symmetric, or its diagonal not zero.

    Examples
    --------
    >>> as_vectors([[0, 1, 2], [1, 0, 3], [2, 3, 0]], "rdm")
    array([1., 2., 3.])
    """
    array = np.asarray(rdm, dtype=np.float64)
    if array.ndim == 3 or is_one_rdm(array, f"compare_rdms: {name}"):
        _require_rdms(array, name)
        array = upper_triangle(array)
    if array.ndim not in (1, 2) or not array.size or n_stimuli_of(array.shape[-1]) is None:
        raise ValueError(
            f"compare_rdms: {name} expected an RDM (n, n) with a zero diagonal, a vector of "
            f"n(n − 1)/2 pairs, or a stack of either, got shape {array.shape}."
        )
    return array


def as_squares(rdms: ArrayLike, name: str) -> np.ndarray:
    """Stack of square RDMs, (n_rdms, n, n), of what `as_vectors` takes."""
    return square(np.atleast_2d(as_vectors(rdms, name)))


def _require_rdms(stack: np.ndarray, name: str) -> None:
    """Refuse squares that are no RDMs; the closer look is for those not exact to the bit."""
    if stack.ndim != 3 or stack.shape[1] != stack.shape[2]:
        return
    for place, rdm in enumerate(stack):
        if rdm.diagonal().any() or not np.array_equal(rdm, rdm.T):
            check_rdm(rdm, f"compare_rdms: {name}[{place}]")
