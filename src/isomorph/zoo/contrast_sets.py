"""`contrasts`: sets of models that differ in one factor and agree in the others."""

from __future__ import annotations

import re

import pandas as pd

from isomorph.registry import unknown_name
from isomorph.zoo.catalogue import list_models, twins_of

# What must agree in a set, for each factor that may differ.
AGREE = {
    "architecture": ("modality", "task", "train_data", "input_size"),
    "task": ("modality", "architecture", "train_data", "input_size"),
    "train_data": ("modality", "architecture", "task", "input_size"),
    "size": ("modality", "series", "task", "train_data", "input_size"),
    # The twin takes all else from the default weights beside which it stands.
    "pretrained": ("source", "name"),
}
# What is asked of the table besides.
_ALSO = {
    "architecture": ("architecture", "n_params"),
    "size": ("architecture", "n_params"),
    "pretrained": ("default", "task", "train_data", "weights", "weights_bytes", "url"),
}
# Two architectures are of one size up to this factor in their number of parameters …
SIZE_FACTOR = 1.25
# … and of two sizes from this one on.
OTHER_SIZE = 1.05
_SIZES = (
    "femto atto pico nano micro mini tiny xtiny little xsmall small medium mediumd betwixt base "
    "large xlarge xxlarge huge giant gigantic so150m so400m xxs xs s m l h xl xxl t b g n"
)
_SIZE_WORDS = frozenset(_SIZES.split())
# A version, a patch, a window or registers make another network, not a larger one.
_KIND = re.compile(r"(patch|window|reg|rw|r|p)\d\w*|\w*v\d+")
# How language models tell their size: 160m, 1.4b, 1_4b, 1b7.
_BILLIONS = re.compile(r"_((\d+[.]|[01]_)?\d+[mb]|\d+b\d)$")


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
        ``size``: networks of one series (ResNet-18, -50, …) whose numbers of parameters differ by
        at least 5 %; the level is the architecture's, with its smallest head. ``pretrained``: the
        default weights of a name and its random twin.
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
    ValueError
        If the table lacks columns that this factor needs.

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
    _check_columns(frame, factor)
    keys = list(AGREE[factor])
    frame = _with_levels(frame, factor).assign(factor=factor)
    # What is not known cannot be said to agree.
    frame = frame.dropna(subset=[*keys, "level"])
    frame = frame[(frame[keys].astype(str) != "").all(axis=1)]
    if factor == "architecture":
        frame = _same_size(frame, keys)
        keys.append("size")
    if frame.empty:
        return frame.assign(contrast=pd.Series(dtype=str))[_columns(frame)]
    if factor == "size":
        heads = frame.groupby([*keys, "architecture"], sort=False)["level"]
        frame = frame.assign(level=heads.transform("min"))
    grouped = frame.groupby(keys, sort=False, observed=True)["level"]
    n_levels = grouped.transform(_n_sizes if factor == "size" else "nunique")
    shown = frame[keys].astype(str).agg(" · ".join, axis=1)
    frame = frame.assign(contrast=shown, n_levels=n_levels)[n_levels >= min_levels]
    frame = frame.sort_values(
        ["n_levels", "contrast", "level", "uid"], ascending=[False, True, True, True]
    )
    return frame[_columns(frame)].reset_index(drop=True)


def _check_columns(frame: pd.DataFrame, factor: str) -> None:
    """Refuse a table without what the factor needs."""
    needed = ("uid", *AGREE[factor], *_ALSO.get(factor, (factor,)))
    missing = [name for name in dict.fromkeys(needed) if name not in frame and name != "series"]
    if missing:
        raise ValueError(
            f"models: expected rows of list_models(), got a table without {', '.join(missing)}."
        )


def _with_levels(frame: pd.DataFrame, factor: str) -> pd.DataFrame:
    """Add the factor's value for each model, as ``level``."""
    if factor == "pretrained":
        # Other weights of the name may be of another input size or task than its twin.
        trained = frame[frame["default"].astype(bool) & (frame["train_data"] != "none")]
        twins = twins_of(trained).assign(level="random")
        return pd.concat([trained.assign(level="pretrained"), twins], ignore_index=True)
    if factor == "size":
        named = frame["architecture"].map(series)
        return frame.assign(level=frame["n_params"], series=named)
    return frame.assign(level=frame[factor])


def _n_sizes(counts: pd.Series) -> int:
    """Count the sizes that are at least a tenth larger than the last one counted."""
    found, last = 0, 0.0
    for count in sorted(counts.unique()):
        if count >= OTHER_SIZE * last:
            found, last = found + 1, float(count)
    return found


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
    >>> series("mobilenetv3_large_100"), series("eva02_tiny_patch14"), series("t5_small")
    ('mobilenetv3', 'eva02_patch14', 't5')
    >>> series("pythia_1.4b"), series("llama_3_8b")
    ('pythia', 'llama_3')
    """
    if told := _BILLIONS.search(architecture):
        return architecture[: told.start()]
    first, *others = architecture.split("_")
    # Two digits and more are a depth (resnet50), one is a version (deit3), and so is 02.
    depth = re.search(r"[1-9]\d+$", first)
    if depth and first != "test" and not _KIND.fullmatch(first):
        first = first[: depth.start()]
    kept, sized = [first], False
    for word in others:
        if word in _SIZE_WORDS:
            sized = True
        elif first == "test" or (sized and not word.isdigit()) or _KIND.fullmatch(word):
            # After the word for the size, a number tells something else (fl3, s16, dinov2).
            kept.append(word)
        else:
            kept.append(re.sub(r"(\d+)(x\d+d?)?$", "", word))
    return "_".join(word for word in kept if word)
