"""Checkpoints that end their process, in worker processes that really end: each costs its own row and no other."""

import errno
import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import connection
from pathlib import Path
from typing import Any

import pytest

from tests import factory
from tests.detectors import toy_package
from tests.places import ROOT
from tests.rows.rows import error_row, full_row
from tests.sweep.pills import MARKERS, save_pill
from tests.sweep.scans import stable, whole
from tests.sweep.sources.fetches import remote
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.job import batch as job_lib
from xray_jax.job.batch import Job
from xray_jax.rows import file as row_file
from xray_jax.sweep import attempts as attempts_module
from xray_jax.sweep.attempts import Attempts, AttemptsError
from xray_jax.sweep.batch_scan import OnStage
from xray_jax.sweep.checkpoint_list import Entry
from xray_jax.sweep.fetching import Fetched, Fetching, nothing
from xray_jax.sweep.isolated import IsolationError, IsolationOptions, scatter

PILLS = {f"{number}-{kind}": MARKERS[kind] for number, kind in ((1, "killed"), (3, "aborts"), (4, "eats"))}


@pytest.fixture(autouse=True)
def workers_find_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent to a worker may be of this folder, wherever pytest was started from."""
    monkeypatch.syspath_prepend(ROOT)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    site = toy_package.install(tmp_path / "site")
    monkeypatch.syspath_prepend(site)
    return site


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    folder = tmp_path / "zoo"
    folder.mkdir()
    for seed, name in enumerate(("0-good", "2-good", "5-good")):
        factory.save_tiny(folder / f"{name}.safetensors", seed)
    (folder / "6-broken.safetensors").write_bytes(b"no tensors here")
    factory.save_samples(tmp_path / "samples.npz")
    return folder


def job(zoo: Path, out: Path, **more: Any) -> Job:
    planes = PlanesOptions(planes=2, density=12)
    return Job(str(zoo), str(zoo.parent / "samples.npz"), str(out), detectors=("pill", "planes"), planes=planes, **more)


def rows_of(out: Path) -> list[Any]:
    return [whole(row) for row in row_file.read(out)]


def children() -> set[int]:
    """Processes that this one has started and that are there, zombies too."""
    return {int(text) for task in Path("/proc/self/task").iterdir() for text in (task / "children").read_text().split()}


def test_pills_are_error_rows_and_every_other_row_is_that_of_a_run_without_them(
    site: Path, zoo: Path, tmp_path: Path, exhaustive: bool
) -> None:
    alone = tmp_path / "alone.jsonl"
    job_lib.run(job(zoo, alone))
    chosen = {name: marker for name, marker in PILLS.items() if exhaustive or name != "3-aborts"}
    for name, marker in chosen.items():
        save_pill(zoo, name, marker)
    before, there = set(tmp_path.rglob("*")), children()
    assert [row["status"] for row in rows_of(alone)] == ["ok", "ok", "ok", "error"]
    out = tmp_path / "rows.jsonl"
    isolated = job(zoo, out, isolation=IsolationOptions(timeout=300, memory=4))
    assert job_lib.run(isolated) == job_lib.EXIT_ERRORS
    assert children() == there
    assert set(tmp_path.rglob("*")) - before == {out}

    rows = rows_of(out)
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
    pills = {row["id"].removesuffix(".safetensors"): row for row in rows if "good" not in row["id"]}
    broken = pills.pop("6-broken")
    assert stable([row for row in rows if "good" in row["id"]] + [broken]) == stable(rows_of(alone))
    reasons = {
        "1-killed": "killed by signal 9 (SIGKILL; out of memory?), in detector pill",
        "3-aborts": "killed by signal 6 (SIGABRT; out of memory?), in detector pill",
        "4-eats": pills["4-eats"]["reason"],
    }
    assert {name: row["reason"] for name, row in pills.items()} == {name: reasons[name] for name in chosen}
    assert "MemoryError: Unable to allocate 256. MiB" in pills["4-eats"]["reason"]
    # By its content a pill is known, and not met again.
    assert all(row["sha256"] and row["status"] == "error" for row in pills.values())
    size = out.stat().st_size
    job_lib.run(isolated)
    assert out.stat().st_size == size


def test_a_pill_that_ended_two_runs_is_not_opened_by_a_third(
    site: Path, zoo: Path, tmp_path: Path, exhaustive: bool
) -> None:
    for file in zoo.iterdir():
        file.unlink()
    factory.save_tiny(zoo / "0-good.safetensors")
    save_pill(zoo, "1-hangs", MARKERS["hangs"])
    out, journal = tmp_path / "rows.jsonl", tmp_path / "rows.jsonl.attempts"
    command = [
        sys.executable, "-c", "from xray_jax.scripts.scan import run; run()", f"--checkpoints={zoo}", f"--out={out}",
        f"--samples={tmp_path / 'samples.npz'}", "--detectors=pill,planes", "--planes=2", "--density=12",
        "--sampling=grid", "--isolate",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def attempts() -> list[str]:
        lines = journal.read_text().splitlines() if journal.exists() else []
        return [json.loads(line)[0] for line in lines]

    def end(number: int) -> int:
        """Starts the command, ends it when the pill hangs in a process of its own, and returns its worker."""
        began = attempts().count("1-hangs.safetensors")
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, preexec_fn=listen)
        worker = -1
        while attempts().count("1-hangs.safetensors") == began or len(members(worker)) < 2:
            assert process.poll() is None
            listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            worker = int(listed[0]) if listed else -1
            time.sleep(0.05)
        process.send_signal(number)
        process.wait()
        return worker

    gentle = [(number, 0) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    for number, count in (*gentle[: None if exhaustive else 1], (signal.SIGKILL, 1), (signal.SIGKILL, 2)):
        worker = end(number)
        deadline = time.monotonic() + 20
        while members(worker):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        # Who stops a run in order is not a checkpoint's fault.
        assert attempts().count("1-hangs.safetensors") == count
    assert subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, check=False).returncode == 2
    good, pill = rows_of(out)
    assert (good["status"], pill["status"]) == ("ok", "error"), good["reason"]
    assert pill["reason"] == "2 attempts ended without a row: the process was killed, or the machine stopped"
    assert not journal.exists()


def listen() -> None:
    """A shell's background jobs ignore Ctrl-C, those of `nohup` hang-ups, and so would what they start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def members(group: int) -> list[int]:
    """Living processes of a process group."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of = file.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(of) == group and state != "Z":
            found.append(int(file.parent.name))
    return found


class Scripted:
    """Does what the names of its entries say, without a scan; leaves a file for each."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.served = folder, 0
        (folder / f"worker-{os.getpid()}").touch()

    def rows(self, entries: Sequence[Entry], done: Mapping[Any, Any], on_stage: OnStage) -> Iterator[Any]:
        (entry,) = entries
        self.served += 1
        row = full_row(id=entry.id)
        try:
            on_stage("hash", row)
            on_stage("load", row)
        except ValueError as error:
            yield error_row(id=entry.id, sha256=row["sha256"], reason=str(error))
            return
        (self.folder / f"{entry.id}-{len(list(self.folder.glob(f'{entry.id}-*')))}").touch()
        on_stage("prepare", row)
        match entry.id.split("_")[0]:
            case "hangs":
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
                time.sleep(1e6)
            case "leaves":
                os._exit(3)
            case "lies":
                os.write(int(sys.argv[1]), b"[" * 100_000 + b"\n")
            case "full" if self.served > 1:
                yield error_row(id=entry.id, sha256=row["sha256"], reason="MemoryError: out of memory")
                return
        yield row


