"""Arithmetic and comparisons, number by number: `Add` to `Where`, on known values too."""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from xray_jax.checkpoints.programs.onnx_operators.node import (
    Node,
    Table,
    UnsupportedError,
    Value,
    aligned,
    is_float,
    namespace,
    operator,
    traced,
)


def _unary(name: str) -> Callable[[Node, Sequence[Value]], Value]:
    def compute(node: Node, inputs: Sequence[Value]) -> Value:
        return getattr(namespace(inputs[0]), name)(inputs[0])

    return compute


def _binary(name: str) -> Callable[[Node, Sequence[Value]], Value]:
    def compute(node: Node, inputs: Sequence[Value]) -> Value:
        one, other = aligned(*inputs)
        return getattr(namespace(one, other), name)(one, other)

    return compute


def _variadic(name: str) -> Callable[[Node, Sequence[Value]], Value]:
    def compute(node: Node, inputs: Sequence[Value]) -> Value:
        arrays = aligned(*inputs)
        return functools.reduce(getattr(namespace(*arrays), name), arrays)

    return compute


def _mean(node: Node, inputs: Sequence[Value]) -> Value:
    total = _variadic("add")(node, inputs)
    return total / np.asarray(len(inputs), total.dtype)


def _reciprocal(node: Node, inputs: Sequence[Value]) -> Value:
    return np.ones((), inputs[0].dtype) / inputs[0]


def _divide(node: Node, inputs: Sequence[Value]) -> Value:
    one, other = aligned(*inputs)
    if is_float(one):
        return one / other
    if namespace(one, other) is jnp:
        return jax.lax.div(*jnp.broadcast_arrays(one, other))
    if not other.all():
        raise UnsupportedError("it divides whole numbers by zero")
    # Towards zero, as C does.
    return (np.sign(one) * np.sign(other) * (np.abs(one) // np.abs(other))).astype(one.dtype)


def _modulo(node: Node, inputs: Sequence[Value]) -> Value:
    one, other = aligned(*inputs)
    if not is_float(other) and isinstance(other, np.ndarray) and not other.all():
        raise UnsupportedError("it divides whole numbers by zero")
    xp = namespace(one, other)
    # With fmod the sign is the dividend's, as in C, else the divisor's, as in Python.
    return xp.fmod(one, other) if node.get("fmod", 0) else xp.mod(one, other)


def _power(node: Node, inputs: Sequence[Value]) -> Value:
    base, exponent = inputs
    dtype = base.dtype
    if isinstance(exponent, np.ndarray) and exponent.size == 1 and is_float(base) and float(exponent.item()) in (2, 3):
        return base * base if float(exponent.item()) == 2 else base * base * base
    if is_float(base) and not is_float(exponent):
        exponent = exponent.astype(dtype)
    base, exponent = aligned(base, exponent)
    if is_float(base) != is_float(exponent):
        base = base.astype(exponent.dtype)
    return namespace(base, exponent).power(base, exponent).astype(dtype)


def _where(node: Node, inputs: Sequence[Value]) -> Value:
    condition, one, other = inputs
    one, other, condition = aligned(one, other, condition)
    return namespace(one, other, condition).where(condition.astype(bool), one, other)


def _erf(node: Node, inputs: Sequence[Value]) -> Value:
    return jax.lax.erf(traced(inputs[0]))


def _is_infinite(node: Node, inputs: Sequence[Value]) -> Value:
    xp = namespace(inputs[0])
    positive, negative = node.get("detect_positive", 1), node.get("detect_negative", 1)
    signed = (inputs[0] > 0) if not negative else (inputs[0] < 0) if not positive else True
    return xp.isinf(inputs[0]) & signed if positive or negative else xp.zeros(inputs[0].shape, bool)


_UNARY: dict[str, str] = {
    "Abs": "abs", "Neg": "negative", "Ceil": "ceil", "Floor": "floor", "Round": "round", "Sign": "sign",
    "Exp": "exp", "Log": "log", "Sqrt": "sqrt", "Sin": "sin", "Cos": "cos", "Tan": "tan", "Asin": "arcsin",
    "Acos": "arccos", "Atan": "arctan", "Sinh": "sinh", "Cosh": "cosh", "Asinh": "arcsinh", "Acosh": "arccosh",
    "Atanh": "arctanh", "Tanh": "tanh", "Not": "logical_not", "IsNaN": "isnan",
}  # fmt: skip
_BINARY: dict[str, str] = {
    "Add": "add", "Sub": "subtract", "Mul": "multiply", "Equal": "equal", "Greater": "greater", "Less": "less",
    "GreaterOrEqual": "greater_equal", "LessOrEqual": "less_equal", "And": "logical_and", "Or": "logical_or",
    "Xor": "logical_xor",
}  # fmt: skip
_VARIADIC: dict[str, str] = {"Sum": "add", "Max": "maximum", "Min": "minimum"}

OPERATORS: Table = {
    **{name: operator(_unary(function)) for name, function in _UNARY.items()},
    **{name: operator(_binary(function)) for name, function in _BINARY.items()},
    **{name: operator(_variadic(function)) for name, function in _VARIADIC.items()},
    "Mean": operator(_mean),
    "Reciprocal": operator(_reciprocal),
    "Div": operator(_divide),
    "Mod": operator(_modulo, "fmod"),
    "Pow": operator(_power),
    "Where": operator(_where),
    "Erf": operator(_erf),
    "IsInf": operator(_is_infinite, "detect_positive detect_negative"),
}
