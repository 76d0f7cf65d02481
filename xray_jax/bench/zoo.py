"""The demonstration's zoo, scanned in every way: time, queries and verdicts of each."""

import time
from collections.abc import Iterator
from importlib import resources
from typing import NamedTuple

import numpy as np

from xray_jax import samples as samples_lib
from xray_jax.bench.harness import Figure
from xray_jax.bench.options import Options
from xray_jax.detectors.detection import Detector
from xray_jax.detectors.planes.detector import Planes
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.detectors.probe.detector import Probe
from xray_jax.detectors.probe.options import ProbeOptions
from xray_jax.inference.options import InferenceOptions
from xray_jax.rows.row import Row
from xray_jax.sweep.batch_scan import BatchScan
from xray_jax.sweep.checkpoint_list import collect
from xray_jax.sweep.options import BatchScanOptions
from xray_jax.verdict.calibration import load_calibration, stopping_rule


class Mode(NamedTuple):
    """How a checkpoint is scanned.

    Attributes:
      sampling: of the planes: "grid", "refine", "sketch" or "cascade".
      auto: planes are added until the verdict is settled, up to the queries of the grid.
      probe: the probe instead of any planes.
    """

    sampling: str = "grid"
    auto: bool = False
    probe: bool = False


MODES = {
    "grid": Mode(),
    "refine": Mode("refine"),
    "sketch": Mode("sketch"),
    "cascade": Mode("cascade"),
    "refine, planes=auto": Mode("refine", auto=True),
    "sketch, planes=auto": Mode("sketch", auto=True),
    "probe": Mode(probe=True),
}


def run(options: Options) -> Iterator[Figure]:
    """Seconds and queries a checkpoint, the verdicts against the truth, and how many are the grid's."""
    demo = resources.files("xray_jax") / "demo"
    samples = samples_lib.read(str(demo / "samples.npz"))
    entries = collect(str(demo / "manifest.jsonl"))
    calibration = load_calibration("paper:cifar10")
    inference = InferenceOptions(options.batch_size, precision=options.precision)
    # One scan compiles for all: every way of asking the planes is the same two programs, and the probe's is one more.
    first: list[Detector] = [Planes(PlanesOptions(1, sampling="sketch")), Probe(ProbeOptions(queries=1000))]
    list(BatchScan(samples, first, inference=inference).run(entries[:1]))
    verdicts: dict[str, list[str]] = {}
    for name, mode in MODES.items():
        budget = options.planes * options.density**2 if mode.auto else None
        planes = PlanesOptions(options.planes, options.density, sampling=mode.sampling, max_queries=budget)
        detector: Detector = Probe() if mode.probe else Planes(planes, stopping_rule(calibration))
        sweep = BatchScan(samples, [detector], BatchScanOptions(calibration=calibration), inference)
        started = time.perf_counter()
        rows: list[Row] = [finished.row for finished in sweep.run(entries)]
        wall = time.perf_counter() - started
        verdicts[name] = [str(row["verdict"]) for row in rows]
        right = sum(row["verdict"] == row["label"] for row in rows)
        same = sum(one == other for one, other in zip(verdicts[name], verdicts["grid"], strict=True))
        queries = float(np.mean([row["queries"] for row in rows]))
        note = f"{queries:.0f} queries, {right} of {len(rows)} verdicts right, {same} as the grid's"
        yield Figure("zoo", f"{len(rows)} demo nets, {name}", wall / len(rows), "s a checkpoint", note=note)
