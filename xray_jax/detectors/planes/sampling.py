"""Which nodes of a plane are queried: all, those near borders, or a few."""

import math

import numpy as np

from xray_jax.detectors.planes.refine import Queries, Refined, refine
from xray_jax.detectors.planes.sketch import sketch

SAMPLINGS = ("grid", "refine", "sketch")


def queries(sampling: str, sample_nodes: np.ndarray, density: int, seed: int) -> Queries:
    """The queries of one kind of sampling on N planes; see `refine.run_refinement`.

    Args:
      sampling: "grid" (every node), "refine" or "sketch".
      sample_nodes: `[N, 3, 2]`, (row, column) of the node nearest to each sample.
      density: S, nodes per axis.
      seed: draws the sketch's points.
    """
    if sampling == "grid":
        return grid(len(sample_nodes), density)
    if sampling == "refine":
        return refine(sample_nodes, density)
    if sampling == "sketch":
        return sketch(sample_nodes, density, seed)
    raise ValueError(f"sampling must be one of {SAMPLINGS}, got {sampling!r}")


def grid(count: int, density: int) -> Queries:
    """Queries every node of `count` grids, once."""
    shape = (count, density, density)
    labels = yield np.arange(math.prod(shape))
    return Refined(np.asarray(labels).reshape(shape), np.ones(shape, bool))
