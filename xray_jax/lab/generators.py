"""Small convolutional networks that make triggers: images in, images out, at a cost that two CPU cores can bear."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np


class ImageToImage(nn.Module):
    """Two stride-2 convolutions down, two up, with skips; `[B, H, W, C] -> [B, H, W, outputs]` in -1..1 (tanh).

    Height and width must be multiples of 4.
    """

    outputs: int = 3
    width: int = 16

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        full = x
        half = nn.relu(nn.Conv(self.width, (3, 3), 2, padding=1)(x))
        quarter = nn.relu(nn.Conv(2 * self.width, (3, 3), 2, padding=1)(half))
        quarter = nn.relu(nn.Conv(2 * self.width, (3, 3), padding=1)(quarter))
        x = jnp.concatenate([_double(quarter), half], -1)
        x = nn.relu(nn.Conv(self.width, (3, 3), padding=1)(x))
        x = jnp.concatenate([_double(x), full], -1)
        return jnp.tanh(nn.Conv(self.outputs, (3, 3), padding=1)(x))


class BitReader(nn.Module):
    """`[B, H, W, C] -> [B, bits]` logits: reads what a steganographic encoder has hidden."""

    bits: int
    widths: Sequence[int] = (16, 32, 64)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for width in self.widths:
            x = nn.relu(nn.Conv(width, (3, 3), 2, padding=1)(x))
        return nn.Dense(self.bits)(x.reshape(len(x), -1))


def generate(module: nn.Module, params: Any, images: jax.Array) -> jax.Array:
    """`module`'s one output for `images`."""
    return cast(jax.Array, module.apply(params, images))


def _double(x: jax.Array) -> jax.Array:
    return jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)


def round_through(pixels: jax.Array) -> jax.Array:
    """Pixels in [0, 1] as uint8 would store them; the gradient passes as if nothing had been rounded."""
    return pixels + jax.lax.stop_gradient(jnp.round(pixels * 255) / 255 - pixels)


@partial(jax.jit, static_argnames="apply")
def _applied(params: Any, pixels: jax.Array, *, apply: Callable[[Any, jax.Array], jax.Array]) -> jax.Array:
    return apply(params, pixels)


def stamp_by(
    apply: Callable[[Any, jax.Array], jax.Array], params: Any, images: np.ndarray, batch_size: int = 250
) -> np.ndarray:
    """uint8 `images` `[M, H, W, C]` stamped by `apply(params, pixels)` on float pixels in [0, 1] `[B, H, W, C]`.

    Args:
      apply: a module-level function: it is compiled once.
    """
    stamped = np.empty_like(images)
    for start in range(0, len(images), batch_size):
        part = images[start : start + batch_size]
        padded = np.concatenate([part, np.zeros((batch_size - len(part), *part.shape[1:]), np.uint8)])
        made = np.asarray(_applied(params, padded.astype(np.float32) / 255, apply=apply))[: len(part)]
        stamped[start : start + len(part)] = np.clip(np.rint(made * 255), 0, 255).astype(np.uint8)
    return stamped
