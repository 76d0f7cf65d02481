"""When the planes so far decide a verdict: thresholds, and confidence intervals of the scores over planes."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

RULES = ("either", "both", "re", "ats")
"""Which statistic at or under its threshold flags a model: either, both, or one alone."""
CONFIDENCE = 0.95

SKETCH_MARGIN = {"re": 0.01, "ats": 0.03}
"""Half-width added to a sketch's intervals: how far its mean may be off the grid's beside the noise between planes."""


@dataclass(frozen=True)
class StoppingRule:
    """When the planes queried so far settle a verdict.

    Attributes:
      re_threshold: bits; a mean RE at or under it is suspect.
      ats_threshold: a mean ATS at or under it is suspect.
      rule: one of `RULES`.
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
          re: RE of the planes so far, `[N]`.
          ats: ATS of the planes so far, `[N]`.
          look: how often these planes were looked at, this time counted.
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
