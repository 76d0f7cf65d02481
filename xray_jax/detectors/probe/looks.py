"""Confirmation in looks: hypotheses that cannot be confirmed any more are given up before all images are asked."""

from collections.abc import Callable

import numpy as np

from xray_jax.detectors.probe import score
from xray_jax.detectors.probe.confirm import FINALISTS, Hypothesis, Observation, hypotheses, observe
from xray_jax.detectors.probe.result import Finding
from xray_jax.detectors.probe.search import SearchState
from xray_jax.samples import Samples

LOOKS = (20, 60)
"""Unseen images after which hypotheses are given up; those that are left are tested on all."""
FUTILE = 0.999
"""A hypothesis is given up where the upper end of its flip rate's interval of this confidence is under the threshold.
That can only lose a trigger, never make one: what is confirmed was tested on every image."""
LEADERS = 3
"""Hypotheses that are tested to the end whatever the looks say: how near the best came is a statistic of the model."""

FindingOf = Callable[[Observation], Finding]
"""The finding of an observation, as the search's state is now."""
ThresholdOf = Callable[[Finding], float]
"""What the lower end of a finding's flip rate must reach."""


class Looks:
    """Hypotheses about one model and what was observed so far; an image is asked once for each.

    Attributes:
      observed: hypothesis without its excess -> its observation.
    """

    def __init__(self, used: Samples, searched: int, num_classes: int) -> None:
        """Prepares for the unseen images of one model.

        Args:
          used: search images first, `searched` of them, then those to confirm on.
          searched: number of search images.
          num_classes: of the model.
        """
        self.observed: dict[tuple[str, int, tuple[int, ...]], Observation] = {}
        self._truth = used.labels[:searched]
        self._unseen = np.arange(searched, len(used))
        self._classes = num_classes

    def confirm(
        self, state: SearchState, finding_of: FindingOf, threshold_of: ThresholdOf, most: int = FINALISTS
    ) -> list[Observation]:
        """Tests the hypotheses that the search suggests by now.

        Args:
          state: the search so far.
          finding_of, threshold_of: decide who is given up after a look.
          most: hypotheses that are tested, those of the largest excess.
        """
        made = hypotheses(state, self._truth, self._classes)[:most]
        running = made
        for end in (*(look for look in LOOKS if look < len(self._unseen)), len(self._unseen)):
            self._ask(state, running, end)
            found = [finding_of(self.observed[_key(each)]) for each in running]
            thresholds = [threshold_of(each) for each in found]
            leaders = np.argsort([t - each.lower for each, t in zip(found, thresholds, strict=True)], kind="stable")
            running = [
                each
                for n, each in enumerate(running)
                if n in leaders[:LEADERS] or score.interval(found[n].hits, found[n].trials, FUTILE)[1] >= thresholds[n]
            ]
        return [self.observed[_key(each)] for each in made]

    def _ask(self, state: SearchState, running: list[Hypothesis], end: int) -> None:
        """Brings each of `running` to `end` images."""
        missing = []
        for each in running:
            before = self.observed.get(_key(each))
            start = 0 if before is None else len(before.images)
            if start < end:
                missing.append((each, self._unseen[start:end]))
        for new in observe(state, missing, state.query):
            before = self.observed.get(_key(new.hypothesis))
            if before is not None:
                new = Observation(
                    new.hypothesis,
                    np.concatenate([before.images, new.images]),
                    np.concatenate([before.labels, new.labels]),
                )
            self.observed[_key(new.hypothesis)] = new


def _key(hypothesis: Hypothesis) -> tuple[str, int, tuple[int, ...]]:
    return hypothesis.kind, hypothesis.stamp, hypothesis.target_labels
