import pytest
from torch import nn

from tests.oracles.compare import assert_same_logits
from tests.oracles.plain import PlainCNN, SequentialBadNet

MAX, AVERAGE = nn.MaxPool2d, nn.AvgPool2d
GREY, COLOUR = (28, 28, 1), (32, 32, 3)


def fc(*widths: int) -> dict[str, tuple[int, int]]:
    return {f"fc{i}": (widths[i - 1], widths[i]) for i in range(1, len(widths))}


@pytest.mark.parametrize(
    ("network", "shape", "expected"),
    [
        (PlainCNN((1, 32, 64), 3, 1, (1, 2), MAX, fc(3136, 128, 10)), GREY, "smallcnn32-64 ("),
        (PlainCNN((3, 32, 64), 3, 1, (1, 2), MAX, fc(4096, 128, 10)), COLOUR, "smallcnn32-64 ("),
        (PlainCNN((1, 32, 64), 3, 0, (2,), MAX, fc(9216, 128, 10)), GREY, "pytorch-mnist-cnn ("),
        (PlainCNN((1, 16, 32), 5, 0, (1, 2), AVERAGE, fc(512, 512, 10)), GREY, "badnets-cnn ("),
        (PlainCNN((3, 16, 32), 5, 0, (1, 2), AVERAGE, fc(800, 512, 10)), COLOUR, "badnets-cnn ("),
        (PlainCNN((3, 6, 16), 5, 0, (1, 2), MAX, fc(400, 120, 84, 10)), COLOUR, "lenet5 ("),
        (SequentialBadNet(1, 512), GREY, "plain:padding=0+0:stride=1+1:pool_after=1+2:pool=avg:"),
        (SequentialBadNet(3, 800), COLOUR, "plain:padding=0+0:stride=1+1:pool_after=1+2:pool=avg:"),
        (
            PlainCNN((1, 16, 32), 5, 0, (1, 2), MAX, {"fc": (512, 512), "output": (512, 10)}),
            GREY,
            "mntd-mnist (",
        ),
        (
            PlainCNN(
                (3, 32, 32, 64, 64),
                3,
                1,
                (2, 4),
                MAX,
                {"linear": (4096, 256), "fc": (256, 256), "output": (256, 10)},
            ),
            COLOUR,
            "mntd-cifar10 (",
        ),
    ],
)
def test_logits(network: nn.Module, shape: tuple[int, int, int], expected: str) -> None:
    found = assert_same_logits(network, shape, expected=expected)
    assert found.input_shape == shape
    assert any("pooling" in note for note in found.notes)
