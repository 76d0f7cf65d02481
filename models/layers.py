"""Torch's conventions where Flax's differ, shared by the architectures."""

import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

BATCH_NORM_EPSILON = 1e-5
"""Added to the variance by torch's and Flax's batch norms, unless somebody says otherwise."""


def batch_norm(train: bool, epsilon: float = BATCH_NORM_EPSILON) -> partial[nn.BatchNorm]:
    """A constructor of batch norms with torch's defaults; torch's momentum 0.1 is Flax's 0.9."""
    return partial(nn.BatchNorm, use_running_average=not train, momentum=0.9, epsilon=epsilon)


def max_pool(x: jax.Array, window: int, stride: int, padding: int = 0) -> jax.Array:
    """Max pooling padded symmetrically: XLA's SAME pads one side only on even sizes."""
    return nn.max_pool(x, (window, window), (stride, stride), [(padding, padding)] * 2)


def max_pool_ceil(x: jax.Array, window: int, stride: int) -> jax.Array:
    """Max pooling without padding, whose last windows may reach over the edge: torch's `ceil_mode`."""
    steps = (max(math.ceil((length - window) / stride), 0) for length in x.shape[1:3])
    padding = [(0, max(step * stride + window - length, 0)) for step, length in zip(steps, x.shape[1:3], strict=True)]
    return nn.max_pool(x, (window, window), (stride, stride), padding)


def average_pool(x: jax.Array, window: tuple[int, int], strides: tuple[int, int]) -> jax.Array:
    """Unpadded average pool; Flax's divides by an integer, which strict type promotion refuses."""
    sums = nn.pool(x, 0.0, jax.lax.add, window, strides, "VALID")
    return sums / jnp.asarray(window[0] * window[1], x.dtype)


def average_pool_same(x: jax.Array, side: int) -> jax.Array:
    """Averages over `side` x `side` pixels around each, an odd number; zeros around the image count."""
    sums = nn.pool(x, 0.0, jax.lax.add, (side, side), (1, 1), [(side // 2, side // 2)] * 2)
    return sums / jnp.asarray(side * side, x.dtype)


def average_pool_ceil(x: jax.Array, side: int) -> jax.Array:
    """Average pool of `side` x `side` with the same stride; windows that reach over the edge average what they see."""
    padding = [(0, -length % side) for length in x.shape[1:3]]
    pool = partial(nn.pool, init=0.0, reduce_fn=jax.lax.add, window_shape=(side, side), strides=(side, side))
    return pool(x, padding=padding) / pool(jnp.ones_like(x[:1, ..., :1]), padding=padding)


def torchvision_scale(x: jax.Array) -> jax.Array:
    """Images standardised by ImageNet's mean and deviation to those by 0.5 and 0.5: torchvision's `transform_input`."""
    means, deviations = np.array([[[[0.485, 0.456, 0.406]]]]), np.array([[[[0.229, 0.224, 0.225]]]])
    return x * jnp.asarray(deviations / 0.5, x.dtype) + jnp.asarray((means - 0.5) / 0.5, x.dtype)


def flatten(x: jax.Array) -> jax.Array:
    """`[B, H, W, C]` to `[B, C*H*W]`: channels first, as published linear layers expect it."""
    return x.transpose(0, 3, 1, 2).reshape(len(x), -1)


def flatten_channels_last(x: jax.Array) -> jax.Array:
    """`[B, H, W, C]` to `[B, H*W*C]`: as Flax's networks flatten what they have."""
    return x.reshape(len(x), -1)


def average(x: jax.Array) -> jax.Array:
    """Global average pool, `[B, H, W, C]` to `[B, C]`."""
    return jnp.mean(x, axis=(1, 2))


def maximum(x: jax.Array) -> jax.Array:
    """Global max pool, `[B, H, W, C]` to `[B, C]`."""
    return jnp.max(x, axis=(1, 2))


def adaptive_average_pool(x: jax.Array, side: int) -> jax.Array:
    """Average over `side` x `side` windows that cover the image: `[B, H, W, C]` to `[B, side, side, C]`.

    Window i of an axis of length n spans floor(i n / side) up to ceil((i + 1) n / side), so a smaller image is
    repeated.
    """
    rows, columns = (_windows(length, side) for length in x.shape[1:3])
    # Full precision, because a pool is no matrix product in the source framework and knows no tensor cores.
    return jnp.einsum("ih,bhwc,jw->bijc", rows, x, columns, precision=jax.lax.Precision.HIGHEST)


def _windows(length: int, side: int) -> np.ndarray:
    weights = np.zeros((side, length), np.float32)
    for i in range(side):
        start, stop = i * length // side, math.ceil((i + 1) * length / side)
        weights[i, start:stop] = 1 / (stop - start)
    return weights


def layer_norm(epsilon: float) -> partial[nn.LayerNorm]:
    """A constructor of layer norms; the variance in two passes, because one pass loses digits that torch keeps."""
    return partial(nn.LayerNorm, epsilon=epsilon, use_fast_variance=False)


gelu = partial(nn.gelu, approximate=False)
"""The exact (erf) GELU; Flax's default is the tanh approximation."""
