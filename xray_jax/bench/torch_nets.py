"""Networks of the cases in torch, written from their papers, with the published names of their weights.

Needs torch (extra `test`).
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional

from xray_jax.classifier import Classifier
from xray_jax.models import published
from xray_jax.models.preactresnet import PreActResNet


class _PreActBlock(nn.Module):
    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(before), nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        changes = stride != 1 or before != width
        self.shortcut = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False)) if changes else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = functional.relu(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(out)
        return self.conv2(functional.relu(self.bn2(self.conv1(out)))) + shortcut


class TorchPreActResNet(nn.Module):
    """BackdoorBench's pre-activation ResNet in torch; its state dict has the published names.

    Args:
      classes: width of the logits.
      sizes: blocks of each stage.
      widths: channels of each stage.
      strides: of the first block of each stage.
    """

    def __init__(self, classes: int, sizes: Sequence[int], widths: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        before = widths[0]
        self.stages = len(sizes)
        for stage, (size, width, stride) in enumerate(zip(sizes, widths, strides, strict=True), 1):
            blocks = [_PreActBlock(before if i == 0 else width, width, stride if i == 0 else 1) for i in range(size)]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            before = width
        self.linear = nn.Linear(before, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv1(x)
        for stage in range(1, self.stages + 1):
            x = getattr(self, f"layer{stage}")(x)
        return self.linear(x.mean((2, 3)))


class _Block(nn.Module):
    """Of a CIFAR ResNet; a shortcut that changes width passes every other pixel, between channels of zeros."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.added = (width - before) // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        skip = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.added, self.added)) if self.added else x
        return functional.relu(out + skip)


class ResNet20(nn.Module):
    """Of CIFAR-10 (He et al. 2016, section 4.2), shortcuts without weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(_Block(16, 16, 1), _Block(16, 16, 1), _Block(16, 16, 1))
        self.layer2 = nn.Sequential(_Block(16, 32, 2), _Block(32, 32, 1), _Block(32, 32, 1))
        self.layer3 = nn.Sequential(_Block(32, 64, 2), _Block(64, 64, 1), _Block(64, 64, 1))
        self.fc = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


class Cnn6(nn.Module):
    """Six convolutions with ELU and a norm behind it, in three stages."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for width in (32, 64, 128):
            for inputs in (before, width):
                layers += [nn.Conv2d(inputs, width, 3, 1, 1), nn.ELU(), nn.BatchNorm2d(width)]
            layers += [nn.MaxPool2d(2), nn.Dropout(0.3)]
            before = width
        self.features, self.classifier = nn.Sequential(*layers), nn.Linear(2048, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).flatten(1))


class LeNet5(nn.Module):
    """Of MNIST, with ReLU and largest-value pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(256, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        return self.fc3(functional.relu(self.fc2(functional.relu(self.fc1(x.flatten(1))))))


OTHERS: Mapping[str, Callable[[], nn.Module]] = {"resnet20-cifar-a": ResNet20, "cnn6-elu-bn": Cnn6, "lenet5": LeNet5}
"""Beside PreActResNets, by preset of the registry."""


def module_of(model: Classifier) -> nn.Module:
    """The same network in torch, with its weights.

    Args:
      model: of ten classes, a preset of the registry.

    Raises:
      ValueError: it has no counterpart here.
    """
    network = model.network
    if isinstance(network, PreActResNet):
        module: nn.Module = TorchPreActResNet(model.num_classes, network.stage_sizes, network.widths, network.strides)
    elif model.architecture in OTHERS:
        module = OTHERS[model.architecture]()
    else:
        raise ValueError(f"{model.architecture} has no torch counterpart here: PreActResNets have, and {[*OTHERS]}")
    state = {name: torch.from_numpy(array.copy()) for name, array in published.to_tensors(model.variables).items()}
    counters = {name: each for name, each in module.state_dict().items() if name.endswith("num_batches_tracked")}
    module.load_state_dict({**counters, **state})
    return module.eval()