def test_several_workers_hangs_exits_and_nonsense(tmp_path: Path) -> None:
    # The third is given to a process that has served one before.
    names = ["good_0", "good_1", "full_2", "hangs_3", "good_4", "leaves_5", "good_6", "lies_7"]
    journal = tmp_path / "attempts"
    journal.write_bytes(b'["good_6", "torn')
    there = children()
    options = IsolationOptions(workers=2, timeout=2)
    entries = [Entry(name, Path(name)) for name in names]
    make = functools.partial(Scripted, tmp_path)
    rows = {row["id"]: row for row in scatter(make, entries, {}, options, journal)}
    assert set(rows) == set(names)
    assert {name: row["reason"] for name, row in rows.items() if row["status"] == "error"} == {
        "hangs_3": "timed out after 2 s, in prepare",
        "leaves_5": "its process ended with status 3, in prepare",
        "lies_7": "its process sent what no worker sends, in prepare",
    }
    tries = {name: len(list(tmp_path.glob(f"{name}-*"))) for name in names}
    assert tries == {name: 1 if name.startswith("good") else 2 for name in names}
    assert children() == there
    assert not journal.exists()


class Prompt(Fetching):
    """Has fetched everything as soon as the first checkpoint is being scanned."""

    def __init__(self, folder: Path) -> None:
        row = full_row()
        self.folder, self.key = folder, lambda entry: (entry.id, row["settings_hash"], row["version"])

    def turn(self, entry: Entry) -> int | None:
        return None if entry.remote is None else 0

    def fetch(self, entry: Entry, turn: int | None, begins: Callable[[], None] = nothing) -> Fetched:
        while not (self.folder / "hangs_0-0").exists():
            time.sleep(0.01)
        return Fetched(entry)


