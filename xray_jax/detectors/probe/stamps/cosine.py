"""Smooth additive patterns: a few low-frequency cosines in each channel, as of low-frequency (LF) triggers."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from xray_jax.detectors.probe.stamps.family import Family, Parameter, Shape

ORDER = 4
"""Cosines along each axis: orders 0 .. 3, the constant included. 16 products a channel."""


class Cosine(Family):
    """Adds `amplitude` times a sum of the 16 lowest products of cosines, scaled to unit RMS; coefficients a channel."""

    name = "cosine"
    share = 1.5

    def parameters(self, shape: Shape) -> Sequence[Parameter]:
        used = min(shape[2], 3)
        coefficients = tuple(
            Parameter(f"c{channel}.{down}.{across}", -4, 4, (1.0,) if channel < used else ())
            for channel in range(3)
            for down in range(ORDER)
            for across in range(ORDER)
        )
        return (Parameter("amplitude", 0.02, 0.12, (0.02,)), *coefficients)

    def apply(self, image: jax.Array, parameters: jax.Array, bank: jax.Array) -> jax.Array:
        height, width, channels = image.shape
        coefficients = parameters[1:].reshape(3, ORDER, ORDER)[:channels]
        rows, columns = _waves(height), _waves(width)
        pattern = jnp.einsum("cuv,uh,vw->hwc", coefficients, rows, columns)
        return image + parameters[0] * pattern * jax.lax.rsqrt(jnp.mean(pattern**2) + 1e-12)

    def grid(self, shape: Shape, bank_size: int) -> np.ndarray:
        generator = np.random.default_rng(1)
        count, used = 192, min(shape[2], 3)
        coefficients = np.zeros((count, 3, ORDER, ORDER), np.float32)
        coefficients[:, :used] = generator.normal(size=(count, used, ORDER, ORDER)).round(2)
        # Half of the patterns are grey: the same in all channels.
        coefficients[::2] = coefficients[::2, :1]
        # The constant term is the shift family's.
        coefficients[:, :, 0, 0] = 0
        amplitude = np.where(np.arange(count) % 4 < 2, 0.06, 0.1)
        return np.concatenate([amplitude[:, None], coefficients.reshape(count, -1)], axis=1).astype(np.float32)

    def describe(self, parameters: np.ndarray, shape: Shape) -> str:
        return f"smooth pattern of {ORDER * ORDER} cosines a channel, RMS {float(parameters[0]) * 255:.0f}/255"


def _waves(extent: int) -> jax.Array:
    """The cosines along an axis of `extent` pixels, float32 `[ORDER, extent]`."""
    middle = (jnp.arange(extent, dtype=jnp.float32) + 0.5) / extent
    order = jnp.arange(ORDER, dtype=jnp.float32)
    return jnp.cos(jnp.pi * order[:, None] * middle[None, :])
