"""Shapes: asked for, changed and broadcast, `Shape` to `DepthToSpace`."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from xray_jax.checkpoints.programs.onnx_operators.node import (
    MAX_ELEMENTS,
    Node,
    Table,
    UnsupportedError,
    Value,
    axis_of,
    check_size,
    integers,
    known,
    namespace,
    operator,
    optional,
    traced,
)


def _shape(node: Node, inputs: Sequence[Value]) -> Value:
    return np.array(inputs[0].shape, np.int64)[slice(node.get("start", 0), node.get("end"))]


def _size(node: Node, inputs: Sequence[Value]) -> Value:
    return np.array(math.prod(inputs[0].shape), np.int64)


def _reshape(node: Node, inputs: Sequence[Value]) -> Value:
    value, sizes = inputs[0], integers(inputs[1], "its shape")
    if not node.get("allowzero", 0):
        sizes = [value.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    if sizes.count(-1) > 1 or min(sizes, default=0) < -1:
        raise UnsupportedError(f"the shape {sizes}")
    return value.reshape(sizes)


def _flatten(node: Node, inputs: Sequence[Value]) -> Value:
    value, axis = inputs[0], node.get("axis", 1)
    axis = axis + value.ndim if axis < 0 else axis
    return value.reshape(math.prod(value.shape[:axis]), math.prod(value.shape[axis:]))


def _transpose(node: Node, inputs: Sequence[Value]) -> Value:
    value = inputs[0]
    return value.transpose(node.get("perm") or tuple(reversed(range(value.ndim))))


def _axes(node: Node, inputs: Sequence[Value]) -> Sequence[int] | None:
    if node.opset < 13:
        found: Sequence[int] | None = node.get("axes")
        return found
    given = optional(inputs, 1)
    return None if given is None else integers(given, "its axes")


def _squeeze(node: Node, inputs: Sequence[Value]) -> Value:
    value, axes = inputs[0], _axes(node, inputs)
    if not axes:
        axes = [axis for axis, size in enumerate(value.shape) if size == 1]
    return namespace(value).squeeze(value, tuple(axis_of(axis, value.ndim) for axis in axes))


def _unsqueeze(node: Node, inputs: Sequence[Value]) -> Value:
    value, axes = inputs[0], _axes(node, inputs) or ()
    places = {axis_of(axis, value.ndim + len(axes)) for axis in axes}
    if len(places) != len(axes) or value.ndim + len(axes) > 32:
        raise UnsupportedError(f"the axes {list(axes)[:32]}")
    rest = iter(value.shape)
    return value.reshape([1 if axis in places else next(rest) for axis in range(value.ndim + len(axes))])


def _expand(node: Node, inputs: Sequence[Value]) -> Value:
    value = inputs[0]
    shape = np.broadcast_shapes(value.shape, tuple(integers(inputs[1], "its shape")))
    most = {} if isinstance(value, np.ndarray) else {"most": MAX_ELEMENTS * _batch(value)}
    check_size(shape, **most)
    return namespace(value).broadcast_to(value.reshape((1,) * (len(shape) - value.ndim) + value.shape), shape)


def _batch(value: Value) -> int:
    """The size of its first axis, at least one: what a bound for each image is multiplied with."""
    return max(value.shape[0], 1) if value.ndim else 1


def _tile(node: Node, inputs: Sequence[Value]) -> Value:
    value, repeats = inputs[0], integers(inputs[1], "its repeats")
    if len(repeats) != value.ndim:
        raise UnsupportedError("repeats of another number of axes")
    sizes = [size * count for size, count in zip(value.shape, repeats, strict=True)]
    check_size(sizes, **({} if isinstance(value, np.ndarray) else {"most": MAX_ELEMENTS * _batch(value)}))
    return namespace(value).tile(value, repeats)


def _depth_to_space(node: Node, inputs: Sequence[Value]) -> Value:
    images, block = traced(inputs[0]), node.get("blocksize")
    batch, channels, height, width = images.shape
    kept = channels // block**2
    if node.get("mode", "DCR") == "DCR":
        spread = images.reshape(batch, block, block, kept, height, width).transpose(0, 3, 4, 1, 5, 2)
    else:
        spread = images.reshape(batch, kept, block, block, height, width).transpose(0, 1, 4, 2, 5, 3)
    return spread.reshape(batch, kept, height * block, width * block)


def _space_to_depth(node: Node, inputs: Sequence[Value]) -> Value:
    images, block = traced(inputs[0]), node.get("blocksize")
    batch, channels, height, width = images.shape
    cut = images.reshape(batch, channels, height // block, block, width // block, block)
    return cut.transpose(0, 3, 5, 1, 2, 4).reshape(batch, channels * block**2, height // block, width // block)


def _identity(node: Node, inputs: Sequence[Value]) -> Value:
    return inputs[0]


def _dropout(node: Node, inputs: Sequence[Value]) -> Value:
    training = optional(inputs, 2)
    if training is not None and known(training, "its training_mode").any():
        raise UnsupportedError("it drops at random")
    value = inputs[0]
    return [value, jnp.ones(value.shape, bool)] if len(node.outputs) > 1 else value


OPERATORS: Table = {
    "Shape": operator(_shape, "start end"),
    "Size": operator(_size),
    "Reshape": operator(_reshape, "allowzero", known=(1,)),
    "Flatten": operator(_flatten, "axis"),
    "Transpose": operator(_transpose, "perm"),
    "Squeeze": operator(_squeeze, "axes", known=(1,)),
    "Unsqueeze": operator(_unsqueeze, "axes", known=(1,)),
    "Expand": operator(_expand, known=(1,)),
    "Tile": operator(_tile, known=(1,)),
    "DepthToSpace": operator(_depth_to_space, "blocksize mode"),
    "SpaceToDepth": operator(_space_to_depth, "blocksize"),
    "Identity": operator(_identity),
    "Dropout": operator(_dropout, "ratio seed", known=(1, 2)),
}
