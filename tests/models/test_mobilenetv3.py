import jax
import numpy as np
import pytest
from torch import nn

from tests.oracles.compare import (
    assert_recognised,
    assert_same_logits,
    randomised,
    renamed,
    state_dict,
    torch_logits,
)
from tests.oracles.mobile import MobileNetV3
from xray_jax.checkpoints.contents import Tensors
from xray_jax.checkpoints.recognition import recognise
from xray_jax.models.mobilenetv3 import ARCHITECTURE

LARGE = [
    (16, 16, 3, 0, False, 1), (24, 64, 3, 0, False, 2), (24, 72, 3, 0, False, 1), (40, 72, 5, 24, False, 2),
    (40, 120, 5, 32, False, 1), (40, 120, 5, 32, False, 1), (80, 240, 3, 0, True, 2), (80, 200, 3, 0, True, 1),
    (80, 184, 3, 0, True, 1), (80, 184, 3, 0, True, 1), (112, 480, 3, 120, True, 1), (112, 672, 3, 168, True, 1),
    (160, 672, 5, 168, True, 2), (160, 960, 5, 240, True, 1), (160, 960, 5, 240, True, 1),
]  # fmt: skip


def test_large() -> None:
    assert_recognised(MobileNetV3(LARGE, 16, 960, 1280), "mobilenet_v3_large (naming: torchvision)")


SMALL = [
    (16, 16, 3, 8, False, 2), (24, 72, 3, 0, False, 2), (24, 88, 3, 0, False, 1), (40, 96, 5, 24, True, 2),
    (40, 240, 5, 64, True, 1), (40, 240, 5, 64, True, 1), (48, 120, 5, 32, True, 1), (48, 144, 5, 40, True, 1),
    (96, 288, 5, 72, True, 2), (96, 576, 5, 144, True, 1), (96, 576, 5, 144, True, 1),
]  # fmt: skip


def timm_names(rows: list[tuple[int, int, int, int, bool, int]], stages: tuple[int, ...]) -> list[tuple[str, str]]:
    last = len(rows) + 1
    found = [
        (r"^classifier\.3\.", "CLASSIFIER."),
        (r"^classifier\.0\.", "conv_head."),
        (r"^features\.0\.0\.", "conv_stem."),
        (r"^features\.0\.1\.", "bn1."),
        (rf"^features\.{last}\.0\.", f"blocks.{len(stages)}.0.conv."),
        (rf"^features\.{last}\.1\.", f"blocks.{len(stages)}.0.bn1."),
    ]
    number = 0
    for stage, size in enumerate(stages):
        for block in range(size):
            number += 1
            names = [("conv_pw", "bn1")] if stage else []
            names += [("conv_dw", f"bn{len(names) + 1}")]
            names += [("se", "")] if rows[number - 1][3] else []
            norms = sum(norm != "" for _, norm in names)
            names += [("conv_pwl" if stage else "conv_pw", f"bn{norms + 1}")]
            for at, (layer, norm) in enumerate(names):
                start, to = rf"^features\.{number}\.block\.{at}\.", f"blocks.{stage}.{block}."
                if layer == "se":
                    found += [(start + r"fc1\.", to + "se.conv_reduce."), (start + r"fc2\.", to + "se.conv_expand.")]
                else:
                    found += [(start + r"0\.", f"{to}{layer}."), (start + r"1\.", f"{to}{norm}.")]
    return [*found, ("CLASSIFIER", "classifier")]


def test_other_widths_under_the_names_of_timm() -> None:
    """Widths are read from the weights; the depth names the table of strides and activations. timm has its epsilon."""
    half = [(max(w // 2, 8), e // 2 + 3, k, s // 2, h, t) for w, e, k, s, h, t in SMALL]
    network = MobileNetV3(half, 12, 30, 20)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eps = 1e-5
    names = timm_names(SMALL, (1, 2, 3, 2, 3))
    found = assert_same_logits(network, (40, 40, 3), expected="mobilenetv3:epsilon=1e-05, stem_width=12", renames=names)
    assert "(naming: timm)" in found.description


def test_names_of_timms_large_net() -> None:
    keys = state_dict(MobileNetV3(LARGE, 16, 960, 1280))
    names, naming = timm_names(LARGE, (1, 2, 3, 4, 2, 3)), ARCHITECTURE.namings[0]
    assert {key: naming.rename(renamed(key, names)) for key in keys} == {key: key for key in keys}
    assert renamed("features.5.block.2.fc1.weight", names) == "blocks.2.1.se.conv_reduce.weight"


@pytest.mark.parametrize("head", [nn.Linear(30, 5), nn.Sequential(nn.Dropout(), nn.Linear(30, 5))])
def test_a_classifier_without_its_hidden_layer(head: nn.Module) -> None:
    network = MobileNetV3([(8, max(e // 4, 8), k, s // 4, h, t) for _, e, k, s, h, t in SMALL], 8, 30, 20)
    network.classifier = head
    found = assert_same_logits(network, (40, 40, 3), expected="mobilenetv3")
    assert (found.num_classes, found.module.hidden) == (5, 0)


def test_what_lies_between_the_last_two_layers_is_open_where_they_are_somebodys_own() -> None:
    network = MobileNetV3([(8, max(e // 4, 8), k, s // 4, h, t) for _, e, k, s, h, t in SMALL], 8, 30, 20)
    network.classifier[1] = nn.ReLU()
    found = recognise(Tensors(state_dict(randomised(network))))
    assert found.variants is not None
    ((first, second),) = found.variants.alternatives(found.module, (40, 40, 3))
    assert (first, second.head_activation) == (found.module, "relu")
    assert found.notes[-1].endswith("hard swish between its last two layers")
    images = np.random.default_rng(0).normal(size=(2, 40, 40, 3)).astype(np.float32)
    wanted = torch_logits(network, images)
    np.testing.assert_allclose(jax.jit(second.apply)(found.variables, images), wanted, atol=1e-4 * np.abs(wanted).max())
    # Published widths leave nothing open.
    own = recognise(Tensors(state_dict(MobileNetV3(SMALL, 16, 576, 1024))))
    assert own.variants is not None
    assert own.variants.alternatives(own.module, (32, 32, 3)) == ()
