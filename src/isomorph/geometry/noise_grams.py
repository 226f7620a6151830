"""The Gram of Gaussian noise of any width, drawn without the noise."""

from __future__ import annotations

import numpy as np

from isomorph.geometry.gram import Gram


def noise_gram(n_stimuli: int, n_features: int, *, seed: int | list[int] = 0) -> Gram:
    """Gram of independent standard normal features, exactly distributed, at no cost in width.

    The products of n stimuli over p features are Wishart with p degrees of freedom. The direction
    of the row sums is drawn first, and the rest, with p − 1, from the triangular factor of
    Bartlett's decomposition: n(n + 1)/2 numbers instead of n p.

    Parameters
    ----------
    n_stimuli, n_features : int
    seed : int or list of int

    Returns
    -------
    Gram
        Of features that were not shifted.

    References
    ----------
    Bartlett (1933), Proceedings of the Royal Society of Edinburgh 53:260-283.

    Examples
    --------
    >>> noise_gram(5, 370_000).products.shape
    (5, 5)
    """
    if n_stimuli < 1 or n_features < 1:
        raise ValueError(
            f"noise_gram: expected 1 or more stimuli and features, got {n_stimuli} and "
            f"{n_features}."
        )
    rng = np.random.default_rng(seed)
    along = rng.standard_normal(n_stimuli)  # the component along the row sums' direction
    degrees = n_features - 1
    if degrees < n_stimuli:
        factor = rng.standard_normal((n_stimuli, degrees))
    else:
        factor = np.tril(rng.standard_normal((n_stimuli, n_stimuli)), k=-1)
        np.fill_diagonal(factor, np.sqrt(rng.chisquare(degrees - np.arange(n_stimuli))))
    return Gram(
        products=factor @ factor.T + np.outer(along, along),
        row_sums=np.sqrt(n_features) * along,
        deviation_products=np.zeros(n_stimuli),
        deviation_norm=0.0,
        mean_sum=0.0,
        n_features=n_features,
        resolution=float(np.finfo(np.float64).eps),
    )
