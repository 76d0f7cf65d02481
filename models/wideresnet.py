"""Wide residual networks for small images (Zagoruyko & Komodakis 2016, arXiv:1605.07146), in the naming of NAD.

Depth 6 n + 4: a 3x3 stem of 16 channels, three groups of n pre-activation blocks with 16 k, 32 k and 64 k channels, a
last norm and ReLU, the global average, `fc`. A block that changes width activates its input for both branches. TRADES'
networks are the same and carry a group that is never called; DeepMind's (RobustBench's `DMWideResNet`) have SiLU and
pad strided convolutions on one side. Those of semi-supervised learning have the same names and a leaky ReLU; in those
of MixMatch-pytorch, FixMatch-pytorch and TorchSSL the blocks of later groups that change width take their input as it
is. TorchSSL's and USB's have biases, too.
"""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax

from xray_jax.models import layers
from xray_jax.models.architecture import Architecture, Inferred, Naming, Shapes, count_children, dim

_ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": nn.relu,
    "leaky_relu": partial(nn.leaky_relu, negative_slope=0.1),
    "silu": nn.silu,
}
_SHOWN = {"relu": "ReLU", "leaky_relu": "leaky ReLU of slope 0.1", "silu": "SiLU"}


class WideBlock(nn.Module):
    """BN-ReLU-conv twice, plus the shortcut: a 1x1 convolution of the activated input where the width changes.

    Attributes:
      width: channels out.
      stride: of the first convolution and of the shortcut.
      activation: "relu", "leaky_relu" of slope 0.1, or "silu".
      same_padding: a strided convolution is padded below and to the right only, as TensorFlow's SAME does.
      raw: where the width changes, both branches take the input as it is; the first norm is there and does nothing.
      bias: convolutions have one.
      epsilon: of the norms.
    """

    width: int
    stride: int = 1
    activation: str = "relu"
    same_padding: bool = False
    raw: bool = False
    bias: bool = False
    epsilon: float = layers.BATCH_NORM_EPSILON

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        norm = layers.batch_norm(train, self.epsilon)
        conv = partial(nn.Conv, self.width, use_bias=self.bias)
        activation = _ACTIVATIONS[self.activation]
        out = activation(norm(name="bn1")(x))
        if x.shape[-1] != self.width:
            out = x if self.raw else out
            x = conv(kernel_size=(1, 1), strides=self.stride, padding=0, name="convShortcut")(out)
        padding = ((0, 1), (0, 1)) if self.same_padding and self.stride == 2 else 1
        out = conv(kernel_size=(3, 3), strides=self.stride, padding=padding, name="conv1")(out)
        return x + conv(kernel_size=(3, 3), padding=1, name="conv2")(activation(norm(name="bn2")(out)))


class WideResNet(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      group_sizes: blocks in each group; (2, 2, 2) is depth 16.
      widths: channels of the stem and of each group.
      activation: "relu", "leaky_relu" of slope 0.1, or "silu".
      same_padding: strided convolutions are padded as TensorFlow's SAME.
      raw: blocks of later groups than the first that change width take their input as it is.
      bias: convolutions have one.
      epsilon: of the norms.
    """

    num_classes: int = 10
    group_sizes: tuple[int, ...] = (2, 2, 2)
    widths: tuple[int, ...] = (16, 16, 32, 64)
    activation: str = "relu"
    same_padding: bool = False
    raw: bool = False
    bias: bool = False
    epsilon: float = layers.BATCH_NORM_EPSILON

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = nn.Conv(self.widths[0], (3, 3), padding=1, use_bias=self.bias, name="conv1")(x)
        for group, (size, width) in enumerate(zip(self.group_sizes, self.widths[1:], strict=True), 1):
            for block in range(size):
                stride = 2 if group > 1 and block == 0 else 1
                x = WideBlock(
                    width,
                    stride,
                    self.activation,
                    self.same_padding,
                    raw=self.raw and group > 1,
                    bias=self.bias,
                    epsilon=self.epsilon,
                    name=f"block{group}.layer.{block}",
                )(x, train)
        x = _ACTIVATIONS[self.activation](layers.batch_norm(train, self.epsilon)(name="bn1")(x))
        return nn.Dense(self.num_classes, name="fc")(layers.average(x))


def infer(shapes: Shapes) -> Inferred | None:
    """Reads depth, widths and class count; None when the keys are of another kind of network."""
    if "block1.layer.0.conv1.weight" not in shapes or "fc.weight" not in shapes:
        return None
    sizes: list[int] = []
    widths = [dim(shapes, "conv1.weight")]
    while size := count_children(shapes, f"block{len(sizes) + 1}.layer"):
        sizes.append(size)
        widths.append(dim(shapes, f"block{len(sizes)}.layer.0.conv1.weight"))
    module = WideResNet(dim(shapes, "fc.weight"), tuple(sizes), tuple(widths))
    if "conv1.bias" in shapes:
        # TorchSSL's and USB's.
        module = module.clone(activation="leaky_relu", bias=True, epsilon=1e-3)
    return Inferred(module, (32, 32, dim(shapes, "conv1.weight", 1)), (note(module),))


def note(module: nn.Module) -> str:
    """What is assumed of a `WideResNet`, for rows."""
    assert isinstance(module, WideResNet)
    raw = "; those of later groups than the first take it as it is" if module.raw else ""
    return (
        f"assumed, weights do not show it: {_SHOWN[module.activation]}, blocks that change width activate their input "
        f"for both branches{raw}"
    )


def unusual(module: nn.Module) -> tuple[tuple[nn.Module, ...], ...]:
    """The networks of semi-supervised learning, which have the usual one's names."""
    assert isinstance(module, WideResNet)
    if module.same_padding or module.activation == "silu":
        return ()
    forms = (("relu", False), ("leaky_relu", False), ("leaky_relu", True))
    others = (module.clone(activation=activation, raw=raw) for activation, raw in forms)
    return ((module, *(other for other in others if other != module)),)


def _preset(depth: int, factor: int) -> partial[WideResNet]:
    blocks = (depth - 4) // 6
    return partial(WideResNet, group_sizes=(blocks,) * 3, widths=(16, 16 * factor, 32 * factor, 64 * factor))


_PUBLISHED = (
    (16, 1),
    (16, 2),
    (16, 4),
    (16, 10),
    (22, 8),
    (28, 1),
    (28, 2),
    (28, 4),
    (28, 10),
    (34, 10),
    (40, 1),
    (40, 2),
)

_DEEPMIND = (
    (r"^init_conv\.", "conv1."),
    (r"^batchnorm\.", "bn1."),
    (r"^logits\.", "fc."),
    *((rf"^layer\.{n}\.block\.", f"block{n + 1}.layer.") for n in range(3)),
    *((rf"\.batchnorm_{n}\.", f".bn{n + 1}.") for n in range(2)),
    *((rf"\.conv_{n}\.", f".conv{n + 1}.") for n in range(2)),
    (r"\.shortcut\.", ".convShortcut."),
)

ARCHITECTURE = Architecture(
    name="wideresnet",
    presets={f"wrn-{depth}-{factor}": _preset(depth, factor) for depth, factor in _PUBLISHED},
    infer=infer,
    input_shape=(32, 32, 3),
    head="fc",
    unusual=unusual,
    note=note,
    naming="WideResNet-pytorch, NAD",
    namings=(
        Naming("TRADES", unused=r"^sub_block\d+\."),
        Naming("DeepMind, RobustBench", _DEEPMIND, fields=(("activation", "silu"), ("same_padding", True))),
    ),
)
