"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) in torchvision's form and naming.

timm's, Hugging Face's, pytorch-cifar's and the older torch names are renamed. The weights show widths and expansions.
Strides they do not show: those of the paper, or of the CIFAR form, whose stem and second stage have stride 1.
"""

import re
from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models import layers
from xray_jax.models.architecture import Architecture, Inferred, Naming, Renames, Shapes, dim
from xray_jax.models.mbconv import ConvNorm, Function

Block = tuple[int, int, bool]
"""(width, channels between or 0 without an expansion, a shortcut of its own)"""

_STAGES = ((1, 16, 1), (2, 24, 2), (3, 32, 2), (4, 64, 2), (3, 96, 1), (3, 160, 2), (1, 320, 1))
"""Of each stage: blocks, width, stride of the first block (table 2 of the paper)."""

_STRIDES = tuple(stride if block == 0 else 1 for size, _, stride in _STAGES for block in range(size))
_SECOND_STAGE = _STAGES[0][0]


class LinearBottleneck(nn.Module):
    """Expand (1x1), depthwise 3x3, project (1x1) without an activation; the input is added when the stride is 1.

    Attributes:
      width: channels out.
      expanded: channels between; 0 is the input's, without a convolution for them.
      stride: of the depthwise convolution.
      shortcut: the input passes a 1x1 convolution and a norm before it is added.
      clipped: ReLU6 instead of ReLU.
      same: padded as TensorFlow does.
      epsilon: of the norms.
    """

    width: int
    expanded: int
    stride: int
    shortcut: bool
    clipped: bool
    same: bool
    epsilon: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        triple = partial(ConvNorm, epsilon=self.epsilon, activation=_activation(self.clipped), same=self.same)
        out, number = x, 0
        if self.expanded:
            out = triple(self.expanded, 1, name="conv.0")(out, train)
            number = 1
        out = triple(out.shape[-1], 3, self.stride, out.shape[-1], name=f"conv.{number}")(out, train)
        out = nn.Conv(self.width, (1, 1), use_bias=False, name=f"conv.{number + 1}")(out)
        out = layers.batch_norm(train, self.epsilon)(name=f"conv.{number + 2}")(out)
        if self.shortcut:
            x = ConvNorm(self.width, 1, epsilon=self.epsilon, name="shortcut")(x, train)
        return out + x if self.stride == 1 and x.shape == out.shape else out


class MobileNetV2(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      stem_width: channels of the stem.
      blocks: of each block (width, expanded, whether it has a shortcut of its own).
      last_width: channels of the last convolution.
      small: the CIFAR form: stem and second stage have stride 1.
      clipped: ReLU6 instead of ReLU.
      same: padded as TensorFlow does.
      epsilon: of the norms.
    """

    num_classes: int = 10
    stem_width: int = 32
    blocks: tuple[Block, ...] = ()
    last_width: int = 1280
    small: bool = False
    clipped: bool = True
    same: bool = False
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        activation = _activation(self.clipped)
        stem_stride = 1 if self.small else 2
        x = ConvNorm(self.stem_width, 3, stem_stride, 1, self.epsilon, activation, self.same, name="features.0")(
            x, train
        )
        for number, (width, expanded, shortcut) in enumerate(self.blocks):
            stride = 1 if self.small and number == _SECOND_STAGE else _STRIDES[number]
            block = LinearBottleneck(
                width,
                expanded,
                stride,
                shortcut,
                self.clipped,
                self.same,
                self.epsilon,
                name=f"features.{number + 1}",
            )
            x = block(x, train)
        last = ConvNorm(self.last_width, 1, 1, 1, self.epsilon, activation, name=f"features.{len(self.blocks) + 1}")
        return nn.Dense(self.num_classes, name="classifier.1")(layers.average(last(x, train)))


def _activation(clipped: bool) -> Function:
    return (lambda x: jnp.clip(x, 0, 6)) if clipped else nn.relu


def _preset(small: bool = False) -> partial[MobileNetV2]:
    blocks: list[Block] = []
    before = 32
    for size, width, _ in _STAGES:
        for _ in range(size):
            blocks.append((width, 6 * before if blocks else 0, False))
            before = width
    return partial(MobileNetV2, blocks=tuple(blocks), small=small)


def infer(shapes: Shapes) -> Inferred | None:
    """Reads all widths; None when the keys are of another kind of network, or of another depth than the published."""
    last = len(_STRIDES) + 1
    if f"features.{last}.0.weight" not in shapes or "features.1.conv.0.0.weight" not in shapes:
        return None
    blocks: list[Block] = []
    for number in range(1, last):
        name = f"features.{number}"
        expands = f"{name}.conv.1.0.weight" in shapes
        project = f"{name}.conv.{1 + expands}.weight"
        expanded = dim(shapes, f"{name}.conv.0.0.weight") if expands else 0
        blocks.append((dim(shapes, project), expanded, f"{name}.shortcut.0.weight" in shapes))
    module = MobileNetV2(
        num_classes=dim(shapes, "classifier.1.weight"),
        stem_width=dim(shapes, "features.0.0.weight"),
        blocks=tuple(blocks),
        last_width=dim(shapes, f"features.{last}.0.weight"),
    )
    return Inferred(module, (32, 32, dim(shapes, "features.0.0.weight", 1)), (note(module),))


