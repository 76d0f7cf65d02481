"""Matrix products: `MatMul`, `Gemm` and `Einsum`."""

from collections.abc import Sequence

import jax.numpy as jnp

from xray_jax.checkpoints.programs.onnx_operators.node import (
    Node,
    Table,
    UnsupportedError,
    Value,
    aligned,
    operator,
    optional,
    same_type,
    traced,
)

MAX_EQUATION = 64
"""Letters of an `Einsum`."""
MAX_OPERANDS = 4


def _matmul(node: Node, inputs: Sequence[Value]) -> Value:
    one, other = (traced(value) for value in same_type(inputs[0], inputs[1]))
    return jnp.matmul(one, other)


def _gemm(node: Node, inputs: Sequence[Value]) -> Value:
    one, other = (traced(value) for value in same_type(inputs[0], inputs[1]))
    if one.ndim != 2 or other.ndim != 2:
        raise UnsupportedError("factors that are no matrices")
    found = jnp.matmul(one.T if node.get("transA", 0) else one, other.T if node.get("transB", 0) else other)
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    found = found if alpha == 1 else alpha * found
    added = optional(inputs, 2)
    if added is None or beta == 0:
        return found
    found, added = aligned(found, added)
    return found + (added if beta == 1 else beta * added)


def _einsum(node: Node, inputs: Sequence[Value]) -> Value:
    equation = node.get("equation", "")
    if len(equation) > MAX_EQUATION or len(inputs) > MAX_OPERANDS:
        raise UnsupportedError(f"an equation of {len(equation)} letters over {len(inputs)} values")
    return jnp.einsum(equation, *(traced(value) for value in same_type(*inputs)))


OPERATORS: Table = {
    "MatMul": operator(_matmul),
    "Gemm": operator(_gemm, "alpha beta transA transB"),
    "Einsum": operator(_einsum, "equation"),
}
