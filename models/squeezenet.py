"""SqueezeNet 1.0 and 1.1 (Iandola et al. 2016, arXiv:1602.07360) in torchvision's form and naming.

The weights show widths, and the numbers that modules without weights leave out show where the max pools lie.
"""

import re
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models import layers
from xray_jax.models.architecture import Architecture, Inferred, Shapes, dim

Fire = tuple[int, int, int, int]
"""(number among the modules, squeezed, width of the 1x1 part, width of the 3x3 part)"""


class FireModule(nn.Module):
    """A 1x1 convolution to few channels, then a 1x1 and a 3x3 convolution side by side; a ReLU behind each.

    Attributes:
      squeezed: channels between.
      pointwise: channels out of the 1x1 convolution.
      wide: channels out of the 3x3 convolution.
    """

    squeezed: int
    pointwise: int
    wide: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(nn.Conv(self.squeezed, (1, 1), name="squeeze")(x))
        parts = (
            nn.Conv(self.pointwise, (1, 1), name="expand1x1")(x),
            nn.Conv(self.wide, (3, 3), padding=1, name="expand3x3")(x),
        )
        return nn.relu(jnp.concatenate(parts, axis=-1))


class SqueezeNet(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      stem_width: channels of the stem, which has stride 2 and no padding.
      stem_kernel: side of its kernel.
      fires: of each fire module (number, squeezed, 1x1, 3x3); a max pool lies where a number is left out.
    """

    num_classes: int = 10
    stem_width: int = 64
    stem_kernel: int = 3
    fires: tuple[Fire, ...] = ()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        stem = nn.Conv(self.stem_width, (self.stem_kernel, self.stem_kernel), 2, padding=0, name="features.0")
        x = nn.relu(stem(x))
        before = 1
        for number, squeezed, pointwise, wide in self.fires:
            for _ in range(before + 1, number):
                x = layers.max_pool_ceil(x, 3, 2)
            x = FireModule(squeezed, pointwise, wide, name=f"features.{number}")(x)
            before = number
        return layers.average(nn.relu(nn.Conv(self.num_classes, (1, 1), name="classifier.1")(x)))


def _preset(stem_width: int, stem_kernel: int, numbers: tuple[int, ...]) -> partial[SqueezeNet]:
    sizes = [(16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)]
    fires = tuple((number, squeezed, wide, wide) for number, (squeezed, wide) in zip(numbers, sizes, strict=True))
    return partial(SqueezeNet, stem_width=stem_width, stem_kernel=stem_kernel, fires=fires)


def infer(shapes: Shapes) -> Inferred | None:
    """Reads all sizes; None when the keys are of another kind of network."""
    numbers = sorted(int(m[1]) for key in shapes if (m := re.match(r"features\.(\d{1,2})\.squeeze\.weight$", key)))
    stem = "features.0.weight"
    if not numbers or len(numbers) > 32 or stem not in shapes:
        return None
    fires = tuple(
        (
            number,
            dim(shapes, f"features.{number}.squeeze.weight"),
            dim(shapes, f"features.{number}.expand1x1.weight"),
            dim(shapes, f"features.{number}.expand3x3.weight"),
        )
        for number in numbers
    )
    module = SqueezeNet(
        num_classes=dim(shapes, "classifier.1.weight"),
        stem_width=dim(shapes, stem),
        stem_kernel=dim(shapes, stem, 2),
        fires=fires,
    )
    return Inferred(module, (224, 224, dim(shapes, stem, 1)))


ARCHITECTURE = Architecture(
    name="squeezenet",
    presets={
        "squeezenet1_1": _preset(64, 3, (3, 4, 6, 7, 9, 10, 11, 12)),
        "squeezenet1_0": _preset(96, 7, (3, 4, 5, 7, 8, 9, 10, 12)),
    },
    infer=infer,
    input_shape=(224, 224, 3),
)
