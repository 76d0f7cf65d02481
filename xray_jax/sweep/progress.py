"""How far a scan is, told to whoever asks: for notebooks, services and progress bars. Rows do not know of it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from xray_jax.rows.row import Row

FINISHED = "finished"


@dataclass(frozen=True)
class Progress:
    """One step of a scan.

    Attributes:
      stage: what begins ("fetch", "hash", "load", "prepare", "detector <name>"), or "finished".
      id: of the checkpoint.
      done: checkpoints that have a row, those of an earlier run included.
      total: checkpoints to scan; None where nobody knows.
      queries: labels that the finished rows of this run asked for.
      row: of the checkpoint, where it has just been finished by this run; else None.
    """

    stage: str
    id: str
    done: int
    total: int | None
    queries: int
    row: Row | None = None


OnStage = Callable[[str, Row], None]
"""Told the stage that begins ("fetch", "hash", "load", "prepare", "detector <name>") and the row so far, in the
stage's thread.

What it raises makes the checkpoint an error row, as what a stage raises does.
"""

OnProgress = Callable[[Progress], None]
"""Told every step, one at a time, from any thread. What it raises ends the scan."""


class ProgressCount:
    """Counts what is finished and tells `told`, one step at a time."""

    def __init__(self, told: OnProgress, total: int | None) -> None:
        self._told, self._total = told, total
        self._done = self._queries = 0
        self._lock = threading.Lock()
        self._failed: BaseException | None = None

    def begins(self, stage: str, row: Row) -> None:
        """A stage of a checkpoint, in the stage's thread: what `told` raises waits for the thread that finishes rows,
        because in a stage it would be taken for a fault of the checkpoint.
        """
        with self._lock:
            if self._failed is None:
                try:
                    self._told(Progress(stage, row["id"], self._done, self._total, self._queries))
                except BaseException as error:
                    self._failed = error

    def finished(self, checkpoint_id: str, row: Row | None) -> None:
        """A checkpoint has its row; None where an earlier run has made it.

        Raises:
          BaseException: what `told` raised, now or in a stage.
        """
        with self._lock:
            if self._failed is not None:
                raise self._failed
            self._done += 1
            self._queries += 0 if row is None else row.get("queries", 0)
            self._told(Progress(FINISHED, checkpoint_id, self._done, self._total, self._queries, row))


def untold(stage: str, row: Row) -> None:
    """Nobody wants to know."""


def all_told(on_stage: OnStage | None, count: ProgressCount | None) -> OnStage:
    """One that tells both; what the first raises is the checkpoint's fault."""
    if count is None:
        return on_stage or untold

    def told(stage: str, row: Row) -> None:
        count.begins(stage, row)
        if on_stage is not None:
            on_stage(stage, row)

    return told
