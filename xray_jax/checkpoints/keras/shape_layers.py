"""Keras's layers without weights: pooling, reshaping, resizing, merging. See `keras.layers`."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.keras.layer_config import Settings
from xray_jax.checkpoints.keras.layers import Config, Layer, Weights

MAX_POOLED = 1 << 30
"""Numbers per image that one pooling layer may look at, in all its windows: 3x3 over 224x224x64 are a 37th of it."""


def _spatial(config: Config, x: jax.Array) -> tuple[int, int]:
    if x.ndim != 4:
        raise CheckpointError(f"expected an image [B, H, W, C], got an input of shape {list(x.shape)}")
    return (2, 3) if config["data_format"] == "channels_first" else (1, 2)


def _on_image(config: Config, x: jax.Array, values: Sequence[Any], other: Any) -> list[Any]:
    """One entry a dimension: `values` for height and width, `other` for batch and channels."""
    axes = _spatial(config, x)
    return [values[axes.index(axis)] if axis in axes else other for axis in range(4)]


def _pool_settings(settings: Settings) -> dict[str, Any]:
    size = settings.pair("pool_size", 2)
    return {
        "size": size,
        "strides": settings.pair("strides", size),
        "padding": settings.choice("padding" if settings.raw("padding") else "border_mode", ("valid", "same"), "valid"),
        "data_format": settings.data_format(),
    }


def _window(config: Config, x: jax.Array, start: float, combine: Callable[..., jax.Array]) -> jax.Array:
    # With either padding a window of twice the image sees what a longer one would: all of it, or it does not fit.
    size = [min(n, 2 * whole) for n, whole in zip(_on_image(config, x, config["size"], 1), x.shape, strict=True)]
    strides = _on_image(config, x, config["strides"], 1)
    # A constant start, no traced one: only then does JAX know the reduction, and its derivative.
    y = lax.reduce_window(x, np.asarray(start, x.dtype), combine, size, strides, config["padding"].upper())
    if (work := y.size // max(y.shape[0], 1) * math.prod(size)) > MAX_POOLED:
        raise CheckpointError(f"pooling takes {work} steps an image, more than {MAX_POOLED}: refused")
    return y


def _max_pool(c: Config, w: Weights, inputs: Sequence[jax.Array]) -> jax.Array:
    return _window(c, inputs[0], -jnp.inf, lax.max)


def _average_pool(c: Config, w: Weights, inputs: Sequence[jax.Array]) -> jax.Array:
    # At the border the mean is over what lies inside the image, as TensorFlow has it.
    x = inputs[0]
    ones = jnp.ones(_on_image(c, x, [x.shape[axis] for axis in _spatial(c, x)], 1), x.dtype)
    return _window(c, x, 0.0, lax.add) / _window(c, ones, 0.0, lax.add)


def _global_settings(settings: Settings) -> dict[str, Any]:
    return {"data_format": settings.data_format(), "keepdims": settings.flag("keepdims", False)}


def _global(reduction: Callable[..., jax.Array]) -> Callable[[Config, Weights, Sequence[jax.Array]], jax.Array]:
    return lambda c, w, inputs: reduction(inputs[0], axis=_spatial(c, inputs[0]), keepdims=c["keepdims"])


def _mean_settings(settings: Settings) -> dict[str, Any]:
    return {"axes": settings.integers("axis"), "keepdims": settings.flag("keepdims", False)}


def _mean(c: Config, w: Weights, inputs: Sequence[jax.Array]) -> jax.Array:
    if {0, -inputs[0].ndim} & {*c["axes"]}:
        raise CheckpointError("a mean over the images of a batch is not supported")
    return jnp.mean(inputs[0], tuple(c["axes"]), keepdims=c["keepdims"])


def _flatten(c: Config, w: Weights, inputs: Sequence[jax.Array]) -> jax.Array:
    x = inputs[0]
    if c["data_format"] == "channels_first" and x.ndim > 2:
        x = jnp.moveaxis(x, 1, -1)
    return x.reshape(x.shape[0], -1)


def _flatten_settings(settings: Settings) -> dict[str, Any]:
    return {"data_format": settings.data_format()}


def _reshape(c: Config, w: Weights, inputs: Sequence[jax.Array]) -> jax.Array:
    return inputs[0].reshape(inputs[0].shape[0], *c["shape"])


def _reshape_settings(settings: Settings) -> dict[str, Any]:
    return {"shape": settings.integers("target_shape")}


def _permute(c: Config, w: Weights, inputs: Sequence[jax.Array]) -> jax.Array:
    return inputs[0].transpose(0, *c["dims"])


def _pad(c: Config, w: Weights, inputs: Sequence[jax.Array]) -> jax.Array:
    return jnp.pad(inputs[0], _on_image(c, inputs[0], c["padding"], [0, 0]))


def _crop(c: Config, w: Weights, inputs: Sequence[jax.Array]) -> jax.Array:
    x = inputs[0]
    cuts = _on_image(c, x, c["cropping"], [0, 0])
    if any(low + high >= n for (low, high), n in zip(cuts, x.shape, strict=True)):
        raise CheckpointError(f"cropping {c['cropping']} leaves nothing of an input of shape {list(x.shape)}")
    return x[tuple(slice(low, n - high) for (low, high), n in zip(cuts, x.shape, strict=True))]


_METHODS = {"nearest": "nearest", "bilinear": "linear", "bicubic": "cubic"}


def _upsample_settings(settings: Settings) -> dict[str, Any]:
    return {
        "size": settings.pair("size", 2),
        "data_format": settings.data_format(),
        "method": _METHODS[settings.choice("interpolation", tuple(_METHODS), "nearest")],
    }


def _upsample(c: Config, w: Weights, inputs: Sequence[jax.Array]) -> jax.Array:
    x = inputs[0]
    factors = _on_image(c, x, c["size"], 1)
    if c["method"] == "nearest":
        for axis, factor in enumerate(factors):
            x = jnp.repeat(x, factor, axis)
        return x
    return jax.image.resize(x, [n * f for n, f in zip(x.shape, factors, strict=True)], c["method"], antialias=False)


def _resizing_settings(settings: Settings) -> dict[str, Any]:
    settings.refuse("crop_to_aspect_ratio")
    settings.refuse("pad_to_aspect_ratio")
    return {
        "size": [settings.integer("height"), settings.integer("width")],
        "data_format": settings.data_format(),
        "method": _METHODS[settings.choice("interpolation", tuple(_METHODS), "bilinear")],
        "antialias": settings.flag("antialias", False),
    }


def _resizing(c: Config, w: Weights, inputs: Sequence[jax.Array]) -> jax.Array:
    x = inputs[0]
    shape = [new or old for new, old in zip(_on_image(c, x, c["size"], 0), x.shape, strict=True)]
    return jax.image.resize(x, shape, c["method"], antialias=c["antialias"])


def _merge(combine: Callable[[jax.Array, jax.Array], jax.Array]) -> Layer:
    def compute(c: Config, w: Weights, inputs: Sequence[jax.Array]) -> jax.Array:
        if len({getattr(x, "ndim", 0) for x in inputs} - {0}) > 1:
            raise CheckpointError(f"merging inputs of different ranks is not supported: {[x.shape for x in inputs]}")
        return reduce(combine, inputs)

    return Layer(lambda settings: {}, compute)


def _average_settings(settings: Settings) -> dict[str, Any]:
    # In a .h5 file the operation keras.ops.average looks like the layer, but for this.
    settings.refuse("axis")
    return {}


def _average(c: Config, w: Weights, inputs: Sequence[jax.Array]) -> jax.Array:
    return reduce(jnp.add, inputs) / len(inputs)


def _concatenate(c: Config, w: Weights, inputs: Sequence[jax.Array]) -> jax.Array:
    return jnp.concatenate(inputs, c["axis"])


def _concatenate_settings(settings: Settings) -> dict[str, Any]:
    (axis,) = settings.integers("axis", -1)[:1]
    return {"axis": axis}


IDENTITIES = frozenset(
    {
        "ActivityRegularization",
        "AlphaDropout",
        "Dropout",
        "GaussianDropout",
        "GaussianNoise",
        "Identity",
        "RandomBrightness",
        "RandomContrast",
        "RandomFlip",
        "RandomRotation",
        "RandomTranslation",
        "RandomZoom",
        "SpatialDropout2D",
    }
)
"""Layers that do nothing at inference, and leave no node in the graph."""

SHAPE_LAYERS: Mapping[str, Layer] = {
    "MaxPooling2D": Layer(_pool_settings, _max_pool),
    "AveragePooling2D": Layer(_pool_settings, _average_pool),
    "GlobalAveragePooling2D": Layer(_global_settings, _global(jnp.mean)),
    "GlobalMaxPooling2D": Layer(_global_settings, _global(jnp.max)),
    # No layer of Keras's, but keras.ops.mean.
    "Mean": Layer(_mean_settings, _mean),
    "Flatten": Layer(_flatten_settings, _flatten),
    "Reshape": Layer(_reshape_settings, _reshape),
    "Permute": Layer(lambda settings: {"dims": settings.integers("dims")}, _permute),
    "ZeroPadding2D": Layer(lambda s: {"padding": s.borders("padding"), "data_format": s.data_format()}, _pad),
    "Cropping2D": Layer(lambda s: {"cropping": s.borders("cropping"), "data_format": s.data_format()}, _crop),
    "UpSampling2D": Layer(_upsample_settings, _upsample),
    "Resizing": Layer(_resizing_settings, _resizing),
    "Add": _merge(jnp.add),
    "Subtract": _merge(jnp.subtract),
    "Multiply": _merge(jnp.multiply),
    "Divide": _merge(jnp.divide),
    "Maximum": _merge(jnp.maximum),
    "Minimum": _merge(jnp.minimum),
    "Average": Layer(_average_settings, _average),
    "Concatenate": Layer(_concatenate_settings, _concatenate),
}
