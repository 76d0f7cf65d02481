"""Residual networks (He et al. 2015, arXiv:1512.03385) in torchvision's naming: ImageNet and CIFAR forms.

Weights show the stem's kernel: 7x7 comes with stride 2 and a max pool (torchvision), 3x3 with neither (CIFAR). A
shortcut that changes shape is a convolution, 1x1 or 3x3, and mostly a norm, or, when the file has no weights for it,
option A of the paper: every second pixel, padded with zero channels on both sides. Blocks may end in a gate (`gates`).
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models import gates, layers
from xray_jax.models.architecture import Architecture, Inferred, Naming, Shapes, count_children, dim


class ResidualBlock(nn.Module):
    """conv-BN-ReLU twice (3x3) or, in a bottleneck, three times (1x1, 3x3, 1x1 to four times the width).

    Attributes:
      width: channels of the 3x3 convolutions.
      stride: of the first 3x3 convolution and of the shortcut.
      bottleneck: three convolutions.
      shortcut: side of the kernel of a shortcut that changes shape; 0 is option A.
      shortcut_norm: a norm follows it.
      gate: behind the last norm (`gates.KINDS`).
      gate_width: between the gate's linear layers.
      gate_bias: whether these have one.
    """

    width: int
    stride: int = 1
    bottleneck: bool = False
    shortcut: int = 1
    shortcut_norm: bool = True
    gate: str = "none"
    gate_width: int = 0
    gate_bias: bool = True

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
        out = gates.apply(out, self.gate, self.gate_width, self.gate_bias, train)
        if self.stride != 1 or x.shape[-1] != width_out:
            if self.shortcut:
                kernel = (self.shortcut, self.shortcut)
                x = conv(width_out, kernel, self.stride, padding=self.shortcut // 2, name="downsample.0")(x)
                x = norm(name="downsample.1")(x) if self.shortcut_norm else x
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
      shortcut: side of these shortcuts' kernels.
      shortcut_norm: a norm follows them.
      gate: behind each block's last norm (`gates.KINDS`).
      gate_widths: between the linear layers of each stage's gates; () without gates.
      gate_bias: whether these layers have one.
    """

    num_classes: int = 10
    stage_sizes: tuple[int, ...] = (2, 2, 2, 2)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    bottleneck: bool = False
    stem: str = "imagenet"
    stem_width: int = 64
    projection: bool = True
    shortcut: int = 1
    shortcut_norm: bool = True
    gate: str = "none"
    gate_widths: tuple[int, ...] = ()
    gate_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        kernel, stride, padding = (7, 2, 3) if self.stem == "imagenet" else (3, 1, 1)
        x = nn.Conv(self.stem_width, (kernel, kernel), stride, padding=padding, use_bias=False, name="conv1")(x)
        x = nn.relu(layers.batch_norm(train)(name="bn1")(x))
        if self.stem == "imagenet":
            x = layers.max_pool(x, 3, 2, padding=1)
        for stage, (size, width) in enumerate(zip(self.stage_sizes, self.widths, strict=True), 1):
            for block in range(size):
                x = ResidualBlock(
                    width,
                    stride=2 if stage > 1 and block == 0 else 1,
                    bottleneck=self.bottleneck,
                    shortcut=self.shortcut if self.projection else 0,
                    shortcut_norm=self.shortcut_norm,
                    gate=self.gate,
                    gate_width=self.gate_widths[stage - 1] if self.gate_widths else 0,
                    gate_bias=self.gate_bias,
                    name=f"layer{stage}.{block}",
                )(x, train)
        return nn.Dense(self.num_classes, name="fc")(layers.average(x))


