"""CORnets: shallow networks with one area for each of V1, V2, V4 and IT.

Kubilius et al. (2018), bioRxiv 408385; Kubilius, Schrimpf et al. (2019), NeurIPS. Written from the
papers; the names of the weights are those of the published files. A module that is called at every
step of time has one output for each step (``V1.nonlin1``, ``V1.nonlin1#1``, …).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

AREAS = ("V1", "V2", "V4", "IT")
STEPS = 5  # of time, in R and RT


class FeedforwardArea(nn.Module):
    """An area of CORnet-Z: a convolution, a ReLU and pooling."""

    def __init__(self, n_in: int, n_out: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2)
        self.nonlin = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(3, 2, 1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """What comes from the area before to this one's output."""
        return self.pool(self.nonlin(self.conv(maps)))


class RecurrentArea(nn.Module):
    """An area of CORnet-R and RT: its input plus what it was, convolved again.

    Parameters
    ----------
    n_in, n_out : int
        Channels.
    kernel, stride : int
        Of the convolution of its input.
    """

    def __init__(self, n_in: int, n_out: int, kernel: int = 3, stride: int = 2) -> None:
        super().__init__()
        self.conv_input = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2)
        self.norm_input = nn.GroupNorm(32, n_out)
        self.nonlin_input = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(32, n_out)
        self.nonlin1 = nn.ReLU(inplace=True)

    def forward(self, before: torch.Tensor | None, state: torch.Tensor) -> torch.Tensor:
        """One step.

        Parameters
        ----------
        before : torch.Tensor or None
            Output of the area before; None as long as nothing has come.
        state : torch.Tensor
            This area's output one step ago.
        """
        drive = state
        if before is not None:
            drive = self.nonlin_input(self.norm_input(self.conv_input(before))) + state
        return self.nonlin1(self.norm1(self.conv1(drive)))


