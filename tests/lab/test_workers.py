"""A zoo by several processes: the same models as by one, and what a death costs."""

import os
import signal
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests.lab.conftest import make_images
from xray_jax import checkpoints
from xray_jax.lab import data, train_model, workers, zoo
from xray_jax.lab.specs import ModelSpec
from xray_jax.lab.training import TrainOptions
from xray_jax.lab.worker import Place
from xray_jax.sweep.worker_process import WorkerProcess

TRAINING = TrainOptions(epochs=3, batch_size=50, peak_learning_rate=0.1, flip=False)
FIRST, SECOND = (ModelSpec("bands", "smallcnn32-64", seed=seed, training=TRAINING) for seed in (1, 2))


@pytest.mark.skipif(os.name != "posix", reason="worker processes are of Unix")
def test_a_killed_process_costs_its_model_and_the_next_one_trains_what_one_process_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, test = make_images(200, 0, side=32), make_images(60, 1, side=32)
    np.savez(tmp_path / "bands.npz", train_images=train[0], train_labels=train[1],
             test_images=test[0], test_labels=test[1])  # fmt: skip
    processes: list[Any] = []

    class Process(WorkerProcess):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            processes.append(self._process)

    monkeypatch.setattr(workers, "WorkerProcess", Process)
    lines: list[str] = []

    def killer(line: str) -> None:
        lines.append(line)
        # The report of an epoch comes before its state is kept.
        if f"{FIRST.id}: epoch 2" in line:
            os.kill(processes[0].pid, signal.SIGKILL)

    folder = tmp_path / "zoo"
    outcome = workers.train_zoo([FIRST, SECOND], Place("bands", tmp_path, folder), 1, killer)
    assert outcome.lost == [FIRST.id]
    assert [record["id"] for record in outcome.records] == [SECOND.id]
    assert f"{FIRST.id}: LOST: killed by signal 9 (SIGKILL; out of memory?)" in lines
    assert len(processes) == 2
    assert all(process.returncode is not None for process in processes)

    images = data.read("bands", tmp_path)
    alone = train_model.train_model(SECOND, images)
    stored = checkpoints.load(folder / "checkpoints" / SECOND.id).variables
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), dict(alone.variables), dict(stored))
    again: list[str] = []
    zoo.train_zoo([FIRST, SECOND], images, folder, again.append)
    assert "epoch 1," not in again[0]
    assert [record["id"] for record in zoo.read_records(folder)] == [SECOND.id, FIRST.id]


@pytest.mark.parametrize(
    ("cpus", "count", "shares"),
    [((0, 1), 2, [(0,), (1,)]), ((0, 1, 4, 5, 6), 2, [(0, 1), (4, 5, 6)]), ((3,), 2, [(3,), (3,)]),
     ((), 2, [(), ()]), ((0, 1), 0, [])],
)  # fmt: skip
def test_shares_of_the_cpus(cpus: tuple[int, ...], count: int, shares: list[tuple[int, ...]]) -> None:
    assert workers.cpu_shares(cpus, count) == shares
