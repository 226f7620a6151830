"""An encoding model of two arrays: predictions, scores, penalties and weights."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike

from isomorph.alignment.predictions import FOLD_KINDS, inner_folds, read_cv
from isomorph.encoding import SCORE_TYPES, FeatureRidge, fit_ridge
from isomorph.geometry import as_tensor
from isomorph.registry import unknown_name
from isomorph.resampling import Split, given, odd_even
from isomorph.storage import shown_by_shape


@dataclass(frozen=True, eq=False)
class EncodingFit:
    """An encoding model fitted on the training stimuli, with its scores on the test stimuli.

    Parameters
    ----------
    scores : np.ndarray, (n_neuroids,)
        On the test stimuli; NaN for a constant neuroid.
    cv_scores : np.ndarray, (n_neuroids,)
        On the training stimuli, each predicted without itself (or its fold).
    predictions : np.ndarray, (n_test, n_neuroids)
    cv_predictions : np.ndarray, (n_train, n_neuroids)
    alphas : np.ndarray, (n_neuroids,)
        Chosen penalties; NaN where there was nothing to choose by.
    edge_share : float
        Share of the neuroids whose penalty is the first or last of the grid.
    split : Split
    model : FeatureRidge
    features : torch.Tensor, (n_stimuli, n_features)
        Those that were given: weights and new predictions are made from them on demand.
    """

    scores: np.ndarray
    cv_scores: np.ndarray
    predictions: np.ndarray
    cv_predictions: np.ndarray
    alphas: np.ndarray
    edge_share: float
    split: Split
    model: FeatureRidge
    features: torch.Tensor

    __repr__ = shown_by_shape

    def weights(self, neuroids: slice | list[int] | np.ndarray | None = None) -> np.ndarray:
        """Weights for the features as they came, (n_features, neuroids), float64.

        Parameters
        ----------
        neuroids : slice or positions, optional
            A wide layer and many neuroids make a large array: ask for some at a time.
        """
        return self.model.weights(self.features, neuroids)[0]

    def intercept(self, neuroids: slice | list[int] | np.ndarray | None = None) -> np.ndarray:
        """What is added to features @ weights, (neuroids,)."""
        return self.model.weights(self.features, neuroids)[1]

    def predict(self, features: np.ndarray | torch.Tensor) -> np.ndarray:
        """Predict the responses to new stimuli, (n_new, n_neuroids)."""
        return self.model.predict(features, self.features)


def fit_encoding(
    features: np.ndarray | torch.Tensor,
    responses: np.ndarray | torch.Tensor,
    *,
    split: Split | tuple[ArrayLike, ArrayLike] | None = None,
    alphas: ArrayLike | None = None,
    scale: Literal["floored", "standard", "none"] = "floored",
    cv: str = "loo",
    folds: Literal["contiguous", "grouped", "shuffled"] = "contiguous",
    groups: Sequence[Hashable] | np.ndarray | None = None,
    criterion: Literal["squared_error", "pearson"] = "squared_error",
    alpha_per_target: bool = True,
    score: str = "pearsonr",
) -> EncodingFit:
    """Predict responses from features by ridge regression, as eReg does.

    Parameters
    ----------
    features : (n_stimuli, ...) array or tensor
        Any number of features; on a GPU it is fitted there.
    responses : (n_stimuli, n_neuroids) or (n_stimuli, n_repetitions, n_neuroids) array
        Rows in the order of the features; repetitions are averaged. Finite.
    split : Split or (train, test), optional
        By default even rows train and odd rows test.
    alphas : array_like, optional
        Penalties, positive and increasing, in the units of the default: logspace(−1, 5, 7), of
        which 5920 are the mean squared length of the scaled training features.
    scale : {"floored", "standard", "none"}
        Features divided by sqrt(s² + mean s²) of the training stimuli, by s, or by nothing.
    cv : str
        How alpha is chosen inside the training stimuli: ``"loo"``, or ``"kfold5"``.
    folds : {"contiguous", "grouped", "shuffled"}
        Of ``kfold``: runs of stimuli in their order, with groups whole; groups, which must be
        given; or shuffled, which leaks between neighbours in time and within groups.
    groups : sequence of length n_stimuli, optional
        Stimuli that belong together.
    criterion : {"squared_error", "pearson"}
    alpha_per_target : bool
    score : {"pearsonr", "r2", "explained_variance"}

    Returns
    -------
    EncodingFit

    Raises
    ------
    ValueError
        If the numbers of stimuli differ, values are missing, or folds are described for
        ``cv="loo"``.

    References
    ----------
    Naselaris, Kay, Nishimoto & Gallant (2011), NeuroImage 56(2):400.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> features = rng.standard_normal((60, 300))
    >>> fit = fit_encoding(features, features[:, :4])
    >>> fit.predictions.shape, fit.weights(neuroids=slice(2)).shape
    ((30, 4), (300, 2))
    """
    x = as_tensor(features)
    x = x.reshape(len(x), -1)
    y = as_tensor(responses).detach().cpu().double().numpy()
    y = y.mean(axis=1) if y.ndim == 3 else y
    if y.ndim != 2 or len(y) != len(x):
        raise ValueError(
            f"fit_encoding: expected responses of shape ({len(x)}, n_neuroids), one row for each "
            f"row of the features, got {y.shape}."
        )
    found = _split(split, len(x))
    scorer = SCORE_TYPES[score]
    model = fit_ridge(
        x,
        y[found.train],
        alphas,
        train=found.train,
        test=found.test,
        folds=_held_out(found.train, cv, folds, groups, len(x)),
        scale=scale,
        relative=True,
        criterion=criterion,
        alpha_per_target=alpha_per_target,
    )
    fit = model.fit
    undefined = np.isnan(fit.alphas)
    return EncodingFit(
        scores=np.where(undefined, np.nan, scorer(fit.predictions, y[found.test])),
        cv_scores=np.where(undefined, np.nan, scorer(fit.cv_predictions, y[found.train])),
        predictions=fit.predictions,
        cv_predictions=fit.cv_predictions,
        alphas=fit.alphas,
        edge_share=fit.edge_share,
        split=found,
        model=model,
        features=x,
    )


def _split(split: Split | tuple[ArrayLike, ArrayLike] | None, n: int) -> Split:
    if split is None:
        return odd_even(n)
    train, test = (split.train, split.test) if isinstance(split, Split) else split
    return given(train, test, n)


def _held_out(
    train: np.ndarray,
    cv: str,
    folds: str,
    groups: Sequence[Hashable] | np.ndarray | None,
    n: int,
) -> list[np.ndarray] | None:
    """What each fold inside the training stimuli holds out; None for leave-one-out."""
    if folds not in FOLD_KINDS:
        raise unknown_name("folds", folds, FOLD_KINDS)
    if read_cv(cv) != "loo":
        return inner_folds(train, cv, folds, None if groups is None else _numbered(groups, n))
    if folds != "contiguous" or groups is not None:
        raise ValueError(
            "fit_encoding: folds and groups say how the folds of cv='kfold5' are made, but "
            "cv='loo' was asked. Add cv='kfold5', or leave them out."
        )
    return None


def _numbered(groups: Sequence[Hashable] | np.ndarray, n: int) -> np.ndarray:
    if len(groups) != n:
        raise ValueError(
            f"fit_encoding: expected one group for each of the {n} stimuli, got {len(groups)}."
        )
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups])
