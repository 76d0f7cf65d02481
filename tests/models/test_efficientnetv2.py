import pytest

from tests.oracles.compare import assert_published
from xray_jax.models import efficientnetv2, published, registry


@pytest.mark.parametrize(
    ("network", "naming"),
    [
        ("efficientnet_v2", "torchvision"),
        ("efficientnet_v2-timm", "timm"),
        ("efficientnet_v2_m-timm", "timm"),
        ("efficientnetv2_rw_s", "timm"),
    ],
)
def test_published(network: str, naming: str) -> None:
    """Six stages and seven; in timm's own first one the 3x3 convolution has a 1x1 one behind it."""
    own = "" if naming == "torchvision" else ":epsilon=1e-05"
    found = assert_published(network, f"efficientnetv2{own}, stem_width=8, stages=")
    assert f"(naming: {naming})" in found.description


def test_tensorflow_padding() -> None:
    found = assert_published(
        "tf_efficientnetv2_b0", "efficientnetv2:epsilon=1e-05:same=true, ", architecture="efficientnetv2:same=true"
    )
    assert "(naming: timm)" in found.description


@pytest.mark.parametrize("name", ["efficientnet_v2_s", "tf_efficientnetv2_m"])
def test_presets(name: str) -> None:
    """Their own weights are told for what they are, but for the padding, which weights do not show."""
    shapes = published.expected_shapes(registry.build(name, 7), (32, 32, 3))
    found = efficientnetv2.infer(shapes)
    assert found is not None
    assert found.module.clone(same=False) == registry.build(f"efficientnet_v2_{name[-1]}", 7)
