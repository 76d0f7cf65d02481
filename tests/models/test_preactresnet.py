import pytest

from tests.oracles.compare import assert_recognised, assert_same_logits
from tests.oracles.residual import PreActResNet


@pytest.mark.parametrize(
    ("sizes", "widths", "bottleneck"),
    [([2, 2, 2, 2], [8, 16, 16, 24], False), ([1, 2], [8, 8], True), ([1, 1, 1], [16, 32, 64], False)],
)
def test_logits(sizes: list[int], widths: list[int], bottleneck: bool) -> None:
    found = assert_same_logits(PreActResNet(sizes, widths, bottleneck, 5), (16, 16, 3), expected="preactresnet")
    assert found.module.stage_sizes == tuple(sizes)
    assert found.num_classes == 5


def test_channels_of_the_images() -> None:
    found = assert_same_logits(PreActResNet([1, 1], [4, 8], False, 3, channels=1), (28, 28, 1))
    assert found.input_shape[2] == 1


@pytest.mark.parametrize(
    ("depth", "sizes", "bottleneck"), [(18, [2, 2, 2, 2], False), (34, [3, 4, 6, 3], False), (50, [3, 4, 6, 3], True)]
)
def test_published_sizes(depth: int, sizes: list[int], bottleneck: bool) -> None:
    network = PreActResNet(sizes, [64, 128, 256, 512], bottleneck, 43)
    assert_recognised(network, f"preactresnet{depth} (naming: BackdoorBench)")
