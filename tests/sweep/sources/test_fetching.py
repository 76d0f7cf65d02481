"""Batch scans of checkpoints that lie elsewhere: rows as of local files, faults as rows, nothing fetched twice."""

import contextlib
import dataclasses
import hashlib
import select
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests import factory
from tests.sweep import scans
from tests.sweep.sources.fetches import IMPATIENT, remote
from tests.sweep.sources.servers import Served, Server, serve
from xray_jax.job.batch import Job
from xray_jax.job.batch import run as run_job
from xray_jax.rows import file as row_file
from xray_jax.rows.file import identity
from xray_jax.sweep.checkpoint_list import ELSEWHERE, Entry, ManifestError, collect
from xray_jax.sweep.fetching import Ahead, Fetched, Fetching, nothing
from xray_jax.sweep.isolated import IsolationOptions
from xray_jax.sweep.options import BatchScanOptions
from xray_jax.sweep.sources.remote import RemoteFile
from xray_jax.sweep.worker_process import _without_credentials

SOURCE = ("source", "revision")


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    folder = tmp_path / "zoo"
    folder.mkdir()
    for seed in range(3):
        factory.save_tiny(folder / f"{seed}.safetensors", seed)
    (folder / "broken.safetensors").write_bytes(b"no tensors here")
    return folder


@pytest.fixture
def server(zoo: Path) -> Iterator[Server]:
    with serve(
        Server({f"/{file.name}": Served(file.read_bytes(), f'"{file.name}"') for file in zoo.iterdir()})
    ) as made:
        yield made


def entries(server: Server) -> list[Entry]:
    names = [*sorted(path.strip("/") for path in server.files), "gone.safetensors"]
    return [Entry(name, ELSEWHERE, listed=True, remote=remote(f"{server.url}/{name}")) for name in names]


def comparable(rows: list[Any], server: Server) -> list[Any]:
    stable = scans.stable(rows)
    for row in stable:
        row["reason"] = row["reason"] and row["reason"].rpartition("/")[2]
    return [{name: value for name, value in row.items() if name not in SOURCE} for row in stable]


def test_rows_are_those_of_local_files_through_a_cache_for_one(zoo: Path, server: Server, tmp_path: Path) -> None:
    local = scans.run(collect(str(zoo)))
    limit = max(file.stat().st_size for file in zoo.iterdir())
    options = dataclasses.replace(IMPATIENT, cache_limit=limit, max_download=limit, room_wait=60.0)
    rows = scans.run(entries(server), sources=options)
    assert comparable(rows[:-1], server) == comparable(local, server)
    assert [row["revision"] for row in rows[:-1]] == [row["id"] for row in rows[:-1]]
    gone = rows[-1]
    assert (gone["status"], gone["source"], gone["revision"]) == ("error", f"{server.url}/gone.safetensors", None)
    assert f"{server.url}/gone.safetensors" in gone["reason"]
    assert "xray-jax" not in rows[-2]["reason"]
    # Once more: what has a row is not fetched, and what could not be had says nothing new.
    del server.log[:]
    done = {identity(row): row for row in rows}
    assert scans.run(entries(server), done, sources=options) == []
    assert server.bodies() == []
    # Under other settings it is.
    assert len(scans.run(entries(server), done, sources=options, seed=1)) == len(rows)


def test_new_content_at_an_address_is_scanned(zoo: Path, server: Server) -> None:
    one = [entries(server)[0]]
    done = {identity(row): row for row in scans.run(one, sources=IMPATIENT)}
    server.files["/0.safetensors"] = Served((zoo / "1.safetensors").read_bytes(), '"new"')
    (row,) = scans.run(one, done, sources=IMPATIENT)
    assert row["revision"] == "new"


def test_another_query_is_other_content_though_its_tag_is_the_same(zoo: Path) -> None:
    class Queried(Server):
        def find(self, path: str, query: Mapping[str, list[str]]) -> Served | None:
            return Served((zoo / f"{query['id'][0]}.safetensors").read_bytes(), '"same"')

    with serve(Queried()) as server:

        def one(number: int) -> list[Entry]:
            return [Entry("a", ELSEWHERE, listed=True, remote=remote(f"{server.url}/a.safetensors?id={number}"))]

        done = {identity(row): row for row in scans.run(one(0), sources=IMPATIENT)}
        (row,) = scans.run(one(1), done, sources=IMPATIENT)
        assert row["sha256"] not in {before["sha256"] for before in done.values()}
        # The same content is told by its hash.
        assert scans.run(one(0), done, sources=IMPATIENT) == []


