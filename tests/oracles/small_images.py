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


def _layers(*parts: nn.Module) -> nn.Sequential:
    """Each convolution followed by its norm and a ReLU."""
    found: list[nn.Module] = []
    for part in parts:
        found.append(part)
        if isinstance(part, nn.Conv2d):
            found += [nn.BatchNorm2d(part.out_channels), nn.ReLU()]
    return nn.Sequential(*found)


class CifarInception(nn.Module):
    def __init__(self, inside: int, widths: tuple[int, int, int, int, int, int], slips: bool) -> None:
        super().__init__()
        one, reduced_3, three, reduced_5, five, pooled = widths
        self.b1 = _layers(nn.Conv2d(inside, one, 1))
        self.b2 = _layers(nn.Conv2d(inside, reduced_3, 1), nn.Conv2d(reduced_3, three, 3, padding=1))
        fifth = (nn.Conv2d(reduced_5, five, 3, padding=1), nn.Conv2d(five, five, 3, padding=1))
        self.b3 = _layers(nn.Conv2d(inside, reduced_5, 1), *fifth)
        if slips:
            self.b3[4].eps = float(five)
        self.b4 = _layers(nn.MaxPool2d(3, 1, 1), nn.Conv2d(inside, pooled, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.b1(x), self.b2(x), self.b3(x), self.b4(x)], 1)


class CifarGoogLeNet(nn.Module):
    """pytorch-cifar's; `slips`: pytorch-cifar100's, with the width of a norm as its epsilon and an unpadded stem."""

    def __init__(self, widths: list[tuple[int, int, int, int, int, int]], stem: int, slips: bool) -> None:
        super().__init__()
        self.stem = "prelayer" if slips else "pre_layers"
        self.add_module(self.stem, _layers(nn.Conv2d(3, stem, 3, padding=0 if slips else 1)))
        before, self.places = stem, ("a3", "b3", "a4", "b4", "c4", "d4", "e4", "a5", "b5")
        for place, sizes in zip(self.places, widths, strict=True):
            self.add_module(place, CifarInception(before, sizes, slips))
            before = sizes[0] + sizes[2] + sizes[4] + sizes[5]
        self.linear = nn.Linear(before, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = getattr(self, self.stem)(x)
        for place in self.places:
            x = F.max_pool2d(x, 3, 2, 1) if place in ("a4", "a5") else x
            x = getattr(self, place)(x)
        return self.linear(x.mean((2, 3)))


class Squeeze(nn.Module):
    def __init__(self, width: int, squeezed: int, swish: bool) -> None:
        super().__init__()
        self.se1, self.se2 = nn.Conv2d(width, squeezed, 1), nn.Conv2d(squeezed, width, 1)
        self.between = F.silu if swish else F.relu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.se2(self.between(self.se1(x.mean((2, 3), keepdim=True)))).sigmoid()


class GroupedBottleneck(nn.Module):
    """pytorch-cifar's of RegNets; `squeezed` 0 is without squeeze-and-excitation."""

    def __init__(self, inside: int, inner: int, width: int, groups: int, squeezed: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inside, inner, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.se = Squeeze(inner, squeezed, swish=False) if squeezed else nn.Identity()
        self.conv3, self.bn3 = nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1 or inside != width:
            self.shortcut = nn.Sequential(nn.Conv2d(inside, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(self.bn3(self.conv3(self.se(out))) + self.shortcut(x))


class CifarRegNet(nn.Module):
    """pytorch-cifar's; `stages`: (blocks, inner, width, groups)."""

    def __init__(self, stages: list[tuple[int, int, int, int]], stem: int, squeezes: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, stem, 3, 1, 1, bias=False), nn.BatchNorm2d(stem)
        self.count, before = len(stages), stem
        for stage, (size, inner, width, groups) in enumerate(stages, 1):
            blocks = []
            for number in range(size):
                squeezed, stride = before // 4 if squeezes else 0, 2 if stage > 2 and number == 0 else 1
                blocks.append(GroupedBottleneck(before, inner, width, groups, squeezed, stride))
                before = width
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.linear = nn.Linear(before, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in range(1, self.count + 1):
            x = getattr(self, f"layer{stage}")(x)
        return self.linear(x.mean((2, 3)))


class CifarInverted(nn.Module):
    """pytorch-cifar's of EfficientNets: layers that would expand are there where they are not called, too."""

    def __init__(self, inside: int, sizes: tuple[int, ...]) -> None:
        super().__init__()
        width, expanded, kernel, squeezed, stride = sizes
        self.expands, self.adds = expanded != inside, stride == 1 and inside == width
        self.conv1, self.bn1 = nn.Conv2d(inside, expanded, 1, bias=False), nn.BatchNorm2d(expanded)
        self.conv2 = nn.Conv2d(expanded, expanded, kernel, stride, kernel // 2, groups=expanded, bias=False)
        self.bn2, self.se = nn.BatchNorm2d(expanded), Squeeze(expanded, squeezed, swish=True)
        self.conv3, self.bn3 = nn.Conv2d(expanded, width, 1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = F.silu(self.bn1(self.conv1(x))) if self.expands else x
        out = self.bn3(self.conv3(self.se(F.silu(self.bn2(self.conv2(out))))))
        return out + x if self.adds else out


class CifarEfficientNet(nn.Module):
    """pytorch-cifar's; `stages`: rows of (width, expanded, kernel, squeezed, stride) of each stage's blocks."""

    def __init__(self, stages: list[list[tuple[int, ...]]], stem: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, stem, 3, 1, 1, bias=False), nn.BatchNorm2d(stem)
        rows = [sizes for stage in stages for sizes in stage]
        befores = [stem, *(width for width, *_ in rows)]
        self.layers = nn.Sequential(*map(CifarInverted, befores, rows))
        self.linear = nn.Linear(befores[-1], 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.layers(F.silu(self.bn1(self.conv1(x)))).mean((2, 3)))