class RecurrentCORnet(nn.Module):
    """CORnet-R and CORnet-RT.

    Parameters
    ----------
    in_time : bool
        RT: at each step an area receives what the area before gave at the step *before*
        ("biological unrolling"). R: what the area before gives at this very step.
    """

    def __init__(self, *, in_time: bool) -> None:
        super().__init__()
        self.in_time = in_time
        self.V1 = RecurrentArea(3, 64, kernel=7, stride=4)
        self.V2 = RecurrentArea(64, 128)
        self.V4 = RecurrentArea(128, 256)
        self.IT = RecurrentArea(256, 512)
        self.decoder = nn.Sequential()
        self.decoder.add_module("avgpool", nn.AdaptiveAvgPool2d(1))
        self.decoder.add_module("flatten", nn.Flatten())
        self.decoder.add_module("linear", nn.Linear(512, 1000))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(n, 3, height, width) to (n, 1000)."""
        areas = [self.get_submodule(name) for name in AREAS]
        outputs: list[torch.Tensor] = self._silence(images)
        for step in range(STEPS):
            # At the first step, the image has reached V1 alone.
            heard = [images, *outputs]
            for place, area in enumerate(areas):
                reached = place == 0 or step > 0
                before = heard[place] if self.in_time or place == 0 else outputs[place - 1]
                outputs[place] = area(before if reached else None, outputs[place])
        return self.decoder(outputs[-1])

    def _silence(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Zeros of the shapes that the areas give."""
        sides, outputs = list(images.shape[2:]), []
        for name in AREAS:
            first: Any = self.get_submodule(f"{name}.conv_input")
            kernel, stride, padding = first.kernel_size[0], first.stride[0], first.padding[0]
            sides = [(side + 2 * padding - kernel) // stride + 1 for side in sides]
            outputs.append(images.new_zeros(len(images), first.out_channels, *sides))
        return outputs


class BottleneckArea(nn.Module):
    """An area of CORnet-S: a bottleneck that is run several times, normalised anew each time.

    Parameters
    ----------
    n_in, n_out : int
        Channels.
    times : int
        Steps of time.
    """

    def __init__(self, n_in: int, n_out: int, times: int) -> None:
        super().__init__()
        self.times = times
        wide = 4 * n_out
        self.conv_input = nn.Conv2d(n_in, n_out, 1, bias=False)
        self.skip = nn.Conv2d(n_out, n_out, 1, stride=2, bias=False)
        self.norm_skip = nn.BatchNorm2d(n_out)
        self.conv1 = nn.Conv2d(n_out, wide, 1, bias=False)
        self.nonlin1 = nn.ReLU(inplace=True)
        self.conv2 = StridedOnce(wide, wide, 3, padding=1, bias=False)
        self.nonlin2 = nn.ReLU(inplace=True)
        self.conv3 = nn.Conv2d(wide, n_out, 1, bias=False)
        self.nonlin3 = nn.ReLU(inplace=True)
        for step in range(times):
            self.add_module(f"norm1_{step}", nn.BatchNorm2d(wide))
            self.add_module(f"norm2_{step}", nn.BatchNorm2d(wide))
            self.add_module(f"norm3_{step}", nn.BatchNorm2d(n_out))

    def forward(self, before: torch.Tensor) -> torch.Tensor:
        """What comes from the area before to this one's output after its last step."""
        state = self.conv_input(before)
        for step in range(self.times):
            norm1, norm2, norm3 = (self.get_submodule(f"norm{i}_{step}") for i in (1, 2, 3))
            kept = state if step else self.norm_skip(self.skip(state))
            state = self.nonlin1(norm1(self.conv1(state)))
            state = self.nonlin2(norm2(self.conv2(state, halve=step == 0)))
            state = self.nonlin3(norm3(self.conv3(state)) + kept)
        return state


class StridedOnce(nn.Conv2d):
    """A convolution that is asked at each call whether it halves the map."""

    def forward(self, input: torch.Tensor, *, halve: bool = False) -> torch.Tensor:
        """As `torch.nn.Conv2d`."""
        stride = 2 if halve else 1
        return functional.conv2d(input, self.weight, self.bias, stride, self.padding)


def cornet_z() -> nn.Module:
    """CORnet-Z, without recurrence."""
    areas = [FeedforwardArea(3, 64, kernel=7, stride=2)]
    areas += [FeedforwardArea(64 * n, 128 * n) for n in (1, 2, 4)]
    network = _chain(zip(AREAS, areas, strict=True))
    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            assert part.bias is not None
            nn.init.zeros_(part.bias)
    return network


def cornet_r() -> nn.Module:
    """CORnet-R: within a step, areas follow each other."""
    return RecurrentCORnet(in_time=False)


def cornet_rt() -> nn.Module:
    """CORnet-RT: it takes a step from one area to the next."""
    return RecurrentCORnet(in_time=True)


def cornet_s() -> nn.Module:
    """CORnet-S, with bottlenecks."""
    first = nn.Sequential()
    first.add_module("conv1", nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False))
    first.add_module("norm1", nn.BatchNorm2d(64))
    first.add_module("nonlin1", nn.ReLU(inplace=True))
    first.add_module("pool", nn.MaxPool2d(3, 2, 1))
    first.add_module("conv2", nn.Conv2d(64, 64, 3, padding=1, bias=False))
    first.add_module("norm2", nn.BatchNorm2d(64))
    first.add_module("nonlin2", nn.ReLU(inplace=True))
    areas = [BottleneckArea(64, 128, 2), BottleneckArea(128, 256, 4), BottleneckArea(256, 512, 2)]
    network = _chain(zip(AREAS, [first, *areas], strict=True))
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            n_out = part.kernel_size[0] * part.kernel_size[1] * part.out_channels
            nn.init.normal_(part.weight, 0, math.sqrt(2 / n_out))
    return network


def _chain(areas: Iterable[tuple[str, nn.Module]]) -> nn.Sequential:
    network = nn.Sequential()
    for name, area in areas:
        network.add_module(name, area)
    decoder = nn.Sequential()
    decoder.add_module("avgpool", nn.AdaptiveAvgPool2d(1))
    decoder.add_module("flatten", nn.Flatten())
    decoder.add_module("linear", nn.Linear(512, 1000))
    network.add_module("decoder", decoder)
    return network
