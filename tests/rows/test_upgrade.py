"""Rows of schema 1, real ones and made by hand, read as rows of this schema; what is neither is refused."""

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import factory
from tests.places import ROOT
from tests.rows import rows
from tests.schema import check
from xray_jax.detectors.planes.detector import Planes
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.detectors.probe import result as probe_result
from xray_jax.rows import file as row_file
from xray_jax.rows.file import ResultsError, RowWriter
from xray_jax.rows.merge import MergeError, merge
from xray_jax.rows.upgrade import SchemaError, upgrade
from xray_jax.sweep.batch_scan import BatchScan
from xray_jax.sweep.checkpoint_list import Entry

EVIDENCE = ("cifar10-first", "clean-models")


@functools.cache
def evidence(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (ROOT / "docs/evidence" / name / "rows.jsonl").read_text().splitlines()]


def first_schema(**changes: Any) -> dict[str, Any]:
    """A real row of schema 1, of planes and probe."""
    return json.loads(json.dumps(evidence(EVIDENCE[0])[0])) | changes


def first_schema_error(status: str = "error", **changes: Any) -> dict[str, Any]:
    """A row of schema 1 of a file that could not be read."""
    names = ("id", "path", "label", "target", "manifest", "settings", "settings_hash", "device", "versions", "version")
    row = {name: value for name, value in first_schema().items() if name in names}
    unread = {"sha256": None, "format": None, "architecture": None, "verdict": None, "notes": []}
    return row | unread | {"status": status, "reason": "a.pt: empty"} | changes


@pytest.mark.parametrize("name", EVIDENCE)
def test_every_row_of_the_evidence_is_a_whole_row(name: str) -> None:
    for old in evidence(name):
        new: Any = check(upgrade(old))
        assert row_file.identity(new) == row_file.identity(old)
        assert (new["schema"], new["verdict"], new["queries"]) == (2, old["verdict"], old["queries"])
        assert new["basis"] == ("confirmed trigger" if old["ground"] == "proved" else old["ground"])
        assert new["target_label"] == old.get("target_label")
        assert not {"re", "ats", "probe", "ground"} & set(new)
        found, before = new["detectors"]["probe"], old["probe"]
        assert found["verdict"] == ("confirmed" if before["verdict"] == "proved" else before["verdict"])
        for after, was in zip([found["best"], *found["candidates"]], [before["best"], *before["candidates"]]):  # noqa: B905
            compare_findings(after, was)
        if "re" in old:
            block = new["detectors"]["planes"]
            assert [block["re"], block["ats"], block["stopped"]] == [old["re"], old["ats"], old["stopped"]]
            assert block["queries"] + found["queries"] == new["queries"]
            assert old["ground"] == "proved" or block["target"] == old["target_label"]
        else:
            assert "planes" not in new["detectors"]
            assert new["clean_accuracy"] == before["clean_accuracy"]


def compare_findings(after: Any, was: Any) -> None:
    if was is None:
        assert after is None
        return
    assert after["target_labels"] == was["goals"]
    assert (after["anomaly_index"], after["runner_up"]) == (was["index"], was["rival"])
    assert after["cost"]["weighted_rms"] == was["cost"]["price"]
    finding = probe_result.from_row(after)
    assert (finding.target, finding.rate) == (was["target"], was["rate"])
    # Whole and with nothing added: as the probe writes it today.
    assert {name: value for name, value in after.items() if name != "threshold"} == finding.row()


def test_settings_go_under_their_detectors_and_the_hash_stays() -> None:
    old = first_schema()
    new: Any = upgrade(old)
    assert new["settings_hash"] == old["settings_hash"] == row_file.settings_hash(old["settings"])
    assert new["settings"]["detectors"]["planes"]["density"] == 100
    assert new["settings"]["detectors"]["probe"] == old["settings"]["probe"]
    assert new["settings"]["seed"] == old["settings"]["seed"]
    assert "density" not in new["settings"]
    only = first_schema(settings={**old["settings"], "probe": {**old["settings"]["probe"], "mode": "only"}})
    assert set(upgrade(only)["settings"]["detectors"]) == {"probe"}
    off = first_schema(settings={**old["settings"], "probe": None})
    assert set(upgrade(off)["settings"]["detectors"]) == {"planes"}


@pytest.mark.parametrize("status", ["error", "skipped"])
def test_rows_without_a_scan(status: str) -> None:
    new: Any = check(upgrade(first_schema_error(status)))
    assert (new["status"], new["reason"], new["verdict"], new["detectors"]) == (status, "a.pt: empty", None, {})
    # A scan whose maps could not be saved at its very end.
    late: Any = check(upgrade(first_schema(status=status, reason="OSError: No space left on device")))
    assert late["verdict"] is None
    assert "basis" not in late


