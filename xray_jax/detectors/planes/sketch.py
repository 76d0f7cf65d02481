"""A rough label map from a few hundred low-discrepancy nodes of each plane: 1-2 % of the grid's queries.

The nodes queried are the first points of a scrambled Sobol sequence, rounded to the grid, and the samples' own;
every other node takes the label of the nearest of these. RE and the label distribution come out without bias worth
naming, ATS with some: `docs/benchmarks.md` states both errors against the full grid.
"""

import numpy as np
from scipy.spatial import cKDTree

from xray_jax.detectors.planes.refine import UNKNOWN, Queries, Refined

POINTS = 128
"""Points of a plane. A power of two keeps the sequence balanced."""


def sketch_nodes(count: int, density: int, seed: int, plane: int) -> np.ndarray:
    """Nodes of one plane to query: int64 `[count, 2]`, (row, column); `plane` is its number.

    Each plane has its own scrambling, drawn from the seed and the plane's number, so planes do not share their
    errors, and plane k is sketched alike however many planes there are.
    """
    generator = np.random.default_rng([seed, plane])
    from scipy.stats import qmc  # Half a second that nobody else needs.

    points = qmc.Sobol(2, seed=generator).random(count)
    # Every node stands for an equal part of the unit square.
    return np.minimum((points * density).astype(np.int64), density - 1)


def sketch(sample_nodes: np.ndarray, density: int, seed: int, points: int = POINTS) -> Queries:
    """Asks once, for all planes, and fills the maps by the nearest node queried.

    Args:
      sample_nodes: `[N, 3, 2]`, (row, column) of the node nearest to each sample.
      density: S, grid nodes per axis. seed: of the points.
      points: of each plane, beside the samples' nodes; a power of two.
    """
    if points < 1 or points & (points - 1):
        raise ValueError(f"points must be a power of two, got {points}")
    count = len(sample_nodes)
    queried = np.zeros((count, density, density), bool)
    for plane, samples in enumerate(sample_nodes):
        chosen = np.concatenate([sketch_nodes(points, density, seed, plane), samples])
        queried[plane, chosen[:, 0], chosen[:, 1]] = True
    labels = np.full(queried.shape, UNKNOWN, np.int32)
    labels[queried] = yield np.flatnonzero(queried)
    everywhere = np.indices((density, density)).reshape(2, -1).T
    for plane_labels, plane_asked in zip(labels, queried, strict=True):
        known = np.argwhere(plane_asked)
        _, nearest = cKDTree(known).query(everywhere)
        plane_labels[:] = plane_labels[plane_asked][nearest].reshape(density, density)
    return Refined(labels, queried)
