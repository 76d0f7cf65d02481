import pytest
import torch.nn.functional as F
from torch import nn

from tests.oracles.compare import assert_recognised, assert_same_logits
from tests.oracles.residual import Activation, ResNet

TORCHVISION = {"skip": "downsample", "head": "fc"}
CIFAR = {"skip": "shortcut", "head": "linear"}


@pytest.mark.parametrize(("bottleneck", "sizes"), [(False, [2, 1]), (True, [1, 2])])
@pytest.mark.parametrize(("imagenet", "names"), [(True, TORCHVISION), (False, CIFAR), (False, TORCHVISION)])
def test_logits(bottleneck: bool, sizes: list[int], imagenet: bool, names: dict[str, str]) -> None:
    network = ResNet(sizes, [8, 12], bottleneck=bottleneck, imagenet=imagenet, **names)
    found = assert_same_logits(network, (30, 32, 3), expected="resnet")
    assert ("naming: torchvision" in found.description) == (names is TORCHVISION)
    assert any("stem" in note for note in found.notes)


def _option_a(blocks: int) -> ResNet:
    return ResNet([blocks] * 3, [16, 32, 64], imagenet=False, skip="pad", head="linear")


def test_option_a() -> None:
    assert_same_logits(_option_a(3), (16, 16, 3), prefix="module.", expected="resnet20-cifar-a (naming: pytorch-cifar")


@pytest.mark.parametrize("blocks", [5, 7, 9])
def test_published_depths_of_option_a(blocks: int) -> None:
    assert_recognised(_option_a(blocks), f"resnet{6 * blocks + 2}-cifar-a (naming: pytorch-cifar")


@pytest.mark.parametrize(
    ("depth", "sizes", "bottleneck"), [(18, [2, 2, 2, 2], False), (34, [3, 4, 6, 3], False), (50, [3, 4, 6, 3], True)]
)
@pytest.mark.parametrize("imagenet", [True, False])
def test_published_sizes(depth: int, sizes: list[int], bottleneck: bool, imagenet: bool) -> None:
    network = ResNet(sizes, [64, 128, 256, 512], bottleneck=bottleneck, imagenet=imagenet, **TORCHVISION)
    assert_recognised(network, f"resnet{depth}{'' if imagenet else '-cifar'} (naming: torchvision)")


@pytest.mark.parametrize(("imagenet", "pool", "stride"), [(False, "max", 1), (True, "none", 2), (True, "none", 1)])
def test_stems_that_weights_do_not_show_can_be_given(imagenet: bool, pool: str, stride: int) -> None:
    """As a tutorial has it that changes one of kernel, stride and pool for small images, and forgets the others."""
    network = ResNet([1, 1], [8, 12], bottleneck=False, imagenet=imagenet, **TORCHVISION)
    network.conv1.stride = (stride, stride)
    network.pool = nn.MaxPool2d(3, 2, 1) if pool == "max" else nn.Identity()
    asked = f"resnet:stem_pool={pool}:stem_stride={stride}"
    found = assert_same_logits(network, (32, 32, 3), architecture=asked)
    shown = f"stem has stride {stride}{' and a max pool' if pool == 'max' else ', no pool'}"
    assert any(shown in note for note in found.notes)
    assert f":stem_stride={stride}:stem_pool={pool}" in found.description


@pytest.mark.parametrize("name", ["silu", "gelu", "leaky_relu", "elu"])
@pytest.mark.parametrize("bottleneck", [False, True])
def test_activations_that_weights_do_not_show_can_be_given(name: str, bottleneck: bool) -> None:
    activation: Activation = getattr(F, name)
    network = ResNet([1, 1], [8, 12], bottleneck=bottleneck, imagenet=True, activation=activation, **TORCHVISION)
    found = assert_same_logits(network, (32, 32, 3), architecture=f"resnet:activation={name}")
    assert any(f"{name} everywhere" in note for note in found.notes)
