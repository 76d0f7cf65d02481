"""Each statistic on a line: every model a mark, the threshold, and where one model stands among the others."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from xray_jax.report.html.wording import Meaning, meaning, standout_meaning
from xray_jax.report.row_values import NamedStatistic, compared, number
from xray_jax.rows.row import BACKDOORED, SUSPECT, UNKNOWN, Row

WIDTH, HEIGHT = 720, 64
"""Of a strip, in units of its picture."""
MOST_MARKS = 400
"""Single marks in a strip; what is not flagged and beyond them is shown by a histogram."""
_BINS = 60
_MARGIN = 12.0


@dataclass(frozen=True)
class Mark:
    """One model on a strip.

    Attributes:
      x, y: its place.
      outcome: of the model.
      href: of its page.
      label: its name and value.
    """

    x: float
    y: float
    outcome: str
    href: str
    label: str


@dataclass
class Strip:
    """One statistic over all models.

    Attributes:
      detector, name, suspect: of the statistic.
      meaning: in words.
      values: (value, outcome, href, name) of each model.
      threshold: None where the rows do not name one, or not the same.
      references: values of reference models, in order.
    """

    detector: str
    name: str
    suspect: str
    meaning: Meaning
    values: list[tuple[float, str, str, str]] = field(default_factory=list)
    threshold: float | None = None
    references: tuple[float, ...] = ()
    _least: tuple[bool, float] = (True, math.inf)
    _several: bool = False
    _range: tuple[float, float] | None = None
    _histogram: str | None = None

    def add(self, value: float, outcome: str, href: str, name: str, threshold: float | None) -> None:
        """One more model."""
        if not self._several and threshold is not None and self.threshold not in (None, threshold):
            self.threshold, self._several = None, True
        elif not self._several and threshold is not None:
            self.threshold = threshold
        self.values.append((value, outcome, href, name))
        self._range = self._histogram = None

    def beside(self, standout: float, references: tuple[float, ...], threshold: float | None) -> None:
        """References as one model's row has them: those of the model that stands out least count, because one that
        stands out far makes them look alike; of all with a threshold, if there are any.
        """
        if (threshold is None, standout) < self._least:
            self._least = threshold is None, standout
            self.references, self.threshold = references, threshold
            self._range = self._histogram = None

    @property
    def range(self) -> tuple[float, float]:
        """The least and the largest value, threshold and references counted in."""
        if self._range is None:
            known = [value for value, *_ in self.values] + ([] if self.threshold is None else [self.threshold])
            known += self.references
            self._range = min(known), max(known)
        return self._range

    def x(self, value: float) -> float:
        """Where a value lies."""
        low, high = self.range
        share = 0.5 if high == low else (value / 2 - low / 2) / (high / 2 - low / 2)
        return round(_MARGIN + share * (WIDTH - 2 * _MARGIN), 1)

    @property
    def threshold_x(self) -> float | None:
        return None if self.threshold is None else self.x(self.threshold)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Places and numbers of the scale's ends."""
        return [(self.x(value), f"{value:.4g}") for value in sorted(set(self.range))]

    @property
    def reference_ticks(self) -> str:
        """The path of a short line for each reference, as SVG has it."""
        return "".join(f"M{self.x(value)} {HEIGHT - 24}v8" for value in self.references)

    @property
    def reference_band(self) -> tuple[float, float] | None:
        """Where the references begin, and how far they reach."""
        if not self.references:
            return None
        low, high = self.x(self.references[0]), self.x(self.references[-1])
        return low, round(max(high - low, 1.0), 1)

    def marks(self) -> list[Mark]:
        """Flagged models first in number, last in drawing; at most `MOST_MARKS`, the most suspect ones."""
        flagged = [each for each in self.values if each[1] in (BACKDOORED, SUSPECT)]
        flagged.sort(key=lambda each: each[0], reverse=self.suspect == "high")
        shown = flagged if self.is_crowded else [each for each in self.values if each not in flagged] + flagged[::-1]
        if self.is_crowded:
            shown = flagged[:MOST_MARKS][::-1]
        return [
            Mark(self.x(value), _height(number), outcome, href, f"{name}: {value:.4g}, {outcome}")
            for number, (value, outcome, href, name) in enumerate(shown)
        ]

    @property
    def is_crowded(self) -> bool:
        return len(self.values) > MOST_MARKS

    def histogram(self) -> str:
        """The path of a histogram over the models that are not flagged, as SVG has it; empty where there are none."""
        if self._histogram is None:
            self._histogram = self._path()
        return self._histogram

    def _path(self) -> str:
        counts = [0] * _BINS
        for value, outcome, *_ in self.values:
            if outcome not in (BACKDOORED, SUSPECT):
                share = (self.x(value) - _MARGIN) / (WIDTH - 2 * _MARGIN)
                counts[min(_BINS - 1, int(share * _BINS))] += 1
        most = max(counts)
        if not most:
            return ""
        step = (WIDTH - 2 * _MARGIN) / _BINS
        heights = (round((HEIGHT - 24) * count / most, 1) for count in counts)
        bars = (
            f"M{_MARGIN + step * place:.1f} {HEIGHT - 16}v{-height}h{step:.1f}v{height}z"
            for place, height in enumerate(heights)
            if height
        )
        return "".join(bars)


