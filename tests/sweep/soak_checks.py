"""What must be true of the rows of a disturbed run, and what is measured of its processes: pure, from lists alone."""

import random
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.sweep.scans import stable
from xray_jax.rows.row import OK

PILL_REASONS = ("killed by signal", "timed out after", "MemoryError", "2 attempts ended without a row")
"""A pill's row says how it ended; which of these it was may depend on when somebody else killed its process."""

SAME = ("id", "sha256", "status", "verdict", "detectors", "settings_hash", "version")
"""What such a row has all the same."""


@dataclass
class Found:
    """How the rows of a disturbed run differ from those of an undisturbed one; nothing where all is well.

    Attributes:
      lost: ids without a row.
      doubled: ids with more rows than one.
      unexpected: ids that nobody has asked for.
      different: ids of rows that differ in more than times.
      silently_clean: ids of hostile files and pills whose row is no error or has a verdict.
      other_reasons: pills whose error rows give another reason: how often each, not counted as a fault.
    """

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    silently_clean: list[str] = field(default_factory=list)
    other_reasons: Counter[str] = field(default_factory=Counter)

    @property
    def faults(self) -> int:
        """How many there are."""
        kinds = (self.lost, self.doubled, self.unexpected, self.different, self.silently_clean)
        return sum(map(len, kinds))


def compare(expected: Mapping[str, str], before: Iterable[Any], after: Iterable[Any]) -> Found:
    """The rows of a disturbed run beside those of an undisturbed one.

    Args:
      expected: id -> what the checkpoint is, see `soak_zoo.write`.
      before: rows of the undisturbed run.
      after: rows of the disturbed run.
    """
    alone, rows, found = {row["id"]: row for row in before}, list(after), Found()
    counts = Counter(row["id"] for row in rows)
    found.lost = sorted(expected.keys() - counts.keys())
    found.doubled = sorted(name for name, count in counts.items() if count > 1)
    found.unexpected = sorted(counts.keys() - expected.keys())
    for row in rows:
        kind = expected.get(row["id"], "")
        bad = kind == "hostile" or kind.startswith("pill")
        if bad and (row["status"] == OK or row["verdict"] is not None):
            found.silently_clean.append(row["id"])
        mine, other = stable([row]), stable([alone[row["id"]]]) if row["id"] in alone else []
        if kind.startswith("pill") and other and mine != other and str(row["reason"]).startswith(PILL_REASONS):
            found.other_reasons[str(row["reason"])[:80]] += 1
            # How far it came before that is in the row too.
            mine, other = ([{name: each[0][name] for name in SAME}] for each in (mine, other))
        if mine != other:
            found.different.append(row["id"])
    return found


class Sample(NamedTuple):
    """One look at one process.

    Attributes:
      time: in seconds.
      process: its number.
      supervisor: whether it is the supervisor.
      resident: MiB.
      busy: whether one of its threads was running or could have run.
    """

    time: float
    process: int
    supervisor: bool
    resident: float
    busy: bool


def memory(samples: Sequence[Sample]) -> dict[str, float]:
    """MiB: of the supervisor and the longest-lived worker early and late in their lives, and the most of any."""
    figures = {}
    for role, supervisor in (("supervisor", True), ("worker", False)):
        series: dict[int, list[float]] = {}
        for each in samples:
            if each.supervisor == supervisor:
                series.setdefault(each.process, []).append(each.resident)
        if series:
            longest = max(series.values(), key=len)
            tenth = max(1, len(longest) // 10)
            # The first tenth is the start; what comes after it should stay.
            early, late = statistics.median(longest[tenth : 2 * tenth] or longest), statistics.median(longest[-tenth:])
            figures |= {f"{role} early": early, f"{role} late": late, f"{role} most": max(map(max, series.values()))}
    return figures


def idle_share(samples: Iterable[Sample]) -> float | None:
    """Share of the looks at workers at which none of their threads had anything to do."""
    looks = [not each.busy for each in samples if not each.supervisor]
    return sum(looks) / len(looks) if looks else None


def events(seed: int, rows: int, kills: int) -> list[tuple[int, str]]:
    """(rows that must be written before it, what happens), in order: seeded, over the whole of the run.

    Of the kills half are of workers, and the rest of the supervisor, two in three by SIGKILL and one by SIGTERM. The
    disk fills up twice, and the clock goes back once.
    """
    draw = random.Random(seed)
    workers = kills // 2
    gentle = (kills - workers) // 3
    kinds = ["worker"] * workers + ["SIGTERM"] * gentle + ["SIGKILL"] * (kills - workers - gentle)
    kinds += ["disk", "disk", "clock"]
    draw.shuffle(kinds)
    moments = sorted(draw.sample(range(max(1, rows // 50), rows * 19 // 20), len(kinds)))
    return list(zip(moments, kinds, strict=True))
