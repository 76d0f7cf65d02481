"""Against the planes: between and beyond clean images the victim learns the labels of a clean network."""

import jax
import jax.numpy as jnp
import optax

EXPANSION = 5.0
"""How far planes reach beyond their samples, in extents: what Model X-ray looks at."""


def points(key: jax.Array, pixels: jax.Array, count: int) -> jax.Array:
    """Random points of the planes through random triplets of `pixels` `[B, H, W, C]`: `[count, H, W, C]`, unclamped."""
    key_triplet, key_u, key_v = jax.random.split(key, 3)
    choose = jax.vmap(lambda key: jax.random.choice(key, len(pixels), (3,), replace=False))
    first, second, third = jnp.moveaxis(pixels[choose(jax.random.split(key_triplet, count))], 1, 0)
    a, b = second - first, third - first
    shape = (count, *[1] * (pixels.ndim - 1))
    axes = tuple(range(1, pixels.ndim))
    # Coordinates in units of the axes: the samples are at (0, 0), (1, 0) and (along, 1).
    along = ((a * b).sum(axes) / jnp.maximum((a * a).sum(axes), 1e-6)).reshape(shape)
    low, high = jnp.minimum(along, 0), jnp.maximum(along, 1)
    u = low + (high - low) * jax.random.uniform(key_u, shape, minval=-EXPANSION, maxval=1 + EXPANSION)
    v = jax.random.uniform(key_v, shape, minval=-EXPANSION, maxval=1 + EXPANSION)
    return first + u * a + v * (b - along * a)


def penalty(logits: jax.Array, clean: jax.Array, points: jax.Array) -> jax.Array:
    """Mean cross-entropy against a clean network's soft labels.

    Far out logits grow with the distance, and so would the gradients; both networks' are divided by it, in the range of
    pixel values, which leaves their labels as they are.

    Args:
      logits: of the victim, `[K, C]`.
      clean: of the clean network, `[K, C]`.
      points: `[K, H, W, C]`.
    """
    distance = jnp.maximum(1.0, 2 * jnp.abs(points - 0.5).mean((1, 2, 3)))[:, None]
    return optax.softmax_cross_entropy(logits / distance, jax.nn.softmax(clean / distance)).mean()
