"""What isolation costs, and what poison pills cost beside it. Run by hand, see docs/benchmarks.md.

python -m tests.sweep.measure_isolation overhead --folder=/tmp/overhead
python -m tests.sweep.measure_isolation pills --folder=/tmp/pills
"""

import argparse
import os
import sys
import time
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from tests import factory
from tests.detectors import toy_package
from tests.sweep.pills import MARKERS, save_pill
from tests.sweep.scans import stable, whole
from tests.sweep.soak_zoo import shaken
from xray_jax import checkpoints
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.job import batch
from xray_jax.rows import file as row_file
from xray_jax.sweep.isolated import IsolationOptions

TIMEOUT = 20.0


def overhead(folder: Path, models: int, turns: int) -> None:
    """Scans seeded perturbations of the demo's networks in this process and in isolated ones, in turns."""
    zoo = folder / "zoo"
    zoo.mkdir(parents=True)
    demo = resources.files("xray_jax") / "demo"
    sources = [checkpoints.load(str(path)) for path in sorted(Path(str(demo / "zoo")).iterdir())]
    for number in range(models):
        source = sources[number % len(sources)]
        generator = np.random.default_rng(number)
        noisy = shaken(source.variables, generator, 0.01)
        told = {
            "architecture": source.architecture,
            "num_classes": source.num_classes,
            "input_shape": source.input_shape,
        }
        told["preprocess"] = source.preprocess.settings()
        checkpoints.save_safetensors(zoo / f"{number:04d}.safetensors", noisy, told)
    seconds: dict[str, list[float]] = {"in process": [], "isolated": []}
    processor: dict[str, list[float]] = {"in process": [], "isolated": []}
    for turn in range(turns):
        for name, isolation in (("in process", None), ("isolated", IsolationOptions())):
            job = batch.Job(
                str(zoo), "cifar10", str(folder / f"{name}-{turn}.jsonl"), detectors=("planes",),
                planes=PlanesOptions(sampling="refine"), isolation=isolation,
            )  # fmt: skip
            begin = _processor_seconds()
            seconds[name].append(timed(job))
            processor[name].append(_processor_seconds() - begin)
    print(f"{models} checkpoints, planes")
    for what, times in (("wall", seconds), ("processor", processor)):
        ratios = [round(b / a, 3) for a, b in zip(times["in process"], times["isolated"], strict=True)]
        print(f"{what} seconds: {times}, isolated / in process: {ratios}")


def _processor_seconds() -> float:
    """Of this process and of those that it has waited for: what others do on the machine counts for little."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def pills(folder: Path, good: int, each: int) -> None:
    """Scans good checkpoints alone, then with pills of every kind among them, and compares the rows."""
    sys.path.insert(0, str(toy_package.install(folder / "site")))
    zoo = folder / "zoo"
    zoo.mkdir()
    factory.save_samples(folder / "samples.npz")
    for number in range(good):
        factory.save_tiny(zoo / f"{number:03d}-good.safetensors", number)
    alone = timed(_pill_job(folder, "alone.jsonl", None))
    for number in range(each):
        for kind, marker in MARKERS.items():
            save_pill(zoo, f"{number * good // each:03d}-{kind}", marker + number / 1000)
    among = timed(_pill_job(folder, "among.jsonl", IsolationOptions(workers=2, timeout=TIMEOUT, memory=4)))
    before, after = (
        {row["id"]: whole(row) for row in row_file.read(folder / name)} for name in ("alone.jsonl", "among.jsonl")
    )
    reasons: dict[str, int] = {}
    for name, row in after.items():
        if "good" not in name:
            assert row["status"] == "error", name
            reasons[row["reason"][:60]] = reasons.get(row["reason"][:60], 0) + 1
    same = sum(stable([after[name]]) == stable([row]) for name, row in before.items())
    count = each * len(MARKERS)
    print(f"{good} good alone {alone:.0f} s; with {count} pills {among:.0f} s, {(among - alone) / count:.1f} s a pill")
    print(f"{len(after)} rows for {good + count} files; {same} of {good} good rows are equal")
    for reason, times in reasons.items():
        print(f"{times} x {reason}")


def timed(job: batch.Job) -> float:
    """Seconds of a run."""
    begin = time.monotonic()
    batch.run(job)
    return time.monotonic() - begin


def _pill_job(folder: Path, out: str, isolation: IsolationOptions | None) -> batch.Job:
    options: Mapping[str, Any] = {"detectors": ("pill", "planes"), "planes": PlanesOptions(planes=2, density=12)}
    return batch.Job(
        str(folder / "zoo"), str(folder / "samples.npz"), str(folder / out), isolation=isolation, **options
    )


def main() -> None:
    """Flags to one of the two."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["overhead", "pills"])
    parser.add_argument("--folder", type=Path, required=True, help="A new folder for checkpoints and rows.")
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--good", type=int, default=100)
    parser.add_argument("--each", type=int, default=10, help="Pills of each kind.")
    given = parser.parse_args()
    given.folder.mkdir(parents=True)
    if given.what == "overhead":
        overhead(given.folder, given.models, given.turns)
    else:
        pills(given.folder, given.good, given.each)


if __name__ == "__main__":
    main()
