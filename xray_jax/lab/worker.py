"""A worker process that trains models, from the inside: one model at a time until its input ends."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from xray_jax.inference.compile_cache import enable_compile_cache
from xray_jax.lab import data, zoo
from xray_jax.lab.specs import ModelSpec
from xray_jax.sweep.isolated_worker import connect

PROGRAM = "from xray_jax.lab.worker import main; main()"


@dataclass(frozen=True)
class Place:
    """What a worker keeps from model to model.

    Attributes:
      dataset: name of the image set.
      data: folder of image sets.
      folder: of the zoo.
      starts: zoo of the clean models that specs name as their start.
      cpus: that it is pinned to; empty for wherever the system puts it.
    """

    dataset: str
    data: Path
    folder: Path
    starts: Path | None = None
    cpus: tuple[int, ...] = ()


def main() -> None:
    """The program of a worker process: trains what it is given, and sends lines of progress."""
    supervisor = connect()
    place: Place = supervisor.receive()
    if place.cpus:
        # Before XLA starts its threads: they inherit it.
        os.sched_setaffinity(0, place.cpus)
    enable_compile_cache()
    images = data.read(place.dataset, place.data)

    def report(line: str) -> None:
        supervisor.send(json.dumps({"line": line}))

    while True:
        spec: ModelSpec = supervisor.receive()
        error = None
        try:
            zoo.train_zoo([spec], images, place.folder, report, starts=place.starts)
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
        supervisor.send(json.dumps({"error": error}))
