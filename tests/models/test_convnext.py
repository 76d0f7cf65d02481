import pytest

from tests.oracles.compare import assert_same_logits
from tests.oracles.convnext import ConvNeXt


@pytest.mark.parametrize("naming", ["torchvision", "timm", "authors", "Hugging Face"])
def test_logits(naming: str) -> None:
    found = assert_same_logits(ConvNeXt((1, 2, 1, 1), (8, 12, 16, 24), naming), (64, 64, 3), expected="convnext")
    assert naming in found.description
    assert found.module.stage_sizes == (1, 2, 1, 1)
