"""What clean models do under stamps: the ceiling that a proof must clear, by family and by cost. Pure numpy."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

EDGES = (0.02, 0.04, 0.06, 0.08, 0.1, 0.13, 0.17, 0.22)
"""Upper ends of the cost levels (RMS change of a pixel value, on the 0-1 scale); one more level lies above the last."""
LEVELS = len(EDGES) + 1

Profile = Mapping[str, list[float | None]]
"""Family -> best confirmed flip rate at each cost level, None where no stamp was confirmed."""


def level(rms: np.ndarray | float) -> np.ndarray:
    """Cost level of each RMS change: integers 0 .. LEVELS - 1."""
    return np.searchsorted(np.asarray(EDGES, np.float32), np.asarray(rms, np.float32))


@dataclass(frozen=True)
class Null:
    """The best flip rates that the same search found on clean models.

    Attributes:
      ceilings: family -> the highest confirmed flip rate among the clean models at each cost level and those below it.
        A family that is missing counts as 1 throughout: nothing of it can prove anything.
      models: how many clean models it was taken from. source: for rows and people.
    """

    ceilings: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    models: int = 0
    source: str = "none"

    def __post_init__(self) -> None:
        for family, rates in self.ceilings.items():
            if len(rates) != LEVELS or not all(0 <= rate <= 1 for rate in rates):
                raise ValueError(f"probe null, {family}: expected {LEVELS} rates between 0 and 1, got {rates}")

    def table(self, families: Iterable[str]) -> np.ndarray:
        """Ceilings `[families, LEVELS]`."""
        return np.asarray([self.ceilings.get(name, (1.0,) * LEVELS) for name in families], np.float32)

    def ceiling(self, family: str, rms: float) -> float:
        """What clean models reached with stamps of this family that cost no more."""
        return float(self.table([family])[0, level(rms)])

    def row(self) -> dict[str, Any]:
        """JSON form, which `from_row` reads back."""
        return {
            "ceilings": {k: list(v) for k, v in self.ceilings.items()},
            "models": self.models,
            "source": self.source,
        }


def from_row(row: Mapping[str, Any]) -> Null:
    """A null from its JSON form.

    Raises:
      ValueError: a family's rates are not one for each cost level, each between 0 and 1.
    """
    ceilings = {str(name): tuple(float(rate) for rate in rates) for name, rates in row["ceilings"].items()}
    return Null(ceilings, int(row["models"]), str(row["source"]))


def calibrate(profiles: Iterable[Profile], source: str = "calibration") -> Null:
    """The null of clean models, from the `profile`s of their probe rows.

    A level at which no stamp of a family was confirmed takes the level below's rate. Families that no model has are
    missing, so nothing of them can prove anything.
    """
    profiles = list(profiles)
    ceilings = {}
    for name in sorted({name for profile in profiles for name in profile}):
        rates = np.asarray([[rate or 0.0 for rate in p[name]] for p in profiles if name in p])
        ceilings[name] = tuple(np.maximum.accumulate(rates.max(0)).round(3).tolist())
    return Null(ceilings, len(profiles), source)


def false_positives(profiles: list[Profile], judge: Any) -> tuple[int, int]:
    """Leave-one-out false alarms: `judge(k, null)` says whether clean model k is proved against the others' null.

    Returns:
      alarms, models.
    """
    alarms = sum(bool(judge(k, calibrate(profiles[:k] + profiles[k + 1 :]))) for k in range(len(profiles)))
    return alarms, len(profiles)
