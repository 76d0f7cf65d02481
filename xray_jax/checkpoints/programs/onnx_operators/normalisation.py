"""Norms: of a batch (with fixed statistics), a layer, an instance, groups of channels, neighbouring channels."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from xray_jax.checkpoints.programs.onnx_operators.node import (
    Node,
    Table,
    UnsupportedError,
    Value,
    aligned,
    axis_of,
    operator,
    optional,
    per_channel,
    root,
    traced,
)


def _batch_normalization(node: Node, inputs: Sequence[Value]) -> Value:
    images = traced(inputs[0])
    if node.get("training_mode", 0) or not node.get("spatial", 1) or len(node.outputs) > 1:
        raise UnsupportedError("it computes statistics of the batch, or one for each pixel")
    scale, bias, mean, variance = (per_channel(value, images.ndim, images) for value in inputs[1:5])
    return (images - mean) * (scale * jax.lax.rsqrt(variance + node.get("epsilon", 1e-5))) + bias


def _standardised(x: jax.Array, axes: Sequence[int], epsilon: float) -> jax.Array:
    centred = x - jnp.mean(x, axis=tuple(axes), keepdims=True)
    return centred * jax.lax.rsqrt(jnp.mean(centred * centred, axis=tuple(axes), keepdims=True) + epsilon)


def _instance_normalization(node: Node, inputs: Sequence[Value]) -> Value:
    x = traced(inputs[0])
    scale, bias = (per_channel(value, x.ndim, x) for value in inputs[1:3])
    return _standardised(x, range(2, x.ndim), node.get("epsilon", 1e-5)) * scale + bias


def _layer_normalization(node: Node, inputs: Sequence[Value]) -> Value:
    if len(node.outputs) > 1:
        raise UnsupportedError("it puts out mean and deviation")
    x = traced(inputs[0])
    axes = range(axis_of(node.get("axis", -1), x.ndim), x.ndim)
    return _scaled(_standardised(x, axes, node.get("epsilon", 1e-5)), inputs)


def _rms_normalization(node: Node, inputs: Sequence[Value]) -> Value:
    x = traced(inputs[0])
    axes = tuple(range(axis_of(node.get("axis", -1), x.ndim), x.ndim))
    return _scaled(x * jax.lax.rsqrt(jnp.mean(x * x, axis=axes, keepdims=True) + node.get("epsilon", 1e-5)), inputs)


def _scaled(x: jax.Array, inputs: Sequence[Value]) -> jax.Array:
    x, scale = aligned(x, inputs[1])
    bias = optional(inputs, 2)
    x, bias = (x * scale, None) if bias is None else aligned(x * scale, bias)
    return x if bias is None else x + bias


def _group_normalization(node: Node, inputs: Sequence[Value]) -> Value:
    x, groups = traced(inputs[0]), node.get("num_groups")
    grouped = x.reshape(x.shape[0], groups, -1)
    found = _standardised(grouped, (2,), node.get("epsilon", 1e-5))
    scale, bias = (traced(value, x.dtype).astype(x.dtype) for value in inputs[1:3])
    if node.opset < 21:
        # One number a group, before one a channel.
        return (found * scale.reshape(1, -1, 1) + bias.reshape(1, -1, 1)).reshape(x.shape)
    return found.reshape(x.shape) * per_channel(scale, x.ndim, x) + per_channel(bias, x.ndim, x)


def _local_response(node: Node, inputs: Sequence[Value]) -> Value:
    x, size = traced(inputs[0]), node.get("size")
    if size < 1:
        raise UnsupportedError("a window of no channels")
    # Of a window that is larger than the image, what lies outside is nothing.
    less, more = (min(part, x.shape[1]) for part in ((size - 1) // 2, size - 1 - (size - 1) // 2))
    pads = ((0, 0), (less, more), *((0, 0),) * (x.ndim - 2))
    ones = (1,) * x.ndim
    window = (1, less + 1 + more, *ones[2:])
    sums = jax.lax.reduce_window(x * x, jnp.zeros((), x.dtype), jax.lax.add, window, ones, pads)
    alpha, beta, bias = node.get("alpha", 1e-4), node.get("beta", 0.75), node.get("bias", 1.0)
    return x / (bias + alpha / size * sums) ** beta


def _lp_normalization(node: Node, inputs: Sequence[Value]) -> Value:
    x, order = traced(inputs[0]), node.get("p", 2)
    axis = axis_of(node.get("axis", -1), x.ndim)
    total = jnp.abs(x) if order == 1 else x * x
    norm = jnp.sum(total, axis=axis, keepdims=True)
    norm = norm if order == 1 else root(jnp, norm)
    return jnp.where(norm == 0, jnp.zeros_like(x), x / jnp.where(norm == 0, jnp.ones_like(norm), norm))


OPERATORS: Table = {
    "BatchNormalization": operator(_batch_normalization, "epsilon momentum spatial training_mode"),
    "InstanceNormalization": operator(_instance_normalization, "epsilon"),
    "LayerNormalization": operator(_layer_normalization, "axis epsilon stash_type"),
    "RMSNormalization": operator(_rms_normalization, "axis epsilon stash_type"),
    "GroupNormalization": operator(_group_normalization, "epsilon num_groups stash_type"),
    "LRN": operator(_local_response, "alpha beta bias size"),
    "LpNormalization": operator(_lp_normalization, "axis p"),
}
