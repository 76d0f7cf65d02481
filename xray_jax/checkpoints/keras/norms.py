"""Keras's norms at inference. See `keras.layers`."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.keras.layer_config import Settings
from xray_jax.checkpoints.keras.layers import Config, Layer, Shape, Weights, along, axes


def _one_axis(settings: Settings) -> list[int]:
    found = axes(settings)
    if len(found) != 1:
        raise settings.error("axis", "one axis")
    return found


def _batch_norm_settings(settings: Settings) -> dict[str, Any]:
    settings.refuse("mode", 0)
    return {
        "axes": _one_axis(settings),
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
    return (x * along(multiplier, x.ndim, c["axes"]) + along(shift, x.ndim, c["axes"])).astype(x.dtype)


def _layer_norm_settings(settings: Settings) -> dict[str, Any]:
    rms = settings.flag("rms_scaling", False)
    return {
        "axes": axes(settings),
        "epsilon": settings.number("epsilon", 1e-3),
        "scale": settings.flag("scale", True) or rms,
        "center": settings.flag("center", True) and not rms,
        "rms": rms,
    }


def _layer_norm(c: Config, w: Weights, inputs: Sequence[jax.Array]) -> jax.Array:
    x = inputs[0].astype(jnp.float32)
    over = tuple(c["axes"])
    # What Keras calls RMS scaling divides by the deviation, and leaves the mean in.
    shifted = x if c["rms"] else x - x.mean(over, keepdims=True)
    y = shifted * lax.rsqrt(x.var(over, keepdims=True) + c["epsilon"])
    return _scaled_and_centred(c, w, y).astype(inputs[0].dtype)


def _scaled_and_centred(c: Config, w: Weights, y: jax.Array) -> jax.Array:
    if c["scale"]:
        y = y * along(w["gamma"], y.ndim, c["axes"])
    if c["center"]:
        y = y + along(w["beta"], y.ndim, c["axes"])
    return y


def _group_norm_settings(settings: Settings) -> dict[str, Any]:
    return {
        "axes": _one_axis(settings),
        "groups": -1 if settings.raw("groups") == -1 else settings.integer("groups", 32),
        "epsilon": settings.number("epsilon", 1e-3),
        "scale": settings.flag("scale", True),
        "center": settings.flag("center", True),
    }


def _group_norm(c: Config, w: Weights, inputs: Sequence[jax.Array]) -> jax.Array:
    x = inputs[0].astype(jnp.float32)
    axis = c["axes"][0] % x.ndim
    channels = x.shape[axis]
    groups = channels if c["groups"] == -1 else c["groups"]
    if axis == 0 or channels % groups:
        raise CheckpointError(f"{channels} channels on axis {axis} do not make {groups} groups")
    grouped = x.reshape(*x.shape[:axis], groups, channels // groups, *x.shape[axis + 1 :])
    over = tuple(number for number in range(1, grouped.ndim) if number != axis)
    shifted = grouped - grouped.mean(over, keepdims=True)
    y = shifted * lax.rsqrt(grouped.var(over, keepdims=True) + c["epsilon"])
    return _scaled_and_centred(c, w, y.reshape(x.shape)).astype(inputs[0].dtype)


def _normalization_settings(settings: Settings) -> dict[str, Any]:
    given = settings.raw("mean") is not None
    return {
        "axes": axes(settings) if settings.raw("axis", -1) not in (None, []) else [],
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
        moments.append(along(values, x.ndim, c["axes"]).astype(x.dtype))
    mean, deviation = moments[0], jnp.maximum(jnp.sqrt(moments[1]), 1e-7)
    return x * deviation + mean if c["invert"] else (x - mean) / deviation


NORMS: Mapping[str, Layer] = {
    "BatchNormalization": Layer(_batch_norm_settings, _batch_norm, _batch_norm_weights),
    "LayerNormalization": Layer(_layer_norm_settings, _layer_norm, _scale_and_center),
    "GroupNormalization": Layer(_group_norm_settings, _group_norm, _scale_and_center),
    "Normalization": Layer(_normalization_settings, _normalization, _normalization_weights),
}
