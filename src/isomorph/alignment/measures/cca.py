"""Canonical correlation: CCA, SVCCA and PWCCA.

Two subspaces of dimensions r₁ and r₂ in the n − 1 dimensions of n centred stimuli must share
r₁ + r₂ − (n − 1) of them: from r₁ + r₂ ≥ n on, canonical correlations of exactly 1 say nothing of
the data. There the measures are undefined, unless truncation or regularisation brings them back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from isomorph.alignment.measure import Measure, UndefinedScoreError, add_measure
from isomorph.alignment.measures.principal import PrincipalAxes, principal_axes
from isomorph.alignment.metric import Option
from isomorph.geometry import Gram, grams


def read_dims(text: str) -> int | None:
    """Read a number of principal components, 1 or more."""
    if text == "None":
        return None
    value = float(text)
    if value < 1 or value != int(value):
        raise ValueError("expected a whole number of components, 1 or more.")
    return int(value)


def read_share(text: str) -> float | None:
    """Read a share of variance, above 0 and at most 1."""
    if text == "None":
        return None
    value = float(text)
    if not 0 < value <= 1:
        raise ValueError("expected a share of the variance, above 0 and at most 1.")
    return value


def read_penalty(text: str) -> float:
    """Read a number of 0 or more."""
    value = float(text)
    if not (value >= 0 and np.isfinite(value)):
        raise ValueError("expected a number of 0 or more.")
    return value


def truncated(axes: PrincipalAxes, dims: int | None, var: float | None) -> PrincipalAxes:
    """The largest components: so many, or those that hold a share of the variance; all if None."""
    if var is not None:
        held = np.cumsum(axes.lengths**2) / np.sum(axes.lengths**2)
        # The share is reached up to the rounding of its sum.
        return axes.first(int(np.searchsorted(held, var - 1e-12)) + 1)
    return axes if dims is None else axes.first(dims)


def require_room(first: PrincipalAxes, second: PrincipalAxes) -> None:
    """Refuse subspaces so large that they must intersect, whatever the data."""
    n = first.n_stimuli
    if first.rank + second.rank >= n:
        raise UndefinedScoreError(
            f"{first.rank} + {second.rank} dimensions in {n} stimuli: some canonical correlations "
            "are 1 whatever the data; use more stimuli, fewer dimensions (SVCCA) or regularisation"
        )


def canonical_correlations(first: PrincipalAxes, second: PrincipalAxes) -> np.ndarray:
    """Cosines of the angles between two subspaces, largest first."""
    return np.linalg.svd(first.vectors.T @ second.vectors, compute_uv=False)


def _summary(correlations: np.ndarray, first: PrincipalAxes, second: PrincipalAxes, form: str):
    if form == "mean":
        return float(correlations.mean())
    squared = float(np.mean(correlations**2))
    if form == "squared":
        return squared
    # Over all orders of the stimuli, exactly: a random subspace holds this share of another.
    chance = max(first.rank, second.rank) / (first.n_stimuli - 1)
    return (squared - chance) / (1 - chance)


@dataclass(frozen=True, eq=False)
class _Shrunken:
    """Principal axes, and what regularisation leaves of each: √(λ / (λ + κ))."""

    axes: PrincipalAxes
    weights: np.ndarray


def _prepare_cca(gram: Gram, regularisation: float, **_form: Any) -> _Shrunken:
    axes = principal_axes(gram)
    variances = axes.lengths**2
    penalty = regularisation * variances.sum() / gram.n_stimuli
    return _Shrunken(axes, np.sqrt(variances / (variances + penalty)))


def _cca(first: _Shrunken, second: _Shrunken, regularisation: float, form: str) -> float:
    one, other = first.axes, second.axes
    if regularisation == 0:
        require_room(one, other)
        return _summary(canonical_correlations(one, other), one, other, form)
    shrunken = (one.vectors * first.weights).T @ (other.vectors * second.weights)
    return _summary(np.linalg.svd(shrunken, compute_uv=False), one, other, form)


def _check_cca(options: Mapping[str, Any]) -> None:
    if options["form"] == "adjusted" and options["regularisation"] > 0:
        raise ValueError(
            "CCA: form=adjusted is defined without regularisation, got regularisation="
            f"{options['regularisation']:g}. Use form=squared."
        )


_FORM = Option(
    "mean",
    ("mean", "squared", "adjusted"),
    summary="mean canonical correlation, mean of their squares, or the latter less chance, "
    "(R² − c) / (1 − c) with c = max(r₁, r₂) / (n − 1)",
)
_LINEAR = frozenset(
    {"permutation", "rotation", "isotropic scaling", "translation", "invertible linear"}
)

add_measure(
    Measure(
        name="CCA",
        compute=_cca,
        prepare=_prepare_cca,
        reorder=lambda item, order: _Shrunken(item.axes.reordered(order), item.weights),
        needs="gram",
        options={
            "form": _FORM,
            "regularisation": Option(
                0.0,
                read=read_penalty,
                summary="added to the diagonal of both covariances, as a multiple of the mean "
                "diagonal of the Gram over stimuli",
            ),
        },
        range=(0.0, 1.0),
        symmetric=True,
        invariances=_LINEAR,
        summary="Mean canonical correlation; undefined where it would be 1 whatever the data.",
        reference="Hotelling 1936, Biometrika 28; regularised: Vinod 1976, J. Econometrics 4",
        min_stimuli=3,
        check=_check_cca,
    )
)


def _prepare_svcca(gram: Gram, dims: int, var: float | None, **_form: Any) -> PrincipalAxes:
    return truncated(principal_axes(gram), dims, var)


def _svcca(first: PrincipalAxes, second: PrincipalAxes, form: str, **_options: Any) -> float:
    require_room(first, second)
    return _summary(canonical_correlations(first, second), first, second, form)


_DIMS = "principal components kept of each side; all where it has fewer"
_VAR = "keep the components that hold this share of the variance instead"

add_measure(
    Measure(
        name="SVCCA",
        compute=_svcca,
        prepare=_prepare_svcca,
        reorder=PrincipalAxes.reordered,
        needs="gram",
        options={
            "dims": Option(10, read=read_dims, summary=_DIMS),
            "var": Option(None, read=read_share, summary=_VAR),
            "form": _FORM,
        },
        range=(0.0, 1.0),
        symmetric=True,
        invariances=_LINEAR - {"invertible linear"},
        summary="Mean canonical correlation of the first principal components.",
        reference="Raghu, Gilmer, Yosinski & Sohl-Dickstein 2017, NeurIPS",
        min_stimuli=3,
    )
)


@dataclass(frozen=True, eq=False)
class _Weighable:
    """Principal axes, and the centred features that the canonical variates are weighed by."""

    axes: PrincipalAxes
    features: torch.Tensor


def _prepare_pwcca(features: torch.Tensor, dims: int | None, var: float | None) -> _Weighable:
    axes = truncated(principal_axes(grams(features)[0]), dims, var)
    return _Weighable(axes, features)


def _reorder_pwcca(item: _Weighable, order: np.ndarray) -> _Weighable:
    index = torch.as_tensor(order, device=item.features.device)
    return _Weighable(item.axes.reordered(order), item.features[index])


def _pwcca(first: _Weighable, second: _Weighable, **_options: Any) -> float:
    require_room(first.axes, second.axes)
    left, correlations, _ = np.linalg.svd(
        first.axes.vectors.T @ second.axes.vectors, full_matrices=False
    )
    variates = first.axes.vectors @ left
    weights = _absolute_products(first.features, variates)
    return float(weights @ correlations / weights.sum())


def _absolute_products(features: torch.Tensor, variates: np.ndarray) -> np.ndarray:
    """Σⱼ |⟨hᵢ, xⱼ⟩| over the centred features xⱼ, in blocks of them: (n_variates,)."""
    basis = torch.as_tensor(np.ascontiguousarray(variates.T), device=features.device)
    total = torch.zeros(len(basis), dtype=torch.float64, device=features.device)
    for block in features.split(max(1, _BLOCK // (8 * len(features))), dim=1):
        wide = block.double()
        total += (basis @ (wide - wide.mean(dim=0))).abs().sum(dim=1)
    return total.cpu().numpy()


_BLOCK = 64_000_000

add_measure(
    Measure(
        name="PWCCA",
        compute=_pwcca,
        prepare=_prepare_pwcca,
        reorder=_reorder_pwcca,
        needs="features",
        options={
            "dims": Option(None, read=read_dims, summary=_DIMS),
            "var": Option(None, read=read_share, summary=_VAR),
        },
        range=(0.0, 1.0),
        symmetric=False,
        invariances=frozenset({"permutation", "isotropic scaling", "translation"}),
        summary="Canonical correlations weighted by how much of the first representation each "
        "canonical variate carries.",
        reference="Morcos, Raghu & Bengio 2018, NeurIPS",
        min_stimuli=3,
    )
)
