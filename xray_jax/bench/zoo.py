"""The demonstration's zoo, scanned in every way: time, queries and verdicts of each."""

import time
from collections.abc import Iterator
from importlib import resources

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
from xray_jax.verdict.calibration import load_calibration

MODES = ("grid", "refine", "sketch", "probe")
"""The planes with each kind of sampling, and the probe alone."""


def run(options: Options) -> Iterator[Figure]:
    """Seconds and queries a checkpoint, the verdicts against the truth, and how many are the grid's."""
    demo = resources.files("xray_jax") / "demo"
    samples = samples_lib.read(str(demo / "samples.npz"))
    entries = collect(str(demo / "manifest.jsonl"))
    calibration = load_calibration("paper:cifar10")
    inference = InferenceOptions(options.batch_size, precision=options.precision)
    # One scan compiles for all: every way of asking as many planes, as dense, is the same programs, and the probe's is
    # one more.
    planes = Planes(PlanesOptions(options.planes, options.density, sampling="sketch"))
    first: list[Detector] = [planes, Probe(ProbeOptions(queries=1000))]
    list(BatchScan(samples, first, inference=inference).run(entries[:1]))
    verdicts: dict[str, list[str]] = {}
    for mode in MODES:
        detector: Detector = (
            Probe() if mode == "probe" else Planes(PlanesOptions(options.planes, options.density, sampling=mode))
        )
        sweep = BatchScan(samples, [detector], BatchScanOptions(calibration=calibration), inference)
        started = time.perf_counter()
        rows: list[Row] = [finished.row for finished in sweep.run(entries)]
        wall = time.perf_counter() - started
        verdicts[mode] = [str(row["verdict"]) for row in rows]
        right = sum(row["verdict"] == row["label"] for row in rows)
        same = sum(one == other for one, other in zip(verdicts[mode], verdicts["grid"], strict=True))
        queries = float(np.mean([row["queries"] for row in rows]))
        note = f"{queries:.0f} queries, {right} of {len(rows)} verdicts right, {same} as the grid's"
        yield Figure("zoo", f"{len(rows)} demo nets, {mode}", wall / len(rows), "s a checkpoint", note=note)
