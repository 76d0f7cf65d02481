"""WideResNets of semi-supervised learning: of MixMatch-pytorch and FixMatch-pytorch, of TorchSSL, of USB."""

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    """`shared`: where the width changes, both branches take the activated input, otherwise the input itself."""

    def __init__(self, inside: int, width: int, stride: int, shared: bool, biased: bool) -> None:
        super().__init__()
        epsilon = 1e-3 if biased else 1e-5
        self.bn1, self.bn2 = nn.BatchNorm2d(inside, epsilon), nn.BatchNorm2d(width, epsilon)
        self.conv1 = nn.Conv2d(inside, width, 3, stride, 1, bias=biased)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=biased)
        self.same, self.shared = inside == width, shared
        if not self.same:
            self.convShortcut = nn.Conv2d(inside, width, 1, stride, bias=biased)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        active = F.leaky_relu(self.bn1(x), 0.1)
        if not self.same and self.shared:
            x = active
        out = self.conv1(active if self.same else x)
        out = self.conv2(F.leaky_relu(self.bn2(out), 0.1))
        return out + (x if self.same else self.convShortcut(x))


class SemiSupervisedWideResNet(nn.Module):
    """Depth 16 and factor 1; `shared` blocks in every group (USB's) or in the first only; `biased`: TorchSSL and USB.

    `first`: channels of the first group.
    """

    def __init__(self, *, shared: bool, biased: bool = False, first: int = 32) -> None:
        super().__init__()
        self.conv1, before = nn.Conv2d(3, 16, 3, padding=1, bias=biased), 16
        for group, width in enumerate((first, 48, 64), 1):
            blocks = []
            for block in range(2):
                stride = 2 if group > 1 and block == 0 else 1
                blocks.append(Block(before, width, stride, shared or group == 1, biased))
                before = width
            self.add_module(f"block{group}", nn.ModuleDict({"layer": nn.Sequential(*blocks)}))
        self.bn1, self.fc = nn.BatchNorm2d(before, 1e-3 if biased else 1e-5), nn.Linear(before, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv1(x)
        for group in (self.block1, self.block2, self.block3):
            x = group["layer"](x)
        return self.fc(F.leaky_relu(self.bn1(x), 0.1).mean((2, 3)))
