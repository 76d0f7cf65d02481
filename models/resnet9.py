"""ResNet-9: the short residual network of fast CIFAR training, in the naming of PyTorch's tutorials.

Four convolutions, each with a norm and an activation, and two pairs of such layers that are added to what they are
given. The *pooled* form (David Page's DAWNBench entry of 2018, and the tutorials after it) halves the image behind the
last three convolutions; the *strided* one (FFCV, TRAK) has a 5x5 convolution of stride 2, one pool, and a last
convolution without padding. The head reads the maximum of each channel.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models import layers
from xray_jax.models.architecture import Architecture, Inferred, Naming, Renames, Shapes, dim

_ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": nn.relu,
    "gelu": layers.gelu,
    "silu": nn.silu,
    "leaky_relu": nn.leaky_relu,
    "celu": lambda x: nn.celu(x, 0.3),
}
_POOLS = {"max": nn.max_pool, "avg": layers.average_pool}
_HEADS = {"max": lambda x: jnp.max(x, axis=(1, 2)), "avg": layers.average}


class ConvLayer(nn.Module):
    """Convolution `0`, batch norm `1`, activation.

    Attributes:
      width: channels out.
      kernel: side of the kernel.
      stride: of the convolution.
      padding: zeros on every side.
      bias: of the convolution.
      activation: one of "relu", "gelu", "silu", "leaky_relu", and "celu" (alpha 0.3).
    """

    width: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    bias: bool = True
    activation: str = "relu"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        sides = (self.kernel, self.kernel)
        x = nn.Conv(self.width, sides, self.stride, self.padding, use_bias=self.bias, name="0")(x)
        return _ACTIVATIONS[self.activation](layers.batch_norm(train)(name="1")(x))


class ResNet9(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels.
      widths: channels of the four convolutions.
      strided: the second convolution is 5x5 with stride 2, the last one has no padding, and the second pair follows the
        third.
      bias: of the convolutions.
      head_bias: of the last layer.
      scale: what the logits are multiplied by.
      pool_after: numbers (from 1) of the convolutions that a pooling of 2x2 follows.
      pool: of these, "max" or "avg".
      head: what the last layer reads of each channel, "max" or "avg".
      activation: of `ConvLayer`.
    """

    num_classes: int = 10
    widths: tuple[int, ...] = (64, 128, 256, 512)
    strided: bool = False
    bias: bool = True
    head_bias: bool = True
    scale: float = 1.0
    pool_after: tuple[int, ...] = (2, 3, 4)
    pool: str = "max"
    head: str = "max"
    activation: str = "relu"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        sizes = {2: (5, 2, 2), 4: (3, 1, 0)} if self.strided else {}
        pairs = {2: "res1", 3 if self.strided else 4: "res2"}
        for number, width in enumerate(self.widths, 1):
            x = self._conv(width, f"conv{number}", *sizes.get(number, (3, 1, 1)))(x, train)
            if number in self.pool_after:
                x = _POOLS[self.pool](x, (2, 2), (2, 2))
            if number in pairs:
                inner = self._conv(width, f"{pairs[number]}.0")(x, train)
                x = x + self._conv(width, f"{pairs[number]}.1")(inner, train)
        x = nn.Dense(self.num_classes, use_bias=self.head_bias, name="classifier")(_HEADS[self.head](x))
        return x * self.scale

    def _conv(self, width: int, name: str, kernel: int = 3, stride: int = 1, padding: int = 1) -> ConvLayer:
        return ConvLayer(width, kernel, stride, padding, self.bias, self.activation, name=name)


def infer(shapes: Shapes) -> Inferred | None:
    """Reads widths, form, biases and class count; None when the keys are of another kind of network."""
    first = "conv1.0.weight"
    if any(key not in shapes for key in (first, "conv4.1.weight", "res1.1.0.weight", "res2.1.0.weight")):
        return None
    strided = dim(shapes, "conv2.0.weight", 2) == 5
    module = ResNet9(
        num_classes=dim(shapes, "classifier.weight"),
        widths=tuple(dim(shapes, f"conv{number}.0.weight") for number in range(1, 5)),
        strided=strided,
        bias="conv1.0.bias" in shapes,
        head_bias="classifier.bias" in shapes,
        pool_after=(3,) if strided else (2, 3, 4),
    )
    return Inferred(module, (32, 32, dim(shapes, first, 1)), (note(module),))


