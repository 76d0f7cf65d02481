"""DenseNet as torchvision has it, as PyTorch_CIFAR10 does, and the CIFAR form."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn


class Layer(nn.Module):
    def __init__(self, inside: int, growth: int, factor: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inside), nn.Conv2d(inside, factor * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(factor * growth)
        self.conv2 = nn.Conv2d(factor * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        new = self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))
        return torch.cat([x, new], 1)


class DenseNet(nn.Module):
    """`small`: a 3x3 stem of stride 1; `pool`: the max pool behind it, which PyTorch_CIFAR10 keeps."""

    def __init__(
        self, blocks: Sequence[int], growth: int, factor: int, stem: int, small: bool = False, pool: bool = True
    ) -> None:
        super().__init__()
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(3, stem, 3, 1, 1, bias=False) if small else nn.Conv2d(3, stem, 7, 2, 3, bias=False),
            norm0=nn.BatchNorm2d(stem),
            relu0=nn.ReLU(),
            pool0=nn.MaxPool2d(3, 2, 1) if pool else nn.Identity(),
        )
        width = stem
        for block, size in enumerate(blocks, 1):
            rows = OrderedDict((f"denselayer{i + 1}", Layer(width + i * growth, growth, factor)) for i in range(size))
            parts[f"denseblock{block}"] = nn.Sequential(rows)
            width += size * growth
            if block < len(blocks):
                parts[f"transition{block}"] = nn.Sequential(
                    OrderedDict(
                        norm=nn.BatchNorm2d(width),
                        relu=nn.ReLU(),
                        conv=nn.Conv2d(width, width // 2, 1, bias=False),
                        pool=nn.AvgPool2d(2),
                    )
                )
                width //= 2
        parts["norm5"] = nn.BatchNorm2d(width)
        self.features, self.classifier = nn.Sequential(parts), nn.Linear(width, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(F.relu(self.features(x)).mean((2, 3)))


class CifarLayer(nn.Module):
    """Under the names of nets of one file; without `factor` one 3x3 convolution alone."""

    def __init__(self, inside: int, growth: int, factor: int, newest_first: bool) -> None:
        super().__init__()
        self.newest_first, self.factor = newest_first, factor
        between = factor * growth or growth
        self.bn1 = nn.BatchNorm2d(inside)
        self.conv1 = nn.Conv2d(inside, between, 1 if factor else 3, padding=0 if factor else 1, bias=False)
        if factor:
            self.bn2, self.conv2 = nn.BatchNorm2d(between), nn.Conv2d(between, growth, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        new = self.conv1(F.relu(self.bn1(x)))
        if self.factor:
            new = self.conv2(F.relu(self.bn2(new)))
        return torch.cat([new, x] if self.newest_first else [x, new], 1)


class Transition(nn.Module):
    def __init__(self, inside: int, outside: int, norm: str, relu: bool) -> None:
        super().__init__()
        self.norm, self.relu = norm, relu
        self.add_module(norm, nn.BatchNorm2d(inside))
        self.add_module("conv" if norm == "bn" else "conv1", nn.Conv2d(inside, outside, 1, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = getattr(self, self.norm)(x)
        x = F.relu(x) if self.relu else x
        return F.avg_pool2d((self.conv if self.norm == "bn" else self.conv1)(x), 2)


class CifarDenseNet(nn.Module):
    """Three blocks on a 3x3 stem. pytorch-cifar: norm "bn", head "linear"; densenet-pytorch: "bn1", "fc"."""

    def __init__(self, factor: int, *, norm: str, head: str, newest_first: bool, relu: bool = True) -> None:
        super().__init__()
        growth, width, self.head = 4, 8, head
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        for block, size in enumerate((1, 2, 1), 1):
            parts = [CifarLayer(width + i * growth, growth, factor, newest_first) for i in range(size)]
            self.add_module(f"dense{block}", nn.Sequential(*parts))
            width += size * growth
            if block < 3:
                # Without bottlenecks nothing is halved either.
                self.add_module(f"trans{block}", Transition(width, width // 2 if factor else width, norm, relu))
                width = width // 2 if factor else width
        self.bn, _ = nn.BatchNorm2d(width), self.add_module(head, nn.Linear(width, 7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.trans1(self.dense1(self.conv1(x)))
        x = self.dense3(self.trans2(self.dense2(x)))
        return getattr(self, self.head)(F.relu(self.bn(x)).mean((2, 3)))
