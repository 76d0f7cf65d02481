"""ConvNeXt (Liu et al. 2022, arXiv:2201.03545) in torchvision's form and naming; timm's, the authors' and
Hugging Face's are renamed.

Stem: 4x4 patches and a layer norm. Stages of depthwise 7x7 blocks; between them a layer norm and a 2x2 convolution of
stride 2. All norms have epsilon 1e-6 (Hugging Face's last one 1e-12), the GELU is the exact one.
"""

from functools import partial

import flax.linen as nn
import jax

from xray_jax.models import layers
from xray_jax.models.architecture import Architecture, Inferred, Naming, Shapes, count_children, dim


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7, layer norm, four times wider, GELU, back; scaled per channel and added to the input."""

    flat_scale: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = x.shape[-1]
        out = nn.Conv(width, (7, 7), padding=3, feature_group_count=width, name="block.0")(x)
        out = layers.layer_norm(1e-6)(name="block.2")(out)
        out = layers.gelu(nn.Dense(4 * width, name="block.3")(out))
        out = nn.Dense(width, name="block.5")(out)
        shape = (width,) if self.flat_scale else (width, 1, 1)
        scale = self.param("layer_scale", nn.initializers.constant(1e-6), shape)
        return x + scale.reshape(1, 1, 1, width) * out


class ConvNeXt(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      stage_sizes: blocks in each stage.
      widths: channels of each stage.
      flat_scale: the layer scale is stored as `[width]` (timm, the authors) instead of `[width, 1, 1]`.
      head_epsilon: of the last norm.
    """

    num_classes: int = 10
    stage_sizes: tuple[int, ...] = (3, 3, 9, 3)
    widths: tuple[int, ...] = (96, 192, 384, 768)
    flat_scale: bool = False
    head_epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        norm = layers.layer_norm(1e-6)
        x = nn.Conv(self.widths[0], (4, 4), 4, padding=0, name="features.0.0")(x)
        x = norm(name="features.0.1")(x)
        for stage, (size, width) in enumerate(zip(self.stage_sizes, self.widths, strict=True)):
            if stage:
                x = norm(name=f"features.{2 * stage}.0")(x)
                x = nn.Conv(width, (2, 2), 2, padding=0, name=f"features.{2 * stage}.1")(x)
            for block in range(size):
                x = ConvNeXtBlock(self.flat_scale, name=f"features.{2 * stage + 1}.{block}")(x)
        x = layers.layer_norm(self.head_epsilon)(name="classifier.0")(layers.average(x))
        return nn.Dense(self.num_classes, name="classifier.2")(x)


def infer(shapes: Shapes) -> Inferred | None:
    """Reads depth, widths and class count; None when the keys are of another kind of network."""
    if "features.1.0.layer_scale" not in shapes:
        return None
    sizes: list[int] = []
    widths: list[int] = []
    while size := count_children(shapes, f"features.{2 * len(sizes) + 1}"):
        widths.append(dim(shapes, f"features.{2 * len(sizes) + 1}.0.layer_scale"))
        sizes.append(size)
    flat_scale = len(shapes["features.1.0.layer_scale"]) == 1
    module = ConvNeXt(dim(shapes, "classifier.2.weight"), tuple(sizes), tuple(widths), flat_scale)
    return Inferred(module, (32, 32, dim(shapes, "features.0.0.weight", 1)))


def _renames(stage: str, block: str) -> tuple[tuple[str, str], ...]:
    """`stage`: pattern of a stage's blocks with the stage's number in braces; `block`: names of a block's parts."""
    stages = tuple((stage.format(n), rf"features.{2 * n + 1}.\1.") for n in range(4))
    scale, depthwise, norm, wide, narrow = block.split()
    parts = ((depthwise, "block.0"), (norm, "block.2"), (wide, "block.3"), (narrow, "block.5"))
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
)
_HUGGING_FACE = (
    (r"^convnext\.", ""),
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
    },
    infer=infer,
    input_shape=(32, 32, 3),
    namings=(
        Naming("timm", _TIMM),
        Naming("the authors'", _AUTHORS),
        Naming("Hugging Face", _HUGGING_FACE, fields=(("head_epsilon", 1e-12),)),
    ),
)
