"""How much a comparison of representations depends on which stimuli it was made with."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike

from isomorph.geometry.comparing.compare import as_vectors, compare_rdms
from isomorph.geometry.rdms.rdm import compute_rdm, is_one_rdm, square, upper_triangle

MIN_STIMULI = 4


def rdm_stability(
    rdms: Mapping[str, ArrayLike | torch.Tensor] | Sequence[ArrayLike] | np.ndarray,
    *,
    labels: Sequence[Hashable] | np.ndarray | None = None,
    sizes: Sequence[int] | None = None,
    per_class: Sequence[int] | None = None,
    n_subsets: int = 100,
    method: str = "spearman",
    distance: str = "euclidean",
    seed: int = 0,
) -> pd.DataFrame:
    """Compare representations over many subsets of the stimuli, and of the images per class.

    Parameters
    ----------
    rdms : mapping of name to array, or (n_rdms, n, n) or (n_rdms, n_pairs) array_like
        Two or more RDMs; or, in a mapping, features (n_stimuli, n_features), whose RDMs are made
        here once (an RDM of some of the stimuli is a part of that of all).
    labels : sequence, optional
        (n_stimuli,) the class of each stimulus, for `per_class`.
    sizes : sequence of int, optional
        Numbers of stimuli to draw; by default a quarter, half and three quarters of them,
        4 at the least.
    per_class : sequence of int, optional
        Numbers of stimuli to draw of every class instead.
    n_subsets : int
        Draws for each number, without replacement.
    method : str
        How RDMs are compared; see `compare_rdms`.
    distance : str
        How the RDMs of features are made; see `compute_rdm`.
    seed : int

    Returns
    -------
    pandas.DataFrame
        One row a draw and pair of RDMs: ``first second n_stimuli per_class subset score score_all``
        (the last over all stimuli). Pairs of RDMs share their draws.

    Raises
    ------
    ValueError
        If there are fewer stimuli than are to be drawn, or labels are missing.

    Examples
    --------
    >>> features = np.random.default_rng(0).standard_normal((2, 20, 5))
    >>> table = rdm_stability(dict(zip("ab", features)), sizes=[10], n_subsets=3)
    >>> table[["first", "second", "n_stimuli"]].drop_duplicates().values.tolist()
    [['a', 'b', 10]]
    """
    names, squares = _named_squares(rdms, distance)
    n_rdms, n = squares.shape[:2]
    if n_rdms < 2:
        raise ValueError(f"rdm_stability: expected 2 or more RDMs, got {n_rdms}.")
    draws = _draws(n, labels, sizes, per_class, n_subsets, np.random.default_rng(seed))
    first, second = np.triu_indices(n_rdms, k=1)
    over_all = _scores(squares, method)[first, second]
    tables = []
    for size, each, subset, stimuli in draws:
        part = squares[:, stimuli[:, None], stimuli]
        tables.append(
            pd.DataFrame(
                {
                    "first": [names[i] for i in first],
                    "second": [names[i] for i in second],
                    "n_stimuli": size,
                    "per_class": each,
                    "subset": subset,
                    "score": _scores(part, method)[first, second],
                    "score_all": over_all,
                }
            )
        )
    table = pd.concat(tables, ignore_index=True)
    return table.drop(columns="per_class") if per_class is None else table


def _scores(squares: np.ndarray, method: str) -> np.ndarray:
    vectors = upper_triangle(squares)
    return np.asarray(compare_rdms(vectors, vectors, method))


def _named_squares(rdms: Any, distance: str) -> tuple[list[str], np.ndarray]:
    if not isinstance(rdms, Mapping):
        stack = square(np.atleast_2d(as_vectors(rdms, "rdms")))
        return [str(i) for i in range(len(stack))], stack
    squares = {str(name): _as_square(item, name, distance) for name, item in rdms.items()}
    shapes = {rdm.shape for rdm in squares.values()}
    if len(shapes) > 1:
        counts = {name: len(rdm) for name, rdm in squares.items()}
        raise ValueError(
            f"rdm_stability: expected the same stimuli everywhere, got {counts} stimuli."
        )
    return list(squares), np.stack(list(squares.values()))


def _as_square(item: Any, name: str, distance: str) -> np.ndarray:
    """A square RDM, or its vector, as it is; anything else is features."""
    array = item.detach().cpu().numpy() if isinstance(item, torch.Tensor) else np.asarray(item)
    if array.ndim == 1 or is_one_rdm(np.asarray(array, dtype=np.float64), name):
        return square(as_vectors(array, name))
    return compute_rdm(item if isinstance(item, torch.Tensor) else array, distance)


def _draws(
    n: int,
    labels: Sequence[Hashable] | np.ndarray | None,
    sizes: Sequence[int] | None,
    per_class: Sequence[int] | None,
    n_subsets: int,
    rng: np.random.Generator,
) -> Iterator[tuple[int, int, int, np.ndarray]]:
    """Give (n_stimuli, per_class, number of the draw, stimuli in their order)."""
    if n_subsets < 1:
        raise ValueError(f"n_subsets: expected 1 or more, got {n_subsets}.")
    if per_class is None:
        shares = [max(MIN_STIMULI, round(n * share)) for share in (0.25, 0.5, 0.75)]
        chosen = sizes if sizes is not None else sorted(set(shares))
        for size in chosen:
            if not MIN_STIMULI <= size <= n:
                raise ValueError(f"sizes: expected from {MIN_STIMULI} to {n} stimuli, got {size}.")
        return (
            (int(size), 0, subset, np.sort(rng.permutation(n)[:size]))
            for size in chosen
            for subset in range(n_subsets)
        )
    if sizes is not None:
        raise ValueError("rdm_stability: expected sizes or per_class, got both.")
    classes = _classes(labels, n, per_class)
    return (
        (each * len(classes), int(each), subset, _of_each(classes, each, rng))
        for each in per_class
        for subset in range(n_subsets)
    )


def _of_each(classes: list[np.ndarray], each: int, rng: np.random.Generator) -> np.ndarray:
    return np.sort(np.concatenate([rng.permutation(members)[:each] for members in classes]))


def _classes(
    labels: Sequence[Hashable] | np.ndarray | None, n: int, per_class: Sequence[int]
) -> list[np.ndarray]:
    if labels is None or len(labels) != n:
        got = "none" if labels is None else f"{len(labels)}"
        raise ValueError(f"labels: expected one for each of the {n} stimuli, got {got}.")
    members: dict[Hashable, list[int]] = {}
    for position, label in enumerate(labels):
        members.setdefault(label, []).append(position)
    smallest = min(members, key=lambda label: len(members[label]))
    for each in per_class:
        if not 1 <= each <= len(members[smallest]) or each * len(members) < MIN_STIMULI:
            raise ValueError(
                f"per_class: expected from 1 to {len(members[smallest])} (as many as class "
                f"{smallest!r} has) and {MIN_STIMULI} stimuli in all, got {each}."
            )
    return [np.array(positions) for positions in members.values()]
