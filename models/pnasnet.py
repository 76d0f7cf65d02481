"""PNASNet (Liu et al. 2017, arXiv:1712.00559) as pytorch-cifar has it, under its names: two cells, A and B.

Stages of cells of one width; between two stages a cell halves the size and doubles the width. Every branch of a cell is
a depthwise convolution and a norm, or a max pool.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models import layers
from xray_jax.models.architecture import Architecture, Inferred, Shapes, count_children, dim

_KERNELS = (7, 3, 5)
"""Of a cell's depthwise convolutions; cell A has the first alone."""


class Cell(nn.Module):
    """A depthwise 7x7 convolution and a max pool, added; of cell B a depthwise 3x3 and a 5x5 one more.

    Attributes:
      width: channels out.
      stride: of all branches; where it is 2, the pool is followed by a 1x1 convolution.
      pairs: cell B: two sums side by side, and a 1x1 convolution of both.
    """

    width: int
    stride: int
    pairs: bool

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        norm, conv = layers.batch_norm(train), partial(nn.Conv, use_bias=False)
        inside = x.shape[-1]

        def separable(number: int) -> jax.Array:
            kernel, name = _KERNELS[number - 1], f"sep_conv{number}"
            depthwise = partial(conv, feature_group_count=inside, padding=kernel // 2, name=f"{name}.conv1")
            return norm(name=f"{name}.bn1")(depthwise(self.width, (kernel, kernel), self.stride)(x))

        pooled = layers.max_pool(x, 3, self.stride, padding=1)
        if self.stride == 2:
            pooled = norm(name="bn1")(conv(self.width, (1, 1), name="conv1")(pooled))
        if not self.pairs:
            return nn.relu(separable(1) + pooled)
        both = [nn.relu(separable(1) + separable(2)), nn.relu(pooled + separable(3))]
        out = conv(self.width, (1, 1), name="conv2")(jnp.concatenate(both, axis=-1))
        return nn.relu(norm(name="bn2")(out))


class PNASNet(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      stage_sizes: cells in each stage, those between stages apart.
      widths: of each stage.
      pairs: cells B.
    """

    num_classes: int = 10
    stage_sizes: tuple[int, ...] = (6, 6, 6)
    widths: tuple[int, ...] = (44, 88, 176)
    pairs: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = nn.Conv(self.widths[0], (3, 3), padding=1, use_bias=False, name="conv1")(x)
        x = nn.relu(layers.batch_norm(train)(name="bn1")(x))
        for stage, (size, width) in enumerate(zip(self.stage_sizes, self.widths, strict=True)):
            if stage:
                x = Cell(width, 2, self.pairs, name=f"layer{2 * stage}")(x, train)
            for number in range(size):
                x = Cell(width, 1, self.pairs, name=f"layer{2 * stage + 1}.{number}")(x, train)
        return nn.Dense(self.num_classes, name="linear")(layers.average(x))


def infer(shapes: Shapes) -> Inferred | None:
    """Reads depth, widths and the kind of cell; None when the keys are of another kind of network."""
    if "layer1.0.sep_conv1.conv1.weight" not in shapes:
        return None
    sizes: list[int] = []
    while size := count_children(shapes, f"layer{2 * len(sizes) + 1}"):
        sizes.append(size)
    module = PNASNet(
        num_classes=dim(shapes, "linear.weight"),
        stage_sizes=tuple(sizes),
        widths=tuple(dim(shapes, f"layer{2 * n + 1}.0.sep_conv1.conv1.weight") for n in range(len(sizes))),
        pairs="layer1.0.sep_conv2.conv1.weight" in shapes,
    )
    return Inferred(module, (32, 32, dim(shapes, "conv1.weight", 1)), (note(module),))


def note(module: nn.Module) -> str:
    """What is assumed of a `PNASNet`, for rows."""
    return "assumed, weights do not show it: stem of stride 1, padded 3x3 max pools"


ARCHITECTURE = Architecture(
    name="pnasnet",
    presets={"pnasnet-a-cifar": PNASNet, "pnasnet-b-cifar": partial(PNASNet, widths=(32, 64, 128), pairs=True)},
    infer=infer,
    input_shape=(32, 32, 3),
    head="linear",
    naming="pytorch-cifar",
    note=note,
)
