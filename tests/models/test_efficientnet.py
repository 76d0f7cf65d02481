from tests.oracles.compare import assert_recognised, assert_same_logits, assert_same_weights
from tests.oracles.mobile import EfficientNet
from tests.oracles.small_images import CifarEfficientNet
from xray_jax.models import build

STRIDES = (1, 2, 2, 2, 1, 2, 1)
KERNELS = (3, 3, 5, 3, 5, 5, 3)


def stages(widths: tuple[int, ...], depths: tuple[int, ...], stem: int) -> list[list[tuple[int, ...]]]:
    rows, before = [], stem
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        rows.append([])
        for block in range(depth):
            expanded = before * (1 if stage == 0 else 6)
            stride = STRIDES[stage] if block == 0 else 1
            rows[-1].append((width, expanded, KERNELS[stage], max(before // 4, 1), stride))
            before = width
    return rows


SMALL = stages((4, 6, 8, 8, 10, 12, 16), (1, 2, 1, 1, 2, 1, 1), 8)


def test_small_widths() -> None:
    assert_same_logits(EfficientNet(SMALL, 8, 40), (40, 40, 3), expected="efficientnet,")


def test_b3() -> None:
    rows = stages((24, 32, 48, 96, 136, 232, 384), (2, 3, 3, 5, 5, 6, 2), 40)
    assert_recognised(EfficientNet(rows, 40, 1536), "efficientnet_b3 (naming: torchvision)")


def test_names_of_timm() -> None:
    first = r"^features\.1\.(\d)\.block\."
    later = r"^features\.(\d)\.(\d)\.block\."
    parts = ("conv_dw", "bn1", "se.conv_reduce", "se.conv_expand", "conv_pw", "bn2")
    inner = ("conv_pw", "bn1", "conv_dw", "bn2", "se.conv_reduce", "se.conv_expand", "conv_pwl", "bn3")
    names = [
        *(
            (rf"{first}{at}\.", rf"blocks.0.\1.{to}.")
            for at, to in zip((r"0\.0", r"0\.1", r"1\.fc1", r"1\.fc2", r"2\.0", r"2\.1"), parts, strict=True)
        ),
        *(
            (rf"{later}{at}\.", lambda m, to=to: f"blocks.{int(m[1]) - 1}.{m[2]}.{to}.")
            for at, to in zip(
                (r"0\.0", r"0\.1", r"1\.0", r"1\.1", r"2\.fc1", r"2\.fc2", r"3\.0", r"3\.1"), inner, strict=True
            )
        ),
        (r"^features\.0\.0\.", "conv_stem."),
        (r"^features\.0\.1\.", "bn1."),
        (r"^features\.8\.0\.", "conv_head."),
        (r"^features\.8\.1\.", "bn2."),
        (r"^classifier\.1\.", "classifier."),
    ]
    assert_same_weights(EfficientNet(SMALL, 8, 40), names, "timm")


def test_pytorch_cifar() -> None:
    """Which has a stem of stride 1, no last convolution, and layers in its first block that it never calls."""
    small = stages((4, 6, 8, 8, 10, 12, 16), (1, 2, 2, 3, 3, 4, 1), 8)
    expected = "efficientnet:padded_for=0:stem_stride=1, stem_width=8, "
    found = assert_same_logits(CifarEfficientNet(small, 8), (18, 18, 3), expected=expected)
    assert found.description.endswith("last_width=0, flat=True (naming: pytorch-cifar)")
    assert any("not used: layers.0.conv1.weight" in note for note in found.notes)
    assert any("but a stem of stride 1" in note for note in found.notes)
    rows = stages((16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1), 32)
    wide = found.module.clone(stem_width=32, stages=tuple(map(tuple, rows)))
    assert wide == build("efficientnet_b0-cifar", 7)
