"""VGG in its published forms and the small CNNs of backdoor papers."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn


def vgg_features(
    stages: Sequence[Sequence[int]],
    *,
    norm: str,
    activation: type[nn.Module] = nn.ReLU,
    dropout: bool = False,
) -> nn.Sequential:
    parts: list[nn.Module] = []
    before = 3
    for stage in stages:
        for width in stage:
            parts.append(nn.Conv2d(before, width, 3, padding=1))
            if norm == "before":
                parts.append(nn.BatchNorm2d(width))
            parts.append(activation())
            if norm == "after":
                parts.append(nn.BatchNorm2d(width))
            before = width
        parts += [nn.MaxPool2d(2)] + ([nn.Dropout(0.3)] if dropout else [])
    return nn.Sequential(*parts)


class TorchvisionVGG(nn.Module):
    def __init__(self, stages: Sequence[Sequence[int]], norm: str, hidden: int) -> None:
        super().__init__()
        self.features = vgg_features(stages, norm=norm)
        first, second = nn.Linear(49 * stages[-1][-1], hidden), nn.Linear(hidden, hidden)
        between = (nn.ReLU(), nn.Dropout())
        self.classifier = nn.Sequential(first, *between, second, *between, nn.Linear(hidden, 7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(F.adaptive_avg_pool2d(self.features(x), 7).flatten(1))


class SingleHead(nn.Module):
    """`features`, then one linear layer `classifier` on what is left of 32x32."""

    def __init__(self, features: nn.Sequential, inputs: int) -> None:
        super().__init__()
        self.features, self.classifier = features, nn.Linear(inputs, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).flatten(1))


class PlainCNN(nn.Module):
    """Numbered convolutions with ReLU and pooling behind some of them, then linear layers of the given names."""

    def __init__(
        self,
        channels: Sequence[int],
        kernel: int,
        padding: int,
        pool_after: Sequence[int],
        pool: type[nn.Module],
        dense: dict[str, tuple[int, int]],
    ) -> None:
        super().__init__()
        self.count, self.pool_after, self.pool, self.dense = len(channels) - 1, pool_after, pool(2), list(dense)
        for number in range(1, len(channels)):
            layer = nn.Conv2d(channels[number - 1], channels[number], kernel, padding=padding)
            self.add_module(f"conv{number}", layer)
        for name, sizes in dense.items():
            self.add_module(name, nn.Linear(*sizes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for number in range(1, self.count + 1):
            x = F.relu(getattr(self, f"conv{number}")(x))
            x = self.pool(x) if number in self.pool_after else x
        x = x.flatten(1)
        for name in self.dense[:-1]:
            x = F.relu(getattr(self, name)(x))
        return getattr(self, self.dense[-1])(x)


class SequentialBadNet(nn.Module):
    """The BadNets CNN with each layer in a Sequential of its own."""

    def __init__(self, channels: int, flat: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(channels, 16, 5), nn.ReLU(), nn.AvgPool2d(2))
        self.conv2 = nn.Sequential(nn.Conv2d(16, 32, 5), nn.ReLU(), nn.AvgPool2d(2))
        self.fc1 = nn.Sequential(nn.Linear(flat, 512), nn.ReLU())
        self.fc2 = nn.Sequential(nn.Linear(512, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.fc1(self.conv2(self.conv1(x)).flatten(1)))


class PlainMLP(nn.Module):
    """Linear layers under given names, ReLU between them."""

    def __init__(self, layers: dict[str, tuple[int, int]]) -> None:
        super().__init__()
        self.names = list(layers)
        for name, (inside, outside) in layers.items():
            self.add_module(name, nn.Linear(inside, outside))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1)
        for name in self.names[:-1]:
            x = torch.relu(self.get_submodule(name)(x))
        return self.get_submodule(self.names[-1])(x)
