"""Vision transformers (Dosovitskiy et al. 2020, arXiv:2010.11929) in torchvision's form and naming.

timm's names are renamed. Hugging Face stores query, key and value apart and has epsilon 1e-12 in its norms; the
others have 1e-6. BackdoorBench puts the network behind a resize to 224x224: every key begins with `1.`. DINOv2 (Oquab
et al. 2023, arXiv:2304.07193) scales what a layer adds, by a number a channel.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models import layers
from xray_jax.models.architecture import Architecture, Inferred, Naming, Renames, Shapes, dim

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": layers.gelu,
    "relu": nn.relu,
    "silu": nn.silu,
    "quick_gelu": lambda x: x * nn.sigmoid(1.702 * x),
    "gelu_new": nn.gelu,
    "gelu_pytorch_tanh": nn.gelu,
}
"""Under Hugging Face's names."""

HEADS = (8, 4, 12, 6, 16, 3, 2, 1)
"""Numbers of heads, the most usual first."""


class SelfAttention(nn.Module):
    """Multi-head attention of tokens `[B, T, D]` with themselves, in torch's layout.

    Attributes:
      heads: number of heads.
      fused: one `in_proj_weight` of `[3 D, D]` and `in_proj_bias`; else linear layers `query`, `key`, `value`.
    """

    heads: int
    fused: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = x.shape[-1]
        if self.fused:
            weight = self.param("in_proj_weight", nn.initializers.xavier_uniform(), (3 * width, width))
            bias = self.param("in_proj_bias", nn.initializers.zeros, (3 * width,))
            parts = jnp.split(x @ weight.T + bias.reshape(1, 1, -1), 3, axis=-1)
        else:
            parts = [nn.Dense(width, name=name)(x) for name in ("query", "key", "value")]
        query, key, value = (part.reshape(*part.shape[:2], self.heads, width // self.heads) for part in parts)
        out = jax.nn.dot_product_attention(query, key, value)
        return nn.Dense(width, name="out_proj")(out.reshape(x.shape))


class EncoderLayer(nn.Module):
    """Attention, then two linear layers with an activation between; each behind a norm and added to its input.

    Attributes:
      heads: of the attention.
      hidden: width between the linear layers.
      fused: of the attention.
      epsilon: of the norms.
      scaled: what is added is scaled by a number a channel.
      activation: one of `ACTIVATIONS`.
    """

    heads: int
    hidden: int
    fused: bool
    epsilon: float
    scaled: bool = False
    activation: str = "gelu"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        norm = layers.layer_norm(self.epsilon)
        out = SelfAttention(self.heads, self.fused, name="self_attention")(norm(name="ln_1")(x))
        x = x + self._scaled(out, "scale_1")
        out = ACTIVATIONS[self.activation](nn.Dense(self.hidden, name="mlp.0")(norm(name="ln_2")(x)))
        return x + self._scaled(nn.Dense(x.shape[-1], name="mlp.3")(out), "scale_2")

    def _scaled(self, x: jax.Array, name: str) -> jax.Array:
        if not self.scaled:
            return x
        return x * self.param(name, nn.initializers.ones, (x.shape[-1],)).reshape(1, 1, -1)


class VisionTransformer(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      depth: encoder layers.
      width: of the tokens.
      hidden: width inside the layers' MLP.
      heads: of the attention.
      patch: side of a patch.
      fused: query, key and value are one leaf (torchvision, timm).
      epsilon: of the layer norms.
      distillation: DeiT's second token: "none", "token" that no head reads, or "head" of its own, averaged with the
        other's logits.
      scaled: of the layers.
      patches: the head reads the class token beside the mean of the patches' (Hugging Face's DINOv2).
      activation: one of `ACTIVATIONS`.
      pool: without `patches`, what the head reads: the class "token", or the mean ("avg") of the patches.
    """

    num_classes: int = 10
    depth: int = 12
    width: int = 768
    hidden: int = 3072
    heads: int = 12
    patch: int = 16
    fused: bool = True
    epsilon: float = 1e-6
    distillation: str = "none"
    scaled: bool = False
    patches: bool = False
    activation: str = "gelu"
    pool: str = "token"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = nn.Conv(self.width, (self.patch, self.patch), self.patch, padding=0, name="conv_proj")(x)
        x = x.reshape(x.shape[0], -1, self.width)
        names = ("class_token",) if self.distillation == "none" else ("class_token", "distillation_token")
        tokens = [self.param(name, nn.initializers.zeros, (1, 1, self.width)) for name in names]
        x = jnp.concatenate([*(jnp.broadcast_to(token, (x.shape[0], 1, self.width)) for token in tokens), x], axis=1)
        x = x + self.param("encoder.pos_embedding", nn.initializers.normal(0.02), (1, x.shape[1], self.width))
        for number in range(self.depth):
            sizes = self.heads, self.hidden, self.fused, self.epsilon, self.scaled, self.activation
            x = EncoderLayer(*sizes, name=f"encoder.layers.encoder_layer_{number}")(x)
        pooled = {"token": self.patches, "avg": True}[self.pool]
        x = layers.layer_norm(self.epsilon)(name="encoder.ln")(x if pooled else x[:, : len(tokens)])
        seen = jnp.mean(x[:, len(tokens) :], axis=1) if pooled else x[:, 0]
        seen = jnp.concatenate([x[:, 0], seen], axis=-1) if self.patches else seen
        logits = nn.Dense(self.num_classes, name="heads.head")(seen)
        if self.distillation == "head":
            logits = (logits + nn.Dense(self.num_classes, name="heads.head_dist")(x[:, 1])) / 2
        return logits


class Resized(nn.Module):
    """A network behind a bilinear resize, as torch's `Sequential(Resize(size), network)`: its keys begin with `1.`.

    Attributes:
      network: takes images of `size`.
      size: (height, width); half-pixel centres, no antialiasing.
    """

    network: nn.Module
    size: tuple[int, int] = (224, 224)

    @property
    def num_classes(self) -> int:
        """Number of labels of the network behind the resize."""
        return int(vars(self.network)["num_classes"])

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = jax.image.resize(x, (x.shape[0], *self.size, x.shape[-1]), "linear", antialias=False)
        return self.network.clone(parent=self, name="1")(x, train)


_LARGE = partial(VisionTransformer, depth=24, width=1024, hidden=4096, heads=16)


def _resized(num_classes: int = 10) -> Resized:
    return Resized(VisionTransformer(num_classes))


_PRESETS: Mapping[str, Callable[..., nn.Module]] = {
    "vit_b_16": VisionTransformer,
    "vit_b_32": partial(VisionTransformer, patch=32),
    "vit_l_16": _LARGE,
    "vit_l_32": partial(_LARGE, patch=32),
    "vit_b_16-resized": _resized,
    "vit_b_16-hugging-face": partial(VisionTransformer, fused=False, epsilon=1e-12),
    # What CPUs train by the dozen, with heads of 32.
    "vit-mini-8": partial(VisionTransformer, depth=4, width=64, hidden=128, heads=2, patch=8),
}


def infer(shapes: Shapes) -> Inferred | None:
    """Reads depth, widths, patch, image size and class count; heads are those of the preset that has these sizes, or
    else 64 wide, as in all published sizes but H.

    Behind BackdoorBench's resize the image may have any size: 32x32 is assumed.
    """
    if "1.conv_proj.weight" in shapes:
        inner = _infer({key.removeprefix("1."): shape for key, shape in shapes.items() if key.startswith("1.")})
        height, width, channels = inner.input_shape
        return Inferred(Resized(inner.module, (height, width)), (32, 32, channels), inner.notes)
    return _infer(shapes) if "conv_proj.weight" in shapes else None


def _infer(shapes: Shapes) -> Inferred:
    layer = "encoder.layers.encoder_layer_{}"
    depth = 0
    while f"{layer.format(depth)}.ln_1.weight" in shapes:
        depth += 1
    width, patch = dim(shapes, "conv_proj.weight"), dim(shapes, "conv_proj.weight", 2)
    fused = f"{layer.format(0)}.self_attention.in_proj_weight" in shapes
    second = "head" if "heads.head_dist.weight" in shapes else "token"
    distillation = second if "distillation_token" in shapes else "none"
    scaled = f"{layer.format(0)}.scale_1" in shapes
    module = VisionTransformer(
        num_classes=dim(shapes, "heads.head.weight"),
        depth=depth,
        width=width,
        hidden=dim(shapes, f"{layer.format(0)}.mlp.0.weight"),
        heads=16 if width == 1280 else max(1, width // 64),
        patch=patch,
        fused=fused,
        epsilon=1e-6 if fused or scaled else 1e-12,
        distillation=distillation,
        scaled=scaled,
        patches=scaled and dim(shapes, "heads.head.weight", 1) == 2 * width,
    )
    for preset in _PRESETS.values():
        known = preset(num_classes=module.num_classes)
        if isinstance(known, VisionTransformer) and known.clone(heads=module.heads) == module:
            module = known
    tokens = 1 if distillation == "none" else 2
    side = math.isqrt(max(dim(shapes, "encoder.pos_embedding", 1) - tokens, 0)) * patch
    return Inferred(module, (side, side, dim(shapes, "conv_proj.weight", 1)), (note(module),))


def note(module: nn.Module) -> str:
    """What is assumed of a `VisionTransformer`, or of one behind a resize, for rows."""
    module = module.network if isinstance(module, Resized) else module
    assert isinstance(module, VisionTransformer)
    unusual = "" if module.activation == "gelu" else f", activation {module.activation}"
    unusual += "" if module.pool == "token" else ", the head reads the mean of the patches"
    return (
        f"assumed, weights do not show it: {module.heads} attention heads, epsilon {module.epsilon} in the layer norms"
        f"{unusual}"
    )


def unusual(module: nn.Module) -> tuple[tuple[nn.Module, ...], ...]:
    """Other numbers of heads, and the mean of the patches for a head that may have read the class token."""
    if not isinstance(module, VisionTransformer):
        return ()
    counts = (module.heads, *(heads for heads in HEADS if heads != module.heads and module.width % heads == 0))
    pools = () if module.patches else (module.pool, *(pool for pool in ("token", "avg") if pool != module.pool))
    return tuple(module.clone(heads=heads) for heads in counts), tuple(module.clone(pool=pool) for pool in pools)


_OLD_MLP = ((r"\.mlp\.linear_1\.", ".mlp.0."), (r"\.mlp\.linear_2\.", ".mlp.3."))
_TIMM = (
    (r"^cls_token$", "class_token"),
    (r"^dist_token$", "distillation_token"),
    (r"^head_dist\.", "heads.head_dist."),
    (r"^pos_embed$", "encoder.pos_embedding"),
    (r"^patch_embed\.proj\.", "conv_proj."),
    (r"^norm\.", "encoder.ln."),
    (r"^head\.", "heads.head."),
    (r"^blocks\.(\d+)\.", r"encoder.layers.encoder_layer_\1."),
    (r"\.norm([12])\.", r".ln_\1."),
    (r"\.attn\.qkv\.(weight|bias)$", r".self_attention.in_proj_\1"),
    (r"\.attn\.proj\.", ".self_attention.out_proj."),
    (r"\.ls([12])\.gamma$", r".scale_\1"),
    (r"\.mlp\.fc1\.", ".mlp.0."),
    (r"\.mlp\.fc2\.", ".mlp.3."),
)
_HUGGING_FACE: Renames = (
    (r"^(?:vit|deit)\.", ""),
    (r"^embeddings\.cls_token$", "class_token"),
    (r"^embeddings\.distillation_token$", "distillation_token"),
    (r"^embeddings\.position_embeddings$", "encoder.pos_embedding"),
    (r"^embeddings\.patch_embeddings\.projection\.", "conv_proj."),
    (r"^layernorm\.", "encoder.ln."),
    (r"^(?:cls_)?classifier\.", "heads.head."),
    (r"^distillation_classifier\.", "heads.head_dist."),
    (r"^encoder\.layer\.(\d+)\.", r"encoder.layers.encoder_layer_\1."),
    (r"\.layernorm_before\.", ".ln_1."),
    (r"\.layernorm_after\.", ".ln_2."),
    (r"\.attention\.attention\.", ".self_attention."),
    (r"\.attention\.output\.dense\.", ".self_attention.out_proj."),
    (r"\.intermediate\.dense\.", ".mlp.0."),
    (r"\.output\.dense\.", ".mlp.3."),
)

_PARTS = {"q": "query", "k": "key", "v": "value"}
_TRANSFORMERS_5: Renames = (
    (r"^(?:vit|deit)\.layers\.(\d+)\.", r"vit.encoder.layer.\1."),
    (r"\.attention\.([qkv])_proj\.", lambda match: f".self_attention.{_PARTS[match[1]]}."),
    (r"\.attention\.o_proj\.", ".self_attention.out_proj."),
    (r"\.mlp\.fc1\.", ".mlp.0."),
    (r"\.mlp\.fc2\.", ".mlp.3."),
    *_HUGGING_FACE,
)
_DINO: Renames = (
    (r"^dinov2\.", ""),
    (r"\.norm([12])\.", r".ln_\1."),
    (r"\.layer_scale([12])\.lambda1$", r".scale_\1"),
    *_TRANSFORMERS_5,
)
_MASK = r"^embeddings\.mask_token$"

ARCHITECTURE = Architecture(
    name="vit",
    presets=_PRESETS,
    infer=infer,
    input_shape=(224, 224, 3),
    head="heads.head",
    unusual=unusual,
    note=note,
    config={
        "num_attention_heads": "heads",
        "num_heads": "heads",
        "layer_norm_eps": "epsilon",
        "hidden_act": "activation",
        "act_layer": "activation",
        "global_pool": "pool",
    },
    namings=(
        Naming("torchvision 0.12", _OLD_MLP),
        Naming("timm", _TIMM),
        Naming("Hugging Face", _HUGGING_FACE),
        Naming("Hugging Face, transformers 5", _TRANSFORMERS_5),
        Naming("Hugging Face, DINOv2", _DINO, unused=_MASK),
    ),
)
