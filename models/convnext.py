"""ConvNeXt (Liu et al. 2022, arXiv:2201.03545) in torchvision's form and naming, and its version 2 (Woo et al. 2023,
arXiv:2301.00808); timm's names, the authors' and Hugging Face's are renamed.

Stem: 4x4 patches and a layer norm. Stages of depthwise 7x7 blocks; between them a layer norm and a 2x2 convolution of
stride 2. All norms have epsilon 1e-6 (Hugging Face's last one 1e-12), the GELU is the exact one. Version 2 has a
response norm inside a block, and no layer scale.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models import layers
from xray_jax.models.architecture import STRIDES, Architecture, Inferred, Naming, Shapes, count_children, dim

_EPSILON = 1e-6


class ResponseNorm(nn.Module):
    """Channels weighted by how strong each is in the image against the others, added to what they were.

    Attributes:
      flat: both leaves are `[width]` (timm) instead of `[1, 1, 1, width]`.
    """

    flat: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = x.shape[-1]
        shape = (width,) if self.flat else (1, 1, 1, width)
        weight, bias = (
            self.param(name, nn.initializers.zeros, shape).reshape(1, 1, 1, width) for name in ("weight", "bias")
        )
        squares = jnp.sum(x**2, axis=(1, 2), keepdims=True)
        # A channel that is zero everywhere has a derivative too.
        strength = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)
        return x + weight * (x * (strength / (jnp.mean(strength, axis=-1, keepdims=True) + _EPSILON))) + bias


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7, layer norm, four times wider, GELU, back; scaled per channel and added to the input.

    Attributes:
      flat: leaves of one number a channel have one axis.
      response: version 2: a response norm behind the GELU instead of the scale.
    """

    flat: bool
    response: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = x.shape[-1]
        out = nn.Conv(width, (7, 7), padding=3, feature_group_count=width, name="block.0")(x)
        out = layers.layer_norm(_EPSILON)(name="block.2")(out)
        out = layers.gelu(nn.Dense(4 * width, name="block.3")(out))
        if self.response:
            out = ResponseNorm(self.flat, name="grn")(out)
        out = nn.Dense(width, name="block.5")(out)
        if self.response:
            return x + out
        shape = (width,) if self.flat else (width, 1, 1)
        scale = self.param("layer_scale", nn.initializers.constant(1e-6), shape)
        return x + scale.reshape(1, 1, 1, width) * out


