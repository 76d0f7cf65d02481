"""GoogLeNet (Szegedy et al. 2014, arXiv:1409.4842) with norms, in torchvision's form and naming, and its CIFAR forms.

torchvision has a stem of three convolutions with stride 4 in all and max pools whose windows reach over the edge;
the CIFAR forms have a 3x3 stem of stride 1, padded max pools, and mostly two 3x3 convolutions in the third branch.
"""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models import layers
from xray_jax.models.architecture import Architecture, Inferred, Naming, Renames, Shapes, dim

Block = tuple[int, int, int, int, int, int]
"""(1x1; reduced before the 3x3, 3x3; reduced before the 5x5, which is 3x3 here, 5x5; behind the pool)"""

_BLOCKS: dict[str, Block] = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""Table 1 of the paper."""


class Convolution(nn.Module):
    """Convolution `conv`, batch norm `bn`, ReLU.

    Attributes:
      width: channels out.
      kernel: side of the kernel, or (height, width).
      stride: of the convolution.
      padding: on each side, or (above and below, left and right); None is half a square kernel.
      bias: of the convolution.
      epsilon: of the norm.
    """

    width: int
    kernel: int | tuple[int, int] = 1
    stride: int = 1
    padding: int | tuple[int, int] | None = None
    bias: bool = False
    epsilon: float = 1e-3

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        kernel = self.kernel if isinstance(self.kernel, tuple) else (self.kernel, self.kernel)
        padding = kernel[0] // 2 if self.padding is None else self.padding
        x = nn.Conv(self.width, kernel, self.stride, padding=padding, use_bias=self.bias, name="conv")(x)
        return nn.relu(layers.batch_norm(train, self.epsilon)(name="bn")(x))


class Inception(nn.Module):
    """Four branches side by side: 1x1; 1x1 and 3x3; 1x1 and one or two 3x3; a max pool and 1x1.

    Attributes:
      widths: of the convolutions (`Block`).
      twice: the third branch has two 3x3 convolutions.
      middle_epsilon: of the norm between these two.
      convolution: makes a `Convolution`.
    """

    widths: Block
    twice: bool
    middle_epsilon: float
    convolution: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        conv = self.convolution
        one, reduced_3, three, reduced_5, five, pooled = self.widths
        second = conv(reduced_3, name="branch2.0")(x, train)
        third = conv(reduced_5, name="branch3.0")(x, train)
        middle = {"epsilon": self.middle_epsilon} if self.twice else {}
        third = conv(five, 3, name="branch3.1", **middle)(third, train)
        branches = (
            conv(one, name="branch1")(x, train),
            conv(three, 3, name="branch2.1")(second, train),
            conv(five, 3, name="branch3.2")(third, train) if self.twice else third,
            conv(pooled, name="branch4.1")(layers.max_pool(x, 3, 1, padding=1), train),
        )
        return jnp.concatenate(branches, axis=-1)


class GoogLeNet(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      blocks: widths of the nine blocks, or of the first of them.
      stem: widths of its convolutions: three in torchvision's, one or three in the CIFAR forms.
      small: a CIFAR form.
      twice: the third branch of each block has two 3x3 convolutions.
      bias: convolutions have one.
      epsilon: of the norms.
      scaled: images are scaled as for other weights of ImageNet first, torchvision's `transform_input`.
      cifar_100: pytorch-cifar100's form: a stem of one convolution is not padded, and the norm in the middle of the
        third branch has its width as epsilon.
    """

    num_classes: int = 10
    blocks: tuple[Block, ...] = tuple(_BLOCKS.values())
    stem: tuple[int, ...] = (64, 64, 192)
    small: bool = False
    twice: bool = False
    bias: bool = False
    epsilon: float = 1e-3
    scaled: bool = False
    cifar_100: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        conv = partial(Convolution, bias=self.bias, epsilon=self.epsilon)
        pool = partial(layers.max_pool, window=3, stride=2, padding=1)
        if self.small:
            padding = 0 if self.cifar_100 and len(self.stem) == 1 else 1
            for number, width in enumerate(self.stem, 1):
                x = conv(width, 3, padding=padding, name=f"conv{number}")(x, train)
            x = pool(x) if len(self.stem) > 1 else x
        else:
            pool = partial(layers.max_pool_ceil, window=3, stride=2)
            x = layers.torchvision_scale(x) if self.scaled else x
            x = pool(conv(self.stem[0], 7, 2, name="conv1")(x, train))
            x = pool(conv(self.stem[2], 3, name="conv3")(conv(self.stem[1], name="conv2")(x, train), train))
        for place, widths in zip(_BLOCKS, self.blocks, strict=False):
            if place == "4a":
                x = pool(x)
            elif place == "5a":
                x = pool(x) if self.small else layers.max_pool_ceil(x, 2, 2)
            middle = float(widths[4]) if self.cifar_100 else self.epsilon
            x = Inception(widths, self.twice, middle, conv, name=f"inception{place}")(x, train)
        return nn.Dense(self.num_classes, name="fc")(layers.average(x))


