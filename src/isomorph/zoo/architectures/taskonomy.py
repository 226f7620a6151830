"""The encoder that all of Taskonomy's networks share: a ResNet-50 that keeps more of the place.

Zamir et al. (2018), CVPR; Sax et al. (2018), arXiv 1812.11971.
"""

from __future__ import annotations

import torch
from torch import nn


class Bottleneck(nn.Module):
    """Three convolutions around which the input passes.

    Parameters
    ----------
    n_in, width : int
        Channels that come, and of the middle convolution; 4 × `width` go out.
    stride : int
        Of the middle convolution; the input that passes is thinned as much.
    """

    def __init__(self, n_in: int, width: int, stride: int = 1) -> None:
        super().__init__()
        n_out = 4 * width
        self.conv1 = nn.Conv2d(n_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, n_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(n_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if n_in != n_out:
            conv = nn.Conv2d(n_in, n_out, 1, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(n_out))
        elif stride > 1:
            self.downsample = nn.Sequential(nn.MaxPool2d(1, stride))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(n, n_in, h, w) to (n, 4 × width, h / stride, w / stride)."""
        passed = maps if self.downsample is None else self.downsample(maps)
        maps = self.relu(self.bn1(self.conv1(maps)))
        maps = self.relu(self.bn2(self.conv2(maps)))
        maps = self.bn3(self.conv3(maps))
        maps += passed
        return self.relu(maps)


class TaskonomyEncoder(nn.Module):
    """A ResNet-50 whose stages halve the map in their last block, the last two not at all.

    The 2048 channels are compressed to 8, each normalised over the map.
    """

    def __init__(self) -> None:
        super().__init__()
        # Padded before the convolution, with zeros.
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.layer1 = _stage(64, 64, 3, stride=2)
        self.layer2 = _stage(256, 128, 4, stride=2)
        self.layer3 = _stage(512, 256, 6)
        self.layer4 = _stage(1024, 512, 3)
        self.compress1 = nn.Conv2d(2048, 8, 3, padding=1, bias=False)
        self.compress_bn = nn.BatchNorm2d(8)
        self.relu1 = nn.ReLU(inplace=True)
        self.groupnorm = nn.GroupNorm(8, 8, affine=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(n, 3, 256, 256) to (n, 8, 16, 16)."""
        maps = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        maps = self.layer4(self.layer3(self.layer2(self.layer1(maps))))
        return self.groupnorm(self.relu1(self.compress_bn(self.compress1(maps))))


def _stage(n_in: int, width: int, n_blocks: int, stride: int = 1) -> nn.Sequential:
    inside = [Bottleneck(4 * width, width) for _ in range(n_blocks - 2)]
    last = Bottleneck(4 * width, width, stride)
    return nn.Sequential(Bottleneck(n_in, width), *inside, last)
