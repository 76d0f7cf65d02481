"""What is found, written into a row."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from xray_jax.classifier import Model
from xray_jax.detectors.detection import Detection
from xray_jax.detectors.run import ScannedModel
from xray_jax.prepare import PreparedModel
from xray_jax.rows.file import encode
from xray_jax.rows.row import ComparisonFields, Row
from xray_jax.verdict.comparison import compare
from xray_jax.verdict.decision import BY_PLANES, CONFIRMED_TRIGGER, NO_STAMP, STANDS_OUT, Decision
from xray_jax.verdict.references import References

DECIDED_BY = {CONFIRMED_TRIGGER: "probe", BY_PLANES: "planes", NO_STAMP: "planes"}
"""Basis of a verdict -> the detector that it rests on, whose target is the model's."""


def fill_model_fields(row: Row, model: Model, notes: Iterable[str]) -> None:
    """What the row says of the model itself; `notes` of the batch scan come first."""
    row["architecture"], row["num_classes"] = model.architecture, model.num_classes
    row["runtime"] = model.runtime
    row["preprocess"], row["preprocess_source"] = model.preprocess.settings(), model.preprocess_source
    row["notes"] = [*notes, *model.notes]


def fill_prepared_fields(row: Row, prepared: PreparedModel, notes: Iterable[str]) -> None:
    """What the row says of the model as it was made ready."""
    fill_model_fields(row, prepared.model, notes)
    choice: Any = None if prepared.choice is None else dataclasses.asdict(prepared.choice)
    row["preprocess_choice"] = choice
    row["clean_accuracy"], row["accuracy_images"] = prepared.clean_accuracy, prepared.accuracy_images
    row["constant_output"] = prepared.constant_output


def fill_detections(row: Row, scanned: ScannedModel) -> None:
    """One block a detector, and what they say together."""
    row["detectors"] = {name: block(found) for name, found in scanned.detections.items()}
    row["not_run"] = {**row["not_run"], **scanned.not_run}
    row["target_label"], row["queries"] = scanned.target, scanned.queries
    planes = scanned.detections.get("planes")
    if planes is not None and (reason := planes.details.get("reason")) is not None:
        row["notes"] = [*row["notes"], reason]


def fill_comparison(row: Row, references: References | None, fpr: float) -> ComparisonFields | None:
    """How the model stands among the reference models; None where there are none."""
    row["comparison"] = None if references is None else compare(row, references, fpr)
    return row["comparison"]


def fill_verdict(row: Row, decision: Decision) -> None:
    """The verdict, its basis, that of each statistic of the planes; the likely target is that of what decided.

    A confirmed trigger of several labels has none. Where nothing that names a class decided, the last word of the
    detectors stays.
    """
    comparison = row.get("comparison")
    if decision.basis in DECIDED_BY:
        row["target_label"] = row["detectors"][DECIDED_BY[decision.basis]]["target"]
    elif decision.basis == STANDS_OUT and comparison and comparison["label"] is not None:
        row["target_label"] = comparison["label"]
    row["verdict"], row["basis"] = decision.verdict, decision.basis
    row["verdict_re"], row["verdict_ats"] = decision.re, decision.ats


def clear_findings(row: Row) -> None:
    """Takes back what was found: a row of a failed scan says nothing that could be read as a verdict."""
    row["verdict"], row["detectors"] = None, {}
    for name in ("basis", "verdict_re", "verdict_ats", "comparison", "target_label"):
        row.pop(name, None)  # type: ignore[misc]


def block(found: Detection) -> dict[str, Any]:
    """A detection as its block of the row.

    Raises:
      ValueError: its details have no JSON form; names the detector.
    """
    made = {
        "statistics": [dataclasses.asdict(statistic) for statistic in found.statistics],
        "target": found.target,
        "queries": found.queries,
        "seconds": {name: round(value, 4) for name, value in found.seconds.items()},
        **found.details,
    }
    if found.paired:
        made["paired"] = {name: _significant(values) for name, values in found.paired.items()}
    try:
        encode({"id": found.detector, **made})
    except TypeError as error:
        raise ValueError(f"detector {found.detector}: its details are no JSON values ({error})") from error
    return made


def _significant(values: np.ndarray) -> Any:
    """Nested lists with five significant digits: what is compared with references needs no more."""
    if values.ndim > 1:
        return [_significant(part) for part in values]
    return [float(f"{value:.5g}") for value in values.tolist()]
