"""MobileNetV3 (Howard et al. 2019, arXiv:1905.02244) in torchvision's form and naming; timm's is renamed."""

import re
from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax

from xray_jax.models import layers
from xray_jax.models.architecture import Architecture, Inferred, Naming, Shape, Shapes, dim
from xray_jax.models.mbconv import (
    SAME_EPSILON,
    ConvNorm,
    InvertedResidual,
    padding_note,
    padding_variants,
    read_block,
    timm_block,
    unusual_stems,
)

Block = tuple[int, int, int, int, bool, int]
"""(width, expanded, kernel, squeezed, hard swish instead of ReLU, stride)"""

_LARGE: tuple[Block, ...] = (
    (16, 16, 3, 0, False, 1),
    (24, 64, 3, 0, False, 2),
    (24, 72, 3, 0, False, 1),
    (40, 72, 5, 24, False, 2),
    (40, 120, 5, 32, False, 1),
    (40, 120, 5, 32, False, 1),
    (80, 240, 3, 0, True, 2),
    (80, 200, 3, 0, True, 1),
    (80, 184, 3, 0, True, 1),
    (80, 184, 3, 0, True, 1),
    (112, 480, 3, 120, True, 1),
    (112, 672, 3, 168, True, 1),
    (160, 672, 5, 168, True, 2),
    (160, 960, 5, 240, True, 1),
    (160, 960, 5, 240, True, 1),
)
_SMALL: tuple[Block, ...] = (
    (16, 16, 3, 8, False, 2),
    (24, 72, 3, 0, False, 2),
    (24, 88, 3, 0, False, 1),
    (40, 96, 5, 24, True, 2),
    (40, 240, 5, 64, True, 1),
    (40, 240, 5, 64, True, 1),
    (48, 120, 5, 32, True, 1),
    (48, 144, 5, 40, True, 1),
    (96, 288, 5, 72, True, 2),
    (96, 576, 5, 144, True, 1),
    (96, 576, 5, 144, True, 1),
)


