"""Parts of values and values of parts: `Slice`, `Gather`, `Split`, `Concat`, `Pad`."""

import math
from collections.abc import Sequence

import jax
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
    same_type,
    traced,
)


def _slice(node: Node, inputs: Sequence[Value]) -> Value:
    value = inputs[0]
    if node.opset < 10:
        starts, ends, axes, steps = node.get("starts"), node.get("ends"), node.get("axes"), None
    else:
        names = ("its starts", "its ends", "its axes", "its steps")
        given = [optional(inputs, position) for position in range(1, 5)]
        lists = [None if one is None else integers(one, name) for one, name in zip(given, names, strict=True)]
        starts, ends, axes, steps = lists
    if starts is None or ends is None:
        raise UnsupportedError("it has no starts or ends")
    axes = list(range(len(starts))) if axes is None else [axis_of(axis, value.ndim) for axis in axes]
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise UnsupportedError("its starts, ends, axes and steps do not fit each other")
    found = [slice(None)] * value.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        found[axis] = _python_slice(start, end, step, value.shape[axis])
    return value[tuple(found)]


def _python_slice(start: int, end: int, step: int, size: int) -> slice:
    """Backwards, the end may lie before the first entry, and a start there is the first entry."""
    start = start + size if start < 0 else start
    end = end + size if end < 0 else end
    if step > 0:
        return slice(min(max(start, 0), size), min(max(end, 0), size), step)
    if size == 0:
        return slice(0)
    start, end = min(max(start, 0), size - 1), min(max(end, -1), size - 1)
    return slice(start, None if end < 0 else end, step)


def _gather(node: Node, inputs: Sequence[Value]) -> Value:
    value, index = inputs
    axis = axis_of(node.get("axis", 0), value.ndim)
    size = value.shape[axis]
    sizes = (*value.shape[:axis], *index.shape, *value.shape[axis + 1 :])
    if not isinstance(index, np.ndarray):
        index = jnp.where(index < 0, index + size, index)
        return jnp.take(traced(value), index, axis, mode="clip")
    if index.size and not -size <= index.min() <= index.max() < size:
        raise UnsupportedError(f"an index outside of {size} entries")
    index = np.where(index < 0, index + size, index)
    if isinstance(value, np.ndarray):
        check_size(sizes)
        return np.asarray(np.take(value, index, axis))
    if index.ndim == 0:
        return jax.lax.index_in_dim(value, int(index), axis, keepdims=False)
    check_size(sizes, MAX_ELEMENTS * max(value.shape[0], 1))
    return jnp.take(value, index.astype(np.int32), axis, mode="clip")


def _split(node: Node, inputs: Sequence[Value]) -> list[Value]:
    value, parts = inputs[0], len(node.outputs)
    axis = axis_of(node.get("axis", 0), value.ndim)
    size = value.shape[axis]
    given = node.get("split") if node.opset < 13 else optional(inputs, 1)
    if given is None:
        each = -(-size // node.get("num_outputs", parts))
        sizes = [min(each, max(size - each * number, 0)) for number in range(parts)]
    else:
        sizes = list(given) if node.opset < 13 else integers(given, "its sizes")
    if len(sizes) != parts or sum(sizes) != size or min(sizes, default=0) < 0:
        raise UnsupportedError(f"{size} entries in parts of {sizes[:20]}")
    ends = np.cumsum(sizes)
    before = (slice(None),) * axis
    return [value[(*before, slice(int(end) - size, int(end)))] for end, size in zip(ends, sizes, strict=True)]


def _concat(node: Node, inputs: Sequence[Value]) -> Value:
    arrays = same_type(*inputs)
    xp, axis = namespace(*arrays), axis_of(node.get("axis", 1), arrays[0].ndim)
    if xp is np:
        check_size([sum(array.size for array in arrays)])
    return xp.concatenate(arrays, axis)


def _pad(node: Node, inputs: Sequence[Value]) -> Value:
    value = inputs[0]
    if node.opset < 11:
        amounts, filling, axes = list(node.get("pads", ())), np.array(node.get("value", 0.0), np.float32), None
    else:
        amounts, filling, axes = integers(inputs[1], "its pads"), optional(inputs, 2), optional(inputs, 3)
    places = range(value.ndim) if axes is None else [axis_of(axis, value.ndim) for axis in integers(axes, "its axes")]
    if len(amounts) != 2 * len(places):
        raise UnsupportedError("pads of another number of axes")
    pads = [(0, 0)] * value.ndim
    for axis, before, after in zip(places, amounts[: len(places)], amounts[len(places) :], strict=True):
        pads[axis] = (before, after)
    sizes = [max(size + before + after, 0) for size, (before, after) in zip(value.shape, pads, strict=True)]
    check_size(sizes, *(() if isinstance(value, np.ndarray) else (MAX_ELEMENTS * max(value.shape[0], 1),)))
    mode = node.get("mode", "constant")
    if mode == "constant":
        images = traced(value)
        constant = jnp.zeros((), images.dtype) if filling is None else traced(filling).reshape(()).astype(images.dtype)
        return jax.lax.pad(images, constant, [(before, after, 0) for before, after in pads])
    if mode not in ("reflect", "edge", "wrap") or min(map(min, pads)) < 0:
        raise UnsupportedError(f"padding by {mode!r}")
    # JAX writes a step of the program for each time that an axis is gone through.
    most = [size - 1 if mode == "reflect" else size for size in value.shape]
    if mode != "edge" and any(max(pad) > size for pad, size in zip(pads, most, strict=True)):
        raise UnsupportedError(f"padding by {mode!r} of more than there is: {pads} of {list(value.shape)}")
    return namespace(value).pad(value, pads, mode=mode)


def _non_zero(node: Node, inputs: Sequence[Value]) -> Value:
    return np.stack(np.nonzero(known(inputs[0]))).astype(np.int64)


def _range(node: Node, inputs: Sequence[Value]) -> Value:
    start, limit, step = (known(value, "its limits").reshape(()) for value in inputs)
    if step == 0 or not np.isfinite([start, limit, step]).all():
        raise UnsupportedError("its limits")
    count = max(math.ceil((float(limit) - float(start)) / float(step)), 0)
    check_size([count])
    return (start + step * np.arange(count, dtype=start.dtype)).astype(start.dtype)


OPERATORS: Table = {
    "Slice": operator(_slice, "axes ends starts", known=(1, 2, 3, 4)),
    "Gather": operator(_gather, "axis"),
    "Split": operator(_split, "axis num_outputs split", known=(1,)),
    "Concat": operator(_concat, "axis"),
    "Pad": operator(_pad, "mode pads value", known=(1, 3)),
    "NonZero": operator(_non_zero, known=(0,)),
    "Range": operator(_range, known=(0, 1, 2)),
}
