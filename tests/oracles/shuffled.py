"""ShuffleNetV2 as repositories for 32x32 images write it anew."""

import torch
import torch.nn.functional as F
from torch import nn


def _convolutions(bias: bool, *plan: tuple[int, int, int, int]) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Of (channels in, channels out, kernel, stride): 3x3 convolutions are depthwise."""
    found = []
    for inside, outside, kernel, stride in plan:
        groups = inside if kernel == 3 else 1
        layer = nn.Conv2d(inside, outside, kernel, stride, kernel // 2, groups=groups, bias=bias)
        found.append((layer, nn.BatchNorm2d(outside)))
    return found


class NumberedBlock(nn.Module):
    """pytorch-cifar's: layers are numbered, in a block that halves the size over both branches."""

    def __init__(self, inside: int, width: int, halves: bool) -> None:
        super().__init__()
        half, self.halves = width // 2, halves
        first = [(inside, inside, 3, 2), (inside, half, 1, 1)] if halves else []
        second = [(inside if halves else half, half, 1, 1), (half, half, 3, 2 if halves else 1), (half, half, 1, 1)]
        for number, (layer, norm) in enumerate(_convolutions(False, *first, *second), 1):
            self.add_module(f"conv{number}", layer)
            self.add_module(f"bn{number}", norm)

    def _run(self, x: torch.Tensor, numbers: range) -> torch.Tensor:
        for number in numbers:
            layer = getattr(self, f"conv{number}")
            x = getattr(self, f"bn{number}")(layer(x))
            x = x if layer.groups > 1 else F.relu(x)
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.halves:
            branches = [self._run(x, range(1, 3)), self._run(x, range(3, 6))]
        else:
            kept, rest = x.chunk(2, 1)
            branches = [kept, self._run(rest, range(1, 4))]
        return torch.stack(branches, 2).flatten(1, 2)


class SequentialBlock(nn.Module):
    """pytorch-cifar100's: convolutions with a bias, the first of them as wide as the block's input."""

    def __init__(self, inside: int, width: int, halves: bool) -> None:
        super().__init__()
        half, stride, self.halves = width // 2, 2 if halves else 1, halves
        start = inside if halves else half
        self.residual = self._parts((start, start, 1, 1), (start, start, 3, stride), (start, half, 1, 1))
        self.shortcut = self._parts((inside, inside, 3, 2), (inside, half, 1, 1)) if halves else nn.Sequential()

    def _parts(self, *plan: tuple[int, int, int, int]) -> nn.Sequential:
        parts: list[nn.Module] = []
        for layer, norm in _convolutions(True, *plan):
            parts += [layer, norm] if layer.groups > 1 else [layer, norm, nn.ReLU()]
        return nn.Sequential(*parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept, rest = (x, x) if self.halves else x.chunk(2, 1)
        return torch.stack([self.shortcut(kept), self.residual(rest)], 2).flatten(1, 2)


def _stages(block: type[nn.Module], stem: int, widths: list[int]) -> list[nn.Sequential]:
    befores = [stem, *widths]
    return [
        nn.Sequential(block(before, width, True), block(width, width, False))
        for before, width in zip(befores, widths, strict=False)
    ]


class NumberedShuffleNet(nn.Module):
    def __init__(self, stem: int, widths: list[int], last: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, stem, 3, 1, 1, bias=False), nn.BatchNorm2d(stem)
        self.layer1, self.layer2, self.layer3 = _stages(NumberedBlock, stem, widths)
        self.conv2, self.bn2 = nn.Conv2d(widths[-1], last, 1, bias=False), nn.BatchNorm2d(last)
        self.linear = nn.Linear(last, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(F.relu(self.bn2(self.conv2(x))).mean((2, 3)))


class SequentialShuffleNet(nn.Module):
    def __init__(self, stem: int, widths: list[int], last: int) -> None:
        super().__init__()
        self.pre = nn.Sequential(nn.Conv2d(3, stem, 3, padding=1), nn.BatchNorm2d(stem))
        self.stage2, self.stage3, self.stage4 = _stages(SequentialBlock, stem, widths)
        self.conv5 = nn.Sequential(nn.Conv2d(widths[-1], last, 1), nn.BatchNorm2d(last), nn.ReLU())
        self.fc = nn.Linear(last, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.conv5(self.stage4(self.stage3(self.stage2(self.pre(x))))).mean((2, 3)))
