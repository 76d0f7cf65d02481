"""Plain networks: convolutions, then fully connected layers, one after the other; most small nets that people publish.

BadNets' LeNet-like net, the MNIST net of tutorials, MNTD's shadow models (arXiv:1910.03137), LeNet-5, perceptrons,
and any other chain under any names. Names and shapes show the layers (`plain_layers`); what they do not show, padding,
strides, pooling and activation, is the first of the usual variants that explains the length of the flattened features
(`plain_variants`), said in a note. Others that fit are `variants`: clean images can tell them apart.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from xray_jax.models import layers, plain_layers, plain_variants
from xray_jax.models.architecture import Architecture, Inferred, Shapes
from xray_jax.models.plain_layers import Layer

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": nn.relu,
    "elu": nn.elu,
    "tanh": jnp.tanh,
    "leaky_relu": nn.leaky_relu,
    "sigmoid": nn.sigmoid,
    "gelu": layers.gelu,
    "silu": nn.silu,
    "identity": lambda x: x,
}
"""In the order in which they are tried on clean images; the first is assumed without any."""

_SPATIAL_VARIANTS = 6
"""Paddings, strides and poolings that are tried on clean images."""

_SHOWN = {"relu": "ReLU", "identity": "no activation (identity)"}

_POOLS = {"max": nn.max_pool, "avg": layers.average_pool}

_FLATTENS = {"channels_first": layers.flatten, "channels_last": layers.flatten_channels_last}
"""Torch's order and Flax's: which numbers of the first linear layer belong to which pixel."""


class PlainNet(nn.Module):
    """`apply(variables, images[B, H, W, C]) -> logits[B, num_classes]`.

    Attributes:
      num_classes: number of labels, the width of the last layer whatever `dense` says.
      convs: the convolutions.
      dense: the fully connected layers, the last one included; or, alone, a convolution that gives the classes at
        every pixel, whose average are the logits.
      padding: of each convolution, zeros on every side.
      stride: of each convolution.
      pool_after: numbers (from 1) of the convolutions that a pooling follows.
      pool: "max" or "avg".
      window: side of the pooling; its stride is 2.
      average: side to which the features are averaged before they are flattened; 0 flattens them as they are.
      activation: after every layer but the last; "identity" is none.
      norm: whether batch norms lie "before" or "after" the activation.
      flatten: the order of the features before the first linear layer, "channels_first" or "channels_last".
      same: whether a padding that keeps the side before strides is Flax's and TensorFlow's "SAME": an even side that is
        halved has its zeros at the end alone.
    """

    num_classes: int = 10
    convs: tuple[Layer, ...] = ()
    dense: tuple[Layer, ...] = ()
    padding: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    pool_after: tuple[int, ...] = ()
    pool: str = "max"
    window: int = 2
    average: int = 0
    activation: str = "relu"
    norm: str = "before"
    flatten: str = "channels_first"
    same: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        for number, layer in enumerate(self.convs, 1):
            sizes = (layer.kernel, layer.kernel), self.stride[number - 1]
            padding = "SAME" if number in _strided(self) and self.same else self.padding[number - 1]
            conv = nn.Conv(layer.width, *sizes, padding=padding, use_bias=layer.bias, name=layer.name)
            x = self._activate(conv(x), layer, train)
            if number in self.pool_after:
                x = _POOLS[self.pool](x, (self.window, self.window), (2, 2))
        if self.dense[-1].kernel:
            return self._head(x)
        if self.average and x.shape[1:3] != (self.average, self.average):
            x = layers.adaptive_average_pool(x, self.average)
        x = _FLATTENS[self.flatten](x)
        for layer in self.dense[:-1]:
            x = self._activate(nn.Dense(layer.width, use_bias=layer.bias, name=layer.name)(x), layer, train)
        last = self.dense[-1]
        return nn.Dense(self.num_classes, use_bias=last.bias, name=last.name)(x)

    def _head(self, x: jax.Array) -> jax.Array:
        last = self.dense[-1]
        sides = (last.kernel, last.kernel)
        x = nn.Conv(self.num_classes, sides, padding=0, use_bias=last.bias, name=last.name)(x)
        return layers.average(ACTIVATIONS[self.activation](x) if last.active else x)

    def flattened(self, side: int) -> int:
        """Length of the flattened features of an image of `side`; 0 where the last layer takes any."""
        if self.dense[-1].kernel:
            return 0
        shape = self.padding, self.stride, self.pool_after, self.window
        end = self.average or plain_variants.final_side(side, self.convs, *shape)
        return end * end * self.convs[-1].width

    def _activate(self, x: jax.Array, layer: Layer, train: bool) -> jax.Array:
        activation = ACTIVATIONS[self.activation]
        if not layer.norm:
            return activation(x)
        norm = layers.batch_norm(train)(name=layer.norm)
        return activation(norm(x)) if self.norm == "before" else norm(activation(x))


def infer(shapes: Shapes) -> Inferred | None:
    """Reads the chain of layers; padding, pooling and image size from the flattened length. None for other networks."""
    chain = plain_layers.read(shapes)
    if chain is None:
        return None
    channels, convs, dense, flat = chain
    slots = plain_layers.slots((*convs, *dense), len(convs))
    variant = plain_variants.best(channels, convs, flat, slots)
    module = PlainNet(dense[-1].width, convs, (*dense[:-1], dense[-1]._replace(width=0)))
    if variant is None:
        # Nothing explains the flattened length: the comparison says so, by shape.
        same = tuple(layer.kernel // 2 for layer in convs)
        return Inferred(module.clone(padding=same, stride=(1,) * len(convs)), (32, 32, channels))
    fields = {"activation": "identity" if slots.bare else module.activation, **variant.fields}
    module = module.clone(norm=slots.norm, pool=_usual_pool(convs, dense, variant.fields), **fields)
    return Inferred(module, (variant.side, variant.side, variant.channels), (note(module),))


def _usual_pool(convs: tuple[Layer, ...], dense: tuple[Layer, ...], fields: dict[str, Any]) -> str:
    # The only published average pooling among these nets is BadNets'.
    shapes = [(layer.width, layer.kernel) for layer in convs]
    badnets = shapes == [(16, 5), (32, 5)] and fields["padding"] == (0, 0) and dense[-1].name != "output"
    return "avg" if badnets and len(dense) == 2 else "max"


def note(module: nn.Module) -> str:
    """What is assumed of a `PlainNet`, for rows."""
    assert isinstance(module, PlainNet)
    parts = [_SHOWN.get(module.activation, module.activation)]
    if module.convs:
        where = " and ".join(module.convs[number - 1].name for number in module.pool_after) or "no layer"
        parts.append(f"{module.window}x{module.window} {module.pool} pooling after {where}")
        parts.append(f"padding {'+'.join(map(str, module.padding))}")
        if set(module.stride) != {1}:
            parts.append(f"strides {'+'.join(map(str, module.stride))}")
        if _strided(module):
            parts.append("their zeros at the end, as Flax has them" if module.same else "their zeros on every side")
        if module.average:
            parts.append(f"average over the image, to {module.average}x{module.average}")
    if module.dense[-1].active:
        parts.append("an activation behind the last layer")
    if module.convs and not module.dense[-1].kernel and module.average != 1:
        parts.append(f"features flattened {module.flatten.replace('_', ' ')}")
    if any(layer.norm for layer in (*module.convs, *module.dense)):
        parts.append(f"norms {module.norm} the activation")
    return f"assumed, weights do not show it: {', '.join(parts)}"


def _strided(module: PlainNet) -> list[int]:
    """Numbers of convolutions with a stride that lies behind a padding that keeps the side."""
    steps = zip(module.convs, module.padding, module.stride, strict=True)
    return [n for n, (conv, pad, step) in enumerate(steps, 1) if step > 1 and pad and conv.kernel == 2 * pad + 1]


def variants(
    module: nn.Module, own: tuple[int, int, int], shown: tuple[int, int, int], usual: bool = False
) -> tuple[tuple[nn.Module, ...], ...]:
    """Networks that the same weights fit, on images of shape `shown`: one tuple a question, the usual answers first.

    Args:
      module: a `PlainNet` that fits its weights on images of shape `own`.
      usual: only variants that are about as usual as those for `own`: images could be resized instead.
    """
    assert isinstance(module, PlainNet)
    axes: list[list[dict[str, Any]]] = []
    if module.convs:
        slots = plain_layers.slots((*module.convs, *module.dense), len(module.convs))
        flat = module.flattened(own[0])
        found = plain_variants.at(shown[0], shown[2], module.convs, flat, slots)
        if usual:
            best = plain_variants.at(own[0], own[2], module.convs, flat, slots)
            found = [variant for variant in found if best and variant.cost <= best[0].cost + 1]
        # Asked together: average pooling is nearer to a stride than to the maximum.
        pools = (module.pool, *(pool for pool in _POOLS if pool != module.pool))
        axes.append(
            [
                {**variant.fields, "pool": pool, "same": same}
                for variant in found[:_SPATIAL_VARIANTS]
                for pool in (pools if variant.fields["pool_after"] else pools[:1])
                for same in ((False, True) if _strided(module.clone(**variant.fields)) else (False,))
            ]
        )
    axes.append([{"activation": activation} for activation in ACTIVATIONS])
    if module.dense[-1].kernel:
        (head,) = module.dense
        axes.append([{"dense": (head._replace(active=active),)} for active in (False, True)])
    if any(layer.norm for layer in (*module.convs, *module.dense)):
        axes.append([{"norm": place} for place in ("before", "after")])
    if module.convs and module.flattened(own[0]) > module.convs[-1].width:
        axes.append([{"flatten": order} for order in _FLATTENS])
    return tuple(tuple(module.clone(**fields) for fields in axis) for axis in axes)


def small(
    features: tuple[int, ...] = (32, 64),
    kernel: int = 3,
    hidden: tuple[int, ...] = (128,),
    dense_names: tuple[str, ...] | None = None,
    padding: int = 1,
    **fields: Any,
) -> partial[PlainNet]:
    """A constructor of nets with layers `conv1`, `conv2`, ..., pooled after each, and `fc1`, `fc2`, ..."""
    names = dense_names or tuple(f"fc{number}" for number in range(1, len(hidden) + 2))
    fields.setdefault("pool_after", tuple(range(1, len(features) + 1)))
    return partial(
        PlainNet,
        convs=tuple(Layer(f"conv{number}", width, kernel) for number, width in enumerate(features, 1)),
        dense=tuple(Layer(name, width) for name, width in zip(names, (*hidden, 0), strict=True)),
        padding=(padding,) * len(features),
        stride=(1,) * len(features),
        **fields,
    )


ARCHITECTURE = Architecture(
    name="plain",
    presets={
        "smallcnn32-64": small(),
        "badnets-cnn": small((16, 32), 5, (512,), padding=0, pool="avg"),
        "pytorch-mnist-cnn": small(padding=0, pool_after=(2,)),
        "lenet5": small((6, 16), 5, (120, 84), padding=0),
        "mntd-mnist": small((16, 32), 5, (512,), ("fc", "output"), padding=0),
        "mntd-cifar10": small((32, 32, 64, 64), 3, (256, 256), ("linear", "fc", "output"), pool_after=(2, 4)),
    },
    infer=infer,
    input_shape=(28, 28, 1),
    naming="any names, in the order of the layers",
    variants=variants,
    note=note,
)
