"""Residual networks with gates or unusual shortcuts, under the names of several publishers."""

import pytest

from tests.oracles import gated
from tests.oracles.compare import assert_same_logits, assert_same_weights
from xray_jax.models import preactresnet

SHAPE = (12, 12, 3)


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (gated.GatedResNet(kernel=3), "shortcut=3 "),
        (gated.GatedResNet(norm=False), "shortcut_norm=False "),
        (gated.GatedResNet(gate=gated.SequentialSE, gate_name="se"), "gate=se, gate_widths=(2, 3), gate_bias=False "),
        (gated.GatedResNet(gate=gated.ConvolutionSE), "gate=se, gate_widths=(2, 3) "),
        (gated.GatedResNet(gate=gated.AuthorsCBAM, gate_name="cbam", head="fc"), "gate=cbam-bn, gate_widths=(2, 3) "),
        (gated.GatedResNet(gate=gated.OtherCBAM), "gate=cbam, gate_widths=(2, 3), gate_bias=False "),
    ],
)
def test_logits(network: gated.GatedResNet, expected: str) -> None:
    found = assert_same_logits(network, SHAPE, expected="resnet, stage_sizes=(1, 1), widths=(8, 12), stem=cifar, ")
    assert f"stem_width=8, {expected}(naming: pytorch-cifar" in found.description
    assert any("the gates" in note for note in found.notes) == ("gate=" in expected)


def test_a_pre_activation_net_with_gates() -> None:
    found = assert_same_logits(gated.PreActivationNet(senet=True), SHAPE, expected="preactresnet, stage_sizes=(1, 1)")
    assert "stem_norm=True, gate=se, gate_widths=(2, 3) (naming: with gates" in found.description


def test_a_pre_activation_net_with_a_last_norm_leaves_open_what_its_shortcuts_take() -> None:
    asked = "preactresnet:activated_shortcut=false"
    found = assert_same_logits(gated.PreActivationNet(senet=False), SHAPE, architecture=asked)
    assert any("before its activation" in note for note in found.notes)
    (answers,) = preactresnet.variants(found.module, SHAPE, SHAPE)
    assert [network.activated_shortcut for network in answers] == [True, False]


def test_names_of_pytorch_cifar100() -> None:
    names = (
        (r"^(conv1|bn1)\.", lambda m: f"pre.{int(m[1] == 'bn1')}."),
        (r"^layer(\d)", r"stage\1"),
        (r"\.conv([12])\.", lambda m: f".residual.{3 * int(m[1]) - 3}."),
        (r"\.bn([12])\.", lambda m: f".residual.{3 * int(m[1]) - 2}."),
        (r"\.se\.fc\.", ".excitation."),
    )
    network = gated.GatedResNet(gate=gated.SequentialSE, gate_name="se")
    assert_same_weights(network, names, "pytorch-cifar100")


def test_names_of_hugging_face() -> None:
    names = (
        (r"^conv1\.", "resnet.embedder.embedder.convolution."),
        (r"^bn1\.", "resnet.embedder.embedder.normalization."),
        (r"^layer(\d)\.(\d)\.", lambda m: f"resnet.encoder.stages.{int(m[1]) - 1}.layers.{m[2]}."),
        (r"\.conv([12])\.", lambda m: f".layer.{int(m[1]) - 1}.convolution."),
        (r"\.bn([12])\.", lambda m: f".layer.{int(m[1]) - 1}.normalization."),
        (r"\.shortcut\.0\.", ".shortcut.convolution."),
        (r"\.shortcut\.1\.", ".shortcut.normalization."),
        (r"^linear\.", "classifier.1."),
    )
    assert_same_weights(gated.GatedResNet(), names, "Hugging Face")


def test_a_shortcut_without_a_sequential_around_it() -> None:
    names = ((r"\.shortcut\.0\.", ".conv_shortcut."), (r"\.shortcut\.1\.", ".bn_shortcut."))
    assert_same_weights(gated.GatedResNet(), names, "shortcuts outside of a Sequential")