def test_a_file_that_a_new_commit_leaves_as_it_was_is_not_fetched_again(server: Server) -> None:
    name = "0.safetensors"

    def one(revision: str, sha256: str | None) -> list[Entry]:
        file = RemoteFile(name, f"{server.url}/{name}", sha256=sha256)
        looked = dataclasses.replace(remote(file.key), revision=revision, files=(file,), main=name)
        return [Entry("a", ELSEWHERE, listed=True, remote=looked)]

    declared = hashlib.sha256(server.files[f"/{name}"].content).hexdigest()
    rows = scans.run(one("first", declared), sources=IMPATIENT)
    assert [row["sha256"] for row in rows] == [declared]
    done = {identity(row): row for row in rows}
    del server.log[:]
    assert scans.run(one("second", declared), done, sources=IMPATIENT) == []
    assert server.bodies() == []
    # Without a declaration it is; and what could not be had before has no hash that could be declared.
    gone = [{**row, "sha256": None} for row in rows]
    assert len(scans.run(one("second", None), {identity(row): row for row in gone}, sources=IMPATIENT)) == 1
    assert server.bodies() == [f"/{name}"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("workers", [2, 1])
def test_worker_processes_get_copies_and_no_network(zoo: Path, server: Server, tmp_path: Path, workers: int) -> None:
    factory.save_samples(tmp_path / "samples.npz")
    manifest = tmp_path / "list.jsonl"
    manifest.write_text(
        "".join(f'{{"id": "{each.id}", "path": "{server.url}/{each.id}"}}\n' for each in entries(server))
    )
    limit = max(file.stat().st_size for file in zoo.iterdir())
    job = Job(
        str(manifest), str(tmp_path / "samples.npz"), str(tmp_path / "rows.jsonl"), ("planes",), planes=scans.OPTIONS,
        scan=BatchScanOptions(sources=dataclasses.replace(IMPATIENT, cache_limit=limit, max_download=limit)),
        isolation=IsolationOptions(workers),
    )  # fmt: skip
    run_job(job)
    rows = sorted(row_file.read(tmp_path / "rows.jsonl"), key=lambda row: row["id"])
    assert [row["status"] for row in rows] == ["ok", "ok", "ok", "error", "error"]
    assert comparable(rows, server) == comparable(scans.run(entries(server), sources=IMPATIENT), server)


class _Gates(Fetching):
    """Fetches what it is told to."""

    def __init__(self, *names: str) -> None:
        self.open = {name: threading.Event() for name in names}

    def turn(self, entry: Entry) -> int | None:
        return 0

    def fetch(self, entry: Entry, turn: int | None, begins: Callable[[], None] = nothing) -> Fetched:
        assert self.open[entry.id].wait(10)
        return Fetched(entry, reason="it is not there")


def test_what_is_ready_waits_for_nothing_that_is_not_and_tells_of_itself() -> None:
    gates = _Gates("slow", "fast", "last")
    elsewhere = {name: Entry(name, ELSEWHERE, remote=remote(f"s3://bucket/{name}")) for name in gates.open}
    here = {name: Entry(name, Path(name)) for name in "ab"}
    listed = [elsewhere["slow"], here["a"], elsewhere["fast"], elsewhere["last"], here["b"]]
    with contextlib.closing(Ahead(listed, gates, 2)) as ahead:
        first = ahead.take()
        assert first is not None
        assert (first.entry.id, first.reason, len(ahead)) == ("a", None, 4)
        assert not select.select([ahead], [], [], 0)[0]
        for name in ("fast", "last"):
            gates.open[name].set()
            assert select.select([ahead], [], [], 10)[0]
            fetched = ahead.take()
            assert fetched is not None
            assert (fetched.entry.id, fetched.reason) == (name, "it is not there")
        found = [ahead.take(), ahead.take()]
        assert [each and each.entry.id for each in found] == ["b", None]
        gates.open["slow"].set()
        assert select.select([ahead], [], [], 10)[0]
        fetched = ahead.take()
        assert fetched is not None
        assert (fetched.entry.id, len(ahead)) == ("slow", 0)


def test_processes_that_parse_have_no_credentials() -> None:
    given = {"HF_TOKEN": "x", "AWS_SECRET_ACCESS_KEY": "x", "GOOGLE_APPLICATION_CREDENTIALS": "x", "PATH": "y"}
    assert _without_credentials(given) == {"PATH": "y"}


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"path": "file:///etc/passwd"}', "line 1: file:///etc/passwd: write"),
        ('{"path": "ftp://host/x"}', "line 1: .*not read"),
    ],
)
def test_addresses_of_a_manifest_are_checked_at_once(line: str, what: str, tmp_path: Path) -> None:
    (tmp_path / "list.jsonl").write_text(line)
    with pytest.raises(ManifestError, match=what):
        collect(str(tmp_path / "list.jsonl"))


def test_a_manifest_at_an_address_is_refused() -> None:
    with pytest.raises(ManifestError, match="must lie on this machine"):
        collect("https://host/list.jsonl")


def test_the_id_of_a_line_is_its_address_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "list.jsonl").write_text('{"path": "https://me:pw@host/x.pth?token=secret"}')
    (entry,) = collect(str(tmp_path / "list.jsonl"))
    assert entry.id == entry.where == "https://host/x.pth"
    assert "secret" not in repr(entry)
