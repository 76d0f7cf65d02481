"""What worker processes are told: a checkpoint, and none of what it was fetched with."""

from pathlib import Path
from typing import Any

import pytest

from tests import factory
from tests.sweep.sources.servers import Served, Server, serve
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.job.batch import Job, run
from xray_jax.rows import file as row_file
from xray_jax.sweep.isolated import IsolationOptions
from xray_jax.sweep.worker_process import WorkerProcess


def test_workers_are_told_no_password_and_no_signature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told, send = [], WorkerProcess._send

    def overhear(self: Any, frame: bytes) -> None:
        told.append(frame)
        send(self, frame)

    monkeypatch.setattr(WorkerProcess, "_send", overhear)
    content = factory.save_tiny(tmp_path / "m.safetensors").read_bytes()
    samples, out = factory.save_samples(tmp_path / "samples.npz"), tmp_path / "rows.jsonl"
    with serve(Server({"/m.safetensors": Served(content, '"1"')})) as server:
        address = server.url.replace("://", "://user:password@") + "/m.safetensors?signature=secret"
        planes = PlanesOptions(planes=2, density=12)
        run(Job(address, str(samples), str(out), ("planes",), planes=planes, isolation=IsolationOptions()))
    (row,) = row_file.read(out)
    assert (row["status"], row["source"], row["revision"]) == ("ok", f"{server.url}/m.safetensors", "1")
    everything = b"".join(told)
    assert b"m.safetensors" in everything
    for secret in (b"password", b"secret", b"user:"):
        assert secret not in everything
