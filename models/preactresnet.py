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

from xray_jax.models.architecture import Architecture, Inferred, Shapes, count_children, dim


class PreActBlock(nn.Module):
    """BN-ReLU-conv twice (3x3) or, in a bottleneck, three times (1x1, 3x3, 1x1 to four times the width); shortcut."""

    width: int
    stride: int = 1
    bottleneck: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        norm = partial(nn.BatchNorm, use_running_average=not train, momentum=0.9, epsilon=1e-5)
        conv = partial(nn.Conv, use_bias=False)
        width_out = 4 * self.width if self.bottleneck else self.width
        out = nn.relu(norm(name="bn1")(x))
        shortcut = x
        if self.stride != 1 or x.shape[-1] != width_out:
            shortcut = conv(width_out, (1, 1), self.stride, padding=0, name="shortcut.0")(out)
        if self.bottleneck:
            out = conv(self.width, (1, 1), name="conv1")(out)
            out = conv(self.width, (3, 3), self.stride, padding=1, name="conv2")(nn.relu(norm(name="bn2")(out)))
            out = conv(width_out, (1, 1), name="conv3")(nn.relu(norm(name="bn3")(out)))
        else:
            out = conv(self.width, (3, 3), self.stride, padding=1, name="conv1")(out)
            out = conv(self.width, (3, 3), padding=1, name="conv2")(nn.relu(norm(name="bn2")(out)))
        return out + shortcut


class PreActResNet(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      stage_sizes: blocks in each stage.
      widths: channels of each stage (of its 3x3 convolutions).
      strides: stride of each stage's first block.
      bottleneck: blocks of three convolutions, as in depth 50.
    """

    num_classes: int = 10
    stage_sizes: Sequence[int] = (2, 2, 2, 2)
    widths: Sequence[int] = (64, 128, 256, 512)
    strides: Sequence[int] = (1, 2, 2, 2)
    bottleneck: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = nn.Conv(self.widths[0], (3, 3), padding=1, use_bias=False, name="conv1")(x)
        for stage, (size, width, stride) in enumerate(zip(self.stage_sizes, self.widths, self.strides, strict=True)):
            for block in range(size):
                name = f"layer{stage + 1}.{block}"
                x = PreActBlock(width, stride if block == 0 else 1, self.bottleneck, name=name)(x, train)
        return nn.Dense(self.num_classes, name="linear")(jnp.mean(x, axis=(1, 2)))


_PRESETS = {
    "preactresnet18": partial(PreActResNet, stage_sizes=(2, 2, 2, 2)),
    "preactresnet34": partial(PreActResNet, stage_sizes=(3, 4, 6, 3)),
    "preactresnet50": partial(PreActResNet, stage_sizes=(3, 4, 6, 3), bottleneck=True),
    # Strides unlike the published ones: what two CPU cores can train by the dozen (the lab's and the demo's zoo).
    "preactresnet-small": partial(PreActResNet, stage_sizes=(1, 1, 1), widths=(16, 32, 64), strides=(2, 2, 1)),
    "preactresnet-small-wide": partial(PreActResNet, stage_sizes=(1, 2, 1), widths=(24, 48, 96), strides=(2, 2, 1)),
}


def infer(shapes: Shapes) -> Inferred | None:
    """Reads depth, widths and class count from published names and shapes; None if it is another kind of network.

    A first stage that keeps the width and yet has a shortcut has stride 2. The other strides leave no trace in the
    weights: they are those of the preset that has these sizes, or else 2.
    """
    if "linear.weight" not in shapes or "layer1.0.bn1.weight" not in shapes or "bn1.weight" in shapes:
        return None
    sizes: list[int] = []
    widths: list[int] = []
    while size := count_children(shapes, f"layer{len(sizes) + 1}"):
        widths.append(dim(shapes, f"layer{len(sizes) + 1}.0.conv1.weight"))
        sizes.append(size)
    kept = dim(shapes, "layer1.0.shortcut.0.weight") == dim(shapes, "layer1.0.shortcut.0.weight", 1) > 0
    strides = (2 if kept else 1, *[2] * (len(sizes) - 1))
    bottleneck = "layer1.0.conv3.weight" in shapes
    module = PreActResNet(dim(shapes, "linear.weight"), tuple(sizes), tuple(widths), strides, bottleneck)
    for preset in _PRESETS.values():
        known = preset(num_classes=module.num_classes)
        if known.strides[0] == strides[0] and known.clone(strides=strides) == module:
            module = known
    note = f"assumed, weights do not show it: strides {module.strides}"
    return Inferred(module, (32, 32, dim(shapes, "conv1.weight", 1)), (note,))


ARCHITECTURE = Architecture(
    name="preactresnet",
    presets=_PRESETS,
    infer=infer,
    input_shape=(32, 32, 3),
    naming="BackdoorBench",
)
