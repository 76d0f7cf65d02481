"""Dual path networks (Chen et al. 2017, arXiv:1707.01629) in pytorch-cifar's form and naming.

Bottlenecks whose 3x3 convolutions have groups. The first channels of what a block finds are added to its input, as in
a ResNet, the others are put behind it, as in a DenseNet.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models import layers
from xray_jax.models.architecture import Architecture, Inferred, Shapes, count_children, dim


class DualPathBlock(nn.Module):
    """1x1, 3x3 in groups, 1x1; some channels added, others appended.

    Attributes:
      inner: channels of the 3x3 convolution.
      width: channels that are added.
      dense: channels that are appended.
      groups: of the 3x3 convolution.
      stride: of the 3x3 convolution and of the shortcut.
      shortcut: the input passes a 1x1 convolution, to as many channels as the block finds: the first of a stage.
    """

    inner: int
    width: int
    dense: int
    groups: int
    stride: int
    shortcut: bool

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        norm, conv = layers.batch_norm(train), partial(nn.Conv, use_bias=False)
        out = nn.relu(norm(name="bn1")(conv(self.inner, (1, 1), name="conv1")(x)))
        grouped = partial(conv, feature_group_count=self.groups, padding=1, name="conv2")
        out = nn.relu(norm(name="bn2")(grouped(self.inner, (3, 3), self.stride)(out)))
        out = norm(name="bn3")(conv(self.width + self.dense, (1, 1), name="conv3")(out))
        if self.shortcut:
            x = conv(self.width + self.dense, (1, 1), self.stride, padding=0, name="shortcut.0")(x)
            x = norm(name="shortcut.1")(x)
        (before, kept), (after, new) = (jnp.split(part, [self.width], axis=-1) for part in (x, out))
        return nn.relu(jnp.concatenate([before + after, kept, new], axis=-1))


class DPN(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      stage_sizes: blocks in each stage; all but the first stage begin with stride 2.
      inner: channels of each stage's 3x3 convolutions.
      widths: channels that each stage's blocks add to.
      dense: channels that each of its blocks appends.
      groups: of the 3x3 convolutions.
      stem_width: channels of the stem.
    """

    num_classes: int = 10
    stage_sizes: tuple[int, ...] = (3, 4, 20, 3)
    inner: tuple[int, ...] = (96, 192, 384, 768)
    widths: tuple[int, ...] = (256, 512, 1024, 2048)
    dense: tuple[int, ...] = (16, 32, 24, 128)
    groups: int = 32
    stem_width: int = 64

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = nn.Conv(self.stem_width, (3, 3), padding=1, use_bias=False, name="conv1")(x)
        x = nn.relu(layers.batch_norm(train)(name="bn1")(x))
        stages = zip(self.stage_sizes, self.inner, self.widths, self.dense, strict=True)
        for stage, (size, inner, width, dense) in enumerate(stages, 1):
            for number in range(size):
                first = number == 0
                stride = 2 if stage > 1 and first else 1
                block = DualPathBlock(inner, width, dense, self.groups, stride, first, name=f"layer{stage}.{number}")
                x = block(x, train)
        return nn.Dense(self.num_classes, name="linear")(layers.average(x))


def infer(shapes: Shapes) -> Inferred | None:
    """Reads all sizes; None when the keys are of another kind of network, a ResNet that appends nothing too."""
    if "layer1.0.conv3.weight" not in shapes or "layer1.0.shortcut.0.weight" not in shapes:
        return None
    sizes: list[int] = []
    while size := count_children(shapes, f"layer{len(sizes) + 1}"):
        sizes.append(size)
    stages = range(1, len(sizes) + 1)
    found = [dim(shapes, f"layer{stage}.0.conv3.weight") for stage in stages]
    # What comes behind a stage takes what its first block found and what all of them appended.
    taken = [*(dim(shapes, f"layer{stage}.0.conv1.weight", 1) for stage in stages[1:]), dim(shapes, "linear.weight", 1)]
    dense = [(after - before) // size for before, after, size in zip(found, taken, sizes, strict=True)]
    if min(dense) <= 0:
        return None
    inner = tuple(dim(shapes, f"layer{stage}.0.conv2.weight") for stage in stages)
    module = DPN(
        num_classes=dim(shapes, "linear.weight"),
        stage_sizes=tuple(sizes),
        inner=inner,
        widths=tuple(width - new for width, new in zip(found, dense, strict=True)),
        dense=tuple(dense),
        groups=inner[0] // max(dim(shapes, "layer1.0.conv2.weight", 1), 1),
        stem_width=dim(shapes, "conv1.weight"),
    )
    return Inferred(module, (32, 32, dim(shapes, "conv1.weight", 1)), (note(module),))


def note(module: nn.Module) -> str:
    """What is assumed of a `DPN`, for rows."""
    return "assumed, weights do not show it: the stem has stride 1, every later stage stride 2"


ARCHITECTURE = Architecture(
    name="dpn",
    presets={"dpn92-cifar": DPN, "dpn26-cifar": partial(DPN, stage_sizes=(2, 2, 2, 2))},
    infer=infer,
    input_shape=(32, 32, 3),
    head="linear",
    naming="pytorch-cifar",
    note=note,
)
