"""Rows of earlier schemas, read as rows of this one; never misread."""

from collections.abc import Mapping
from typing import Any, cast

from xray_jax.rows.row import OK, SCHEMA, Row

_FINDING = {"goals": "target_labels", "index": "anomaly_index", "rival": "runner_up"}
_COST = {"price": "weighted_rms"}
_PLANES = ("re", "ats", "label_distribution", "planes", "sampling", "stopped")
_PLANES_OPTIONS = (
    "planes", "density", "expansion", "alpha", "ats_cap", "ats", "seed", "sampling", "max_queries",
)  # fmt: skip
_MOVED = (*_PLANES, "ground", "probe")
_VERDICT = ("verdict", "ground", "verdict_re", "verdict_ats", "target_label")
_GROUNDS = {"proved": "confirmed trigger"}
_PROBE_VERDICTS = {"proved": "confirmed"}
_NEEDED = ("status", "settings_hash")


class SchemaError(ValueError):
    """A row is of a schema that this version cannot read, or no row of a scan."""


def upgrade(row: Mapping[str, Any]) -> Row:
    """The row in the shape of `SCHEMA`; one that has it already is returned as it is.

    Rows of the first versions say no schema; theirs is 1. Their `settings_hash` stays what it was, so that they are
    never taken for a scan of this version.

    Raises:
      SchemaError: a later schema than this version knows, or no row of a scan.
    """
    schema = row.get("schema", 1)
    if schema not in (1, SCHEMA):
        raise SchemaError(f"row {row.get('id')!r} has schema {schema!r}, this version reads 1 and {SCHEMA}: update it")
    if lacking := [name for name in _NEEDED if name not in row]:
        raise SchemaError(f"row {row.get('id')!r} is no row of a scan (it has no {' and no '.join(lacking)})")
    return cast(Row, row) if schema == SCHEMA else _from_first(row)


def _from_first(row: Mapping[str, Any]) -> Row:
    moved = _MOVED if row["status"] == OK else (*_MOVED, *_VERDICT)
    upgraded: dict[str, Any] = {"id": row["id"], "schema": SCHEMA}
    upgraded |= {name: value for name, value in row.items() if name not in moved}
    upgraded["settings"], upgraded["not_run"] = _settings(row.get("settings", {})), {}
    if row["status"] != OK:
        # A scan that failed at its very end kept its verdict in the first schema.
        return cast(Row, upgraded | {"verdict": None, "detectors": {}})
    upgraded["detectors"] = _blocks(row)
    upgraded.setdefault("target_label", None)
    if "ground" in row:
        upgraded["basis"] = _GROUNDS.get(row["ground"], row["ground"])
    if row.get("re"):
        upgraded["constant_output"] = row.get("ground") == "constant_output"
    elif row.get("probe"):
        # Without planes only the probe had measured it, on its own images.
        upgraded.setdefault("clean_accuracy", row["probe"]["clean_accuracy"])
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
            "target": _planes_target(row),
            # The first schema does not tell the planes' queries from those of the clean accuracy.
            "queries": spent,
            "seconds": {name: seconds[name] for name in ("labels", "scores") if name in seconds},
        } | {name: row[name] for name in _PLANES if name in row}
    if probe:
        blocks["probe"] = _probe(probe, seconds)
    return blocks


def _planes_target(row: Mapping[str, Any]) -> int | None:
    """The label that owns most of the planes; the first schema writes the probe's target over it."""
    shares = row.get("label_distribution") or []
    return max(range(len(shares)), key=shares.__getitem__) if shares else row.get("target_label")


def _settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Options of planes and probe under their detectors, where those were to run."""
    planes = {name: settings[name] for name in _PLANES_OPTIONS if name in settings}
    probe = settings.get("probe")
    rest = {name: value for name, value in settings.items() if name not in (*_PLANES_OPTIONS, "probe")}
    if "seed" in settings:
        # It also drew the samples that the clean accuracy was measured on.
        rest["seed"] = settings["seed"]
    own = {}
    if planes and not (probe and probe.get("mode") == "only"):
        own["planes"] = planes
    if probe:
        own["probe"] = probe
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
        found["cost"] = {_COST.get(name, name): value for name, value in found["cost"].items()}
    return found
