"""What clean models do under stamps: the ceilings that a proof must clear, by family and by cost. Pure numpy."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

EDGES = (0.02, 0.04, 0.06, 0.08, 0.1, 0.13, 0.17, 0.22)
"""Upper ends of the cost levels (`Cost.price`, on the 0-1 scale of pixels); one more level lies above the last."""
LEVELS = len(EDGES) + 1
NOTHING_KNOWN = (1.0,) * LEVELS
"""The ceilings of a family that no clean model was asked about."""

NEVER = ("ripple",)
"""Families whose ceilings are 1 whatever the search found: fast sinusoids pass for the texture of a class. At an
amplitude of 10/255 the best of 112 of them, more than the search's grid has, sent 0.48 to 0.96 of 60 images of each of
eight clean CIFAR-10 nets to one label."""
DRAWN_LIKE = {"line": "patch"}
"""Family -> the one whose ceilings hold for it, too: a line is a thin patch."""

Profile = Mapping[str, list[float | None]]
"""Family -> best confirmed flip rate, or lead, at each cost level, None where no stamp was confirmed."""


def level(price: np.ndarray | float) -> np.ndarray:
    """Cost level of each price: integers 0 .. LEVELS - 1."""
    return np.searchsorted(np.asarray(EDGES, np.float32), np.asarray(price, np.float32))


@dataclass(frozen=True)
class Null:
    """The best that the same search found on clean models.

    A family that is missing counts as 1 throughout: nothing of it can prove anything.

    Attributes:
      ceilings: family -> the highest confirmed flip rate among the clean models at each cost level and those below it.
      leads: the same of how far the flip rate was over that of the model's next class (the rival): clean models that
        give way to a stamp mostly give way to stamps of other classes, too.
      models: how many clean models it was taken from. source: for rows and people.
    """

    ceilings: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    leads: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    models: int = 0
    source: str = "none"

    def __post_init__(self) -> None:
        for family, rates in (*self.ceilings.items(), *self.leads.items()):
            if len(rates) != LEVELS or not all(0 <= rate <= 1 for rate in rates):
                raise ValueError(f"probe null, {family}: expected {LEVELS} rates between 0 and 1, got {rates}")

    def table(self, families: Iterable[str]) -> np.ndarray:
        """Ceilings `[families, LEVELS]`."""
        return np.asarray([self.ceilings.get(name, NOTHING_KNOWN) for name in families], np.float32)

    def ceiling(self, family: str, price: float) -> float:
        """What clean models reached with stamps of this family that cost no more."""
        return float(self.ceilings.get(family, NOTHING_KNOWN)[level(price)])

    def lead(self, family: str, price: float) -> float:
        """How far one class of a clean model was over the next with stamps of this family that cost no more."""
        return float(self.leads.get(family, NOTHING_KNOWN)[level(price)])

    def row(self) -> dict[str, Any]:
        """JSON form, which `from_row` reads back."""
        return {
            "ceilings": {k: list(v) for k, v in self.ceilings.items()},
            "leads": {k: list(v) for k, v in self.leads.items()},
            "models": self.models,
            "source": self.source,
        }


def from_row(row: Mapping[str, Any]) -> Null:
    """A null from its JSON form. Those of the first versions say no leads: then no lead proves anything.

    Raises:
      ValueError: a family's rates are not one for each cost level, each between 0 and 1.
    """
    ceilings, leads = (
        {str(name): tuple(float(rate) for rate in rates) for name, rates in table.items()}
        for table in (row["ceilings"], row.get("leads", {}))
    )
    return Null(ceilings, leads, int(row["models"]), str(row["source"]))


def merge(profiles: Iterable[Profile]) -> Profile:
    """The highest rate of any at each level: several searches of one model as one, or several models as one."""
    profiles = list(profiles)
    merged: dict[str, list[float | None]] = {}
    for name in sorted({name for profile in profiles for name in profile}):
        levels = zip(*(profile[name] for profile in profiles if name in profile), strict=True)
        merged[name] = [max((rate for rate in rates if rate is not None), default=None) for rates in levels]
    return merged


def calibrate(rates: Iterable[Profile], leads: Iterable[Profile], source: str = "calibration") -> Null:
    """The null of clean models, from the profiles of their probe rows, of rates and of leads, one a model (`merge`).

    The highest value of any model at each level, with rules for what the models leave open. A dearer stamp does at
    least as much as a cheaper one. A cheaper one does at least its share of what a dearer one does: rates fall no
    faster than the energy of the change, the price squared. Above the dearest stamp that was confirmed nothing is
    known, so nothing can be proved, nor in families that no model has, nor in those of `NEVER`. A family drawn with
    another's ink (`DRAWN_LIKE`) does at least what that one does: its own stamps are fewer.
    """
    rates = list(rates)
    return Null(_ceilings(rates), _ceilings(leads), len(rates), source)


def _ceilings(profiles: Iterable[Profile]) -> dict[str, tuple[float, ...]]:
    ceilings = {}
    ends = np.asarray([*EDGES, 1.0])
    shares = np.triu((ends[:, None] / ends[None, :]) ** 2)
    for name, rates in merge(profiles).items():
        known = [at for at, rate in enumerate(rates) if rate is not None]
        if known and name not in NEVER:
            ceiling = np.maximum.accumulate((shares * [rate or 0 for rate in rates]).max(1))
            ceiling[known[-1] + 1 :] = 1
            ceilings[name] = tuple(ceiling.round(3).tolist())
    for name, like in DRAWN_LIKE.items():
        if name in ceilings and like in ceilings:
            ceilings[name] = tuple(map(max, ceilings[name], ceilings[like]))
    return ceilings
