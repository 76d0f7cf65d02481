"""Modules that were pickled whole: the leaves of their state dict, and nothing of their code."""

import collections
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from xray_jax import checkpoints
from xray_jax.checkpoints import formats
from xray_jax.checkpoints.contents import CheckpointError, Tensors
from xray_jax.classifier import Classifier
from xray_jax.models.convolution_settings import ConvolutionSettings

pytestmark = pytest.mark.filterwarnings("ignore")
Save = Callable[[Any], Path]


@pytest.fixture(params=[True, False], ids=["zip", "stream"])
def save(request: pytest.FixtureRequest, tmp_path: Path) -> Save:
    def saved(value: Any) -> Path:
        path = tmp_path / "a.pt"
        torch.save(value, path, _use_new_zipfile_serialization=request.param)
        return path

    return saved


class Net(nn.Module):
    """A network with buffers of both kinds, a bias that is None, and a forward pass of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
        self.body.append(nn.Flatten())
        self.head = nn.Linear(4 * 3 * 3, 5)
        self.register_buffer("scratch", torch.ones(3), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


def _read(path: Path) -> Tensors:
    found = formats.read(path)
    assert isinstance(found, Tensors)
    return found


@pytest.mark.parametrize("wrap", [lambda net: net, lambda net: {"net": net, "epoch": 3}, nn.DataParallel])
def test_the_leaves_are_those_of_the_state_dict(save: Save, wrap: Callable[[nn.Module], Any]) -> None:
    network = Net().eval()
    found = _read(save(wrap(network)))
    wanted = network.state_dict()
    assert "scratch" not in wanted
    prefix = "module." if wrap is nn.DataParallel else ""
    assert list(found.arrays) == [prefix + name for name in wanted]
    for name, tensor in wanted.items():
        np.testing.assert_array_equal(np.asarray(found.arrays[prefix + name]), tensor.numpy())
    (note,) = (note for note in found.notes if "pickled" in note)
    assert "its code was not run" in note
    assert "modules without weights: 1 ReLU, 1 MaxPool2d, 1 Flatten" in note


def test_logits(save: Save) -> None:
    network = Net().eval()
    model = checkpoints.load(save(network), architecture="plain:padding=0:stride=1:pool_after=1")
    assert isinstance(model, Classifier)
    images = np.random.default_rng(0).uniform(size=(4, 8, 8, 3)).astype(np.float32)
    with torch.no_grad():
        wanted = network(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    got = np.asarray(model.network.apply(model.variables, images))
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_a_state_dict_beside_a_module_is_what_is_read(save: Save) -> None:
    """As before modules were looked into at all."""
    network = Net()
    found = _read(save({"model": Net(), "state_dict": network.state_dict()}))
    np.testing.assert_array_equal(np.asarray(found.arrays["head.bias"]), network.head.bias.detach().numpy())
    assert found.networks == ()
    assert not any("pickled" in note for note in found.notes)


def test_two_modules_are_two_networks(save: Save) -> None:
    found = _read(save({"student": Net(), "teacher": Net()}))
    assert found.networks == ("student", "teacher")
    teacher = found.network("teacher")
    assert set(teacher.arrays) == set(Net().state_dict())
    assert teacher.convolutions == {"body.0": ConvolutionSettings((1, 1), (0, 0), (1, 1))}


def test_hooks_are_not_called_and_the_row_says_so(save: Save) -> None:
    network = Net()
    network.body.register_forward_hook(_doubled)
    assert any("_forward_hooks are not called" in note for note in _read(save(network)).notes)


def _doubled(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
    return 2 * output


class Hostile(nn.Module):
    """Asks for a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 3)
        self.attribute = _Command(marker)


class _Command:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


def test_a_module_that_asks_for_a_command_is_refused(save: Save, tmp_path: Path) -> None:
    path = save(Hostile(tmp_path / "marker"))
    with pytest.raises(CheckpointError, match=r"asks for posix\.system.*treat the file as malicious"):
        formats.read(path)
    assert not (tmp_path / "marker").exists()


def _nested(depth: int, name: str = "0") -> nn.Module:
    network: nn.Module = nn.Linear(2, 2)
    for _ in range(depth):
        parent = nn.Module()
        parent._modules = {name: network}
        network = parent
    return network


def _wide(width: int) -> nn.Module:
    """One layer in many places."""
    layer = nn.Linear(2, 2, bias=False)
    return nn.Sequential(*[nn.Sequential(*[layer] * width)] * width)


def _shared(levels: int) -> nn.Module:
    """Modules that hold the same modules ten times over, and no tensor."""
    network: nn.Module = nn.ReLU()
    for _ in range(levels):
        parent = nn.Module()
        parent._modules = {str(number): network for number in range(10)}
        network = parent
    return network


def _called(name: Any) -> nn.Module:
    network = nn.Linear(2, 2)
    network._buffers = {name: torch.ones(2)}
    return network


@pytest.mark.parametrize(
    ("make", "message"),
    [
        # Made late: an attempt to print the second would never end.
        (lambda: _nested(100), "nested more than 64 deep"),
        (lambda: _shared(30), "hold more than 200000 values"),
        (lambda: _nested(60, "x" * 200), "or under longer names"),
        (lambda: _wide(101), "more than 10000 tensors"),
        (lambda: _called("a.b"), r"called 'a\.b': damaged"),
        (lambda: _called(3), "called '3': damaged"),
        (lambda: _called("weight"), "leaf weight occurs twice"),
        (lambda: nn.Sequential(nn.ReLU()), "holds no tensors"),
        (collections.Counter, "whole pickled object"),
    ],
)
def test_what_no_network_is(save: Save, make: Callable[[], Any], message: str) -> None:
    path = save(make())
    with pytest.raises(CheckpointError, match=message):
        formats.read(path)
