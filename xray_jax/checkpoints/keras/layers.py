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
        x = x + _along(weights["bias"].astype(x.dtype), x.ndim, [axis])
    return activate(config["activation"], x)


def _along(values: jax.Array, rank: int, axes: Sequence[int]) -> jax.Array:
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


# Normalisation.


def _axes(settings: Settings, default: int = -1) -> list[int]:
    return settings.integers("axis", default)


def _batch_norm_settings(settings: Settings) -> dict[str, Any]:
    settings.refuse("mode", 0)
    axes = _axes(settings)
    if len(axes) != 1:
        raise settings.error("axis", "one axis")
    return {
        "axes": axes,
        "epsilon": settings.number("epsilon", 1e-3),
        "scale": settings.flag("scale", True),
        "center": settings.flag("center", True),
    }


def _scale_and_center(c: Config, shape: Shape) -> dict[str, Shape]:
    sizes = tuple(shape[axis] for axis in sorted(a % len(shape) for a in c["axes"]))
    return ({"gamma": sizes} if c["scale"] else {}) | ({"beta": sizes} if c["center"] else {})


def _batch_norm_weights(c: Config, shape: Shape) -> dict[str, Shape]:
    sizes = (shape[c["axes"][0]],)
    return _scale_and_center(c, shape) | {"moving_mean": sizes, "moving_variance": sizes}


def _batch_norm(c: Config, w: Weights, inputs: Sequence[jax.Array]) -> jax.Array:
    x = inputs[0]
    multiplier = lax.rsqrt(w["moving_variance"] + c["epsilon"])
    if c["scale"]:
        multiplier = multiplier * w["gamma"]
    shift = -w["moving_mean"] * multiplier
    if c["center"]:
        shift = shift + w["beta"]
    return (x * _along(multiplier, x.ndim, c["axes"]) + _along(shift, x.ndim, c["axes"])).astype(x.dtype)


def _layer_norm_settings(settings: Settings) -> dict[str, Any]:
    settings.refuse("rms_scaling")
    return {
        "axes": _axes(settings),
        "epsilon": settings.number("epsilon", 1e-3),
        "scale": settings.flag("scale", True),
        "center": settings.flag("center", True),
    }


def _layer_norm(c: Config, w: Weights, inputs: Sequence[jax.Array]) -> jax.Array:
    x = inputs[0].astype(jnp.float32)
    axes = tuple(c["axes"])
    y = (x - x.mean(axes, keepdims=True)) * lax.rsqrt(x.var(axes, keepdims=True) + c["epsilon"])
    if c["scale"]:
        y = y * _along(w["gamma"], y.ndim, axes)
    if c["center"]:
        y = y + _along(w["beta"], y.ndim, axes)
    return y.astype(inputs[0].dtype)


def _normalization_settings(settings: Settings) -> dict[str, Any]:
    given = settings.raw("mean") is not None
    axes = _axes(settings) if settings.raw("axis", -1) not in (None, []) else []
    return {
        "axes": axes,
        "mean": settings.numbers("mean", 0.0) if given else None,
        "variance": settings.numbers("variance", 1.0) if given else None,
        "invert": settings.flag("invert", False),
    }


def _normalization_weights(c: Config, shape: Shape) -> dict[str, Shape]:
    if c["mean"] is not None:
        return {}
    sizes = tuple(shape[axis] for axis in sorted(a % len(shape) for a in c["axes"]))
    return {"mean": sizes, "variance": sizes, "_count": ()}


def _normalization(c: Config, w: Weights, inputs: Sequence[jax.Array]) -> jax.Array:
    x = inputs[0]
    sizes = tuple(x.shape[axis] for axis in sorted(a % x.ndim for a in c["axes"]))
    moments = []
    for name in ("mean", "variance"):
        values = w[name] if c["mean"] is None else jnp.asarray(c[name], jnp.float32)
        values = jnp.broadcast_to(values, sizes) if values.size == 1 else values.reshape(sizes)
        moments.append(_along(values, x.ndim, c["axes"]).astype(x.dtype))
    mean, deviation = moments[0], jnp.maximum(jnp.sqrt(moments[1]), 1e-7)
    return x * deviation + mean if c["invert"] else (x - mean) / deviation


def _rescaling(c: Config, w: Weights, inputs: Sequence[jax.Array]) -> jax.Array:
    x = inputs[0]
    scale, offset = (_last(c[name], x) for name in ("scale", "offset"))
    return x * scale + offset


def _last(values: float | Sequence[float], x: jax.Array) -> Any:
    return values if isinstance(values, float) else _along(jnp.asarray(values, x.dtype), x.ndim, [-1])


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
    "Softmax": Layer(lambda s: {"axes": _axes(s)}, _single(lambda x, c: jax.nn.softmax(x, tuple(c["axes"])))),
}

LAYERS: dict[str, Layer] = {
    **_ACTIVATION_LAYERS,
    "Activation": Layer(lambda s: {"activation": activation(s)}, _single(lambda x, c: activate(c["activation"], x))),
    "PReLU": Layer(_prelu_settings, lambda c, w, x: activations.prelu(x[0], w["alpha"]), _prelu_weights),
    "Conv2D": Layer(_conv2d_settings, _conv2d, _conv2d_weights),
    "DepthwiseConv2D": Layer(_depthwise_settings, _depthwise, _depthwise_weights),
    "SeparableConv2D": Layer(_separable_settings, _separable, _separable_weights),
    "Dense": Layer(_dense_settings, _dense, _dense_weights),
    "BatchNormalization": Layer(_batch_norm_settings, _batch_norm, _batch_norm_weights),
    "LayerNormalization": Layer(_layer_norm_settings, _layer_norm, _scale_and_center),
    "Normalization": Layer(_normalization_settings, _normalization, _normalization_weights),
    "Rescaling": Layer(lambda s: {"scale": s.numbers("scale", 1.0), "offset": s.numbers("offset", 0.0)}, _rescaling),
}
