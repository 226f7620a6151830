"""Ridge regression with an intercept, its penalty chosen by exact leave-one-out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike

from isomorph.encoding.selection import (
    Criterion,
    check_criterion,
    choose,
    criterion_scores,
    grid_scores,
)
from isomorph.encoding.spectrum import (
    CHUNK_BYTES,
    Spectrum,
    centred_targets,
    centred_test_kernel,
    dual_spectrum,
    read_kernel,
    read_penalties,
    read_targets,
    read_test_kernel,
)
from isomorph.storage import shown_by_shape


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """Ridge regression of t targets (neuroids), its penalties chosen by cross-validation.

    Parameters
    ----------
    alphas : np.ndarray, (t,)
        Chosen penalty; NaN where there was nothing to choose by: a constant target, or a kernel
        that is zero. Predictions are then the training mean.
    alpha_index : np.ndarray of int, (t,)
        Its position in ``grid``; −1 where there is none.
    cv_predictions : np.ndarray, (n_train, t)
        Each training stimulus predicted by a model that has not seen it (leave-one-out, or its
        fold), in the units of the responses; NaN for a stimulus that no fold held out.
    predictions : np.ndarray, (n_test, t)
        Test stimuli predicted from all training stimuli.
    cv_score : np.ndarray, (t,)
        The criterion at the chosen penalty, larger is better: minus the mean squared error of the
        held-out predictions, or their Pearson r. NaN where no penalty was chosen.
    edge_share : float
        Share of the targets with a penalty whose penalty is the first or last of the grid.
    grid : np.ndarray, (n_alphas,)
    intercept : np.ndarray, (t,)
        Mean of the training responses: the prediction for features at their training mean.
    coefficients : np.ndarray or None
        If asked for: in the dual form (n_train, t), in the primal form (p, t), for features that
        are centred (and scaled) as in the fit.
    """

    alphas: np.ndarray
    alpha_index: np.ndarray
    cv_predictions: np.ndarray
    predictions: np.ndarray
    cv_score: np.ndarray
    edge_share: float
    grid: np.ndarray
    intercept: np.ndarray
    coefficients: np.ndarray | None = None

    __repr__ = shown_by_shape


def ridge_loo(
    kernel_train: np.ndarray | torch.Tensor,
    responses: np.ndarray | torch.Tensor,
    alphas: ArrayLike,
    *,
    kernel_test: np.ndarray | torch.Tensor | None = None,
    criterion: Criterion = "squared_error",
    alpha_per_target: bool = True,
    coefficients: bool = False,
    held_out: bool = True,
    chunk_targets: int | None = None,
) -> RidgeFit:
    """Ridge regression in its dual form, its penalty chosen by exact leave-one-out.

    With K the centred training kernel and H = K(K + αI)⁻¹ + 11ᵀ/n, which refits the intercept too,
    the prediction of stimulus i from the others is yᵢ − (yᵢ − ŷᵢ)/(1 − Hᵢᵢ). One
    eigendecomposition, from which the constant vector is taken out, serves every penalty. (The
    form without the 1/n leaks on a centred kernel, each row of which is minus the sum of the
    others.)

    Parameters
    ----------
    kernel_train : np.ndarray or torch.Tensor, (n, n)
        Products of the features of the training stimuli. Centred or not: it is centred here.
    responses : np.ndarray or torch.Tensor, (n, t)
    alphas : array_like, (n_alphas,)
        Penalties, positive and increasing.
    kernel_test : np.ndarray or torch.Tensor, (m, n), optional
        Products of the test with the training stimuli, centred exactly where kernel_train is.
    criterion : {"squared_error", "pearson"}
        Smallest squared error, or largest Pearson r, of the leave-one-out predictions. Ties go to
        the smaller penalty.
    alpha_per_target : bool
        Whether each target has its own penalty, or all share the one that is best on average.
    coefficients : bool
        Whether to give the dual coefficients too.
    held_out : bool
        Whether to give the left-out predictions. Without them ``cv_predictions`` has no rows, and
        the scores are those of the search, exact to six digits.
    chunk_targets : int, optional
        How many targets at a time. Results do not depend on it beyond rounding.

    Returns
    -------
    RidgeFit
        In float64. Computed on the device of the kernel; the products with float32 responses in
        float32, which is as precise as these are.

    Raises
    ------
    ValueError
        If shapes do not fit, a value is not finite, or the penalties are not positive and
        increasing.

    References
    ----------
    Hastie, Tibshirani & Friedman (2009), The Elements of Statistical Learning, section 7.10.

    Examples
    --------
    >>> features = np.random.default_rng(0).standard_normal((20, 50))
    >>> fit = ridge_loo(features @ features.T, features[:, :3], [1, 10, 100])
    >>> fit.cv_predictions.shape
    (20, 3)
    """
    check_criterion(criterion)
    kernel = read_kernel(kernel_train, "ridge_loo")
    across = read_test_kernel(kernel_test, kernel, "ridge_loo")
    y = read_targets(responses, kernel, "ridge_loo")
    penalties = read_penalties(alphas, kernel.device, "ridge_loo")
    spectrum = dual_spectrum(kernel)
    return loo_fit(
        spectrum,
        centred_test_kernel(kernel, across) @ spectrum.vectors,
        y,
        penalties,
        criterion,
        alpha_per_target=alpha_per_target,
        coefficients=coefficients,
        held_out=held_out,
        chunk_targets=chunk_targets,
    )


def loo_fit(
    spectrum: Spectrum,
    test: torch.Tensor,
    y: torch.Tensor,
    alphas: torch.Tensor,
    criterion: str,
    *,
    alpha_per_target: bool,
    coefficients: bool,
    held_out: bool = True,
    chunk_targets: int | None = None,
) -> RidgeFit:
    """Fit from a decomposition, dual or primal; ``test`` (m, r) is the test kernel × vectors."""
    return assemble(
        y,
        LooSearch(spectrum, alphas, criterion),
        Refit(spectrum, test, alphas, coefficients),
        alpha_per_target=alpha_per_target,
        chunks=target_chunks(y, chunk_targets),
        held_out=held_out,
    )


class Search(Protocol):
    """A way of holding stimuli out: its scores over a grid, and its errors."""

    criterion: str

    def prepare(self, centred: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Centred responses (n, t), and what follows from them linearly."""
        ...

    def scores(self, parts: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """The criterion of every penalty and target, (n_alphas, t)."""
        ...

    def errors(self, parts: tuple[torch.Tensor, ...], index: torch.Tensor) -> torch.Tensor:
        """Held-out errors at each target's own penalty, (n, t); NaN where never held out."""
        ...


class LooSearch:
    """Leave-one-out: for each penalty one matrix, times the components of the targets."""

    def __init__(self, spectrum: Spectrum, alphas: torch.Tensor, criterion: str) -> None:
        self.spectrum, self.criterion = spectrum, criterion
        self._shrink, self._remainder = spectrum.shrink(alphas), spectrum.remainder(alphas)

    def prepare(self, centred: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Responses, their components, and what no direction of the features can explain."""
        vectors = self.spectrum.vectors.to(centred.dtype)
        components = vectors.T @ centred
        if self.spectrum.complete:
            return centred, components
        return centred, components, centred - vectors @ components

    def errors(self, parts: tuple[torch.Tensor, ...], index: torch.Tensor) -> torch.Tensor:
        """Errors at each target's own penalty, (n, t)."""
        centred, components, *rest = parts
        errors = torch.empty_like(centred)
        for position in index.unique().tolist():
            # Targets of one penalty together: one product serves them all.
            which = torch.nonzero(index == position).flatten()
            errors[:, which] = self._errors_at(
                position, components[:, which], *(part[:, which] for part in rest)
            )
        return errors

    def _errors_at(
        self, position: int, components: torch.Tensor, *rest: torch.Tensor
    ) -> torch.Tensor:
        """Left-out errors of targets at one penalty, (n, t)."""
        maps = self.spectrum.vectors * self._shrink[:, position]
        remainder = self._remainder[:, position, None]
        errors = maps.div_(remainder).to(components.dtype) @ components
        for part in rest:
            errors.addcdiv_(part, remainder.to(part.dtype))
        return errors

    def scores(self, parts: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """The criterion of every penalty and target, (n_alphas, t)."""
        return grid_scores(self._scores, parts, self.criterion)

    def _scores(self, *parts: torch.Tensor) -> torch.Tensor:
        centred, components, *rest = parts
        found = centred.new_empty(self._shrink.shape[1], centred.shape[1])
        for position in range(len(found)):
            errors = self._errors_at(position, components, *rest)
            found[position] = criterion_scores(errors, centred, self.criterion)
        return found


@dataclass(frozen=True)
class Refit:
    """The model of all training stimuli at the chosen penalties.

    ``test`` (m, r) is the centred test kernel times the vectors.
    """

    spectrum: Spectrum
    test: torch.Tensor
    alphas: torch.Tensor
    coefficients: bool = False

    def __call__(
        self, parts: tuple[torch.Tensor, ...], index: torch.Tensor, same: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Predictions about the mean (m, t), and the coefficients; 0 where the index is −1.

        ``same`` says that the second of the parts are the components in this spectrum.
        """
        if not len(self.test) and not self.coefficients:
            return parts[0][:0], None
        spectrum, dtype = self.spectrum, parts[0].dtype
        components = parts[1] if same else spectrum.vectors.to(dtype).T @ parts[0]
        weights = spectrum.inverse(self.alphas).to(dtype)[:, index.clamp(min=0)]
        weights = weights.mul_(components).masked_fill_(index < 0, 0)
        predictions = self.test.to(dtype) @ weights
        if not self.coefficients:
            return predictions, None
        if spectrum.directions is None:
            return predictions, spectrum.vectors.to(dtype) @ weights
        back = spectrum.directions * spectrum.values.sqrt()
        return predictions, back.to(dtype) @ weights


def target_chunks(y: torch.Tensor, width: int | None = None) -> list[slice]:
    """Slices of the targets, a chunk of which takes some 64 MB."""
    n, t = y.shape
    width = max(1, CHUNK_BYTES // (8 * n)) if width is None else width
    if width < 1:
        raise ValueError(f"ridge: expected chunk_targets of 1 or more, got {width}.")
    return [slice(start, start + width) for start in range(0, t, width)]


def assemble(
    y: torch.Tensor,
    search: Search,
    refit: Refit,
    *,
    alpha_per_target: bool,
    chunks: list[slice],
    held_out: bool = True,
) -> RidgeFit:
    """Search the grid, choose, predict held-out and test stimuli; chunk after chunk of targets."""
    centred, mean, constant = centred_targets(y)
    undefined = constant | refit.spectrum.silent
    same = isinstance(search, LooSearch)
    shared = None
    if not alpha_per_target:
        found = [search.scores(search.prepare(centred[:, chunk])) for chunk in chunks]
        shared = choose(torch.cat(found, dim=1), undefined, alpha_per_target=False)
    index = torch.full_like(mean, -1, dtype=torch.int64)
    score = torch.full_like(mean, torch.nan)
    left_out = torch.empty_like(y if held_out else y[:0])
    predictions = y.new_empty(len(refit.test), y.shape[1])
    coefficients = []
    for chunk in chunks:
        parts = search.prepare(centred[:, chunk])
        table = search.scores(parts) if shared is None or not held_out else None
        if shared is not None:
            index[chunk] = shared[chunk]
        elif table is not None:
            index[chunk] = choose(table, undefined[chunk])
        chosen = index[chunk].clamp(min=0)
        if held_out:
            errors = search.errors(parts, chosen)
            torch.sub(y[:, chunk], errors, out=left_out[:, chunk])
            # The search may have been in float32; what is reported is not.
            score[chunk] = _reported(errors, parts[0], search.criterion)
        elif table is not None:
            score[chunk] = table.gather(0, chosen[None])[0]
        predicted, found = refit(parts, index[chunk], same)
        predictions[:, chunk] = predicted + mean[chunk]
        if found is not None:
            coefficients.append(found)
    return RidgeFit(
        **chosen_alphas(index.cpu().numpy(), refit.alphas.cpu().numpy()),
        cv_predictions=left_out.double().cpu().numpy(),
        predictions=predictions.double().cpu().numpy(),
        cv_score=score.masked_fill(index < 0, torch.nan).cpu().numpy(),
        intercept=mean.cpu().numpy(),
        coefficients=torch.cat(coefficients, dim=1).double().cpu().numpy()
        if coefficients
        else None,
    )


def _reported(errors: torch.Tensor, centred: torch.Tensor, criterion: str) -> torch.Tensor:
    covered = ~errors[:, 0].isnan()
    if bool(covered.all()):
        return criterion_scores(errors, centred, criterion)
    return criterion_scores(errors[covered], centred[covered], criterion)


def chosen_alphas(index: np.ndarray, grid: np.ndarray) -> dict:
    """The fields of a fit that follow from the chosen positions."""
    chosen = index >= 0
    at_edge = (index[chosen] == 0) | (index[chosen] == len(grid) - 1)
    return {
        "alphas": np.where(chosen, grid[index], np.nan),
        "alpha_index": index,
        "edge_share": float(at_edge.mean()) if chosen.any() else float("nan"),
        "grid": grid,
    }
