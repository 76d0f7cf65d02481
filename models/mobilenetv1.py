"""MobileNet, version 1 (Howard et al. 2017, arXiv:1704.04861), in pytorch-cifar's form and naming; others are renamed.

The weights show all widths. Strides they do not show: the stem's is 2 in the paper and 1 in the form for small images.
"""

import re
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models import layers
from xray_jax.models.architecture import Architecture, Inferred, Naming, Renames, Shape, Shapes, count_children, dim
from xray_jax.models.mbconv import SAME_EPSILON

_STAGES = (1, 2, 2, 6, 2)
"""Blocks of each width; behind the first, each width begins with stride 2 (table 1 of the paper)."""

_STARTS = tuple(sum(_STAGES[:stage]) for stage in range(len(_STAGES)))
_BLOCKS = sum(_STAGES)


class SeparableConvolution(nn.Module):
    """A depthwise 3x3 and a 1x1 convolution, a norm and an activation behind each.

    Attributes:
      width: channels out.
      stride: of the depthwise convolution.
      clipped: ReLU6 instead of ReLU.
      bias: the 1x1 convolution has one.
      same: padded as TensorFlow does.
      epsilon: of the norms.
    """

    width: int
    stride: int
    clipped: bool
    bias: bool
    same: bool
    epsilon: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        norm = layers.batch_norm(train, self.epsilon)
        channels, padding = x.shape[-1], "SAME" if self.same else 1
        depthwise = nn.Conv(
            channels,
            (3, 3),
            self.stride,
            padding=padding,
            feature_group_count=channels,
            use_bias=False,
            name="conv1",
        )
        x = _activate(norm(name="bn1")(depthwise(x)), self.clipped)
        x = nn.Conv(self.width, (1, 1), use_bias=self.bias, name="conv2")(x)
        return _activate(norm(name="bn2")(x), self.clipped)


class MobileNetV1(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      stem_width: channels of the stem.
      widths: channels out of each block.
      small: the stem has stride 1, as for small images.
      clipped: ReLU6 instead of ReLU.
      bias: the blocks' 1x1 convolutions have one (pytorch-cifar100).
      same: padded as TensorFlow does.
      epsilon: of the norms.
    """

    num_classes: int = 10
    stem_width: int = 32
    widths: tuple[int, ...] = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
    small: bool = True
    clipped: bool = False
    bias: bool = False
    same: bool = False
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        stem_stride, padding = 1 if self.small else 2, "SAME" if self.same else 1
        x = nn.Conv(self.stem_width, (3, 3), stem_stride, padding=padding, use_bias=False, name="conv1")(x)
        x = _activate(layers.batch_norm(train, self.epsilon)(name="bn1")(x), self.clipped)
        for number, width in enumerate(self.widths):
            stride = 2 if number in _STARTS[1:] else 1
            block = SeparableConvolution(
                width, stride, self.clipped, self.bias, self.same, self.epsilon, name=f"layers.{number}"
            )
            x = block(x, train)
        return nn.Dense(self.num_classes, name="linear")(layers.average(x))


def _activate(x: jax.Array, clipped: bool) -> jax.Array:
    return jnp.clip(x, 0, 6) if clipped else nn.relu(x)


def infer(shapes: Shapes) -> Inferred | None:
    """Reads all widths; None when the keys are of another kind of network, or of another depth than the published."""
    if count_children(shapes, "layers") != _BLOCKS or dim(shapes, "layers.0.conv1.weight", 1) != 1:
        return None
    module = MobileNetV1(
        num_classes=dim(shapes, "linear.weight"),
        stem_width=dim(shapes, "conv1.weight"),
        widths=tuple(dim(shapes, f"layers.{number}.conv2.weight") for number in range(_BLOCKS)),
        bias="layers.0.conv2.bias" in shapes,
    )
    return Inferred(module, (32, 32, dim(shapes, "conv1.weight", 1)), (note(module),))


def note(module: nn.Module) -> str:
    """What is assumed of a `MobileNetV1`, for rows."""
    assert isinstance(module, MobileNetV1)
    activation = "ReLU6" if module.clipped else "ReLU"
    return f"assumed, weights do not show it: {activation}, the stem has stride {1 if module.small else 2}"


def variants(module: nn.Module, own: Shape, shown: Shape, usual: bool = False) -> tuple[tuple[nn.Module, ...], ...]:
    """The stem's stride, which is another where the images are small."""
    assert isinstance(module, MobileNetV1)
    return (tuple(module.clone(small=small) for small in (module.small, not module.small)),)


def _hugging_face(match: re.Match[str]) -> str:
    """Convolutions are counted through, depthwise ones and 1x1 in turn."""
    block, number = divmod(int(match[1]), 2)
    return f"layers.{block}.{'conv' if match[2] == 'convolution' else 'bn'}{number + 1}."


_PYTORCH_CIFAR_100_STAGES = ("stem.1", "conv1.0", "conv1.1", "conv2.0", "conv2.1")
_PYTORCH_CIFAR_100: Renames = (
    *((rf"^{re.escape(name)}\.", f"layers.{n}.") for n, name in enumerate(_PYTORCH_CIFAR_100_STAGES)),
    (r"^conv3\.(\d)\.", lambda match: f"layers.{_STARTS[3] + int(match[1])}."),
    (r"^conv4\.(\d)\.", lambda match: f"layers.{_STARTS[4] + int(match[1])}."),
    (r"\.depthwise\.0\.", ".conv1."),
    (r"\.depthwise\.1\.", ".bn1."),
    (r"\.pointwise\.0\.", ".conv2."),
    (r"\.pointwise\.1\.", ".bn2."),
    (r"^stem\.0\.conv\.", "conv1."),
    (r"^stem\.0\.bn\.", "bn1."),
    (r"^fc\.", "linear."),
)
_TIMM: Renames = (
    (r"^conv_stem\.", "conv1."),
    (r"^blocks\.(\d)\.(\d+)\.", lambda match: f"layers.{(*_STARTS, 99)[min(int(match[1]), 5)] + int(match[2])}."),
    (r"\.conv_dw\.", ".conv1."),
    (r"\.conv_pw\.", ".conv2."),
    (r"^classifier\.", "linear."),
)
_HUGGING_FACE: Renames = (
    (r"^mobilenet_v1\.", ""),
    (r"^conv_stem\.convolution\.", "conv1."),
    (r"^conv_stem\.normalization\.", "bn1."),
    (r"^layer\.(\d+)\.(convolution|normalization)\.", _hugging_face),
    (r"^classifier\.", "linear."),
)
_LARGE, _CLIPPED = ("small", False), ("clipped", True)

ARCHITECTURE = Architecture(
    name="mobilenetv1",
    presets={"mobilenet_v1": partial(MobileNetV1, small=False), "mobilenet_v1-cifar": MobileNetV1},
    infer=infer,
    input_shape=(32, 32, 3),
    head="linear",
    naming="pytorch-cifar",
    namings=(
        Naming("pytorch-cifar100", _PYTORCH_CIFAR_100),
        Naming("timm", _TIMM, fields=(_LARGE, _CLIPPED)),
        Naming("Hugging Face", _HUGGING_FACE, fields=(_LARGE, _CLIPPED, ("same", True), ("epsilon", SAME_EPSILON))),
    ),
    variants=variants,
    open_namings=("timm",),
    note=note,
)
