"""What a detector is, and what it finds: the one road for planes, probe, and those of other packages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from xray_jax.classifier import Access
from xray_jax.detectors.hints import Hint
from xray_jax.prepare import PreparedModel
from xray_jax.samples import Samples


@dataclass(frozen=True)
class Statistic:
    """One number that tells backdoored models from clean ones.

    Attributes:
      name: unique within its detector.
      value: the number; None where the detector could not compute it.
      suspect: which side is suspect, "low" or "high".
    """

    name: str
    value: float | None
    suspect: str

    def __post_init__(self) -> None:
        if self.suspect not in ("low", "high"):
            raise ValueError(f"statistic {self.name}: suspect must be low or high, got {self.suspect!r}")


@dataclass(frozen=True)
class Detection:
    """What one detector found on one model.

    Attributes:
      detector: its name.
      statistics: what a verdict can be drawn from.
      target: the label that a backdoor would send images to; None where the detector names none.
      queries: hard labels (or forward passes) asked for.
      seconds: by phase.
      details: JSON values for the detector's block of the row.
      evidence: whatever pictures are drawn from; never in the row.
      paired: numbers that mean something only beside those of reference models, element by element, because each class
        or stamp has its own level: float arrays by name, of the same shape for all models of a task, high is suspect.
      hints: candidate triggers, for detectors that can test them.
    """

    detector: str
    statistics: tuple[Statistic, ...]
    target: int | None
    queries: int
    seconds: Mapping[str, float]
    details: Mapping[str, Any]
    evidence: Any = None
    paired: Mapping[str, np.ndarray] = field(default_factory=dict)
    hints: tuple[Hint, ...] = ()

    def __repr__(self) -> str:
        """Its statistics and its target, and no evidence."""
        found = [f"{each.name} {'None' if each.value is None else f'{each.value:.4g}'}" for each in self.statistics]
        target = "" if self.target is None else f", target {self.target}"
        return f"<Detection {self.detector}: {', '.join(found)}{target}, {self.queries:,} queries>"


@runtime_checkable
class Detector(Protocol):
    """Something that looks for a backdoor in one model after the other.

    An object holds its options, and may keep what all models share (planes, stamps). It must be usable from several
    threads at once.
    """

    @property
    def name(self) -> str:
        """What `--detectors` and rows call it."""
        ...

    @property
    def access(self) -> Access:
        """What it needs of a model; others are left out, which the row says."""
        ...

    def settings(self) -> Mapping[str, Any]:
        """Everything that can change what it finds, as JSON values: part of the row's settings."""
        ...

    def check(self, samples: Samples) -> None:
        """Refuses samples that it cannot work with, before any model is opened.

        Raises:
          SamplesError: what is wrong with them.
        """
        ...

    def detect(self, model: PreparedModel, samples: Samples) -> Detection:
        """What it finds on one model.

        Raises:
          ValueError: it cannot be run on this model or with these samples; the row becomes an error row.
        """
        ...


@runtime_checkable
class TakesHints(Protocol):
    """A detector that can make use of what others found: it runs after them."""

    def detect_hinted(self, model: PreparedModel, samples: Samples, hints: Sequence[Hint]) -> Detection:
        """What it finds on one model; without hints the same as `detect`."""
        ...
