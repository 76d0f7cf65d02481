"""Vision transformers written by hand around torch's `nn.TransformerEncoder`, under any names but the encoder's.

The encoder's own names show its depth and widths; the leaves beside it are told by their shapes: a convolution or a
linear layer that embeds patches, a class token, a position embedding, norms, the head. Weights do not show the number
of heads, whether norms come first (torch's default is last), the activation (torch's is ReLU), what the head reads and
where a norm beside the encoder is called: these are `variants`, and clean images tell them apart.
"""

import itertools
import math
import re
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models import layers
from xray_jax.models.architecture import Architecture, Inferred, Shapes, count_children, dim
from xray_jax.models.vit import HEADS, SelfAttention

_EPSILON = 1e-5
_ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {"relu": nn.relu, "gelu": layers.gelu}
_ORDERS = ("channels", "pixels")
_PLACES = {
    "encoder": "behind the encoder",
    "pooled": "behind the pooling",
    "embedding": "behind the embedding of the patches",
    "positions": "behind the positions",
}
_READ = {"token": "class token", "mean": "mean of the tokens", "patches": "mean of the tokens but the class token"}


class TorchEncoderLayer(nn.Module):
    """`nn.TransformerEncoderLayer`: self-attention and two linear layers, each added to its input.

    Attributes:
      heads: of the attention.
      hidden: width between the linear layers.
      norm_first: norms lie before attention and linear layers; else behind the sums.
      activation: "relu" or "gelu".
    """

    heads: int
    hidden: int
    norm_first: bool
    activation: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        norm1, norm2 = (layers.layer_norm(_EPSILON)(name=f"norm{number}") for number in (1, 2))
        attention = SelfAttention(self.heads, fused=True, name="self_attn")
        wide, narrow = nn.Dense(self.hidden, name="linear1"), nn.Dense(x.shape[-1], name="linear2")

        def mlp(tokens: jax.Array) -> jax.Array:
            return narrow(_ACTIVATIONS[self.activation](wide(tokens)))

        if self.norm_first:
            x = x + attention(norm1(x))
            return x + mlp(norm2(x))
        x = norm1(x + attention(x))
        return norm2(x + mlp(x))


