"""Which axis of a map holds the channels: what pooling and the choice of tokens need to know."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

CHANNELS_FIRST: tuple[tuple[type[nn.Module], ...], ...] = (
    (),
    (
        nn.Conv1d,
        nn.ConvTranspose1d,
        nn.InstanceNorm1d,
        nn.MaxPool1d,
        nn.AvgPool1d,
        nn.LPPool1d,
        nn.AdaptiveAvgPool1d,
        nn.AdaptiveMaxPool1d,
        nn.Dropout1d,
        nn.Unfold,
    ),
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
        nn.FractionalMaxPool2d,
        nn.MaxUnpool2d,
        nn.PixelShuffle,
        nn.PixelUnshuffle,
        nn.UpsamplingNearest2d,
        nn.UpsamplingBilinear2d,
        nn.ZeroPad2d,
        nn.ReflectionPad2d,
        nn.ReplicationPad2d,
        nn.Dropout2d,
        nn.Fold,
    ),
    (
        nn.Conv3d,
        nn.ConvTranspose3d,
        nn.BatchNorm3d,
        nn.InstanceNorm3d,
        nn.MaxPool3d,
        nn.AvgPool3d,
        nn.LPPool3d,
        nn.AdaptiveAvgPool3d,
        nn.AdaptiveMaxPool3d,
        nn.Dropout3d,
    ),
)
CHANNELS_LAST = (nn.Linear, nn.Embedding, nn.MultiheadAttention, nn.Bilinear, nn.RNNBase)
# They take maps of any number of axes, the channels right after the stimuli.
CHANNELS_SECOND = (nn.Upsample, nn.LocalResponseNorm, nn.ChannelShuffle, nn.SyncBatchNorm)


@dataclass(frozen=True)
class Output:
    """What is known of an output when its channels are looked for.

    Parameters
    ----------
    path : str
        Which module gave it.
    shape : tuple of int
        For one stimulus.
    module : torch.nn.Module or None
        None for an operation.
    strides : tuple of int
        Of `shape`; empty if they are not known.
    """

    path: str
    shape: tuple[int, ...]
    module: nn.Module | None
    strides: tuple[int, ...] = ()

    def holds(self, other: Output) -> bool:
        """Whether the other one was given inside this one's module."""
        return not self.path or other.path.startswith((f"{self.path}.", f"{self.path}:"))


Seen = list[tuple[Output, int]]


def channel_axes(outputs: Sequence[Output]) -> list[int | None]:
    """Find which axis of each output holds the channels.

    Parameters
    ----------
    outputs : sequence of Output
        All outputs of a forward pass, in call order (a block after its parts).

    Returns
    -------
    list of int or None
        The axis of each output's shape; None where nothing supports one (attention maps, say),
        and for outputs without axes.

    Notes
    -----
    Convolutions, norms, pools and linear maps tell by themselves; a permutation, or a flattening,
    by what went in; a linear map over transposed tokens mixes positions, and the channels stay.
    Everything else keeps the layout of what came before: a sequence of modules that of its last,
    another block that of its input, an activation that of the nearest output of its shape before
    it, or after it. Two axes alone are tokens × channels.

    Examples
    --------
    >>> channel_axes([Output("0", (8, 4, 4), nn.Conv2d(3, 8, 1)), Output("1", (8, 4, 4), None)])
    [0, 0]
    """
    told = [channel_axis(output.module, output.shape) for output in outputs]
    seen: Seen = []
    axes: list[int | None] = []
    for position, output in enumerate(outputs):
        axis = _by_what_went_in(output, seen)
        if axis is None:
            axis = told[position]
        if axis is None:
            axis = _kept(output, seen)
        if axis is None:
            later = zip(outputs[position + 1 :], told[position + 1 :], strict=True)
            same = (found for other, found in later if other.shape == output.shape)
            axis = next((found for found in same if found is not None), None)
        if axis is None:
            axis = guess_channel_axis(output.shape, [(other.shape, at) for other, at in seen])
        axes.append(axis)
        if axis is not None and len(output.shape) > 1:
            seen.append((output, axis))
    return axes


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
    if getattr(module, "channels_are_last", False):  # a layer of Keras says so
        return len(shape) - 1
    for n_spatial, types in enumerate(CHANNELS_FIRST):
        # An output may have further axes in front (the windows of a stimulus).
        if types and isinstance(module, types) and len(shape) > n_spatial:
            return len(shape) - n_spatial - 1
    if isinstance(module, nn.BatchNorm1d):
        # Of (stimuli, channels, length), or of (stimuli × tokens, channels).
        return len(shape) - (2 if shape[-2] == module.num_features else 1)
    if isinstance(module, CHANNELS_SECOND):
        return 0
    if isinstance(module, nn.GroupNorm):
        return next((at for at, size in enumerate(shape) if size == module.num_channels), None)
    if hasattr(module, "normalized_shape"):
        return _normalised_axis(module, shape)
    if isinstance(module, CHANNELS_LAST):
        return len(shape) - 1
    return None


def _normalised_axis(module: nn.Module, shape: tuple[int, ...]) -> int | None:
    """The axis that a layer norm runs over; over several, it does not tell."""
    size = module.normalized_shape
    if isinstance(size, Sequence):
        if len(size) != 1:
            return None
        size = size[0]
    # Some libraries derive a channels-first LayerNorm2d from LayerNorm.
    first = type(module).__name__.lower().endswith("2d") and len(shape) > 2
    axis = len(shape) - (3 if first else 1)
    return axis if shape[axis] == size else None


