import pytest

from tests.oracles.compare import assert_recognised, assert_same_logits
from tests.oracles.residual import WideResNet


@pytest.mark.parametrize(
    ("depth", "factor", "expected"), [(16, 1, "wrn-16-1 ("), (10, 3, "wideresnet, group_sizes=(1,")]
)
def test_logits(depth: int, factor: int, expected: str) -> None:
    assert_same_logits(WideResNet(depth, factor), (16, 16, 3), expected=expected)


@pytest.mark.parametrize(("depth", "factor"), [(16, 2), (28, 10), (40, 1)])
def test_published_sizes(depth: int, factor: int) -> None:
    assert_recognised(WideResNet(depth, factor), f"wrn-{depth}-{factor} (naming: WideResNet-pytorch")
