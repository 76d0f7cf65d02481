"""Residual networks (He et al. 2015, arXiv:1512.03385) in torchvision's naming: ImageNet and CIFAR forms.

Weights show the stem's kernel: 7x7 comes with stride 2 and a max pool (torchvision), 3x3 with neither (CIFAR). A
shortcut that changes shape is a 1x1 convolution and a norm, or, when the file has no weights for it, option A of the
paper: every second pixel, padded with zero channels on both sides.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models import layers
from xray_jax.models.architecture import Architecture, Inferred, Naming, Shapes, count_children, dim


class ResidualBlock(nn.Module):
    """conv-BN-ReLU twice (3x3) or, in a bottleneck, three times (1x1, 3x3, 1x1 to four times the width)."""

    width: int
    stride: int = 1
    bottleneck: bool = False
    projection: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        norm = layers.batch_norm(train)
        conv = partial(nn.Conv, use_bias=False)
        width_out = 4 * self.width if self.bottleneck else self.width
        if self.bottleneck:
            out = nn.relu(norm(name="bn1")(conv(self.width, (1, 1), name="conv1")(x)))
            out = nn.relu(norm(name="bn2")(conv(self.width, (3, 3), self.stride, padding=1, name="conv2")(out)))
            out = norm(name="bn3")(conv(width_out, (1, 1), name="conv3")(out))
        else:
            out = nn.relu(norm(name="bn1")(conv(self.width, (3, 3), self.stride, padding=1, name="conv1")(x)))
            out = norm(name="bn2")(conv(self.width, (3, 3), padding=1, name="conv2")(out))
        if self.stride != 1 or x.shape[-1] != width_out:
            if self.projection:
                x = conv(width_out, (1, 1), self.stride, padding=0, name="downsample.0")(x)
                x = norm(name="downsample.1")(x)
            else:
                added = width_out - x.shape[-1]
                x = x[:, :: self.stride, :: self.stride]
                x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (added // 2, added - added // 2)))
        return nn.relu(out + x)


class ResNet(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      stage_sizes: blocks in each stage; all but the first stage begin with stride 2.
      widths: channels of each stage (of its 3x3 convolutions).
      bottleneck: blocks of three convolutions, as in depth 50 and more.
      stem: "imagenet": 7x7, stride 2, then a max pool; "cifar": 3x3, stride 1, no pool.
      stem_width: channels of the stem.
      projection: shortcuts that change shape have weights; False is option A.
    """

    num_classes: int = 10
    stage_sizes: tuple[int, ...] = (2, 2, 2, 2)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    bottleneck: bool = False
    stem: str = "imagenet"
    stem_width: int = 64
    projection: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        kernel, stride, padding = (7, 2, 3) if self.stem == "imagenet" else (3, 1, 1)
        x = nn.Conv(self.stem_width, (kernel, kernel), stride, padding=padding, use_bias=False, name="conv1")(x)
        x = nn.relu(layers.batch_norm(train)(name="bn1")(x))
        if self.stem == "imagenet":
            x = layers.max_pool(x, 3, 2, padding=1)
        for stage, (size, width) in enumerate(zip(self.stage_sizes, self.widths, strict=True), 1):
            for block in range(size):
                stride = 2 if stage > 1 and block == 0 else 1
                name = f"layer{stage}.{block}"
                x = ResidualBlock(width, stride, self.bottleneck, self.projection, name=name)(x, train)
        return nn.Dense(self.num_classes, name="fc")(layers.average(x))


def infer(shapes: Shapes) -> Inferred | None:
    """Reads depth, widths, stem, shortcut and class count; None when the keys are of another kind of network."""
    if any(key not in shapes for key in ("bn1.weight", "layer1.0.conv1.weight", "fc.weight")):
        return None
    sizes: list[int] = []
    widths: list[int] = []
    while size := count_children(shapes, f"layer{len(sizes) + 1}"):
        sizes.append(size)
        widths.append(dim(shapes, f"layer{len(sizes)}.0.conv1.weight"))
    stem = "imagenet" if dim(shapes, "conv1.weight", 2) == 7 else "cifar"
    module = ResNet(
        num_classes=dim(shapes, "fc.weight"),
        stage_sizes=tuple(sizes),
        widths=tuple(widths),
        bottleneck="layer1.0.conv3.weight" in shapes,
        stem=stem,
        stem_width=dim(shapes, "conv1.weight"),
        projection=any(".downsample." in key for key in shapes),
    )
    pool = "stride 2 and a max pool" if stem == "imagenet" else "stride 1, no pool"
    note = f"assumed, weights do not show it: the {'7x7' if stem == 'imagenet' else '3x3'} stem has {pool}"
    return Inferred(module, (32, 32, dim(shapes, "conv1.weight", 1)), (note,))


_CIFAR = partial(ResNet, widths=(16, 32, 64), stem="cifar", stem_width=16)
_OPTION_A = partial(_CIFAR, projection=False)

ARCHITECTURE = Architecture(
    name="resnet",
    presets={
        "resnet18": ResNet,
        "resnet34": partial(ResNet, stage_sizes=(3, 4, 6, 3)),
        "resnet50": partial(ResNet, stage_sizes=(3, 4, 6, 3), bottleneck=True),
        "resnet18-cifar": partial(ResNet, stem="cifar"),
        "resnet34-cifar": partial(ResNet, stem="cifar", stage_sizes=(3, 4, 6, 3)),
        "resnet50-cifar": partial(ResNet, stem="cifar", stage_sizes=(3, 4, 6, 3), bottleneck=True),
        **{f"resnet{6 * n + 2}-cifar-a": partial(_OPTION_A, stage_sizes=(n,) * 3) for n in (3, 5, 7, 9)},
        **{f"resnet{6 * n + 2}-cifar-b": partial(_CIFAR, stage_sizes=(n,) * 3) for n in (3, 5, 7, 9)},
    },
    infer=infer,
    input_shape=(32, 32, 3),
    namings=(Naming("pytorch-cifar: linear, shortcut", ((r"^linear\.", "fc."), (r"\.shortcut\.", ".downsample."))),),
)
