"""Strides are in no weights: what is assumed of them is a note."""

import numpy as np
import pytest

from xray_jax.checkpoints.contents import Tensors
from xray_jax.checkpoints.recognition import recognise
from xray_jax.models import build, expected_shapes

PUBLISHED = "the published strides, of the stem too"


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("mobilenet_v3_small", PUBLISHED),
        ("mnasnet0_5", PUBLISHED),
        ("efficientnet_b0", PUBLISHED),
        ("efficientnet_v2_s", PUBLISHED),
        ("convnext_tiny", PUBLISHED),
        ("regnet_x_400mf", PUBLISHED),
        ("densenet121", "the stem has stride 2 and a max pool"),
        ("resnet18", "the 7x7 stem has stride 2 and a max pool, every later stage stride 2"),
        ("resnet18-cifar", "the 3x3 stem has stride 1, no pool, every later stage stride 2"),
    ],
)
def test_strides_are_noted(name: str, note: str) -> None:
    shapes = expected_shapes(build(name, 5), (32, 32, 3))
    found = recognise(Tensors({key: np.zeros(shape, np.float32) for key, shape in shapes.items()}))
    assert any(note in each and "weights do not show it" in each for each in found.notes), found.notes