def test_doubts_and_planes_alone() -> None:
    old = first_schema(verdict="unknown", ground="constant_output")
    del old["probe"]
    new: Any = check(upgrade(old))
    assert (new["basis"], new["constant_output"]) == ("constant_output", True)
    assert set(new["detectors"]) == {"planes"}
    assert new["detectors"]["planes"]["queries"] == old["queries"]


def test_a_row_of_this_schema_is_itself() -> None:
    row = rows.full_row()
    assert upgrade(row) is row


NO_ROWS = {
    "a later schema": (rows.full_row(schema=3), "has schema 3, this version reads 1 and 2: update it"),
    "a schema in words": (rows.full_row(schema="two"), "has schema 'two'"),
    "a manifest": ({"id": "a", "path": "a.pt"}, "'a' is no row of a scan (it has no status and no settings_hash)"),
    "half a row": ({"id": "a", "schema": 2, "status": "ok"}, "it has no settings_hash"),
}


@pytest.mark.parametrize("case", NO_ROWS)
def test_what_is_no_row_is_refused_wherever_rows_are_read(case: str, tmp_path: Path) -> None:
    row, message = NO_ROWS[case]
    with pytest.raises(SchemaError, match="row 'a'"):
        upgrade(row)
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(rows.full_row()) + "\n" + json.dumps(row) + "\n")
    before = path.read_bytes()
    for read in (lambda: list(row_file.read(path)), lambda: merge([path]), lambda: RowWriter(path)):
        with pytest.raises(ResultsError) as error:
            read()
        assert str(error.value).startswith(f"{path}: line 2: ")
        assert message in str(error.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "command",
    [
        ["merge", "--rows={}", "--out=-"],
        ["calibrate", "--rows={}", "--null=null.json"],
        ["confirm", "--row={}", "--samples=samples.npz"],
        ["scan", "--checkpoints=a.safetensors", "--samples=samples.npz", "--out={}"],
    ],
    ids=lambda command: command[0],
)
def test_the_commands_say_which_line(command: list[str], tmp_path: Path) -> None:
    factory.save_samples(tmp_path / "samples.npz")
    factory.save_tiny(tmp_path / "a.safetensors")
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(rows.full_row(schema=3)) + "\n")
    script, *flags = command
    arguments = [sys.executable, "-m", f"xray_jax.scripts.{script}", *(flag.format(path) for flag in flags)]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in (2, 4), done.stderr
    assert done.stdout == ""
    assert f"{path}: line 1: row 'a' has schema 3, this version reads 1 and 2: update it" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_resumed_file_of_schema_1_is_scanned_again_and_keeps_its_rows(tmp_path: Path) -> None:
    entry = Entry("a", factory.save_tiny(tmp_path / "a.safetensors"))
    scan = BatchScan(factory.tiny_samples(), (Planes(PlanesOptions(planes=2, density=12)),))
    (fresh,) = (finished.row for finished in scan.run([entry]))
    path = tmp_path / "rows.jsonl"
    # The same checkpoint and tool version: only the hash of the settings tells the two scans apart.
    old = first_schema(id="a", sha256=fresh["sha256"], version=fresh["version"])
    path.write_text(json.dumps(old) + "\n")
    line = path.read_text()
    with RowWriter(path) as writer:
        assert [row["schema"] for row in writer.rows] == [2]
        for finished in scan.run([entry], writer.done):
            writer.write(finished.row)
        assert scan.key(entry) == (fresh["id"], fresh["settings_hash"], fresh["version"])
    assert path.read_text().startswith(line)
    first, second = map(check, row_file.read(path))
    assert first["settings_hash"] == old["settings_hash"] != second["settings_hash"] == fresh["settings_hash"]
    with RowWriter(path) as writer:
        assert list(scan.run([entry], writer.done)) == []
    assert merge([path]).rows == [second]
    # Two scans under other settings never become one file of results.
    row_file.write_all(tmp_path / "old.jsonl", [first | {"id": "b"}])
    with pytest.raises(MergeError, match=r"other settings .*detectors\.planes\.density: 12 / 100"):
        merge([path, tmp_path / "old.jsonl"])


def test_shards_of_schema_1_merge_into_rows_of_this_schema(tmp_path: Path) -> None:
    paths = [tmp_path / f"rows-0000{n}-of-00002.jsonl" for n in (0, 1)]
    for path, name in zip(paths, "ba", strict=True):
        path.write_text(json.dumps(first_schema(id=name)) + "\n")
    merged = merge(paths)
    assert merged.complete
    assert [check(row)["id"] for row in merged.rows] == ["a", "b"]
