"""Chains whose names tell of additions are not read as if there were none."""

import numpy as np
import pytest
from torch import nn

from tests.oracles.compare import state_dict
from xray_jax.checkpoints.contents import CheckpointError, Tensors
from xray_jax.checkpoints.recognition import recognise


def _conv(inside: int, outside: int, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inside, outside, kernel, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU())


def _holder(**layers: nn.Module) -> nn.Module:
    module = nn.Module()
    for name, layer in layers.items():
        module.add_module(name, layer)
    return module


def _pair(width: int) -> nn.Sequential:
    return nn.Sequential(_conv(width, width), _conv(width, width))


def _residual(width: int) -> nn.Module:
    return _holder(module=_pair(width))


# Longer than ResNet-9, with a pair behind every other layer.
PAIRS = _holder(
    conv1=_conv(3, 4), conv2=_conv(4, 8), res1=_pair(8), conv3=_conv(8, 12), conv4=_conv(12, 16), res2=_pair(16),
    conv5=_conv(16, 20), res3=_pair(20), classifier=nn.Sequential(nn.MaxPool2d(4), nn.Flatten(), nn.Linear(20, 10)),
)  # fmt: skip
SEQUENCE = nn.Sequential(
    _conv(3, 4), _conv(4, 8, 5), nn.Dropout2d(), _residual(8), _conv(8, 12), nn.MaxPool2d(2), _residual(12),
    _conv(12, 8), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(8, 10, bias=False),
)  # fmt: skip
FLAT = _holder(conv1=_conv(3, 4), res1_conv1=_conv(4, 4), res1_conv2=_conv(4, 4), fc=nn.Linear(4, 10))
ONE_BLOCK = _holder(stem=_conv(3, 4), skip_block=_holder(first=_conv(4, 6), second=_conv(6, 4)), fc=nn.Linear(4, 10))


def _block(inside: int, outside: int) -> nn.Module:
    return _holder(conv1=_conv(inside, outside)[0], conv2=_conv(outside, outside)[0])


# Nothing but the repetition tells of additions.
BLOCKS = _holder(stem=_conv(3, 4), block1=_block(4, 4), block2=_block(4, 4), fc=nn.Linear(4, 10))
SEQUENTIAL = _holder(stem=_conv(3, 4), blocks=nn.Sequential(*(_block(4, 4) for _ in range(3))), fc=nn.Linear(4, 10))


@pytest.mark.parametrize("network", [PAIRS, SEQUENCE, FLAT, ONE_BLOCK, BLOCKS, SEQUENTIAL])
@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_chains_with_additions_are_refused(network: nn.Module, prefix: str) -> None:
    arrays = {prefix + key: array for key, array in state_dict(network).items()}
    with pytest.raises(CheckpointError, match=r"(residual network|None is close|Closest: resnet9).*onnx\.export"):
        recognise(Tensors(arrays))


PLAIN = {"0": (4, 3), "1": (4, 4), "2": (6, 4)}
"""Convolutions of which one keeps its width."""


@pytest.mark.parametrize(
    "names",
    [
        # Wrapped in data parallelism, whole and in part; a network, a layer and a folder that begin alike.
        ("module.features.{}", "module.classifier"),
        ("features.module.{}", "classifier"),
        ("resnet.{}", "resnet.head"),
        ("rest{}", "result"),
        ("rescale.{}", "respond"),
    ],
)
def test_chains_without_additions_open(names: tuple[str, str]) -> None:
    convs, last = names
    arrays = {f"{convs.format(n)}.weight": np.ones((*shape, 3, 3), np.float32) for n, shape in PLAIN.items()}
    found = recognise(Tensors({**arrays, f"{last}.weight": np.ones((10, 6 * 64), np.float32)}))
    assert found.name.startswith("plain:")


def test_blocks_of_growing_width_are_a_chain() -> None:
    network = _holder(block1=_block(3, 4), block2=_block(4, 8), block3=_block(8, 8), fc=nn.Linear(8, 10))
    assert recognise(Tensors(state_dict(network))).name.startswith("plain:")
