"""ShuffleNet, version 1 (Zhang et al. 2018, arXiv:1707.01083), in pytorch-cifar's form and naming, and another's.

A block is a bottleneck of grouped convolutions, whose channels are shuffled behind the first. The first block of a
stage halves the size, and its channels stand beside the pooled input's; the others add theirs to it. The stem has
stride 1, as for small images.
"""

import itertools
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models import layers
from xray_jax.models.architecture import Architecture, Inferred, Naming, Renames, Shapes, count_children, dim


class ShuffleBottleneck(nn.Module):
    """Reduce (1x1), shuffle, depthwise 3x3, expand (1x1), and the input beside or added.

    Attributes:
      width: channels out.
      inner: channels between.
      halves: the block halves the size, and some of its channels are the pooled input's.
      grouped: of the first convolution; that of the last is always grouped.
      groups: of the channels.
      paper: see `ShuffleNet`.
      bias: convolutions have one.
    """

    width: int
    inner: int
    halves: bool
    grouped: bool
    groups: int
    paper: bool
    bias: bool

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        norm = layers.batch_norm(train)
        pointwise = partial(nn.Conv, kernel_size=(1, 1), use_bias=self.bias)
        first = self.groups if self.grouped else 1
        out = pointwise(self.inner, feature_group_count=first, name="conv1")(x)
        out = _shuffled(nn.relu(norm(name="bn1")(out)), self.groups if self.paper else first)
        stride = 2 if self.halves else 1
        depthwise = partial(nn.Conv, padding=1, feature_group_count=self.inner, use_bias=self.bias)
        out = norm(name="bn2")(depthwise(self.inner, (3, 3), stride, name="conv2")(out))
        out = out if self.paper else nn.relu(out)
        computed = self.width - x.shape[-1] if self.halves else self.width
        out = norm(name="bn3")(pointwise(computed, feature_group_count=self.groups, name="conv3")(out))
        if not self.halves:
            return nn.relu(out + x)
        pooled = layers.average_pool_same(x, 3)[:, ::2, ::2]
        return nn.relu(jnp.concatenate((pooled, out) if self.paper else (out, pooled), axis=-1))


def _shuffled(x: jax.Array, groups: int) -> jax.Array:
    """Channels of all groups, taken in turns."""
    return x.reshape(*x.shape[:-1], groups, -1).swapaxes(-1, -2).reshape(x.shape)


