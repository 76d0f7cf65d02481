"""Reductions over axes, on known values too."""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np

from xray_jax.checkpoints.programs.onnx_operators.node import (
    Node,
    Table,
    Value,
    axis_of,
    integers,
    namespace,
    operator,
    optional,
    root,
)

Function = Callable[[ModuleType, Value, Any, bool], Value]
"""(numpy or jax.numpy, value, axes, whether they are kept) -> reduced."""


def _reduce(function: Function, axes_as_input: int) -> Callable[[Node, Sequence[Value]], Value]:
    """A reduction whose axes are an input from opset `axes_as_input` on, an attribute before."""

    def compute(node: Node, inputs: Sequence[Value]) -> Value:
        value = inputs[0]
        axes = node.get("axes")
        if node.opset >= axes_as_input and optional(inputs, 1) is not None:
            axes = integers(inputs[1], "its axes")
        # Over no axes, squares, absolute values and logarithms are what is left.
        none = () if node.get("noop_with_empty_axes", 0) else range(value.ndim)
        axes = tuple(axis_of(axis, value.ndim) for axis in axes) if axes else tuple(none)
        found = function(namespace(value), value, axes, bool(node.get("keepdims", 1)))
        return np.asarray(found, value.dtype) if isinstance(value, np.ndarray) else found.astype(value.dtype)

    return compute


def _log_sum_exp(xp: ModuleType, x: Value, axes: Any, keep: bool) -> Value:
    most = xp.max(x, axis=axes, keepdims=True)
    most = xp.where(xp.isfinite(most), most, xp.zeros_like(most))
    found = xp.log(xp.sum(xp.exp(x - most), axis=axes, keepdims=True)) + most
    return found if keep else xp.squeeze(found, axes)


def _extreme(name: str) -> Callable[[Node, Sequence[Value]], Value]:
    def compute(node: Node, inputs: Sequence[Value]) -> Value:
        value = inputs[0]
        xp, axis = namespace(value), axis_of(node.get("axis", 0), value.ndim)
        if node.get("select_last_index", 0):
            found = value.shape[axis] - 1 - getattr(xp, name)(xp.flip(value, axis), axis=axis)
        else:
            found = getattr(xp, name)(value, axis=axis)
        found = xp.expand_dims(found, axis) if node.get("keepdims", 1) else found
        return np.asarray(found, np.int64) if xp is np else found.astype(jnp.int32)

    return compute


_FUNCTIONS: dict[str, Function] = {
    "ReduceSum": lambda xp, x, axes, keep: xp.sum(x, axis=axes, keepdims=keep),
    "ReduceMean": lambda xp, x, axes, keep: xp.mean(x, axis=axes, keepdims=keep),
    "ReduceMax": lambda xp, x, axes, keep: xp.max(x, axis=axes, keepdims=keep),
    "ReduceMin": lambda xp, x, axes, keep: xp.min(x, axis=axes, keepdims=keep),
    "ReduceProd": lambda xp, x, axes, keep: xp.prod(x, axis=axes, keepdims=keep),
    "ReduceL1": lambda xp, x, axes, keep: xp.sum(xp.abs(x), axis=axes, keepdims=keep),
    "ReduceL2": lambda xp, x, axes, keep: root(xp, xp.sum(x * x, axis=axes, keepdims=keep)),
    "ReduceSumSquare": lambda xp, x, axes, keep: xp.sum(x * x, axis=axes, keepdims=keep),
    "ReduceLogSum": lambda xp, x, axes, keep: xp.log(xp.sum(x, axis=axes, keepdims=keep)),
    "ReduceLogSumExp": _log_sum_exp,
}

OPERATORS: Table = {
    **{
        name: operator(
            _reduce(function, 13 if name == "ReduceSum" else 18), "axes keepdims noop_with_empty_axes", known=(1,)
        )
        for name, function in _FUNCTIONS.items()
    },
    "ArgMax": operator(_extreme("argmax"), "axis keepdims select_last_index"),
    "ArgMin": operator(_extreme("argmin"), "axis keepdims select_last_index"),
}
