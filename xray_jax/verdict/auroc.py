"""How well a score tells backdoored models from clean ones, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MIN_MODELS = 3
"""Of either kind, for an interval to be printed."""


@dataclass(frozen=True)
class Auroc:
    """Area under the ROC curve with its 95 % bootstrap interval over models.

    Attributes:
      value: share of (backdoored, clean) pairs in which the backdoored model scores lower, ties count half.
      low: 2.5th percentile over resampled models.
      high: 97.5th percentile.
      backdoored: how many backdoored models.
      clean: how many clean ones.
    """

    value: float
    low: float
    high: float
    backdoored: int
    clean: int

    @property
    def few(self) -> bool:
        """Too few models of one kind for the interval to say anything."""
        return min(self.backdoored, self.clean) < MIN_MODELS

    def __str__(self) -> str:
        if self.few:
            return f"{self.value:.3f} ({self.backdoored} against {self.clean} models)"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def auroc(backdoored: Sequence[float], clean: Sequence[float], *, resamples: int = 2000, seed: int = 0) -> Auroc | None:
    """AUROC of a score that is low for backdoored models; None when there is no model of one kind.

    Backdoored and clean models are resampled apart. With few models, or a perfect separation, the interval is too
    narrow: it knows only the models that were drawn.
    """
    if not len(backdoored) or not len(clean):
        return None
    low, high = np.asarray(backdoored, float)[:, None], np.asarray(clean, float)[None]
    wins = (low < high) + 0.5 * (low == high)
    generator = np.random.default_rng(seed)
    rows = generator.integers(0, wins.shape[0], (resamples, wins.shape[0]))
    columns = generator.integers(0, wins.shape[1], (resamples, wins.shape[1]))
    # By how often each model was drawn: the wins of all pairs of all draws would take memory by the models' product.
    weighted = ((_counts(rows) @ wins) * _counts(columns)).sum(axis=1)
    drawn = weighted / wins.size
    bounds = np.percentile(drawn, [2.5, 97.5])
    return Auroc(float(wins.mean()), float(bounds[0]), float(bounds[1]), *wins.shape)


def _counts(drawn: np.ndarray) -> np.ndarray:
    """How often each of n numbers occurs in each line: `[resamples, n]` numbers under n -> `[resamples, n]` counts."""
    resamples, n = drawn.shape
    places = drawn + n * np.arange(resamples)[:, None]
    return np.bincount(places.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(float)


def roc(backdoored: Sequence[float], clean: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """False- and true-positive rates as the threshold rises over all scores; a model is flagged at or under it."""
    thresholds = np.unique(np.concatenate([backdoored, clean]))
    flagged = [
        np.concatenate([[0.0], (np.asarray(s)[None] <= thresholds[:, None]).mean(1)]) for s in (clean, backdoored)
    ]
    return flagged[0], flagged[1]
