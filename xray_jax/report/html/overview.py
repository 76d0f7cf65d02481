"""What the overview of a batch scan shows: gathered row by row, without keeping the rows."""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from xray_jax.report.html.compare import Change, Comparison
from xray_jax.report.html.strips import Strips
from xray_jax.report.html.wording import ORDER, meaning
from xray_jax.report.row_values import compared, kind_of_reason, number, statistics, text, total_seconds, whole
from xray_jax.report.sentences import explanation, outcome
from xray_jax.report.terminal_text import cut_end, printable
from xray_jax.rows.row import BACKDOORED, ERROR, SKIPPED, SUSPECT, Row, is_backdoored, is_flagged, network

_MOST_COLUMNS = 6
_LONGEST_SENTENCE = 400
_LONGEST_REASON = 300
_DATA_SETS = ("dataset", "data_set", "data")


@dataclass(frozen=True)
class Entry:
    """One line of the table.

    Attributes:
      href: of the model's page.
      name: of the model.
      outcome: verdict or status.
      said: why, in words.
      standout: how far it stands out among reference models, in standard deviations; minus infinity where nobody knows.
      values: of the other columns, as `Overview.table` has them.
    """

    href: str
    name: str
    outcome: str
    said: str
    standout: float
    values: dict[str, Any]


@dataclass
class Overview:
    """A batch scan, gathered from its rows.

    Attributes:
      entries: one a checkpoint.
      counts: of each outcome.
      reasons: (status, reason) -> entries, of what was not scanned.
      strips: of all statistics.
      queries, seconds: in all.
      settings: settings_hash -> how many rows.
      hints: what statistics are, in words.
      said: what was scanned with: calibration, false-positive rates, references, devices, versions, detectors.
      right, judged: verdicts that agree with the known truth, of how many.
      comparison: with an earlier run.
    """

    entries: list[Entry] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    reasons: dict[tuple[str, str], list[Entry]] = field(default_factory=dict)
    strips: Strips = field(default_factory=Strips)
    queries: int = 0
    seconds: float = 0.0
    settings: Counter[str] = field(default_factory=Counter)
    said: dict[str, Counter[str]] = field(default_factory=dict)
    hints: dict[str, str] = field(default_factory=dict)
    right: int = 0
    judged: int = 0
    comparison: Comparison | None = None

    def add(self, row: Row, href: str, change: Change | None = None) -> None:
        """One more row."""
        name, found = printable(row["id"]), outcome(row)
        numbers = list(statistics(row))
        data_set = next((row["manifest"][key] for key in _DATA_SETS if row["manifest"].get(key)), None)
        reason = cut_end(kind_of_reason(row), _LONGEST_REASON) if found in (ERROR, SKIPPED) else None
        against = compared(row)
        values = {
            "target": whole(row.get("target_label")) if is_flagged(row) else None,
            "p-value": None if against is None else against.p_value,
            "clean accuracy": number(row.get("clean_accuracy")),
            "architecture": None if row.get("architecture") is None else text(network(row["architecture"])),
            "data set": text(data_set),
            "truth": text(row["label"]),
            "reason": reason,
        }
        values |= {f"{each.detector} {each.name}": each.value for each in numbers}
        self.hints |= {f"{each.detector} {each.name}": meaning(each).title for each in numbers}
        standout = -math.inf if against is None else max(against.standout.values(), default=-math.inf)
        said = cut_end(printable(explanation(row)), _LONGEST_SENTENCE)
        entry = Entry(href, name, found, said, standout, values)
        self.entries.append(entry)
        self.counts[found] += 1
        self.strips.add(row, numbers, found, href, name)
        if reason is not None:
            self.reasons.setdefault((found, reason), []).append(entry)
        self._count(row, found)
        if self.comparison is not None:
            self.comparison.add(name, href, change)

    def _count(self, row: Row, found: str) -> None:
        self.queries += whole(row.get("queries")) or 0
        self.seconds += total_seconds(row) or 0.0
        self.settings[row["settings_hash"]] += 1
        truth = is_backdoored(row["label"])
        if truth is not None and found in ("clean", BACKDOORED, SUSPECT):
            self.judged += 1
            self.right += truth == is_flagged(row)
        calibration = row["settings"].get("calibration")
        source = calibration.get("source") if isinstance(calibration, dict) else None
        detectors = row["settings"].get("detectors")
        against, when = compared(row), text(row.get("scanned_at"))
        said = {
            "Detectors": ", ".join(printable(name) for name in detectors) if isinstance(detectors, dict) else None,
            "Calibration": "none" if calibration is None else text(source),
            "False-positive rate": None if against is None else text(against.fpr),
            "Reference models": None if against is None else f"{against.models} ({against.source})",
            "Clean samples": text(row.get("samples") or None),
            "Samples (hash)": text(row["settings"].get("samples")),
            "Scanned on": None if when is None else when.partition("T")[0],
            "Device": printable(row["device"]),
            "Version": printable(row["version"]),
        }
        for title, value in said.items():
            if value is not None:
                self.said.setdefault(title, Counter())[value] += 1

    def sort(self) -> None:
        """The most urgent first; of these what stands out furthest among reference models, then by name."""
        self.entries.sort(key=lambda entry: (ORDER.index(entry.outcome), -entry.standout, entry.name))
        if self.comparison is not None:
            self.comparison.sort()

    @property
    def flagged(self) -> list[Entry]:
        """Entries that somebody should look at."""
        return [entry for entry in self.entries if entry.outcome in (BACKDOORED, SUSPECT)]

    @property
    def headline(self) -> str:
        """The outcome of the scan in one sentence."""
        total, flagged = len(self.entries), self.counts[BACKDOORED] + self.counts[SUSPECT]
        many = f"{total} checkpoint{'s' * (total != 1)}"
        first = f"{flagged} of {many} flagged" if flagged else f"Nothing flagged among {many}"
        rest = {"error": "could not be scanned", "unknown": "without a verdict", "skipped": "skipped"}
        parts = [f"{self.counts[name]} {words}" for name, words in rest.items() if self.counts[name]]
        return "; ".join([first, *parts]) + "."

    def table(self) -> dict[str, Any]:
        """The table as JSON values: titles of the columns, what they mean, and a list for each entry."""
        optional = list(dict.fromkeys(name for entry in self.entries for name in entry.values))
        held = [name for name in optional if any(entry.values.get(name) is not None for entry in self.entries)]
        fixed = [name for name in held if name in _FIXED]
        numbers = [name for name in held if name not in _FIXED][:_MOST_COLUMNS]
        columns = [name for name in fixed if name not in _TEXTS] + numbers + [name for name in fixed if name in _TEXTS]
        rows = [
            [entry.href, entry.name, entry.outcome, entry.said, *(entry.values.get(name) for name in columns)]
            for entry in self.entries
        ]
        hints = {name: self.hints[name] for name in columns if name in self.hints}
        texts = [name for name in columns if name in _TEXTS]
        return {"columns": columns, "texts": texts, "hints": hints, "rows": rows}


_TEXTS = ("architecture", "data set", "truth", "reason")
_FIXED = ("target", "p-value", "clean accuracy", *_TEXTS)