def _narrowed(blocks: tuple[Block, ...], factor: float) -> tuple[Block, ...]:
    """All widths times `factor`, to the nearest multiple of 4, at least 4, and no less than nine tenths of it."""

    def narrow(width: int) -> int:
        nearest = max(4, int(width * factor + 2) // 4 * 4)
        return nearest + 4 if nearest < 0.9 * width * factor else nearest

    return tuple(
        (narrow(width), narrow(expanded), kernel, narrow(squeezed) if squeezed else 0, swish, stride)
        for width, expanded, kernel, squeezed, swish, stride in blocks
    )


_HEAD_ACTIVATIONS = {"hard_swish": nn.hard_swish, "relu": nn.relu}
_PUBLISHED_HIDDEN = (0, 1024, 1280)
_TIMM_EPSILON = 1e-5


class MobileNetV3(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      stem_width: channels of the stem.
      blocks: of each block (width, expanded, kernel, squeezed, hard swish, stride).
      last_width: channels of the last convolution.
      hidden: width of the linear layer before the last one; 0 is none, as some have it who fine-tune the network.
      epsilon: of all norms; 1e-5 in timm.
      same: padded as TensorFlow does, and with its epsilon, 1e-3.
      stem_stride: of the stem, whose published stride is 2.
      head_activation: behind the linear layer before the last one, "hard_swish" or "relu".
    """

    num_classes: int = 10
    stem_width: int = 16
    blocks: tuple[Block, ...] = _LARGE
    last_width: int = 960
    hidden: int = 1280
    epsilon: float = 1e-3
    same: bool = False
    stem_stride: int = 2
    head_activation: str = "hard_swish"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        epsilon = SAME_EPSILON if self.same else self.epsilon
        stem = ConvNorm(self.stem_width, 3, self.stem_stride, 1, epsilon, nn.hard_swish, self.same, name="features.0")
        x = stem(x, train)
        for number, (width, expanded, kernel, squeezed, swish, stride) in enumerate(self.blocks, 1):
            block = InvertedResidual(
                width,
                expanded,
                kernel,
                stride,
                squeezed,
                activation=nn.hard_swish if swish else nn.relu,
                squeeze_activation=nn.relu,
                gate=nn.hard_sigmoid,
                epsilon=epsilon,
                same=self.same,
                name=f"features.{number}",
            )
            x = block(x, train)
        last = ConvNorm(self.last_width, 1, 1, 1, epsilon, nn.hard_swish, name=f"features.{len(self.blocks) + 1}")
        x = layers.average(last(x, train))
        if self.hidden:
            x = _HEAD_ACTIVATIONS[self.head_activation](nn.Dense(self.hidden, name="classifier.0")(x))
        return nn.Dense(self.num_classes, name="classifier.3")(x)


_SMALL_NET = partial(MobileNetV3, blocks=_SMALL, last_width=576, hidden=1024)


def infer(shapes: Shapes) -> Inferred | None:
    """Reads all widths; strides and activations, which weights do not show, are the published net's of that depth."""
    if "classifier.3.weight" not in shapes or "features.1.block.0.0.weight" not in shapes:
        return None
    tables = [table for table in (_LARGE, _SMALL) if f"features.{len(table) + 1}.0.weight" in shapes]
    if not tables:
        return None
    table = tables[0]
    module = MobileNetV3(
        num_classes=dim(shapes, "classifier.3.weight"),
        stem_width=dim(shapes, "features.0.0.weight"),
        blocks=tuple(
            (*read_block(shapes, f"features.{number}"), swish, stride)
            for number, (*_, swish, stride) in enumerate(table, 1)
        ),
        last_width=dim(shapes, f"features.{len(table) + 1}.0.weight"),
        hidden=dim(shapes, "classifier.0.weight"),
    )
    return Inferred(module, (32, 32, dim(shapes, "features.0.0.weight", 1)), (note(module),))


def note(module: nn.Module) -> str:
    """What is assumed of a `MobileNetV3`, for rows."""
    assert isinstance(module, MobileNetV3)
    said = padding_note(module)
    if module.hidden in _PUBLISHED_HIDDEN:
        return said
    return f"{said}; {module.head_activation.replace('_', ' ')} between its last two layers"


def variants(module: nn.Module, own: Shape, shown: Shape, usual: bool = False) -> tuple[tuple[nn.Module, ...], ...]:
    """Padding, of timm's networks; and what lies between the last two layers, where these are somebody's own."""
    assert isinstance(module, MobileNetV3)
    axes: tuple[tuple[nn.Module, ...], ...] = ()
    if module.same or module.epsilon == _TIMM_EPSILON:
        axes += padding_variants(module, own, shown, usual)
    if module.hidden not in _PUBLISHED_HIDDEN:
        axes += (tuple(module.clone(head_activation=each) for each in _HEAD_ACTIVATIONS),)
    return axes


def _timm(stage_sizes: tuple[int, ...], table: tuple[Block, ...]) -> Naming:
    """timm counts blocks in stages, which have one kind of block each."""
    renames: list[tuple[str, str | Callable[[re.Match[str]], str]]] = []
    before = 0
    for stage, size in enumerate(stage_sizes):
        squeezes = table[before][3] > 0
        for block in range(size):
            renames.append((rf"^blocks\.{stage}\.{block}\.", f"blocks.{stage}.{before + block + 1}."))
        # Numbered anew within the stage, from the highest, so that no number is renamed twice.
        renames[-size:] = reversed(renames[-size:])
        renames += timm_block(stage, r"features.\1", expands=stage > 0, squeezes=squeezes)
        before += size
    last = len(stage_sizes)
    renames += [
        (rf"^blocks\.{last}\.0\.conv\.", f"features.{before + 1}.0."),
        (rf"^blocks\.{last}\.0\.bn1\.", f"features.{before + 1}.1."),
        (r"^conv_stem\.", "features.0.0."),
        (r"^bn1\.", "features.0.1."),
        (r"^classifier\.(weight|bias)$", r"classifier.3.\1"),
        (r"^conv_head\.", "classifier.0."),
    ]
    return Naming("timm", tuple(renames), fields=(("epsilon", _TIMM_EPSILON),))


ARCHITECTURE = Architecture(
    name="mobilenetv3",
    presets={
        "mobilenet_v3_large": MobileNetV3,
        "mobilenet_v3_small": _SMALL_NET,
        "tf_mobilenetv3_large_100": partial(MobileNetV3, epsilon=_TIMM_EPSILON, same=True),
        "tf_mobilenetv3_small_100": partial(_SMALL_NET, epsilon=_TIMM_EPSILON, same=True),
        # A fifth of the widths: what CPUs train by the dozen. The classifier, which holds most weights, is a tenth.
        "mobilenet_v3_large_x0_2": partial(
            MobileNetV3, stem_width=4, blocks=_narrowed(_LARGE, 0.2), last_width=192, hidden=128
        ),
    },
    infer=infer,
    input_shape=(32, 32, 3),
    head="classifier.3",
    namings=(_timm((1, 2, 3, 4, 2, 3), _LARGE), _timm((1, 2, 3, 2, 3), _SMALL)),
    variants=variants,
    unusual=unusual_stems,
    note=note,
)
