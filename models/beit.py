"""BEiT (Bao et al. 2021, arXiv:2106.08254) in timm's form and naming; Hugging Face's is renamed.

A vision transformer that knows where patches are by a bias for each relative position, and whose head reads their mean.
The tables of biases show how many patches an image has.
"""

import math
import re
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from xray_jax.models import layers, windows
from xray_jax.models.architecture import Architecture, Inferred, Naming, Renames, Shapes, count_children, dim

_WITH_CLASS = 3
"""Biases beside those of two patches: the class token sees a patch, a patch sees it, it sees itself."""


class BiasedAttention(nn.Module):
    """Multi-head attention of tokens `[B, 1 + side^2, D]`, with a bias for each relative position; keys have no bias.

    Attributes:
      heads: number of heads.
      side: of the image, in patches.
      fused: one linear layer `qkv`; else `query`, `key` and `value`.
    """

    heads: int
    side: int
    fused: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = x.shape[-1]
        count = (2 * self.side - 1) ** 2 + _WITH_CLASS
        table = self.param("relative_position_bias_table", nn.initializers.zeros, (count, self.heads))
        bias = table[_relative_positions(self.side)][None]
        parts = (
            self._fused(x)
            if self.fused
            else [nn.Dense(width, use_bias=name != "key", name=name)(x) for name in ("query", "key", "value")]
        )
        query, key, value = (part.reshape(*part.shape[:2], self.heads, width // self.heads) for part in parts)
        scores = jnp.einsum("bqhd,bkhd->bqkh", query * (width // self.heads) ** -0.5, key) + bias
        out = jnp.einsum("bqkh,bkhd->bqhd", nn.softmax(scores, axis=2), value)
        return nn.Dense(width, name="proj")(out.reshape(x.shape))

    def _fused(self, x: jax.Array) -> list[jax.Array]:
        width = x.shape[-1]
        query, key, value = jnp.split(nn.Dense(3 * width, use_bias=False, name="qkv")(x), 3, axis=-1)
        query_bias, value_bias = (
            self.param(name, nn.initializers.zeros, (width,)).reshape(1, 1, -1) for name in ("q_bias", "v_bias")
        )
        return [query + query_bias, key, value + value_bias]


def _relative_positions(side: int) -> np.ndarray:
    """Row of the table of biases for each pair of tokens, the class token first."""
    patches = windows.relative_positions(side)
    found = np.full((len(patches) + 1,) * 2, (2 * side - 1) ** 2)
    found[1:, 1:] = patches
    found[1:, 0] += 1
    found[0, 0] += 2
    return found


class BeitBlock(nn.Module):
    """Attention, then two linear layers with a GELU between; each behind a layer norm, scaled, added to its input.

    Attributes:
      heads: of the attention.
      side: of the attention.
      hidden: width between the linear layers.
      fused: of the attention.
      epsilon: of the norms.
    """

    heads: int
    side: int
    hidden: int
    fused: bool
    epsilon: float

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = x.shape[-1]
        norm = layers.layer_norm(self.epsilon)
        first, second = (
            self.param(name, nn.initializers.ones, (width,)).reshape(1, 1, -1) for name in ("gamma_1", "gamma_2")
        )
        x = x + first * BiasedAttention(self.heads, self.side, self.fused, name="attn")(norm(name="norm1")(x))
        out = layers.gelu(nn.Dense(self.hidden, name="mlp.fc1")(norm(name="norm2")(x)))
        return x + second * nn.Dense(width, name="mlp.fc2")(out)


class Beit(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      depth: blocks.
      width: of the tokens.
      hidden: width inside the blocks' MLP.
      heads: of the attention.
      patch: side of a patch.
      side: of the image, in patches.
      fused: query, key and value are one layer (timm).
      epsilon: of the norms.
    """

    num_classes: int = 10
    depth: int = 12
    width: int = 768
    hidden: int = 3072
    heads: int = 12
    patch: int = 16
    side: int = 14
    fused: bool = True
    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = nn.Conv(self.width, (self.patch, self.patch), self.patch, padding=0, name="patch_embed.proj")(x)
        x = x.reshape(x.shape[0], -1, self.width)
        token = self.param("cls_token", nn.initializers.zeros, (1, 1, self.width))
        x = jnp.concatenate([jnp.broadcast_to(token, (x.shape[0], 1, self.width)), x], axis=1)
        for number in range(self.depth):
            block = BeitBlock(self.heads, self.side, self.hidden, self.fused, self.epsilon, name=f"blocks.{number}")
            x = block(x)
        x = layers.layer_norm(self.epsilon)(name="fc_norm")(jnp.mean(x[:, 1:], axis=1))
        return nn.Dense(self.num_classes, name="head")(x)


def infer(shapes: Shapes) -> Inferred | None:
    """Reads depth, widths, heads and the image's size; None when the keys are of another kind of network."""
    table = "blocks.0.attn.relative_position_bias_table"
    if table not in shapes or "cls_token" not in shapes:
        return None
    side = (math.isqrt(max(dim(shapes, table) - _WITH_CLASS, 0)) + 1) // 2
    patch = dim(shapes, "patch_embed.proj.weight", 2)
    module = Beit(
        num_classes=dim(shapes, "head.weight"),
        depth=count_children(shapes, "blocks"),
        width=dim(shapes, "patch_embed.proj.weight"),
        hidden=dim(shapes, "blocks.0.mlp.fc1.weight"),
        heads=dim(shapes, table, 1),
        patch=patch,
        side=side,
        fused="blocks.0.attn.qkv.weight" in shapes,
    )
    return Inferred(module, (side * patch, side * patch, dim(shapes, "patch_embed.proj.weight", 1)))


_PARTS = {"q": "query", "k": "key", "v": "value", "o": "proj"}


def _part(match: re.Match[str]) -> str:
    return f".attn.{_PARTS[match[1]]}."


_HUGGING_FACE: Renames = (
    (r"^(?:beit|data2vec_vision)\.", ""),
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^(?:encoder\.layer|layers)\.(\d+)\.", r"blocks.\1."),
    (r"^pooler\.layernorm\.", "fc_norm."),
    (r"^classifier\.", "head."),
    (r"\.lambda_([12])$", r".gamma_\1"),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.([qkvo])_proj\.", _part),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"^(blocks\.\d+)\.(?:attention\.attention\.)?relative_position_bias\.", r"\1.attn."),
    (r"\.attention\.attention\.", ".attn."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
)

ARCHITECTURE = Architecture(
    name="beit",
    presets={
        "beit_base_patch16_224": Beit,
        "beit_large_patch16_224": partial(Beit, depth=24, width=1024, hidden=4096, heads=16),
    },
    infer=infer,
    input_shape=(224, 224, 3),
    head="head",
    naming="timm",
    namings=(Naming("Hugging Face", _HUGGING_FACE, fields=(("epsilon", 1e-12),)),),
    config={"layer_norm_eps": "epsilon"},
)
