"""xray-merge as it is typed: other formats, the summary, what it refuses."""

import csv
import io
import subprocess
import sys
from pathlib import Path

import pytest
from pyarrow import parquet

from tests import commands
from tests.report import rows
from xray_jax.rows import file as row_file


@pytest.fixture
def shards(tmp_path: Path) -> str:
    row_file.write_all(tmp_path / "rows-00000-of-00002.jsonl", [rows.row(id="c"), rows.row(id="a")])
    row_file.write_all(tmp_path / "rows-00001-of-00002.jsonl", [rows.row(id="b"), rows.row(id="b", verdict="clean")])
    return f"{tmp_path}/rows-*.jsonl"


def merge(*flags: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "xray_jax.scripts.merge", *flags], capture_output=True, check=False)


def test_merged_rows_are_written_for_other_tools(shards: str, tmp_path: Path) -> None:
    done = merge(f"--rows={shards}", "--format=parquet", f"--out={tmp_path / 'rows.parquet'}", "--summary")
    assert (done.returncode, done.stdout) == (0, b"")
    assert parquet.read_table(tmp_path / "rows.parquet").column("id").to_pylist() == ["a", "b", "c"]
    said = done.stderr.decode().splitlines()
    assert said[-1] == "xray-merge: 3 rows from 2 files"
    assert said[-2].startswith("3 scanned, ")
    done = merge(f"--rows={shards}", "--format=csv", "--out=-")
    table = list(csv.DictReader(io.StringIO(done.stdout.decode())))
    assert [(line["id"], line["verdict"]) for line in table][1] == ("b", "clean")


def test_a_row_without_a_score_has_a_line_in_the_table(tmp_path: Path) -> None:
    scored = [rows.row(id=f"row {number}") for number in range(4)]
    del scored[0]["detectors"]["planes"]["ats"]
    scored[1]["detectors"]["planes"]["ats"] = None
    scored[2]["detectors"]["planes"]["ats"] = {"mean": "x"}
    row_file.write_all(tmp_path / "rows.jsonl", scored)
    done = commands.finished("xray-merge", f"--rows={tmp_path}/rows.jsonl", f"--out={tmp_path}/all.jsonl", "--summary")
    assert done.returncode == 0, done.stderr
    assert [line.count("0.322") for line in done.stderr.splitlines() if line.startswith("row ")] == [0, 0, 0, 1]


def test_names_of_missing_shards_are_printable(tmp_path: Path) -> None:
    row_file.write_all(tmp_path / "a\x1b[2J-00000-of-00002.jsonl", [rows.row()])
    done = commands.finished("xray-merge", f"--rows={tmp_path}/*.jsonl", f"--out={tmp_path}/all.jsonl")
    assert done.returncode == 2
    assert "missing row file: a?[2J-00001-of-00002.jsonl" in done.stderr


def test_what_no_report_takes_is_refused_before_anything_is_written(shards: str, tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    done = merge(f"--rows={shards}", "--format=pdf", f"--out={out}")
    assert b"--format=pdf: no such format; known: csv, cyclonedx, jsonl, junit," in done.stderr
    row_file.write_all(tmp_path / "rows-00001-of-00002.jsonl", [rows.row(id="b", verdict="splendid")])
    done = merge(f"--rows={shards}", "--format=csv", f"--out={out}")
    assert done.returncode == 2
    assert b"rows-00001-of-00002.jsonl: row 1: `verdict` is none of" in done.stderr
    assert not out.exists()