class EncoderViT(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      depth: encoder layers.
      width: of the tokens.
      hidden: width inside the layers' MLP.
      patch: side of a patch.
      encoder: published name of the encoder; its layers are `layers.0`, `layers.1`, ...
      embedding: published name of the patch embedding.
      embedding_bias: whether it has one.
      linear: the patch embedding is a linear layer of the patch's pixels, not a convolution.
      order: of a patch's numbers in that layer: "channels" first, or "pixels" first.
      token: published name of the class token; "" without one.
      position: published name of the position embedding; "" without one.
      position_axes: axes of the stored position embedding, 2 or 3.
      tokens: positions that it is stored for.
      final_norm: published name of the encoder's last norm; "" without one.
      norm: published name of another one beside it; "" without one.
      norm_place: where that is called: behind the "encoder", of the "embedding" of the patches, of the sum with the
        "positions", or of what is "pooled".
      head_norm: published name of a norm of what the head reads; "" without one.
      head: published name of the last linear layer.
      head_bias: whether it has one.
      pool: what the head reads: "token", the "mean" of all tokens, or that of the "patches", without the class token.
      heads: of the attention.
      norm_first: as in `TorchEncoderLayer`.
      activation: as in `TorchEncoderLayer`.
    """

    num_classes: int = 10
    depth: int = 6
    width: int = 256
    hidden: int = 512
    patch: int = 4
    encoder: str = "transformer"
    embedding: str = "patch_embed"
    embedding_bias: bool = True
    linear: bool = False
    order: str = "channels"
    token: str = "cls_token"
    position: str = "pos_embed"
    position_axes: int = 3
    tokens: int = 65
    final_norm: str = ""
    norm: str = ""
    norm_place: str = "encoder"
    head_norm: str = ""
    head: str = "head"
    head_bias: bool = True
    pool: str = "token"
    heads: int = 8
    norm_first: bool = False
    activation: str = "relu"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        norm = layers.layer_norm(_EPSILON)(name=self.norm) if self.norm else None

        def normed(tokens: jax.Array, place: str) -> jax.Array:
            return norm(tokens) if norm is not None and place == self.norm_place else tokens

        x = normed(self._embedded(x), "embedding")
        if self.token:
            token = self.param(self.token, nn.initializers.zeros, (1, 1, self.width))
            x = jnp.concatenate([jnp.broadcast_to(token, (x.shape[0], 1, self.width)), x], axis=1)
        if self.position:
            lengths = (1, self.tokens, self.width)[3 - self.position_axes :]
            position = self.param(self.position, nn.initializers.normal(0.02), lengths)
            x = x + position.reshape(1, self.tokens, self.width)
        x = normed(x, "positions")
        for number in range(self.depth):
            layer = TorchEncoderLayer(
                self.heads, self.hidden, self.norm_first, self.activation, name=f"{self.encoder}.layers.{number}"
            )
            x = layer(x)
        x = layers.layer_norm(_EPSILON)(name=self.final_norm)(x) if self.final_norm else x
        x = normed(x, "encoder")
        x = x[:, 0] if self.pool == "token" else jnp.mean(x[:, 1:] if self.pool == "patches" else x, axis=1)
        x = normed(x, "pooled")
        x = layers.layer_norm(_EPSILON)(name=self.head_norm)(x) if self.head_norm else x
        return nn.Dense(self.num_classes, use_bias=self.head_bias, name=self.head)(x)

    def _embedded(self, x: jax.Array) -> jax.Array:
        """Images `[B, H, W, C]` to tokens `[B, T, D]`."""
        if not self.linear:
            sides = (self.patch, self.patch)
            conv = nn.Conv(self.width, sides, sides, padding=0, use_bias=self.embedding_bias, name=self.embedding)
            return conv(x).reshape(x.shape[0], -1, self.width)
        batch, height, width, channels = x.shape
        rows, columns = height // self.patch, width // self.patch
        x = x.reshape(batch, rows, self.patch, columns, self.patch, channels)
        axes = (0, 1, 3, 5, 2, 4) if self.order == "channels" else (0, 1, 3, 2, 4, 5)
        x = x.transpose(axes).reshape(batch, rows * columns, -1)
        return nn.Dense(self.width, use_bias=self.embedding_bias, name=self.embedding)(x)


def infer(shapes: Shapes) -> Inferred | None:
    """Reads the encoder by its names and what lies beside it by its shapes; None for other kinds of networks."""
    found = next((m for key in shapes if (m := re.fullmatch(r"(.+)\.layers\.0\.self_attn\.in_proj_weight", key))), None)
    if found is None:
        return None
    encoder = found[1]
    layer = f"{encoder}.layers.0"
    width = dim(shapes, f"{layer}.norm1.weight")
    beside = {key: shape for key, shape in shapes.items() if not key.startswith(f"{encoder}.")}
    weights = {key.removesuffix(".weight"): shape for key, shape in beside.items() if key.endswith(".weight")}
    parameters = {key: shape for key, shape in beside.items() if not key.endswith((".weight", ".bias"))}
    embedding, kernel = next(
        (
            (name, shape)
            for name, shape in weights.items()
            if shape[:1] == (width,) and (len(shape) == 4 or (len(shape) == 2 and shape[1] != width))
        ),
        ("", ()),
    )
    linear = [name for name, shape in weights.items() if len(shape) == 2 and shape[1] == width and name != embedding]
    if not embedding or not linear:
        return None
    # An embedding layer of positions comes before the head.
    head = linear[-1]
    channels, patch = _patch(kernel)
    token = next((key for key, shape in parameters.items() if shape == (1, 1, width)), "")
    positions = parameters | {f"{name}.weight": weights[name] for name in linear[:-1]}
    position, place = next(
        ((key, s) for key, s in positions.items() if key != token and len(s) in (2, 3) and s[-1] == width), ("", ())
    )
    norms = [name for name, shape in weights.items() if shape == (width,)]
    in_head = [name for name in norms if name.rpartition(".")[0] == head.rpartition(".")[0] != ""]
    others = [name for name in norms if name not in in_head]
    tokens = place[-2] if place else 0
    module = EncoderViT(
        num_classes=dim(shapes, f"{head}.weight"),
        depth=count_children(shapes, f"{encoder}.layers"),
        width=width,
        hidden=dim(shapes, f"{layer}.linear1.weight"),
        patch=patch,
        encoder=encoder,
        embedding=embedding,
        embedding_bias=f"{embedding}.bias" in shapes,
        linear=len(kernel) == 2,
        token=token,
        position=position,
        position_axes=len(place) or 3,
        tokens=tokens,
        final_norm=f"{encoder}.norm" if f"{encoder}.norm.weight" in shapes else "",
        norm=others[0] if others else "",
        head_norm=in_head[0] if in_head else "",
        head=head,
        head_bias=f"{head}.bias" in shapes,
        pool="token" if token else "mean",
        heads=next((number for number in HEADS if width % number == 0), 1),
    )
    side = math.isqrt(max(tokens - bool(token), 0)) * patch or 32
    return Inferred(module, (side, side, channels), (note(module),))


def _patch(kernel: tuple[int, ...]) -> tuple[int, int]:
    """(channels, side) of the patches that an embedding takes."""
    if len(kernel) == 4:
        return kernel[1], kernel[2]
    channels = 3 if kernel[1] % 3 == 0 else 1
    return channels, math.isqrt(kernel[1] // channels)


def note(module: nn.Module) -> str:
    """What is assumed of an `EncoderViT`, for rows."""
    assert isinstance(module, EncoderViT)
    norms = "first" if module.norm_first else "last"
    read = _READ[module.pool]
    place = f", {module.norm} {_PLACES[module.norm_place]}" if module.norm else ""
    order = f", {module.order} first in the patches" if module.linear else ""
    return (
        f"assumed, weights do not show it: {module.heads} attention heads, norms {norms}, {module.activation.upper()}, "
        f"the head reads the {read}{place}{order}"
    )


def variants(
    module: nn.Module, own: tuple[int, int, int], shown: tuple[int, int, int], usual: bool = False
) -> tuple[tuple[nn.Module, ...], ...]:
    """Networks that the same weights fit: the orders of the layers' norms and of a patch's numbers together, then what
    the head reads, the place of the norm beside the encoder, heads, activation.

    Under a wrong order nothing else shows; with wrong heads much still does.
    """
    assert isinstance(module, EncoderViT)
    orders = _ORDERS if module.linear else (module.order,)
    both = itertools.product((False, True), orders)
    axes: list[list[dict[str, Any]]] = [
        [{"norm_first": first, "order": order} for first, order in both],
        [reading for reading in _readings(module) if reading["norm_place"] == module.norm_place],
        [reading for reading in _readings(module) if reading["pool"] == module.pool],
        [{"heads": count} for count in _head_counts(module)],
        [{"activation": activation} for activation in _ACTIVATIONS],
    ]
    return tuple(tuple(module.clone(**fields) for fields in axis) for axis in axes if len(axis) > 1)


def unusual(module: nn.Module) -> tuple[tuple[nn.Module, ...], ...]:
    """Networks that differ in two or three questions at once, where each answer alone labels nothing: the order of the
    layers' norms with what is read and the place of the norm beside them, and with the heads.

    The mean of all tokens stands for that of the patches, which is asked of what labels some images.
    """
    assert isinstance(module, EncoderViT)
    axes: list[list[dict[str, Any]]] = [
        [reading for reading in _readings(module) if reading["pool"] != "patches"],
        [{"heads": count} for count in _head_counts(module)],
    ]
    firsts = (module.norm_first, not module.norm_first)
    return tuple(
        tuple(module.clone(norm_first=first, **fields) for first, fields in itertools.product(firsts, axis))
        for axis in axes
    )


def _head_counts(module: EncoderViT) -> list[int]:
    return [count for count in HEADS if module.width % count == 0]


def _readings(module: EncoderViT) -> list[dict[str, Any]]:
    """Where the norm beside the encoder may be called, with what the head may read, the most usual first."""
    places = [place for place in _PLACES if place != "positions" or module.position] if module.norm else ["encoder"]
    pools = list(_READ) if module.token else ["mean"]
    both = [{"norm_place": place, "pool": pool} for place, pool in itertools.product(places, pools)]
    # Of one token, behind the encoder and behind the pooling are the same.
    return [reading for reading in both if reading != {"norm_place": "pooled", "pool": "token"}]


ARCHITECTURE = Architecture(
    name="encoder-vit",
    presets={"torch-encoder-vit": EncoderViT},
    infer=infer,
    input_shape=(32, 32, 3),
    naming="nn.TransformerEncoder, any names beside it",
    variants=variants,
    unusual=unusual,
    note=note,
)
