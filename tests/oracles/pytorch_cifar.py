"""Networks of pytorch-cifar that few others write: layer aggregation, two paths, cells found by search."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from tests.oracles.residual import ResidualBlock, conv


def block(inside: int, width: int, stride: int = 1) -> ResidualBlock:
    return ResidualBlock(inside, width, stride, bottleneck=False, skip="shortcut")


class Root(nn.Module):
    def __init__(self, inside: int, width: int) -> None:
        super().__init__()
        self.conv, self.bn = conv(inside, width, 1), nn.BatchNorm2d(width)

    def forward(self, parts: list[torch.Tensor]) -> torch.Tensor:
        return F.relu(self.bn(self.conv(torch.cat(parts, 1))))


class HalvedTree(nn.Module):
    """The simple form's."""

    def __init__(self, inside: int, width: int, level: int, stride: int) -> None:
        super().__init__()
        self.root = Root(2 * width, width)
        if level == 1:
            self.left_tree, self.right_tree = block(inside, width, stride), block(width, width)
        else:
            self.left_tree = HalvedTree(inside, width, level - 1, stride)
            self.right_tree = HalvedTree(width, width, level - 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left = self.left_tree(x)
        return self.root([left, self.right_tree(left)])


class Tree(nn.Module):
    """`previous`: with a block of the tree's own input, which older copies lack."""

    def __init__(self, inside: int, width: int, level: int, stride: int, previous: bool = True) -> None:
        super().__init__()
        self.level, before = level, inside
        for smaller in range(level - 1, 0, -1):
            self.add_module(f"level_{smaller}", Tree(before, width, smaller, stride, previous))
            before = width
        self.prev_root = block(inside, width, stride) if previous and level > 1 else None
        self.left_node = block(before, width, stride if level == 1 else 1)
        self.right_node = block(width, width)
        self.root = Root(width * (level + 1 + (self.prev_root is not None)), width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [] if self.prev_root is None else [self.prev_root(x)]
        for smaller in range(self.level - 1, 0, -1):
            x = getattr(self, f"level_{smaller}")(x)
            parts.append(x)
        left = self.left_node(x)
        return self.root([*parts, left, self.right_node(left)])


class DLA(nn.Module):
    def __init__(
        self,
        tree: Callable[[int, int, int, int], nn.Module],
        stem: Sequence[int],
        widths: Sequence[int],
        levels: Sequence[int],
    ) -> None:
        super().__init__()
        before = 3
        for name, width in zip(("base", "layer1", "layer2"), stem, strict=True):
            self.add_module(name, nn.Sequential(conv(before, width), nn.BatchNorm2d(width), nn.ReLU()))
            before = width
        for number, (width, level) in enumerate(zip(widths, levels, strict=True), 3):
            self.add_module(f"layer{number}", tree(before, width, level, 1 if number == 3 else 2))
            before = width
        self.linear = nn.Linear(before, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for name, part in self.named_children():
            x = part(x) if name != "linear" else part(x.mean((2, 3)))
        return x


class DualPathBlock(nn.Module):
    def __init__(self, inside: int, inner: int, width: int, dense: int, groups: int, stride: int, first: bool) -> None:
        super().__init__()
        self.width = width
        self.conv1, self.bn1 = conv(inside, inner, 1), nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = conv(inner, width + dense, 1), nn.BatchNorm2d(width + dense)
        self.shortcut = nn.Sequential()
        if first:
            self.shortcut = nn.Sequential(conv(inside, width + dense, 1, stride), nn.BatchNorm2d(width + dense))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        found, kept = self.bn3(self.conv3(found)), self.shortcut(x)
        added = kept[:, : self.width] + found[:, : self.width]
        return F.relu(torch.cat([added, kept[:, self.width :], found[:, self.width :]], 1))


class DPN(nn.Module):
    """`stages`: (blocks, inner, width, dense) of each."""

    def __init__(self, stages: Sequence[tuple[int, int, int, int]], stem: int, groups: int) -> None:
        super().__init__()
        self.conv1, self.bn1, before = conv(3, stem), nn.BatchNorm2d(stem), stem
        self.count = len(stages)
        for stage, (size, inner, width, dense) in enumerate(stages):
            blocks = []
            for number in range(size):
                stride = 2 if stage and not number else 1
                blocks.append(DualPathBlock(before, inner, width, dense, groups, stride, number == 0))
                before = width + (number + 2) * dense
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.linear = nn.Linear(before, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in range(1, self.count + 1):
            x = getattr(self, f"layer{stage}")(x)
        return self.linear(x.mean((2, 3)))


class Separable(nn.Module):
    def __init__(self, inside: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, width, kernel, stride, kernel // 2, groups=inside, bias=False)
        self.bn1 = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn1(self.conv1(x))


class Cell(nn.Module):
    """`pairs`: cell B."""

    def __init__(self, inside: int, width: int, stride: int, pairs: bool) -> None:
        super().__init__()
        self.stride, self.pairs, self.sep_conv1 = stride, pairs, Separable(inside, width, 7, stride)
        if pairs:
            self.sep_conv2, self.sep_conv3 = (Separable(inside, width, kernel, stride) for kernel in (3, 5))
            self.conv2, self.bn2 = conv(2 * width, width, 1), nn.BatchNorm2d(width)
        if stride == 2:
            self.conv1, self.bn1 = conv(inside, width, 1), nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = F.max_pool2d(x, 3, self.stride, 1)
        pooled = self.bn1(self.conv1(pooled)) if self.stride == 2 else pooled
        if not self.pairs:
            return F.relu(self.sep_conv1(x) + pooled)
        both = [F.relu(self.sep_conv1(x) + self.sep_conv2(x)), F.relu(pooled + self.sep_conv3(x))]
        return F.relu(self.bn2(self.conv2(torch.cat(both, 1))))


class PNASNet(nn.Module):
    def __init__(self, pairs: bool, width: int, cells: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(3, width), nn.BatchNorm2d(width)

        def stage(width: int) -> nn.Sequential:
            return nn.Sequential(*(Cell(width, width, 1, pairs) for _ in range(cells)))

        self.layer1, self.layer2 = stage(width), Cell(width, 2 * width, 2, pairs)
        self.layer3, self.layer4 = stage(2 * width), Cell(2 * width, 4 * width, 2, pairs)
        self.layer5, self.linear = stage(4 * width), nn.Linear(4 * width, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer1(F.relu(self.bn1(self.conv1(x))))
        return self.linear(self.layer5(self.layer4(self.layer3(self.layer2(x)))).mean((2, 3)))
