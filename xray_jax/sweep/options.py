"""Options of a batch scan."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xray_jax import models
from xray_jax.preprocess import parse
from xray_jax.sweep.sources.options import SourceOptions
from xray_jax.verdict.calibration import Calibration
from xray_jax.verdict.decision import RULES
from xray_jax.verdict.references import References


@dataclass(frozen=True)
class BatchScanOptions:
    """How a batch scan goes about it.

    Attributes:
      calibration: thresholds of the planes; None leaves their verdict open.
      references: clean models to compare with; None leaves the verdict to thresholds and the probe.
      fpr: false-positive rate of the verdict against the references.
      decide: which statistic of the planes flags (`verdict.decision.decide`).
      architecture: for entries that do not say it themselves.
      num_classes: likewise.
      preprocess: likewise; None lets the file or the clean samples say.
      loaders: threads that read checkpoints.
      scanners: checkpoints whose queries are on the devices at once, so that the host's share of one (decisions
        between refinement levels, scores) never leaves them idle.
      prefetch: checkpoints in flight at most; bounds memory.
      spread: one checkpoint per device, as many at once as there are devices: for networks too small to fill several.
      maps: folder for label maps (`<id>.npz`), or None.
      seed: draws the samples that the clean accuracy is measured on.
      sources: how checkpoints that lie elsewhere are fetched.
      left_out: detectors that were asked for and may not run, and why, for the rows' `not_run`.
    """

    calibration: Calibration | None = None
    references: References | None = None
    fpr: float = 0.05
    decide: str = "either"
    architecture: str | None = None
    num_classes: int | None = None
    preprocess: str | Mapping[str, Any] | None = None
    loaders: int = 2
    scanners: int = 2
    prefetch: int = 6
    spread: bool = False
    maps: Path | None = None
    seed: int = 0
    sources: SourceOptions = field(default_factory=SourceOptions)
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.decide not in RULES:
            raise ValueError(f"decide must be one of {RULES}, got {self.decide!r}")
        if not 0 < self.fpr < 1:
            raise ValueError(f"fpr must be between 0 and 1, got {self.fpr}")
        # Found here, once; it would be an error row for every checkpoint.
        parse(self.preprocess)
        if self.architecture is not None:
            models.lookup(self.architecture)
        for name in ("loaders", "scanners", "prefetch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
