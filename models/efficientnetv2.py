"""EfficientNetV2 (Tan & Le 2021, arXiv:2104.00298) in torchvision's form and naming; timm's is renamed.

Its first stages expand with a full 3x3 convolution where EfficientNets have a 1x1 and a depthwise one. Of a block the
weights show its kind and sizes; the strides are those of the paper's stages.
"""

from functools import partial

import flax.linen as nn
import jax

from xray_jax.models import layers
from xray_jax.models.architecture import Architecture, Inferred, Naming, Renames, Shapes, count_children, dim
from xray_jax.models.mbconv import (
    SAME_EPSILON,
    ConvNorm,
    padding_note,
    padding_variants,
    read_block,
    silu_residual,
    timm_block,
)

Block = tuple[int, int, int, int]
"""(width, expanded or 0 for one convolution alone, kernel, squeezed or 0 for a fused block)"""

_STRIDES = (1, 2, 2, 2, 1, 2, 1)
"""Of the first block of each stage; the small ones have six stages."""

_FUSED = 3
"""Stages at the beginning whose blocks are fused."""


class FusedResidual(nn.Module):
    """Expand (3x3), project (1x1), or one 3x3 convolution alone; the input is added when the shape allows it.

    Attributes:
      width: channels out.
      expanded: channels between; 0 is one convolution alone.
      kernel: side of the first convolution's kernel.
      stride: of the first convolution.
      epsilon: of the norms.
      same: padded as TensorFlow does.
    """

    width: int
    expanded: int
    kernel: int
    stride: int
    epsilon: float
    same: bool

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        first = partial(ConvNorm, stride=self.stride, epsilon=self.epsilon, activation=nn.silu, same=self.same)
        out = first(self.expanded or self.width, self.kernel, name="block.0")(x, train)
        if self.expanded:
            out = ConvNorm(self.width, 1, epsilon=self.epsilon, name="block.1")(out, train)
        return out + x if self.stride == 1 and x.shape[-1] == self.width else out


