"""Rows of earlier schemas, read as rows of this one; never misread."""

from collections.abc import Mapping
from typing import Any, cast

from xray_jax.rows.row import ERROR, SCHEMA, Row

_FINDING = {"goals": "target_labels", "index": "anomaly_index", "rival": "runner_up"}
_PLANES = ("re", "ats", "label_distribution", "planes", "sampling", "stopped")
_PLANES_OPTIONS = (
    "planes", "density", "expansion", "alpha", "ats_cap", "ats", "seed", "sampling", "max_queries",
)  # fmt: skip
_MOVED = (*_PLANES, "ground", "probe")
_GROUNDS = {"proved": "confirmed trigger"}
_PROBE_VERDICTS = {"proved": "confirmed"}


class SchemaError(ValueError):
    """A row is of a schema that this version cannot read."""


def upgrade(row: Mapping[str, Any]) -> Row:
    """The row in the shape of `SCHEMA`; one that has it already is returned as it is.

    Rows of the first versions say no schema; theirs is 1.

    Raises:
      SchemaError: a later schema than this version knows, or none at all.
    """
    schema = row.get("schema", 1)
    if schema == SCHEMA:
        return cast(Row, row)
    if schema != 1:
        raise SchemaError(f"row {row.get('id')!r} has schema {schema!r}, this version reads 1 and {SCHEMA}: update it")
    if "status" not in row or "settings_hash" not in row:
        raise SchemaError(f"row {row.get('id')!r} is no row of a scan (it has no `status` and `settings_hash`)")
    upgraded: dict[str, Any] = {"id": row["id"], "schema": SCHEMA}
    upgraded |= {name: value for name, value in row.items() if name not in _MOVED}
    upgraded["detectors"], upgraded["not_run"] = _blocks(row), {}
    upgraded["settings"] = _settings(row.get("settings", {}))
    if "ground" in row:
        upgraded["basis"] = _GROUNDS.get(row["ground"], row["ground"])
    if row["status"] == ERROR:
        upgraded["verdict"] = None
    return cast(Row, upgraded)


def _blocks(row: Mapping[str, Any]) -> dict[str, Any]:
    blocks: dict[str, Any] = {}
    seconds = row.get("seconds") or {}
    probe = row.get("probe")
    if row.get("re"):
        spent = row.get("queries", 0) - (probe["queries"] if probe else 0)
        blocks["planes"] = {
            "statistics": [
                {"name": name, "value": row[name]["mean"], "suspect": "low"} for name in ("re", "ats") if row.get(name)
            ],
            "target": None if probe and probe.get("target") is not None else row.get("target_label"),
            # The first schema does not tell the planes' queries from those of the clean accuracy.
            "queries": spent,
            "seconds": {name: seconds[name] for name in ("labels", "scores") if name in seconds},
        } | {name: row[name] for name in _PLANES if name in row}
    if probe:
        blocks["probe"] = _probe(probe, seconds)
    return blocks


def _settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Options of planes and probe under their detectors; the hash stays that of the old shape."""
    planes = {name: settings[name] for name in _PLANES_OPTIONS if name in settings}
    rest = {name: value for name, value in settings.items() if name not in (*_PLANES_OPTIONS, "probe")}
    own = {"planes": planes} if planes else {}
    if settings.get("probe"):
        own["probe"] = settings["probe"]
    return {**rest, "detectors": own}


def _probe(probe: Mapping[str, Any], seconds: Mapping[str, float]) -> dict[str, Any]:
    block = {
        "statistics": [
            {"name": "margin", "value": probe["margin"] if probe.get("score") is not None else -1.0, "suspect": "high"}
        ],
        "seconds": {name: seconds[name] for name in ("probe",) if name in seconds},
        **probe,
    }
    block["verdict"] = _PROBE_VERDICTS.get(probe["verdict"], probe["verdict"])
    block["best"] = None if probe.get("best") is None else finding(probe["best"])
    block["candidates"] = [finding(found) for found in probe.get("candidates", [])]
    return block


def finding(row: Mapping[str, Any]) -> dict[str, Any]:
    """A finding of the probe in the words of this schema."""
    found = {_FINDING.get(name, name): value for name, value in row.items()}
    if "cost" in found:
        found["cost"] = {{"price": "weighted_rms"}.get(name, name): value for name, value in found["cost"].items()}
    return found
