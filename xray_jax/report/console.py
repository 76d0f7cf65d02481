"""What a person sees of a sweep: progress while it runs, a table of verdicts at its end. All of it on stderr."""

import sys
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from xray_jax.rows.row import Row, is_flagged, planes_block, probe_block
from xray_jax.verdict.decision import CONFIRMED_TRIGGER
from xray_jax.verdict.summary import Summary

_PLAIN_SECONDS = 5.0
_STYLES = {"backdoored": "bold red", "suspect": "yellow", "clean": "green", "unknown": "magenta", "error": "red"}


class ProgressReport:
    """A progress bar on a terminal; one plain line every few seconds elsewhere."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._last = time.monotonic()
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
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
        verdict = row["verdict"] or row["status"]
        if self._bar is not None:
            self._bar.update(self._task, advance=1, description=f"{verdict}: {row['id']}")
        elif time.monotonic() - self._last >= _PLAIN_SECONDS or self._done == self._total:
            self._last = time.monotonic()
            print(f"xray-scan: {self._done}/{self._total} {verdict}: {row['id']}", file=sys.stderr, flush=True)


def _number(row: Row, name: str) -> str:
    block: Any = planes_block(row)
    return f"{block[name]['mean']:.3f}" if block else "-"


def print_table(rows: Iterable[Row], summary: Summary, limit: int = 100) -> None:
    """One line a checkpoint (the first `limit`), then the summary."""
    # A fixed width when piped, so that logs are not cut at 80 columns.
    console = Console(stderr=True, width=None if sys.stderr.isatty() else 160)
    table = Table(box=None, pad_edge=False)
    for name, justify in (("checkpoint", "left"), ("verdict", "left"), ("basis", "left"), ("RE bits", "right"),
                          ("ATS", "right"), ("target", "right"), ("clean acc", "right"), ("truth", "left"),
                          ("note", "left")):  # fmt: skip
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    shown = list(rows)
    for row in shown[:limit]:
        verdict = row["verdict"] or row["status"]
        flagged = is_flagged(row)
        accuracy = row.get("clean_accuracy")
        table.add_row(
            _plain(row["id"]), f"[{_STYLES.get(verdict, 'default')}]{verdict}[/]", row.get("basis") or "",
            _number(row, "re"), _number(row, "ats"), _target(row) if flagged else "",
            "" if accuracy is None else f"{accuracy:.1%}", _truth(row), _plain(_note(row)[:160]),
        )  # fmt: skip
    console.print(table)
    if len(shown) > limit:
        console.print(f"... and {len(shown) - limit} more")
    parts = [f"{summary.ok} scanned, {summary.flagged} flagged, {summary.errors} errors, {summary.skipped} skipped"]
    if summary.auroc_re is not None:
        parts.append(f"AUROC of RE {summary.auroc_re:.3f}")
    if summary.auroc_ats is not None:
        parts.append(f"AUROC of ATS {summary.auroc_ats:.3f}")
    if summary.auroc_probe is not None:
        parts.append(f"AUROC of the probe {summary.auroc_probe:.3f}")
    if summary.accuracy is not None:
        parts.append(f"verdicts right on {summary.accuracy:.1%} of {summary.judged} with known truth")
    console.print("; ".join(parts), highlight=False)


def _note(row: Row) -> str:
    if row["reason"]:
        return str(row["reason"])
    block = probe_block(row)
    return block["reason"] if block is not None and row.get("basis") == CONFIRMED_TRIGGER else ""


def _truth(row: Row) -> str:
    if row.get("label") is None:
        return ""
    return str(row["label"]) + (f" -> {row['target']}" if row.get("target") is not None else "")


def _plain(text: str) -> str:
    """File names are data: no markup, no control characters, no lone surrogates."""
    clean = text.encode(errors="replace").decode()
    return "".join(c if c.isprintable() else "?" for c in clean).replace("[", r"\[")


def _target(row: Row) -> str:
    target = row.get("target_label")
    return "" if target is None else str(target)
