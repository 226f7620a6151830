"""Which axis of a map holds the channels: what pooling and the choice of tokens need to know."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

CHANNELS_FIRST: tuple[tuple[type[nn.Module], ...], ...] = (
    (),
    (nn.Conv1d, nn.ConvTranspose1d, nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveAvgPool1d),
    (
        nn.Conv2d,
        nn.ConvTranspose2d,
        nn.BatchNorm2d,
        nn.InstanceNorm2d,
        nn.MaxPool2d,
        nn.AvgPool2d,
        nn.LPPool2d,
        nn.AdaptiveAvgPool2d,
        nn.AdaptiveMaxPool2d,
        nn.PixelShuffle,
        nn.Upsample,
        nn.Dropout2d,
    ),
    (
        nn.Conv3d,
        nn.ConvTranspose3d,
        nn.BatchNorm3d,
        nn.MaxPool3d,
        nn.AvgPool3d,
        nn.AdaptiveAvgPool3d,
    ),
)
CHANNELS_LAST = (nn.Linear, nn.Embedding, nn.MultiheadAttention, nn.Bilinear)


def channel_axis(module: nn.Module | None, shape: tuple[int, ...]) -> int | None:
    """Tell from a module which axis of its output, for one stimulus, holds the channels.

    Parameters
    ----------
    module : torch.nn.Module or None
        What made the output; None for an operation.
    shape : tuple of int
        Of the output, for one stimulus.

    Returns
    -------
    int or None
        The axis; None if the module does not tell (an activation, a block).
    """
    if len(shape) == 1:
        return 0
    if module is None or not shape:
        return None
    for n_spatial, types in enumerate(CHANNELS_FIRST):
        # An output may have further axes in front (the windows of a stimulus).
        if types and isinstance(module, types) and len(shape) > n_spatial:
            return len(shape) - n_spatial - 1
    if isinstance(module, nn.GroupNorm):
        return _axis_of_size(shape, module.num_channels, last=False)
    if isinstance(module, nn.LayerNorm) or hasattr(module, "normalized_shape"):
        # Some libraries derive a channels-first LayerNorm2d from LayerNorm.
        size = getattr(module, "normalized_shape", None)
        size = size[-1] if isinstance(size, Sequence) and size else size
        first = type(module).__name__.lower().endswith("2d")
        return _axis_of_size(shape, size, last=not first)
    if isinstance(module, CHANNELS_LAST):
        return len(shape) - 1
    return None


def _axis_of_size(shape: tuple[int, ...], size: object, *, last: bool) -> int | None:
    axes = [axis for axis, length in enumerate(shape) if length == size]
    if not axes:
        return None
    return axes[-1 if last else 0]


def guess_channel_axis(
    shape: tuple[int, ...], earlier: Sequence[tuple[tuple[int, ...], int]]
) -> int | None:
    """Guess the axis of an output whose module does not tell.

    Activations and blocks keep the layout that they were given: the nearest earlier output of the
    same shape decides, then the nearest with as many axes; then the usual (tokens × channels, or
    channels × height × width).

    Parameters
    ----------
    shape : tuple of int
        For one stimulus.
    earlier : sequence of (shape, axis)
        Outputs before this one whose axis is known, in call order.

    Returns
    -------
    int or None
        None for an output without axes.

    Examples
    --------
    >>> guess_channel_axis((7, 7, 96), [((7, 7, 96), 2)]), guess_channel_axis((8, 4, 4), [])
    (2, 0)
    """
    if not shape:
        return None
    for known, axis in reversed(earlier):
        if known == shape:
            return axis
    for known, axis in reversed(earlier):
        if len(known) == len(shape) > 1 and known[axis] == shape[axis]:
            return axis
    return 1 if len(shape) == 2 else 0
