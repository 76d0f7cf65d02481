"""Types of numbers, and values made of nothing: `Cast`, `ConstantOfShape`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from xray_jax.checkpoints.programs.onnx_operators.node import (
    MAX_ELEMENTS,
    MAX_KNOWN,
    Node,
    Table,
    UnsupportedError,
    Value,
    check_size,
    integers,
    is_float,
    operator,
    traced,
)

WHOLE_NUMBERS = frozenset(
    {
        "ArgMax", "ArgMin", "Cast", "CastLike", "Clip", "Concat", "Equal", "Expand", "Flatten", "Gather", "Greater",
        "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Max", "Min", "Pad", "ReduceMax", "ReduceMin", "Reshape",
        "Shape", "Size", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where",
    }
)  # fmt: skip
"""Operators that compare, choose and move whole numbers. What the others make of traced ones could need 64 bits."""

TYPES: Mapping[int, Any] = {
    1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64, 9: np.bool_,
    10: np.float16, 11: np.float64, 12: np.uint32, 16: jnp.bfloat16,
}  # fmt: skip
"""Numbers of `TensorProto.DataType` -> numpy's type."""


def type_of(number: int) -> np.dtype:
    """numpy's type of a `TensorProto.DataType`.

    Raises:
      UnsupportedError: there is none, or no JAX program computes with it.
    """
    if number not in TYPES:
        raise UnsupportedError(f"values of type {number}")
    return np.dtype(TYPES[number])


def _cast_to(value: Value, dtype: np.dtype) -> Value:
    is_known, to_float = isinstance(value, np.ndarray), jnp.issubdtype(dtype, jnp.floating)
    # Half precision onnxruntime has where a Cast says so, and computes in single otherwise.
    if to_float and (dtype.itemsize < 4 or (dtype.itemsize > 4 and not is_known)):
        raise UnsupportedError(f"it computes in {dtype.name}, a JAX program in float32")
    if is_known:
        return value.astype(dtype)
    if to_float:
        # Floats keep the network's precision.
        return value if is_float(value) else value.astype(jnp.float32)
    if is_float(value) and dtype.kind != "b":
        raise UnsupportedError(f"it makes {dtype.name} of computed floats: what does not fit becomes another number")
    # No 64-bit integers are traced.
    return value.astype({8: np.int32}.get(dtype.itemsize, dtype) if dtype.kind == "i" else dtype)


def _cast(node: Node, inputs: Sequence[Value]) -> Value:
    return _cast_to(inputs[0], type_of(node.get("to")))


def _cast_like(node: Node, inputs: Sequence[Value]) -> Value:
    return _cast_to(inputs[0], np.dtype(inputs[1].dtype))


def _constant_of_shape(node: Node, inputs: Sequence[Value]) -> Value:
    sizes = check_size(integers(inputs[0], "its shape"), MAX_ELEMENTS)
    number, dtype = node.get("value", (0.0, "float32"))
    if math.prod(sizes) <= MAX_KNOWN:
        return np.full(sizes, number, np.dtype(dtype))
    # Traced, so that nothing is made yet.
    return jnp.full(sizes, traced(np.array(number, np.dtype(dtype))))


OPERATORS: Table = {
    "Cast": operator(_cast, "saturate to"),
    "CastLike": operator(_cast_like, "saturate"),
    "ConstantOfShape": operator(_constant_of_shape, "value", known=(0,)),
}
