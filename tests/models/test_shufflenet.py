import pytest
from torch import nn

from tests.oracles.compare import assert_recognised, assert_same_logits
from tests.oracles.grouped import Named, Numbered

SIZES, STAGES = [2, 1, 1], "stage_sizes=(2, 1, 1), "


def test_pytorch_cifar() -> None:
    expected = f"shufflenet, {STAGES}widths=(36, 72, 108), groups=3, stem_width=12 (naming: pytorch-cifar)"
    found = assert_same_logits(Numbered([12, 36, 72, 108], SIZES, 3), (17, 16, 3), expected=expected)
    assert found.variants is None
    assert any("pytorch-cifar's order" in note and "stride 1" in note for note in found.notes)


@pytest.mark.parametrize(("first", "shown"), [(3, 0), (1, 2)])
def test_pytorch_cifar100(first: int, shown: int) -> None:
    """Copies of it leave the convolutions of the first stage whole, as its comment says."""
    network = Named([12, 36, 72, 108], SIZES, 3, first)
    sizes = f"{STAGES}widths=(36, 72, 108), groups=3, ungrouped={shown}, inner=(9, 18, 27), "
    found = assert_same_logits(network, (17, 16, 3), expected=f"shufflenet:paper=true, {sizes}")
    assert "bias=True (naming: pytorch-cifar100)" in found.description
    assert any("the paper's order" in note for note in found.notes)


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (Numbered([24, 200, 400, 800], [4, 8, 4], 2), "shufflenet_g2 ("),
        (Numbered([24, 240, 480, 960], [4, 8, 4], 3), "shufflenet_g3 ("),
        (Named([24, 240, 480, 960], [4, 8, 4], 3, 3), "shufflenet:paper=true, widths=(240, 480, 960), groups=3, "),
    ],
)
def test_published_sizes(network: nn.Module, expected: str) -> None:
    assert_recognised(network, expected)
