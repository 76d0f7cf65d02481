from tests.oracles.compare import assert_recognised, assert_same_logits
from tests.oracles.mobile import MobileNetV3

LARGE = [
    (16, 16, 3, 0, False, 1), (24, 64, 3, 0, False, 2), (24, 72, 3, 0, False, 1), (40, 72, 5, 24, False, 2),
    (40, 120, 5, 32, False, 1), (40, 120, 5, 32, False, 1), (80, 240, 3, 0, True, 2), (80, 200, 3, 0, True, 1),
    (80, 184, 3, 0, True, 1), (80, 184, 3, 0, True, 1), (112, 480, 3, 120, True, 1), (112, 672, 3, 168, True, 1),
    (160, 672, 5, 168, True, 2), (160, 960, 5, 240, True, 1), (160, 960, 5, 240, True, 1),
]  # fmt: skip


def test_large() -> None:
    assert_recognised(MobileNetV3(LARGE, 16, 960, 1280), "mobilenet_v3_large (naming: torchvision)")


def test_other_widths() -> None:
    """Widths are read from the weights; the depth names the table of strides and activations."""
    half = [
        (max(width // 2, 8), expanded // 2 + 3, kernel, squeezed // 2, s, t)
        for width, expanded, kernel, squeezed, s, t in LARGE
    ]
    assert_same_logits(MobileNetV3(half, 12, 30, 20), (40, 40, 3), expected="mobilenetv3, stem_width=12")
