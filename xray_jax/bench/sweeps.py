"""A sweep of many small checkpoints of one architecture: what it costs beside the devices' own time."""

import contextlib
import functools
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import jax
import numpy as np

from xray_jax import checkpoints
from xray_jax import samples as samples_lib
from xray_jax.bench.harness import Figure
from xray_jax.bench.options import Options
from xray_jax.classifier import Classifier, Model
from xray_jax.detectors import registry
from xray_jax.detectors.detection import Detector
from xray_jax.detectors.planes.detector import Planes
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.detectors.run import scan_model
from xray_jax.inference import on_devices
from xray_jax.inference.dispatch import Pending
from xray_jax.inference.options import InferenceOptions
from xray_jax.rows.row import OK
from xray_jax.samples import Samples
from xray_jax.sweep.batch_scan import BatchScan
from xray_jax.sweep.checkpoint_list import Entry

NETWORK = "demo net"


def resident() -> float:
    """Megabytes of memory that this process holds now."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6
    except OSError:  # no /proc: the peak is all there is
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


@dataclass
class Watch:
    """What the devices did.

    Attributes:
      intervals: (start, end) of every query in seconds of `time.perf_counter`, from its dispatch to its answer.
    """

    intervals: list[tuple[float, float]] = field(default_factory=list)

    def busy(self, start: float = 0.0) -> float:
        """Seconds since `start` in which at least one query was open."""
        total, reached = 0.0, start
        for begin, end in sorted(self.intervals):
            total += max(0.0, end - max(begin, reached))
            reached = max(reached, end)
        return total


def run(options: Options) -> Iterator[Figure]:
    """Wall time against the devices' bare time, their idle share, memory after a tenth and after all, compilations."""
    demo = resources.files("xray_jax") / "demo"
    samples = samples_lib.read(str(demo / "samples.npz"))
    planes = PlanesOptions(planes=options.planes, density=options.density, sampling=options.sampling)
    detectors = registry.make(options.detectors, configured={"planes": lambda _: Planes(planes)})
    inference = InferenceOptions(options.batch_size, precision=options.precision)
    scan = functools.partial(_scan, detectors, inference, samples)
    paths = [json.loads(line)["path"] for line in (demo / "manifest.jsonl").read_text().splitlines()]
    models = [checkpoints.load(str(demo / path)) for path in paths]
    with tempfile.TemporaryDirectory() as folder:
        entries = _copies(models, options.checkpoints, Path(folder))
        scan(models[0])
        bare = [_bare(scan, models) for _ in range(options.repeats)]
        memory: dict[int, float] = {}
        queries: list[int] = []
        early = max(1, options.checkpoints // 10)
        with _watch() as watch, _count_compilations() as compiled:
            started = time.perf_counter()
            for number, finished in enumerate(BatchScan(samples, detectors, inference=inference).run(entries), 1):
                if finished.row["status"] != OK:
                    raise RuntimeError(f"{finished.row['id']} was not scanned: {finished.row['reason']}")
                queries.append(finished.row["queries"])
                if number in (early, options.checkpoints):
                    memory[number] = resident()
            wall = time.perf_counter() - started
        bare += [_bare(scan, models) for _ in range(options.repeats)]
    ideal = np.array(bare) * options.checkpoints
    low, median, high = np.percentile(wall / ideal, [25, 50, 75])
    asked = "+".join(options.detectors)
    what = f"{options.checkpoints} x {NETWORK}, {asked}, {options.sampling}, N={options.planes}, S={options.density}"
    note = f"{wall / options.checkpoints:.4g} s and {np.median(queries):,.0f} queries (median) a checkpoint"
    yield Figure("sweep", what, wall, "s", note=note)
    yield Figure("sweep", "checkpoints an hour", 3600 * options.checkpoints / wall, "")
    note = "bare: the same queries with nothing beside them, from dispatch to answer"
    yield Figure("sweep", "wall time / bare device time", median, "x", (high - low) / 2 / median, note)
    yield Figure("sweep", "time without a query on the device", 100 * (1 - watch.busy(started) / wall), "% of wall")
    growth = memory[options.checkpoints] / memory[early] - 1
    yield Figure("sweep", f"memory after all / after {early}", 100 * growth, "% more", note=f"{memory[early]:.0f} MB")
    yield Figure("sweep", "programs compiled during the sweep", float(len(compiled)), "", note="after one scan")


def _copies(models: Sequence[Any], count: int, folder: Path) -> list[Entry]:
    """Checkpoints with contents of their own, whose labels are those of the models in turn."""
    entries = []
    for number in range(count):
        model = models[number % len(models)]
        assert isinstance(model, Classifier)
        factor = np.float32(1 + 1e-6 * number)
        variables = jax.tree.map(functools.partial(np.multiply, factor), model.variables)
        path = folder / f"{number:04d}"
        metadata = {
            "num_classes": model.num_classes,
            "input_shape": list(model.input_shape),
            "preprocess": model.preprocess.settings(),
        }
        checkpoints.save_orbax(path, variables, metadata)
        entries.append(Entry(path.name, path))
    return entries


def _scan(detectors: Sequence[Detector], inference: InferenceOptions, samples: Samples, model: Model) -> None:
    scan_model(model, samples, detectors, inference)


def _bare(scan: Callable[[Model], None], models: Sequence[Model]) -> float:
    """Seconds that the devices take for one model's queries, on average."""
    with _watch() as watch:
        for model in models:
            scan(model)
    return watch.busy() / len(models)


class _Watched:
    """Pending results whose arrival is noted."""

    def __init__(self, pending: Pending, watch: Watch) -> None:
        self.pending, self.watch, self.started = pending, watch, time.perf_counter()

    def result(self) -> np.ndarray:
        found = self.pending.result()
        self.watch.intervals.append((self.started, time.perf_counter()))
        return found


@contextlib.contextmanager
def _watch() -> Iterator[Watch]:
    """Times every query that goes to the devices while the context is open."""
    watch, dispatch = Watch(), on_devices.dispatch

    def watched(*arguments: Any) -> Any:
        return _Watched(dispatch(*arguments), watch)

    on_devices.dispatch = watched  # type: ignore[assignment]
    try:
        yield watch
    finally:
        on_devices.dispatch = dispatch


@contextlib.contextmanager
def _count_compilations() -> Iterator[list[str]]:
    """Events of programs that JAX compiles while the context is open."""
    compiled: list[str] = []

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield compiled
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
