"""A row against the reference models: its p-value, and what of it goes into the row and the verdict."""

import numpy as np

from xray_jax.rows.row import ComparisonFields, Row
from xray_jax.verdict.references import References

MOST_KEPT = 41
"""How many numbers of a statistic a row keeps of its references; of more references it keeps quantiles."""


def compare(row: Row, references: References, fpr: float) -> ComparisonFields:
    """How the model of a row stands among the references.

    Args:
      row: with the blocks of its detectors.
      references: clean models of the same task.
      fpr: false-positive rate at which the verdict is drawn.
    """
    made = ComparisonFields(
        p_value=None,
        fpr=fpr,
        models=len(references.ids),
        source=references.source,
        standout={},
        leading=None,
        label=None,
        reason=references.unlike(row),
    )
    if made["reason"] is None and (lacking := references.lacking(row)):
        made["reason"] = f"{' and '.join(lacking)} could not be computed"
    if made["reason"] is None:
        made["reason"] = references.too_few(row, fpr)
    if made["reason"] is not None:
        return made
    found = references.judge(row)
    if found is None:
        made["reason"] = "no detector ran that the references were scanned with"
        return made
    made["p_value"], made["models"] = found.p_value, found.references
    made["standout"] = {name: round(value, 4) for name, value in found.standout.items()}
    made["leading"] = found.leading
    made["reference_standout"] = {name: spread(values) for name, values in found.others.items()}
    made["threshold"] = _rounded(found.threshold(fpr))
    made["label"] = references.label(found)
    return made


def spread(values: np.ndarray) -> list[float]:
    """All values in order, or of many as many quantiles."""
    ordered = np.sort(values)
    if len(ordered) > MOST_KEPT:
        ordered = np.quantile(ordered, np.linspace(0, 1, MOST_KEPT))
    return [round(float(value), 2) for value in ordered]


def _rounded(threshold: float | None) -> float | None:
    return round(threshold, 4) if threshold is not None and np.isfinite(threshold) else None


def is_suspect(comparison: ComparisonFields | None) -> bool:
    """Whether a model stands out among its references at the false-positive rate."""
    return comparison is not None and comparison["p_value"] is not None and comparison["p_value"] <= comparison["fpr"]
