"""Activations: `Relu` to `Softmax`, with the defaults of the standard."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xray_jax.checkpoints.programs.onnx_operators.node import (
    Node,
    Table,
    Value,
    aligned,
    axis_of,
    namespace,
    operator,
    optional,
    traced,
)

_SELU = 1.67326319217681884765625, 1.05070102214813232421875


def _relu(node: Node, inputs: Sequence[Value]) -> Value:
    value = inputs[0]
    # JAX's own has torch's derivative at zero, which is zero.
    return np.maximum(value, np.zeros((), value.dtype)) if isinstance(value, np.ndarray) else jax.nn.relu(value)


def _of(function: Callable[[Node, jax.Array], jax.Array]) -> Callable[[Node, Sequence[Value]], Value]:
    """An activation of one traced value."""

    def compute(node: Node, inputs: Sequence[Value]) -> Value:
        return function(node, traced(inputs[0]))

    return compute


def _elu(node: Node, x: jax.Array) -> jax.Array:
    return jnp.where(x < 0, node.get("alpha", 1.0) * jnp.expm1(jnp.minimum(x, 0)), x)


def _selu(node: Node, x: jax.Array) -> jax.Array:
    alpha, gamma = node.get("alpha", _SELU[0]), node.get("gamma", _SELU[1])
    return gamma * jnp.where(x <= 0, alpha * jnp.expm1(jnp.minimum(x, 0)), x)


def _celu(node: Node, x: jax.Array) -> jax.Array:
    alpha = node.get("alpha", 1.0)
    return jnp.maximum(x, 0) + jnp.minimum(alpha * jnp.expm1(jnp.minimum(x, 0) / alpha), 0)


def _leaky_relu(node: Node, x: jax.Array) -> jax.Array:
    return jnp.where(x < 0, node.get("alpha", 0.01) * x, x)


def _thresholded_relu(node: Node, x: jax.Array) -> jax.Array:
    return jnp.where(x > node.get("alpha", 1.0), x, jnp.zeros_like(x))


def _hard_sigmoid(node: Node, x: jax.Array) -> jax.Array:
    return jnp.clip(node.get("alpha", 0.2) * x + node.get("beta", 0.5), 0, 1)


def _hard_swish(node: Node, x: jax.Array) -> jax.Array:
    return x * jnp.clip(x / 6 + 0.5, 0, 1)


def _gelu(node: Node, x: jax.Array) -> jax.Array:
    return jax.nn.gelu(x, approximate=node.get("approximate", "none") == "tanh")


def _swish(node: Node, x: jax.Array) -> jax.Array:
    return x * jax.nn.sigmoid(node.get("alpha", 1.0) * x)


def _mish(node: Node, x: jax.Array) -> jax.Array:
    return x * jnp.tanh(jax.nn.softplus(x))


def _prelu(node: Node, inputs: Sequence[Value]) -> Value:
    x, slope = aligned(*inputs)
    return jnp.where(x < 0, slope * x, x)


def _clip(node: Node, inputs: Sequence[Value]) -> Value:
    value = inputs[0]
    low, high = (optional(inputs, 1), optional(inputs, 2)) if node.opset >= 11 else (None, None)
    xp = namespace(value, low, high)
    if node.opset < 11:
        limits = [node.get("min"), node.get("max")]
        low, high = (None if limit is None else xp.asarray(limit, value.dtype) for limit in limits)
    # At its limits the derivative is zero, as that of torch's ReLU6; what is no number stays so.
    for limit, beyond in ((low, xp.less_equal), (high, xp.greater_equal)):
        if limit is not None:
            value, limit = aligned(value, limit.reshape(()))
            value = xp.where(beyond(value, limit), limit, value)
    return value


def _softmax(function: Callable[..., Any]) -> Callable[[Node, Sequence[Value]], Value]:
    def compute(node: Node, inputs: Sequence[Value]) -> Value:
        x = traced(inputs[0])
        if node.opset >= 13:
            return function(x, axis=axis_of(node.get("axis", -1), x.ndim))
        # Before, all axes from this one on were one.
        axis = axis_of(node.get("axis", 1), x.ndim)
        return function(x, axis=tuple(range(axis, x.ndim)))

    return compute


def is_over_classes(softmax: Node, value: Value, batch: int) -> bool:
    """Whether a Softmax is over the second axis of `[batch, classes]` or `[batch, classes, 1, 1]`."""
    if value.ndim < 2 or value.shape[0] != batch or set(value.shape[2:]) - {1}:
        return False
    return axis_of(softmax.get("axis", -1 if softmax.opset >= 13 else 1), value.ndim) == 1


OPERATORS: Table = {
    "Relu": operator(_relu),
    "Sigmoid": operator(_of(lambda node, x: jax.nn.sigmoid(x))),
    "Softplus": operator(_of(lambda node, x: jax.nn.softplus(x))),
    "Softsign": operator(_of(lambda node, x: jax.nn.soft_sign(x))),
    "Elu": operator(_of(_elu), "alpha"),
    "Selu": operator(_of(_selu), "alpha gamma"),
    "Celu": operator(_of(_celu), "alpha"),
    "LeakyRelu": operator(_of(_leaky_relu), "alpha"),
    "ThresholdedRelu": operator(_of(_thresholded_relu), "alpha"),
    "HardSigmoid": operator(_of(_hard_sigmoid), "alpha beta"),
    "HardSwish": operator(_of(_hard_swish)),
    "Gelu": operator(_of(_gelu), "approximate"),
    "Swish": operator(_of(_swish), "alpha"),
    "Mish": operator(_of(_mish)),
    "PRelu": operator(_prelu),
    "Clip": operator(_clip, "min max"),
    "Softmax": operator(_softmax(jax.nn.softmax), "axis"),
    "LogSoftmax": operator(_softmax(jax.nn.log_softmax), "axis"),
}
