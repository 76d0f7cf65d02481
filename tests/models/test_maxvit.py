"""MaxViT, against what torchvision computes."""

import jax
import numpy as np
import pytest

from tests.oracles.compare import assert_published
from xray_jax.models.maxvit import MaxViT


def test_published() -> None:
    sizes = "stem_width=8, widths=(8, 16), stage_sizes=(1, 2), heads=(2, 4), side=3"
    found = assert_published("maxvit", f"maxvit, {sizes} (naming: torchvision)")
    assert found.input_shape == (24, 24, 3)


def test_images_of_other_sides_than_groups_have_are_refused() -> None:
    """So samples of another size are resized to what it takes."""
    network = MaxViT(3, 4, (8,), (1,), (2,), side=3)
    with pytest.raises(ValueError, match="maps of 8x8 pixels are no square of groups of side 3"):
        jax.eval_shape(network.init, jax.random.key(0), np.zeros((1, 32, 32, 3), np.float32))
