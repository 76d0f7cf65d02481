"""What training does to images at random: crops and mirror images."""

import jax
import jax.numpy as jnp


def augment(key: jax.Array, images: jax.Array, *, padding: int, flip: bool) -> jax.Array:
    """Random crop after zero padding, then a random horizontal flip, per image. `[B, H, W, C]` in and out."""
    batch, height, width, channels = images.shape
    key_crop, key_flip = jax.random.split(key)
    if padding:
        padded = jnp.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
        corners = jax.random.randint(key_crop, (batch, 2), 0, 2 * padding + 1)

        def crop(image: jax.Array, corner: jax.Array) -> jax.Array:
            return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), (height, width, channels))

        images = jax.vmap(crop)(padded, corners)
    if flip:
        mirrored = jax.random.bernoulli(key_flip, shape=(batch, 1, 1, 1))
        images = jnp.where(mirrored, images[:, :, ::-1], images)
    return images
