import torch
from torch import nn

from tests.oracles.compare import assert_published, assert_same_logits

WIDTHS = ((8, 1), (16, 2), (16, 1), (24, 2), (24, 1), (32, 2), *[(32, 1)] * 5, (40, 2), (40, 1))
"""Of each block: channels out, stride."""


class Block(nn.Module):
    """A separable convolution under pytorch-cifar's names."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, before, 3, stride, 1, groups=before, bias=False)
        self.bn1 = nn.BatchNorm2d(before)
        self.conv2 = nn.Conv2d(before, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()


class Cifar(nn.Module):
    """Narrow, and with a stem of stride 1."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        widths = [8, *(width for width, _ in WIDTHS)]
        self.layers = nn.Sequential(*(Block(widths[n], *block) for n, block in enumerate(WIDTHS)))
        self.linear = nn.Linear(40, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.layers(self.bn1(self.conv1(x)).relu()).mean((2, 3)))


class Cifar100Block(nn.Module):
    """A separable convolution under pytorch-cifar100's names, whose 1x1 convolution has a bias."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        depthwise = nn.Conv2d(before, before, 3, stride, 1, groups=before, bias=False)
        self.depthwise = nn.Sequential(depthwise, nn.BatchNorm2d(before), nn.ReLU())
        self.pointwise = nn.Sequential(nn.Conv2d(before, width, 1), nn.BatchNorm2d(width), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pointwise(self.depthwise(x))


class Stem(nn.Module):
    """A convolution, `conv`, and its norm, `bn`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn(self.conv(x)).relu()


class Cifar100(nn.Module):
    """The same network in five parts."""

    def __init__(self) -> None:
        super().__init__()
        widths = [8, *(width for width, _ in WIDTHS)]
        blocks = [Cifar100Block(widths[n], *block) for n, block in enumerate(WIDTHS)]
        self.stem = nn.Sequential(Stem(), blocks[0])
        self.conv1, self.conv2 = nn.Sequential(*blocks[1:3]), nn.Sequential(*blocks[3:5])
        self.conv3, self.conv4 = nn.Sequential(*blocks[5:11]), nn.Sequential(*blocks[11:])
        self.fc = nn.Linear(40, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.conv4(self.conv3(self.conv2(self.conv1(self.stem(x))))).mean((2, 3)))


def test_pytorch_cifar() -> None:
    found = assert_same_logits(Cifar(), (32, 32, 3), expected="mobilenetv1, stem_width=8")
    assert "(naming: pytorch-cifar)" in found.description


def test_pytorch_cifar_100() -> None:
    found = assert_same_logits(Cifar100(), (32, 32, 3), expected="mobilenetv1, stem_width=8")
    assert "(naming: pytorch-cifar100)" in found.description


def test_published() -> None:
    found = assert_published("mobilenetv1-timm", "mobilenetv1:small=false:clipped=true ")
    assert "(naming: timm)" in found.description


def test_published_with_tensorflow_padding() -> None:
    found = assert_published("mobilenetv1-transformers", "mobilenetv1:small=false:clipped=true:same=true")
    assert "(naming: Hugging Face)" in found.description
