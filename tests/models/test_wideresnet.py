import pytest

from tests.oracles.compare import assert_same_logits
from tests.oracles.residual import WideResNet


@pytest.mark.parametrize(("depth", "factor"), [(16, 1), (16, 2), (28, 1), (10, 3)])
def test_logits(depth: int, factor: int) -> None:
    known = depth != 10
    expected = f"wrn-{depth}-{factor} (" if known else "wideresnet, group_sizes=(1, 1, 1)"
    assert_same_logits(WideResNet(depth, factor), (16, 16, 3), expected=expected)
