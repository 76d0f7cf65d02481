"""EfficientNet B0 to B7 (Tan & Le 2019, arXiv:1905.11946) in torchvision's form and naming; others are renamed.

EfficientNet-PyTorch, Hugging Face and pytorch-cifar count the blocks through, without stages: which they belong to
follows from how many there are. The first two pad images of any size as TensorFlow pads those of the size that the
network was published for; the last has a stem of stride 1 and no convolution behind the blocks.
"""

import math
from functools import partial

import flax.linen as nn
import jax

from xray_jax.models import layers
from xray_jax.models.architecture import Architecture, Inferred, Naming, Renames, Shape, Shapes, count_children, dim
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
      last_width: channels of the last convolution; 0 is none.
      epsilon: of all norms; torchvision has 1e-3 in B5 to B7.
      same: padded as TensorFlow does, and with its epsilon, 1e-3.
      flat: blocks are counted through, and their parts have names.
      padded_for: side of the images that all are padded for when `same`; 0 is their own.
      stem_stride: of the stem, whose published stride is 2.
    """

    num_classes: int = 10
    stem_width: int = 32
    stages: tuple[tuple[Block, ...], ...] = ()
    last_width: int = 1280
    epsilon: float = 1e-5
    same: bool = False
    flat: bool = False
    padded_for: int = 0
    stem_stride: int = 2

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        epsilon = SAME_EPSILON if self.same else self.epsilon
        shape, side = x.shape, self.padded_for
        conv = partial(ConvNorm, epsilon=epsilon, activation=nn.silu)
        stem = conv(self.stem_width, 3, self.stem_stride, same=self.same, padded_for=side, name="features.0")
        x = stem(x, train)
        # Who gives the stem another stride leaves the layers behind it as they were padded.
        before, side = 0, _halved(side)
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
                    padded_for=side,
                    named=self.flat,
                    name=f"blocks.{before + number}" if self.flat else f"features.{stage}.{number}",
                )
                x = block(x, train)
                side = side if stride == 1 else _halved(side)
            before += len(blocks)
        if not x.size:
            raise ValueError(f"images of {shape[1:3]} are too small for padding that is for {self.padded_for} pixels")
        if self.last_width:
            x = conv(self.last_width, 1, name=f"features.{len(self.stages) + 1}")(x, train)
        return nn.Dense(self.num_classes, name="classifier.1")(layers.average(x))


def _halved(side: int, times: int = 1) -> int:
    """A side behind so many layers of stride 2."""
    return -(-side // 2**times)


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

_SIDES = dict(zip(_PRESETS, (224, 240, 260, 300, 380, 456, 528, 600), strict=True))
"""Of the images that each was published for."""

_DEPTHS = {sum(sizes): sizes for sizes in (tuple(map(len, p.keywords["stages"])) for p in _PRESETS.values())}
"""Blocks in all -> blocks of each stage."""


def infer(shapes: Shapes) -> Inferred | None:
    """Reads all sizes; strides are those of the paper's stages; epsilon and side are those of the preset, or of B0."""
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
    preset = next((name for name in _PRESETS if _PRESETS[name].keywords["stages"] == stages), "efficientnet_b0")
    module = EfficientNet(
        num_classes=dim(shapes, "classifier.1.weight"),
        stem_width=dim(shapes, "features.0.0.weight"),
        stages=stages,
        flat=flat,
        last_width=dim(shapes, f"features.{len(_STAGES) + 1}.0.weight"),
        epsilon=_PRESETS[preset].keywords["epsilon"],
        padded_for=_SIDES[preset] if flat else 0,
    )
    return Inferred(module, (32, 32, dim(shapes, "features.0.0.weight", 1)), (note(module),))


def note(module: nn.Module) -> str:
    """What is assumed of an `EfficientNet`, for rows."""
    assert isinstance(module, EfficientNet)
    if not (module.same and module.padded_for):
        return padding_note(module)
    return f"{padding_note(module)} for images of {module.padded_for} pixels a side, at every size"


def variants(module: nn.Module, own: Shape, shown: Shape, usual: bool = False) -> tuple[tuple[nn.Module, ...], ...]:
    """Torch's padding or TensorFlow's; where blocks are counted through, that for one side or by the images' own."""
    assert isinstance(module, EfficientNet)
    if not module.flat:
        return padding_variants(module, own, shown, usual)
    if not module.padded_for or all(_odd(side) == _odd(module.padded_for) for side in shown[:2]):
        return ()
    return ((module, module.clone(padded_for=0)),)


def _odd(side: int) -> list[bool]:
    """Whether the side is odd in front of each layer of stride 2, all that padding depends on."""
    return [_halved(side, times) % 2 == 1 for times in range(5)]


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
_PYTORCH_CIFAR = _flat(
    "layers",
    "conv1 bn1",
    "conv2 bn2",
    r"se\.se1 se\.se2",
    "conv3 bn3",
    ((r"^conv1\.", "features.0.0."), (r"^bn1\.", "features.0.1."), (r"^linear\.", "classifier.1.")),
)
_NEVER_CALLED = r"^blocks\.0\.block\.expand\."
"""Layers of pytorch-cifar's first block, which does not expand."""
_SAME = (("epsilon", 1e-5), ("same", True))

ARCHITECTURE = Architecture(
    name="efficientnet",
    # B3 comes first: the one that backdoor benchmarks train.
    presets={
        **{name: _PRESETS[name] for name in sorted(_PRESETS, key=lambda name: name != "efficientnet_b3")},
        "efficientnet_b0-cifar": partial(_PRESETS["efficientnet_b0"], last_width=0, flat=True, stem_stride=1),
        **{f"tf_{name}": partial(preset, epsilon=1e-5, same=True) for name, preset in _PRESETS.items()},
    },
    infer=infer,
    input_shape=(32, 32, 3),
    head="classifier.1",
    namings=(
        Naming("timm", _TIMM, fields=(("epsilon", 1e-5),)),
        Naming("EfficientNet-PyTorch", _EFFICIENTNET_PYTORCH, fields=_SAME),
        Naming("Hugging Face", _HUGGING_FACE, fields=_SAME),
        Naming("pytorch-cifar", _PYTORCH_CIFAR, _NEVER_CALLED, (("stem_stride", 1), ("padded_for", 0))),
    ),
    variants=variants,
    # timm has networks of its own and those that it took from TensorFlow, as `tf_efficientnet_b0`;
    # EfficientNet-PyTorch takes an `image_size` to pad for, or None.
    open_namings=("timm", "EfficientNet-PyTorch"),
    unusual=unusual_stems,
    note=note,
)
