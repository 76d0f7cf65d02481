"""The paper's thresholds (Eq. 6): settled on one half of the models, judged on the other."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from xray_jax.lab.reproduce.evidence import Model
from xray_jax.lab.reproduce.tables import attacks_of, markdown, of_attack, scores
from xray_jax.verdict.calibrate import mean_best_f1


class Settled(NamedTuple):
    """A threshold and what it gets right of the models that did not settle it.

    Attributes:
      threshold: scores at or under it are flagged.
      passed: for each clean model whether it is not flagged.
      flagged: for each backdoored model whether it is.
    """

    threshold: float
    passed: Sequence[bool]
    flagged: Sequence[bool]

    @property
    def accuracy(self) -> float:
        """Mean of the two shares that are right."""
        return float(np.mean(self.passed) + np.mean(self.flagged)) / 2


def settle(models: Sequence[Model]) -> dict[str, Settled]:
    """The thresholds of "re" and "ats"; none of a score with fewer than two clean models, or no attack with two.

    Of the clean models, and of those of every attack, the first, third ... settle the threshold and the others judge.
    """
    clean = [model for model in models if model.clean]
    found = {}
    for name in ("re", "ats"):
        usual = scores(clean, name)
        own = {attack: scores(of_attack(models, attack), name) for attack in attacks_of(models)}
        own = {attack: values for attack, values in own.items() if len(values) > 1}
        if len(usual) < 2 or not own:
            continue
        cut = mean_best_f1(usual[::2], {attack: values[::2] for attack, values in own.items()})
        flagged = [score <= cut for values in own.values() for score in values[1::2]]
        found[name] = Settled(cut, [score > cut for score in usual[1::2]], flagged)
    return found


def thresholds_table(models: Sequence[Model], paper: Mapping[str, Any]) -> str:
    """RE's and ATS's thresholds on these models and what they get right, beside the paper's for the same data set."""
    published = paper["equation6"]["data_sets"].get(models[0].record["spec"]["dataset"], {})
    rows = [
        [
            name.upper(), f"{found.threshold:.3f}", f"{sum(found.passed)} of {len(found.passed)}",
            f"{sum(found.flagged)} of {len(found.flagged)}", f"{found.accuracy:.1%}",
            f"{published[name]:.3f}" if published else "-", f"{published['accuracy']:.1%}" if published else "-",
        ]
        for name, found in settle(models).items()
    ]  # fmt: skip
    if not rows:
        return "Needs two clean models, and two of an attack.\n"
    header = ["score", "threshold", "clean right", "backdoored right", "mean of the two shares", "threshold, paper",
              "accuracy, paper"]  # fmt: skip
    return markdown(header, rows)
