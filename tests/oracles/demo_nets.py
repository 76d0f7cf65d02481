"""A network of the demo's zoo made ready, and the same network in torch with the same weights."""

from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import nn

import xray_jax
from tests.oracles.residual import PreActBlock, conv
from xray_jax import checkpoints, samples
from xray_jax.classifier import Classifier
from xray_jax.inference.options import InferenceOptions
from xray_jax.models import published
from xray_jax.prepare import PreparedModel, prepare

ZOO = Path(xray_jax.__file__).parent / "demo" / "zoo"


class SmallPreActResNet(nn.Module):
    """The laboratory's network: pixels in [0, 1] `[B, 3, H, W]` to logits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, before = conv(3, 16), 16
        for stage, (width, stride) in enumerate([(16, 2), (32, 2), (64, 1)], 1):
            self.add_module(f"layer{stage}", nn.Sequential(PreActBlock(before, width, stride, bottleneck=False)))
            before = width
        self.linear = nn.Linear(64, 10)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        mean = torch.tensor([0.4914, 0.4822, 0.4465]).reshape(3, 1, 1)
        std = torch.tensor([0.247, 0.243, 0.261]).reshape(3, 1, 1)
        x = self.conv1((pixels - mean) / std)
        return cast(torch.Tensor, self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3))))


def prepared(name: str, options: InferenceOptions | None = None) -> PreparedModel:
    """The network `name` of the demo, as detectors take it."""
    return prepare(checkpoints.load(ZOO / f"cifar10-preactresnet-small-{name}"), samples.read("cifar10"), options)


def in_torch(model: PreparedModel) -> SmallPreActResNet:
    """The same network in torch, its weights fixed."""
    assert isinstance(model.model, Classifier)
    made = SmallPreActResNet().eval().requires_grad_(False)
    wanted = published.to_tensors({name: model.model.variables[name] for name in ("params", "batch_stats")})
    missing = made.load_state_dict({name: torch.tensor(np.asarray(array)) for name, array in wanted.items()}, False)
    assert not missing.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in missing.missing_keys)
    return made
