"""One p-value from many statistics: how far a model stands out among clean reference models. Pure numpy.

The model joins its R references, and each of the R + 1 is scored against all others by one rule, so that a clean model
is as likely to have any rank as each of the references: the p-value (1 + references that stand out as much) / (R + 1)
is at most a with probability a or less (Vovk, Gammerman, Shafer: Algorithmic Learning in a Random World, 2005), if the
model was trained as they were.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

LEAST_REFERENCES = 4
"""What is usual among the references' own leads needs so many."""


class Conformal(NamedTuple):
    """How one model stands among its references.

    Attributes:
      p_value: in 1 / (R + 1) .. 1.
      fused: the model's fused score.
      standout: by statistic, how far the model's lead stands out, in standard deviations of the others' leads.
      leading: the statistic that stands out most.
      element: index of its element that does.
      references: R.
      others: by statistic, how far each reference stands out among the others and the model, `[R]`.
    """

    p_value: float
    fused: float
    standout: dict[str, float]
    leading: str
    element: tuple[int, ...]
    references: int
    others: dict[str, np.ndarray]

    def threshold(self, fpr: float) -> float | None:
        """What the model's fused score must exceed for a p-value of `fpr` or less; None where none can be had.

        Since the fused score is the largest, it is what any one statistic must exceed.
        """
        # How many references may stand out as much.
        most = math.floor(fpr * (self.references + 1) + 1e-9) - 1
        if most < 0:
            return None
        if most >= self.references:
            return -math.inf
        return float(np.sort(largest(np.stack(list(self.others.values()))))[::-1][most])


def leads(values: np.ndarray) -> np.ndarray:
    """By how much each model exceeds the largest of all others, element by element: `[n, E]`.

    Args:
      values: `[n, E]`, n models.
    """
    values = np.asarray(values, np.float64)
    second, first = np.sort(values, axis=0)[-2:]
    # Of the largest the largest other is the second; two that tie are both without a lead.
    others = np.where(np.arange(len(values))[:, None] == values.argmax(axis=0), second, first)
    return np.asarray(values - others)


def standouts(values: np.ndarray) -> np.ndarray:
    """How far each model's largest lead lies above those of all others, in their standard deviations: `[n]`.

    Args:
      values: `[n, E]`, n models, at least `LEAST_REFERENCES` + 1.
    """
    leading = leads(values).max(axis=1)
    found = np.empty(len(leading))
    for model in range(len(leading)):
        others = np.delete(leading, model)
        difference = leading[model] - others.mean()
        # Where the others are all alike, any difference is large, but finite.
        found[model] = difference / max(float(others.std(ddof=1)), 1e-6 * abs(difference), 1e-12)
    return found


def largest(standing: np.ndarray) -> np.ndarray:
    """The fused score `[n]` of statistics `[K, n]`: the largest. One strong witness is enough; backdoors differ."""
    return np.asarray(standing.max(axis=0))


def mean(standing: np.ndarray) -> np.ndarray:
    """The fused score `[n]` of statistics `[K, n]`: their mean. All witnesses count alike."""
    return np.asarray(standing.mean(axis=0))


def fisher(standing: np.ndarray) -> np.ndarray:
    """The fused score `[n]` of statistics `[K, n]`: Fisher's, minus the summed logarithms of their rank p-values."""
    as_extreme = (standing[:, None, :] >= standing[:, :, None]).mean(axis=2)
    return np.asarray(-np.log(as_extreme).sum(axis=0))


Fusion = Callable[[np.ndarray], np.ndarray]
FUSIONS: Mapping[str, Fusion] = {"largest": largest, "mean": mean, "fisher": fisher}
"""The first decides; the others are there to be compared with (docs/references.md)."""


def judge(model: Mapping[str, np.ndarray], references: Mapping[str, np.ndarray], fuse: Fusion = largest) -> Conformal:
    """The p-value of one model.

    Args:
      model: statistics by name, of any shape; high is suspect.
      references: the same of R reference models, `[R, *shape]`.
      fuse: one score `[n]` of each of n models from K statistics `[K, n]`, high is suspect.

    Raises:
      ValueError: no statistic, too few references, or shapes that differ.
    """
    if not model:
        raise ValueError("no statistic to judge by")
    joined = {}
    for name, own in model.items():
        theirs = references[name]
        if theirs.shape[1:] != own.shape or len(theirs) < LEAST_REFERENCES:
            raise ValueError(
                f"{name}: {own.shape} of the model against {theirs.shape} of the references; expected the same shape "
                f"of {LEAST_REFERENCES} references or more"
            )
        joined[name] = np.concatenate([own[None], theirs]).reshape(len(theirs) + 1, -1)
    standing = np.stack([standouts(values) for values in joined.values()])
    fused = fuse(standing)
    leading = list(joined)[int(standing[:, 0].argmax())]
    element = int(leads(joined[leading])[0].argmax())
    place = tuple(int(part) for part in np.unravel_index(element, model[leading].shape or (1,)))
    # Equal up to rounding counts against the model's guilt: ties must not depend on the machine.
    as_extreme = int((fused[1:] >= fused[0] - 1e-9 * max(1.0, abs(fused[0]))).sum())
    return Conformal(
        p_value=(1 + as_extreme) / len(fused),
        fused=float(fused[0]),
        standout={name: float(value) for name, value in zip(joined, standing[:, 0], strict=True)},
        leading=leading,
        element=place,
        references=len(fused) - 1,
        others=dict(zip(joined, standing[:, 1:], strict=True)),
    )