def infer(shapes: Shapes) -> Inferred | None:
    """Reads all widths and the form; None when the keys are of another kind of network."""
    if "inception3a.branch2.1.conv.weight" not in shapes or "conv1.conv.weight" not in shapes:
        return None
    parts = ("branch1", "branch2.0", "branch2.1", "branch3.0", "branch3.1", "branch4.1")
    blocks: list[Block] = []
    for place in _BLOCKS:
        one, reduced_3, three, reduced_5, five, pooled = (
            dim(shapes, f"inception{place}.{part}.conv.weight") for part in parts
        )
        blocks.append((one, reduced_3, three, reduced_5, five, pooled))
    stem = tuple(width for number in (1, 2, 3) if (width := dim(shapes, f"conv{number}.conv.weight")))
    module = GoogLeNet(
        num_classes=dim(shapes, "fc.weight"),
        blocks=tuple(blocks),
        stem=stem,
        small=dim(shapes, "conv1.conv.weight", 2) == 3,
        twice="inception3a.branch3.2.conv.weight" in shapes,
        bias="conv1.conv.bias" in shapes,
        epsilon=1e-5 if "conv1.conv.bias" in shapes else 1e-3,
    )
    return Inferred(module, (32, 32, dim(shapes, "conv1.conv.weight", 1)), (note(module),))


def note(module: nn.Module) -> str:
    """What is assumed of a `GoogLeNet`, for rows."""
    assert isinstance(module, GoogLeNet)
    if module.small:
        return "assumed, weights do not show it: stem of stride 1, padded 3x3 max pools"
    scaled = "scaled" if module.scaled else "not scaled"
    return f"assumed, weights do not show it: images are {scaled} inside the network (transform_input)"


def variants(
    module: nn.Module, own: tuple[int, int, int], shown: tuple[int, int, int], usual: bool = False
) -> tuple[tuple[nn.Module, ...], ...]:
    """Whether images are scaled first: torchvision's pretrained weights expect it."""
    assert isinstance(module, GoogLeNet)
    if module.small or own[2] != 3:
        return ()
    return (tuple(module.clone(scaled=scaled) for scaled in (module.scaled, not module.scaled)),)


_AUXILIARY = r"^aux[12]\."


def _sequentials(stem: str) -> Renames:
    """Names of repositories for CIFAR, where stem and branches are Sequentials."""
    return (
        *((rf"^{stem}\.{3 * n}\.", f"conv{n + 1}.conv.") for n in range(3)),
        *((rf"^{stem}\.{3 * n + 1}\.", f"conv{n + 1}.bn.") for n in range(3)),
        (r"^([a-e])([345])\.b([1-4])\.", r"inception\2\1.branch\3."),
        (r"\.branch1\.0\.", ".branch1.conv."),
        (r"\.branch1\.1\.", ".branch1.bn."),
        (r"\.branch4\.1\.", ".branch4.1.conv."),
        (r"\.branch4\.2\.", ".branch4.1.bn."),
        *((rf"\.branch([23])\.{3 * n}\.(?!conv|bn)", rf".branch\1.{n}.conv.") for n in range(3)),
        *((rf"\.branch([23])\.{3 * n + 1}\.(?!conv|bn)", rf".branch\1.{n}.bn.") for n in range(3)),
        (r"^linear\.", "fc."),
    )


ARCHITECTURE = Architecture(
    name="googlenet",
    presets={
        "googlenet-imagenet": GoogLeNet,
        "googlenet-cifar": partial(GoogLeNet, stem=(192,), small=True, twice=True, bias=True, epsilon=1e-5),
    },
    infer=infer,
    input_shape=(32, 32, 3),
    head="fc",
    namings=(
        Naming("torchvision, with auxiliary heads", unused=_AUXILIARY),
        Naming("pytorch-cifar", _sequentials("pre_layers")),
        Naming("pytorch-cifar100", _sequentials("prelayer"), fields=(("cifar_100", True),)),
    ),
    variants=variants,
    note=note,
)
