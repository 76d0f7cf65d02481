"""MNASNet as torchvision has it."""

import torch
from torch import nn

STAGES = ((3, 3, 2), (3, 5, 2), (6, 5, 2), (6, 3, 1), (6, 5, 2), (6, 3, 1))
"""Expansion, kernel, stride of the first block."""


def convolution(inside: int, outside: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    layer = nn.Conv2d(inside, outside, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(outside)]


class Residual(nn.Module):
    def __init__(self, inside: int, width: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        between, self.adds = expansion * inside, stride == 1 and inside == width
        depthwise = convolution(between, between, kernel, stride, between)
        expand, project = convolution(inside, between), convolution(between, width)
        self.layers = nn.Sequential(*expand, nn.ReLU(), *depthwise, nn.ReLU(), *project)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x) + x if self.adds else self.layers(x)


class MNASNet(nn.Module):
    """`widths`: of the separable convolution and the stages; `sizes`: blocks of each stage."""

    def __init__(
        self, stem: int, widths: list[int], sizes: tuple[int, ...] = (3, 3, 3, 2, 4, 1), last: int = 1280
    ) -> None:
        super().__init__()
        parts = [*convolution(3, stem, 3, 2), nn.ReLU(), *convolution(stem, stem, 3, 1, stem), nn.ReLU()]
        parts += convolution(stem, widths[0])
        for (expansion, kernel, stride), before, width, size in zip(STAGES, widths, widths[1:], sizes, strict=False):
            later = [Residual(width, width, expansion, kernel, 1) for _ in range(size - 1)]
            parts.append(nn.Sequential(Residual(before, width, expansion, kernel, stride), *later))
        self.layers = nn.Sequential(*parts, *convolution(widths[-1], last), nn.ReLU())
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(last, 7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.layers(x).mean((2, 3)))
