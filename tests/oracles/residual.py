"""PreActResNet (BackdoorBench), ResNet (torchvision and CIFAR forms), WideResNet (NAD)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

Activation = Callable[[torch.Tensor], torch.Tensor]


def conv(inside: int, outside: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False)


class PreActBlock(nn.Module):
    def __init__(self, inside: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        plan = (
            [(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)]
            if bottleneck
            else [(width, 3, stride), (width, 3, 1)]
        )
        self.parts, before = len(plan), inside
        for number, (outside, kernel, step) in enumerate(plan, 1):
            self.add_module(f"bn{number}", nn.BatchNorm2d(before))
            self.add_module(f"conv{number}", conv(before, outside, kernel, step))
            before = outside
        if stride != 1 or inside != before:
            self.shortcut = nn.Sequential(conv(inside, before, 1, stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        active = F.relu(self.bn1(x))
        skip = self.shortcut(active) if hasattr(self, "shortcut") else x
        out = self.conv1(active)
        for number in range(2, self.parts + 1):
            out = getattr(self, f"conv{number}")(F.relu(getattr(self, f"bn{number}")(out)))
        return out + skip


class PreActResNet(nn.Module):
    def __init__(self, sizes: list[int], widths: list[int], bottleneck: bool, classes: int, channels: int = 3) -> None:
        super().__init__()
        self.conv1 = conv(channels, widths[0])
        before, self.stages = widths[0], len(sizes)
        for stage, (size, width) in enumerate(zip(sizes, widths, strict=True), 1):
            blocks = []
            for block in range(size):
                blocks.append(PreActBlock(before, width, 2 if stage > 1 and block == 0 else 1, bottleneck))
                before = width * (4 if bottleneck else 1)
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.linear = nn.Linear(before, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv1(x)
        for stage in range(1, self.stages + 1):
            x = getattr(self, f"layer{stage}")(x)
        return self.linear(x.mean((2, 3)))


class ResidualBlock(nn.Module):
    """`skip` names the shortcut; "pad" is option A: strided pixels between zero channels."""

    def __init__(
        self, inside: int, width: int, stride: int, bottleneck: bool, skip: str, activation: Activation = F.relu
    ) -> None:
        super().__init__()
        self.activation = activation
        plan = (
            [(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)]
            if bottleneck
            else [(width, 3, stride), (width, 3, 1)]
        )
        self.parts, before = len(plan), inside
        for number, (outside, kernel, step) in enumerate(plan, 1):
            self.add_module(f"conv{number}", conv(before, outside, kernel, step))
            self.add_module(f"bn{number}", nn.BatchNorm2d(outside))
            before = outside
        self.skip, self.stride, self.added = skip, stride, before - inside
        if skip != "pad" and (stride != 1 or self.added):
            self.add_module(skip, nn.Sequential(conv(inside, before, 1, stride), nn.BatchNorm2d(before)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = x
        for number in range(1, self.parts + 1):
            out = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(out))
            out = self.activation(out) if number < self.parts else out
        if self.skip == "pad":
            side = self.added // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, side, side))
        elif hasattr(self, self.skip):
            x = getattr(self, self.skip)(x)
        return self.activation(out + x)


class ResNet(nn.Module):
    def __init__(
        self,
        sizes: list[int],
        widths: list[int],
        *,
        bottleneck: bool = False,
        imagenet: bool,
        skip: str,
        head: str,
        activation: Activation = F.relu,
    ) -> None:
        super().__init__()
        self.activation = activation
        before, self.stages, self.head = widths[0], len(sizes), head
        self.conv1 = conv(3, before, 7, 2) if imagenet else conv(3, before)
        self.pool = nn.MaxPool2d(3, 2, 1) if imagenet else nn.Identity()
        self.bn1 = nn.BatchNorm2d(before)
        for stage, (size, width) in enumerate(zip(sizes, widths, strict=True), 1):
            blocks = []
            for block in range(size):
                stride = 2 if stage > 1 and block == 0 else 1
                blocks.append(ResidualBlock(before, width, stride, bottleneck, skip, activation))
                before = width * (4 if bottleneck else 1)
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.add_module(head, nn.Linear(before, 7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.activation(self.bn1(self.conv1(x))))
        for stage in range(1, self.stages + 1):
            x = getattr(self, f"layer{stage}")(x)
        return getattr(self, self.head)(x.mean((2, 3)))


class WideBlock(nn.Module):
    def __init__(self, inside: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inside), conv(inside, width, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(width), conv(width, width)
        self.convShortcut = None if inside == width else conv(inside, width, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        active = F.relu(self.bn1(x))
        out = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return out + (x if self.convShortcut is None else self.convShortcut(active))


class WideResNet(nn.Module):
    """`trades`: with the group that TRADES defines and never calls."""

    def __init__(self, depth: int, factor: int, trades: bool = False) -> None:
        super().__init__()
        self.conv1 = conv(3, 16)
        before = 16
        for group in (1, 2, 3):
            width = 8 * 2**group * factor
            blocks = []
            for block in range((depth - 4) // 6):
                blocks.append(WideBlock(before, width, 2 if group > 1 and block == 0 else 1))
                before = width
            self.add_module(f"block{group}", nn.ModuleDict({"layer": nn.Sequential(*blocks)}))
        if trades:
            self.sub_block1 = nn.ModuleDict({"layer": nn.Sequential(WideBlock(16, 16 * factor, 1))})
        self.bn1 = nn.BatchNorm2d(before)
        self.fc = nn.Linear(before, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv1(x)
        for group in (self.block1, self.block2, self.block3):
            x = group["layer"](x)
        return self.fc(F.relu(self.bn1(x)).mean((2, 3)))


class DeepMindBlock(nn.Module):
    """RobustBench's port: SiLU, strided convolutions padded below and to the right."""

    def __init__(self, inside: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride, self.batchnorm_0 = stride, nn.BatchNorm2d(inside)
        self.conv_0 = nn.Conv2d(inside, width, 3, stride, padding=0, bias=False)
        self.batchnorm_1, self.conv_1 = nn.BatchNorm2d(width), conv(width, width)
        if inside != width:
            self.shortcut = conv(inside, width, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        active = F.silu(self.batchnorm_0(x))
        padded = F.pad(active, (1, 1, 1, 1) if self.stride == 1 else (0, 1, 0, 1))
        out = self.conv_1(F.silu(self.batchnorm_1(self.conv_0(padded))))
        return out + (self.shortcut(active) if hasattr(self, "shortcut") else x)


class DeepMindWideResNet(nn.Module):
    def __init__(self, factor: int) -> None:
        super().__init__()
        self.init_conv, self.layer = conv(3, 16), nn.Sequential()
        before = 16
        for group in (1, 2, 3):
            width = 8 * 2**group * factor
            block = DeepMindBlock(before, width, 1 if group == 1 else 2)
            self.layer.append(nn.ModuleDict({"block": nn.Sequential(block)}))
            before = width
        self.batchnorm, self.logits = nn.BatchNorm2d(before), nn.Linear(before, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.init_conv(x)
        for group in self.layer:
            x = group["block"](x)
        return self.logits(F.silu(self.batchnorm(x)).mean((2, 3)))
