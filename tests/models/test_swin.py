import numpy as np
import pytest

from tests.oracles import published
from tests.oracles.compare import assert_published, renamed
from xray_jax.checkpoints.contents import Tensors
from xray_jax.checkpoints.recognition import recognise

OLDER = (
    (r"\.attention\.q_proj\.", ".attention.self.query."),
    (r"\.attention\.k_proj\.", ".attention.self.key."),
    (r"\.attention\.v_proj\.", ".attention.self.value."),
    (r"\.attention\.relative_position_bias\.", ".attention.self."),
    (r"\.attention\.o_proj\.", ".attention.output.dense."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)
AUTHORS = ((r"layers\.1\.downsample", "layers.0.downsample"), (r"^head\.fc\.", "head."))


@pytest.mark.parametrize(
    ("network", "naming"),
    [("swin", "torchvision"), ("swin-timm", "timm"), ("swin-transformers", "Hugging Face, transformers 5")],
)
def test_published(network: str, naming: str) -> None:
    """torchvision's is shown images whose patches are no multiple of the window."""
    found = assert_published(network, "swin, stage_sizes=(2, 2), width=16, heads=(2, 4), windows=(7, 7)")
    assert f"(naming: {naming})" in found.description
    assert found.input_shape == (56, 56, 3)


@pytest.mark.parametrize(
    ("network", "renames", "naming"),
    [("swin-transformers", OLDER, "Hugging Face"), ("swin-timm", AUTHORS, "the authors'")],
)
def test_earlier_names(network: str, renames: tuple[tuple[str, str], ...], naming: str) -> None:
    """With tables of positions, which the authors' files hold and nothing reads."""
    shapes = published.read(network)["shapes"]
    arrays = {renamed(key, renames): np.zeros(shape, np.float32) for key, shape in shapes.items()}
    block = next(key.partition(".relative_position_bias_table")[0] for key in arrays if "bias_table" in key)
    arrays[f"{block}.relative_position_index"] = np.zeros((49, 49), np.int64)
    assert f"(naming: {naming})" in recognise(Tensors(arrays)).description
