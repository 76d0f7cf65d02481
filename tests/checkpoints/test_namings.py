"""A publisher's naming that says what weights do not show is his only where more than the last layer has his names."""

import pytest
from torch import nn

from tests.oracles.compare import assert_same_logits
from tests.oracles.dense import DenseNet
from tests.oracles.residual import WideResNet


@pytest.mark.parametrize(
    ("network", "renames", "expected"),
    [
        # Of the nets of one file, whose layers put the newest channels first.
        (DenseNet((2, 2), 4, 4, 8), ((r"^classifier\.", "linear."),), "densenet"),
        # Of DeepMind's, with SiLU and TensorFlow's padding.
        (WideResNet(10, 1), ((r"^fc\.", "logits."),), "wideresnet, group_sizes=(1, 1, 1)"),
    ],
)
def test_the_name_of_the_last_layer_makes_no_other_network(
    network: nn.Module, renames: tuple[tuple[str, str], ...], expected: str
) -> None:
    assert_same_logits(network, (64, 64, 3), renames=renames, expected=expected)
