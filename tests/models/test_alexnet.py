import torch
from torch import nn

from tests.oracles.compare import assert_same_logits

WIDTHS = (6, 8, 5, 7, 4)


def features(window: int, padding: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    before = 3
    for width, kernel, pad, stride, pooled in zip(
        WIDTHS, (11, 5, 3, 3, 3), (padding, 2, 1, 1, 1), (4, 1, 1, 1, 1), (1, 1, 0, 0, 1), strict=True
    ):
        parts += [nn.Conv2d(before, width, kernel, stride, pad), nn.ReLU(), *[nn.MaxPool2d(window, 2)] * pooled]
        before = width
    return nn.Sequential(*parts)


class Torchvision(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = features(3, 2)
        layers = [nn.Dropout(), nn.Linear(36 * WIDTHS[-1], 12), nn.ReLU(), nn.Dropout(), nn.Linear(12, 9), nn.ReLU()]
        self.classifier = nn.Sequential(*layers, nn.Linear(9, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.flatten(nn.functional.adaptive_avg_pool2d(self.features(x), 6), 1))


class Cifar(nn.Module):
    """Of bearpaw's pytorch-classification."""

    def __init__(self) -> None:
        super().__init__()
        self.features = features(2, 5)
        self.classifier = nn.Linear(WIDTHS[-1], 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.flatten(self.features(x), 1))


def test_torchvision() -> None:
    found = assert_same_logits(Torchvision(), (128, 128, 3), expected="alexnet")
    assert found.input_shape == (224, 224, 3)
    assert any("strides" in note for note in found.notes)


def test_the_cifar_form() -> None:
    found = assert_same_logits(Cifar(), (32, 32, 3), expected="alexnet")
    assert found.input_shape == (32, 32, 3)
