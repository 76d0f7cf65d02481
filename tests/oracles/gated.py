"""Residual blocks with squeeze-and-excitation or CBAM, and shortcuts of other forms, under publishers' own names."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from tests.oracles.residual import conv


class SequentialSE(nn.Module):
    """moskomule's senet.pytorch: linear layers without bias, `fc.0` and `fc.2`."""

    def __init__(self, width: int, reduction: int = 4) -> None:
        super().__init__()
        small = width // reduction
        self.fc = nn.Sequential(
            nn.Linear(width, small, bias=False), nn.ReLU(), nn.Linear(small, width, bias=False), nn.Sigmoid()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.fc(x.mean((2, 3)))[:, :, None, None]


class ConvolutionSE(nn.Module):
    """timm's: 1x1 convolutions with a bias, `fc1` and `fc2`."""

    def __init__(self, width: int, reduction: int = 4) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(width, width // reduction, 1), nn.Conv2d(width // reduction, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))).sigmoid()


class AuthorsCBAM(nn.Module):
    """Of attention-module: an MLP behind a flatten, the maximum first, a norm behind the convolution."""

    def __init__(self, width: int, reduction: int = 4) -> None:
        super().__init__()
        small = width // reduction
        self.ChannelGate, self.SpatialGate = nn.Module(), nn.Module()
        self.ChannelGate.mlp = nn.Sequential(nn.Flatten(), nn.Linear(width, small), nn.ReLU(), nn.Linear(small, width))
        self.SpatialGate.spatial = nn.Module()
        self.SpatialGate.spatial.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.SpatialGate.spatial.bn = nn.BatchNorm2d(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mlp, spatial = self.ChannelGate.mlp, self.SpatialGate.spatial
        x = x * (mlp(x.mean((2, 3))) + mlp(x.amax((2, 3)))).sigmoid()[:, :, None, None]
        pooled = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)
        return x * spatial.bn(spatial.conv(pooled)).sigmoid()


class OtherCBAM(nn.Module):
    """luuuyi's CBAM.PyTorch: 1x1 convolutions without bias, the mean first, no norm."""

    def __init__(self, width: int, reduction: int = 4) -> None:
        super().__init__()
        self.ca, self.sa = nn.Module(), nn.Module()
        small = width // reduction
        self.ca.fc1, self.ca.fc2 = nn.Conv2d(width, small, 1, bias=False), nn.Conv2d(small, width, 1, bias=False)
        self.sa.conv1 = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = self.ca.fc1, self.ca.fc2
        pooled = (x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True))
        x = x * sum(second(F.relu(first(each))) for each in pooled).sigmoid()
        return x * self.sa.conv1(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)).sigmoid()


Gate = Callable[[int], nn.Module]


class Block(nn.Module):
    """A post-activation block; `gate` is added under `gate_name`, or its children directly where that is empty."""

    def __init__(
        self, inside: int, width: int, stride: int, kernel: int, norm: bool, gate: Gate | None, gate_name: str
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(inside, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width), nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1 or inside != width:
            norms = [nn.BatchNorm2d(width)] if norm else []
            self.shortcut = nn.Sequential(conv(inside, width, kernel, stride), *norms)
        self.__dict__["gate"] = gate(width) if gate else nn.Identity()
        for name, child in [(gate_name, self.gate)] if gate_name else self.gate.named_children():
            self.add_module(name, child)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(self.gate(out) + self.shortcut(x))


class GatedResNet(nn.Module):
    """Two stages of one block on a 3x3 stem."""

    def __init__(
        self, kernel: int = 1, norm: bool = True, gate: Gate | None = None, gate_name: str = "", head: str = "linear"
    ) -> None:
        super().__init__()
        self.conv1, self.bn1, self.head = conv(3, 8), nn.BatchNorm2d(8), head
        self.layer1 = nn.Sequential(Block(8, 8, 1, kernel, norm, gate, gate_name))
        self.layer2 = nn.Sequential(Block(8, 12, 2, kernel, norm, gate, gate_name))
        self.add_module(head, nn.Linear(12, 7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x)))))
        return getattr(self, self.head)(x.mean((2, 3)))


class PreActivation(nn.Module):
    """A pre-activation block; the gate's layers lie in the block, as in pytorch-cifar's SENet."""

    def __init__(self, inside: int, width: int, stride: int, gated: bool, activated: bool) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inside), conv(inside, width, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(width), conv(width, width)
        self.gated, self.activated = gated, activated
        if stride != 1 or inside != width:
            self.shortcut = nn.Sequential(conv(inside, width, 1, stride))
        if gated:
            self.fc1, self.fc2 = nn.Conv2d(width, width // 4, 1), nn.Conv2d(width // 4, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        active = F.relu(self.bn1(x))
        skip = self.shortcut(active if self.activated else x) if hasattr(self, "shortcut") else x
        out = self.conv2(F.relu(self.bn2(self.conv1(active))))
        if self.gated:
            out = out * self.fc2(F.relu(self.fc1(out.mean((2, 3), keepdim=True)))).sigmoid()
        return out + skip


class PreActivationNet(nn.Module):
    """pytorch-cifar's SENet (a norm in the stem, gates), or RobustBench's PreActResNet (a last norm)."""

    def __init__(self, senet: bool) -> None:
        super().__init__()
        self.senet, self.conv1 = senet, conv(3, 8)
        if senet:
            self.bn1 = nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(PreActivation(8, 8, 1, senet, senet))
        self.layer2 = nn.Sequential(PreActivation(8, 12, 2, senet, senet))
        if not senet:
            self.bn = nn.BatchNorm2d(12)
        self.linear = nn.Linear(12, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv1(x)
        x = self.layer2(self.layer1(F.relu(self.bn1(x)) if self.senet else x))
        return self.linear((x if self.senet else F.relu(self.bn(x))).mean((2, 3)))
