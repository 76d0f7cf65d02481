"""A sweep on the terminal: progress while it runs, the table of verdicts at its end. All of it on stderr."""

import sys
import time
from collections import Counter
from collections.abc import Iterable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from xray_jax.report.sentences import outcome
from xray_jax.report.terminal_text import cut_middle, printable
from xray_jax.report.verdict_table import VerdictTable
from xray_jax.rows.row import BACKDOORED, CLEAN, ERROR, SKIPPED, SUSPECT, UNKNOWN, Row
from xray_jax.verdict.summary import Summary

_PLAIN_SECONDS = 5.0
_LONGEST_NAME = 60
_FEW = 10
_ORDER = (BACKDOORED, SUSPECT, ERROR, UNKNOWN, CLEAN, SKIPPED)
"""Which outcomes are listed first where there is no room for all."""


class ProgressReport:
    """Progress of a sweep: a bar on a terminal, one plain line every few seconds elsewhere.

    Args:
      total: rows to come.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._last = time.monotonic()
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            text = TextColumn("{task.description}", markup=False)
            columns = (text, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("scanning", total=total)

    def __enter__(self) -> "ProgressReport":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, row: Row) -> None:
        """One more row."""
        self._done += 1
        latest = f"{outcome(row)}: {cut_middle(printable(row['id']), _LONGEST_NAME)}"
        if self._bar is not None:
            self._bar.update(self._task, advance=1, description=latest)
        elif time.monotonic() - self._last >= _PLAIN_SECONDS or self._done == self._total:
            self._last = time.monotonic()
            print(f"xray-scan: {self._done}/{self._total} {latest}", file=sys.stderr, flush=True)


def print_table(rows: Iterable[Row], summary: Summary, limit: int = 100) -> None:
    """The table of verdicts, one line a checkpoint, then the summary.

    On a terminal a line is as wide as the terminal; of a few checkpoints the sentences that it cuts follow in full.

    Args:
      rows: of the sweep; gone through once, and only those that may get a line are held.
      summary: of the same rows.
      limit: of checkpoints that have a line. Of more the flagged ones come first, then errors, then those without a
        verdict, and the others are counted.
    """
    console = Console(stderr=True)
    width = console.width if sys.stderr.isatty() else None
    listed, left_out = _listed(rows, limit)
    verdicts = VerdictTable(listed, width)
    for line in verdicts.lines():
        # As it is: rich would fold what is wider than it takes the terminal for.
        console.print(line, soft_wrap=True)
    if left_out:
        console.print(_more(left_out), highlight=False)
    if len(listed) + left_out.total() <= _FEW:
        for line in verdicts.cut_sentences():
            console.print(line)
    console.print(_summary(summary), highlight=False, soft_wrap=True)


def _listed(rows: Iterable[Row], limit: int) -> tuple[list[Row], Counter[str]]:
    """The rows that get a line, and the outcomes of the others: all in their order, or the worst first."""
    held: dict[str, list[tuple[int, Row]]] = {name: [] for name in _ORDER}
    counts = Counter[str]()
    for number, row in enumerate(rows):
        found = outcome(row)
        counts[found] += 1
        if len(held[found]) < limit:
            held[found].append((number, row))
    numbered = [each for found in _ORDER for each in held[found]]
    if counts.total() <= limit:
        # Numbers differ, so rows are never compared.
        return [row for _, row in sorted(numbered)], Counter()
    listed = [row for _, row in numbered[:limit]]
    return listed, counts - Counter(map(outcome, listed))


def _more(left_out: Counter[str]) -> str:
    worse = {"flagged": left_out[BACKDOORED] + left_out[SUSPECT], "errors": left_out[ERROR]}
    named = ", ".join(f"{count} {name}" for name, count in worse.items() if count)
    return f"... and {left_out.total()} more" + (f" ({named})" if named else "")


def _summary(summary: Summary) -> str:
    parts = [f"{summary.ok} scanned, {summary.flagged} flagged, {summary.errors} errors, {summary.skipped} skipped"]
    if summary.auroc_re is not None:
        parts.append(f"AUROC of RE {summary.auroc_re:.3f}")
    if summary.auroc_ats is not None:
        parts.append(f"AUROC of ATS {summary.auroc_ats:.3f}")
    if summary.auroc_probe is not None:
        parts.append(f"AUROC of the probe {summary.auroc_probe:.3f}")
    if summary.accuracy is not None:
        parts.append(f"verdicts right on {summary.accuracy:.1%} of {summary.judged} with known truth")
    return "; ".join(parts)
