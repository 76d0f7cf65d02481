"""EfficientNet B0 to B7 (Tan & Le 2019, arXiv:1905.11946) in torchvision's form and naming; others are renamed.

EfficientNet-PyTorch and Hugging Face count the blocks through, without stages: which they belong to follows from how
many there are. Both pad as TensorFlow does.
"""

import math
from functools import partial

import flax.linen as nn
import jax

from xray_jax.models import layers
from xray_jax.models.architecture import Architecture, Inferred, Naming, Renames, Shapes, count_children, dim
from xray_jax.models.mbconv import (
    PARTS,
    SAME_EPSILON,
    ConvNorm,
    padding_note,
    padding_variants,
    read_block,
    silu_residual,
    timm_block,
    unusual_stems,
)

Block = tuple[int, int, int, int, int]
"""(width, expanded, kernel, squeezed, stride)"""

_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
"""Of each stage of B0: expansion, kernel, stride of its first block, width, blocks (table 1 of the paper)."""

_SCALES = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8), (1.6, 2.2), (1.8, 2.6), (2.0, 3.1))
"""Factors of width and depth of B0 to B7."""


class EfficientNet(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      stem_width: channels of the stem.
      stages: of each stage its blocks, each (width, expanded, kernel, squeezed, stride).
      last_width: channels of the last convolution.
      epsilon: of all norms; torchvision has 1e-3 in B5 to B7.
      same: padded as TensorFlow does, and with its epsilon, 1e-3.
      flat: blocks are counted through, and their parts have names.
      stem_stride: of the stem, whose published stride is 2.
    """

    num_classes: int = 10
    stem_width: int = 32
    stages: tuple[tuple[Block, ...], ...] = ()
    last_width: int = 1280
    epsilon: float = 1e-5
    same: bool = False
    flat: bool = False
    stem_stride: int = 2

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        epsilon = SAME_EPSILON if self.same else self.epsilon
        stem = ConvNorm(self.stem_width, 3, self.stem_stride, 1, epsilon, nn.silu, self.same, name="features.0")
        x = stem(x, train)
        before = 0
        for stage, blocks in enumerate(self.stages, 1):
            for number, (width, expanded, kernel, squeezed, stride) in enumerate(blocks):
                block = silu_residual(
                    width,
                    expanded,
                    kernel,
                    stride,
                    squeezed,
                    epsilon=epsilon,
                    same=self.same,
                    named=self.flat,
                    name=f"blocks.{before + number}" if self.flat else f"features.{stage}.{number}",
                )
                x = block(x, train)
            before += len(blocks)
        last = ConvNorm(self.last_width, 1, 1, 1, epsilon, nn.silu, name=f"features.{len(self.stages) + 1}")
        x = layers.average(last(x, train))
        return nn.Dense(self.num_classes, name="classifier.1")(x)


def _divisible(width: float) -> int:
    """The nearest multiple of 8, but not more than a tenth below."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


def _preset(width_factor: float, depth_factor: float, epsilon: float) -> partial[EfficientNet]:
    width_in = stem = _divisible(32 * width_factor)
    stages: list[tuple[Block, ...]] = []
    for expansion, kernel, stride, base, count in _STAGES:
        width = _divisible(base * width_factor)
        blocks: list[Block] = []
        for number in range(math.ceil(count * depth_factor)):
            blocks.append((width, width_in * expansion, kernel, width_in // 4, stride if number == 0 else 1))
            width_in = width
        stages.append(tuple(blocks))
    return partial(EfficientNet, stem_width=stem, stages=tuple(stages), last_width=4 * width_in, epsilon=epsilon)


_PRESETS = {
    f"efficientnet_b{number}": _preset(*scale, epsilon=1e-3 if number >= 5 else 1e-5)
    for number, scale in enumerate(_SCALES)
}

_DEPTHS = {sum(sizes): sizes for sizes in (tuple(map(len, p.keywords["stages"])) for p in _PRESETS.values())}
"""Blocks in all -> blocks of each stage."""


def infer(shapes: Shapes) -> Inferred | None:
    """Reads all sizes; strides are those of the paper's stages, and the norms' epsilon that of the preset."""
    flat = "blocks.0.block.depthwise.0.weight" in shapes
    # Version 2 has larger kernels there.
    staged = dim(shapes, "features.2.0.block.0.0.weight", 2) == 1
    if "classifier.1.weight" not in shapes or not (flat or staged):
        return None
    if flat:
        sizes = _DEPTHS.get(count_children(shapes, "blocks"))
        if sizes is None:
            return None
        numbers = iter(range(sum(sizes)))
        names = [[f"blocks.{next(numbers)}" for _ in range(size)] for size in sizes]
    else:
        counts = [count_children(shapes, f"features.{stage}") for stage in range(1, len(_STAGES) + 1)]
        names = [[f"features.{stage}.{n}" for n in range(count)] for stage, count in enumerate(counts, 1)]
    stages = tuple(
        tuple((*read_block(shapes, name), stride if n == 0 else 1) for n, name in enumerate(blocks))
        for (_, _, stride, _, _), blocks in zip(_STAGES, names, strict=True)
    )
    module = EfficientNet(
        num_classes=dim(shapes, "classifier.1.weight"),
        stem_width=dim(shapes, "features.0.0.weight"),
        stages=stages,
        flat=flat,
        last_width=dim(shapes, f"features.{len(_STAGES) + 1}.0.weight"),
    )
    for preset in _PRESETS.values():
        published = preset(num_classes=module.num_classes)
        if published.stages == module.stages:
            module = module.clone(epsilon=published.epsilon)
    return Inferred(module, (32, 32, dim(shapes, "features.0.0.weight", 1)), (padding_note(module),))


_TIMM = (
    (r"^conv_stem\.", "features.0.0."),
    (r"^bn1\.", "features.0.1."),
    (r"^conv_head\.", "features.8.0."),
    (r"^bn2\.", "features.8.1."),
    (r"^classifier\.(weight|bias)$", r"classifier.1.\1"),
    *(
        rename
        for stage in range(len(_STAGES))
        for rename in timm_block(stage, rf"features.{stage + 1}.\1", expands=stage > 0, squeezes=True)
    ),
)


def _flat(blocks: str, expand: str, depthwise: str, squeeze: str, project: str, top: Renames) -> Renames:
    """Names of blocks counted through; each part's two layers with a space between, `top` those outside of blocks."""
    start = r"^(blocks\.\d+)\."
    inner = ("0", "1"), ("0", "1"), ("fc1", "fc2"), ("0", "1")
    parts = zip(PARTS, (expand, depthwise, squeeze, project), inner, strict=True)
    names = [(f"{part}.{to}", old) for part, olds, tos in parts for old, to in zip(olds.split(), tos, strict=True)]
    return (
        (rf"^{blocks}\.(\d+)\.", r"blocks.\1."),
        *((rf"{start}{old}\.", rf"\1.block.{new}.") for new, old in names),
        *top,
    )


_EFFICIENTNET_PYTORCH = _flat(
    "_blocks",
    "_expand_conv _bn0",
    "_depthwise_conv _bn1",
    "_se_reduce _se_expand",
    "_project_conv _bn2",
    (
        (r"^_conv_stem\.", "features.0.0."),
        (r"^_bn0\.", "features.0.1."),
        (r"^_conv_head\.", "features.8.0."),
        (r"^_bn1\.", "features.8.1."),
        (r"^_fc\.", "classifier.1."),
    ),
)
_HUGGING_FACE = (
    (r"^efficientnet\.", ""),
    *_flat(
        r"encoder\.blocks",
        r"expansion\.expand_conv expansion\.expand_bn",
        r"depthwise_conv\.depthwise_conv depthwise_conv\.depthwise_norm",
        r"squeeze_excite\.reduce squeeze_excite\.expand",
        r"projection\.project_conv projection\.project_bn",
        (
            (r"^embeddings\.convolution\.", "features.0.0."),
            (r"^embeddings\.batchnorm\.", "features.0.1."),
            (r"^encoder\.top_conv\.", "features.8.0."),
            (r"^encoder\.top_bn\.", "features.8.1."),
            (r"^classifier\.(weight|bias)$", r"classifier.1.\1"),
        ),
    ),
)
_SAME = (("epsilon", 1e-5), ("same", True))

ARCHITECTURE = Architecture(
    name="efficientnet",
    # B3 comes first: the one that backdoor benchmarks train.
    presets={
        **{name: _PRESETS[name] for name in sorted(_PRESETS, key=lambda name: name != "efficientnet_b3")},
        **{f"tf_{name}": partial(preset, epsilon=1e-5, same=True) for name, preset in _PRESETS.items()},
    },
    infer=infer,
    input_shape=(32, 32, 3),
    head="classifier.1",
    namings=(
        Naming("timm", _TIMM, fields=(("epsilon", 1e-5),)),
        Naming("EfficientNet-PyTorch", _EFFICIENTNET_PYTORCH, fields=_SAME),
        Naming("Hugging Face", _HUGGING_FACE, fields=_SAME),
    ),
    variants=padding_variants,
    # timm has networks of its own and those that it took from TensorFlow, as `tf_efficientnet_b0`.
    open_namings=("timm",),
    unusual=unusual_stems,
    note=padding_note,
)
