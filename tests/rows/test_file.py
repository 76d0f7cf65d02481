import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.rows.rows import error_row, full_row
from tests.schema import check
from xray_jax.rows import file as row_file
from xray_jax.rows.file import RowWriter
from xray_jax.rows.line import TornLineError


def test_rows_come_back_as_written(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "rows ü.jsonl"
    first = full_row(id="ü\udcff", manifest={"value": np.float64(0.5), "nan": float("nan"), "array": np.arange(3)})
    with RowWriter(path) as writer:
        writer.write(first)
        writer.write(full_row(id="b"))
    back: list[Any] = list(map(check, row_file.read(path)))
    assert back[0] == first | {"manifest": {"value": 0.5, "nan": None, "array": [0, 1, 2]}}
    assert row_file.identity(back[1]) == ("b", "a" * 64, back[1]["settings_hash"], "1")
    assert path.read_text().startswith('{"id":"')


@pytest.mark.parametrize("torn", ['{"id":"c"', '{"id', '{"id":"' + "x" * 200_000, "\0" * 100_000, '{"id":"c\0\0'])
def test_a_torn_last_line_is_dropped(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(full_row(id="a")) + "\n" + torn)
    with pytest.raises(TornLineError, match="line 2 is torn"):
        list(row_file.read(path))
    with RowWriter(path) as writer:
        assert [kept["id"] for kept in writer.rows] == ["a"]
        writer.write(error_row(id="b"))
    assert [kept["id"] for kept in row_file.read(path)] == ["a", "b"]


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("my precious notes\n")
    with pytest.raises(row_file.ResultsError, match="line 1 is no JSON row"):
        RowWriter(path)
    assert path.read_text() == "my precious notes\n"
    path.write_text("my precious notes, no newline")
    with pytest.raises(row_file.ResultsError, match="last line is no JSON row"):
        RowWriter(path)
    assert path.read_text() == "my precious notes, no newline"
    for precious in (b"\0" * 1000, json.dumps(full_row()).encode() + b"\n" + b"\0" * 70_000 + b"mine"):
        path.write_bytes(precious)
        with pytest.raises(row_file.ResultsError, match="last line is no JSON row"):
            RowWriter(path)
        assert path.read_bytes() == precious


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[]\n", "line 1 is no row of this tool"),
        (b'{"path": "a.pt"}\n', "it has no `id`"),
        (b'{"id": 5}\n', "no `id`, or one that is no text"),
        (b'{"id": ["a"]}\n', "no `id`, or one that is no text"),
        (b'{"id":' + b"1" * 5000 + b"}\n", "rows.jsonl: line 1 is no JSON row .*digits"),
        (b'{"id":' + b"[" * 100_000 + b"\n", "rows.jsonl: line 1 is no JSON row .*recursion"),
        (b'{"id":"a","sta', "rows.jsonl: line 1 is torn: a scan is writing it or was cut off"),
        (b"\xff\xfe\n", "not a text file of JSON rows"),
    ],
)
def test_other_lines_are_no_rows(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(row_file.ResultsError, match=message):
        list(row_file.read(path))
    with pytest.raises(row_file.ResultsError, match="no such row file"):
        list(row_file.read(tmp_path / "none.jsonl"))
    with pytest.raises(row_file.ResultsError, match="a folder; give the row files in it"):
        list(row_file.read(tmp_path))


def test_unwritable_places_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(row_file.ResultsError, match="cannot write rows there"):
        RowWriter(tmp_path / "file" / "rows.jsonl")


def test_the_later_row_of_one_scan_is_done(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with RowWriter(path) as writer:
        for reason in ("a.pt: gone", "a.pt: damaged"):
            writer.write(error_row(reason=reason))
        assert len(writer.rows) == 2
    with RowWriter(path) as writer:
        assert [row["reason"] for row in writer.done.values()] == ["a.pt: damaged"]


def test_what_a_later_run_does_not_compare_is_not_held(tmp_path: Path) -> None:
    """Reasons may be long, and many rows may have one."""
    with RowWriter(tmp_path / "rows.jsonl") as writer:
        writer.write(error_row(id="known", sha256="a" * 64, reason="x" * 2000))
        writer.write(error_row(id="never read", reason="gone"))
        assert {row["id"]: row["reason"] for row in writer.done.values()} == {"known": None, "never read": "gone"}


def test_a_content_that_was_scanned_before_another_one_is_not_done(tmp_path: Path) -> None:
    """Met again it is scanned again, or the row of the other one would go on to count."""
    path = tmp_path / "rows.jsonl"
    first, second, unread = full_row(sha256="a" * 64), full_row(sha256="b" * 64), error_row(id=full_row()["id"])
    with RowWriter(path) as writer:
        writer.write(first)
        for other in (second, unread, first):
            writer.write(other)
            assert list(writer.done) == [row_file.identity(other)]
    with RowWriter(path) as writer:
        assert list(writer.done) == [row_file.identity(first)]
        assert len(writer.rows) == 4


FULL_DISK = """
import json, resource, signal, sys
from xray_jax.rows.file import ResultsError, RowWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
row = json.loads(sys.argv[2])
with RowWriter(sys.argv[1]) as writer:
    try:
        for i in range(100):
            writer.write({**row, "id": str(i)})
    except ResultsError as error:
        print(len(writer.rows), error)
"""


def test_a_full_disk_leaves_whole_rows_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    command = [sys.executable, "-c", FULL_DISK, str(path), json.dumps(full_row())]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    count, message = done.stdout.split(" ", 1)
    assert "Make room and start the same command again" in message
    assert "rows so far are intact" in message
    assert [kept["id"] for kept in row_file.read(path)] == [str(i) for i in range(int(count))]
    assert 5 < int(count) < 12
    assert os.path.getsize(path) <= 20_000


def test_settings_hash_ignores_order_only() -> None:
    assert row_file.settings_hash({"a": 1, "b": 2}) == row_file.settings_hash({"b": 2, "a": 1})
    assert row_file.settings_hash({"a": 1}) != row_file.settings_hash({"a": 2})
