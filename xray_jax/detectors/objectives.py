"""What detectors that look inside raise, of each image's logits and its target."""

import jax
import jax.numpy as jnp


def log_probability(logits: jax.Array, target: jax.Array) -> jax.Array:
    """Log-probability of each image's target `[B]`: natural, at most 0."""
    return jnp.take_along_axis(jax.nn.log_softmax(logits), target[:, None], axis=1)[:, 0]


def margin(logits: jax.Array, target: jax.Array) -> jax.Array:
    """The margin of each image's target `[B]`: its logit minus the largest other."""
    own = jax.nn.one_hot(target, logits.shape[1], dtype=jnp.bool_)
    others = jnp.max(jnp.where(own, -jnp.inf, logits), axis=1)
    return jnp.take_along_axis(logits, target[:, None], axis=1)[:, 0] - others
