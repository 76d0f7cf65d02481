"""Networks that come from TensorFlow: padded on one side where the stride is 2, norms with another epsilon."""

import numpy as np
import pytest

from tests.oracles import published
from tests.oracles.compare import assert_published
from xray_jax.checkpoints.contents import Tensors
from xray_jax.checkpoints.recognition import recognise


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ("efficientnet-transformers", "efficientnet:epsilon=1e-05:same=true, stem_width=16, "),
        ("efficientnet-pytorch", "efficientnet:epsilon=1e-05:same=true, "),
    ],
)
def test_named_by_publisher(network: str, expected: str) -> None:
    found = assert_published(network, expected)
    assert found.variants is None or not found.variants.alternatives(found.module, found.input_shape)


@pytest.mark.parametrize(
    ("network", "told", "expected"),
    [
        ("tf_efficientnet_b0", "tf_efficientnet_b0", "tf_efficientnet_b0 (naming: timm)"),
        ("tf_mobilenetv3", "mobilenetv3:same=true", "mobilenetv3:epsilon=1e-05:same=true, "),
    ],
)
def test_told(network: str, told: str, expected: str) -> None:
    """timm's names are those of its own networks too; a configuration or the user says which it is."""
    assert_published(network, expected, architecture=told)


def test_a_file_may_say_that_it_comes_from_tensorflow() -> None:
    """As config.json does beside timm's weights."""
    found = recognise(Tensors(_arrays("tf_efficientnet_b0"), metadata={"model_name": "tf_efficientnet_b0"}))
    assert found.name == "tf_efficientnet_b0"


@pytest.mark.parametrize("network", ["tf_efficientnet_b0", "tf_mobilenetv3"])
def test_open_under_the_names_of_timm(network: str) -> None:
    found = recognise(Tensors(_arrays(network)))
    assert any("torch's padding" in note for note in found.notes)
    assert found.variants is not None
    ((usual, other),) = found.variants.alternatives(found.module, found.input_shape)
    assert (usual, other) == (found.module, found.module.clone(same=True))


def _arrays(network: str) -> dict[str, np.ndarray]:
    return {key: np.zeros(shape, np.float32) for key, shape in published.read(network)["shapes"].items()}
