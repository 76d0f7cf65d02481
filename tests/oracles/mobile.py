"""MobileNetV3 and EfficientNet as torchvision has them: the same block, other activations, gates and epsilons."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

Activation = Callable[[], nn.Module]


def triple(
    inside: int, outside: int, kernel: int, stride: int, groups: int, eps: float, activation: Activation | None
) -> nn.Sequential:
    layer = nn.Conv2d(inside, outside, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outside, eps), *([activation()] if activation else []))


class Squeeze(nn.Module):
    def __init__(self, width: int, squeezed: int, activation: Activation, gate: Activation) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(width, squeezed, 1), nn.Conv2d(squeezed, width, 1)
        self.activation, self.gate = activation(), gate()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(self.fc2(self.activation(self.fc1(F.adaptive_avg_pool2d(x, 1)))))


class Inverted(nn.Module):
    def __init__(
        self,
        inside: int,
        sizes: Sequence[int],
        stride: int,
        eps: float,
        activation: Activation,
        squeeze_activation: Activation,
        gate: Activation,
    ) -> None:
        super().__init__()
        width, expanded, kernel, squeezed = sizes
        parts: list[nn.Module] = []
        if expanded != inside:
            parts.append(triple(inside, expanded, 1, 1, 1, eps, activation))
        parts.append(triple(expanded, expanded, kernel, stride, expanded, eps, activation))
        if squeezed:
            parts.append(Squeeze(expanded, squeezed, squeeze_activation, gate))
        parts.append(triple(expanded, width, 1, 1, 1, eps, None))
        self.block = nn.Sequential(*parts)
        self.residual = stride == 1 and inside == width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.block(x) if self.residual else self.block(x)


class MobileNetV3(nn.Module):
    """`rows`: (width, expanded, kernel, squeezed, hard swish, stride) of each block, as in the paper's tables."""

    def __init__(self, rows: Sequence[tuple[int, int, int, int, bool, int]], stem: int, last: int, hidden: int) -> None:
        super().__init__()
        parts: list[nn.Module] = [triple(3, stem, 3, 2, 1, 1e-3, nn.Hardswish)]
        before = stem
        for *sizes, swish, stride in rows:
            activation = nn.Hardswish if swish else nn.ReLU
            parts.append(Inverted(before, sizes, stride, 1e-3, activation, nn.ReLU, nn.Hardsigmoid))
            before = sizes[0]
        parts.append(triple(before, last, 1, 1, 1, 1e-3, nn.Hardswish))
        self.features = nn.Sequential(*parts)
        self.classifier = nn.Sequential(nn.Linear(last, hidden), nn.Hardswish(), nn.Dropout(), nn.Linear(hidden, 7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


class EfficientNet(nn.Module):
    """`stages`: rows of (width, expanded, kernel, squeezed, stride) of each stage's blocks."""

    def __init__(self, stages: Sequence[Sequence[tuple[int, ...]]], stem: int, last: int, eps: float = 1e-5) -> None:
        super().__init__()
        parts: list[nn.Module] = [triple(3, stem, 3, 2, 1, eps, nn.SiLU)]
        before = stem
        for rows in stages:
            blocks = []
            for *sizes, stride in rows:
                blocks.append(Inverted(before, sizes, stride, eps, nn.SiLU, nn.SiLU, nn.Sigmoid))
                before = sizes[0]
            parts.append(nn.Sequential(*blocks))
        parts.append(triple(before, last, 1, 1, 1, eps, nn.SiLU))
        self.features = nn.Sequential(*parts)
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(last, 7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


def pad_for(network: EfficientNet, side: int | None) -> EfficientNet:
    """Pads as EfficientNet-PyTorch does: at every size as "SAME" pads images of `side`; None is by their own size."""

    def widths(kernel: int, side: int) -> list[int]:
        pad = max((math.ceil(side / 2) - 1) * 2 + kernel - side, 0)
        return [pad // 2, pad - pad // 2]

    def padded(conv: nn.Conv2d, side: int | None) -> None:
        def before(_: nn.Module, images: tuple[torch.Tensor]) -> torch.Tensor:
            height, width = (side, side) if side else images[0].shape[2:]
            kernel = conv.kernel_size[0]
            return F.pad(images[0], widths(kernel, width) + widths(kernel, height))

        conv.padding = (0, 0)
        conv.register_forward_pre_hook(before)

    for conv in network.modules():
        if isinstance(conv, nn.Conv2d) and conv.stride == (2, 2):
            padded(conv, side)
            side = math.ceil(side / 2) if side else None
    return network
