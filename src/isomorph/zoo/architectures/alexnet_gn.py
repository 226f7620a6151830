"""AlexNet with group normalisation, as the Vision Sciences Laboratory at Harvard trained it."""

from __future__ import annotations

import torch
from torch import nn


class UnitLength(nn.Module):
    """Divide every row by its Euclidean length."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """(n, features) to the same."""
        return rows / rows.pow(2).sum(1, keepdim=True).sqrt()


class AlexNetGN(nn.Module):
    """AlexNet with 32 groups normalised after each convolution, none of which has a bias.

    Konkle & Alvarez (2022), Nature Communications 13, 491.

    Parameters
    ----------
    out_dim : int
        128 dimensions of an embedding, or 1000 classes.
    unit_length : bool
        Give embeddings of length one.
    """

    def __init__(self, out_dim: int = 128, *, unit_length: bool = True) -> None:
        super().__init__()
        self.conv_block_1 = _convolution(3, 96, 11, stride=4, padding=2, pool=True)
        self.conv_block_2 = _convolution(96, 256, 5, padding=2, pool=True)
        self.conv_block_3 = _convolution(256, 384, 3, padding=1)
        self.conv_block_4 = _convolution(384, 384, 3, padding=1)
        self.conv_block_5 = _convolution(384, 256, 3, padding=1, pool=True)
        self.ave_pool = nn.AdaptiveAvgPool2d((6, 6))
        self.fc6 = _connected(256 * 6 * 6, 4096)
        self.fc7 = _connected(4096, 4096)
        self.fc8 = nn.Sequential(nn.Linear(4096, out_dim))
        self.l2norm = UnitLength() if unit_length else None

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(n, 3, 224, 224) to (n, out_dim)."""
        maps = self.conv_block_2(self.conv_block_1(images))
        maps = self.conv_block_5(self.conv_block_4(self.conv_block_3(maps)))
        rows = self.fc8(self.fc7(self.fc6(self.ave_pool(maps).flatten(1))))
        return rows if self.l2norm is None else self.l2norm(rows)


def _convolution(
    n_in: int, n_out: int, kernel: int, *, stride: int = 1, padding: int, pool: bool = False
) -> nn.Sequential:
    parts: list[nn.Module] = [
        nn.Conv2d(n_in, n_out, kernel, stride, padding, bias=False),
        nn.GroupNorm(32, n_out),
        nn.ReLU(inplace=True),
    ]
    return nn.Sequential(*parts, nn.MaxPool2d(3, 2)) if pool else nn.Sequential(*parts)


def _connected(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_in, n_out), nn.BatchNorm1d(n_out), nn.ReLU(inplace=True))