class EfficientNetV2(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      stem_width: channels of the stem, which has stride 2.
      stages: of each stage its blocks, each (width, expanded, kernel, squeezed).
      last_width: channels of the last convolution.
      epsilon: of the norms.
      same: padded as TensorFlow does.
    """

    num_classes: int = 10
    stem_width: int = 24
    stages: tuple[tuple[Block, ...], ...] = ()
    last_width: int = 1280
    epsilon: float = SAME_EPSILON
    same: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        # Those that come from TensorFlow have its epsilon too, which torchvision has in all.
        epsilon = SAME_EPSILON if self.same else self.epsilon
        x = ConvNorm(self.stem_width, 3, 2, 1, epsilon, nn.silu, self.same, name="features.0")(x, train)
        for stage, blocks in enumerate(self.stages, 1):
            for number, (width, expanded, kernel, squeezed) in enumerate(blocks):
                stride = _STRIDES[stage - 1] if number == 0 else 1
                name = f"features.{stage}.{number}"
                block: nn.Module
                if squeezed:
                    block = silu_residual(
                        width, expanded, kernel, stride, squeezed, epsilon=epsilon, same=self.same, name=name
                    )
                else:
                    block = FusedResidual(width, expanded, kernel, stride, epsilon, self.same, name=name)
                x = block(x, train)
        last = ConvNorm(self.last_width, 1, 1, 1, epsilon, nn.silu, name=f"features.{len(self.stages) + 1}")
        return nn.Dense(self.num_classes, name="classifier.1")(layers.average(last(x, train)))


def _preset(stem_width: int, widths: tuple[int, ...], sizes: tuple[int, ...]) -> partial[EfficientNetV2]:
    before, stages = stem_width, []
    for stage, (width, size) in enumerate(zip(widths, sizes, strict=True)):
        blocks: list[Block] = []
        for _ in range(size):
            fused = stage < _FUSED
            expanded = before * (4 if stage <= _FUSED else 6) if stage else 0
            blocks.append((width, expanded, 3, 0 if fused else before // 4))
            before = width
        stages.append(tuple(blocks))
    return partial(EfficientNetV2, stem_width=stem_width, stages=tuple(stages))


def infer(shapes: Shapes) -> Inferred | None:
    """Reads kinds and sizes of all blocks; None when the keys are of another kind of network."""
    if "features.1.0.block.0.0.weight" not in shapes or dim(shapes, "features.2.0.block.0.0.weight", 2) != 3:
        return None
    counts: list[int] = []
    while len(counts) < len(_STRIDES) and f"features.{len(counts) + 1}.0.block.0.0.weight" in shapes:
        counts.append(count_children(shapes, f"features.{len(counts) + 1}"))
    module = EfficientNetV2(
        num_classes=dim(shapes, "classifier.1.weight"),
        stem_width=dim(shapes, "features.0.0.weight"),
        stages=tuple(
            tuple(_read(shapes, f"features.{stage}.{number}") for number in range(count))
            for stage, count in enumerate(counts, 1)
        ),
        last_width=dim(shapes, f"features.{len(counts) + 1}.0.weight"),
    )
    return Inferred(module, (32, 32, dim(shapes, "features.0.0.weight", 1)), (padding_note(module),))


def _read(shapes: Shapes, prefix: str) -> Block:
    first = f"{prefix}.block.0.0.weight"
    match count_children(shapes, f"{prefix}.block"):
        case 1:
            return dim(shapes, first), 0, dim(shapes, first, 2), 0
        case 2:
            return dim(shapes, f"{prefix}.block.1.0.weight"), dim(shapes, first), dim(shapes, first, 2), 0
        case _:
            return read_block(shapes, prefix)


def _timm(stages: int) -> Renames:
    """timm's names in a network of so many stages."""
    fused = (("conv|conv_exp", "0.0"), ("bn1", "0.1"), ("conv_pwl", "1.0"), ("bn2", "1.1"))
    return (
        (r"^conv_stem\.", "features.0.0."),
        (r"^bn1\.", "features.0.1."),
        (r"^conv_head\.", f"features.{stages + 1}.0."),
        (r"^bn2\.", f"features.{stages + 1}.1."),
        (r"^classifier\.(weight|bias)$", r"classifier.1.\1"),
        *(
            (rf"^blocks\.{stage}\.(\d+)\.(?:{name})\.", rf"features.{stage + 1}.\1.block.{to}.")
            for stage in range(_FUSED)
            for name, to in fused
        ),
        *(
            rename
            for stage in range(_FUSED, stages)
            for rename in timm_block(stage, rf"features.{stage + 1}.\1", expands=True, squeezes=True)
        ),
    )


_OWN_EPSILON = 1e-5
"""Of timm's norms, but in networks that it took from TensorFlow."""

_SIZES = {
    "s": _preset(24, (24, 48, 64, 128, 160, 256), (2, 4, 4, 6, 9, 15)),
    "m": _preset(24, (24, 48, 80, 160, 176, 304, 512), (3, 5, 5, 7, 14, 18, 5)),
    "l": _preset(32, (32, 64, 96, 192, 224, 384, 640), (4, 7, 7, 10, 19, 25, 7)),
}

ARCHITECTURE = Architecture(
    name="efficientnetv2",
    presets={
        **{f"efficientnet_v2_{size}": preset for size, preset in _SIZES.items()},
        **{f"efficientnetv2_{size}": partial(preset, epsilon=_OWN_EPSILON) for size, preset in _SIZES.items()},
        **{
            f"tf_efficientnetv2_{size}": partial(preset, epsilon=_OWN_EPSILON, same=True)
            for size, preset in _SIZES.items()
        },
    },
    infer=infer,
    input_shape=(32, 32, 3),
    head="classifier.1",
    namings=tuple(Naming("timm", _timm(stages), fields=(("epsilon", _OWN_EPSILON),)) for stages in (6, 7)),
    variants=padding_variants,
    open_namings=("timm",),
    note=padding_note,
)
