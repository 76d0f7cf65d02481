"""Swin transformers, version 2 (Liu et al. 2022, arXiv:2111.09883), in torchvision's form and naming.

Beside version 1 (`swin`) norms lie behind attention and MLP, attention compares directions only (cosines, times a
learned scale), and position biases come from a small network of the logarithm of the distance. So weights do not show
the windows, unless a file holds the table of distances too (torchvision's does, timm's and Hugging Face's do not): 8 is
assumed, and 16 tried on the samples.
"""

import math
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models import layers, swin, windows
from xray_jax.models.architecture import Architecture, Inferred, Naming, Renames, Shapes, count_children, dim

_EPSILON = 1e-5
_LARGEST_SCALE = math.log(100)
_LARGEST_BIAS = 16
_RANGE = 8
"""Distances are scaled to it before their logarithm is taken, whose base it is."""


class CosineWindowAttention(nn.Module):
    """Multi-head cosine attention inside each window of `[B, H, W, D]`, with a bias for each relative position.

    Attributes:
      heads: number of heads.
      window: side of a window, in patches.
      shift: (down, right) by which windows are moved.
      bias: where the biases of queries and values lie: in that of one layer `qkv`, whose keys' part counts as 0
        ("qkv"), beside it ("q_bias"), or in layers `query`, `key` and `value` ("query").
      table: the file holds the logarithms of distances, which are taken as they are.
      trained: side of the windows of the training before, by which distances are scaled; 0 is `window`.
      hidden: width of the network that gives biases.
    """

    heads: int
    window: int
    shift: tuple[int, int]
    bias: str
    table: bool
    trained: int
    hidden: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        _, height, width, depth = x.shape
        x = windows.split(x, self.window, self.shift)
        parts = (part.reshape(*part.shape[:3], self.heads, depth // self.heads) for part in self._project(x, depth))
        query, key, value = parts
        scale = self.param("logit_scale", nn.initializers.zeros, (self.heads, 1, 1))
        scale = jnp.exp(jnp.minimum(scale, _LARGEST_SCALE)).reshape(1, 1, 1, 1, self.heads)
        scores = jnp.einsum("bnqhd,bnkhd->bnqkh", _direction(query), _direction(key)) * scale + self._position_bias()
        if any(self.shift):
            apart = windows.apart(height, width, self.window, self.shift)[None, ..., None]
            scores = scores + jnp.where(apart, windows.OUTSIDE, 0.0).astype(scores.dtype)
        out = jnp.einsum("bnqkh,bnkhd->bnqhd", nn.softmax(scores, axis=3), value)
        out = nn.Dense(depth, name="proj")(out.reshape(*out.shape[:3], depth))
        return windows.join(out, height, width, self.window, self.shift)

    def _project(self, x: jax.Array, depth: int) -> list[jax.Array]:
        if self.bias == "query":
            return [nn.Dense(depth, use_bias=name != "key", name=name)(x) for name in ("query", "key", "value")]
        if self.bias == "q_bias":
            query, key, value = jnp.split(nn.Dense(3 * depth, use_bias=False, name="qkv")(x), 3, axis=-1)
            biases = (self.param(name, nn.initializers.zeros, (depth,)) for name in ("q_bias", "v_bias"))
            first, last = (bias.reshape(1, 1, 1, depth) for bias in biases)
            return [query + first, key, value + last]
        return jnp.split(QueryKeyValue(name="qkv")(x), 3, axis=-1)

    def _position_bias(self) -> jax.Array:
        side = 2 * self.window - 1
        if self.table:
            distances = self.param("relative_coords_table", nn.initializers.zeros, (1, side, side, 2))
        else:
            distances = _distances(self.window, self.trained or self.window)
        out = nn.relu(nn.Dense(self.hidden, name="cpb_mlp.0")(distances))
        out = nn.Dense(self.heads, use_bias=False, name="cpb_mlp.2")(out).reshape(side * side, self.heads)
        tokens = self.window**2
        out = out[windows.relative_positions(self.window)].reshape(1, 1, tokens, tokens, self.heads)
        return _LARGEST_BIAS * nn.sigmoid(out)


class QueryKeyValue(nn.Module):
    """One linear layer for queries, keys and values, whose keys have no bias, whatever is stored."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        depth = x.shape[-1]
        kernel = self.param("kernel", nn.initializers.zeros, (depth, 3 * depth))
        bias = self.param("bias", nn.initializers.zeros, (3 * depth,))
        return x @ kernel + bias.at[depth : 2 * depth].set(0).reshape(1, 1, 1, 3 * depth)


def _direction(x: jax.Array) -> jax.Array:
    return x / jnp.maximum(jnp.sqrt(jnp.sum(x * x, axis=-1, keepdims=True)), 1e-12)


def _distances(window: int, trained: int) -> jax.Array:
    """`[1, 2 window - 1, 2 window - 1, 2]`: signed logarithms of distances down and right, in [-1, 1] if not larger."""
    line = jnp.arange(1 - window, window, dtype=jnp.float32) * (_RANGE / max(trained - 1, 1))
    line = jnp.sign(line) * jnp.log1p(jnp.abs(line)) / math.log(_RANGE)
    return jnp.stack(jnp.meshgrid(line, line, indexing="ij"), -1)[None]


class SwinV2Block(nn.Module):
    """Window attention, then two linear layers with a GELU between; behind each a layer norm, added to its input.

    Attributes:
      attention: its constructor, but for window and shift.
      window: of the attention; images smaller than it are one window, where no table says otherwise.
      moved: windows are moved by half of their side, unless one covers the image.
      hidden: width between the linear layers.
    """

    attention: Any
    window: int
    moved: bool
    hidden: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        norm = layers.layer_norm(_EPSILON)
        height, width = x.shape[1:3]
        out, shift = windows.whole(x, self.window, self.moved)
        out = self.attention(window=self.window, shift=shift, name="attn")(out)
        x = x + norm(name="norm1")(out[:, :height, :width])
        out = nn.Dense(x.shape[-1], name="mlp.3")(layers.gelu(nn.Dense(self.hidden, name="mlp.0")(x)))
        return x + norm(name="norm2")(out)


class PatchMergingV2(nn.Module):
    """Four neighbours side by side, one linear layer to twice the width, and a layer norm: half the size."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Dense(2 * x.shape[-1], use_bias=False, name="reduction")(swin.four_neighbours(x))
        return layers.layer_norm(_EPSILON)(name="norm")(x)


class SwinTransformerV2(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      stage_sizes: blocks in each stage.
      width: of the first stage; each later one has twice the width of the one before.
      heads: of each stage's attention.
      windows: side of each stage's windows, in patches; the last number is that of all stages behind it too.
      pretrained: side of the windows by which distances are scaled, the same way; 0 is that of the windows.
      hidden: width inside a block's MLP by that of the stage.
      patch: side of a patch.
      bias: where the biases of queries and values lie: "qkv", "q_bias" or "query" (`CosineWindowAttention`).
      table: the file holds the tables of distances.
      position_hidden: width of the network that gives position biases.
    """

    num_classes: int = 10
    stage_sizes: tuple[int, ...] = (2, 2, 6, 2)
    width: int = 96
    heads: tuple[int, ...] = (3, 6, 12, 24)
    windows: tuple[int, ...] = (8,)
    pretrained: tuple[int, ...] = (0,)
    hidden: int = 4
    patch: int = 4
    bias: str = "qkv"
    table: bool = True
    position_hidden: int = 512

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        norm = layers.layer_norm(_EPSILON)
        x = nn.Conv(self.width, (self.patch, self.patch), self.patch, padding=0, name="features.0.0")(x)
        x = norm(name="features.0.2")(x)
        for stage, size in enumerate(self.stage_sizes):
            x = PatchMergingV2(name=f"features.{2 * stage}")(x) if stage else x
            window = _of_stage(self.windows, stage)
            if not self.table:
                window = min(window, *x.shape[1:3])
            attention = partial(
                CosineWindowAttention,
                heads=self.heads[stage],
                bias=self.bias,
                table=self.table,
                trained=_of_stage(self.pretrained, stage),
                hidden=self.position_hidden,
            )
            for number in range(size):
                name = f"features.{2 * stage + 1}.{number}"
                x = SwinV2Block(attention, window, number % 2 == 1, self.hidden * x.shape[-1], name=name)(x)
        return nn.Dense(self.num_classes, name="head")(layers.average(norm(name="norm")(x)))


def _of_stage(numbers: tuple[int, ...], stage: int) -> int:
    return numbers[min(stage, len(numbers) - 1)]


def infer(shapes: Shapes) -> Inferred | None:
    """Reads depth, widths, heads and, where tables are stored, windows; None for another kind of network."""
    first = "features.{}.0.attn."
    if first.format(1) + "logit_scale" not in shapes:
        return None
    sizes: list[int] = []
    while size := count_children(shapes, f"features.{2 * len(sizes) + 1}"):
        sizes.append(size)
    stages = [first.format(2 * stage + 1) for stage in range(len(sizes))]
    table = stages[0] + "relative_coords_table" in shapes
    sides = tuple((dim(shapes, stage + "relative_coords_table", 1) + 1) // 2 for stage in stages) if table else (8,)
    if len(set(sides)) == 1:
        sides = sides[:1]
    width, patch = dim(shapes, "features.0.0.weight"), dim(shapes, "features.0.0.weight", 2)
    module = SwinTransformerV2(
        num_classes=dim(shapes, "head.weight"),
        stage_sizes=tuple(sizes),
        width=width,
        heads=tuple(dim(shapes, stage + "logit_scale") for stage in stages),
        windows=sides,
        hidden=dim(shapes, "features.1.0.mlp.0.weight") // max(width, 1),
        patch=patch,
        bias=next((name for name in ("q_bias", "query") if any(stages[0] + name in key for key in shapes)), "qkv"),
        table=table,
        position_hidden=dim(shapes, stages[0] + "cpb_mlp.0.weight"),
    )
    # The last stage of the published ones is one window.
    side = patch * 2 ** (len(sizes) - 1) * sides[-1]
    return Inferred(module, (side, side, dim(shapes, "features.0.0.weight", 1)), () if table else (note(module),))


def note(module: nn.Module) -> str:
    """What is assumed of a `SwinTransformerV2` without tables, for rows."""
    assert isinstance(module, SwinTransformerV2)
    sides = "+".join(map(str, module.windows))
    text = f"assumed, weights do not show it: windows of {sides} patches a side"
    return text + (f", distances scaled by {'+'.join(map(str, module.pretrained))}" if any(module.pretrained) else "")


def variants(
    module: nn.Module, own: tuple[int, int, int], shown: tuple[int, int, int], usual: bool = False
) -> tuple[tuple[nn.Module, ...], ...]:
    """Published sides of windows, where no table shows them."""
    assert isinstance(module, SwinTransformerV2)
    return () if module.table else (tuple(module.clone(windows=(side,)) for side in (8, 16)),)


_TRANSFORMERS: Renames = (
    (r"^swinv2\.", ""),
    (r"\.attention\.self\.continuous_position_bias_mlp\.", ".attn.cpb_mlp."),
    (r"\.attention\.self\.", ".attn."),
    *swin.TRANSFORMERS,
)

ARCHITECTURE = Architecture(
    name="swin_v2",
    presets={
        "swin_v2_t": SwinTransformerV2,
        "swin_v2_s": partial(SwinTransformerV2, stage_sizes=(2, 2, 18, 2)),
        "swin_v2_b": partial(SwinTransformerV2, stage_sizes=(2, 2, 18, 2), width=128, heads=(4, 8, 16, 32)),
    },
    infer=infer,
    variants=variants,
    note=note,
    input_shape=(256, 256, 3),
    head="head",
    config={"window_size": "windows", "pretrained_window_sizes": "pretrained"},
    assumed={"hidden_act": "gelu", "use_absolute_embeddings": False},
    namings=(
        Naming("timm", swin.TIMM),
        Naming("the authors'", swin.AUTHORS),
        Naming("Hugging Face", _TRANSFORMERS),
    ),
)
