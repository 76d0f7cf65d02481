"""Which nodes of a plane are queried, and how many planes until a verdict is decided."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from xray_jax.detectors.planes.refine import Queries, Refined, refine
from xray_jax.detectors.planes.sketch import sketch
from xray_jax.detectors.planes.stopping import StoppingRule

SAMPLINGS = ("grid", "refine", "sketch", "cascade")


def queries(sampling: str, sample_nodes: np.ndarray, density: int, seed: int, first_plane: int = 0) -> Queries:
    """The queries of one kind of sampling on N planes; see `refine.run_refinement`.

    Args:
      sampling: "grid" (every node), "refine" or "sketch".
      sample_nodes: `[N, 3, 2]`, (row, column) of the node nearest to each sample.
      density: S, nodes per axis.
      seed: draws the sketch's points.
      first_plane: number of the first of these planes, for the sketch's points.
    """
    if sampling == "grid":
        return grid(len(sample_nodes), density)
    if sampling == "refine":
        return refine(sample_nodes, density)
    if sampling == "sketch":
        return sketch(sample_nodes, density, seed, first_plane)
    raise ValueError(f"sampling must be grid, refine or sketch here, got {sampling!r}")


def grid(count: int, density: int) -> Queries:
    """Queries every node of `count` grids, once."""
    shape = (count, density, density)
    labels = yield np.arange(math.prod(shape))
    return Refined(np.asarray(labels).reshape(shape), np.ones(shape, bool))


@dataclass(frozen=True)
class Batch:
    """Planes queried together.

    Attributes:
      maps: their label maps, opaque here.
      counts: int64 `[N, C]`, nodes per label.
      re: float64 `[N]`, bits.
      ats: float64 `[N]`.
      queries: hard labels spent.
    """

    maps: Any
    counts: np.ndarray
    re: np.ndarray
    ats: np.ndarray
    queries: int


@dataclass(frozen=True)
class SampledPlanes:
    """All planes of one model.

    Attributes:
      batches: what the scores rest on.
      queries: all spent, those of an overruled sketch too.
      sampling: "grid", "refine" or "sketch", of `batches`.
      stopped: "planes" (as many as ordered), "settled" (the verdict could hardly change) or "budget".
    """

    batches: tuple[Batch, ...]
    queries: int
    sampling: str
    stopped: str


def check(sampling: str, max_queries: int | None, rule: StoppingRule | None) -> None:
    """Raises `ValueError` when there is nothing to stop at."""
    if rule is None and (sampling == "cascade" or max_queries is not None):
        raise ValueError("--planes=auto and --sampling=cascade stop at thresholds: give a --calibration")


def sample_until_decided(
    query: Callable[[str, int], Batch], sampling: str, rule: StoppingRule | None, max_queries: int | None = None
) -> SampledPlanes:
    """Queries batch after batch of planes until a verdict is decided.

    Args:
      query: (sampling, number of the batch) to its answers.
      sampling: one of `SAMPLINGS`; "cascade" sketches, and refines the same planes unless the sketch settles it.
      rule: needed by "cascade" and by `max_queries`.
      max_queries: None queries one batch. Otherwise batches follow until `rule` is settled or the next one would
        spend more than this; the first is always queried.

    Raises:
      ValueError: a rule is needed and missing.
    """
    check(sampling, max_queries, rule)
    if sampling == "cascade":
        assert rule is not None
        rough = query("sketch", 0)
        if rule.settled(rough.re, rough.ats, sketched=True):
            return SampledPlanes((rough,), rough.queries, "sketch", "settled")
        fine = query("refine", 0)
        return SampledPlanes((fine,), rough.queries + fine.queries, "refine", "planes")
    batches: list[Batch] = []
    while True:
        batches.append(query(sampling, len(batches)))
        spent = sum(batch.queries for batch in batches)
        if rule is None or max_queries is None:
            return SampledPlanes(tuple(batches), spent, sampling, "planes")
        re, ats = (np.concatenate([getattr(batch, name) for batch in batches]) for name in ("re", "ats"))
        if rule.settled(re, ats, look=len(batches), sketched=sampling == "sketch"):
            return SampledPlanes(tuple(batches), spent, sampling, "settled")
        if spent + batches[-1].queries > max_queries:
            return SampledPlanes(tuple(batches), spent, sampling, "budget")
