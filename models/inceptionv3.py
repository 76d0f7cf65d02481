"""Inception v3 (Szegedy et al. 2015, arXiv:1512.00567) in torchvision's form and naming, which timm shares.

Its blocks are a table: of each the branches, of each branch its convolutions. Images have 75 pixels a side at least.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models import layers
from xray_jax.models.architecture import Architecture, Inferred, Naming, Shape, Shapes, dim
from xray_jax.models.googlenet import Convolution


class Layer(NamedTuple):
    """A convolution of a block, its norm and a ReLU.

    Attributes:
      name: in the block.
      width: channels out.
      kernel: (height, width).
      halves: stride 2, without padding; else stride 1, padded by half the kernel.
    """

    name: str
    width: int
    kernel: tuple[int, int] = (1, 1)
    halves: bool = False


Branch = tuple[Layer | tuple[Layer, Layer], ...]
"""Layers one after the other; of a pair both see the same, and their channels lie side by side."""

_ROW, _COLUMN, _THREE = (1, 7), (7, 1), (3, 3)


def _a(pooled: int) -> tuple[Branch, ...]:
    return (
        (Layer("branch1x1", 64),),
        (Layer("branch5x5_1", 48), Layer("branch5x5_2", 64, (5, 5))),
        (
            Layer("branch3x3dbl_1", 64),
            Layer("branch3x3dbl_2", 96, _THREE),
            Layer("branch3x3dbl_3", 96, _THREE),
        ),
        (Layer("branch_pool", pooled),),
    )


def _c(width: int) -> tuple[Branch, ...]:
    return (
        (Layer("branch1x1", 192),),
        (Layer("branch7x7_1", width), Layer("branch7x7_2", width, _ROW), Layer("branch7x7_3", 192, _COLUMN)),
        (
            Layer("branch7x7dbl_1", width),
            Layer("branch7x7dbl_2", width, _COLUMN),
            Layer("branch7x7dbl_3", width, _ROW),
            Layer("branch7x7dbl_4", width, _COLUMN),
            Layer("branch7x7dbl_5", 192, _ROW),
        ),
        (Layer("branch_pool", 192),),
    )


_B: tuple[Branch, ...] = (
    (Layer("branch3x3", 384, _THREE, True),),
    (
        Layer("branch3x3dbl_1", 64),
        Layer("branch3x3dbl_2", 96, _THREE),
        Layer("branch3x3dbl_3", 96, _THREE, True),
    ),
    (),
)
_D: tuple[Branch, ...] = (
    (Layer("branch3x3_1", 192), Layer("branch3x3_2", 320, _THREE, True)),
    (
        Layer("branch7x7x3_1", 192),
        Layer("branch7x7x3_2", 192, _ROW),
        Layer("branch7x7x3_3", 192, _COLUMN),
        Layer("branch7x7x3_4", 192, _THREE, True),
    ),
    (),
)
_E: tuple[Branch, ...] = (
    (Layer("branch1x1", 320),),
    (
        Layer("branch3x3_1", 384),
        (Layer("branch3x3_2a", 384, (1, 3)), Layer("branch3x3_2b", 384, (3, 1))),
    ),
    (
        Layer("branch3x3dbl_1", 448),
        Layer("branch3x3dbl_2", 384, _THREE),
        (Layer("branch3x3dbl_3a", 384, (1, 3)), Layer("branch3x3dbl_3b", 384, (3, 1))),
    ),
    (Layer("branch_pool", 192),),
)
_BLOCKS: dict[str, tuple[Branch, ...]] = {
    "5b": _a(32),
    "5c": _a(64),
    "5d": _a(64),
    "6a": _B,
    "6b": _c(128),
    "6c": _c(160),
    "6d": _c(160),
    "6e": _c(192),
    "7a": _D,
    "7b": _E,
    "7c": _E,
}
"""The last branch of each sees averages of 3x3 pixels, or, without convolutions, their maxima with stride 2."""


class Mixed(nn.Module):
    """Branches side by side.

    Attributes:
      branches: what each does.
      divisor: of all widths.
    """

    branches: tuple[Branch, ...]
    divisor: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        def run(x: jax.Array, layer: Layer) -> jax.Array:
            padding = (0, 0) if layer.halves else (layer.kernel[0] // 2, layer.kernel[1] // 2)
            width, stride = layer.width // self.divisor, 2 if layer.halves else 1
            return Convolution(width, layer.kernel, stride, padding, name=layer.name)(x, train)

        found = []
        for branch in self.branches:
            out = x
            if branch is self.branches[-1]:
                out = layers.average_pool_same(x, 3) if branch else layers.max_pool(x, 3, 2)
            for step in branch:
                pair = (step,) if isinstance(step, Layer) else step
                out = jnp.concatenate([run(out, layer) for layer in pair], axis=-1)
            found.append(out)
        return jnp.concatenate(found, axis=-1)


class InceptionV3(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      divisor: of all widths; 1 in the published network.
      scaled: images are scaled as for other weights of ImageNet first, torchvision's `transform_input`.
    """

    num_classes: int = 10
    divisor: int = 1
    scaled: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = layers.torchvision_scale(x) if self.scaled else x

        def conv(x: jax.Array, name: str, width: int, kernel: int, stride: int = 1, padding: int = 0) -> jax.Array:
            return Convolution(width // self.divisor, kernel, stride, padding, name=name)(x, train)

        x = conv(conv(x, "Conv2d_1a_3x3", 32, 3, 2), "Conv2d_2a_3x3", 32, 3)
        x = layers.max_pool(conv(x, "Conv2d_2b_3x3", 64, 3, 1, 1), 3, 2)
        x = layers.max_pool(conv(conv(x, "Conv2d_3b_1x1", 80, 1), "Conv2d_4a_3x3", 192, 3), 3, 2)
        for place, branches in _BLOCKS.items():
            x = Mixed(branches, self.divisor, name=f"Mixed_{place}")(x, train)
        return nn.Dense(self.num_classes, name="fc")(layers.average(x))


def infer(shapes: Shapes) -> Inferred | None:
    """Reads class count and width; None when the keys are of another kind of network."""
    stem = "Conv2d_1a_3x3.conv.weight"
    if stem not in shapes or "Mixed_5b.branch1x1.conv.weight" not in shapes:
        return None
    module = InceptionV3(dim(shapes, "fc.weight"), divisor=32 // max(dim(shapes, stem), 1))
    return Inferred(module, (299, 299, dim(shapes, stem, 1)), (note(module),))


def note(module: nn.Module) -> str:
    """What is assumed of an `InceptionV3`, for rows."""
    scaled = "scaled" if vars(module)["scaled"] else "not scaled"
    return f"assumed, weights do not show it: images are {scaled} inside the network (transform_input)"


def variants(module: nn.Module, own: Shape, shown: Shape, usual: bool = False) -> tuple[tuple[nn.Module, ...], ...]:
    """Whether images are scaled first: torchvision's pretrained weights expect it."""
    scaled = bool(vars(module)["scaled"])
    return (tuple(module.clone(scaled=each) for each in (scaled, not scaled)),) if own[2] == 3 else ()


ARCHITECTURE = Architecture(
    name="inception",
    presets={"inception_v3": InceptionV3},
    infer=infer,
    input_shape=(299, 299, 3),
    head="fc",
    namings=(Naming("torchvision, with auxiliary head", unused=r"^AuxLogits\."),),
    variants=variants,
    note=note,
)
