"""Networks of ImageNet's families as repositories for 32x32 images write them anew."""

import torch
import torch.nn.functional as F
from torch import nn


class CifarBottleneck(nn.Module):
    """pytorch-cifar's: a shortcut of its own wherever stride 1 changes the width."""

    def __init__(self, inside: int, width: int, expansion: int, stride: int) -> None:
        super().__init__()
        between, self.stride = expansion * inside, stride
        self.conv1, self.bn1 = nn.Conv2d(inside, between, 1, bias=False), nn.BatchNorm2d(between)
        self.conv2 = nn.Conv2d(between, between, 3, stride, 1, groups=between, bias=False)
        self.bn2 = nn.BatchNorm2d(between)
        self.conv3, self.bn3 = nn.Conv2d(between, width, 1, bias=False), nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride == 1 and inside != width:
            self.shortcut = nn.Sequential(nn.Conv2d(inside, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        out = self.bn3(self.conv3(out))
        return out + self.shortcut(x) if self.stride == 1 else out


class CifarMobileNetV2(nn.Module):
    """pytorch-cifar's; `stages`: (expansion, width, blocks, stride of the first block)."""

    def __init__(self, stages: list[tuple[int, int, int, int]], stem: int, last: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, stem, 3, 1, 1, bias=False), nn.BatchNorm2d(stem)
        blocks, before = [], stem
        for expansion, width, count, stride in stages:
            for block in range(count):
                blocks.append(CifarBottleneck(before, width, expansion, 1 if block else stride))
                before = width
        self.layers = nn.Sequential(*blocks)
        self.conv2, self.bn2 = nn.Conv2d(before, last, 1, bias=False), nn.BatchNorm2d(last)
        self.linear = nn.Linear(last, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layers(F.relu(self.bn1(self.conv1(x))))
        return self.linear(F.relu(self.bn2(self.conv2(x))).mean((2, 3)))
