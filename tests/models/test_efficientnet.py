from tests.oracles.compare import assert_recognised, assert_same_logits
from tests.oracles.mobile import EfficientNet

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


def test_small_widths() -> None:
    rows = stages((4, 6, 8, 8, 10, 12, 16), (1, 2, 1, 1, 2, 1, 1), 8)
    assert_same_logits(EfficientNet(rows, 8, 40), (40, 40, 3), expected="efficientnet,")


def test_b3() -> None:
    rows = stages((24, 32, 48, 96, 136, 232, 384), (2, 3, 3, 5, 5, 6, 2), 40)
    assert_recognised(EfficientNet(rows, 40, 1536), "efficientnet_b3 (naming: torchvision)")
