import torch
from torch import nn

from tests.oracles.compare import assert_recognised, assert_same_logits
from tests.oracles.pytorch_cifar import DPN
from tests.oracles.residual import ResNet
from xray_jax.models import build, dpn
from xray_jax.models.architecture import Shapes

SMALL = [(2, 8, 10, 2), (1, 12, 14, 3)]
INNER, WIDTHS, DENSE = (96, 192, 384, 768), (256, 512, 1024, 2048), (16, 32, 24, 128)


def shapes(network: nn.Module) -> Shapes:
    return {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}


def test_logits() -> None:
    expected = "dpn, stage_sizes=(2, 1), inner=(8, 12), widths=(10, 14), dense=(2, 3), groups=2, stem_width=6 "
    assert_same_logits(DPN(SMALL, 6, 2), (10, 8, 3), expected=expected)


def test_full_size() -> None:
    assert_recognised(DPN([*zip((2, 2, 2, 2), INNER, WIDTHS, DENSE, strict=True)], 64, 32), "dpn26-cifar (naming:")
    with torch.device("meta"):
        large = dpn.infer(shapes(DPN([*zip((3, 4, 20, 3), INNER, WIDTHS, DENSE, strict=True)], 64, 32)))
    assert large is not None
    assert large.module == build("dpn92-cifar", 7)


def test_a_network_that_appends_nothing_is_none() -> None:
    network = ResNet([2, 1], [8, 12], bottleneck=True, imagenet=False, skip="shortcut", head="linear")
    assert dpn.infer(shapes(network)) is None