def infer(shapes: Shapes) -> Inferred | None:
    """Reads depth, widths, stem, shortcut, gates and class count; None when the keys are of another kind of network."""
    if any(key not in shapes for key in ("bn1.weight", "layer1.0.conv1.weight", "fc.weight")):
        return None
    sizes: list[int] = []
    widths: list[int] = []
    while size := count_children(shapes, f"layer{len(sizes) + 1}"):
        sizes.append(size)
        widths.append(dim(shapes, f"layer{len(sizes)}.0.conv1.weight"))
    stem = "imagenet" if dim(shapes, "conv1.weight", 2) == 7 else "cifar"
    shortcuts = [key for key in shapes if key.endswith(".downsample.0.weight")]
    gate, gate_widths, gate_bias = gates.read(shapes, [f"layer{stage}.0" for stage in range(1, len(sizes) + 1)])
    module = ResNet(
        num_classes=dim(shapes, "fc.weight"),
        stage_sizes=tuple(sizes),
        widths=tuple(widths),
        bottleneck="layer1.0.conv3.weight" in shapes,
        stem=stem,
        stem_width=dim(shapes, "conv1.weight"),
        projection=bool(shortcuts),
        shortcut=dim(shapes, shortcuts[0], 2) if shortcuts else 1,
        shortcut_norm=not shortcuts or shortcuts[0].replace(".0.weight", ".1.weight") in shapes,
        gate=gate,
        gate_widths=gate_widths,
        gate_bias=gate_bias,
    )
    pool = "stride 2 and a max pool" if stem == "imagenet" else "stride 1, no pool"
    note = f"assumed, weights do not show it: the {'7x7' if stem == 'imagenet' else '3x3'} stem has {pool}"
    if gate != "none":
        note += f", the gates ({gate}) lie behind the last norm of each block, with ReLU and a sigmoid"
    return Inferred(module, (32, 32, dim(shapes, "conv1.weight", 1)), (note,))


_HUGGING_FACE = (
    (r"^resnet\.", ""),
    (r"^embedder\.embedder\.convolution\.", "conv1."),
    (r"^embedder\.embedder\.normalization\.", "bn1."),
    *((rf"^encoder\.stages\.{n}\.layers\.(\d+)\.", rf"layer{n + 1}.\1.") for n in range(4)),
    *((rf"\.layer\.{n}\.convolution\.", f".conv{n + 1}.") for n in range(3)),
    *((rf"\.layer\.{n}\.normalization\.", f".bn{n + 1}.") for n in range(3)),
    (r"\.shortcut\.convolution\.", ".downsample.0."),
    (r"\.shortcut\.normalization\.", ".downsample.1."),
    (r"^classifier\.1\.", "fc."),
)
_SEQUENTIAL = (
    # weiaicunzai's pytorch-cifar100: stem and blocks are Sequentials; stages are conv2_x to conv5_x, or stage1 to 4.
    (r"^(?:conv1|pre)\.0\.", "conv1."),
    (r"^(?:conv1|pre)\.1\.", "bn1."),
    *((rf"^(?:conv{n + 1}_x|stage{n})\.", f"layer{n}.") for n in range(1, 5)),
    *((rf"\.residual(?:_function)?\.{3 * n}\.", f".conv{n + 1}.") for n in range(3)),
    *((rf"\.residual(?:_function)?\.{3 * n + 1}\.", f".bn{n + 1}.") for n in range(3)),
    (r"\.shortcut\.", ".downsample."),
    (r"^linear\.", "fc."),
    *gates.RENAMES,
)
_KUANGLIU = ((r"^(?:linear|classifier|head)\.", "fc."), (r"\.(?:shortcut|skip)\.", ".downsample."), *gates.RENAMES)
_BARE_SHORTCUTS = (
    # Shortcuts as a convolution without a Sequential around it, its norm beside it.
    (r"\.(?:shortcut|downsample|skip|conv_?shortcut|shortcut_?conv|conv3x3)\.(weight)$", r".downsample.0.\1"),
    (r"\.(?:bn_?shortcut|shortcut_?bn|shortcut_?norm)\.", ".downsample.1."),
    *_KUANGLIU,
)

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
    namings=(
        Naming("torchvision, with gates", gates.RENAMES),
        Naming("pytorch-cifar: linear, shortcut", _KUANGLIU),
        Naming("pytorch-cifar100", _SEQUENTIAL),
        Naming("Hugging Face", _HUGGING_FACE),
        Naming("shortcuts outside of a Sequential", _BARE_SHORTCUTS),
    ),
)
