"""ResNets all of whose channels are multiplied, as self-supervised learning uses them.

torchvision's ``wide_resnet50_2`` widens the middle of each block alone; here all is wider.
"""

from __future__ import annotations

from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet


class WidenedResNet(ResNet):
    """A ResNet with `widen` times the channels, and no classifier.

    Parameters
    ----------
    layers : sequence of int
        Blocks of the four stages.
    widen : int
    """

    def __init__(self, layers: tuple[int, int, int, int], widen: int) -> None:
        super().__init__(Bottleneck, [1, 1, 1, 1], num_classes=1)
        base = 64 * widen
        self.inplanes = base
        self.conv1 = nn.Conv2d(3, base, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(base)
        self.layer1 = self._make_layer(Bottleneck, base, layers[0])
        self.layer2 = self._make_layer(Bottleneck, 2 * base, layers[1], stride=2)
        self.layer3 = self._make_layer(Bottleneck, 4 * base, layers[2], stride=2)
        self.layer4 = self._make_layer(Bottleneck, 8 * base, layers[3], stride=2)
        self.fc = nn.Identity()
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")


_LAYERS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 200: (3, 24, 36, 3)}


def resnet(architecture: str) -> nn.Module:
    """Build ``resnet50``, ``resnet50_w2``, ``resnet101``, … without a classifier.

    Examples
    --------
    >>> resnet("resnet50").fc
    Identity()
    """
    depth, _, widen = architecture.removeprefix("resnet").partition("_w")
    return WidenedResNet(_LAYERS[int(depth)], int(widen or 1))
