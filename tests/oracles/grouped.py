"""ShuffleNet, version 1, as repositories for 32x32 images write it."""

import torch
import torch.nn.functional as F
from torch import nn


def shuffled(x: torch.Tensor, groups: int) -> torch.Tensor:
    """Channel i of group g comes to place i * groups + g."""
    per_group = x.shape[1] // groups
    return x[:, [group * per_group + i for i in range(per_group) for group in range(groups)]]


class NumberedBottleneck(nn.Module):
    """pytorch-cifar's: `width` counts what is computed alone, `inner` is a quarter of it."""

    def __init__(self, inside: int, width: int, halves: bool, groups: int, first: bool) -> None:
        super().__init__()
        inner, self.halves = width // 4, halves
        self.groups = 1 if first else groups
        self.conv1, self.bn1 = nn.Conv2d(inside, inner, 1, groups=self.groups, bias=False), nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, 2 if halves else 1, 1, groups=inner, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = nn.Conv2d(inner, width, 1, groups=groups, bias=False), nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = shuffled(F.relu(self.bn1(self.conv1(x))), self.groups)
        out = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(out)))))
        return F.relu(torch.cat([out, F.avg_pool2d(x, 3, 2, 1)], 1) if self.halves else out + x)


class Numbered(nn.Module):
    """pytorch-cifar's; `widths`: of the stem and the stages, `sizes`: blocks of each stage."""

    def __init__(self, widths: list[int], sizes: list[int], groups: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, widths[0], 1, bias=False), nn.BatchNorm2d(widths[0])
        for stage, (before, width, size) in enumerate(zip(widths, widths[1:], sizes, strict=False), 1):
            blocks = [NumberedBottleneck(before, width - before, True, groups, stage == 1)]
            blocks += [NumberedBottleneck(width, width, False, groups, False) for _ in range(size - 1)]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.linear = nn.Linear(widths[-1], 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


class Pair(nn.Module):
    """A convolution with its norm, in a Sequential or by name."""

    def __init__(self, name: str, *sizes: int, groups: int, stride: int = 1) -> None:
        super().__init__()
        layer = nn.Conv2d(*sizes, stride, sizes[2] // 2, groups=groups)
        self.add_module(name, nn.Sequential(layer, nn.BatchNorm2d(sizes[1])))
        self.name = name

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return getattr(self, self.name)(x)


class NamedUnit(nn.Module):
    """pytorch-cifar100's: convolutions with a bias, no activation behind the second, the pooled input in front."""

    def __init__(self, inside: int, width: int, halves: bool, groups: int, first: int) -> None:
        super().__init__()
        inner, computed = width // 4, width - inside if halves else width
        self.groups, self.halves = groups, halves
        self.bottlneck = nn.Sequential(Pair("pointwise", inside, inner, 1, groups=first), nn.ReLU())
        self.depthwise = Pair("depthwise", inner, inner, 3, groups=inner, stride=2 if halves else 1)
        self.expand = Pair("pointwise", inner, computed, 1, groups=groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.expand(self.depthwise(shuffled(self.bottlneck(x), self.groups)))
        return F.relu(torch.cat([F.avg_pool2d(x, 3, 2, 1), out], 1) if self.halves else x + out)


class Named(nn.Module):
    """pytorch-cifar100's; `first`: groups of the first convolutions of the first stage."""

    def __init__(self, widths: list[int], sizes: list[int], groups: int, first: int) -> None:
        super().__init__()
        self.conv1 = nn.Module()
        self.conv1.conv, self.conv1.bn = nn.Conv2d(3, widths[0], 3, padding=1), nn.BatchNorm2d(widths[0])
        for stage, (before, width, size) in enumerate(zip(widths, widths[1:], sizes, strict=False), 2):
            own = first if stage == 2 else groups
            blocks = [NamedUnit(before, width, True, groups, own)]
            blocks += [NamedUnit(width, width, False, groups, own) for _ in range(size - 1)]
            self.add_module(f"stage{stage}", nn.Sequential(*blocks))
        self.fc = nn.Linear(widths[-1], 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.conv1.bn(self.conv1.conv(x)))
        return self.fc(self.stage4(self.stage3(self.stage2(x))).mean((2, 3)))
