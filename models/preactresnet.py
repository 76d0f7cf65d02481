"""Pre-activation residual networks for small images (He et al. 2016, arXiv:1603.05027), in BackdoorBench's form.

Stem: 3x3 convolution, stride 1, no pool. Four stages in the presets, any number here. After the last stage comes the
global average pool and one linear layer. BackdoorBench has no norm in the stem and none at the end; others have either.
The shortcut of a block that changes stride or width is a 1x1 convolution, of the *activated* input in BackdoorBench, of
the input itself in RobustBench. Blocks may end in a gate (`gates`), as in the SENets of pytorch-cifar.
"""

from collections.abc import Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models import gates, layers
from xray_jax.models.architecture import Architecture, Inferred, Naming, Shapes, count_children, dim


class PreActBlock(nn.Module):
    """BN-ReLU-conv twice (3x3) or, in a bottleneck, three times (1x1, 3x3, 1x1 to four times the width); shortcut.

    Attributes:
      width: channels of the 3x3 convolutions.
      stride: of the first 3x3 convolution and of the shortcut.
      bottleneck: three convolutions.
      activated_shortcut: the shortcut's convolution takes the activated input.
      gate: behind the last convolution (`gates.KINDS`).
      gate_width: between the gate's linear layers.
      gate_bias: whether these have one.
    """

    width: int
    stride: int = 1
    bottleneck: bool = False
    activated_shortcut: bool = True
    gate: str = "none"
    gate_width: int = 0
    gate_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        norm = partial(nn.BatchNorm, use_running_average=not train, momentum=0.9, epsilon=1e-5)
        conv = partial(nn.Conv, use_bias=False)
        width_out = 4 * self.width if self.bottleneck else self.width
        out = nn.relu(norm(name="bn1")(x))
        shortcut = x
        if self.stride != 1 or x.shape[-1] != width_out:
            shortcut = conv(width_out, (1, 1), self.stride, padding=0, name="shortcut.0")(
                out if self.activated_shortcut else x
            )
        if self.bottleneck:
            out = conv(self.width, (1, 1), name="conv1")(out)
            out = conv(self.width, (3, 3), self.stride, padding=1, name="conv2")(nn.relu(norm(name="bn2")(out)))
            out = conv(width_out, (1, 1), name="conv3")(nn.relu(norm(name="bn3")(out)))
        else:
            out = conv(self.width, (3, 3), self.stride, padding=1, name="conv1")(out)
            out = conv(self.width, (3, 3), padding=1, name="conv2")(nn.relu(norm(name="bn2")(out)))
        return gates.apply(out, self.gate, self.gate_width, self.gate_bias, train) + shortcut


