"""MaxViT (Tu et al. 2022, arXiv:2204.01697) in torchvision's form and naming.

Each layer is an inverted residual, then attention twice: among the neighbours in a window, and among as many pixels
that lie a grid apart. Both need a side that the window divides, so images have one size.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models import layers, windows
from xray_jax.models.architecture import Architecture, Inferred, Shapes, count_children, dim
from xray_jax.models.mbconv import ConvNorm, SqueezeExcitation

_BATCH_EPSILON = 1e-3
_EPSILON = 1e-5


class PreNormMBConv(nn.Module):
    """A norm, expand (1x1), depthwise 3x3, squeeze-excitation, project (1x1); added to the input, pooled if need be.

    Attributes:
      width: channels out.
      inner: channels between.
      squeezed: width of the squeeze-excitation.
      stride: of the depthwise convolution and of the pool.
    """

    width: int
    inner: int
    squeezed: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        gelu, epsilon = layers.gelu, _BATCH_EPSILON
        out = layers.batch_norm(train, epsilon)(name="layers.pre_norm")(x)
        out = ConvNorm(self.inner, 1, epsilon=epsilon, activation=gelu, name="layers.conv_a")(out, train)
        depthwise = ConvNorm(
            self.inner, 3, self.stride, self.inner, epsilon=epsilon, activation=gelu, name="layers.conv_b"
        )
        out = depthwise(out, train)
        out = SqueezeExcitation(self.squeezed, nn.silu, nn.sigmoid, name="layers.squeeze_excitation")(out)
        out = nn.Conv(self.width, (1, 1), name="layers.conv_c")(out)
        if self.stride != 1:
            # Zeros around the image count.
            x = layers.average_pool_same(x, 3)[:, :: self.stride, :: self.stride]
        if self.stride != 1 or x.shape[-1] != self.width:
            x = nn.Conv(self.width, (1, 1), name=f"proj.{int(self.stride != 1)}")(x)
        return x + out


class RelativeAttention(nn.Module):
    """Multi-head attention of the tokens in each group of `[B, groups, tokens, D]`, with a bias by relative position.

    Attributes:
      heads: number of heads.
      side: of the square that the tokens of a group make.
    """

    heads: int
    side: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        depth, tokens = x.shape[-1], self.side**2
        shape = ((2 * self.side - 1) ** 2, self.heads)
        table = self.param("relative_position_bias_table", nn.initializers.zeros, shape)
        bias = table[windows.relative_positions(self.side)].reshape(1, 1, tokens, tokens, self.heads)
        parts = jnp.split(nn.Dense(3 * depth, name="to_qkv")(x), 3, axis=-1)
        query, key, value = (part.reshape(*part.shape[:3], self.heads, depth // self.heads) for part in parts)
        # By the width of all heads together, not of one.
        scores = jnp.einsum("bnqhd,bnkhd->bnqkh", query, key * depth**-0.5) + bias
        out = jnp.einsum("bnqkh,bnkhd->bnqhd", nn.softmax(scores, axis=3), value)
        return nn.Dense(depth, name="merge")(out.reshape(x.shape))


class PartitionAttention(nn.Module):
    """Attention, then two linear layers with a GELU between, in groups of pixels; each behind a norm and added.

    Attributes:
      heads: of the attention.
      side: of a group.
      hidden: width between the linear layers.
      grid: the pixels of a group lie a grid apart; else they are neighbours.
    """

    heads: int
    side: int
    hidden: int
    grid: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        height, width = x.shape[1:3]
        if height != width or height % self.side:
            raise ValueError(f"maps of {height}x{width} pixels are no square of groups of side {self.side}")
        window = height // self.side if self.grid else self.side
        x = windows.split(x, window, (0, 0))
        x = x.swapaxes(1, 2) if self.grid else x
        norm = layers.layer_norm(_EPSILON)
        x = x + RelativeAttention(self.heads, self.side, name="attn_layer.1")(norm(name="attn_layer.0")(x))
        out = layers.gelu(nn.Dense(self.hidden, name="mlp_layer.1")(norm(name="mlp_layer.0")(x)))
        x = x + nn.Dense(x.shape[-1], name="mlp_layer.3")(out)
        x = x.swapaxes(1, 2) if self.grid else x
        return windows.join(x, height, width, window, (0, 0))


class MaxViT(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      stem_width: channels of the stem.
      widths: of each stage.
      stage_sizes: layers in each stage; the first of them has stride 2.
      heads: of each stage's attentions.
      side: of the attentions' groups, in pixels.
      expansion: channels inside of an inverted residual, over its width.
      squeezed: widths of the squeeze-excitations, over their block's, as 1 / `squeezed`.
      hidden: width inside an attention's MLP, over the stage's.
    """

    num_classes: int = 10
    stem_width: int = 64
    widths: tuple[int, ...] = (64, 128, 256, 512)
    stage_sizes: tuple[int, ...] = (2, 2, 5, 2)
    heads: tuple[int, ...] = (2, 4, 8, 16)
    side: int = 7
    expansion: int = 4
    squeezed: int = 4
    hidden: int = 4

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = ConvNorm(self.stem_width, 3, 2, epsilon=_BATCH_EPSILON, activation=layers.gelu, name="stem.0")(x, train)
        x = nn.Conv(self.stem_width, (3, 3), padding=1, name="stem.1.0")(x)
        for stage, (size, width, heads) in enumerate(zip(self.stage_sizes, self.widths, self.heads, strict=True)):
            for number in range(size):
                name = f"blocks.{stage}.layers.{number}.layers"
                stride = 1 if number else 2
                block = PreNormMBConv(
                    width, self.expansion * width, width // self.squeezed, stride, name=f"{name}.MBconv"
                )
                x = block(x, train)
                for kind in ("window", "grid"):
                    attention = PartitionAttention(
                        heads, self.side, self.hidden * width, kind == "grid", name=f"{name}.{kind}_attention"
                    )
                    x = attention(x)
        x = layers.layer_norm(_EPSILON)(name="classifier.2")(layers.average(x))
        x = jnp.tanh(nn.Dense(x.shape[-1], name="classifier.3")(x))
        return nn.Dense(self.num_classes, use_bias=False, name="classifier.5")(x)


