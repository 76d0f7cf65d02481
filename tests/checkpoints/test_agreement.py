"""A module that was pickled whole says of its convolutions what weights do not show."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.oracles.compare import randomised
from tests.oracles.residual import ResNet
from xray_jax import checkpoints
from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.classifier import Classifier
from xray_jax.models import convolution_settings
from xray_jax.models.convolution_settings import ConvolutionSettings
from xray_jax.models.plain import small

pytestmark = pytest.mark.filterwarnings("ignore")


def _resnet(change: Callable[[ResNet], None] | None = None) -> ResNet:
    network = ResNet([1, 1], [8, 12], imagenet=True, skip="downsample", head="fc")
    if change is not None:
        change(network)
    return network


def _stem_of_1(network: ResNet) -> None:
    network.conv1.stride = (1, 1)


def _dilated(network: ResNet) -> None:
    network.get_submodule("layer2.0.conv2").dilation = (2, 2)
    network.get_submodule("layer2.0.conv2").padding = (2, 2)


def _opened(network: nn.Module, folder: Path, **flags: str) -> Classifier:
    randomised(network)
    torch.save(nn.DataParallel(network), folder / "a.pt")
    model = checkpoints.load(folder / "a.pt", **flags)
    assert isinstance(model, Classifier)
    return model


def _assert_logits(network: nn.Module, model: Classifier) -> None:
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    with torch.no_grad():
        wanted = network(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    got = np.asarray(model.network.apply(model.variables, images))
    assert np.abs(got - wanted).max() <= 1e-4 * np.abs(wanted).max()


def test_a_stem_that_few_have_is_read_as_the_file_says(tmp_path: Path) -> None:
    network = _resnet(_stem_of_1)
    model = _opened(network, tmp_path)
    assert vars(model.network)["stem_stride"] == 1
    assert any("the 7x7 stem has stride 1" in note for note in model.notes)
    # Whether a pool follows no weight shows, and no convolution.
    network.pool = nn.MaxPool2d(3, 2, 1) if vars(model.network)["stem_pool"] == "max" else nn.Identity()
    _assert_logits(network, model)


def test_the_usual_network_stays_what_it_is(tmp_path: Path) -> None:
    network = _resnet()
    model = _opened(network, tmp_path)
    assert vars(model.network)["stem_stride"] == 0
    _assert_logits(network, model)


def test_what_no_network_here_does_is_refused(tmp_path: Path) -> None:
    layer, said = r"layer2\.0\.conv2", "stride 1x1, padding 2x2, dilation 2x2"
    with pytest.raises(CheckpointError, match=rf"resnet, but its {layer} has {said}, where one has stride 1x1, padd"):
        _opened(_resnet(_dilated), tmp_path)
    # Who says otherwise knows better.
    assert _opened(_resnet(_dilated), tmp_path, architecture="resnet").architecture.startswith("resnet")


@pytest.mark.parametrize("padding", [0, 1])
def test_a_plain_network_has_the_padding_that_the_file_says(tmp_path: Path, padding: int) -> None:
    """Both give features of the length that the linear layer takes, on images of another size."""
    side = (32 - 2 * (1 - padding)) // 2
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=padding), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    network.append(nn.Linear(4 * side * side, 5))
    model = _opened(network, tmp_path)
    assert vars(model.network)["padding"] == (padding,)
    _assert_logits(network, model)


def test_settings_of_a_network() -> None:
    network = small((4, 6), 5, (8,), padding=1)(num_classes=3)
    found = convolution_settings.of_network(network, (28, 28, 1))
    assert found == {name: ConvolutionSettings((1, 1), (1, 1), (1, 1)) for name in ("conv1", "conv2")}


def test_what_is_not_said_agrees() -> None:
    one = ConvolutionSettings((2, 2), None, (1, 1))
    assert one.agrees(ConvolutionSettings((2, 2), (3, 3), (1, 1)))
    assert not one.agrees(ConvolutionSettings((1, 1), None, (1, 1)))
    assert str(one) == "stride 2x2, padding ?, dilation 1x1"
