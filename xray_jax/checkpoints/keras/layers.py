"""The standard Keras layers at inference, each as: what its config decides, the weights it owns, what it computes.

`LAYERS` is the whole list of what a Keras file may ask for. A layer that is not in it is refused by name. Settings
keep only what changes the computation, so that two files of one architecture give the same graph.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.keras import activations
from xray_jax.checkpoints.keras.config import class_of
from xray_jax.checkpoints.keras.layer_config import Settings
from xray_jax.models.convolution import Window, convolve

Config = Mapping[str, Any]
Weights = Mapping[str, jax.Array]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """One kind of layer.

    Attributes:
      settings: raw config -> what decides the computation, JSON types only.
      compute: (settings, weights, inputs) -> output, pure.
      weights: (settings, shape of the first input) -> name -> shape, in the order in which Keras stores them. A name
        that starts with "_" is stored but not used.
    """

    settings: Callable[[Settings], dict[str, Any]]
    compute: Callable[[Config, Weights, Sequence[jax.Array]], jax.Array]
    weights: Callable[[Config, Shape], dict[str, Shape]] = lambda config, shape: {}


def activation(settings: Settings) -> list[Any]:
    """The `activation` entry as [function or layer, its settings].

    Raises:
      CheckpointError: for any other function or layer, naming it.
    """
    value = settings.raw("activation", "linear")
    if isinstance(value, Mapping) and value.get("class_name") in _ACTIVATION_LAYERS:
        name, _ = class_of(value)
        inner = Settings(value.get("config", {}), f"{settings.where}, activation {name}", settings.keras)
        return [name, LAYERS[name].settings(inner)]
    return [activations.function_name(value, settings), {}]


def activate(entry: Sequence[Any], x: jax.Array) -> jax.Array:
    """What an entry of `activation` computes."""
    name, config = entry
    return LAYERS[name].compute(config, {}, [x]) if name in _ACTIVATION_LAYERS else activations.FUNCTIONS[name](x)


# Convolutions and dense layers.


def _conv_settings(settings: Settings) -> dict[str, Any]:
    settings.refuse("lora_rank")
    settings.refuse("quantization_config")
    return {
        "kernel": settings.kernel_size(),
        "strides": settings.pair("strides", 1),
        "dilation": settings.pair("dilation_rate", 1),
        "padding": settings.choice("padding", ("valid", "same"), "valid"),
        "data_format": settings.data_format(),
        "bias": settings.flag("use_bias", True),
        "activation": activation(settings),
    }


def _channels(config: Config, shape: Shape) -> int:
    if len(shape) != 4:
        raise CheckpointError(f"expected an image [B, H, W, C], got an input of shape {list(shape)}")
    return shape[1 if config["data_format"] == "channels_first" else 3]


def _convolve(config: Config, x: jax.Array, kernel: jax.Array, groups: int, pointwise: bool = False) -> jax.Array:
    layout = "NCHW" if config["data_format"] == "channels_first" else "NHWC"
    strides = (1, 1) if pointwise else tuple(config["strides"])
    padding = "VALID" if pointwise else config["padding"].upper()
    if layout == "NHWC" and not pointwise and set(config["dilation"]) == {1}:
        pads = lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding)
        (top, bottom), (left, right) = pads
        return convolve(x, kernel.astype(x.dtype), Window(strides, ((top, bottom), (left, right)), groups))
    return lax.conv_general_dilated(
        x,
        kernel.astype(x.dtype),
        strides,
        padding,
        rhs_dilation=(1, 1) if pointwise else tuple(config["dilation"]),
        dimension_numbers=(layout, "HWIO", layout),
        feature_group_count=groups,
    )


def _finish(config: Config, weights: Weights, x: jax.Array) -> jax.Array:
    """Bias over the channels, then the activation."""
    if config["bias"]:
        axis = 1 if config.get("data_format") == "channels_first" else -1
        x = x + along(weights["bias"].astype(x.dtype), x.ndim, [axis])
    return activate(config["activation"], x)


def along(values: jax.Array, rank: int, axes: Sequence[int]) -> jax.Array:
    """`values` with length-1 dimensions, so that its own lie on `axes` of a tensor of `rank`."""
    shape = [1] * rank
    for axis, size in zip(sorted(a % rank for a in axes), values.shape, strict=True):
        shape[axis] = size
    return values.reshape(shape)


def _conv2d_settings(settings: Settings) -> dict[str, Any]:
    return {**_conv_settings(settings), "filters": settings.integer("filters"), "groups": settings.integer("groups", 1)}


def _conv2d_weights(c: Config, shape: Shape) -> dict[str, Shape]:
    kernel = (*c["kernel"], _channels(c, shape) // c["groups"], c["filters"])
    return {"kernel": kernel} | ({"bias": (c["filters"],)} if c["bias"] else {})


def _conv2d(c: Config, w: Weights, inputs: Sequence[jax.Array]) -> jax.Array:
    return _finish(c, w, _convolve(c, inputs[0], w["kernel"], c["groups"]))


def _depthwise_settings(settings: Settings) -> dict[str, Any]:
    return {**_conv_settings(settings), "multiplier": settings.integer("depth_multiplier", 1)}


def _depthwise_weights(c: Config, shape: Shape) -> dict[str, Shape]:
    channels = _channels(c, shape)
    bias = {"bias": (channels * c["multiplier"],)} if c["bias"] else {}
    return {"depthwise_kernel": (*c["kernel"], channels, c["multiplier"])} | bias


def _depthwise_part(c: Config, w: Weights, x: jax.Array) -> jax.Array:
    kernel = w["depthwise_kernel"]
    height, width, channels, multiplier = kernel.shape
    return _convolve(c, x, kernel.reshape(height, width, 1, channels * multiplier), channels)


def _depthwise(c: Config, w: Weights, inputs: Sequence[jax.Array]) -> jax.Array:
    return _finish(c, w, _depthwise_part(c, w, inputs[0]))


def _separable_settings(settings: Settings) -> dict[str, Any]:
    return {**_depthwise_settings(settings), "filters": settings.integer("filters")}


def _separable_weights(c: Config, shape: Shape) -> dict[str, Shape]:
    channels = _channels(c, shape)
    kernels: dict[str, Shape] = {
        "depthwise_kernel": (*c["kernel"], channels, c["multiplier"]),
        "pointwise_kernel": (1, 1, channels * c["multiplier"], c["filters"]),
    }
    return kernels | ({"bias": (c["filters"],)} if c["bias"] else {})


def _separable(c: Config, w: Weights, inputs: Sequence[jax.Array]) -> jax.Array:
    x = _depthwise_part(c, w, inputs[0])
    return _finish(c, w, _convolve(c, x, w["pointwise_kernel"], 1, pointwise=True))


def _dense_settings(settings: Settings) -> dict[str, Any]:
    settings.refuse("lora_rank")
    settings.refuse("quantization_config")
    return {
        "units": settings.integer("units"),
        "bias": settings.flag("use_bias", True),
        "activation": activation(settings),
    }


def _dense_weights(c: Config, shape: Shape) -> dict[str, Shape]:
    return {"kernel": (shape[-1], c["units"])} | ({"bias": (c["units"],)} if c["bias"] else {})


def _dense(c: Config, w: Weights, inputs: Sequence[jax.Array]) -> jax.Array:
    x = inputs[0]
    return _finish(c, w, jnp.tensordot(x, w["kernel"].astype(x.dtype), 1))


def axes(settings: Settings, default: int = -1) -> list[int]:
    """The `axis` entry of a norm or softmax as a list."""
    return settings.integers("axis", default)


def _rescaling_settings(settings: Settings) -> dict[str, Any]:
    # No data format of its own: Keras follows its global setting, which only other layers keep.
    return {"scale": settings.array("scale", 1.0), "offset": settings.array("offset", 0.0), "data_format": None}


def _rescaling(c: Config, w: Weights, inputs: Sequence[jax.Array]) -> jax.Array:
    x = inputs[0]
    scale, offset = jnp.asarray(c["scale"], x.dtype), jnp.asarray(c["offset"], x.dtype)
    if c["data_format"] == "channels_first" and scale.ndim:
        scale = scale.reshape(*scale.shape, *[1] * (3 - scale.ndim))
    if max(scale.ndim, offset.ndim) >= x.ndim:
        raise CheckpointError(f"its scale {scale.shape} and offset {offset.shape} are not those of one image")
    return x * _of_rank(scale, x.ndim) + _of_rank(offset, x.ndim)


def _of_rank(values: jax.Array, rank: int) -> jax.Array:
    return jnp.expand_dims(values, tuple(range(rank - values.ndim)))


def _prelu_settings(settings: Settings) -> dict[str, Any]:
    shared = settings.raw("shared_axes")
    return {"shared_axes": [] if not shared else settings.integers("shared_axes")}


def _prelu_weights(c: Config, shape: Shape) -> dict[str, Shape]:
    return {"alpha": tuple(1 if axis in c["shared_axes"] else n for axis, n in enumerate(shape) if axis)}


def _single(function: Callable[[jax.Array, Config], jax.Array]) -> Callable[..., jax.Array]:
    """A layer's computation from a function of its one input."""
    return lambda config, weights, inputs: function(inputs[0], config)


