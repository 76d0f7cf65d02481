"""Against the largest margin (MM-BD): inputs that raise each class are sought all along, and their margins capped."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

SLOPE = 1e-3
"""Of the penalty below the cap: enough for the inputs to go on rising, next to nothing for the network."""


def penalty(logits: jax.Array, classes: jax.Array, cap: float) -> jax.Array:
    """Margins above `cap`, in caps: the mean over the inputs of a class, summed over classes.

    Args:
      logits: of the sought inputs, `[K, C]`.
      classes: that each is to raise, `[K]`, equally many of each.
    """
    own = jax.nn.one_hot(classes, logits.shape[1], dtype=jnp.bool_)
    margins = jnp.sum(logits, 1, where=own) - jnp.max(logits, 1, where=~own, initial=-jnp.inf)
    return jax.nn.leaky_relu(margins / cap - 1, SLOPE).mean() * logits.shape[1]


class AscentState(NamedTuple):
    """How many steps are done."""

    steps: jax.Array


def ascent(step: float, lifetime: int, seed: int) -> optax.GradientTransformation:
    """Signed ascent of the inputs under "pool" within [0, 1]; each starts again from noise every `lifetime` steps.

    Other parameters stay as they are.
    """

    def init(params: Any) -> AscentState:
        return AscentState(jnp.zeros((), jnp.int32))

    def update(gradients: Any, state: AscentState, params: Any = None) -> tuple[Any, AscentState]:
        updates = jax.tree.map(jnp.zeros_like, params)
        if "pool" in params:
            pool = params["pool"]
            fresh = jax.random.uniform(jax.random.fold_in(jax.random.key(seed), state.steps), pool.shape)
            again = ((state.steps + jnp.arange(len(pool))) % lifetime == 0)[:, None, None, None]
            risen = jnp.clip(pool + step * jnp.sign(gradients["pool"]), 0, 1)
            updates = {**updates, "pool": jnp.where(again, fresh, risen) - pool}
        return updates, AscentState(state.steps + 1)

    return optax.GradientTransformation(init, update)
