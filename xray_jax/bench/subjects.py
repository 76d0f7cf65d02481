"""Inputs of the benchmarks: networks with random weights, planes through random images."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xray_jax.classifier import Classifier
from xray_jax.detectors.planes import geometry
from xray_jax.models import registry

CLASSES = 10


@functools.lru_cache(maxsize=8)
def classifier(architecture: str, seed: int = 0) -> Classifier:
    """A network with random weights: time does not depend on them.

    Args:
      architecture: preset of the registry.
      seed: draws the weights.
    """
    network: Any = registry.build(architecture, CLASSES)
    shape = registry.lookup(architecture)[0].input_shape
    variables = jax.jit(network.init)(jax.random.key(seed), jnp.zeros((1, *shape)))
    return Classifier(network, jax.device_get(variables), CLASSES, shape, architecture)


def plane_grid(
    shape: tuple[int, int, int], count: int, density: int, seed: int = 0
) -> tuple[geometry.Planes, np.ndarray, np.ndarray, np.ndarray]:
    """Planes through images of noise, and the nodes of their grids.

    Args:
      shape: (height, width, channels) of the images.
      count: number of planes N.
      density: nodes along each side of a plane S.
      seed: draws the images.

    Returns:
      The planes; plane index `[Q]` and coordinates `[Q, 2]` of their Q = N S^2 nodes; the nodes of the three samples of
      each plane `[N, 3, 2]`.
    """
    images = np.random.default_rng(seed).uniform(size=(count, 3, *shape)).astype(np.float32)
    built = geometry.build_planes(jnp.asarray(images))
    axes = [np.asarray(axis) for axis in geometry.grid_axes(built.corners, density=density, expansion=5.0)]
    nodes = geometry.sample_nodes(np.asarray(built.corners), *axes)
    return built, *geometry.node_coordinates(*axes), nodes


def spread(count: int, nodes: int) -> np.ndarray:
    """Which `count` of so many nodes are queried: evenly over all of them, and around again where they are fewer."""
    return np.arange(count) * max(1, nodes // count) % nodes