def note(module: nn.Module) -> str:
    """What is assumed of a `MobileNetV2`, for rows."""
    assert isinstance(module, MobileNetV2)
    strides = "stride 1 in stem and second stage" if module.small else "the paper's strides"
    return f"assumed, weights do not show it: {'ReLU6' if module.clipped else 'ReLU'}, {strides}"


def variants(
    module: nn.Module, own: tuple[int, int, int], shown: tuple[int, int, int], usual: bool = False
) -> tuple[tuple[nn.Module, ...], ...]:
    """The strides, which are others where the images are small."""
    assert isinstance(module, MobileNetV2)
    return (tuple(module.clone(small=small) for small in (module.small, not module.small)),)


def _later(offset: int) -> Callable[[re.Match[str]], str]:
    return lambda match: f"features.{int(match[1]) + offset}."


def _block(later: str, first: str = "") -> Renames:
    """Names of a block's convolutions and norms to those used here; `first`: those of a block without expansion."""
    tables = (
        dict(zip(first.split(), ("conv.0.0", "conv.0.1", "conv.1", "conv.2"), strict=False)),
        dict(zip(later.split(), ("conv.0.0", "conv.0.1", "conv.1.0", "conv.1.1", "conv.2", "conv.3"), strict=True)),
    )
    names = "|".join(map(re.escape, sorted({*tables[0], *tables[1]}, key=len, reverse=True)))

    def renamed(match: re.Match[str]) -> str:
        # In one step, because the names of one table are what those of the other become.
        table = tables[0] if first and match[1] == "1" else tables[1]
        return f"features.{match[1]}.{table.get(match[2], match[2])}."

    return ((rf"^features\.(\d+)\.({names})\.", renamed),)


_NUMBERS = [(stage, block) for stage, (size, _, _) in enumerate(_STAGES) for block in range(size)]
_LAST = len(_NUMBERS) + 1
_HEAD = (r"^classifier\.(weight|bias)$", r"classifier.1.\1")
_TIMM: Renames = (
    *((rf"^blocks\.{stage}\.{block}\.", f"features.{n}.") for n, (stage, block) in enumerate(_NUMBERS, 1)),
    *_block("conv_pw bn1 conv_dw bn2 conv_pwl bn3", "conv_dw bn1 conv_pw bn2"),
    (r"^conv_stem\.", "features.0.0."),
    (r"^bn1\.", "features.0.1."),
    (r"^conv_head\.", f"features.{_LAST}.0."),
    (r"^bn2\.", f"features.{_LAST}.1."),
    _HEAD,
)
_CIFAR: Renames = (
    (r"^layers\.(\d+)\.", _later(1)),
    *_block("conv1 bn1 conv2 bn2 conv3 bn3"),
    (r"^conv1\.", "features.0.0."),
    (r"^bn1\.", "features.0.1."),
    (r"^conv2\.", f"features.{_LAST}.0."),
    (r"^bn2\.", f"features.{_LAST}.1."),
    (r"^linear\.", "classifier.1."),
)
_HUGGING_FACE: Renames = (
    (r"^mobilenet_v2\.", ""),
    (r"^conv_stem\.first_conv\.", "features.0."),
    (r"^conv_stem\.", "features.1."),
    (r"^layer\.(\d+)\.", _later(2)),
    (r"^conv_1x1\.", f"features.{_LAST}."),
    (r"\.convolution\.", ".0."),
    (r"\.normalization\.", ".1."),
    *_block(
        "expand_1x1.0 expand_1x1.1 conv_3x3.0 conv_3x3.1 reduce_1x1.0 reduce_1x1.1",
        "conv_3x3.0 conv_3x3.1 reduce_1x1.0 reduce_1x1.1",
    ),
    _HEAD,
)
_FLAT: Renames = (
    # Convolutions, norms and activations of a block in one Sequential; the last convolution may lie outside.
    *_block("conv.0 conv.1 conv.3 conv.4 conv.6 conv.7", "conv.0 conv.1 conv.3 conv.4"),
    (r"^conv\.", f"features.{_LAST}."),
    _HEAD,
)

ARCHITECTURE = Architecture(
    name="mobilenetv2",
    presets={"mobilenet_v2": _preset(), "mobilenet_v2-cifar": _preset(small=True)},
    infer=infer,
    input_shape=(32, 32, 3),
    head="classifier.1",
    namings=(
        Naming("timm", _TIMM),
        Naming("pytorch-cifar", _CIFAR, fields=(("small", True), ("clipped", False))),
        Naming("Hugging Face", _HUGGING_FACE, fields=(("same", True), ("epsilon", 1e-3))),
        Naming("pytorch-mobilenet-v2", _FLAT),
    ),
    variants=variants,
    open_namings=("torchvision", "pytorch-mobilenet-v2"),
    note=note,
)
