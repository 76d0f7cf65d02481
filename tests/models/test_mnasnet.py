import pytest

from tests.oracles.compare import assert_recognised, assert_same_logits, assert_same_weights, randomised, state_dict
from tests.oracles.mnasnet import MNASNet
from xray_jax.checkpoints.contents import CheckpointError, Tensors
from xray_jax.checkpoints.recognition import recognise
from xray_jax.models.architecture import Renames

WIDTHS, SIZES = [4, 6, 8, 6, 6, 6, 8], (2, 1, 1, 1, 1, 1)
TIMM: Renames = (
    (r"^classifier\.1\.", "classifier."),
    *((rf"^layers\.{at}\.", name) for at, name in ((0, "conv_stem."), (1, "bn1."), (14, "conv_head."), (15, "bn2."))),
    *(
        (rf"^layers\.{at}\.", f"blocks.0.0.{name}.")
        for at, name in ((3, "conv_dw"), (4, "bn1"), (6, "conv_pw"), (7, "bn2"))
    ),
    (r"^layers\.(\d+)\.(\d+)\.layers\.", lambda match: f"blocks.{int(match[1]) - 7}.{match[2]}."),
    *(
        (rf"^(blocks\.[1-6]\.\d\.){at}\.", rf"\1{name}.")
        for at, name in ((0, "conv_pw"), (1, "bn1"), (3, "conv_dw"), (4, "bn2"), (6, "conv_pwl"), (7, "bn3"))
    ),
)


def test_torchvision() -> None:
    network = MNASNet(6, WIDTHS, SIZES, 20)
    found = assert_same_logits(network, (40, 36, 3), expected="mnasnet, stem_width=6, widths=(4, 6, 8, 6, 6, 6, 8), ")
    assert any("published strides, of the stem too" in note for note in found.notes)
    assert found.variants is not None
    assert found.variants.alternatives(found.module, (32, 32, 3)) == ()
    ((usual, small),) = found.variants.unusual(found.module)
    assert (usual, small) == (found.module, found.module.clone(stem_stride=1))


def test_a_stem_for_small_images() -> None:
    network = MNASNet(6, WIDTHS, SIZES, 20)
    network.layers[0].stride = (1, 1)
    assert_same_logits(network, (12, 16, 3), architecture="mnasnet:stem_stride=1")


def test_timm() -> None:
    assert_same_weights(MNASNet(6, WIDTHS, SIZES, 20), TIMM, "timm")


@pytest.mark.parametrize(
    ("stem", "widths", "expected"),
    [
        (32, [16, 24, 40, 80, 96, 192, 320], "mnasnet1_0 ("),
        (32, [16, 16, 24, 40, 48, 96, 160], "mnasnet, widths=(16, 16, 24, 40, 48, 96, 160) ("),
    ],
)
def test_published_sizes(stem: int, widths: list[int], expected: str) -> None:
    """The last has the stem of torchvision's first version."""
    assert_recognised(MNASNet(stem, widths), expected)


@pytest.mark.parametrize("place", [3, 6])
def test_other_kernels_and_expansions_are_others(place: int) -> None:
    """timm's EfficientNet-Lite and SPNASNet have the same names, and the first another activation."""
    arrays = state_dict(randomised(MNASNet(6, WIDTHS, SIZES, 20)))
    key = f"layers.9.0.layers.{place}.weight"
    arrays[key] = arrays[key][..., 1:-1, 1:-1] if place == 3 else arrays[key][:, 1:]
    with pytest.raises(CheckpointError, match=r"mnasnet.*wrong shape"):
        recognise(Tensors(arrays))
