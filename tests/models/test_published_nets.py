"""Networks as their publishers' packages have them: recognised from names and shapes, with the same logits."""

import pytest

from tests.oracles.compare import assert_published

_FOUR = "resnet, stage_sizes=(1, 1, 1, 1), "


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ("resnet-d", f"{_FOUR}widths=(4, 8, 8, 16), stem=deep, "),
        ("resnext-t", f"{_FOUR}widths=(8, 16, 16, 32), bottleneck=True, expansion=2.0, groups=4, stem=deep, "),
        ("wide_resnet", f"{_FOUR}widths=(8, 16, 16, 32), bottleneck=True, expansion=2.0 "),
        ("inception_v3", "inception, divisor=8 (naming: torchvision, with auxiliary head)"),
        ("deit-transformers", "vit, depth=1, width=128, hidden=32, heads=2, patch=8, fused=False, epsilon=1e-12, dist"),
        ("deit-distilled", "vit, depth=1, width=128, hidden=512, heads=2, patch=8, distillation=head (naming: timm)"),
        ("regnet-y", "regnet, stage_sizes=(1, 2), widths=(8, 16), inner=(8, 16), group=(4, 8), squeezed="),
        ("regnet-x", "regnet, stage_sizes=(1, 1, 4, 7), widths=(24, 56, 152, 368), "),
        ("regnet-transformers", "regnet, stage_sizes=(1, 2), widths=(8, 16), inner=(8, 16), group=(4, 4), squeezed="),
    ],
)
def test_logits(network: str, expected: str) -> None:
    assert_published(network, expected)
