"""ShuffleNetV2 (Ma et al. 2018, arXiv:1807.11164) in torchvision's form and naming, and its CIFAR forms.

A block's channels are those of two branches, shuffled. The first block of a stage halves the size and both branches
compute; in the others one half of the channels passes as it is. torchvision's stem has stride 2 and a max pool, the
CIFAR forms' neither.
"""

import re
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models import layers
from xray_jax.models.architecture import Architecture, Inferred, Naming, Renames, Shapes, count_children, dim


class ShuffleBlock(nn.Module):
    """Two branches, their channels taken in turns.

    Attributes:
      width: channels out.
      inner: channels of the second branch before its last convolution.
      halves: the block halves the size, and the first branch computes too.
      bias: convolutions have one.
    """

    width: int
    inner: int
    halves: bool
    bias: bool

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        stride, half = 2 if self.halves else 1, self.width // 2

        def depthwise(x: jax.Array, at: str, next_at: str) -> jax.Array:
            groups = x.shape[-1]
            x = nn.Conv(groups, (3, 3), stride, padding=1, feature_group_count=groups, use_bias=self.bias, name=at)(x)
            return layers.batch_norm(train)(name=next_at)(x)

        def pointwise(x: jax.Array, width: int, at: str, next_at: str) -> jax.Array:
            x = nn.Conv(width, (1, 1), use_bias=self.bias, name=at)(x)
            return nn.relu(layers.batch_norm(train)(name=next_at)(x))

        first, second = (x, x) if self.halves else jnp.split(x, 2, axis=-1)
        if self.halves:
            first = pointwise(depthwise(first, "branch1.0", "branch1.1"), half, "branch1.2", "branch1.3")
        second = depthwise(pointwise(second, self.inner, "branch2.0", "branch2.1"), "branch2.3", "branch2.4")
        second = pointwise(second, half, "branch2.5", "branch2.6")
        return jnp.stack([first, second], axis=-1).reshape(*second.shape[:-1], -1)


