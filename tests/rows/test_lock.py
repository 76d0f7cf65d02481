import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.rows.rows import full_row
from xray_jax.rows import file as row_file
from xray_jax.rows.file import ResultsError, RowWriter

_HOLD = """
import sys
from xray_jax.rows.file import RowWriter
writer = RowWriter(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


def test_a_second_writer_of_a_file_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with RowWriter(path) as writer:
        writer.write(full_row(id="a"))
        with open(path, "ab") as file:
            file.write(b'{"id":"b"')
        for _ in range(2):
            with pytest.raises(ResultsError, match=r"another scan is writing rows there; .* another --out"):
                RowWriter(path)
        # Nothing was taken for torn, either.
        assert path.read_bytes().endswith(b'{"id":"b"')
    with RowWriter(path) as writer:
        assert [row["id"] for row in writer.rows] == ["a"]


def test_a_file_is_not_replaced_while_a_scan_writes_to_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with RowWriter(path) as writer:
        writer.write(full_row(id="a"))
        with pytest.raises(ResultsError, match=r"another scan is writing rows there"):
            row_file.write_all(path, [full_row(id="b")])
        writer.write(full_row(id="c"))
    assert [row["id"] for row in row_file.read(path)] == ["a", "c"]
    row_file.write_all(path, [full_row(id="b")])
    assert [row["id"] for row in row_file.read(path)] == ["b"]


def test_a_process_that_is_killed_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    command = [sys.executable, "-c", _HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        with pytest.raises(ResultsError, match="another scan"):
            RowWriter(path)
        process.kill()
        process.wait()
        RowWriter(path).close()


def test_a_file_that_is_no_row_file_is_not_kept_open(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("my notes\n")
    for _ in range(2):
        with pytest.raises(ResultsError, match="is this a row file"):
            RowWriter(path)


def test_where_there_are_no_locks_the_scan_goes_on_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", none)
    with RowWriter(tmp_path / "rows.jsonl") as writer:
        writer.write(full_row())
    assert "rows.jsonl: cannot be locked (No locks available); start no second scan" in capsys.readouterr().err
    assert len(list(row_file.read(tmp_path / "rows.jsonl"))) == 1
