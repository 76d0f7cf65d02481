"""The JSON schema says what the types say, and refuses what could be misread."""

import copy
from typing import Any, get_type_hints

import pytest

from tests.rows import rows
from tests.schema import check, faults
from xray_jax.classifier import PREPROCESS_SOURCES
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.detectors.probe.result import Finding, Verdict
from xray_jax.rows import row as row_types
from xray_jax.rows.file import json_form
from xray_jax.rows.row import Row
from xray_jax.rows.schema import is_row, json_schema, validator

SCHEMA = json_schema()
DEFINITIONS: dict[str, Any] = {
    "planes": row_types.PlanesBlock,
    "probe": row_types.ProbeBlock,
    "detector": row_types.DetectorBlock,
    "score": row_types.ScoreFields,
    "statistic": row_types.StatisticFields,
    "comparison": row_types.ComparisonFields,
    "preprocess_choice": row_types.PreprocessChoiceFields,
}


def test_the_schema_is_one() -> None:
    validator().check_schema(SCHEMA)
    assert SCHEMA["properties"]["schema"] == {"const": row_types.SCHEMA}


def test_schema_and_types_name_the_same_fields() -> None:
    assert set(SCHEMA["properties"]) == set(get_type_hints(Row))
    assert set(SCHEMA["required"]) == Row.__required_keys__
    assert set(SCHEMA["then"]["required"]) <= Row.__optional_keys__
    for name, typed in DEFINITIONS.items():
        definition = SCHEMA["$defs"][name]
        assert set(definition["properties"]) == set(get_type_hints(typed)), name
        assert set(definition["required"]) == typed.__required_keys__, name
        assert definition.get("additionalProperties", True) is (name == "detector"), name


def test_words_are_those_of_the_code() -> None:
    properties = SCHEMA["properties"]
    assert properties["status"]["enum"] == [row_types.OK, row_types.ERROR, row_types.SKIPPED]
    assert properties["verdict"]["enum"] == [*row_types.VERDICTS, None]
    assert tuple(properties["preprocess_source"]["enum"]) == PREPROCESS_SOURCES
    assert SCHEMA["$defs"]["probe"]["properties"]["verdict"]["enum"] == [str(verdict) for verdict in Verdict]
    assert PlanesOptions().sampling in SCHEMA["$defs"]["planes"]["properties"]["sampling"]["enum"]


def test_a_finding_is_as_the_probe_writes_it() -> None:
    found = Finding("all-to-one", (0, -1), "patch", {"row": 1.0}, "patch", 1, 2, 0.1, 0.1, 1.0, 0.1, 2.0, 0.0).row()
    definition = SCHEMA["$defs"]["finding"]
    assert set(found) == set(definition["required"])
    assert set(definition["properties"]) - set(found) == {"bank", "threshold"}
    assert set(found["cost"]) == set(SCHEMA["$defs"]["cost"]["required"])
    check(rows.full_row(detectors={"probe": rows.probe(best=found, candidates=[found | {"threshold": 0.5}])}))


@pytest.mark.parametrize(
    "row",
    [
        rows.full_row(),
        rows.error_row(),
        rows.error_row(status="skipped"),
        rows.full_row(label=1, target=3, manifest={"epochs": 8}, not_run={"margin": "it needs logits"}),
        rows.full_row(
            detectors={"other": {"statistics": [], "target": None, "queries": 0, "seconds": {}, "more": [1, {}]}}
        ),
        rows.full_row(verdict="unknown", basis="not calibrated", detectors={}),
        rows.full_row(detectors={"planes": rows.planes() | {"stopped": "settled"}}),
    ],
    ids=lambda row: f"{row['status']} {row['verdict']} {'-'.join(row['detectors'])}",
)
def test_whole_rows_pass(row: dict[str, Any]) -> None:
    assert check(row) is row


def without(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}


WRONG = {
    "an error that reads as clean": (rows.error_row(verdict="clean"), "verdict"),
    "an error with the basis of a verdict": (rows.error_row(basis="clean so far"), "clean so far"),
    "an error with findings": (rows.error_row(detectors={"planes": rows.planes()}), "detectors"),
    "an error without a reason": (rows.error_row(reason=None), "reason"),
    "a skip that reads as clean": (rows.error_row(status="skipped", verdict="clean"), "verdict"),
    "a scan without a verdict": (rows.full_row(verdict=None), "verdict"),
    "a scan without a basis": (without(rows.full_row(), "basis"), "basis"),
    "a scan without an accuracy": (without(rows.full_row(), "clean_accuracy"), "clean_accuracy"),
    "a scan without its content": (rows.full_row(sha256=None), "sha256"),
    "a verdict of its own": (rows.full_row(verdict="proved"), "proved"),
    "an unknown field": (rows.full_row(ground="planes"), "ground"),
    "another schema": (rows.full_row(schema=1), "schema"),
    "a detector without queries": (
        rows.full_row(detectors={"other": {"statistics": [], "target": None, "seconds": {}}}),
        "queries",
    ),
    "an unknown field of the planes": (rows.full_row(detectors={"planes": rows.planes() | {"goal": 1}}), "goal"),
    "an old finding": (rows.full_row(detectors={"probe": rows.probe(best=rows.finding(rival=0.1))}), "best"),
    "a candidate without its threshold": (
        rows.full_row(detectors={"probe": rows.probe(candidates=[rows.finding()])}),
        "threshold",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_could_be_misread_is_refused(case: str) -> None:
    row, word = WRONG[case]
    found = faults(copy.deepcopy(row))
    assert found
    assert word in " ".join(found)


def test_what_is_no_row() -> None:
    row = json_form(rows.full_row())
    assert is_row(row)
    assert not is_row(row | {"schema": 99})
    assert not is_row({name: row[name] for name in row if name != "settings_hash"})
    assert not is_row([row])


def test_lists_as_deep_as_json_is_read_are_no_row() -> None:
    deep: Any = "ok"
    for _ in range(990):
        deep = [deep]
    assert is_row(row := json_form(rows.full_row()))
    assert not is_row(row | {"status": deep})
    assert not is_row(deep)