class ShuffleNetV2(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      stage_sizes: blocks in each stage.
      widths: of each stage.
      inner: of each stage's first block, the second branch's channels before its last convolution; () is half the
        stage's width.
      stem_width: channels of the stem.
      last_width: channels of the last convolution.
      small: a CIFAR form: the stem has stride 1 and no pool.
      stem_relu: the stem ends in a ReLU.
      bias: convolutions have one.
    """

    num_classes: int = 10
    stage_sizes: tuple[int, ...] = (4, 8, 4)
    widths: tuple[int, ...] = (116, 232, 464)
    inner: tuple[int, ...] = ()
    stem_width: int = 24
    last_width: int = 1024
    small: bool = False
    stem_relu: bool = True
    bias: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        stride = 1 if self.small else 2
        x = nn.Conv(self.stem_width, (3, 3), stride, padding=1, use_bias=self.bias, name="conv1.0")(x)
        x = layers.batch_norm(train)(name="conv1.1")(x)
        x = nn.relu(x) if self.stem_relu else x
        x = x if self.small else layers.max_pool(x, 3, 2, padding=1)
        for stage, (size, width) in enumerate(zip(self.stage_sizes, self.widths, strict=True)):
            for number in range(size):
                inner = self.inner[stage] if self.inner and number == 0 else width // 2
                name = f"stage{stage + 2}.{number}"
                x = ShuffleBlock(width, inner, number == 0, self.bias, name=name)(x, train)
        x = nn.Conv(self.last_width, (1, 1), use_bias=self.bias, name="conv5.0")(x)
        x = nn.relu(layers.batch_norm(train)(name="conv5.1")(x))
        return nn.Dense(self.num_classes, name="fc")(layers.average(x))


def infer(shapes: Shapes) -> Inferred | None:
    """Reads depth and widths; None when the keys are of another kind of network."""
    if "stage2.0.branch2.5.weight" not in shapes or "conv1.0.weight" not in shapes:
        return None
    sizes: list[int] = []
    while size := count_children(shapes, f"stage{len(sizes) + 2}"):
        sizes.append(size)
    stages = range(2, len(sizes) + 2)
    widths = tuple(2 * dim(shapes, f"stage{stage}.0.branch2.5.weight") for stage in stages)
    inner = tuple(dim(shapes, f"stage{stage}.0.branch2.0.weight") for stage in stages)
    module = ShuffleNetV2(
        num_classes=dim(shapes, "fc.weight"),
        stage_sizes=tuple(sizes),
        widths=widths,
        inner=() if inner == tuple(width // 2 for width in widths) else inner,
        stem_width=dim(shapes, "conv1.0.weight"),
        last_width=dim(shapes, "conv5.0.weight"),
        bias="conv1.0.bias" in shapes,
    )
    return Inferred(module, (32, 32, dim(shapes, "conv1.0.weight", 1)), (note(module),))


def note(module: nn.Module) -> str:
    """What is assumed of a `ShuffleNetV2`, for rows."""
    assert isinstance(module, ShuffleNetV2)
    stem = "stride 1, no pool" if module.small else "stride 2 and a max pool"
    return f"assumed, weights do not show it: the stem has {stem}"


def variants(
    module: nn.Module, own: tuple[int, int, int], shown: tuple[int, int, int], usual: bool = False
) -> tuple[tuple[nn.Module, ...], ...]:
    """The stem, which is another where the images are small."""
    assert isinstance(module, ShuffleNetV2)
    return (tuple(module.clone(small=small) for small in (module.small, not module.small)),)


_DOWN = {1: "branch1.0", 2: "branch1.2", 3: "branch2.0", 4: "branch2.3", 5: "branch2.5"}
_BASIC = {1: "branch2.0", 2: "branch2.3", 3: "branch2.5"}


def _pytorch_cifar(match: re.Match[str]) -> str:
    """Convolutions and norms of a block are numbered, in the first one of a stage from the first branch on."""
    stage, block, kind, number = int(match[1]), match[2], match[3], int(match[4])
    branch, _, at = (_DOWN if block == "0" else _BASIC).get(number, f"unknown{number}.0").rpartition(".")
    return f"stage{stage + 1}.{block}.{branch}.{int(at) + (kind == 'bn')}."


_PYTORCH_CIFAR: Renames = (
    (r"^layer(\d)\.(\d+)\.(conv|bn)(\d)\.", _pytorch_cifar),
    (r"^conv1\.", "conv1.0."),
    (r"^bn1\.", "conv1.1."),
    (r"^conv2\.", "conv5.0."),
    (r"^bn2\.", "conv5.1."),
    (r"^linear\.", "fc."),
)
_PYTORCH_CIFAR_100: Renames = (
    (r"^pre\.", "conv1."),
    (r"\.shortcut\.", ".branch1."),
    (r"\.residual\.", ".branch2."),
)
_SMALL = ("small", True)

ARCHITECTURE = Architecture(
    name="shufflenetv2",
    presets={
        "shufflenet_v2_x1_0": ShuffleNetV2,
        "shufflenet_v2_x0_5": partial(ShuffleNetV2, widths=(48, 96, 192)),
        "shufflenet_v2_x1_5": partial(ShuffleNetV2, widths=(176, 352, 704)),
        "shufflenet_v2_x2_0": partial(ShuffleNetV2, widths=(244, 488, 976), last_width=2048),
    },
    infer=infer,
    input_shape=(32, 32, 3),
    head="fc",
    namings=(
        Naming("pytorch-cifar", _PYTORCH_CIFAR, fields=(_SMALL,)),
        Naming("pytorch-cifar100", _PYTORCH_CIFAR_100, fields=(_SMALL, ("stem_relu", False))),
    ),
    variants=variants,
    open_namings=("torchvision",),
    note=note,
)
