import pytest

from tests.oracles.compare import assert_published, assert_same_logits
from tests.oracles.small_images import CifarGoogLeNet
from xray_jax.models import build

WIDTHS = [(4, 3, 5, 2, 3, 4)] * 4 + [(3, 2, 4, 3, 2, 2)] * 5


def test_torchvision_with_auxiliary_heads() -> None:
    found = assert_published("googlenet", "googlenet-imagenet (naming: torchvision, with auxiliary heads)")
    assert any("not used: aux" in note for note in found.notes)
    assert found.variants is not None
    ((usual, scaled),) = found.variants.alternatives(found.module, (32, 32, 3))
    assert usual == found.module
    assert scaled == found.module.clone(scaled=True)
    assert not found.variants.alternatives(build("googlenet-cifar", 10), (32, 32, 3))


@pytest.mark.parametrize(("slips", "naming"), [(False, "pytorch-cifar"), (True, "pytorch-cifar100")])
def test_cifar_forms(slips: bool, naming: str) -> None:
    found = assert_same_logits(CifarGoogLeNet(WIDTHS, 6, slips), (16, 16, 3), expected="googlenet")
    assert f"(naming: {naming})" in found.description
