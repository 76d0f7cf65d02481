"""Keras's activation functions and activation layers, as pure functions (keras.io/api/layers/activations)."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.keras.layer_config import Settings

FUNCTIONS: Mapping[str, Callable[[jax.Array], jax.Array]] = {
    "linear": lambda x: x,
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "celu": jax.nn.celu,
    "leaky_relu": lambda x: jax.nn.leaky_relu(x, 0.2),
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "silu": jax.nn.silu,
    "swish": jax.nn.silu,
    "mish": jax.nn.mish,
    "hard_silu": jax.nn.hard_silu,
    "hard_swish": jax.nn.hard_silu,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_sigmoid_2": lambda x: jnp.clip(0.2 * x + 0.5, 0.0, 1.0),
    "hard_tanh": jax.nn.hard_tanh,
    "sigmoid": jax.nn.sigmoid,
    "log_sigmoid": jax.nn.log_sigmoid,
    "tanh": jnp.tanh,
    "softplus": jax.nn.softplus,
    "softsign": jax.nn.soft_sign,
    "exponential": jnp.exp,
    "softmax": jax.nn.softmax,
    "log_softmax": jax.nn.log_softmax,
}


def function_name(value: Any, settings: Settings) -> str:
    """The standard function that a config names, as a string or as a serialised function.

    Raises:
      CheckpointError: for any other function, naming it.
    """
    if isinstance(value, Mapping) and value.get("class_name") == "function":
        value = value.get("config")
    name = "linear" if value is None else value
    # Keras 3 changed the slope.
    if name == "hard_sigmoid" and settings.keras < 3:
        name = "hard_sigmoid_2"
    if not isinstance(name, str) or name not in FUNCTIONS:
        shown = name if isinstance(name, str) else (name.get("class_name") if isinstance(name, Mapping) else name)
        raise CheckpointError(
            f"{settings.where}: activation {str(shown)[:80]!r} is custom or unknown; nothing in a file is executed, so "
            "export the model to ONNX or with jax.export instead"
        )
    return name


def relu(x: jax.Array, settings: Mapping[str, Any]) -> jax.Array:
    """The ReLU layer: `slope * (x - threshold)` below the threshold, x above, at most `max_value`."""
    threshold, slope, most = settings["threshold"], settings["slope"], settings["max_value"]
    y = jnp.where(x >= threshold, x, slope * (x - threshold))
    return y if most is None else jnp.minimum(y, most)


def relu_settings(settings: Settings) -> dict[str, Any]:
    """What decides a ReLU layer: its maximum, slope and threshold."""
    most = settings.raw("max_value")
    return {
        "max_value": None if most is None else settings.number("max_value"),
        "slope": 0.0 if settings.raw("negative_slope") is None else settings.number("negative_slope"),
        "threshold": 0.0 if settings.raw("threshold") is None else settings.number("threshold"),
    }


def leaky_settings(settings: Settings) -> dict[str, Any]:
    """What decides a LeakyReLU layer, as the settings of a ReLU layer."""
    # `alpha` until Keras 2, `negative_slope` since.
    key = "negative_slope" if settings.raw("negative_slope") is not None else "alpha"
    return {"max_value": None, "slope": settings.number(key, 0.3), "threshold": 0.0}


def prelu(x: jax.Array, alpha: jax.Array) -> jax.Array:
    """The PReLU layer; `alpha`: slopes below zero, one for each number of an image or broadcast to them."""
    return jnp.where(x >= 0, x, alpha[None] * x)
