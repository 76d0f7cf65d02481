"""One checkpoint on its way through the stages of a batch scan, and how it ends there where something is wrong."""

from collections.abc import Callable
from dataclasses import dataclass, field

from xray_jax.checkpoints.contents import CheckpointError
from xray_jax.checkpoints.snapshot import Snapshot
from xray_jax.classifier import Model
from xray_jax.detectors.run import ScannedModel
from xray_jax.rows.row import ERROR, Row
from xray_jax.sweep import fields
from xray_jax.sweep.checkpoint_list import ELSEWHERE, Entry
from xray_jax.sweep.fetching import nothing
from xray_jax.sweep.progress import OnStage, untold


@dataclass
class InFlight:
    """One checkpoint on its way through the stages.

    Attributes:
      entry: which.
      row: what is known of it so far.
      on_stage: told each stage that begins.
      snapshot: of its files as they were hashed; None before, and when nothing is read from them any more.
      model: what was loaded; None before, and after a failure.
      scanned: what the detectors found.
      seconds: by stage.
      release: see `Fetched`.
    """

    entry: Entry
    row: Row
    on_stage: OnStage = untold
    snapshot: Snapshot | None = None
    model: Model | None = None
    scanned: ScannedModel | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    release: Callable[[], None] = nothing

    def check(self) -> None:
        """Checks that its files are still those that were hashed; else what was read is of no known content.

        Raises:
          CheckpointError: they are not. The row has no hash then, so that the next run looks again.
        """
        if self.snapshot is not None and not self.snapshot.is_current():
            self.row["sha256"] = None
            raise CheckpointError(f"{self.entry.path}: it changed while it was read; run the command again")

    def fail(self, status: str, reason: str) -> "InFlight":
        """Ends it with an error or a skip, or with what `check` says; itself, for the next stage."""
        try:
            self.check()
        except CheckpointError as error:
            status, reason = ERROR, str(error)
        if self.entry.remote is not None and self.entry.path != ELSEWHERE:
            # Where its copy happened to be is nobody's concern, and changes from run to run.
            reason = reason.replace(str(self.entry.path), self.entry.where)
        self.row["status"], self.row["reason"] = status, reason
        fields.clear_findings(self.row)
        self.model = self.scanned = self.snapshot = None
        return self

    def fault(self, error: Exception) -> "InFlight":
        """Ends it with an error row that says what was raised."""
        text = " ".join(str(error).split())
        known = isinstance(error, ValueError) and text
        return self.fail(ERROR, text[:2000] if known else f"{type(error).__name__}: {text[:2000]}")
