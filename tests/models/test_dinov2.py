import numpy as np

from tests.oracles import published
from tests.oracles.compare import assert_published, renamed
from xray_jax.checkpoints.contents import Tensors
from xray_jax.checkpoints.recognition import recognise

OLDER = (
    (r"\.attention\.q_proj\.", ".attention.attention.query."),
    (r"\.attention\.k_proj\.", ".attention.attention.key."),
    (r"\.attention\.v_proj\.", ".attention.attention.value."),
    (r"\.attention\.o_proj\.", ".attention.output.dense."),
)


def test_timm() -> None:
    """Its head reads the class token alone."""
    found = assert_published("dinov2", "vit, depth=2, width=128, hidden=512, heads=2, patch=8, scaled=True")
    assert "(naming: timm)" in found.description


def test_hugging_face() -> None:
    """Its head reads the mean of the patches too."""
    expected = "vit, depth=2, width=128, hidden=256, heads=2, patch=8, fused=False, scaled=True, patches=True"
    found = assert_published("dinov2-transformers", expected)
    assert "(naming: Hugging Face, DINOv2)" in found.description


def test_earlier_names() -> None:
    shapes = published.read("dinov2-transformers")["shapes"]
    arrays = {renamed(key, OLDER): np.zeros(shape, np.float32) for key, shape in shapes.items()}
    assert "(naming: Hugging Face, DINOv2)" in recognise(Tensors(arrays)).description
