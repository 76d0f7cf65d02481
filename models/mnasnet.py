"""MNASNet, form B1 (Tan et al. 2019, arXiv:1807.11626), in torchvision's form and naming; timm's is renamed.

The weights show all widths and depths, so torchvision's first version, whose stem has 32 channels at every width, needs
no name of its own. Kernels and expansions are the paper's: timm's other networks have the same names and other ones.
"""

from functools import partial

import flax.linen as nn
import jax

from xray_jax.models import layers
from xray_jax.models.architecture import (
    STEM_OF_1,
    STRIDES,
    Architecture,
    Inferred,
    Naming,
    Renames,
    Shapes,
    count_children,
    dim,
)
from xray_jax.models.mbconv import unusual_stems

_STAGES = ((3, 3, 2), (3, 5, 2), (6, 5, 2), (6, 3, 1), (6, 5, 2), (6, 3, 1))
"""Of each stage: expansion, kernel, stride of its first block (figure 7 of the paper)."""

_FIRST = 8
"""Place of the first stage among the layers: behind the stem and a separable convolution."""

_LAST = _FIRST + len(_STAGES)


def _conv_norm(
    x: jax.Array, place: int, width: int, train: bool, kernel: int = 1, stride: int = 1, groups: int = 1
) -> jax.Array:
    """The convolution at `place` in a Sequential and the norm behind it."""
    conv = nn.Conv(
        width,
        (kernel, kernel),
        stride,
        padding=kernel // 2,
        feature_group_count=groups,
        use_bias=False,
        name=f"layers.{place}",
    )
    return layers.batch_norm(train)(name=f"layers.{place + 1}")(conv(x))


class InvertedResidual(nn.Module):
    """Expand (1x1), depthwise, project (1x1) without an activation; the input is added when the shape allows it.

    Attributes:
      width: channels out.
      expansion: channels between, over the input's.
      kernel: side of the depthwise convolution's kernel.
      stride: of the depthwise convolution.
    """

    width: int
    expansion: int
    kernel: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        between = self.expansion * x.shape[-1]
        out = nn.relu(_conv_norm(x, 0, between, train))
        out = nn.relu(_conv_norm(out, 3, between, train, self.kernel, self.stride, between))
        out = _conv_norm(out, 6, self.width, train)
        return out + x if self.stride == 1 and x.shape[-1] == self.width else out


class MNASNet(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      stem_width: channels of the stem.
      widths: of the separable convolution behind the stem and of each stage.
      stage_sizes: blocks in each stage.
      last_width: channels of the last convolution.
      stem_stride: of the stem, whose published stride is 2.
    """

    num_classes: int = 10
    stem_width: int = 32
    widths: tuple[int, ...] = (16, 24, 40, 80, 96, 192, 320)
    stage_sizes: tuple[int, ...] = (3, 3, 3, 2, 4, 1)
    last_width: int = 1280
    stem_stride: int = 2

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = nn.relu(_conv_norm(x, 0, self.stem_width, train, 3, self.stem_stride))
        x = nn.relu(_conv_norm(x, 3, self.stem_width, train, 3, groups=self.stem_width))
        x = _conv_norm(x, 6, self.widths[0], train)
        stages = zip(_STAGES, self.widths[1:], self.stage_sizes, strict=True)
        for place, ((expansion, kernel, stride), width, size) in enumerate(stages, _FIRST):
            for number in range(size):
                name = f"layers.{place}.{number}"
                block = InvertedResidual(width, expansion, kernel, stride if number == 0 else 1, name=name)
                x = block(x, train)
        x = nn.relu(_conv_norm(x, _LAST, self.last_width, train))
        return nn.Dense(self.num_classes, name="classifier.1")(layers.average(x))


def infer(shapes: Shapes) -> Inferred | None:
    """Reads all widths and depths; None when the keys are of another kind of network."""
    if f"layers.{_FIRST}.0.layers.6.weight" not in shapes or f"layers.{_LAST}.weight" not in shapes:
        return None
    stages = range(_FIRST, _LAST)
    widths = (f"layers.{place}.0.layers.6.weight" for place in stages)
    module = MNASNet(
        num_classes=dim(shapes, "classifier.1.weight"),
        stem_width=dim(shapes, "layers.0.weight"),
        widths=tuple(dim(shapes, key) for key in ("layers.6.weight", *widths)),
        stage_sizes=tuple(count_children(shapes, f"layers.{place}") for place in stages),
        last_width=dim(shapes, f"layers.{_LAST}.weight"),
    )
    return Inferred(module, (32, 32, dim(shapes, "layers.0.weight", 1)), (note(module),))


def note(module: nn.Module) -> str:
    """What is assumed of an `MNASNet`, for rows."""
    assert isinstance(module, MNASNet)
    return STRIDES if module.stem_stride == 2 else STEM_OF_1


_PARTS = {"conv_pw": 0, "bn1": 1, "conv_dw": 3, "bn2": 4, "conv_pwl": 6, "bn3": 7}
_SEPARABLE = {"conv_dw": 3, "bn1": 4, "conv_pw": 6, "bn2": 7}
_TIMM: Renames = (
    *((rf"^blocks\.0\.0\.{part}\.", f"layers.{place}.") for part, place in _SEPARABLE.items()),
    *((rf"^(blocks\.[1-6]\.\d+)\.{part}\.", rf"\1.layers.{place}.") for part, place in _PARTS.items()),
    (r"^blocks\.([1-6])\.", lambda match: f"layers.{_FIRST - 1 + int(match[1])}."),
    (r"^conv_stem\.", "layers.0."),
    (r"^bn1\.", "layers.1."),
    (r"^conv_head\.", f"layers.{_LAST}."),
    (r"^bn2\.", f"layers.{_LAST + 1}."),
    (r"^classifier\.(weight|bias)$", r"classifier.1.\1"),
)

ARCHITECTURE = Architecture(
    name="mnasnet",
    presets={
        "mnasnet1_0": MNASNet,
        "mnasnet0_5": partial(MNASNet, stem_width=16, widths=(8, 16, 24, 40, 48, 96, 160)),
        "mnasnet0_75": partial(MNASNet, stem_width=24, widths=(16, 24, 32, 64, 72, 144, 240)),
        "mnasnet1_3": partial(MNASNet, stem_width=40, widths=(24, 32, 56, 104, 128, 248, 416)),
    },
    infer=infer,
    input_shape=(32, 32, 3),
    head="classifier.1",
    namings=(Naming("timm", _TIMM),),
    unusual=unusual_stems,
    note=note,
)