def test_the_supervisor_rests_while_what_is_fetched_waits_for_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, wait = [], connection.wait

    def count(*args: Any) -> Any:
        waits.append(args)
        return wait(*args)

    monkeypatch.setattr(connection, "wait", count)
    entries = [Entry("hangs_0", Path("a")), Entry("good_1", Path("b"), remote=remote("s3://bucket/b"))]
    make = functools.partial(Scripted, tmp_path)
    rows = list(scatter(make, entries, {}, IsolationOptions(timeout=2), fetching=Prompt(tmp_path)))
    assert sorted(row["id"] for row in rows) == ["good_1", "hangs_0"]
    # One for each thing that a worker says, and not as many as a processor can.
    assert len(waits) < 100


def unusable(reason: str | None) -> Any:
    if reason is None:
        os._exit(7)
    raise ValueError(reason)


def test_workers_that_cannot_start_end_the_run() -> None:
    entries = [Entry("a", Path("a"))]
    with pytest.raises(ValueError, match="no such samples"):
        list(scatter(functools.partial(unusable, "no such samples"), entries, {}, IsolationOptions()))
    with pytest.raises(IsolationError, match=r"do not start .*status 7"):
        list(scatter(functools.partial(unusable, None), entries, {}, IsolationOptions()))


def test_the_journal_keeps_what_has_no_row(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl.attempts"
    first, second = ("a", "sha", "hash", "1"), ("b\udc80", None, "hash", "1")
    attempts = Attempts(file)
    for identity in (first, second, first):
        attempts.begin(identity)
    assert len(file.read_bytes().splitlines()) == 3
    attempts.take_back(second)
    attempts.close()
    again = Attempts(file)
    assert again.of("a") == {first: 2}
    assert again[second] == 0
    again.close()
    Attempts(file, done=[first]).close()
    assert not file.exists()


def test_a_full_disk_ends_the_run_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    file, identity = tmp_path / "rows.jsonl.attempts", ("a", "sha", "hash", "1")
    attempts = Attempts(file)
    attempts.begin(identity)
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(AttemptsError, match=r"attempts: cannot note an attempt: No space left .* Make room"):
            attempts.begin(identity)
        patched.setattr(attempts_module, "atomic_write", full)
        attempts.close()
    assert Attempts(file)[identity] == 1


def test_options_check_themselves() -> None:
    memory = [("memory", value) for value in (-1, 1e-10, 1e12, float("inf"), float("nan"))]
    for name, value in (("workers", 0), ("timeout", 0), ("timeout", float("nan")), *memory):
        with pytest.raises(ValueError, match=f"--{name} must be"):
            IsolationOptions(**{name: value})
    with pytest.raises(ValueError, match="leave it out with --backend=ray"):
        Job("a", "b", ray=job_lib.RayOptions(), isolation=IsolationOptions())
