"""From what a search found to the verdict: confirmation, cross-examination and judgement of one model."""

from dataclasses import dataclass, field

import numpy as np

from xray_jax.detectors.probe import confirm, cross_examination
from xray_jax.detectors.probe.confirm import FINALISTS, Observation
from xray_jax.detectors.probe.looks import Looks
from xray_jax.detectors.probe.null import Null
from xray_jax.detectors.probe.race import promising, race
from xray_jax.detectors.probe.result import Finding, Verdict, judge
from xray_jax.detectors.probe.search import SearchState, search
from xray_jax.samples import Samples

MAX_CROSS_EXAMINATIONS = 3
"""Findings that are cross-examined before a conclusion, one after the other, as long as one would be confirmed."""
EARLY_FINALISTS = 4
"""Hypotheses that are tested while the race is on."""
SUSPICIOUS = -0.25
"""A race whose best finding comes this near to its threshold is followed by a full search: about one clean model in
seven, and most backdoored ones that a race alone misses."""

Judged = tuple[Verdict, str, Finding | None]
"""Verdict, its reason, and the finding that it rests on."""


@dataclass
class Case:
    """One model's case: what the search knows, and who was cross-examined.

    Attributes:
      state: of the search; cross-examination adds to it.
      used: search images first, `searched` of them, then those to confirm on.
      searched: number of search images.
      predicted: integers `[len(used)]`, labels of the clean images.
      null: what clean models do.
      accuracy: the model's, on clean images.
      seed: of the cross-examination.
      examined: stamp and target label of each finding that was cross-examined.
    """

    state: SearchState
    used: Samples
    searched: int
    predicted: np.ndarray
    null: Null
    accuracy: float
    seed: int
    examined: set[tuple[int, int | None]] = field(default_factory=set)

    def finding(self, observation: Observation) -> Finding:
        """The finding of an observation, against all stamps that are known by now."""
        return confirm.finding(self.state, observation, self.used, self.predicted, self.state.classes)

    def conclude(self, observations: list[Observation]) -> tuple[tuple[Finding, ...], Judged]:
        """Findings and the verdict; what would be confirmed is cross-examined first, `MAX_CROSS_EXAMINATIONS` at most.

        Args:
          observations: of the hypotheses that were tested.
        """
        before = len(self.examined)
        while True:
            findings = tuple(self.finding(seen) for seen in observations)
            keys = [(seen.hypothesis.stamp, f.target) for seen, f in zip(observations, findings, strict=True)]
            spent = len(self.examined) - before >= MAX_CROSS_EXAMINATIONS
            heard = [
                f
                for f, key in zip(findings, keys, strict=True)
                if key in self.examined or not (spent and f.is_confirmed(self.null))
            ]
            judged = verdict, _, best = judge(heard, self.null, self.state.classes, self.accuracy)
            leader = next((key for f, key in zip(findings, keys, strict=True) if f is best), None)
            if verdict is not Verdict.CONFIRMED or leader is None or leader[1] is None or leader in self.examined:
                return findings, judged
            self.examined.add(leader)
            cross_examination.cross_examine(
                self.state, leader[0], leader[1], self.used.images.shape[1:], self.state.classes, self.seed
            )


def search_in_full(case: Case, budget: int) -> tuple[tuple[Finding, ...], Judged]:
    """Findings and the verdict of a full search.

    Args:
      case: nothing is known yet.
      budget: about how many queries.
    """
    state, used = case.state, case.used
    search(state, used.images.shape[1:], case.searched, budget, case.seed)
    return case.conclude(confirm.confirm(state, used, case.searched, state.classes, state.query))


def is_suspicious(best: Finding | None, null: Null) -> bool:
    """Whether a race that confirmed nothing came near enough to a trigger for a full search."""
    return best is not None and best.lower - best.threshold(null) >= SUSPICIOUS


def race_for_trigger(case: Case, budget: int) -> tuple[tuple[Finding, ...], Judged]:
    """Findings and the verdict of a race, which ends at the first confirmed trigger.

    Args:
      case: nothing is known yet.
      budget: of a full search.
    """
    looks = Looks(case.used, case.searched, case.state.classes)

    def conclude(most: int = FINALISTS) -> tuple[tuple[Finding, ...], Judged]:
        return case.conclude(looks.confirm(case.state, case.finding, lambda found: found.threshold(case.null), most))

    for _ in race(case.state, case.used.images.shape[1:], case.searched, budget, case.seed):
        if promising(case.state):
            told = conclude(EARLY_FINALISTS)
            if told[1][0] is Verdict.CONFIRMED:
                return told
    return conclude()
