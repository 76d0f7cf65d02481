"""The reference of the gradient tests: central finite differences of a logit, in double precision."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xray_jax.classifier import Network

COORDINATES = 3
"""Numbers of the image that are moved: those with the largest derivatives."""


@contextmanager
def double_precision() -> Iterator[None]:
    """Arrays may be float64 inside."""
    before = bool(jax.config.read("jax_enable_x64"))
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


def check(network: Network, variables: Any, images: np.ndarray, step: float = 1e-6, tolerance: float = 1e-5) -> None:
    """Asserts that the derivative of a logit by the image is finite, not zero, and that of finite differences.

    Args:
      network: any differentiable network.
      variables: its weights, arrays of any floating type.
      images: `[1, H, W, C]`; no two values that a maximum compares may be nearer than `step`.
      step: by which one number of the image is moved, to both sides.
      tolerance: of the difference, relative to the derivative.
    """
    # Constants of the networks are float32: only here they meet float64.
    with double_precision(), jax.numpy_dtype_promotion("standard"):
        weights = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), variables)
        start = jnp.asarray(images, jnp.float64)

        # Compiled, as detectors use it.
        logit = jax.jit(lambda x: network.apply(weights, x)[0, 0])
        derivative = np.asarray(jax.jit(jax.grad(logit))(start))
        assert np.isfinite(derivative).all()
        for place in np.argsort(-np.abs(derivative), axis=None)[:COORDINATES]:
            index = np.unravel_index(place, derivative.shape)
            assert derivative[index] != 0
            moved = [float(logit(start.at[index].add(change))) for change in (step, -step)]
            np.testing.assert_allclose(derivative[index], (moved[0] - moved[1]) / (2 * step), rtol=tolerance)
