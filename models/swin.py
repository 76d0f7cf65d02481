"""Swin transformers, version 1 (Liu et al. 2021, arXiv:2103.14030), in torchvision's form and naming.

timm's, the authors' and Hugging Face's names are renamed. Attention sees windows of a few patches, which every second
block moves by half a window, around the edge. The tables of position biases show windows and heads. A side that is no
multiple of the window is padded with zeros, as torchvision does.
"""

import math
from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models import layers, windows
from xray_jax.models.architecture import Architecture, Inferred, Naming, Renames, Shapes, count_children, dim

_EPSILON = 1e-5


class WindowAttention(nn.Module):
    """Multi-head attention inside each window of `[B, H, W, D]`, with a bias for each relative position.

    Attributes:
      heads: number of heads.
      window: side of a window, in patches.
      shift: (down, right) by which windows are moved.
      fused: one linear layer `qkv`; else `query`, `key` and `value`.
    """

    heads: int
    window: int
    shift: tuple[int, int]
    fused: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        _, height, width, depth = x.shape
        side, tokens = self.window, self.window**2
        table = self.param("relative_position_bias_table", nn.initializers.zeros, ((2 * side - 1) ** 2, self.heads))
        bias = table[windows.relative_positions(side)].reshape(1, 1, tokens, tokens, self.heads)
        x = windows.split(x, side, self.shift)
        if self.fused:
            parts = jnp.split(nn.Dense(3 * depth, name="qkv")(x), 3, axis=-1)
        else:
            parts = [nn.Dense(depth, name=name)(x) for name in ("query", "key", "value")]
        query, key, value = (part.reshape(*part.shape[:3], self.heads, depth // self.heads) for part in parts)
        scores = jnp.einsum("bnqhd,bnkhd->bnqkh", query * (depth // self.heads) ** -0.5, key) + bias
        if any(self.shift):
            apart = windows.apart(height, width, side, self.shift)[None, ..., None]
            scores = scores + jnp.where(apart, windows.OUTSIDE, 0.0).astype(scores.dtype)
        out = jnp.einsum("bnqkh,bnkhd->bnqhd", nn.softmax(scores, axis=3), value)
        out = nn.Dense(depth, name="proj")(out.reshape(*out.shape[:3], depth))
        return windows.join(out, height, width, side, self.shift)


class SwinBlock(nn.Module):
    """Window attention, then two linear layers with a GELU between; each behind a layer norm and added to its input.

    Attributes:
      heads: of the attention.
      window: of the attention.
      moved: windows are moved by half of their side, unless one covers the image.
      hidden: width between the linear layers.
      fused: query, key and value are one layer.
    """

    heads: int
    window: int
    moved: bool
    hidden: int
    fused: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        norm = layers.layer_norm(_EPSILON)
        height, width = x.shape[1:3]
        out, shift = windows.whole(norm(name="norm1")(x), self.window, self.moved)
        out = WindowAttention(self.heads, self.window, shift, self.fused, name="attn")(out)
        x = x + out[:, :height, :width]
        out = layers.gelu(nn.Dense(self.hidden, name="mlp.0")(norm(name="norm2")(x)))
        return x + nn.Dense(x.shape[-1], name="mlp.3")(out)


class PatchMerging(nn.Module):
    """Four neighbours side by side, a layer norm, and one linear layer to twice the width: half the size."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = 2 * x.shape[-1]
        x = layers.layer_norm(_EPSILON)(name="norm")(four_neighbours(x))
        return nn.Dense(width, use_bias=False, name="reduction")(x)


def four_neighbours(x: jax.Array) -> jax.Array:
    """`[B, H, W, D]` to `[B, ceil(H / 2), ceil(W / 2), 4 D]`."""
    x = jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)))
    return jnp.concatenate([x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)], axis=-1)


class SwinTransformer(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      stage_sizes: blocks in each stage.
      width: of the first stage; each later one has twice the width of the one before.
      heads: of each stage's attention.
      windows: side of each stage's windows, in patches.
      hidden: width inside a block's MLP by that of the stage.
      patch: side of a patch.
      fused: query, key and value are one layer (torchvision, timm).
    """

    num_classes: int = 10
    stage_sizes: tuple[int, ...] = (2, 2, 6, 2)
    width: int = 96
    heads: tuple[int, ...] = (3, 6, 12, 24)
    windows: tuple[int, ...] = (7, 7, 7, 7)
    hidden: int = 4
    patch: int = 4
    fused: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        norm = layers.layer_norm(_EPSILON)
        x = nn.Conv(self.width, (self.patch, self.patch), self.patch, padding=0, name="features.0.0")(x)
        x = norm(name="features.0.2")(x)
        for stage, size in enumerate(self.stage_sizes):
            x = PatchMerging(name=f"features.{2 * stage}")(x) if stage else x
            for number in range(size):
                block = SwinBlock(
                    self.heads[stage],
                    self.windows[stage],
                    moved=number % 2 == 1,
                    hidden=self.hidden * x.shape[-1],
                    fused=self.fused,
                    name=f"features.{2 * stage + 1}.{number}",
                )
                x = block(x)
        return nn.Dense(self.num_classes, name="head")(layers.average(norm(name="norm")(x)))


def infer(shapes: Shapes) -> Inferred | None:
    """Reads depth, widths, heads and windows; None when the keys are of another kind of network."""
    table = "features.{}.0.attn.relative_position_bias_table"
    if table.format(1) not in shapes:
        return None
    sizes: list[int] = []
    while size := count_children(shapes, f"features.{2 * len(sizes) + 1}"):
        sizes.append(size)
    tables = [table.format(2 * stage + 1) for stage in range(len(sizes))]
    windows = tuple((math.isqrt(dim(shapes, key)) + 1) // 2 for key in tables)
    width, patch = dim(shapes, "features.0.0.weight"), dim(shapes, "features.0.0.weight", 2)
    module = SwinTransformer(
        num_classes=dim(shapes, "head.weight"),
        stage_sizes=tuple(sizes),
        width=width,
        heads=tuple(dim(shapes, key, 1) for key in tables),
        windows=windows,
        hidden=dim(shapes, "features.1.0.mlp.0.weight") // max(width, 1),
        patch=patch,
        fused="features.1.0.attn.qkv.weight" in shapes,
    )
    # The last stage of the published ones is one window.
    side = patch * 2 ** (len(sizes) - 1) * windows[-1]
    return Inferred(module, (side, side, dim(shapes, "features.0.0.weight", 1)))


def _renames(stem: str, block: str, merging: str, later: int, parts: str) -> Renames:
    """Another publisher's names.

    Args:
      stem: of the convolution and the norm in front of the stages.
      block: pattern of a block's name with the stage's number in braces.
      merging: the same of what halves the size.
      later: by how many stages what halves the size is named after the stage behind it.
      parts: of a block: both norms, the last layer of the attention, both layers of the MLP.
    """
    first, second, out, wide, narrow = parts.split()
    convolution, norm = stem.split()
    inside = ((first, "norm1"), (second, "norm2"), (out, "attn.proj"), (wide, "mlp.0"), (narrow, "mlp.3"))
    start = r"^(features\.\d+\.\d+)\."
    return (
        (rf"^{convolution}\.", "features.0.0."),
        (rf"^{norm}\.", "features.0.2."),
        *((rf"^{block.format(n)}\.(\d+)\.", rf"features.{2 * n + 1}.\1.") for n in range(4)),
        *((rf"^{merging.format(n - 1 + later)}\.", f"features.{2 * n}.") for n in range(1, 4)),
        *((rf"{start}{name}\.", rf"\1.{to}.") for name, to in inside),
        (r"^(?:layernorm)\.", "norm."),
        (r"^(?:head\.fc|classifier)\.", "head."),
    )


_QUERIES = {"q": "query", "k": "key", "v": "value"}
_AUTHORS = partial(_renames, r"patch_embed\.proj patch_embed\.norm", r"layers\.{}\.blocks", r"layers\.{}\.downsample")
_TRANSFORMERS: Callable[[str], Renames] = partial(
    _renames,
    r"embeddings\.patch_embeddings\.projection embeddings\.norm",
    r"encoder\.layers\.{}\.blocks",
    r"encoder\.layers\.{}\.downsample",
    0,
)
TIMM, AUTHORS = (_AUTHORS(later, r"norm1 norm2 attn\.proj mlp\.fc1 mlp\.fc2") for later in (1, 0))
TRANSFORMERS = _TRANSFORMERS(
    r"layernorm_before layernorm_after attention\.output\.dense intermediate\.dense output\.dense"
)
"""Names that version 2 has too."""

ARCHITECTURE = Architecture(
    name="swin",
    presets={
        "swin_t": SwinTransformer,
        "swin_s": partial(SwinTransformer, stage_sizes=(2, 2, 18, 2)),
        "swin_b": partial(SwinTransformer, stage_sizes=(2, 2, 18, 2), width=128, heads=(4, 8, 16, 32)),
    },
    infer=infer,
    input_shape=(224, 224, 3),
    head="head",
    namings=(
        Naming("timm", TIMM),
        Naming("the authors'", AUTHORS),
        Naming("Hugging Face", ((r"^swin\.", ""), (r"\.attention\.self\.", ".attn."), *TRANSFORMERS)),
        Naming(
            "Hugging Face, transformers 5",
            (
                (r"^swin\.", ""),
                (r"\.attention\.relative_position_bias\.", ".attn."),
                (r"\.attention\.([qkv])_proj\.", lambda match: f".attn.{_QUERIES[match[1]]}."),
                *_TRANSFORMERS(r"layernorm_before layernorm_after attention\.o_proj mlp\.fc1 mlp\.fc2"),
            ),
        ),
    ),
)
