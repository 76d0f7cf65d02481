import json
import os
import subprocess
import sys

import numpy as np
import pytest

from xray_jax.rows import file as row_file
from xray_jax.rows.file import RowWriter


def row(name, **more):
    return {"id": name, "sha256": "a", "settings_hash": "s", "version": "1", **more}


def test_rows_come_back_as_written(tmp_path):
    path = tmp_path / "deep" / "rows ü.jsonl"
    with RowWriter(path) as writer:
        writer.write(row("ü\udcff", value=np.float64(0.5), nan=float("nan"), array=np.arange(3)))
        writer.write(row("b"))
    back = list(row_file.read(path))
    assert back[0] == row("ü\udcff", value=0.5, nan=None, array=[0, 1, 2])
    assert row_file.identity(back[1]) == ("b", "a", "s", "1")


@pytest.mark.parametrize("torn", ['{"id":"c"', '{"id', '{"id":"' + "x" * 200_000])
def test_a_torn_last_line_is_dropped(tmp_path, torn):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row("a")) + "\n" + torn)
    with RowWriter(path) as writer:
        assert [kept["id"] for kept in writer.rows] == ["a"]
        writer.write(row("b"))
    assert [kept["id"] for kept in row_file.read(path)] == ["a", "b"]


def test_a_file_of_something_else_is_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("my precious notes\n")
    with pytest.raises(row_file.ResultsError, match="line 1 is no JSON row"):
        RowWriter(path)
    assert path.read_text() == "my precious notes\n"
    path.write_text("my precious notes, no newline")
    with pytest.raises(row_file.ResultsError, match="last line is no JSON row"):
        RowWriter(path)
    assert path.read_text() == "my precious notes, no newline"


def test_unwritable_places_are_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(row_file.ResultsError, match="cannot write rows there"):
        RowWriter(tmp_path / "file" / "rows.jsonl")


FULL_DISK = """
import resource, signal, sys
from xray_jax.rows.file import ResultsError, RowWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
with RowWriter(sys.argv[1]) as writer:
    try:
        for i in range(100):
            writer.write({"id": str(i), "text": "x" * 90})
    except ResultsError as error:
        print(len(writer.rows), error)
"""


def test_a_full_disk_leaves_whole_rows_and_says_so(tmp_path):
    path = tmp_path / "rows.jsonl"
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=True)
    count, message = done.stdout.split(" ", 1)
    assert "Make room and start the same command again" in message
    assert "rows so far are intact" in message
    assert [kept["id"] for kept in row_file.read(path)] == [str(i) for i in range(int(count))]
    assert 5 < int(count) < 12
    assert os.path.getsize(path) <= 1000


def test_settings_hash_ignores_order_only():
    assert row_file.settings_hash({"a": 1, "b": 2}) == row_file.settings_hash({"b": 2, "a": 1})
    assert row_file.settings_hash({"a": 1}) != row_file.settings_hash({"a": 2})
