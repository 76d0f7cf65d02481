import pytest
from torch import nn

from tests.oracles.compare import assert_published, assert_same_logits
from tests.oracles.shuffled import NumberedShuffleNet, SequentialShuffleNet


def test_torchvision() -> None:
    """Whose names are kept where the stem is changed for small images."""
    found = assert_published("shufflenetv2", "shufflenetv2, stage_sizes=(2, 1, 2), widths=(16, 24, 32)")
    assert found.variants is not None
    ((usual, small),) = found.variants.alternatives(found.module, (32, 32, 3))
    assert usual == found.module
    assert small == found.module.clone(small=True)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (NumberedShuffleNet, "shufflenetv2:small=true, stage_sizes=(2, 2, 2), widths=(8, 12, 16), "),
        (SequentialShuffleNet, "shufflenetv2:small=true:stem_relu=false, stage_sizes=(2, 2, 2), widths=(8, 12, 16), "),
    ],
)
def test_cifar_forms(make: type[nn.Module], expected: str) -> None:
    found = assert_same_logits(make(6, [8, 12, 16], 20), (16, 16, 3), expected=expected)
    assert found.variants is None
