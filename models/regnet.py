"""RegNet X and Y (Radosavovic et al. 2020, arXiv:2003.13678) in torchvision's form and naming.

timm's, Hugging Face's and pytorch-cifar's are renamed. Bottlenecks without a narrow middle, whose 3x3 convolutions have
groups; in Y with a squeeze-and-excitation behind them. Stem and the first block of each stage have stride 2; of
pytorch-cifar's not the stem and the first two stages.
"""

import re
from functools import partial

import flax.linen as nn
import jax

from xray_jax.models import layers
from xray_jax.models.architecture import STRIDES, Architecture, Inferred, Naming, Renames, Shapes, dim
from xray_jax.models.mbconv import ConvNorm, SqueezeExcitation

_SMALL_STAGES = 2
"""Of stride 1, in the form for small images."""


class RegNetBlock(nn.Module):
    """1x1, 3x3 in groups, squeeze-and-excitation, 1x1; the input is added, behind a 1x1 where the shape changes.

    Attributes:
      width: channels out.
      inner: channels of the 3x3 convolution.
      group: channels of each of its groups.
      squeezed: width of the squeeze-and-excitation; 0 is none.
      stride: of the 3x3 convolution.
    """

    width: int
    inner: int
    group: int
    squeezed: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        out = ConvNorm(self.inner, 1, activation=nn.relu, name="f.a")(x, train)
        groups = self.inner // self.group
        out = ConvNorm(self.inner, 3, self.stride, groups, activation=nn.relu, name="f.b")(out, train)
        if self.squeezed:
            out = SqueezeExcitation(self.squeezed, nn.relu, nn.sigmoid, name="f.se")(out)
        out = ConvNorm(self.width, 1, name="f.c")(out, train)
        if self.stride != 1 or x.shape[-1] != self.width:
            x = ConvNorm(self.width, 1, self.stride, name="proj")(x, train)
        return nn.relu(out + x)


