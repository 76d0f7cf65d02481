from functools import partial

import pytest
from torch import nn

from tests.oracles.compare import assert_recognised, assert_same_logits
from tests.oracles.pytorch_cifar import DLA, HalvedTree, Tree
from xray_jax.models import build, dla, expected_shapes

FULL = ((16, 16, 32), (64, 128, 256, 512), (1, 2, 2, 1))


@pytest.mark.parametrize(
    ("tree", "levels", "expected"),
    [
        (Tree, (1, 2), ""),
        (partial(Tree, previous=False), (2,), ", previous=False"),
        (HalvedTree, (1, 2), ", simple=True"),
    ],
)
def test_logits(tree: type[nn.Module], levels: tuple[int, ...], expected: str) -> None:
    widths = (6, 8)[: len(levels)]
    found = assert_same_logits(DLA(tree, (4, 4, 5), widths, levels), (12, 10, 3), expected="dla, stem=(4, 4, 5), ")
    assert found.description.endswith(f"levels={levels}{expected} (naming: pytorch-cifar)")


def test_full_size() -> None:
    assert_recognised(DLA(Tree, *FULL), "dla-cifar (naming: pytorch-cifar)")
    simple = dla.infer({key: tuple(tensor.shape) for key, tensor in DLA(HalvedTree, *FULL).state_dict().items()})
    assert simple is not None
    assert simple.module == build("dla-simple-cifar", 7)


def test_a_file_cannot_ask_for_more_blocks_than_it_holds() -> None:
    """Each level doubles a tree, so that names of a few words are a network without end."""
    shapes = {f"layer3.{'left_tree.' * depth}root.conv.weight": (1, 1, 1, 1) for depth in range(60)}
    inferred = dla.infer({"base.0.weight": (4, 3, 3, 3), **shapes})
    assert inferred is not None
    assert inferred.module.levels == (60,)
    with pytest.raises(ValueError, match="levels have more than 256 blocks"):
        expected_shapes(inferred.module, inferred.input_shape)
