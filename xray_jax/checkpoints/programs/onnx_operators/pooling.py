"""Pooling over windows and over whole images."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xray_jax.checkpoints.programs.onnx_operators.node import Node, Table, UnsupportedError, Value, operator, traced
from xray_jax.checkpoints.programs.onnx_operators.windows import Pads, Windows, windows

MAX_WINDOWS = 1 << 28
"""Numbers in all windows of an image: XLA looks at each, in the padding too, however large the padding is."""


def _placed(node: Node, images: jax.Array) -> tuple[Windows, Pads]:
    """The windows, and the padding with what the last window of `ceil_mode` needs beyond it."""
    where = windows(node, node.get("kernel_shape", ()), images.shape[2:])
    for size, span, window, pad in zip(images.shape[2:], where.spans, where.sizes, where.pads, strict=True):
        if (node.get("auto_pad", "NOTSET") == "NOTSET" and max(pad) >= window) or span > size + sum(pad):
            raise UnsupportedError(f"a window of {window} over {size} padded by {pad}")
    if not node.get("ceil_mode", 0) or node.get("auto_pad", "NOTSET") != "NOTSET":
        return where, where.pads
    pads = []
    axes = zip(images.shape[2:], where.spans, where.strides, where.pads, strict=True)
    for size, span, stride, (before, after) in axes:
        count = -(-(size + before + after - span) // stride) + 1
        # A window that begins in the padding behind the image is none.
        if (count - 1) * stride >= size + before:
            count -= 1
        pads.append((before, max((count - 1) * stride + span - size - before, after)))
    return where, tuple(pads)


def _reduce(images: jax.Array, start: float, function: Callable[..., Any], where: Windows, pads: Pads) -> jax.Array:
    axes = zip(images.shape[2:], where.spans, where.strides, pads, strict=True)
    places = [(size + sum(pad) - span) // stride + 1 for size, span, stride, pad in axes]
    if images.shape[1] * math.prod(places) * math.prod(where.sizes) > MAX_WINDOWS:
        raise UnsupportedError(f"{math.prod(places)} windows of {list(where.sizes)} for each channel")
    return jax.lax.reduce_window(
        images,
        np.asarray(start, images.dtype),
        function,
        (1, 1, *where.sizes),
        (1, 1, *where.strides),
        ((0, 0), (0, 0), *pads),
        window_dilation=(1, 1, *where.dilations),
    )


def _max_pool(node: Node, inputs: Sequence[Value]) -> Value:
    images = traced(inputs[0])
    if node.get("storage_order", 0) or len(node.outputs) > 1:
        raise UnsupportedError("it puts out the places of the largest")
    where, pads = _placed(node, images)
    return _reduce(images, -math.inf, jax.lax.max, where, pads)


def _average_pool(node: Node, inputs: Sequence[Value]) -> Value:
    images = traced(inputs[0])
    where, pads = _placed(node, images)
    total = _reduce(images, 0, jax.lax.add, where, pads)
    if all(pad == (0, 0) for pad in pads):
        return total / math.prod(where.sizes)
    for axis, (size, (before, after)) in enumerate(zip(images.shape[2:], where.pads, strict=True)):
        # What ceil_mode adds behind the padding is counted by no one.
        low, high = (-before, size + after) if node.get("count_include_pad", 0) else (0, size)
        starts = np.arange(total.shape[2 + axis]) * where.strides[axis] - before
        counts = _inside(starts, where.sizes[axis], where.dilations[axis], low, high)
        along = [-1 if n == 2 + axis else 1 for n in range(images.ndim)]
        total = total / jnp.asarray(counts.reshape(along), images.dtype)
    return total


def _inside(starts: np.ndarray, size: int, dilation: int, low: int, high: int) -> np.ndarray:
    """How many of a window's `size` entries lie from `low` up to `high`, for each of its places on an axis."""
    first = np.maximum(-((starts - low) // dilation), 0)
    last = np.minimum((high - 1 - starts) // dilation, size - 1)
    return np.maximum(last - first + 1, 0)


def _global_average_pool(node: Node, inputs: Sequence[Value]) -> Value:
    images = traced(inputs[0])
    return jnp.mean(images, axis=tuple(range(2, images.ndim)), keepdims=True)


def _global_max_pool(node: Node, inputs: Sequence[Value]) -> Value:
    images = traced(inputs[0])
    return jnp.max(images, axis=tuple(range(2, images.ndim)), keepdims=True)


_ATTRIBUTES = "auto_pad ceil_mode dilations kernel_shape pads strides"

OPERATORS: Table = {
    "MaxPool": operator(_max_pool, f"{_ATTRIBUTES} storage_order"),
    "AveragePool": operator(_average_pool, f"{_ATTRIBUTES} count_include_pad"),
    "GlobalAveragePool": operator(_global_average_pool),
    "GlobalMaxPool": operator(_global_max_pool),
}