_RELU = Layer(activations.relu_settings, _single(activations.relu))
_ACTIVATION_LAYERS: Mapping[str, Layer] = {
    "ReLU": _RELU,
    "LeakyReLU": Layer(activations.leaky_settings, _RELU.compute),
    "ThresholdedReLU": Layer(
        lambda s: {"theta": s.number("theta", 1.0)}, _single(lambda x, c: jnp.where(x > c["theta"], x, x * 0))
    ),
    "ELU": Layer(lambda s: {"alpha": s.number("alpha", 1.0)}, _single(lambda x, c: jax.nn.elu(x, c["alpha"]))),
    "Softmax": Layer(lambda s: {"axes": axes(s)}, _single(lambda x, c: jax.nn.softmax(x, tuple(c["axes"])))),
}

LAYERS: dict[str, Layer] = {
    **_ACTIVATION_LAYERS,
    "Activation": Layer(lambda s: {"activation": activation(s)}, _single(lambda x, c: activate(c["activation"], x))),
    "PReLU": Layer(_prelu_settings, lambda c, w, x: activations.prelu(x[0], w["alpha"]), _prelu_weights),
    "Conv2D": Layer(_conv2d_settings, _conv2d, _conv2d_weights),
    "DepthwiseConv2D": Layer(_depthwise_settings, _depthwise, _depthwise_weights),
    "SeparableConv2D": Layer(_separable_settings, _separable, _separable_weights),
    "Dense": Layer(_dense_settings, _dense, _dense_weights),
    "Rescaling": Layer(_rescaling_settings, _rescaling),
}
