"""Planes through triplets of images: basis, grid coordinates, points (Model X-ray section 3.1; dbViz, CVPR 2022).

A plane passes through three samples x1, x2, x3 in the model's normalised input space. With a = (x2 - x1) / |x2 - x1|
as first axis and the Gram-Schmidt remainder of b = x3 - x1 as second, the samples have the coordinates
(0, 0), (|x2 - x1|, 0) and (<b, e1>, <b, e2>). Points are never clamped to the valid pixel range.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

DEGENERATE = 1e-4
"""A triplet is degenerate when its second axis is shorter than this share of its longest side."""


class Planes(NamedTuple):
    """N planes, a pytree that lives on the device.

    Attributes:
      origin: `[N, *image]`, the first sample of each triplet.
      axis1, axis2: `[N, *image]`, orthonormal directions e1 and e2.
      corners: `[N, 3, 2]`, coordinates of the three samples along (e1, e2).
    """

    origin: jax.Array
    axis1: jax.Array
    axis2: jax.Array
    corners: jax.Array


def _plane(triplet: jax.Array) -> Planes:
    origin, second, third = triplet
    a = second - origin
    b = third - origin
    length = jnp.linalg.norm(a.ravel())
    e1 = a / length
    along = jnp.vdot(b, e1)
    rest = b - along * e1
    # A second Gram-Schmidt pass: in float32 one pass leaves e2 visibly skew when b is nearly parallel to a.
    rest = rest - jnp.vdot(rest, e1) * e1
    height = jnp.linalg.norm(rest.ravel())
    zero = jnp.zeros_like(length)
    corners = jnp.stack([jnp.stack([zero, zero]), jnp.stack([length, zero]), jnp.stack([along, height])])
    return Planes(origin, e1, rest / height, corners)


@jax.jit
def build_planes(triplets: jax.Array) -> Planes:
    """All planes at once: float32 `[N, 3, *image]`, in the normalised input space, to `Planes` of N.

    A degenerate triplet (see `degenerate`) gives non-finite axes; callers check first.
    """
    return jax.vmap(_plane)(triplets)


def degenerate(triplets: np.ndarray) -> np.ndarray:
    """Which of `[N, 3, *image]` span no plane: identical, collinear or non-finite samples. Bool `[N]`.

    A collinear triplet would give 0/0, a constant label and RE = 0: a silent false alarm.
    """
    # One by one: double precision of all of them is many times what they take.
    return np.array([_spans_no_plane(np.asarray(triplet, np.float64).reshape(3, -1)) for triplet in triplets], bool)


def _spans_no_plane(samples: np.ndarray) -> bool:
    a, b = samples[1] - samples[0], samples[2] - samples[0]
    with np.errstate(all="ignore"):
        length = np.linalg.norm(a)
        e1 = a / length
        rest = b - (b @ e1) * e1
        longest = max(length, np.linalg.norm(b))
        # Negated, so that NaN counts as degenerate.
        return bool(not np.linalg.norm(rest) > DEGENERATE * longest or not length > DEGENERATE * longest)


@partial(jax.jit, static_argnames="density")
def grid_axes(corners: jax.Array, *, density: int, expansion: float) -> tuple[jax.Array, jax.Array]:
    """Grid coordinates along e1 and e2, each `[N, density]`.

    Per axis an inclusive linspace over the samples' extent, widened on each side by `expansion` times that extent:
    11 extents in all for expansion 5. At density 100 the samples' bounding box falls exactly on nodes 45 and 54.

    Args:
      corners: `[N, 3, 2]`. density: nodes per axis, S. expansion: eta >= 0.
    """

    def axes(corner: jax.Array) -> jax.Array:
        low, high = corner.min(0), corner.max(0)
        extent = (high - low) * expansion
        return jnp.linspace(low - extent, high + extent, density, axis=1)

    both = jax.vmap(axes)(corners)
    return both[:, 0], both[:, 1]


def sample_nodes(corners: np.ndarray, axis1: np.ndarray, axis2: np.ndarray) -> np.ndarray:
    """The grid node nearest to each sample: int32 `[N, 3, 2]` of (row along e1, column along e2)."""
    corners = np.asarray(corners)
    nodes = [
        np.abs(np.asarray(axis)[:, None, :] - corners[:, :, k, None]).argmin(-1)
        for k, axis in enumerate((axis1, axis2))
    ]
    return np.stack(nodes, axis=-1).astype(np.int32)


def node_coordinates(axis1: np.ndarray, axis2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every node of every grid, flattened in C order: plane index int32 `[N*S*S]`, coordinates float32 `[N*S*S, 2]`.

    Row <-> e1 and column <-> e2, as `meshgrid(indexing="ij")` has it.
    """
    count, density = axis1.shape
    coordinates = np.empty((count, density, density, 2), np.float32)
    coordinates[..., 0] = np.asarray(axis1)[:, :, None]
    coordinates[..., 1] = np.asarray(axis2)[:, None, :]
    index = np.repeat(np.arange(count, dtype=np.int32), density * density)
    return index, coordinates.reshape(-1, 2)


def points(planes: Planes, plane_index: jax.Array, coordinates: jax.Array) -> jax.Array:
    """Images at coordinates of planes: `[Q, *image]` from `plane_index[Q]` and `coordinates[Q, 2]`."""
    ones = (1,) * (planes.origin.ndim - 1)
    along1 = coordinates[:, 0].reshape(-1, *ones)
    along2 = coordinates[:, 1].reshape(-1, *ones)
    return planes.origin[plane_index] + along1 * planes.axis1[plane_index] + along2 * planes.axis2[plane_index]
