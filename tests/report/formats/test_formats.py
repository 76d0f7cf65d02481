"""Every format: what other tools read of rows, of hostile ones too."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pyarrow as pa
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from pyarrow import parquet

from tests.places import ROOT
from tests.report import hostile, rows
from xray_jax.report.extra import ExtraError
from xray_jax.report.formats import registry
from xray_jax.report.formats.parquet import SCHEMA

PLAIN = [
    rows.confirmed("3x3 solid white patch", id="bad.pth"),
    rows.row(id="odd.pth", verdict="suspect", basis="planes, no working stamp found"),
    rows.row(id="fine.pth", basis="like the references", comparison=rows.comparison(p_value=0.5)),
    rows.row(id="open.pth", verdict="unknown", basis="not calibrated"),
    rows.error(id="cut.pth"),
    rows.error("not a checkpoint", id="notes.txt", status="skipped"),
]
HOSTILE = [
    hostile.row(whole, text, number)
    for number, text in enumerate(hostile.TEXTS)
    for whole in (PLAIN[number % 6], PLAIN[0])
]
BOTH = pytest.mark.parametrize("some", [PLAIN, HOSTILE], ids=["plain", "hostile"])


def written(name: str, some: list[Any]) -> bytes:
    file = io.BytesIO()
    registry.write(name, some, file)
    return file.getvalue()


@pytest.fixture(scope="module")
def sarif_schema() -> Any:
    return json.loads((ROOT / "tests/report/schemas/sarif-2.1.0-rtm.5.json").read_text())


@BOTH
def test_sarif_is_valid(some: list[Any], sarif_schema: Any) -> None:
    log = json.loads(written("sarif", some))
    jsonschema.Draft4Validator(sarif_schema, format_checker=jsonschema.FormatChecker()).validate(log)
    (run,) = log["runs"]
    assert len(run["results"]) == len(some)
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert all(rules[result["ruleIndex"]] == result["ruleId"] for result in run["results"])
    assert all(result["kind"] == "fail" or result["level"] == "none" for result in run["results"])


def test_sarif_says_what_was_found() -> None:
    (run,) = json.loads(written("sarif", PLAIN))["runs"]
    said = [(result["ruleId"], result["kind"], result["level"]) for result in run["results"]]
    assert said == [
        ("probe", "fail", "error"),
        ("planes", "fail", "warning"),
        ("verdict", "pass", "none"),
        ("verdict", "open", "none"),
        ("not-scanned", "fail", "warning"),
        ("not-scanned", "notApplicable", "none"),
    ]
    assert not run["invocations"][0]["executionSuccessful"]
    assert len(run["invocations"][0]["toolExecutionNotifications"]) == 2
    assert "3x3 solid white patch" in run["results"][0]["message"]["text"]
    location = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert location["uri"] == "file:///data/zoo/model.pth"


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("https://models.example.org:8080/a b/m%20n.pth", "https://models.example.org:8080/a%20b/m%20n.pth"),
        ("https://models.example.org/100%.pth?a=b", "https://models.example.org/100%25.pth?a=b"),
        ("hf://owner/name@main/a b.pth", "hf://owner/name@main/a%20b.pth"),
        ("s3://bucket/a//50%20#1.pth", "s3://bucket/a//50%2520%231.pth"),
        ("zoo/a b:c.pth", "zoo/a%20b%3Ac.pth"),
    ],
)
def test_sarif_keeps_what_an_address_is(path: str, uri: str) -> None:
    (run,) = json.loads(written("sarif", [rows.row(path=path)]))["runs"]
    (location,) = run["results"][0]["locations"]
    assert location["physicalLocation"]["artifactLocation"]["uri"] == uri


def test_sarif_fingerprints_are_those_of_the_checkpoint_and_not_of_the_run() -> None:
    def prints(some: list[Any]) -> list[str]:
        (run,) = json.loads(written("sarif", some))["runs"]
        return [result["partialFingerprints"]["checkpointAndRule/v1"] for result in run["results"]]

    newer = [row | {"version": "9", "sha256": "1" * 64, "settings_hash": "f" * 16} for row in PLAIN]
    assert prints(PLAIN) == prints(newer)
    assert len(set(prints(PLAIN))) == len(PLAIN)


ATTRIBUTES = {
    "testsuites": {"name", "tests", "failures", "errors", "skipped", "time"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "time"},
    "testcase": {"classname", "name", "time"},
    "failure": {"message", "type"},
    "error": {"message", "type"},
    "skipped": {"message"},
    "system-out": set(),
}
"""What the schemas of the common build servers agree on."""


@BOTH
def test_junit_is_what_build_servers_read(some: list[Any]) -> None:
    root = ElementTree.fromstring(written("junit", some))
    for element in root.iter():
        assert set(element.attrib) <= ATTRIBUTES[element.tag]
    assert [child.tag for child in root] == ["testsuite"]
    (suite,) = root
    assert {child.tag for child in suite} == {"testcase"}
    for tag, plural in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert int(suite.attrib[plural]) == len(suite.findall(f"testcase/{tag}")) == int(root.attrib[plural])
    assert int(suite.attrib["tests"]) == len(suite) == len(some)
    assert float(suite.attrib["time"]) >= 0


def test_junit_passes_only_what_is_clean() -> None:
    (suite,) = ElementTree.fromstring(written("junit", PLAIN))
    first = {case.attrib["name"]: case[0].tag for case in suite}
    assert first == {
        "bad.pth": "failure", "odd.pth": "failure", "fine.pth": "system-out", "open.pth": "skipped",
        "cut.pth": "error", "notes.txt": "skipped",
    }  # fmt: skip


@BOTH
def test_csv_has_a_line_a_checkpoint_and_no_formula(some: list[Any]) -> None:
    lines = list(csv.DictReader(io.StringIO(written("csv", some).decode(), newline="")))
    assert len(lines) == len(some)
    numbers = {"target_label", "planes.re", "planes.ats", "p_value"}
    for line in lines:
        assert None not in line
        for name, cell in line.items():
            assert not name.startswith(("=", "@", "+"))
            assert name in numbers or not cell.startswith(("=", "@", "+", "-"))


def test_csv_holds_the_statistics() -> None:
    lines = list(csv.DictReader(io.StringIO(written("csv", PLAIN).decode(), newline="")))
    assert (lines[0]["id"], lines[0]["verdict"], lines[0]["planes.re"]) == ("bad.pth", "backdoored", "1.3456")
    assert (lines[2]["p_value"], lines[2]["fpr"], lines[2]["references"]) == ("0.5", "0.1", "40")
    assert (lines[4]["status"], lines[4]["verdict"], lines[4]["planes.re"]) == ("error", "", "")


@BOTH
def test_parquet_holds_every_row(some: list[Any]) -> None:
    table = parquet.read_table(io.BytesIO(written("parquet", some)))
    assert table.schema.equals(SCHEMA)
    assert table.num_rows == len(some)
    records = table.to_pylist()
    for record, row in zip(records, some, strict=True):
        assert record["status"] == row["status"]
        assert len(record["statistics"]) == sum(len(block.get("statistics", [])) for block in row["detectors"].values())


def test_parquet_is_written_in_batches() -> None:
    class Many:
        """As many rows as a file may have, none of which is kept."""

        def __len__(self) -> int:
            return 2500

        def __iter__(self) -> Iterator[Any]:
            return (rows.row(id=str(number)) for number in range(2500))

        def __contains__(self, _: object) -> bool:
            return False

    before = pa.total_allocated_bytes()
    file = io.BytesIO()
    registry.write("parquet", Many(), file)
    read = parquet.ParquetFile(file)
    assert (read.metadata.num_rows, read.metadata.num_row_groups) == (2500, 3)
    assert pa.total_allocated_bytes() - before < 10_000_000


@BOTH
def test_cyclonedx_is_valid(some: list[Any]) -> None:
    text = written("cyclonedx", some).decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bom = json.loads(text)
    assert len(bom["components"]) == len(some)
    assert {component["type"] for component in bom["components"]} == {"machine-learning-model"}


def test_cyclonedx_names_model_hash_scanner_settings_and_outcome() -> None:
    bom = json.loads(written("cyclonedx", PLAIN))
    (bad,) = [component for component in bom["components"] if component["name"] == "bad.pth"]
    assert bad["hashes"] == [{"alg": "SHA-256", "content": "0" * 64}]
    said = {entry["name"]: entry["value"] for entry in bad["properties"]}
    assert (said["xray_jax:outcome"], said["xray_jax:basis"]) == ("backdoored", "confirmed trigger")
    assert (said["xray_jax:settings"], said["xray_jax:planes:re"]) == ("{}", "1.3456")
    (tool,) = bom["metadata"]["tools"]["components"]
    assert (tool["name"], tool["version"]) == ("xray_jax", "0.1.0")
    found = {entry["affects"][0]["ref"]: entry["analysis"]["state"] for entry in bom["vulnerabilities"]}
    assert found == {bad["bom-ref"]: "exploitable", "checkpoint-1": "in_triage"}


@BOTH
def test_markdown_is_inert(some: list[Any]) -> None:
    text = written("markdown", some).decode()
    for line in text.splitlines():
        bare = line
        for own in ("code", "details", "summary"):
            bare = bare.replace(f"<{own}>", "").replace(f"</{own}>", "")
        assert not set("<>[]`*_@\\") - set("*") & set(bare)
        assert "*" not in bare.replace("**", "")
        assert "://" not in line
        assert not line.startswith("|") or line.count("|") in (3, 4, *range(2, 8))


def test_markdown_says_the_worst_first() -> None:
    lines = written("markdown", PLAIN).decode().splitlines()
    assert lines[0] == "### 2 of 6 checkpoints flagged, 1 could not be scanned, 1 without a verdict"
    text = "\n".join(lines)
    assert text.index("bad.pth") < text.index("odd.pth") < text.index("Not scanned") < text.index("fine.pth")
    assert "| 1 | error&#58; FILE&#58; truncated after 100 bytes. |".replace("&#58;", ":") in text


def test_a_format_of_another_package_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        name, value = "own", "own_package:format"

        def load(self) -> Any:
            class Own:
                @staticmethod
                def write(some: Any, file: Any) -> None:
                    file.write(f"{len(some)} rows".encode())

            return Own

    class Broken(Point):
        name = "broken"

        def load(self) -> Any:
            raise ImportError("no such module")

    class Thief(Point):
        name = "csv"

    monkeypatch.setattr(registry.metadata, "entry_points", lambda group: [Point(), Broken(), Thief()])
    assert {"own", "sarif"} <= set(registry.names())
    assert written("own", PLAIN) == b"6 rows"
    assert written("csv", PLAIN).startswith(b"id,")
    with pytest.raises(registry.FormatError, match="broken: own_package:format cannot be used"):
        registry.get("broken")


def test_errors_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(registry.FormatError, match="no such format; known: csv, cyclonedx"):
        registry.get("sariff")

    def missing(_: str) -> Any:
        raise ModuleNotFoundError("No module named 'pyarrow'", name="pyarrow")

    monkeypatch.setattr(registry.importlib, "import_module", missing)
    with pytest.raises(ExtraError, match=r"--format=parquet needs pyarrow: pip install 'xray-jax\[report\]'"):
        registry.get("parquet")
