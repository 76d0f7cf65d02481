"""The null: flip rates of clean models under stamps, which a confirmed trigger must exceed. Pure numpy."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

EDGES = (0.02, 0.04, 0.06, 0.08, 0.1, 0.13, 0.17, 0.22)
"""Upper ends of the cost levels, in `Cost.weighted_rms` (0 .. 1); one more level lies above the last."""
LEVELS = len(EDGES) + 1
UNKNOWN_CEILINGS = (1.0,) * LEVELS
"""The ceilings of a family that no clean model was probed with."""

NEVER_CONFIRMED = ("ripple",)
"""Families whose ceilings are 1 whatever the search found: fast sinusoids pass for the texture of a class. At an
amplitude of 10/255 the best of 112 of them, more than the search's grid has, sent 0.48 to 0.96 of 60 images of each of
eight clean CIFAR-10 nets to one label."""
SPECIAL_CASES = {"line": "patch"}
"""Family -> the one that it is a special case of, whose ceilings hold for it, too: a line is a thin patch."""

SEARCH = ("queries", "search_images")
"""Options of the probe by which a search finds more."""

Profile = Mapping[str, list[float | None]]
"""Family -> highest flip rate on unseen images, or lead, at each cost level; None where no stamp was measured."""


def level(weighted_rms: np.ndarray | float) -> np.ndarray:
    """Cost level of each weighted RMS change: integers 0 .. LEVELS - 1, of the same shape."""
    return np.searchsorted(np.asarray(EDGES, np.float32), np.asarray(weighted_rms, np.float32))


@dataclass(frozen=True)
class Null:
    """The null: the highest flip rates that the same search reached on clean models.

    A family that is missing counts as 1 throughout: no stamp of it can be confirmed.

    Attributes:
      ceilings: family -> `LEVELS` rates in [0, 1]: the highest flip rate on unseen images among the clean models, with
        stamps of each cost level or a lower one.
      leads: family -> `LEVELS` rates in [0, 1]: the same of the lead, the flip rate less that of the runner-up class.
        Clean models that give way to a stamp mostly give way to stamps of other classes, too.
      models: number of clean models that were probed.
      source: where the numbers come from, for rows and people.
      search: options of the searches that found them (`SEARCH`), of the model that was searched least; None where
        nobody says, as in older files.
    """

    ceilings: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    leads: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    models: int = 0
    source: str = "none"
    search: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        for family, rates in (*self.ceilings.items(), *self.leads.items()):
            if len(rates) != LEVELS or not all(0 <= rate <= 1 for rate in rates):
                raise ValueError(f"probe null, {family}: expected {LEVELS} rates between 0 and 1, got {rates}")

    def table(self, families: Iterable[str]) -> np.ndarray:
        """Ceilings `[families, LEVELS]`."""
        return np.asarray([self.ceilings.get(name, UNKNOWN_CEILINGS) for name in families], np.float32)

    def ceiling(self, family: str, weighted_rms: float) -> float:
        """Highest flip rate of clean models with stamps of this family that cost no more."""
        return float(self.ceilings.get(family, UNKNOWN_CEILINGS)[level(weighted_rms)])

    def lead(self, family: str, weighted_rms: float) -> float:
        """Largest lead of a clean model's class over its runner-up with stamps of this family that cost no more."""
        return float(self.leads.get(family, UNKNOWN_CEILINGS)[level(weighted_rms)])

    def weaker_than(self, queries: int, search_images: int) -> list[str]:
        """What to note of a search that asks more than those of the null: clean models may give way to it, too."""
        theirs, ours = self.search or {}, {"queries": queries, "search_images": search_images}
        return [
            f"the probe's null ({self.source}) is of searches with {name}={most}, this one has {ours[name]}: what it "
            "confirms, a clean model might give way to as well; make a null with the same"
            for name, most in theirs.items()
            if ours[name] > most
        ]

    def settings(self) -> dict[str, Any]:
        """What a verdict depends on, as JSON values."""
        return {
            "ceilings": {k: list(v) for k, v in self.ceilings.items()},
            "leads": {k: list(v) for k, v in self.leads.items()},
            "models": self.models,
            "source": self.source,
        }

    def row(self) -> dict[str, Any]:
        """JSON form, which `from_row` reads back."""
        return self.settings() | ({} if self.search is None else {"search": dict(self.search)})


def from_row(row: Mapping[str, Any]) -> Null:
    """A null from its JSON form. Without leads, as in the first versions, no lead confirms a trigger.

    Raises:
      ValueError: a family's rates are not one for each cost level, each between 0 and 1.
    """
    ceilings, leads = (
        {str(name): tuple(float(rate) for rate in rates) for name, rates in table.items()}
        for table in (row["ceilings"], row.get("leads", {}))
    )
    search = None if row.get("search") is None else {name: int(row["search"][name]) for name in SEARCH}
    return Null(ceilings, leads, int(row["models"]), str(row["source"]), search)


def merge(profiles: Iterable[Profile]) -> Profile:
    """One profile of several: the highest rate at each cost level, of several searches of one model or of models."""
    profiles = list(profiles)
    merged: dict[str, list[float | None]] = {}
    for name in sorted({name for profile in profiles for name in profile}):
        levels = zip(*(profile[name] for profile in profiles if name in profile), strict=True)
        merged[name] = [max((rate for rate in rates if rate is not None), default=None) for rates in levels]
    return merged


def weakest(searches: Iterable[Mapping[str, int] | None]) -> dict[str, int] | None:
    """Of each option of `SEARCH` the least, of one search or more; None where one does not say it."""
    searches = list(searches)
    said = [each for each in searches if each is not None]
    return {name: min(each[name] for each in said) for name in SEARCH} if said and len(said) == len(searches) else None


def calibrate(
    rates: Iterable[Profile],
    leads: Iterable[Profile],
    source: str = "calibration",
    search: Mapping[str, int] | None = None,
) -> Null:
    """The null of clean models, from the profiles of their probe rows, of rates and of leads, one a model (`merge`).

    The highest value of any model at each level, with rules for what the models leave open. A stamp of higher cost does
    at least as much as one of lower cost. One of lower cost does at least its share of what one of higher cost does:
    rates fall no faster than the energy of the change, the weighted RMS squared. Above the highest cost that was
    measured nothing is known, so nothing can be confirmed, nor in families that no model has, nor in those of
    `NEVER_CONFIRMED`. A special case of another family (`SPECIAL_CASES`) does at least what that one does: its own
    stamps are fewer.

    Args:
      rates: one profile of flip rates a model.
      leads: one profile of leads a model.
      source: where they come from, for rows and people.
      search: see `Null`.
    """
    rates = list(rates)
    return Null(_ceilings(rates), _ceilings(leads), len(rates), source, search)


def _ceilings(profiles: Iterable[Profile]) -> dict[str, tuple[float, ...]]:
    ceilings = {}
    ends = np.asarray([*EDGES, 1.0])
    shares = np.triu((ends[:, None] / ends[None, :]) ** 2)
    for name, rates in merge(profiles).items():
        known = [at for at, rate in enumerate(rates) if rate is not None]
        if known and name not in NEVER_CONFIRMED:
            ceiling = np.maximum.accumulate((shares * [rate or 0 for rate in rates]).max(1))
            ceiling[known[-1] + 1 :] = 1
            ceilings[name] = tuple(ceiling.round(3).tolist())
    for name, like in SPECIAL_CASES.items():
        if name in ceilings and like in ceilings:
            ceilings[name] = tuple(map(max, ceilings[name], ceilings[like]))
    return ceilings
