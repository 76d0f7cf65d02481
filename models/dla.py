"""Deep Layer Aggregation (Yu et al. 2017, arXiv:1707.06484) in pytorch-cifar's two forms and their naming.

Behind three convolutions come trees of residual blocks. A tree ends in a root, a 1x1 convolution of what its parts
found. Of the full form these parts are smaller trees, two blocks, and, in trees of several levels, one more block of
the tree's own input, which older copies lack. In the simple form every tree has two halves, trees of one level less.
"""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models import layers
from xray_jax.models.architecture import Architecture, Inferred, Naming, Shapes, dim
from xray_jax.models.resnet import ResidualBlock

_STEM = ("base", "layer1", "layer2")
_MAX_BLOCKS = 256
"""Of all trees: each level doubles a tree's, so a few words in a file could ask for any number."""


class Tree(nn.Module):
    """Parts one after the other, and the root of all.

    Attributes:
      width: channels out, of all blocks.
      levels: 1 is two blocks and the root.
      stride: of the first block, and of those beside it.
      simple: two halves, each a tree of one level less.
      previous: a tree of several levels has a block more, of its own input.
    """

    width: int
    levels: int
    stride: int
    simple: bool
    previous: bool

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        block: Callable[..., nn.Module] = partial(ResidualBlock, self.width)
        tree = partial(Tree, self.width, simple=self.simple, previous=self.previous)
        halves, parts, stride = "node", [], self.stride
        if self.simple:
            halves = "tree"
            if self.levels > 1:
                block = partial(tree, self.levels - 1)
        elif self.levels > 1:
            parts = [block(stride=stride, name="prev_root")(x, train)] if self.previous else []
            for level in range(self.levels - 1, 0, -1):
                x = tree(level, stride, name=f"level_{level}")(x, train)
                parts.append(x)
            stride = 1
        left = block(stride=stride, name=f"left_{halves}")(x, train)
        parts += [left, block(stride=1, name=f"right_{halves}")(left, train)]
        x = nn.Conv(self.width, (1, 1), use_bias=False, name="root.conv")(jnp.concatenate(parts, axis=-1))
        return nn.relu(layers.batch_norm(train)(name="root.bn")(x))


class DLA(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      stem: channels of the three convolutions in front of the trees.
      widths: of each tree; all but the first have stride 2.
      levels: of each tree.
      simple: the simple form, whose trees have two halves.
      previous: trees of several levels, of the full form, have a block of their own input.
    """

    num_classes: int = 10
    stem: tuple[int, ...] = (16, 16, 32)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    levels: tuple[int, ...] = (1, 2, 2, 1)
    simple: bool = False
    previous: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        if sum(2**levels for levels in self.levels) > _MAX_BLOCKS:
            raise ValueError(f"trees of {self.levels} levels have more than {_MAX_BLOCKS} blocks")
        for name, width in zip(_STEM, self.stem, strict=True):
            x = nn.Conv(width, (3, 3), padding=1, use_bias=False, name=f"{name}.0")(x)
            x = nn.relu(layers.batch_norm(train)(name=f"{name}.1")(x))
        for number, (width, levels) in enumerate(zip(self.widths, self.levels, strict=True)):
            stride = 2 if number else 1
            x = Tree(width, levels, stride, self.simple, self.previous, name=f"layer{number + len(_STEM)}")(x, train)
        return nn.Dense(self.num_classes, name="linear")(layers.average(x))


def infer(shapes: Shapes) -> Inferred | None:
    """Reads widths, levels and the form; None when the keys are of another kind of network."""
    root = "layer{}.root.conv.weight"
    if root.format(len(_STEM)) not in shapes or "base.0.weight" not in shapes:
        return None
    simple = any(".left_tree." in key for key in shapes)
    widths: list[int] = []
    levels: list[int] = []
    while width := dim(shapes, root.format(len(_STEM) + len(widths))):
        levels.append(_levels(shapes, f"layer{len(_STEM) + len(widths)}", simple))
        widths.append(width)
    module = DLA(
        num_classes=dim(shapes, "linear.weight"),
        stem=tuple(dim(shapes, f"{name}.0.weight") for name in _STEM),
        widths=tuple(widths),
        levels=tuple(levels),
        simple=simple,
        previous=simple or max(levels, default=1) == 1 or any(".prev_root." in key for key in shapes),
    )
    return Inferred(module, (32, 32, dim(shapes, "base.0.weight", 1)), (note(module),))


def _levels(shapes: Shapes, tree: str, simple: bool) -> int:
    level = 1
    while f"{tree}.{'left_tree.' * level if simple else f'level_{level}.'}root.conv.weight" in shapes:
        level += 1
    return level


def note(module: nn.Module) -> str:
    """What is assumed of a `DLA`, for rows."""
    return "assumed, weights do not show it: the stem has stride 1, every tree but the first stride 2"


ARCHITECTURE = Architecture(
    name="dla",
    presets={"dla-cifar": DLA, "dla-simple-cifar": partial(DLA, simple=True)},
    infer=infer,
    input_shape=(32, 32, 3),
    head="linear",
    naming="pytorch-cifar, torchvision's shortcuts",
    namings=(Naming("pytorch-cifar", ((r"\.shortcut\.", ".downsample."),)),),
    note=note,
)
