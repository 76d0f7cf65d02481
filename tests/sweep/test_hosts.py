"""Shards, real processes and Ray actors, some of them killed: all merge to exactly the rows of a single run."""

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import factory
from tests.sweep.ray_cluster import ray_cluster
from tests.sweep.scans import stable, whole
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.job import batch as job_lib
from xray_jax.job.batch import Job
from xray_jax.rows.merge import merge
from xray_jax.rows.row import Row
from xray_jax.sweep.checkpoint_list import Entry, collect
from xray_jax.sweep.ray_backend import RayOptions
from xray_jax.sweep.shards import Shard

COUNT = 7


EXACT = ("--sampling=grid", "--detectors=planes")
"""What `job` does, said to the command."""


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    (folder / "zoo").mkdir()
    for seed in range(COUNT - 1):
        factory.save_tiny(folder / "zoo" / f"{seed}.safetensors", seed)
    (folder / "zoo" / "broken.safetensors").write_bytes(b"no tensors here")
    factory.save_samples(folder / "samples.npz")
    return folder


def job(zoo: Path, out: Path, **more: Any) -> Job:
    planes = PlanesOptions(planes=2, density=12)
    return Job(str(zoo / "zoo"), str(zoo / "samples.npz"), str(out), detectors=("planes",), planes=planes, **more)


def command(zoo: Path, out: Path, *flags: str) -> list[str]:
    fixed = [f"--checkpoints={zoo / 'zoo'}", f"--samples={zoo / 'samples.npz'}", f"--out={out}"]
    program = "from xray_jax.scripts.scan import run; run()"
    return [sys.executable, "-c", program, *fixed, "--planes=2", "--density=12", *EXACT, *flags]


def merged(folder: Path) -> list[dict[str, Any]]:
    found = merge(sorted(folder.glob("rows*.jsonl")))
    assert found.complete
    return stable(map(whole, found.rows))


@pytest.fixture(scope="module")
def single(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    out = tmp_path_factory.mktemp("single") / "rows.jsonl"
    assert job_lib.run(job(zoo, out)) == job_lib.EXIT_ERRORS
    rows = merged(out.parent)
    assert [row["status"] for row in rows].count("ok") == COUNT - 1
    assert len(rows) == COUNT
    return rows


def test_four_shards_in_any_order_one_killed_and_run_again(
    zoo: Path, tmp_path: Path, single: list[dict[str, Any]]
) -> None:
    out = tmp_path / "rows.jsonl"
    for index in (2, 0, 3):
        job_lib.run(job(zoo, out, shard=Shard(index, 4)))
    assert merge(sorted(tmp_path.glob("rows*.jsonl"))).missing_shards == ["rows-00001-of-00004.jsonl"]

    mine = Shard(1, 4).file(out)
    process = subprocess.Popen(command(zoo, out, "--shard_index=1", "--num_shards=4"), stderr=subprocess.DEVNULL)
    while process.poll() is None and not (mine.exists() and mine.stat().st_size):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with open(mine, "ab") as file:  # killed in the middle of a line
        file.write(b'{"id":"half a ro')
    job_lib.run(job(zoo, out, shard=Shard(1, 4)))
    assert merged(tmp_path) == single


def test_two_processes_of_a_pod(zoo: Path, tmp_path: Path, single: list[dict[str, Any]]) -> None:
    processes = [
        subprocess.Popen(
            command(zoo, tmp_path / "rows.jsonl", "--distributed"),
            env={**os.environ, "OMPI_COMM_WORLD_RANK": str(rank), "OMPI_COMM_WORLD_SIZE": "2"},
            stderr=subprocess.DEVNULL,
        )
        for rank in range(2)
    ]
    assert all(process.wait(timeout=120) in (0, 2) for process in processes)
    assert merged(tmp_path) == single


def test_more_shards_than_checkpoints(zoo: Path, tmp_path: Path) -> None:
    listed, shards = collect(str(zoo / "zoo")), [Shard(index, COUNT + 2) for index in range(COUNT + 2)]
    empty = next(shard for shard in shards if not shard.of(listed))
    assert job_lib.run(job(zoo, tmp_path / "rows.jsonl", shard=empty)) == job_lib.EXIT_CLEAN
    assert empty.file(tmp_path / "rows.jsonl").read_text() == ""


class Dying(job_lib.Worker):
    """Dies once, in the middle of a chunk, after its first row."""

    def rows(self, entries: Sequence[Entry], done: Mapping[tuple[Any, ...], Row]) -> Iterator[Row]:
        assert self.job.out is not None
        for number, row in enumerate(super().rows(entries, done)):
            marker = Path(self.job.out).with_name("died")
            if number == 1 and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield row


def test_a_ray_actor_killed_in_the_middle_of_a_chunk(
    zoo: Path, tmp_path: Path, single: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_lib, "_in_process", Dying)
    with ray_cluster(cpus=1):
        job_lib.run(job(zoo, tmp_path / "rows.jsonl", ray=RayOptions(actors=1, cpus=1)))
    assert (tmp_path / "died").exists()
    assert merged(tmp_path) == single


def test_the_split_is_of_what_is_listed(zoo: Path) -> None:
    entries = collect(str(zoo / "zoo"))
    parts = [Shard(index, 3).of(entries) for index in range(3)]
    assert sum(map(len, parts)) == COUNT
    assert functools.reduce(set.union, [{entry.id for entry in part} for part in parts]) == {e.id for e in entries}
