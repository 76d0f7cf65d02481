"""What a worker process may say that a checkpoint has taken over: neither time nor rows are its to give."""

import contextlib
import json
import os
import pickle
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import pytest

from tests.places import ROOT
from tests.rows.rows import error_row, full_row
from xray_jax.rows import file as row_file
from xray_jax.sweep import worker_process
from xray_jax.sweep.batch_scan import OnStage
from xray_jax.sweep.checkpoint_list import Entry
from xray_jax.sweep.fetching import Fetching
from xray_jax.sweep.isolated import IsolationOptions, scatter
from xray_jax.sweep.sources.options import SourceOptions
from xray_jax.sweep.worker_process import WorkerDiedError, WorkerProcess

FORGERIES: dict[str, Callable[[Any], list[Any]]] = {
    "types": lambda row: [row | {"seconds": ["long"]}],
    "settings": lambda row: [row | {"settings_hash": "0" * 16}],
    "version": lambda row: [row | {"version": "0"}],
    "copies": lambda row: [row] * 1000,
}
"""By its id, what a checkpoint that has taken its process over may send for a row."""


class Forging:
    """Sends for rows what the ids of its entries say, without a scan."""

    def rows(self, entries: Sequence[Entry], done: Mapping[Any, Any], on_stage: OnStage) -> Iterator[Any]:
        (entry,) = entries
        row = full_row(id=entry.id)
        try:
            on_stage("hash", row)
            on_stage("load", row)
        except ValueError as error:
            yield error_row(id=entry.id, sha256=row["sha256"], reason=str(error))
            return
        yield from FORGERIES[entry.id](row) if entry.id in FORGERIES else [row]


@pytest.fixture(autouse=True)
def workers_find_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent to a worker is of this file, wherever pytest was started from."""
    monkeypatch.syspath_prepend(ROOT)


def test_rows_that_no_scan_of_these_settings_has_are_refused(tmp_path: Path) -> None:
    honest, names = full_row(), ["honest", *FORGERIES]
    key = lambda entry: (entry.id, honest["settings_hash"], honest["version"])  # noqa: E731
    fetching = Fetching(SourceOptions(), {}, key, lambda entry, reason: full_row(id=entry.id))
    with contextlib.closing(fetching), row_file.RowWriter(tmp_path / "rows.jsonl") as writer:
        entries = [Entry(name, Path(name)) for name in names]
        for row in scatter(Forging, entries, {}, IsolationOptions(), fetching=fetching):
            writer.write(row)
    rows = {row["id"]: row for row in row_file.read(tmp_path / "rows.jsonl")}
    assert list(rows) == names
    assert rows.pop("honest")["status"] == "ok"
    assert {row["reason"] for row in rows.values()} == {"its process sent what no worker sends, in load"}


class Raving(Forging):
    """Of one entry says nothing that a worker says, not even that it was refused."""

    def rows(self, entries: Sequence[Entry], done: Mapping[Any, Any], on_stage: OnStage) -> Iterator[Any]:
        return iter([{"id": "raving"}]) if entries[0].id == "raving" else super().rows(entries, done, on_stage)


def test_where_no_process_can_make_a_row_the_supervisor_does_and_goes_on() -> None:
    names, row = ["raving", "honest"], full_row()
    key = lambda entry: (entry.id, row["settings_hash"], row["version"])  # noqa: E731
    fetching = Fetching(SourceOptions(), {}, key, lambda entry, reason: error_row(id=entry.id, reason=reason))
    with contextlib.closing(fetching):
        entries = [Entry(name, Path(name)) for name in names]
        rows = list(scatter(Raving, entries, {}, IsolationOptions(), fetching=fetching))
    reasons = {row["id"]: row["reason"] for row in rows}
    assert reasons == {"honest": None, "raving": "its process sent what no worker sends"}


def test_a_process_that_does_not_listen_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a pipe holds was meant for it."""
    monkeypatch.setattr(worker_process, "_DEAF_SECONDS", 0.2)
    process = WorkerProcess(b"", 0, {}, "import time; time.sleep(600)")
    with pytest.raises(WorkerDiedError):
        process.request(b"x" * (1 << 20))
    assert process.end() == -signal.SIGKILL


HEARS = """
import struct, sys
def frame():
    (length,) = struct.unpack(">Q", sys.stdin.buffer.read(8))
    return sys.stdin.buffer.read(length)
made, asked, told = frame(), frame(), frame()
open(PATH, "wb").write(asked)
"""


def test_a_long_request_arrives_whole(tmp_path: Path) -> None:
    asked = os.urandom(1 << 20)
    process = WorkerProcess(b"made", 0, {}, HEARS.replace("PATH", repr(str(tmp_path / "heard"))))
    process.request(asked)
    process.acknowledge()
    # It says nothing: when it can be heard, it is over.
    assert wait([process], 60)
    with pytest.raises(WorkerDiedError):
        list(process.messages())
    assert process.end() == 0
    assert pickle.loads((tmp_path / "heard").read_bytes()) == asked


def test_a_process_that_never_stops_talking_is_heard_in_parts(tmp_path: Path) -> None:
    said = [{"stage": str(number), "identity": None} for number in range(10_000)]
    # What a process has said by the time that it is heard, and goes on to say meanwhile: a pipe holds less.
    (tmp_path / "said").write_text("".join(json.dumps(each) + "\n" for each in said))
    process = WorkerProcess(b"", 0, {}, "")
    with open(tmp_path / "said", "rb") as file:
        os.dup2(file.fileno(), process.fileno())
    try:
        first, second = list(process.messages()), list(process.messages())
    finally:
        process.end()
    assert 0 < len(first) < len(said) / 2
    assert first + second == said[: len(first) + len(second)]
