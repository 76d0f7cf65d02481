"""Residual networks (He et al. 2015, arXiv:1512.03385) in torchvision's naming: ImageNet and CIFAR forms.

Weights show the stem's kernel: 7x7 comes with stride 2 and a max pool (torchvision), 3x3 and 1x1 with neither (CIFAR),
three 3x3 convolutions with both (timm's `resnet50d`). A shortcut that changes shape is a convolution, 1x1 or 3x3, and
mostly a norm, in timm's "d" nets behind an average pool, or, when the file has no weights for it, option A of the
paper: every second pixel, padded with zero channels on both sides. The 3x3 convolutions of bottlenecks may have groups
(ResNeXt, arXiv:1611.05431) or be wide. Blocks may end in a gate (`gates`).
"""

import re
from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models import gates, layers
from xray_jax.models.architecture import Architecture, Inferred, Naming, Shapes, count_children, dim

_STEMS = {"imagenet": (7, 2), "deep": (3, 2), "cifar": (3, 1), "pointwise": (1, 1)}
"""Kernel and stride of each stem; a max pool follows stride 2."""

_ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": nn.relu, "silu": nn.silu, "gelu": layers.gelu, "leaky_relu": nn.leaky_relu, "elu": nn.elu,
}  # fmt: skip

_POOLS = {
    "average": (layers.average,),
    "max_average": (layers.maximum, layers.average),
    "average_max": (layers.average, layers.maximum),
}
"""Global pools whose features the last layer takes, side by side."""