def _height(number: int) -> float:
    """Marks of one value beside each other: three rows in turn."""
    return 14.0 + 12.0 * (number % 3)


class Strips:
    """The strips of all statistics of a batch scan, in the order in which they are met; first what is compared."""

    def __init__(self) -> None:
        self._strips: dict[tuple[str, str], Strip] = {}
        self._compared: dict[str, Strip] = {}

    def add(self, row: Row, found: Iterable[NamedStatistic], outcome: str, href: str, name: str) -> None:
        """The statistics of one row; `name` is what the row's model is called."""
        for each in found:
            if each.value is None:
                continue
            key = each.detector, each.name
            if key not in self._strips:
                self._strips[key] = Strip(*key, each.suspect, meaning(each))
            self._strips[key].add(each.value, outcome, href, name, threshold(row, each))
        against = compared(row)
        for statistic, value in {} if against is None else against.standout.items():
            if statistic not in self._compared:
                self._compared[statistic] = _empty(statistic)
            self._compared[statistic].add(value, outcome, href, name, None)
            if against is not None and statistic in against.references:
                own = against.references[statistic], against.threshold
                self._compared[statistic].beside(max(against.standout.values()), *own)

    def of(self, statistic: NamedStatistic) -> Strip | None:
        """The strip of a statistic."""
        return self._strips.get((statistic.detector, statistic.name))

    def all(self) -> Sequence[Strip]:
        """Every strip."""
        return [*self._compared.values(), *self._strips.values()]


def among_references(row: Row) -> list[Strip]:
    """What of a row is compared with reference models, each on a line with them; what stands out most comes first.

    Its only value is the row's; without references where the row does not hold theirs.
    """
    against = compared(row)
    made = []
    for statistic, value in {} if against is None else against.standout.items():
        strip = _empty(statistic)
        strip.add(value, "", "", "", None)
        if against is not None and statistic in against.references:
            strip.beside(value, against.references[statistic], against.threshold)
        made.append(strip)
    return sorted(made, key=lambda each: -each.values[0][0])


def _empty(statistic: str) -> Strip:
    detector, _, name = statistic.partition(".")
    return Strip(detector, name, "high", standout_meaning(detector, name))


def threshold(row: Row, statistic: NamedStatistic) -> float | None:
    """From where a statistic is suspect, as far as the row says it."""
    own = number(statistic.fields.get("threshold"))
    if own is not None:
        return own
    if (statistic.detector, statistic.name) == ("probe", "margin"):
        return 0.0
    calibration: Any = row["settings"].get("calibration")
    # Thresholds of other networks say nothing of this one.
    judged = row.get(f"verdict_{statistic.name}", UNKNOWN) != UNKNOWN
    if statistic.detector == "planes" and judged and isinstance(calibration, dict):
        value = number(calibration.get(f"{statistic.name}_threshold"))
        return value if value is not None and math.isfinite(value) else None
    return None