class PreActResNet(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      stage_sizes: blocks in each stage.
      widths: channels of each stage (of its 3x3 convolutions).
      strides: stride of each stage's first block.
      bottleneck: blocks of three convolutions, as in depth 50.
      stem_norm: a norm and ReLU follow the stem's convolution.
      final_norm: a norm and ReLU follow the last stage.
      activated_shortcut: convolutions of shortcuts take the activated input.
      gate: behind each block's last convolution (`gates.KINDS`).
      gate_widths: between the linear layers of each stage's gates; () without gates.
      gate_bias: whether these layers have one.
    """

    num_classes: int = 10
    stage_sizes: Sequence[int] = (2, 2, 2, 2)
    widths: Sequence[int] = (64, 128, 256, 512)
    strides: Sequence[int] = (1, 2, 2, 2)
    bottleneck: bool = False
    stem_norm: bool = False
    final_norm: bool = False
    activated_shortcut: bool = True
    gate: str = "none"
    gate_widths: tuple[int, ...] = ()
    gate_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = nn.Conv(self.widths[0], (3, 3), padding=1, use_bias=False, name="conv1")(x)
        if self.stem_norm:
            x = nn.relu(layers.batch_norm(train)(name="bn1")(x))
        for stage, (size, width, stride) in enumerate(zip(self.stage_sizes, self.widths, self.strides, strict=True)):
            for block in range(size):
                x = PreActBlock(
                    width,
                    stride=stride if block == 0 else 1,
                    bottleneck=self.bottleneck,
                    activated_shortcut=self.activated_shortcut,
                    gate=self.gate,
                    gate_width=self.gate_widths[stage] if self.gate_widths else 0,
                    gate_bias=self.gate_bias,
                    name=f"layer{stage + 1}.{block}",
                )(x, train)
        if self.final_norm:
            x = nn.relu(layers.batch_norm(train)(name="bn")(x))
        return nn.Dense(self.num_classes, name="linear")(jnp.mean(x, axis=(1, 2)))


_PRESETS = {
    "preactresnet18": partial(PreActResNet, stage_sizes=(2, 2, 2, 2)),
    "preactresnet34": partial(PreActResNet, stage_sizes=(3, 4, 6, 3)),
    "preactresnet50": partial(PreActResNet, stage_sizes=(3, 4, 6, 3), bottleneck=True),
    # Strides unlike the published ones: what two CPU cores can train by the dozen (the lab's and the demo's zoo).
    "preactresnet-small": partial(PreActResNet, stage_sizes=(1, 1, 1), widths=(16, 32, 64), strides=(2, 2, 1)),
    "preactresnet-small-deep": partial(PreActResNet, stage_sizes=(2, 2, 2), widths=(16, 32, 64), strides=(2, 2, 2)),
    "preactresnet-small-wide": partial(PreActResNet, stage_sizes=(1, 2, 1), widths=(24, 48, 96), strides=(2, 2, 1)),
}


def infer(shapes: Shapes) -> Inferred | None:
    """Reads depth, widths and class count from published names and shapes; None if it is another kind of network.

    A first stage that keeps the width and yet has a shortcut has stride 2. The other strides leave no trace in the
    weights: they are those of the preset that has these sizes, or else 2.
    """
    if "linear.weight" not in shapes or "layer1.0.bn1.weight" not in shapes:
        return None
    # Where a stage changes the width, the norm of a block before its convolution has as many channels as that takes.
    before, after = (dim(shapes, "layer2.0.conv1.weight", axis) for axis in (1, 0))
    if "bn1.weight" in shapes and (dim(shapes, "layer2.0.bn1.weight") != before or before == after):
        return None
    sizes: list[int] = []
    widths: list[int] = []
    while size := count_children(shapes, f"layer{len(sizes) + 1}"):
        widths.append(dim(shapes, f"layer{len(sizes) + 1}.0.conv1.weight"))
        sizes.append(size)
    kept = dim(shapes, "layer1.0.shortcut.0.weight") == dim(shapes, "layer1.0.shortcut.0.weight", 1) > 0
    strides = (2 if kept else 1, *[2] * (len(sizes) - 1))
    bottleneck = "layer1.0.conv3.weight" in shapes
    gate, gate_widths, gate_bias = gates.read(shapes, [f"layer{stage}.0" for stage in range(1, len(sizes) + 1)])
    module = PreActResNet(
        num_classes=dim(shapes, "linear.weight"),
        stage_sizes=tuple(sizes),
        widths=tuple(widths),
        strides=strides,
        bottleneck=bottleneck,
        stem_norm="bn1.weight" in shapes,
        final_norm="bn.weight" in shapes,
        gate=gate,
        gate_widths=gate_widths,
        gate_bias=gate_bias,
    )
    for preset in _PRESETS.values():
        known = preset(num_classes=module.num_classes)
        if known.strides[0] == strides[0] and known.clone(strides=strides) == module:
            module = known
    return Inferred(module, (32, 32, dim(shapes, "conv1.weight", 1)), (note(module),))


def note(module: nn.Module) -> str:
    """What is assumed of a `PreActResNet`, for rows."""
    assert isinstance(module, PreActResNet)
    shortcut = "" if module.activated_shortcut else ", shortcuts take the input before its activation"
    return f"assumed, weights do not show it: strides {module.strides}{shortcut}"


def variants(
    module: nn.Module, own: tuple[int, int, int], shown: tuple[int, int, int], usual: bool = False
) -> tuple[tuple[nn.Module, ...], ...]:
    """What the shortcuts take, in networks that are not BackdoorBench's own."""
    assert isinstance(module, PreActResNet)
    if not module.final_norm:
        return ()
    return (tuple(module.clone(activated_shortcut=activated) for activated in (True, False)),)


ARCHITECTURE = Architecture(
    name="preactresnet",
    presets=_PRESETS,
    infer=infer,
    input_shape=(32, 32, 3),
    head="linear",
    naming="BackdoorBench",
    namings=(Naming("with gates, or fc", (*gates.RENAMES, (r"^fc\.", "linear."))),),
    variants=variants,
    note=note,
)