class ShuffleNet(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      stage_sizes: blocks in each stage.
      widths: of each stage.
      groups: of the blocks' 1x1 convolutions.
      ungrouped: blocks at the beginning whose first convolution has no groups.
      inner: of each stage's first block, the channels between its convolutions; () is a quarter of what it computes.
      stem_width: channels of the stem.
      stem_kernel: side of its kernel.
      paper: the paper's order: no ReLU behind the depthwise convolutions, a shuffle in all blocks, the pooled input in
        front of what is computed. Otherwise pytorch-cifar's: a ReLU, a shuffle behind grouped convolutions alone, the
        pooled input behind.
      bias: convolutions have one.
    """

    num_classes: int = 10
    stage_sizes: tuple[int, ...] = (4, 8, 4)
    widths: tuple[int, ...] = (200, 400, 800)
    groups: int = 2
    ungrouped: int = 1
    inner: tuple[int, ...] = ()
    stem_width: int = 24
    stem_kernel: int = 1
    paper: bool = False
    bias: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        kernel = (self.stem_kernel, self.stem_kernel)
        x = nn.Conv(self.stem_width, kernel, padding=self.stem_kernel // 2, use_bias=self.bias, name="conv1")(x)
        x = nn.relu(layers.batch_norm(train)(name="bn1")(x))
        before = 0
        for stage, (size, width) in enumerate(zip(self.stage_sizes, self.widths, strict=True)):
            for number in range(size):
                halves = number == 0
                computed = width - x.shape[-1] if halves else width
                block = ShuffleBottleneck(
                    width,
                    self.inner[stage] if self.inner and halves else computed // 4,
                    halves,
                    before + number >= self.ungrouped,
                    self.groups,
                    self.paper,
                    self.bias,
                    name=f"layer{stage + 1}.{number}",
                )
                x = block(x, train)
            before += size
        return nn.Dense(self.num_classes, name="linear")(layers.average(x))


def infer(shapes: Shapes) -> Inferred | None:
    """Reads depth, widths and groups; None when the keys are of another kind of network."""
    if dim(shapes, "layer1.0.conv2.weight", 1) != 1 or "layer1.0.conv3.weight" not in shapes:
        return None
    sizes: list[int] = []
    widths = [dim(shapes, "conv1.weight")]
    while size := count_children(shapes, f"layer{len(sizes) + 1}"):
        sizes.append(size)
        widths.append(widths[-1] + dim(shapes, f"layer{len(sizes)}.0.conv3.weight"))
    inner = tuple(dim(shapes, f"layer{stage}.0.conv1.weight") for stage in range(1, len(sizes) + 1))
    quarters = tuple((width - before) // 4 for before, width in itertools.pairwise(widths))
    module = ShuffleNet(
        num_classes=dim(shapes, "linear.weight"),
        stage_sizes=tuple(sizes),
        widths=tuple(widths[1:]),
        groups=inner[0] // max(dim(shapes, "layer1.0.conv3.weight", 1), 1),
        ungrouped=_ungrouped(shapes, widths, sizes),
        inner=() if inner == quarters else inner,
        stem_width=widths[0],
        stem_kernel=dim(shapes, "conv1.weight", 2),
        bias="conv1.bias" in shapes,
    )
    return Inferred(module, (32, 32, dim(shapes, "conv1.weight", 1)), (note(module),))


def _ungrouped(shapes: Shapes, widths: list[int], sizes: list[int]) -> int:
    """Blocks at the beginning whose first convolution sees all channels; `widths` begin with the stem's."""
    count = 0
    for stage, size in enumerate(sizes):
        for number in range(size):
            inside = widths[stage + (number > 0)]
            if dim(shapes, f"layer{stage + 1}.{number}.conv1.weight", 1) != inside:
                return count
            count += 1
    return count


def note(module: nn.Module) -> str:
    """What is assumed of a `ShuffleNet`, for rows."""
    assert isinstance(module, ShuffleNet)
    order = "the paper's" if module.paper else "pytorch-cifar's"
    return f"assumed, weights do not show it: {order} order of channels and activations, the stem has stride 1"


_PYTORCH_CIFAR_100: Renames = (
    (r"^stage(\d)\.", lambda match: f"layer{int(match[1]) - 1}."),
    (r"\.bottlneck\.0\.pointwise\.0\.", ".conv1."),
    (r"\.bottlneck\.0\.pointwise\.1\.", ".bn1."),
    (r"\.depthwise\.depthwise\.0\.", ".conv2."),
    (r"\.depthwise\.depthwise\.1\.", ".bn2."),
    (r"\.expand\.pointwise\.0\.", ".conv3."),
    (r"\.expand\.pointwise\.1\.", ".bn3."),
    (r"^conv1\.conv\.", "conv1."),
    (r"^conv1\.bn\.", "bn1."),
    (r"^fc\.", "linear."),
)

ARCHITECTURE = Architecture(
    name="shufflenet",
    presets={
        "shufflenet_g2": ShuffleNet,
        "shufflenet_g3": partial(ShuffleNet, widths=(240, 480, 960), groups=3),
    },
    infer=infer,
    input_shape=(32, 32, 3),
    head="linear",
    naming="pytorch-cifar",
    namings=(Naming("pytorch-cifar100", _PYTORCH_CIFAR_100, fields=(("paper", True),)),),
    note=note,
)
