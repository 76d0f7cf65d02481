"""xray-report as it is typed: what it writes, where it says so, and its exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import commands
from tests.report import rows
from xray_jax.rows import file as row_file


@pytest.fixture
def rows_file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    row_file.write_all(path, [rows.confirmed("3x3 solid white patch", id="a"), rows.row(id="b"), rows.row(id="b")])
    return path


def report(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "xray_jax.scripts.report", *flags], capture_output=True, text=True, check=False
    )


def test_pages_and_files_are_written(rows_file: Path, tmp_path: Path) -> None:
    done = report(f"--rows={rows_file}", f"--out={tmp_path / 'pages'}", f"--against={rows_file}")
    assert (done.returncode, done.stdout) == (0, "")
    index = tmp_path / "pages" / "index.html"
    assert done.stderr == f"xray-report: 2 rows; open {index.as_uri()}\n"
    assert "0 with another verdict, 2 with the same" in index.read_text()
    done = report(f"--rows={rows_file}", "--format=sarif", "--out=-")
    assert done.returncode == 0
    assert len(json.loads(done.stdout)["runs"][0]["results"]) == 2


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["--rows=none.jsonl", "--out=x"], 2, "none.jsonl: no such row file"),
        (["--out=-"], 4, "--out=-: pages need a folder; give --format for one file"),
        (["--format=pdf", "--out=x"], 4, "--format=pdf: no such format; known: csv, cyclonedx, html, junit,"),
        (["--rows=.", "--out=x", "--format=csv"], 2, ".: a folder; give the row files in it, such as './*.jsonl'"),
        (["--format=csv", "--out=x", "--plots=y"], 4, "--plots is for pages, not for --format=csv"),
    ],
)
def test_errors_say_what_to_do(rows_file: Path, flags: list[str], code: int, said: str) -> None:
    rows_flag = [] if flags[0].startswith("--rows") else [f"--rows={rows_file}"]
    done = report(*rows_flag, *flags)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr


def test_what_a_report_is_made_without_is_said(rows_file: Path, tmp_path: Path) -> None:
    with open(rows_file, "a") as file:
        file.write('{"id":"c"')
    flags = (f"--plots={tmp_path}/none", f"--save_maps={rows_file}")
    done = commands.finished("xray-report", f"--rows={rows_file}", f"--out={tmp_path / 'pages'}", *flags)
    assert done.returncode == 0, done.stderr
    assert [line.partition("; ")[0] for line in done.stderr.splitlines()] == [
        f"xray-report: --plots={tmp_path}/none: no such folder",
        f"xray-report: --save_maps={rows_file}: no such folder",
        f"xray-report: {rows_file}: line 4 is torn: a scan is writing it or was cut off",
        "xray-report: 2 rows",
    ]
