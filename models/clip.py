"""The image towers of CLIP (Radford et al. 2021, arXiv:2103.00020) and SigLIP (Zhai et al. 2023, arXiv:2303.15343).

With a linear layer behind, as transformers trains them to classify: it reads the mean of the patches, whatever CLIP's
class token and SigLIP's pooling head were for. Inside of layers names are those of `vit`, elsewhere transformers'.
"""

import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models import layers
from xray_jax.models.architecture import Architecture, Inferred, Naming, Renames, Shapes, dim
from xray_jax.models.vit import HEADS, EncoderLayer

_EPSILON = {"clip": 1e-5, "siglip": 1e-6}
_ACTIVATION = {"clip": "quick_gelu", "siglip": "gelu_pytorch_tanh"}


class ImageTower(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      kind: "clip": a class token, a norm in front of the layers, none behind; "siglip": no token, and a norm behind.
      depth: encoder layers.
      width: of the tokens.
      hidden: width inside the layers' MLP.
      heads: of the attention.
      patch: side of a patch.
      activation: one of `vit.ACTIVATIONS`; "usual" is that of the kind.
      epsilon: of the layer norms; 0 is that of the kind.
    """

    num_classes: int = 10
    kind: str = "clip"
    depth: int = 12
    width: int = 768
    hidden: int = 3072
    heads: int = 12
    patch: int = 32
    activation: str = "usual"
    epsilon: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        clip = self.kind == "clip"
        epsilon, activation = settings(self)
        norm = layers.layer_norm(epsilon)
        sides = (self.patch, self.patch)
        x = nn.Conv(self.width, sides, self.patch, padding=0, use_bias=not clip, name="embeddings.patch_embedding")(x)
        x = x.reshape(x.shape[0], -1, self.width)
        if clip:
            token = self.param("embeddings.class_embedding", nn.initializers.zeros, (self.width,)).reshape(1, 1, -1)
            x = jnp.concatenate([jnp.broadcast_to(token, (x.shape[0], 1, self.width)), x], axis=1)
        positions = self.param("embeddings.position_embedding", nn.initializers.normal(0.02), (x.shape[1], self.width))
        x = x + positions[None]
        x = norm(name="pre_layrnorm")(x) if clip else x
        for number in range(self.depth):
            layer = EncoderLayer(
                self.heads,
                self.hidden,
                fused=False,
                epsilon=epsilon,
                activation=activation,
                name=f"encoder.layers.encoder_layer_{number}",
            )
            x = layer(x)
        x = x[:, 1:] if clip else norm(name="post_layernorm")(x)
        return nn.Dense(self.num_classes, name="classifier")(jnp.mean(x, axis=1))


def settings(module: ImageTower) -> tuple[float, str]:
    """Epsilon and activation, those of the kind where nothing else is said."""
    activation = _ACTIVATION[module.kind] if module.activation == "usual" else module.activation
    return module.epsilon or _EPSILON[module.kind], activation


def infer(shapes: Shapes) -> Inferred | None:
    """Reads kind, depth, widths, patch, image size and class count; None for another kind of network."""
    positions = shapes.get("embeddings.position_embedding", ())
    if "embeddings.patch_embedding.weight" not in shapes or len(positions) != 2:
        return None
    kind = "clip" if "embeddings.class_embedding" in shapes else "siglip"
    layer = "encoder.layers.encoder_layer_{}"
    depth = 0
    while f"{layer.format(depth)}.ln_1.weight" in shapes:
        depth += 1
    width, patch = dim(shapes, "embeddings.patch_embedding.weight"), dim(shapes, "embeddings.patch_embedding.weight", 2)
    module = ImageTower(
        num_classes=dim(shapes, "classifier.weight"),
        kind=kind,
        depth=depth,
        width=width,
        hidden=dim(shapes, f"{layer.format(0)}.mlp.0.weight"),
        # SigLIP's "so400m" has heads of 72, all others of 64.
        heads=16 if width == 1152 else max(1, width // 64),
        patch=patch,
    )
    side = math.isqrt(max(positions[0] - (kind == "clip"), 0)) * patch
    return Inferred(module, (side, side, dim(shapes, "embeddings.patch_embedding.weight", 1)), (note(module),))


def note(module: nn.Module) -> str:
    """What is assumed of an `ImageTower`, for rows."""
    assert isinstance(module, ImageTower)
    epsilon, activation = settings(module)
    return (
        f"assumed, weights do not show it: {module.heads} attention heads, activation {activation}, epsilon {epsilon} "
        "in the layer norms, the last layer reads the mean of the patches"
    )


def unusual(module: nn.Module) -> tuple[tuple[nn.Module, ...], ...]:
    """Other activations (LAION's CLIPs have GELU), and other numbers of heads."""
    assert isinstance(module, ImageTower)
    usual = _ACTIVATION[module.kind]
    activations = (module.activation, *(name for name in (usual, "gelu") if name != settings(module)[1]))
    counts = dict.fromkeys((module.heads, *(heads for heads in HEADS if module.width % heads == 0)))
    return (
        tuple(module.clone(activation=activation) for activation in activations),
        tuple(module.clone(heads=heads) for heads in counts),
    )


_NAMES: Renames = (
    (r"^vision_model\.", ""),
    (r"^(embeddings\.position_embedding)\.weight$", r"\1"),
    (r"^encoder\.layers\.(\d+)\.", r"encoder.layers.encoder_layer_\1."),
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"\.self_attn\.q_proj\.", ".self_attention.query."),
    (r"\.self_attn\.k_proj\.", ".self_attention.key."),
    (r"\.self_attn\.v_proj\.", ".self_attention.value."),
    (r"\.self_attn\.out_proj\.", ".self_attention.out_proj."),
    (r"\.mlp\.fc1\.", ".mlp.0."),
    (r"\.mlp\.fc2\.", ".mlp.3."),
)
_LARGE = partial(ImageTower, depth=24, width=1024, hidden=4096, heads=16, patch=14)
_SIGLIP = partial(ImageTower, kind="siglip", patch=16)

ARCHITECTURE = Architecture(
    name="clip",
    presets={
        "clip-vit-base-patch32": ImageTower,
        "clip-vit-base-patch16": partial(ImageTower, patch=16),
        "clip-vit-large-patch14": _LARGE,
        "siglip-base-patch16": _SIGLIP,
        "siglip-large-patch16": partial(_SIGLIP, depth=24, width=1024, hidden=4096, heads=16),
        "siglip-so400m-patch14": partial(_SIGLIP, depth=27, width=1152, hidden=4304, heads=16, patch=14),
    },
    infer=infer,
    unusual=unusual,
    note=note,
    input_shape=(224, 224, 3),
    head="classifier",
    naming="this package",
    config={"num_attention_heads": "heads", "hidden_act": "activation", "layer_norm_eps": "epsilon"},
    namings=(
        Naming("Hugging Face, CLIP", _NAMES, unused=r"^post_layernorm\."),
        Naming("Hugging Face, SigLIP", _NAMES, unused=r"^head\."),
    ),
)