class ResidualBlock(nn.Module):
    """conv-BN-ReLU twice (3x3) or, in a bottleneck, three times (1x1, 3x3, 1x1 to a multiple of the width).

    Attributes:
      width: channels of the 3x3 convolutions.
      stride: of the first 3x3 convolution and of the shortcut.
      bottleneck: three convolutions.
      expansion: width of a bottleneck's output by that of its 3x3 convolution.
      groups: of a bottleneck's 3x3 convolution.
      shortcut: side of the kernel of a shortcut that changes shape; 0 is option A.
      shortcut_norm: a norm follows it.
      shortcut_pool: a 2x2 average pool has the shortcut's stride, in front of the convolution.
      gate: behind the last norm (`gates.KINDS`).
      gate_width: between the gate's linear layers.
      gate_bias: whether these have one.
      activation: behind the norms, of the last one with the shortcut.
    """

    width: int
    stride: int = 1
    bottleneck: bool = False
    expansion: float = 4
    groups: int = 1
    shortcut: int = 1
    shortcut_norm: bool = True
    shortcut_pool: bool = False
    gate: str = "none"
    gate_width: int = 0
    gate_bias: bool = True
    activation: str = "relu"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        norm, activate = layers.batch_norm(train), _ACTIVATIONS[self.activation]
        conv = partial(nn.Conv, use_bias=False)
        width_out = int(self.expansion * self.width) if self.bottleneck else self.width
        if self.bottleneck:
            out = activate(norm(name="bn1")(conv(self.width, (1, 1), name="conv1")(x)))
            grouped = partial(conv, feature_group_count=self.groups, padding=1, name="conv2")
            out = activate(norm(name="bn2")(grouped(self.width, (3, 3), self.stride)(out)))
            out = norm(name="bn3")(conv(width_out, (1, 1), name="conv3")(out))
        else:
            out = activate(norm(name="bn1")(conv(self.width, (3, 3), self.stride, padding=1, name="conv1")(x)))
            out = norm(name="bn2")(conv(self.width, (3, 3), padding=1, name="conv2")(out))
        out = gates.apply(out, self.gate, self.gate_width, self.gate_bias, train)
        if self.stride != 1 or x.shape[-1] != width_out:
            if self.shortcut:
                stride, first = self.stride, 0
                if self.shortcut_pool:
                    x = layers.average_pool_ceil(x, 2) if stride == 2 else x
                    stride, first = 1, 1
                kernel = (self.shortcut, self.shortcut)
                x = conv(width_out, kernel, stride, padding=self.shortcut // 2, name=f"downsample.{first}")(x)
                x = norm(name=f"downsample.{first + 1}")(x) if self.shortcut_norm else x
            else:
                added = width_out - x.shape[-1]
                x = x[:, :: self.stride, :: self.stride]
                x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (added // 2, added - added // 2)))
        return activate(out + x)


class ResNet(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      stage_sizes: blocks in each stage; all but the first stage begin with stride 2.
      widths: channels of each stage (of its 3x3 convolutions).
      bottleneck: blocks of three convolutions, as in depth 50 and more.
      expansion: width of a stage by that of its bottlenecks' 3x3 convolutions.
      groups: of these convolutions.
      stem: "imagenet": 7x7, stride 2, then a max pool; "deep": 3x3 three times, the first with stride 2, then a max
        pool; "cifar": 3x3, stride 1, no pool; "pointwise": the same with 1x1.
      stem_stride: another stride of the stem; 0 is the usual one.
      stem_pool: whether a max pool follows: "max", "none", or "usual".
      pool: of the last maps: "average", or maxima beside averages, "max_average" (fastai) or "average_max" (timm).
      stem_width: channels of the stem.
      stem_inner: channels of a deep stem's first two convolutions.
      projection: shortcuts that change shape have weights; False is option A.
      shortcut: side of these shortcuts' kernels.
      shortcut_norm: a norm follows them.
      shortcut_pool: a 2x2 average pool has their stride, in front of them.
      gate: behind each block's last norm (`gates.KINDS`).
      gate_widths: between the linear layers of each stage's gates; () without gates.
      gate_bias: whether these layers have one.
      activation: everywhere, the gates' own ones apart.
    """

    num_classes: int = 10
    stage_sizes: tuple[int, ...] = (2, 2, 2, 2)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    bottleneck: bool = False
    expansion: float = 4
    groups: int = 1
    stem: str = "imagenet"
    stem_width: int = 64
    stem_inner: tuple[int, ...] = ()
    projection: bool = True
    shortcut: int = 1
    shortcut_norm: bool = True
    shortcut_pool: bool = False
    gate: str = "none"
    gate_widths: tuple[int, ...] = ()
    gate_bias: bool = True
    stem_stride: int = 0
    stem_pool: str = "usual"
    pool: str = "average"
    activation: str = "relu"

    def stem_strides(self) -> tuple[int, bool]:
        """The stem's stride, and whether a max pool follows."""
        usual = _STEMS[self.stem][1]
        return self.stem_stride or usual, {"usual": usual == 2, "max": True, "none": False}[self.stem_pool]

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        kernel, (stride, pooled) = _STEMS[self.stem][0], self.stem_strides()
        activate = _ACTIVATIONS[self.activation]
        conv = partial(nn.Conv, kernel_size=(kernel, kernel), padding=kernel // 2, use_bias=False)
        name = "conv1"
        if self.stem == "deep":
            for number, width in enumerate(self.stem_inner):
                x = conv(width, strides=1 if number else stride, name=f"conv1.{3 * number}")(x)
                x = activate(layers.batch_norm(train)(name=f"conv1.{3 * number + 1}")(x))
            stride, name = 1, f"conv1.{3 * len(self.stem_inner)}"
        x = conv(self.stem_width, strides=stride, name=name)(x)
        x = activate(layers.batch_norm(train)(name="bn1")(x))
        if pooled:
            x = layers.max_pool(x, 3, 2, padding=1)
        for stage, (size, width) in enumerate(zip(self.stage_sizes, self.widths, strict=True), 1):
            for block in range(size):
                x = ResidualBlock(
                    width,
                    stride=2 if stage > 1 and block == 0 else 1,
                    bottleneck=self.bottleneck,
                    expansion=self.expansion,
                    groups=self.groups,
                    shortcut=self.shortcut if self.projection else 0,
                    shortcut_norm=self.shortcut_norm,
                    shortcut_pool=self.shortcut_pool,
                    gate=self.gate,
                    gate_width=self.gate_widths[stage - 1] if self.gate_widths else 0,
                    gate_bias=self.gate_bias,
                    activation=self.activation,
                    name=f"layer{stage}.{block}",
                )(x, train)
        features = [pool(x) for pool in _POOLS[self.pool]]
        return nn.Dense(self.num_classes, name="fc")(jnp.concatenate(features, axis=-1))


def infer(shapes: Shapes) -> Inferred | None:
    """Reads depth, widths, stem, shortcut, gates and class count; None when the keys are of another kind of network."""
    if any(key not in shapes for key in ("bn1.weight", "layer1.0.conv1.weight", "fc.weight")):
        return None
    sizes: list[int] = []
    widths: list[int] = []
    while size := count_children(shapes, f"layer{len(sizes) + 1}"):
        sizes.append(size)
        widths.append(dim(shapes, f"layer{len(sizes)}.0.conv1.weight"))
    first = "conv1.weight" if "conv1.weight" in shapes else "conv1.0.weight"
    stem = {7: "imagenet", 1: "pointwise"}.get(dim(shapes, first, 2), "cifar")
    inner: tuple[int, ...] = ()
    if first == "conv1.0.weight":
        stem, inner = "deep", (dim(shapes, first), dim(shapes, "conv1.3.weight"))
    shortcuts = [key for key in shapes if re.search(r"\.downsample\.[01]\.weight$", key) and len(shapes[key]) == 4]
    norm = re.sub(r"([01])\.weight$", lambda match: f"{int(match[1]) + 1}.weight", shortcuts[0]) if shortcuts else ""
    bottleneck = "layer1.0.conv3.weight" in shapes
    features = dim(shapes, f"layer{len(sizes)}.0.conv{3 if bottleneck else 2}.weight")
    gate, gate_widths, gate_bias = gates.read(shapes, [f"layer{stage}.0" for stage in range(1, len(sizes) + 1)])
    module = ResNet(
        num_classes=dim(shapes, "fc.weight"),
        stage_sizes=tuple(sizes),
        widths=tuple(widths),
        bottleneck=bottleneck,
        expansion=dim(shapes, "layer1.0.conv3.weight") / max(widths[0], 1) if bottleneck else 4,
        groups=max(widths[0], 1) // max(dim(shapes, "layer1.0.conv2.weight", 1), 1) if bottleneck else 1,
        stem=stem,
        stem_width=dim(shapes, "bn1.weight"),
        stem_inner=inner,
        projection=bool(shortcuts),
        shortcut=dim(shapes, shortcuts[0], 2) if shortcuts else 1,
        shortcut_norm=not shortcuts or norm in shapes,
        shortcut_pool=norm.endswith(".2.weight"),
        gate=gate,
        gate_widths=gate_widths,
        gate_bias=gate_bias,
        pool="max_average" if dim(shapes, "fc.weight", 1) == 2 * features > 0 else "average",
    )
    return Inferred(module, (32, 32, dim(shapes, first, 1)), (note(module),))


def note(module: nn.Module) -> str:
    """What is assumed of a `ResNet`, for rows."""
    assert isinstance(module, ResNet)
    kernel, (stride, pooled) = _STEMS[module.stem][0], module.stem_strides()
    pool = f"stride {stride}{' and a max pool' if pooled else ', no pool'}"
    text = f"assumed, weights do not show it: the {kernel}x{kernel} stem has {pool}, every later stage stride 2"
    if module.pool != "average":
        text += f", the last layer takes {' and then '.join(module.pool.split('_'))} pools"
    if module.gate != "none":
        text += f", the gates ({module.gate}) lie behind the last norm of each block, with ReLU and a sigmoid"
    if module.activation != "relu":
        text += f", {module.activation} everywhere"
    return text


def unusual(module: nn.Module) -> tuple[tuple[nn.Module, ...], ...]:
    """Stems of other strides, on which those who fit networks for large images to small ones do not agree; activations.

    One question: a stem that is better by luck under the wrong activation would hide the right one.
    """
    assert isinstance(module, ResNet)
    stride, pooled = module.stem_strides()
    others = [(one, pool) for one in (1, 2) for pool in ("max", "none") if (one, pool == "max") != (stride, pooled)]
    stems = (module.clone(stem_stride=one, stem_pool=pool) for one, pool in others)
    activations = (module.clone(activation=name) for name in _ACTIVATIONS if name != module.activation)
    return ((module, *stems, *activations),)


def variants(
    module: nn.Module, own: tuple[int, int, int], shown: tuple[int, int, int], usual: bool = False
) -> tuple[tuple[nn.Module, ...], ...]:
    """The two orders of maxima and averages, where the last layer takes both."""
    assert isinstance(module, ResNet)
    if module.pool == "average":
        return ()
    return (tuple(module.clone(pool=pool) for pool in ("max_average", "average_max")),)


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
_CHILDREN = (
    # `Sequential(*resnet.children())`, with or without the last ones.
    (r"^0\.weight$", "conv1.weight"),
    (r"^1\.", "bn1."),
    *((rf"^{n + 3}\.", f"layer{n}.") for n in range(1, 5)),
    (r"^(?:9|1[0-2])\.(weight|bias)$", r"fc.\1"),
)
_BARE_SHORTCUTS = (
    # Shortcuts as a convolution without a Sequential around it, its norm beside it.
    (r"\.(?:shortcut|downsample|skip|conv_?shortcut|shortcut_?conv|conv3x3)\.(weight)$", r".downsample.0.\1"),
    (r"\.(?:bn_?shortcut|shortcut_?bn|shortcut_?norm)\.", ".downsample.1."),
    *_KUANGLIU,
)

_RESNET50 = partial(ResNet, stage_sizes=(3, 4, 6, 3), bottleneck=True)
_D = partial(ResNet, stem="deep", stem_inner=(32, 32), shortcut_pool=True)
_CIFAR = partial(ResNet, widths=(16, 32, 64), stem="cifar", stem_width=16)
_OPTION_A = partial(_CIFAR, projection=False)

ARCHITECTURE = Architecture(
    name="resnet",
    presets={
        "resnet18": ResNet,
        "resnet34": partial(ResNet, stage_sizes=(3, 4, 6, 3)),
        "resnet50": _RESNET50,
        "resnext50_32x4d": partial(_RESNET50, widths=(128, 256, 512, 1024), expansion=2, groups=32),
        "wide_resnet50_2": partial(_RESNET50, widths=(128, 256, 512, 1024), expansion=2),
        "resnet18d": partial(_D, stage_sizes=(2, 2, 2, 2)),
        "resnet50d": partial(_D, stage_sizes=(3, 4, 6, 3), bottleneck=True),
        "resnet18-cifar": partial(ResNet, stem="cifar"),
        "resnet34-cifar": partial(ResNet, stem="cifar", stage_sizes=(3, 4, 6, 3)),
        "resnet50-cifar": partial(ResNet, stem="cifar", stage_sizes=(3, 4, 6, 3), bottleneck=True),
        **{f"resnet{6 * n + 2}-cifar-a": partial(_OPTION_A, stage_sizes=(n,) * 3) for n in (3, 5, 7, 9)},
        **{f"resnet{6 * n + 2}-cifar-b": partial(_CIFAR, stage_sizes=(n,) * 3) for n in (3, 5, 7, 9)},
    },
    infer=infer,
    variants=variants,
    unusual=unusual,
    note=note,
    input_shape=(32, 32, 3),
    head="fc",
    config={"hidden_act": "activation"},
    assumed={"downsample_in_bottleneck": False},
    # timm's with pools against aliasing.
    others=r"resne[tx]t?(aa|blur)\d",
    namings=(
        Naming("torchvision, with gates", gates.RENAMES),
        Naming("pytorch-cifar: linear, shortcut", _KUANGLIU),
        Naming("pytorch-cifar100", _SEQUENTIAL),
        Naming("Hugging Face", _HUGGING_FACE),
        Naming("shortcuts outside of a Sequential", _BARE_SHORTCUTS),
        Naming("torchvision's children in a Sequential", _CHILDREN),
    ),
)
