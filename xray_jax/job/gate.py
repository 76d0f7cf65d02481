"""The gate for training code: a model passes, or an exception says in a plain sentence why it does not."""

from pathlib import Path
from typing import Unpack

from xray_jax.job.one_model import Result, Scannable, ScanOptions, scan
from xray_jax.report.row_values import compared
from xray_jax.report.terminal_text import printable
from xray_jax.rows.row import CLEAN, Row, is_flagged
from xray_jax.samples import Samples


class GateError(RuntimeError):
    """A model may not pass; `str` says which one and why.

    Attributes:
      result: of the scan.
      reason: why it may not pass, in one plain sentence.
    """

    def __init__(self, result: Result, reason: str | None = None) -> None:
        self.result = result
        self.reason = reason or result.sentence
        super().__init__(f"{printable(result.row['id'])} may not pass. {self.reason}")

    @property
    def row(self) -> Row:
        """All that is known of the model."""
        return self.result.row


class BackdoorSuspected(GateError):
    """The model has a confirmed trigger, or stands out among clean ones."""


class NotJudged(GateError):
    """The model could not be read, scanned or compared, or no verdict can be drawn: it is not known to be clean."""


def gate(
    model: Scannable, samples: Samples | str | Path, *, fpr: float = 0.05, **options: Unpack[ScanOptions]
) -> Result:
    """Lets a model pass that a scan finds nothing against, and stops every other one.

    Args:
      model: a path of a checkpoint, a model (`Classifier`, `BlackBox`), or a callable from images to labels `[B]` or
        logits `[B, C]`, of which nothing but labels is used.
      samples: clean images with labels, or where they are.
      fpr: false-positive rate against the references; without references it plays no part, and only a confirmed
        trigger or the thresholds of a calibration stop a model.
      **options: as in `ScanOptions`: `references`, `calibration`, `detectors`, `name`, `num_classes`, `preprocess`,
        `seed`, `inference`, `progress`.

    Returns:
      The result of the model that passed.

    Raises:
      BackdoorSuspected: the verdict is "backdoored" or "suspect".
      NotJudged: there is no verdict: the model could not be read or scanned, could not be compared with the references
        that were given, or nothing says what is normal.
      ValueError: samples, references or options cannot be used, alone or together.
    """
    result = scan(model, samples, fpr=fpr, **options)
    if is_flagged(result.row):
        raise BackdoorSuspected(result)
    against = compared(result.row)
    if against is not None and against.p_value is None:
        # Clean by the probe alone is not what was asked for.
        said = "Unknown." if result.verdict == CLEAN else result.sentence
        raise NotJudged(result, f"{said} It could not be compared with the references: {against.reason}.")
    if result.verdict != CLEAN:
        raise NotJudged(result)
    return result
