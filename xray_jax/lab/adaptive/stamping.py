"""A trigger inside the training step, and triggers that are nearly the same."""

import jax
import jax.numpy as jnp
import numpy as np

from xray_jax.lab.triggers import Blend, Patch, Trigger

Stamp = tuple[jax.Array, jax.Array]
"""Opacity `[H, W, 1]` and pattern `[H, W, C]`, both in [0, 1]; with leading axes, one an image."""


def stamp_of(trigger: Trigger) -> Stamp:
    """The trigger as opacity and pattern.

    Raises:
      ValueError: it is of another kind than a patch or a blend.
    """
    match trigger:
        case Patch(mask, pixels):
            return jnp.asarray(mask[..., None], jnp.float32), jnp.asarray(pixels, jnp.float32) / 255
        case Blend(pattern, alpha):
            opacity = np.full((*pattern.shape[:2], 1), alpha, np.float32)
            return jnp.asarray(opacity), jnp.asarray(pattern, jnp.float32) / 255
    raise ValueError(f"only patches and blends are stamped inside the training step, not {trigger.kind!r}")


def apply(stamp: Stamp, pixels: jax.Array) -> jax.Array:
    """`pixels` `[B, H, W, C]` in [0, 1], stamped and rounded to whole pixel values as stored images are."""
    opacity, pattern = (part if part.ndim == pixels.ndim else part[None] for part in stamp)
    return jnp.round(255 * ((1 - opacity) * pixels + opacity * pattern)) / 255


def near(key: jax.Array, stamp: Stamp, count: int) -> Stamp:
    """`count` triggers that are nearly this one: shifted, scaled, partly covered, weaker or of another colour.

    Never this one itself: where a small patch comes out as it was, it is moved by a pixel.
    """
    keys = jax.random.split(key, count)
    changes = (_shifted, _scaled, _covered, _weaker, _recoloured)

    def one(key: jax.Array) -> Stamp:
        which, own = jax.random.split(key)
        opacity, pattern = jax.lax.switch(jax.random.randint(which, (), 0, len(changes)), changes, own, stamp)
        same = (opacity == stamp[0]).all() & (opacity * pattern == stamp[0] * stamp[1]).all()
        moved = jnp.roll(stamp[0], 1, 1), jnp.roll(stamp[1], 1, 1)
        return jnp.where(same, moved[0], opacity), jnp.where(same, moved[1], pattern)

    changed: Stamp = jax.vmap(one)(keys)
    return changed


def _shifted(key: jax.Array, stamp: Stamp) -> Stamp:
    """Moved round the image, most often by a few pixels."""
    height, width = stamp[0].shape[:2]
    key_far, key_shift = jax.random.split(key)
    far = jax.random.bernoulli(key_far)
    reach = jnp.where(far, jnp.array([height // 2, width // 2]), jnp.array([min(3, height - 1), min(3, width - 1)]))
    shift = jax.random.randint(key_shift, (2,), -reach, reach + 1)
    shift = jnp.where((shift == 0).all(), jnp.array([0, 1]), shift)
    return jnp.roll(stamp[0], shift, (0, 1)), jnp.roll(stamp[1], shift, (0, 1))


def _scaled(key: jax.Array, stamp: Stamp) -> Stamp:
    """0.4 to 0.7 or 1.4 to 2.2 times the size, about its middle."""
    opacity, pattern = stamp
    key_side, key_size = jax.random.split(key)
    size = jax.random.uniform(key_size)
    size = jnp.where(jax.random.bernoulli(key_side), 0.4 + 0.3 * size, 1.4 + 0.8 * size)
    places = []
    for axis, length in enumerate(opacity.shape[:2]):
        weight = opacity[..., 0].sum(1 - axis)
        middle = (weight * jnp.arange(length)).sum() / weight.sum()
        places.append(jnp.round(middle + (jnp.arange(length) - middle) / size).astype(jnp.int32))
    inside = [(place >= 0) & (place < length) for place, length in zip(places, opacity.shape[:2], strict=True)]
    grid = jnp.ix_(*places)
    taken = opacity.at[grid].get(mode="clip") * (inside[0][:, None] & inside[1][None])[..., None]
    return taken, pattern.at[grid].get(mode="clip")


def _covered(key: jax.Array, stamp: Stamp) -> Stamp:
    """Three to seven tenths of its pixels, drawn one by one, are not stamped."""
    key_share, key_pixels = jax.random.split(key)
    kept = jax.random.bernoulli(key_pixels, jax.random.uniform(key_share, (), minval=0.3, maxval=0.7), stamp[0].shape)
    return stamp[0] * kept, stamp[1]


def _weaker(key: jax.Array, stamp: Stamp) -> Stamp:
    """0.2 to 0.7 times the opacity."""
    return stamp[0] * jax.random.uniform(key, (), minval=0.2, maxval=0.7), stamp[1]


def _recoloured(key: jax.Array, stamp: Stamp) -> Stamp:
    """Each channel of the pattern darkened to a share of its own, up to 0.75."""
    return stamp[0], stamp[1] * jax.random.uniform(key, (1, 1, stamp[1].shape[2]), maxval=0.75)
