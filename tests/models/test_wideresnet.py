import pytest

from tests.oracles.compare import assert_recognised, assert_same_logits
from tests.oracles.residual import DeepMindWideResNet, WideResNet


@pytest.mark.parametrize(
    ("depth", "factor", "expected"), [(16, 1, "wrn-16-1 ("), (10, 3, "wideresnet, group_sizes=(1,")]
)
def test_logits(depth: int, factor: int, expected: str) -> None:
    assert_same_logits(WideResNet(depth, factor), (16, 16, 3), expected=expected)


@pytest.mark.parametrize(("depth", "factor"), [(16, 2), (28, 10), (40, 1)])
def test_published_sizes(depth: int, factor: int) -> None:
    assert_recognised(WideResNet(depth, factor), f"wrn-{depth}-{factor} (naming: WideResNet-pytorch")


def test_the_group_that_trades_never_calls() -> None:
    found = assert_same_logits(WideResNet(10, 1, trades=True), (8, 8, 3), prefix="module.", expected="wideresnet, ")
    assert "(naming: TRADES)" in found.description
    assert any("not used: " in note and "sub_block1.layer.0" in note for note in found.notes)


def test_deepminds() -> None:
    found = assert_same_logits(
        DeepMindWideResNet(2), (8, 8, 3), expected="wideresnet:activation=silu:same_padding=true"
    )
    assert "(naming: DeepMind, RobustBench)" in found.description