def infer(shapes: Shapes) -> Inferred | None:
    """Reads depth, widths, heads and groups; None when the keys are of another kind of network."""
    layer = "blocks.{}.layers.0.layers."
    table = layer + "window_attention.attn_layer.1.relative_position_bias_table"
    if table.format(0) not in shapes or "classifier.5.weight" not in shapes:
        return None
    stages = range(count_children(shapes, "blocks"))
    widths = tuple(dim(shapes, f"{layer.format(stage)}MBconv.layers.conv_c.weight") for stage in stages)
    first = layer.format(0)
    side = (math.isqrt(dim(shapes, table.format(0))) + 1) // 2
    module = MaxViT(
        num_classes=dim(shapes, "classifier.5.weight"),
        stem_width=dim(shapes, "stem.0.0.weight"),
        widths=widths,
        stage_sizes=tuple(count_children(shapes, f"blocks.{stage}.layers") for stage in stages),
        heads=tuple(dim(shapes, table.format(stage), 1) for stage in stages),
        side=side,
        expansion=dim(shapes, f"{first}MBconv.layers.conv_a.0.weight") // max(widths[0], 1),
        squeezed=widths[0] // max(dim(shapes, f"{first}MBconv.layers.squeeze_excitation.fc1.weight"), 1),
        hidden=dim(shapes, f"{first}window_attention.mlp_layer.1.weight") // max(widths[0], 1),
    )
    # The last stage of the published one is one group.
    pixels = side * 2 ** (len(stages) + 1)
    return Inferred(module, (pixels, pixels, dim(shapes, "stem.0.0.weight", 1)))


ARCHITECTURE = Architecture(
    name="maxvit",
    presets={"maxvit_t": MaxViT},
    infer=infer,
    input_shape=(224, 224, 3),
    head="classifier.5",
)