class RegNet(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      stage_sizes: blocks in each stage.
      widths: of each stage.
      inner: channels of each stage's 3x3 convolutions.
      group: channels of a group of these convolutions, by stage.
      squeezed: widths of the squeeze-and-excitations, of each stage's first block and of its others; () without.
      stem_width: channels of the stem.
      small: pytorch-cifar's form: the stem and the first two stages have stride 1.
    """

    num_classes: int = 10
    stage_sizes: tuple[int, ...] = (1, 3, 6, 6)
    widths: tuple[int, ...] = (48, 104, 208, 440)
    inner: tuple[int, ...] = (48, 104, 208, 440)
    group: tuple[int, ...] = (8, 8, 8, 8)
    squeezed: tuple[tuple[int, int], ...] = ()
    stem_width: int = 32
    small: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = ConvNorm(self.stem_width, 3, 1 if self.small else 2, activation=nn.relu, name="stem")(x, train)
        for stage, size in enumerate(self.stage_sizes):
            first = 1 if self.small and stage < _SMALL_STAGES else 2
            for number in range(size):
                block = RegNetBlock(
                    self.widths[stage],
                    self.inner[stage],
                    self.group[stage],
                    self.squeezed[stage][min(number, 1)] if self.squeezed else 0,
                    stride=1 if number else first,
                    name=f"trunk_output.block{stage + 1}.block{stage + 1}-{number}",
                )
                x = block(x, train)
        return nn.Dense(self.num_classes, name="fc")(layers.average(x))


def infer(shapes: Shapes) -> Inferred | None:
    """Reads depth, widths and groups; None when the keys are of another kind of network."""
    block = "trunk_output.block{0}.block{0}-{1}.{2}.weight"
    if block.format(1, 0, "f.b.0") not in shapes:
        return None
    sizes: list[int] = []
    while block.format(len(sizes) + 1, 0, "f.a.0") in shapes:
        stage, size = len(sizes) + 1, 1
        while block.format(stage, size, "f.a.0") in shapes:
            size += 1
        sizes.append(size)
    firsts = [partial(block.format, stage, 0) for stage in range(1, len(sizes) + 1)]
    inner = tuple(dim(shapes, first("f.b.0")) for first in firsts)
    group = tuple(dim(shapes, first("f.b.0"), 1) for first in firsts)
    if inner == group:
        # Bottlenecks of another network, whose strides are its own.
        return None
    squeezed = tuple(
        (dim(shapes, block.format(stage, 0, "f.se.fc1")), dim(shapes, block.format(stage, 1, "f.se.fc1")))
        for stage in range(1, len(sizes) + 1)
    )
    module = RegNet(
        num_classes=dim(shapes, "fc.weight"),
        stage_sizes=tuple(sizes),
        widths=tuple(dim(shapes, first("f.c.0")) for first in firsts),
        inner=inner,
        group=group,
        squeezed=squeezed if any(map(any, squeezed)) else (),
        stem_width=dim(shapes, "stem.0.weight"),
    )
    return Inferred(module, (32, 32, dim(shapes, "stem.0.weight", 1)), (note(module),))


def note(module: nn.Module) -> str:
    """What is assumed of a `RegNet`, for rows."""
    assert isinstance(module, RegNet)
    if module.small:
        return "assumed, weights do not show it: stride 1 in the stem and the first two stages, stride 2 in later ones"
    return STRIDES


def _parts(parts: dict[str, str]) -> Renames:
    return tuple((rf"^(trunk_output\.block\d\.block\d-\d+)\.{name}\.", rf"\1.{to}.") for name, to in parts.items())


_TIMM: Renames = (
    (r"^s(\d)\.b(\d+)\.", lambda match: f"trunk_output.block{match[1]}.block{match[1]}-{int(match[2]) - 1}."),
    *_parts({"conv1": "f.a", "conv2": "f.b", "conv3": "f.c", "se": "f.se", "downsample": "proj"}),
    (r"\.conv\.", ".0."),
    (r"\.bn\.", ".1."),
    (r"^head\.fc\.", "fc."),
)


def _hugging_face(match: re.Match[str]) -> str:
    stage = int(match[1]) + 1
    return f"trunk_output.block{stage}.block{stage}-{match[2]}."


_HUGGING_FACE: Renames = (
    (r"^regnet\.", ""),
    (r"^embedder\.embedder\.", "stem."),
    (r"^encoder\.stages\.(\d)\.layers\.(\d+)\.", _hugging_face),
    (r"\.convolution\.", ".0."),
    (r"\.normalization\.", ".1."),
    *_parts({r"layer\.0": "f.a", r"layer\.1": "f.b", r"layer\.[23]": "f.c", "shortcut": "proj"}),
    (r"\.f\.c\.attention\.0\.", ".f.se.fc1."),
    (r"\.f\.c\.attention\.2\.", ".f.se.fc2."),
    (r"^classifier\.1\.", "fc."),
)

_PYTORCH_CIFAR: Renames = (
    (r"^layer(\d)\.(\d+)\.", r"trunk_output.block\1.block\1-\2."),
    *((rf"\.conv{n}\.", f".f.{part}.0.") for n, part in enumerate("abc", 1)),
    *((rf"\.bn{n}\.", f".f.{part}.1.") for n, part in enumerate("abc", 1)),
    (r"\.se\.se([12])\.", r".f.se.fc\1."),
    (r"\.shortcut\.", ".proj."),
    (r"^conv1\.", "stem.0."),
    (r"^bn1\.", "stem.1."),
    (r"^linear\.", "fc."),
)

_Y_400 = ((8, 0), (12, 26), (26, 52), (52, 110))

ARCHITECTURE = Architecture(
    name="regnet",
    presets={
        "regnet_y_400mf": partial(RegNet, squeezed=_Y_400),
        "regnet_x_400mf": partial(
            RegNet,
            stage_sizes=(1, 2, 7, 12),
            widths=(32, 64, 160, 400),
            inner=(32, 64, 160, 400),
            group=(16, 16, 16, 16),
        ),
    },
    infer=infer,
    input_shape=(32, 32, 3),
    head="fc",
    namings=(
        Naming("timm", _TIMM),
        Naming("Hugging Face", _HUGGING_FACE),
        Naming("pytorch-cifar", _PYTORCH_CIFAR, fields=(("small", True),)),
    ),
    note=note,
)
