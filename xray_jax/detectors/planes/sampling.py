"""How many nodes, and how many planes: which questions a plane gets, and when the answers are enough."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from xray_jax.detectors.planes.refine import Queries, Refined, refine
from xray_jax.detectors.planes.sketch import sketch

SAMPLINGS = ("grid", "refine", "sketch", "cascade")
RULES = ("either", "both", "re", "ats")
CONFIDENCE = 0.95

SKETCH_MARGIN = {"re": 0.01, "ats": 0.03}
"""Half-width added to a sketch's intervals: how far its mean may be off the grid's beside the noise between planes."""


def questions(sampling: str, sample_nodes: np.ndarray, density: int, seed: int, first_plane: int = 0) -> Queries:
    """The questions that one kind of sampling asks of N planes; see `refine.run_refinement`.

    Args:
      sampling: "grid" (every node), "refine" or "sketch".
      sample_nodes: `[N, 3, 2]`. density: S. seed, first_plane: for the sketch's points.
    """
    if sampling == "grid":
        return grid(len(sample_nodes), density)
    if sampling == "refine":
        return refine(sample_nodes, density)
    if sampling == "sketch":
        return sketch(sample_nodes, density, seed, first_plane)
    raise ValueError(f"sampling must be grid, refine or sketch here, got {sampling!r}")


def grid(count: int, density: int) -> Queries:
    """Asks for every node of `count` grids, once."""
    shape = (count, density, density)
    labels = yield np.arange(math.prod(shape))
    return Refined(np.asarray(labels).reshape(shape), np.ones(shape, bool))


@dataclass(frozen=True)
class StoppingRule:
    """When the planes asked so far settle a verdict.

    Attributes:
      re_threshold, ats_threshold: a mean at or under it is suspect.
      rule: "either", "both", "re" or "ats": which of the two flag a model.
      confidence: chance, over the draw of the planes, that none of a score's intervals for one model misses its mean;
        all looks at a growing set of planes share it.
    """

    re_threshold: float
    ats_threshold: float
    rule: str = "either"
    confidence: float = CONFIDENCE

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"rule must be one of {RULES}, got {self.rule!r}")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence must be between 0 and 1, got {self.confidence}")

    def settled(self, re: np.ndarray, ats: np.ndarray, look: int = 1, sketched: bool = False) -> bool:
        """Whether more planes could hardly change the verdict.

        Args:
          re, ats: scores of the planes so far, `[N]`. look: how often these planes were looked at, this time counted.
          sketched: the scores are a sketch's.
        """
        # 1/2 + 1/6 + 1/12 + ... = 1: however often we look, the misses add up to 1 - confidence at most.
        miss = (1 - self.confidence) / (look * (look + 1))
        sides = {}
        for name, scores, threshold in (("re", re, self.re_threshold), ("ats", ats, self.ats_threshold)):
            low, high = interval(scores, 1 - miss)
            margin = SKETCH_MARGIN[name] if sketched else 0.0
            sides[name] = "flagged" if high + margin <= threshold else "clear" if low - margin > threshold else "open"
        if self.rule in sides:
            return sides[self.rule] != "open"
        one_settles, all_needed = ("flagged", "clear") if self.rule == "either" else ("clear", "flagged")
        return one_settles in sides.values() or set(sides.values()) == {all_needed}


def interval(scores: np.ndarray, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Student's confidence interval of the mean over planes: `[N]` to (low, high). One plane says nothing.

    >>> low, high = interval(np.array([1.0, 2.0, 3.0]), 0.95)
    >>> round(low, 3), round(high, 3)
    (-0.484, 4.484)
    """
    count = len(scores)
    if count < 2:
        return -math.inf, math.inf
    half = stats.t.ppf((1 + confidence) / 2, count - 1) * np.std(scores, ddof=1) / math.sqrt(count)
    return float(np.mean(scores) - half), float(np.mean(scores) + half)


@dataclass(frozen=True)
class Batch:
    """Planes asked together: their maps (opaque here), label counts `[N, C]`, scores `[N]` and queries spent."""

    maps: Any
    counts: np.ndarray
    re: np.ndarray
    ats: np.ndarray
    queries: int


@dataclass(frozen=True)
class SampledPlanes:
    """All that was asked of one model.

    Attributes:
      batches: what the scores rest on. queries: all spent, those of an overruled sketch too.
      sampling: "grid", "refine" or "sketch", of `batches`.
      stopped: "planes" (as many as ordered), "settled" (the verdict could hardly change) or "budget".
    """

    batches: tuple[Batch, ...]
    queries: int
    sampling: str
    stopped: str


def check(sampling: str, max_queries: int | None, goal: StoppingRule | None) -> None:
    """Raises `ValueError` when there is nothing to stop at."""
    if goal is None and (sampling == "cascade" or max_queries is not None):
        raise ValueError("--planes=auto and --sampling=cascade stop at thresholds: give a --calibration")


def sample_until_decided(
    ask: Callable[[str, int], Batch], sampling: str, goal: StoppingRule | None, max_queries: int | None = None
) -> SampledPlanes:
    """Asks batch after batch until there is enough.

    Args:
      ask: (sampling, number of the batch) to its answers.
      sampling: one of `SAMPLINGS`; "cascade" sketches, and refines the same planes unless the sketch settles it.
      goal: needed by "cascade" and by `max_queries`.
      max_queries: None asks for one batch. Otherwise batches follow until `goal` is settled or the next one would
        spend more than this; the first is always asked.

    Raises:
      ValueError: a goal is needed and missing.
    """
    check(sampling, max_queries, goal)
    if sampling == "cascade":
        assert goal is not None
        rough = ask("sketch", 0)
        if goal.settled(rough.re, rough.ats, sketched=True):
            return SampledPlanes((rough,), rough.queries, "sketch", "settled")
        fine = ask("refine", 0)
        return SampledPlanes((fine,), rough.queries + fine.queries, "refine", "planes")
    batches: list[Batch] = []
    while True:
        batches.append(ask(sampling, len(batches)))
        spent = sum(batch.queries for batch in batches)
        if goal is None or max_queries is None:
            return SampledPlanes(tuple(batches), spent, sampling, "planes")
        re, ats = (np.concatenate([getattr(batch, name) for batch in batches]) for name in ("re", "ats"))
        if goal.settled(re, ats, look=len(batches), sketched=sampling == "sketch"):
            return SampledPlanes(tuple(batches), spent, sampling, "settled")
        if spent + batches[-1].queries > max_queries:
            return SampledPlanes(tuple(batches), spent, sampling, "budget")