def note(module: nn.Module) -> str:
    """What is assumed of a `ResNet9`, for rows."""
    assert isinstance(module, ResNet9)
    where = " and ".join(f"conv{number}" for number in module.pool_after)
    activation = {"relu": "ReLU", "celu": "CELU of 0.3"}.get(module.activation, module.activation)
    read = "maximum" if module.head == "max" else "mean"
    return (
        f"assumed, weights do not show it: {activation}, 2x2 {module.pool} pooling after {where}, the head reads the "
        f"{read} of each channel and multiplies by {module.scale:g}"
    )


def unusual(module: nn.Module) -> tuple[tuple[nn.Module, ...], ...]:
    """Other pools, one more for larger images, and other activations."""
    assert isinstance(module, ResNet9)
    spatial: list[dict[str, Any]] = [
        {"pool_after": where, "pool": pool, "head": head}
        for where in dict.fromkeys((module.pool_after, (3,) if module.strided else (2, 3, 4), (1, 2, 3, 4)))
        for pool, head in (("max", "max"), ("avg", "avg"), ("max", "avg"))
        if not (module.strided and len(where) > 1)
    ]
    others = tuple(module.clone(**fields) for fields in spatial)
    return (
        (module, *(other for other in others if other != module)),
        (module, *(module.clone(activation=name) for name in _ACTIVATIONS if name != module.activation)),
    )


def _pair(match: re.Match[str]) -> str:
    return f"res{1 if match[1] == '1' else 2}.{int(match[2]) - 1}.{0 if match[3] == 'conv' else 1}."


_HEAD = (r"^(?:classifier|linear|fc)\.(?:\d+\.)?(weight|bias)$", r"classifier.\1")
_DAWNBENCH: Renames = (
    (r"^layer([13])[._]residual[._]res([12])[._](conv|bn|norm)\.", _pair),
    (r"^prep[._]conv\.", "conv1.0."),
    (r"^prep[._](?:bn|norm)\.", "conv1.1."),
    *((rf"^layer{n}[._]conv\.", f"conv{n + 1}.0.") for n in range(1, 4)),
    *((rf"^layer{n}[._](?:bn|norm)\.", f"conv{n + 1}.1.") for n in range(1, 4)),
    _HEAD,
)
_LAYERS: Renames = ((r"^prep\.", "conv1."), *((rf"^layer{n}\.", f"conv{n + 1}.") for n in range(1, 4)), _HEAD)
_FFCV: Renames = (
    (r"^2\.module\.", "res1."),
    (r"^5\.module\.", "res2."),
    *((rf"^{at}\.(\d)\.", rf"conv{number}.\1.") for number, at in enumerate((0, 1, 3, 6), 1)),
    (r"^9\.weight$", "classifier.weight"),
)

_UNBIASED = partial(ResNet9, bias=False, head_bias=False)

ARCHITECTURE = Architecture(
    name="resnet9",
    presets={
        "resnet9-tutorial": ResNet9,
        "resnet9-dawnbench": partial(_UNBIASED, scale=0.125),
        "resnet9-ffcv": partial(_UNBIASED, widths=(64, 128, 256, 128), strided=True, pool_after=(3,), scale=0.2),
    },
    infer=infer,
    input_shape=(32, 32, 3),
    head="classifier",
    naming="tutorials' conv1 to conv4, res1 and res2",
    namings=(
        Naming("tutorials: conv1 to conv4, res1 and res2, head in a Sequential", (_HEAD,)),
        Naming("tutorials: prep, layer1 to layer3, res1 and res2", _LAYERS),
        Naming("David Page's", _DAWNBENCH, fields=(("scale", 0.125),)),
        Naming("FFCV", _FFCV, fields=(("scale", 0.2),)),
    ),
    unusual=unusual,
    note=note,
)
