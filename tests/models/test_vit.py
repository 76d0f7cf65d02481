import pytest
from torch import nn

from tests.oracles.compare import assert_same_logits, assert_same_weights
from tests.oracles.transformers import HuggingFaceViT, Resize, TimmViT, TorchvisionViT

SIZES = {"side": 32, "patch": 8, "width": 128, "hidden": 96, "depth": 2}


@pytest.mark.parametrize("old", [False, True])
def test_torchvision(old: bool) -> None:
    found = assert_same_logits(TorchvisionViT(**SIZES, old=old), (32, 32, 3), expected="vit,")
    assert ("torchvision 0.12" in found.description) == old
    assert found.input_shape == (32, 32, 3)
    assert any("2 attention heads" in note for note in found.notes)


@pytest.mark.parametrize(("side", "old", "prefix"), [(20, False, ""), (48, True, "module.")])
def test_behind_a_resize(side: int, old: bool, prefix: str) -> None:
    """Enlarged as in BackdoorBench, and shrunk: torch antialiases neither way unless told."""
    network = nn.Sequential(Resize(32), TorchvisionViT(**SIZES, old=old))
    found = assert_same_logits(network, (side, side, 3), prefix=prefix)
    assert found.module.size == (32, 32)


@pytest.mark.parametrize(("network", "naming"), [(TimmViT, "timm"), (HuggingFaceViT, "Hugging Face")])
def test_other_publishers(network: type[nn.Module], naming: str) -> None:
    found = assert_same_logits(network(**SIZES), (32, 32, 3), expected="vit,")
    assert f"(naming: {naming})" in found.description


def test_names_of_transformers_5() -> None:
    parts = {"query": "q", "key": "k", "value": "v"}
    names = (
        (r"^vit\.encoder\.layer\.", "vit.layers."),
        (r"\.attention\.attention\.(\w+)\.", lambda m: f".attention.{parts[m[1]]}_proj."),
        (r"\.attention\.output\.dense\.", ".attention.o_proj."),
        (r"\.intermediate\.dense\.", ".mlp.fc1."),
        (r"(\d)\.output\.dense\.", r"\1.mlp.fc2."),
    )
    assert_same_weights(HuggingFaceViT(**SIZES), names, "Hugging Face, transformers 5")