class ConvNeXt(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      stage_sizes: blocks in each stage.
      widths: channels of each stage.
      flat: the layer scale is stored as `[width]` (timm, the authors) instead of `[width, 1, 1]`, the leaves of
        response norms as `[width]` (timm) instead of `[1, 1, 1, width]`.
      head_epsilon: of the last norm.
      response: version 2: response norms instead of the layer scales.
    """

    num_classes: int = 10
    stage_sizes: tuple[int, ...] = (3, 3, 9, 3)
    widths: tuple[int, ...] = (96, 192, 384, 768)
    flat: bool = False
    head_epsilon: float = _EPSILON
    response: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        norm = layers.layer_norm(_EPSILON)
        x = nn.Conv(self.widths[0], (4, 4), 4, padding=0, name="features.0.0")(x)
        x = norm(name="features.0.1")(x)
        for stage, (size, width) in enumerate(zip(self.stage_sizes, self.widths, strict=True)):
            if stage:
                x = norm(name=f"features.{2 * stage}.0")(x)
                x = nn.Conv(width, (2, 2), 2, padding=0, name=f"features.{2 * stage}.1")(x)
            for block in range(size):
                x = ConvNeXtBlock(self.flat, self.response, name=f"features.{2 * stage + 1}.{block}")(x)
        x = layers.layer_norm(self.head_epsilon)(name="classifier.0")(layers.average(x))
        return nn.Dense(self.num_classes, name="classifier.2")(x)


def infer(shapes: Shapes) -> Inferred | None:
    """Reads depth, widths and class count; None when the keys are of another kind of network."""
    scale, response = shapes.get("features.1.0.layer_scale"), shapes.get("features.1.0.grn.weight")
    if scale is None and response is None:
        return None
    sizes: list[int] = []
    widths: list[int] = []
    while size := count_children(shapes, f"features.{2 * len(sizes) + 1}"):
        widths.append(dim(shapes, f"features.{2 * len(sizes) + 1}.0.block.0.weight"))
        sizes.append(size)
    module = ConvNeXt(
        num_classes=dim(shapes, "classifier.2.weight"),
        stage_sizes=tuple(sizes),
        widths=tuple(widths),
        flat=len(response or scale or ()) == 1,
        response=response is not None,
    )
    return Inferred(module, (32, 32, dim(shapes, "features.0.0.weight", 1)), (STRIDES,))


def _renames(stage: str, block: str) -> tuple[tuple[str, str], ...]:
    """`stage`: pattern of a stage's blocks with the stage's number in braces; `block`: names of a block's parts."""
    stages = tuple((stage.format(n), rf"features.{2 * n + 1}.\1.") for n in range(4))
    scale, depthwise, norm, wide, narrow = block.split()
    parts = ((depthwise, "block.0"), (norm, "block.2"), (wide, "block.3"), (narrow, "block.5"), (r"mlp\.grn", "grn"))
    start = r"^(features\.\d+\.\d+)\."
    return (
        *stages,
        (rf"{start}{scale}$", r"\1.layer_scale"),
        *((rf"{start}{name}\.", rf"\1.{to}.") for name, to in parts),
    )


_TIMM = (
    (r"^stem\.", "features.0."),
    (r"^head\.norm\.", "classifier.0."),
    (r"^head\.fc\.", "classifier.2."),
    *((rf"^stages\.{n}\.downsample\.", f"features.{2 * n}.") for n in range(1, 4)),
    *_renames(r"^stages\.{}\.blocks\.(\d+)\.", r"gamma conv_dw norm mlp\.fc1 mlp\.fc2"),
)
_AUTHORS = (
    (r"^norm\.", "classifier.0."),
    (r"^head\.", "classifier.2."),
    *((rf"^downsample_layers\.{n}\.", f"features.{2 * n}.") for n in range(4)),
    *_renames(r"^stages\.{}\.(\d+)\.", "gamma dwconv norm pwconv1 pwconv2"),
    (r"\.grn\.gamma$", ".grn.weight"),
    (r"\.grn\.beta$", ".grn.bias"),
)
_HUGGING_FACE = (
    (r"^convnext(?:v2)?\.", ""),
    (r"^classifier\.", "classifier.2."),
    (r"^layernorm\.", "classifier.0."),
    (r"^embeddings\.patch_embeddings\.", "features.0.0."),
    (r"^embeddings\.layernorm\.", "features.0.1."),
    *((rf"^encoder\.stages\.{n}\.downsampling_layer\.", f"features.{2 * n}.") for n in range(1, 4)),
    *_renames(r"^encoder\.stages\.{}\.layers\.(\d+)\.", "layer_scale_parameter dwconv layernorm pwconv1 pwconv2"),
)

ARCHITECTURE = Architecture(
    name="convnext",
    presets={
        "convnext_tiny": ConvNeXt,
        "convnext_small": partial(ConvNeXt, stage_sizes=(3, 3, 27, 3)),
        "convnext_base": partial(ConvNeXt, stage_sizes=(3, 3, 27, 3), widths=(128, 256, 512, 1024)),
        **{
            f"convnextv2_{name}": partial(ConvNeXt, stage_sizes=sizes, widths=widths, response=True)
            for name, sizes, widths in (
                ("atto", (2, 2, 6, 2), (40, 80, 160, 320)),
                ("nano", (2, 2, 8, 2), (80, 160, 320, 640)),
                ("tiny", (3, 3, 9, 3), (96, 192, 384, 768)),
                ("base", (3, 3, 27, 3), (128, 256, 512, 1024)),
            )
        },
    },
    infer=infer,
    input_shape=(32, 32, 3),
    head="classifier.2",
    namings=(
        Naming("timm", _TIMM),
        Naming("the authors'", _AUTHORS),
        Naming("Hugging Face", _HUGGING_FACE, fields=(("head_epsilon", 1e-12),)),
    ),
)
