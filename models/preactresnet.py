"""Pre-activation residual networks for small images (He et al. 2016, arXiv:1603.05027), in BackdoorBench's form.

Stem: 3x3 convolution, stride 1, no norm, no pool. Four stages in the presets, any number here. After the last stage
comes the global average pool and one linear layer: there is no final norm or ReLU. The shortcut of a block that
changes stride or width is a 1x1 convolution of the *activated* input.
"""

from collections.abc import Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models.architecture import Architecture, Shapes, count_children


class PreActBlock(nn.Module):
    """BN-ReLU-conv twice, plus the shortcut."""

    width: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        norm = partial(nn.BatchNorm, use_running_average=not train, momentum=0.9, epsilon=1e-5)
        conv = partial(nn.Conv, self.width, (3, 3), padding=1, use_bias=False)
        out = nn.relu(norm(name="bn1")(x))
        shortcut = x
        if self.stride != 1 or x.shape[-1] != self.width:
            shortcut = nn.Conv(self.width, (1, 1), self.stride, padding=0, use_bias=False, name="shortcut.0")(out)
        out = conv(strides=self.stride, name="conv1")(out)
        out = conv(name="conv2")(nn.relu(norm(name="bn2")(out)))
        return out + shortcut


class PreActResNet(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      stage_sizes: blocks in each stage.
      widths: channels of each stage.
      strides: stride of each stage's first block.
    """

    num_classes: int = 10
    stage_sizes: Sequence[int] = (2, 2, 2, 2)
    widths: Sequence[int] = (64, 128, 256, 512)
    strides: Sequence[int] = (1, 2, 2, 2)

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = nn.Conv(self.widths[0], (3, 3), padding=1, use_bias=False, name="conv1")(x)
        for stage, (size, width, stride) in enumerate(zip(self.stage_sizes, self.widths, self.strides, strict=True)):
            for block in range(size):
                x = PreActBlock(width, stride if block == 0 else 1, name=f"layer{stage + 1}.{block}")(x, train)
        return nn.Dense(self.num_classes, name="linear")(jnp.mean(x, axis=(1, 2)))


def infer(shapes: Shapes) -> PreActResNet | None:
    """Reads depth, widths and class count from published names and shapes; None if it is another kind of network.

    Strides leave no trace in the weights: the first stage is taken as stride 1, the others as 2, as published.
    """
    if "linear.weight" not in shapes or "layer1.0.bn1.weight" not in shapes or "bn1.weight" in shapes:
        return None
    sizes, widths = [], []
    while size := count_children(shapes, f"layer{len(sizes) + 1}"):
        widths.append(shapes.get(f"layer{len(sizes) + 1}.0.conv1.weight", (0,))[0])
        sizes.append(size)
    strides = (1, *[2] * (len(sizes) - 1))
    return PreActResNet(shapes["linear.weight"][0], tuple(sizes), tuple(widths), strides)


ARCHITECTURE = Architecture(
    name="preactresnet",
    presets={
        "preactresnet18": partial(PreActResNet, stage_sizes=(2, 2, 2, 2)),
        "preactresnet34": partial(PreActResNet, stage_sizes=(3, 4, 6, 3)),
        "preactresnet-small": partial(
            PreActResNet, stage_sizes=(1, 1, 1), widths=(16, 32, 64), strides=(1, 2, 2)
        ),
    },
    infer=infer,
    input_shape=(32, 32, 3),
)
