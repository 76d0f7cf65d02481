import math
import re

import pytest

from xray_jax.models import ARCHITECTURES, build, expected_shapes, lookup, names

# Parameters with 1000 classes on 3 channels, as the publishers state them.
PUBLISHED = {
    "resnet18": 11_689_512, "resnet34": 21_797_672, "resnet50": 25_557_032,
    "resnet18d": 11_708_744, "resnet50d": 25_576_264, "resnext50_32x4d": 25_028_904, "wide_resnet50_2": 68_883_240,
    "vgg11": 132_863_336, "vgg13": 133_047_848, "vgg16": 138_357_544, "vgg19": 143_667_240,
    "vgg11_bn": 132_868_840, "vgg13_bn": 133_053_736, "vgg16_bn": 138_365_992, "vgg19_bn": 143_678_248,
    "mobilenet_v2": 3_504_872, "mobilenet_v3_large": 5_483_032, "mobilenet_v3_small": 2_542_856,
    "mnasnet0_5": 2_218_512, "mnasnet0_75": 3_170_208, "mnasnet1_0": 4_383_312, "mnasnet1_3": 6_282_256,
    "googlenet-imagenet": 6_624_904, "inception_v3": 23_834_568,
    "densenet121": 7_978_856, "densenet161": 28_681_000,
    "efficientnet_b0": 5_288_548, "efficientnet_b3": 12_233_232, "efficientnet_b7": 66_347_960,
    "efficientnet_v2_s": 21_458_488, "mobilenet_v1": 4_231_976, "squeezenet1_0": 1_248_424, "squeezenet1_1": 1_235_496,
    "convnext_tiny": 28_589_128, "convnext_small": 50_223_688, "convnextv2_atto": 3_708_400,
    "convnextv2_tiny": 28_635_496, "beit_base_patch16_224": 86_530_984,
    "shufflenet_v2_x0_5": 1_366_792, "shufflenet_v2_x1_0": 2_278_604, "shufflenet_v2_x1_5": 3_503_624,
    "regnet_x_400mf": 5_495_976, "regnet_y_400mf": 4_344_144, "swin_t": 28_288_354, "swin_b": 87_768_224,
    "swin_v2_t": 28_351_570, "maxvit_t": 30_919_624,
    "vit_b_16": 86_567_656, "vit_b_32": 88_224_232, "vit_l_16": 304_326_632,
}  # fmt: skip
# Tracing them all takes a minute and proves nothing more: the rest differ by the same formulas.
BIG = {f"efficientnet_b{n}" for n in (1, 2, 4, 5, 6)} | {
    *(f"tf_efficientnet_b{n}" for n in range(1, 8)),
    *(f"{name}_{size}" for name in ("efficientnet_v2", "efficientnetv2", "tf_efficientnetv2") for size in "ml"),
    "densenet169", "densenet201", "convnext_base", "convnextv2_base", "vit_l_32", "swin_s", "clip-vit-large-patch14",
    "siglip-large-patch16", "siglip-so400m-patch14", "swin_v2_s", "swin_v2_b",
    "beit_large_patch16_224",
}  # fmt: skip
PRESETS = [name for name in names() if lookup(name)[1] is not None and name not in BIG]


_BUFFERS = re.compile(r"running_|relative_coords_table")


def _shapes(name: str) -> dict[str, tuple[int, ...]]:
    large = name.startswith(("vit", "beit", "swin", "clip", "siglip", "inception", "maxvit"))
    side, channels = (28, 1) if "mnist" in name else (224, 3) if large else (32, 3)
    return expected_shapes(build(name, 1000), (side, side, channels))


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts(name: str) -> None:
    shapes = _shapes(name)
    count = sum(math.prod(shape) for key, shape in shapes.items() if not _BUFFERS.search(key))
    assert count == PUBLISHED[name]


@pytest.mark.parametrize(
    ("name", "leaves"), [("preactresnet18", 102), ("preactresnet34", 198), ("resnet18", 122), ("vit_b_16", 152)]
)
def test_number_of_tensors(name: str, leaves: int) -> None:
    """torch counts one `num_batches_tracked` a norm."""
    shapes = _shapes(name)
    assert len(shapes) + sum(key.endswith("running_mean") for key in shapes) == leaves


HIDDEN = {
    "cnn6-bn-relu", "mobilenet_v2-cifar", "tf_efficientnet_b0", "tf_mobilenetv3_large_100", "tf_mobilenetv3_small_100",
    "mobilenet_v1", "efficientnetv2_s", "tf_efficientnetv2_s", "resnet9-dawnbench", "resnet9-ffcv",
    "efficientnet_b0-cifar",
}  # fmt: skip
"""Presets that differ from another network only in what weights do not show."""


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_inferred_from_its_own_shapes_by_its_family_alone(name: str) -> None:
    shapes = _shapes(name)
    found = {family.name: inferred for family in ARCHITECTURES if (inferred := family.infer(shapes)) is not None}
    own = lookup(name)[0].name
    # Any chain of layers is a plain net too, which is asked last.
    assert found.keys() - {"plain"} == {own} - {"plain"}
    inferred = found[own]
    assert inferred.input_shape[2] == (1 if "mnist" in name else 3)
    assert expected_shapes(inferred.module, inferred.input_shape) == shapes
    if name in HIDDEN:
        assert inferred.module != build(name, 1000)
    else:
        assert inferred.module == build(name, 1000)


def test_names_are_unique() -> None:
    listed = [name for family in ARCHITECTURES for name in (family.name, *family.presets)]
    assert len(listed) == len(set(listed))


def test_unknown_name() -> None:
    with pytest.raises(ValueError, match=r"'xception'.*preactresnet18"):
        lookup("xception")
