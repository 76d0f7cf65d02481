import numpy as np
import pytest

from tests.oracles import published
from tests.oracles.compare import assert_published, assert_same_logits, renamed
from tests.oracles.convnext import ConvNeXt
from xray_jax.checkpoints.contents import Tensors
from xray_jax.checkpoints.recognition import recognise


@pytest.mark.parametrize("naming", ["torchvision", "timm", "authors", "Hugging Face"])
def test_logits(naming: str) -> None:
    found = assert_same_logits(ConvNeXt((1, 2, 1, 1), (8, 12, 16, 24), naming), (64, 64, 3), expected="convnext")
    assert naming in found.description
    assert found.module.stage_sizes == (1, 2, 1, 1)


@pytest.mark.parametrize(("network", "naming"), [("convnextv2", "timm"), ("convnextv2-transformers", "Hugging Face")])
def test_version_2(network: str, naming: str) -> None:
    found = assert_published(network, "convnext")
    assert f"(naming: {naming})" in found.description
    assert found.module.stage_sizes == (1, 2, 1, 1)
    assert found.module.response


def test_version_2_under_the_names_of_its_authors() -> None:
    shapes = published.read("convnextv2-transformers")["shapes"]
    names = (
        (r"^convnextv2\.", ""),
        (r"^embeddings\.patch_embeddings\.", "downsample_layers.0.0."),
        (r"^embeddings\.layernorm\.", "downsample_layers.0.1."),
        (r"^encoder\.stages\.(\d)\.downsampling_layer\.", r"downsample_layers.\1."),
        (r"^encoder\.stages\.(\d)\.layers\.", r"stages.\1."),
        (r"^layernorm\.", "norm."),
        (r"\.layernorm\.", ".norm."),
        (r"^classifier\.", "head."),
        (r"\.grn\.weight$", ".grn.gamma"),
        (r"\.grn\.bias$", ".grn.beta"),
    )
    arrays = {renamed(key, names): np.zeros(shape, np.float32) for key, shape in shapes.items()}
    assert "(naming: the authors')" in recognise(Tensors(arrays)).description
