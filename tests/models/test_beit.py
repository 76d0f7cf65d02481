import numpy as np
import pytest

from tests.oracles import published
from tests.oracles.compare import assert_published, renamed
from xray_jax.checkpoints.contents import Tensors
from xray_jax.checkpoints.recognition import recognise

OLDER = (
    (r"^beit\.layers\.", "beit.encoder.layer."),
    (r"\.attention\.q_proj\.", ".attention.attention.query."),
    (r"\.attention\.k_proj\.", ".attention.attention.key."),
    (r"\.attention\.v_proj\.", ".attention.attention.value."),
    (r"\.relative_position_bias\.", ".attention.attention.relative_position_bias."),
    (r"\.attention\.o_proj\.", ".attention.output.dense."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)


@pytest.mark.parametrize(
    ("network", "expected", "naming"),
    [
        ("beit", "beit, depth=2, width=16, hidden=64, heads=2, patch=8, side=4", "timm"),
        ("beit-transformers", "beit:epsilon=1e-12, depth=2, width=128, hidden=32, heads=2, patch=8", "Hugging Face"),
        ("data2vec", "beit:epsilon=1e-12, depth=2, width=128, hidden=32, heads=2, patch=8", "Hugging Face"),
    ],
)
def test_published(network: str, expected: str, naming: str) -> None:
    found = assert_published(network, expected)
    assert f"(naming: {naming})" in found.description
    assert found.input_shape == (32, 32, 3)


def test_earlier_names() -> None:
    """With the tables of positions, which nothing reads."""
    shapes = published.read("beit-transformers")["shapes"]
    arrays = {renamed(key, OLDER): np.zeros(shape, np.float32) for key, shape in shapes.items()}
    table = next(key for key in arrays if key.endswith("relative_position_bias_table"))
    arrays[table.replace("bias_table", "index")] = np.zeros((17, 17), np.int64)
    assert "(naming: Hugging Face)" in recognise(Tensors(arrays)).description
