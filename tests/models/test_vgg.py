from collections.abc import Sequence

import jax
import numpy as np
import pytest
from torch import nn

from tests.oracles.compare import assert_recognised, assert_same_logits, randomised, state_dict
from tests.oracles.plain import SingleHead, TorchvisionVGG, vgg_features
from xray_jax.checkpoints.contents import Tensors
from xray_jax.checkpoints.recognition import recognise
from xray_jax.models import vgg

STAGES = ((4,), (6, 6), (8, 8), (8,), (10, 10))
SIX = ((32, 32), (64, 64), (128, 128))
PUBLISHED = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


@pytest.mark.parametrize("norm", ["none", "before"])
@pytest.mark.parametrize("side", [32, 64])
def test_torchvision(norm: str, side: int) -> None:
    """At 32x32 one pixel is repeated by the adaptive pool to 7x7; at 64x64 windows overlap."""
    assert_same_logits(TorchvisionVGG(STAGES, norm, 20), (side, side, 3), expected="vgg,")


@pytest.mark.parametrize("norm", ["none", "before"])
def test_cifar_form(norm: str) -> None:
    found = assert_same_logits(SingleHead(vgg_features(STAGES, norm=norm), 10), (32, 32, 3), expected="vgg,")
    assert found.module.hidden == ()


@pytest.mark.parametrize("norm", ["none", "before"])
@pytest.mark.parametrize("depth", [11, 13, 16, 19])
def test_published_sizes(depth: int, norm: str) -> None:
    stages = [(width,) * count for width, count in zip((64, 128, 256, 512, 512), PUBLISHED[depth], strict=True)]
    name = f"vgg{depth}{'_bn' if norm == 'before' else ''}"
    assert_recognised(SingleHead(vgg_features(stages, norm=norm), 512), f"{name}-cifar (")


@pytest.mark.parametrize("norm", ["before", "after"])
@pytest.mark.parametrize("sequential", [False, True])
def test_six_convolutions_with_elu(norm: str, sequential: bool) -> None:
    features = vgg_features(SIX, norm=norm, activation=nn.ELU, dropout=True)
    network: nn.Module = SingleHead(features, 2048)
    if sequential:
        network = nn.Sequential(*features, nn.Flatten(), nn.Linear(2048, 7))
    expected = {"before": "cnn6-bn-elu", "after": "cnn6-elu-bn"}[norm]
    found = assert_same_logits(network, (32, 32, 3), expected=expected)
    assert found.input_shape == (32, 32, 3)


def test_a_preset_overrides_what_weights_do_not_show() -> None:
    features = vgg_features(SIX, norm="before", activation=nn.ReLU, dropout=True)
    assert_same_logits(SingleHead(features, 2048), (32, 32, 3), architecture="cnn6-bn-relu", expected="cnn6-bn-relu")


def test_timms_linear_layers_are_convolutions() -> None:
    own = state_dict(randomised(TorchvisionVGG(STAGES, "none", 20)))
    names = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2", "classifier.6": "head.fc"}
    timm = {}
    for key, array in own.items():
        layer, _, leaf = key.rpartition(".")
        sides = {"classifier.0.weight": (20, 10, 7, 7), "classifier.3.weight": (20, 20, 1, 1)}.get(key, array.shape)
        timm[f"{names.get(layer, layer)}.{leaf}"] = array.reshape(sides)
    found = recognise(Tensors(timm))
    assert found.description.endswith("(naming: timm)")
    jax.tree.map(np.testing.assert_array_equal, found.variables, recognise(Tensors(own)).variables)


def _with_dropouts(stages: Sequence[Sequence[int]]) -> nn.Sequential:
    """As cifar-vgg has it: a dropout between the convolutions of a stage, a pool behind each."""
    parts: list[nn.Module] = []
    before = 3
    for stage in stages:
        for number, width in enumerate(stage, 1):
            last = nn.MaxPool2d(2) if number == len(stage) else nn.Dropout(0.4)
            parts += [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), last]
            before = width
    return nn.Sequential(*parts)


@pytest.mark.parametrize(
    ("stages", "inputs"),
    [
        (((8, 8), (16, 16), (16, 16)), 256),
        (((8, 8), (12, 12), (16, 16, 16), (20, 20, 20), (20, 20, 20)), 20),
    ],
)
def test_dropouts_between_convolutions_are_no_pools(stages: Sequence[Sequence[int]], inputs: int) -> None:
    found = assert_same_logits(SingleHead(_with_dropouts(stages), inputs), (32, 32, 3), expected="vgg,")
    assert found.input_shape == (32, 32, 3)
    assert any("dropouts after others" in note for note in found.notes)
    plans, activations = vgg.variants(found.module, (32, 32, 3), (32, 32, 3))
    assert 1 < len(plans) <= 6
    assert plans[0] == found.module
    assert len(activations) == 2


def test_one_dropout_is_told_by_the_size_of_the_images() -> None:
    features = nn.Sequential(*_with_dropouts(((4, 4),)), *list(vgg_features(((4,), (6, 6), (8,), (8,)), norm="before")))
    features[8] = nn.Conv2d(4, 4, 3, padding=1)
    found = recognise(Tensors(state_dict(randomised(SingleHead(features, 8)))))
    assert found.input_shape == (64, 64, 3)
    plans, _ = vgg.variants(found.module, (64, 64, 3), (32, 32, 3))
    assert "D" in plans[0].plan
    assert plans[0].plan.count("M") == 5


def test_ordinary_networks_have_no_other_plans() -> None:
    for name in vgg.ARCHITECTURE.presets:
        module = vgg.ARCHITECTURE.presets[name](num_classes=7)
        asked = vgg.variants(module, (32, 32, 3), (32, 32, 3))
        assert all(network.plan == module.plan for axis in asked for network in axis)


def test_a_pool_without_a_dropout_behind_others_with_one() -> None:
    """One layer alone, where pools have a dropout behind them, is a dropout."""
    parts = list(vgg_features(((4, 6), (8,)), norm="before", activation=nn.ELU, dropout=True))
    network = SingleHead(nn.Sequential(*parts[:3], nn.Dropout(), *parts[3:]), 512)
    assert_same_logits(network, (32, 32, 3), expected="vgg,")
