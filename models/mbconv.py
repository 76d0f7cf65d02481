"""The inverted residual block that MobileNetV3 and EfficientNet share, in torchvision's naming.

`block` is a torch Sequential of conv-norm-activation triples, so a part that is absent shifts the numbers of the
parts behind it.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models import layers
from xray_jax.models.architecture import Renames, Shapes, count_children, dim

Function = Callable[[jax.Array], jax.Array]


class ConvNorm(nn.Module):
    """Convolution `0` without bias, batch norm `1`, activation; padded by half the kernel on every side, or `same`.

    Attributes:
      width: channels out.
      kernel: side of the kernel.
      stride: of the convolution.
      groups: of its channels.
      epsilon: of the norm.
      activation: None is none.
      same: padded as TensorFlow does, on a stride of 2 more below and to the right.
    """

    width: int
    kernel: int
    stride: int = 1
    groups: int = 1
    epsilon: float = 1e-5
    activation: Function | None = None
    same: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = nn.Conv(
            self.width,
            (self.kernel, self.kernel),
            self.stride,
            padding="SAME" if self.same else self.kernel // 2,
            feature_group_count=self.groups,
            use_bias=False,
            name="0",
        )(x)
        x = layers.batch_norm(train, self.epsilon)(name="1")(x)
        return self.activation(x) if self.activation else x


class SqueezeExcitation(nn.Module):
    """Channels scaled by a gate that sees only their averages.

    Attributes:
      width: features between the two layers.
      activation: between them.
      gate: behind them, to [0, 1].
    """

    width: int
    activation: Function
    gate: Function

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = jnp.mean(x, axis=(1, 2), keepdims=True)
        scale = self.activation(nn.Conv(self.width, (1, 1), name="fc1")(scale))
        return x * self.gate(nn.Conv(x.shape[-1], (1, 1), name="fc2")(scale))


class InvertedResidual(nn.Module):
    """Expand (1x1), depthwise, squeeze-excitation, project (1x1); the input is added when the shape allows it.

    Attributes:
      width: channels out.
      expanded: channels between; no expansion when they equal the input's.
      kernel: side of the depthwise convolution's kernel.
      stride: of the depthwise convolution.
      squeezed: width of the squeeze-excitation; 0 is none.
      activation: behind the first two convolutions.
      squeeze_activation: inside the squeeze-excitation.
      gate: of the squeeze-excitation, to [0, 1].
      epsilon: of the norms.
    """

    width: int
    expanded: int
    kernel: int
    stride: int
    squeezed: int
    activation: Function
    squeeze_activation: Function
    gate: Function
    epsilon: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        out, number = x, 0
        if self.expanded != x.shape[-1]:
            out = ConvNorm(self.expanded, 1, 1, 1, self.epsilon, self.activation, name=f"block.{number}")(out, train)
            number += 1
        out = ConvNorm(
            self.expanded,
            self.kernel,
            self.stride,
            self.expanded,
            self.epsilon,
            self.activation,
            name=f"block.{number}",
        )(out, train)
        number += 1
        if self.squeezed:
            squeeze = SqueezeExcitation(self.squeezed, self.squeeze_activation, self.gate, name=f"block.{number}")
            out = squeeze(out)
            number += 1
        out = ConvNorm(self.width, 1, epsilon=self.epsilon, name=f"block.{number}")(out, train)
        return out + x if self.stride == 1 and x.shape[-1] == self.width else out


def read_block(shapes: Shapes, prefix: str) -> tuple[int, int, int, int]:
    """What the weights show of the block at `prefix`: (width, expanded, kernel, squeezed)."""
    count = count_children(shapes, f"{prefix}.block")
    project = f"{prefix}.block.{count - 1}.0.weight"
    squeezed = dim(shapes, f"{prefix}.block.{count - 2}.fc1.weight")
    depthwise = f"{prefix}.block.{count - (3 if squeezed else 2)}.0.weight"
    return dim(shapes, project), dim(shapes, depthwise), dim(shapes, depthwise, 2), squeezed


def timm_block(stage: int, features: str, expands: bool, squeezes: bool) -> Renames:
    """timm's names of the parts of a stage's blocks to those used here.

    Args:
      stage: its number in timm's `blocks`.
      features: replacement for the name of a block, `\\1` its number in the stage.
      expands: whether the blocks begin with a 1x1 convolution.
      squeezes: whether they have a squeeze-excitation.
    """
    depthwise = 1 if expands else 0
    project = depthwise + (2 if squeezes else 1)
    parts = [("conv_dw", f"{depthwise}.0"), (f"bn{depthwise + 1}", f"{depthwise}.1")]
    parts += [("conv_pw", "0.0"), ("bn1", "0.1")] if expands else []
    parts += [("conv_pwl" if expands else "conv_pw", f"{project}.0"), (f"bn{depthwise + 2}", f"{project}.1")]
    parts += [(r"se\.conv_reduce", f"{depthwise + 1}.fc1"), (r"se\.conv_expand", f"{depthwise + 1}.fc2")]
    return tuple((rf"^blocks\.{stage}\.(\d+)\.{part}\.", f"{features}.block.{to}.") for part, to in parts)
