"""`Conv` and `ConvTranspose` over one to three axes.

XLA is given channels last, with a transpose before and after: on a CPU, in a loop over batches, it needed more than
twice the time for the same convolution with channels first.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from xray_jax.checkpoints.programs.onnx_operators.node import (
    Node,
    Table,
    UnsupportedError,
    Value,
    operator,
    optional,
    per_channel,
    same_type,
)
from xray_jax.checkpoints.programs.onnx_operators.windows import windows
from xray_jax.models.convolution import Window, convolve

_LAYOUTS = {3: ("NHC", "HIO"), 4: ("NHWC", "HWIO"), 5: ("NHWDC", "HWDIO")}


def _operands(node: Node, inputs: Sequence[Value]) -> tuple[jax.Array, jax.Array]:
    images, kernel = same_type(inputs[0], inputs[1])
    if images.ndim not in _LAYOUTS or kernel.ndim != images.ndim:
        raise UnsupportedError(f"images of {images.ndim} and a kernel of {kernel.ndim} axes")
    if tuple(node.get("kernel_shape", kernel.shape[2:])) != kernel.shape[2:]:
        raise UnsupportedError("its kernel_shape is not that of its weights")
    return jnp.asarray(images), jnp.asarray(kernel)


def _with_bias(found: jax.Array, bias: Value) -> jax.Array:
    return found if bias is None else found + per_channel(bias, found.ndim, found)


def _convolved(
    images: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    pads: Sequence[tuple[int, int]],
    spread: Sequence[int],
    dilations: Sequence[int],
    groups: int,
) -> jax.Array:
    """`[B, C, ...]` and `[K, C / groups, ...]` to `[B, K, ...]`; `spread` is the distance of the images' entries."""
    images, kernel = jnp.moveaxis(images, 1, -1), jnp.moveaxis(kernel, (0, 1), (-1, -2))
    if images.ndim == 4 and {*spread, *dilations} == {1}:
        (down, step), ((top, bottom), (left, right)) = strides, pads
        found = convolve(images, kernel, Window((down, step), ((top, bottom), (left, right)), groups))
    else:
        data, weights = _LAYOUTS[images.ndim]
        found = jax.lax.conv_general_dilated(
            images,
            kernel,
            strides,
            pads,
            lhs_dilation=spread,
            rhs_dilation=dilations,
            dimension_numbers=(data, weights, data),
            feature_group_count=groups,
        )
    return jnp.moveaxis(found, -1, 1)


def _conv(node: Node, inputs: Sequence[Value]) -> Value:
    images, kernel = _operands(node, inputs)
    where = windows(node, kernel.shape[2:], images.shape[2:])
    found = _convolved(
        images, kernel, where.strides, where.pads, (1,) * len(where.strides), where.dilations, node.get("group", 1)
    )
    return _with_bias(found, optional(inputs, 2))


def _conv_transpose(node: Node, inputs: Sequence[Value]) -> Value:
    images, kernel = _operands(node, inputs)
    if node.get("auto_pad", "NOTSET") != "NOTSET" or node.get("output_shape"):
        raise UnsupportedError("auto_pad or output_shape")
    where = windows(node, kernel.shape[2:], images.shape[2:])
    groups, axes = node.get("group", 1), images.ndim - 2
    # [C, K / groups, ...] to [K, C / groups, ...], turned round: the transpose is a convolution of spread images.
    inward, outward = kernel.shape[:2]
    kernel = kernel.reshape(groups, inward // groups, outward, *kernel.shape[2:]).swapaxes(1, 2)
    kernel = jnp.flip(kernel.reshape(groups * outward, inward // groups, *kernel.shape[3:]), range(2, 2 + axes))
    more = node.get("output_padding") or (0,) * axes
    pads = [
        (span - 1 - before, span - 1 - after + extra)
        for span, (before, after), extra in zip(where.spans, where.pads, more, strict=True)
    ]
    found = _convolved(images, kernel, (1,) * axes, pads, where.strides, where.dilations, groups)
    return _with_bias(found, optional(inputs, 2))


_ATTRIBUTES = "auto_pad dilations group kernel_shape pads strides"

OPERATORS: Table = {
    "Conv": operator(_conv, _ATTRIBUTES),
    "ConvTranspose": operator(_conv_transpose, f"{_ATTRIBUTES} output_padding output_shape"),
}
