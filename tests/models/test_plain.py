import numpy as np
import pytest
from torch import nn

from tests.oracles.compare import assert_same_logits, randomised, state_dict, torch_logits
from tests.oracles.plain import PlainCNN, PlainMLP, SequentialBadNet
from xray_jax.checkpoints.contents import CheckpointError, Tensors
from xray_jax.checkpoints.recognition import recognise
from xray_jax.models import plain

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


def conv(inside: int, outside: int, kernel: int = 3) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, kernel, padding=kernel // 2)


@pytest.mark.parametrize(
    ("network", "both"),
    [
        # A pooling takes the only place that the numbers leave.
        ((conv(3, 4), MAX(2), conv(4, 6), MAX(2), nn.Flatten(), nn.Linear(384, 9), nn.Linear(9, 7)), True),
        ((conv(3, 4), nn.BatchNorm2d(4), MAX(2), conv(4, 6), MAX(2), nn.Flatten(), nn.Linear(384, 7)), True),
        ((conv(3, 4), conv(4, 6), MAX(2), nn.Flatten(), nn.Linear(1536, 7)), False),
    ],
)
def test_a_sequential_without_activations(network: tuple[nn.Module, ...], both: bool) -> None:
    found = assert_same_logits(nn.Sequential(*network), COLOUR)
    assert found.module.activation == "identity"
    assert found.module.pool_after == ((1, 2) if both else (2,))
    assert any("no activation (identity)" in note for note in found.notes)


@pytest.mark.parametrize("active", [False, True])
def test_the_last_layer_is_a_1x1_convolution(active: bool) -> None:
    """Network in network has a ReLU behind it; most others do not."""
    last = [conv(6, 7, 1), *([nn.ReLU()] if active else []), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network = nn.Sequential(conv(3, 4), nn.ReLU(), MAX(2), conv(4, 6), nn.ReLU(), MAX(2), *last)
    if not active:
        found = assert_same_logits(network, COLOUR, expected="plain:padding=1+1:stride=1+1:pool_after=1+2:")
        assert found.num_classes == 7
        return
    tensors = Tensors(state_dict(randomised(network)))
    found = recognise(tensors)
    answers = plain.variants(found.module, COLOUR, COLOUR)[2]
    (true,) = [answer for answer in answers if answer.dense[-1].active]
    images = np.random.default_rng(1).normal(size=(2, *COLOUR)).astype(np.float32)
    np.testing.assert_allclose(true.apply(found.variables, images), torch_logits(network, images), rtol=1e-4, atol=1e-4)
    assert "behind the last layer" in plain.note(true)


def test_what_makes_images_is_no_classifier() -> None:
    network = nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 8), nn.ReLU(), conv(8, 3, 1))
    with pytest.raises(CheckpointError, match="no known architecture"):
        recognise(Tensors(state_dict(network)))


def test_layers_of_one_width_are_in_their_order_though_a_file_sorts_their_names() -> None:
    """Where 10 comes behind 1, as in safetensors."""
    widths = {f"fc{number}": (12, 12) for number in range(2, 12)}
    network = randomised(PlainMLP({"fc1": (64, 12), **widths, "out": (12, 10)}))
    found = recognise(Tensors(dict(sorted(state_dict(network).items()))))
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype(np.float32)
    wanted = torch_logits(network, images)
    np.testing.assert_allclose(found.module.apply(found.variables, images), wanted, atol=1e-4 * np.abs(wanted).max())
