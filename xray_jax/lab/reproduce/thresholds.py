"""The paper's thresholds (Eq. 6): settled on one half of the models, judged on the other."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xray_jax.lab.reproduce.evidence import Model
from xray_jax.lab.reproduce.tables import attacks_of, markdown, of_attack, scores
from xray_jax.verdict.calibrate import best_f1


def threshold(clean: Sequence[float], backdoored: Mapping[str, Sequence[float]]) -> float:
    """The mean over attacks of the threshold with the highest F1 (paper Eq. 6); scores at or under it are flagged.

    Args:
      clean: scores of clean models, `[M]`, at least one.
      backdoored: attack -> scores of its models, each at least one.
    """
    found = []
    for own in backdoored.values():
        truth = np.array([False] * len(clean) + [True] * len(own))
        found.append(best_f1(np.array([*clean, *own]), truth))
    return float(np.mean(found))


def thresholds_table(models: Sequence[Model], paper: Mapping[str, Any]) -> str:
    """RE's and ATS's thresholds on these models and what they get right, beside the paper's for the same data set.

    Of the clean models, and of those of every attack, the first, third ... settle the threshold and the others judge.
    """
    clean = [model for model in models if model.clean]
    data_set = models[0].record["spec"]["dataset"]
    published = paper["equation6"]["data_sets"].get(data_set, {})
    rows = []
    for name in ("re", "ats"):
        usual = scores(clean, name)
        own = {attack: scores(of_attack(models, attack), name) for attack in attacks_of(models)}
        own = {attack: values for attack, values in own.items() if len(values) > 1}
        if len(usual) < 2 or not own:
            continue
        found = threshold(usual[::2], {attack: values[::2] for attack, values in own.items()})
        passed = [score > found for score in usual[1::2]]
        flagged = [score <= found for values in own.values() for score in values[1::2]]
        rows.append([
            name.upper(), f"{found:.3f}", f"{sum(passed)} of {len(passed)}", f"{sum(flagged)} of {len(flagged)}",
            f"{(np.mean(passed) + np.mean(flagged)) / 2:.1%}", f"{published[name]:.3f}" if published else "-",
            f"{published['accuracy']:.1%}" if published else "-",
        ])  # fmt: skip
    if not rows:
        return "Needs two clean models, and two of an attack.\n"
    header = ["score", "threshold", "clean right", "backdoored right", "mean of the two shares", "threshold, paper",
              "accuracy, paper"]  # fmt: skip
    return markdown(header, rows)
