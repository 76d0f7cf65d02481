"""The inverted residual block that MobileNetV3 and EfficientNet share, in torchvision's naming.

`block` is a torch Sequential of conv-norm-activation triples, so a part that is absent shifts the numbers of the
parts behind it.
"""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models import layers
from xray_jax.models.architecture import STEM_OF_1, STRIDES, Renames, Shape, Shapes, count_children, dim

Function = Callable[[jax.Array], jax.Array]


SAME_EPSILON = 1e-3
"""Of norms in networks that come from TensorFlow, with its padding."""


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
      padded_for: side of the images that it is padded for when `same`, whatever they have; 0 is their own.
    """

    width: int
    kernel: int
    stride: int = 1
    groups: int = 1
    epsilon: float = 1e-5
    activation: Function | None = None
    same: bool = False
    padded_for: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        kernel, strides = (self.kernel, self.kernel), (self.stride, self.stride)
        sides = (self.padded_for, self.padded_for) if self.padded_for else x.shape[1:3]
        x = nn.Conv(
            self.width,
            kernel,
            strides,
            padding=jax.lax.padtype_to_pads(sides, kernel, strides, "SAME") if self.same else self.kernel // 2,
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


PARTS = ("expand", "depthwise", "squeeze", "project")
"""Of an inverted residual, for those that do not number them."""


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
      same: padded as TensorFlow does.
      padded_for: side of the images that the depthwise convolution is padded for when `same`; 0 is their own.
      named: its parts are called by `PARTS`, not by numbers.
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
    same: bool = False
    padded_for: int = 0
    named: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        expands = self.expanded != x.shape[-1]
        parts = [name for name, there in zip(PARTS, (expands, True, self.squeezed, True), strict=True) if there]
        names = {part: f"block.{part if self.named else number}" for number, part in enumerate(parts)}
        conv = partial(ConvNorm, epsilon=self.epsilon)
        out = x
        if expands:
            out = conv(self.expanded, 1, activation=self.activation, name=names["expand"])(out, train)
        depthwise = conv(
            self.expanded,
            self.kernel,
            self.stride,
            self.expanded,
            activation=self.activation,
            same=self.same,
            padded_for=self.padded_for,
            name=names["depthwise"],
        )
        out = depthwise(out, train)
        if self.squeezed:
            out = SqueezeExcitation(self.squeezed, self.squeeze_activation, self.gate, name=names["squeeze"])(out)
        out = conv(self.width, 1, name=names["project"])(out, train)
        return out + x if self.stride == 1 and x.shape[-1] == self.width else out


silu_residual = partial(InvertedResidual, activation=nn.silu, squeeze_activation=nn.silu, gate=nn.sigmoid)
"""As both versions of EfficientNet have it."""


def read_block(shapes: Shapes, prefix: str) -> tuple[int, int, int, int]:
    """What the weights show of the block at `prefix`: (width, expanded, kernel, squeezed)."""
    count = count_children(shapes, f"{prefix}.block")
    if count:
        squeeze = f"{prefix}.block.{count - 2}"
        depthwise = f"{prefix}.block.{count - (3 if f'{squeeze}.fc1.weight' in shapes else 2)}"
        project = f"{prefix}.block.{count - 1}"
    else:
        _, depthwise, squeeze, project = (f"{prefix}.block.{part}" for part in PARTS)
    kernel = f"{depthwise}.0.weight"
    squeezed = dim(shapes, f"{squeeze}.fc1.weight")
    return dim(shapes, f"{project}.0.weight"), dim(shapes, kernel), dim(shapes, kernel, 2), squeezed


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


def padding_variants(
    module: nn.Module, own: Shape, shown: Shape, usual: bool = False
) -> tuple[tuple[nn.Module, ...], ...]:
    """TensorFlow's padding and epsilon, or torch's, of a network that has a field for it."""
    same = bool(vars(module)["same"])
    return (tuple(module.clone(same=padding) for padding in (same, not same)),)


def padding_note(module: nn.Module) -> str:
    """What is assumed of such a network, for rows."""
    whose = "TensorFlow's" if vars(module)["same"] else "torch's"
    strides = STRIDES if vars(module).get("stem_stride", 2) == 2 else STEM_OF_1
    return f"{strides}, and {whose} padding"


def unusual_stems(module: nn.Module) -> tuple[tuple[nn.Module, ...], ...]:
    """The published stem or one of stride 1, which small images may be given, of a network that has a field for it."""
    stride = int(vars(module)["stem_stride"])
    return (
        tuple(module.clone(stem_stride=each) for each in (stride, *(other for other in (2, 1) if other != stride))),
    )
