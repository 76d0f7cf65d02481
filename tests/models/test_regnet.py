"""pytorch-cifar's form; the publishers' own are in `test_published_nets`."""

import pytest

from tests.oracles.compare import assert_same_logits, state_dict
from tests.oracles.small_images import CifarRegNet
from xray_jax.checkpoints.contents import CheckpointError, Tensors
from xray_jax.checkpoints.recognition import recognise

GROUPED = [(1, 8, 8, 2), (2, 12, 12, 3), (1, 16, 16, 4)]


@pytest.mark.parametrize(("squeezes", "expected"), [(False, ""), (True, "squeezed=((3, 0), (2, 3), (3, 0)), ")])
def test_logits(squeezes: bool, expected: str) -> None:
    sizes = "stage_sizes=(1, 2, 1), widths=(8, 12, 16), inner=(8, 12, 16), group=(4, 4, 4), "
    network = CifarRegNet(GROUPED, 12, squeezes)
    found = assert_same_logits(network, (16, 14, 3), expected=f"regnet:small=true, {sizes}{expected}stem_width=12 ")
    assert any("stride 1 in the stem and the first two stages" in note for note in found.notes)


def test_bottlenecks_without_groups_are_of_another_network() -> None:
    """A ResNet with channels pruned away has no RegNet's strides."""
    pruned = CifarRegNet([(1, 6, 16, 1), (2, 7, 16, 1), (1, 9, 24, 1)], 8, squeezes=False)
    with pytest.raises(CheckpointError, match="no known architecture"):
        recognise(Tensors(state_dict(pruned)))