def guess_channel_axis(
    shape: tuple[int, ...], earlier: Sequence[tuple[tuple[int, ...], int]]
) -> int | None:
    """Guess the axis of an output whose module does not tell.

    Of the earlier outputs the nearest of the same shape decides, then the nearest with as many axes
    and as many channels (positions were pooled), then the nearest that differs in the number of
    channels alone (maps were put side by side); then the usual: tokens × channels, or the channels
    first in what the model is given.

    Parameters
    ----------
    shape : tuple of int
        For one stimulus.
    earlier : sequence of (shape, axis)
        Outputs before this one whose axis is known, in call order.

    Returns
    -------
    int or None
        None where nothing supports an axis, and for an output without axes.

    Examples
    --------
    >>> guess_channel_axis((7, 7, 96), [((7, 7, 96), 2)]), guess_channel_axis((8, 4, 4), [])
    (2, 0)
    """
    if not shape:
        return None
    alike = [(known, axis) for known, axis in reversed(earlier) if len(known) == len(shape) > 1]
    for known, axis in alike:
        if known == shape:
            return axis
    for known, axis in alike:
        if known[axis] == shape[axis]:
            return axis
    for known, axis in alike:
        if _without(known, axis) == _without(shape, axis):
            return axis
    if len(shape) == 2:
        return 1
    return None if earlier and len(shape) > 2 else 0


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]


def _kept(output: Output, seen: Seen) -> int | None:
    """The axis of an output that keeps the layout of an earlier one of its shape."""
    same = [(other, axis) for other, axis in reversed(seen) if other.shape == output.shape]
    if not same:
        return None
    module = output.module
    inside = [axis for other, axis in same if output.holds(other)]
    if inside and isinstance(module, nn.Sequential) and _plain(module):
        return inside[0]
    outside = [axis for other, axis in same if not output.holds(other)]
    if module is not None and next(module.children(), None) is not None:
        # A block gives what it was given: its parts may have worked on a permuted map.
        return (outside or inside)[0]
    nearest, axis = same[0]
    return _moved(nearest, axis, output)


def _plain(module: nn.Sequential) -> bool:
    """Whether it gives what its last part gives."""
    return type(module).forward is nn.Sequential.forward


def _moved(known: Output, axis: int, output: Output) -> int:
    """Where axes are of one length, a permutation in between shows in the strides alone."""
    if output.shape.count(output.shape[axis]) < 2 or not (known.strides and output.strides):
        return axis
    if sorted(known.strides) != sorted(output.strides):
        return axis
    places = [at for at, step in enumerate(output.strides) if step == known.strides[axis]]
    return places[0] if len(places) == 1 else axis


def _by_what_went_in(output: Output, seen: Seen) -> int | None:
    """The axis of an output whose module rearranges, or mixes, what went in."""
    module, shape = output.module, output.shape
    if module is None or len(shape) < 2:
        return None
    order = _permutation(module, len(shape) + 1)
    if order is not None:
        return _permuted(shape, order, seen)
    if isinstance(module, nn.Flatten):
        return _flattened(module, shape, seen)
    if isinstance(module, nn.Linear):
        return _mixed(module, shape, seen)
    return None


def _permutation(module: nn.Module, ndim: int) -> tuple[int, ...] | None:
    """The order of axes that torchvision's ``Permute`` and ``SwapAxes`` give; None for others."""
    name = type(module).__name__
    if name == "Permute" and isinstance(getattr(module, "dims", None), Sequence):
        order = [axis % ndim for axis in module.dims]  # pyright: ignore
    elif name == "SwapAxes" and isinstance(getattr(module, "a", None), int):
        a, b = int(module.a) % ndim, int(module.b) % ndim  # pyright: ignore
        swapped = {a: b, b: a}
        order = [swapped.get(axis, axis) for axis in range(ndim)]
    else:
        return None
    return tuple(order) if order[0] == 0 and sorted(order) == list(range(ndim)) else None


def _permuted(shape: tuple[int, ...], order: tuple[int, ...], seen: Seen) -> int | None:
    before = [0] * len(shape)
    for place, axis in enumerate(order[1:]):
        before[axis - 1] = shape[place]
    for other, axis in reversed(seen):
        if other.shape == tuple(before):
            return order.index(axis + 1) - 1
    return None


def _flattened(module: nn.Flatten, shape: tuple[int, ...], seen: Seen) -> int | None:
    for other, axis in reversed(seen):
        ndim = len(other.shape) + 1
        first, last = module.start_dim % ndim - 1, module.end_dim % ndim - 1
        if not 0 <= first < last:
            continue
        flat = math.prod(other.shape[first : last + 1])
        if (*other.shape[:first], flat, *other.shape[last + 1 :]) == shape:
            if axis < first:
                return axis
            return axis - (last - first) if axis > last else None
    return None


def _mixed(module: nn.Linear, shape: tuple[int, ...], seen: Seen) -> int:
    """A linear map acts on the last axis, which holds positions if tokens were transposed."""
    last = len(shape) - 1
    before = (*shape[:-1], module.in_features)
    if before.count(module.in_features) > 1:
        return last
    for other, axis in reversed(seen):
        if other.shape == before:
            return axis
        if len(shape) == 2 and other.shape == before[::-1]:
            return 1 - axis
    return last
