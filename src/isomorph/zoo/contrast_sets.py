"""`contrasts`: sets of models that differ in one factor and agree in the others."""

from __future__ import annotations

import re

import pandas as pd

from isomorph.registry import unknown_name
from isomorph.zoo.catalogue import list_models, twins_of

# What must agree in a set, for each factor that may differ.
AGREE = {
    "architecture": ("modality", "task", "train_data", "input_size"),
    "task": ("modality", "architecture", "train_data"),
    "train_data": ("modality", "architecture", "task"),
    "size": ("modality", "series", "task", "train_data", "input_size"),
    "pretrained": ("modality", "architecture"),
}
_LEVEL = {"size": "n_params"}
# Two architectures are of one size up to this factor in their number of parameters.
SIZE_FACTOR = 1.25
_SIZES = (
    "femto atto pico nano micro mini tiny xtiny little xsmall small medium base large xlarge "
    "xxlarge huge giant gigantic so150m so400m xxs xs s m l h xl xxl t b g n"
)
_SIZE_WORDS = frozenset(_SIZES.split())


def contrasts(
    factor: str, models: pd.DataFrame | None = None, *, min_levels: int = 2
) -> pd.DataFrame:
    """Find sets of models that differ in one factor and agree in the others.

    The controlled comparison of Conwell et al. (2024): what differs between such models in how well
    they predict a brain is due to that factor (or to what the catalogue does not know, such as the
    recipe of training).

    Parameters
    ----------
    factor : {"architecture", "task", "train_data", "size", "pretrained"}
        What differs. ``architecture``: the number of parameters agrees within a factor of 1.25.
        ``size``: networks of one series (ResNet-18, -50, …). ``pretrained``: trained weights and
        the random twin.
    models : pandas.DataFrame, optional
        Rows of `list_models` to look in; by default all.
    min_levels : int
        How many different values of the factor a set must have.

    Returns
    -------
    pandas.DataFrame
        ``contrast factor level`` and the columns of `list_models`, one row a model; ``contrast``
        names the set by what its models agree in. Largest sets first.

    Raises
    ------
    UnknownNameError
        If there is no such factor.

    References
    ----------
    Conwell, C., et al. (2024). A large-scale examination of inductive biases shaping high-level
    visual representation in brains and machines. Nature Communications, 15, 9383.

    Examples
    --------
    >>> sets = contrasts("size", list_models(source="torchvision", name="resnet*"))
    >>> sorted(sets.loc[sets.contrast == sets.contrast[0], "architecture"].unique())[:3]
    ['resnet101', 'resnet152', 'resnet18']
    """
    if factor not in AGREE:
        raise unknown_name("factor", factor, AGREE)
    frame = list_models() if models is None else models
    missing = [column for column in ("uid", "architecture", "n_params") if column not in frame]
    if missing:
        raise ValueError(
            f"models: expected rows of list_models(), got a table without {', '.join(missing)}."
        )
    if factor == "pretrained":
        frame = pd.concat([frame, twins_of(frame)]).drop_duplicates("uid")
        levels = (frame["train_data"] != "none").map({True: "pretrained", False: "random"})
    else:
        levels = frame[_LEVEL.get(factor, factor)]
    frame = frame.assign(factor=factor, level=levels, series=frame["architecture"].map(series))
    keys = list(AGREE[factor])
    # What is not known cannot be said to agree.
    frame = frame.dropna(subset=[*keys, "level"])
    frame = frame[(frame[keys].astype(str) != "").all(axis=1)]
    if factor == "architecture":
        frame = _same_size(frame, keys)
        keys.append("size")
    if frame.empty:
        return frame.assign(contrast=pd.Series(dtype=str))[_columns(frame)]
    grouped = frame.groupby(keys, sort=False, observed=True)
    n_levels = grouped["level"].transform("nunique")
    shown = frame[keys].astype(str).agg(" · ".join, axis=1)
    frame = frame.assign(contrast=shown, n_levels=n_levels)[n_levels >= min_levels]
    frame = frame.sort_values(
        ["n_levels", "contrast", "level", "uid"], ascending=[False, True, True, True]
    )
    return frame[_columns(frame)].reset_index(drop=True)


def _columns(frame: pd.DataFrame) -> list[str]:
    ours = ["contrast", "factor", "level"]
    return [
        *ours,
        *(str(name) for name in frame if name not in {*ours, "series", "size", "n_levels"}),
    ]


def _same_size(frame: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Cut each set where the number of parameters would leave a factor of the smallest one's."""
    frame = frame.dropna(subset=["n_params"]).sort_values("n_params", kind="stable")
    sizes: dict[int, str] = {}
    for _, part in frame.groupby(keys, sort=False, observed=True):
        smallest = 0
        for index, count in part["n_params"].items():
            if count > SIZE_FACTOR * smallest:
                smallest = count
            sizes[index] = f"{smallest / 1e6:.3g}–{SIZE_FACTOR * smallest / 1e6:.3g} M"  # type: ignore[index]
    return frame.assign(size=pd.Series(sizes))


def series(architecture: str) -> str:
    """Name the series of an architecture: its name without what tells the size.

    Examples
    --------
    >>> series("resnet50"), series("vit_base_patch16"), series("vgg16_bn")
    ('resnet', 'vit_patch16', 'vgg_bn')
    """
    words = [word for word in architecture.split("_") if word not in _SIZE_WORDS]
    kept = []
    for word in words:
        # A patch, a window or a version is another network, not a larger one.
        if re.match(r"(patch|window|v\d|rw|r\d)", word) and kept:
            kept.append(word)
        else:
            kept.append(re.sub(r"(\d+)(x\d+d?)?$", "", word) if kept else re.sub(r"\d+$", "", word))
    return "_".join(word for word in kept if word)
