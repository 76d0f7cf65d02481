import numpy as np
import pytest

from tests.oracles.compare import assert_published, assert_same_logits, renamed
from tests.oracles.small_images import CifarMobileNetV2
from xray_jax.checkpoints.contents import Tensors
from xray_jax.checkpoints.recognition import recognise
from xray_jax.models import build, expected_shapes

STAGES = [(1, 4, 1, 1), (2, 6, 2, 1), (2, 6, 3, 2), (2, 8, 4, 2), (2, 8, 3, 1), (2, 10, 3, 2), (2, 12, 1, 1)]


@pytest.mark.parametrize("network", ["mobilenetv2", "mobilenetv2-timm", "mobilenetv2-transformers"])
def test_published(network: str) -> None:
    found = assert_published(network, "mobilenetv2")
    assert (found.variants is None) == (network != "mobilenetv2")


def test_pytorch_cifar() -> None:
    network = CifarMobileNetV2(STAGES, 8, 20)
    found = assert_same_logits(network, (16, 16, 3), expected="mobilenetv2:small=true:clipped=false, stem_width=8, ")
    assert "(naming: pytorch-cifar)" in found.description


def test_strides_are_open_under_the_names_of_torchvision() -> None:
    """Those who train torchvision's network on CIFAR keep its names and change two strides."""
    found = recognise(Tensors(_arrays("mobilenet_v2")))
    assert found.name == "mobilenet_v2"
    assert found.variants is not None
    ((usual, other),) = found.variants.alternatives(found.module, (32, 32, 3))
    assert usual == found.module
    assert other == build("mobilenet_v2-cifar", 10)


FLAT = [(r"^classifier\.1\.", "classifier."), (r"^features\.18\.", "conv.")]
for _number in range(1, 18):
    _parts = {"0.0": 0, "0.1": 1, "1.0": 3, "1.1": 4, "2": 6, "3": 7}
    for _part, _at in ({"0.0": 0, "0.1": 1, "1": 3, "2": 4} if _number == 1 else _parts).items():
        _start = rf"^features\.{_number}\.conv\.{_part}\."
        FLAT.append((rf"{_start}(weight|bias|running)", rf"features.{_number}.CONV.{_at}.\1"))
FLAT.append(("CONV", "conv"))


def test_blocks_of_one_sequential() -> None:
    arrays = _arrays("mobilenet_v2")
    found = recognise(Tensors({renamed(key, tuple(FLAT)): array for key, array in arrays.items()}))
    assert found.description == "mobilenet_v2 (naming: pytorch-mobilenet-v2)"


def _arrays(name: str) -> dict[str, np.ndarray]:
    shapes = expected_shapes(build(name, 10), (32, 32, 3))
    return {key: np.zeros(shape, np.float32) for key, shape in shapes.items()}
