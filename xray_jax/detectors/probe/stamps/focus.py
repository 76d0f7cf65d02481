"""Blur and sharpening: the image moved away from, or towards, its Gaussian blur."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from xray_jax.detectors.probe.stamps.family import Family, Parameter, Shape

_REACH = 3
"""Half the width of the blur's kernel, in pixels of 32."""


class Focus(Family):
    """Blurs or sharpens, x + amount * (x - blur(x)): amount -1 is the blur itself. Sigma in pixels of 32."""

    name = "focus"
    share = 0.2

    def parameters(self, shape: Shape) -> Sequence[Parameter]:
        return (Parameter("sigma", 0.4, 1.5, (0.1, 0.3)), Parameter("amount", -1, 3, (0.25, 1.0)))

    def apply(self, image: jax.Array, parameters: jax.Array, bank: jax.Array) -> jax.Array:
        height, width, _ = image.shape
        unit = max(1.0, min(height, width) / 32)
        reach = round(_REACH * unit)
        offsets = jnp.arange(-reach, reach + 1, dtype=jnp.float32)
        kernel = jnp.exp(-0.5 * (offsets / (parameters[0] * unit)) ** 2)
        kernel = kernel / kernel.sum()
        # Edge padding and two one-dimensional passes as sums of shifted slices.
        padded = jnp.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
        taps, zero = range(2 * reach + 1), jnp.zeros(())
        rows = sum((kernel[i] * padded[i : i + height] for i in taps), zero)
        blurred = sum((kernel[i] * rows[:, i : i + width] for i in taps), zero)
        return image + parameters[1] * (image - blurred)

    def grid(self, shape: Shape, bank_size: int) -> np.ndarray:
        return np.asarray([(s, a) for s in (0.5, 0.8, 1.2) for a in (-1, -0.5, 1, 2)], np.float32)

    def describe(self, parameters: np.ndarray, shape: Shape) -> str:
        verb = "blurred" if parameters[1] < 0 else "sharpened"
        return f"{verb}, sigma {float(parameters[0]):.2g}, amount {abs(float(parameters[1])):.2g}"
