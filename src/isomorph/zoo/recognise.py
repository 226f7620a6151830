"""`as_model`: a module that the user made, with the preprocessing that it carries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from isomorph.extraction import Model
from isomorph.zoo.registered import model_sources


def as_model(
    module: nn.Module | Model,
    preprocess: Callable[[Any], Any] | None = None,
    *,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    uid: str = "",
) -> Model:
    """Make a `Model` of any module; of a known library's, its preprocessing is found.

    Modules of timm, transformers, sentence-transformers and open_clip carry what their inputs must
    look like. Those of torchvision do not (it belongs to the weights): give
    ``weights.transforms()``.

    Parameters
    ----------
    module : torch.nn.Module or Model
        A `Model` comes back as it is.
    preprocess, forward : callable, optional
        As in `isomorph.Model`; what is given is not looked for.
    uid : str
        By default made from the class and a hash of the weights.

    Returns
    -------
    Model

    Examples
    --------
    >>> as_model(nn.Linear(3, 2)).preprocess is None
    True
    """
    if isinstance(module, Model):
        return module
    if preprocess is None and isinstance(module, nn.Module):
        for source in model_sources().values():
            if source.recognise is None or not source.installed:
                continue
            found = source.recognise(module)
            if found is not None:
                return Model(module, found.preprocess, forward or found.forward, uid)
    return Model(module, preprocess, forward, uid)
