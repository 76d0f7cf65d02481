"""Many small checkpoints of one architecture: what the pipeline costs beside the devices' own time."""

import contextlib
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from xray_jax import checkpoints
from xray_jax.bench.harness import Figure
from xray_jax.bench.options import Options
from xray_jax.bench.subjects import CLASSES
from xray_jax.labels import Engine
from xray_jax.manifest import Entry
from xray_jax.models import registry
from xray_jax.samples import from_arrays
from xray_jax.scan import Scanner, ScanSettings
from xray_jax.sweep import Sweep, SweepSettings

ARCHITECTURE = "preactresnet-small"
SIDE = 32


def resident() -> float:
    """Megabytes of memory that this process holds now."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6
    except OSError:  # no /proc: the peak is all there is
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def run(options: Options) -> Iterator[Figure]:
    """Wall time against the sum of bare scans, memory after a tenth and after all, traces."""
    network: Any = registry.build(ARCHITECTURE, CLASSES)
    images = np.random.default_rng(0).integers(0, 256, (100, SIDE, SIDE, 3)).astype(np.uint8)
    variables, labels = _accurate(network, images)
    samples = from_arrays(images, labels, "noise")
    settings = ScanSettings(planes=options.planes, density=options.density, sampling="grid")
    engine = Engine(options.batch_size, precision=options.precision)
    scanner = Scanner(samples, settings, engine)
    with tempfile.TemporaryDirectory() as folder:
        entries = []
        for number in range(options.checkpoints):
            path = Path(folder) / f"{number:04d}.safetensors"
            variables["params"]["linear"]["bias"] += np.float32(1e-6)  # other contents, the same labels
            checkpoints.save_safetensors(path, variables, {"num_classes": CLASSES, "input_shape": [SIDE, SIDE, 3]})
            entries.append(Entry(path.name, path))
        model = checkpoints.load(entries[0].path)
        scanner.scan(model)
        bare = []
        for _ in range(options.repeats):
            started = time.perf_counter()
            scanner.scan(model)
            bare.append(time.perf_counter() - started)
        early = max(1, options.checkpoints // 10)
        memory, failed = {}, 0
        started = time.perf_counter()
        with _count_traces() as traces:
            for number, finished in enumerate(Sweep(scanner, SweepSettings()).run(entries), 1):
                failed += finished.row["status"] != "ok"
                if number in (early, options.checkpoints):
                    memory[number] = resident()
        wall = time.perf_counter() - started
    if failed:
        raise RuntimeError(f"{failed} of {options.checkpoints} checkpoints were not scanned")
    what = f"{options.checkpoints} x {ARCHITECTURE}, N={options.planes}, S={options.density}"
    ideal = float(np.median(bare)) * options.checkpoints
    yield Figure("sweep", what, wall, "s", note=f"{wall / options.checkpoints:.4g} s a checkpoint")
    yield Figure("sweep", "wall time / bare scans", wall / ideal, "x", note="a bare scan: accuracy, labels, scores")
    growth = memory[options.checkpoints] / memory[early] - 1
    yield Figure("sweep", f"memory after all / after {early}", 100 * growth, "% more", note=f"{memory[early]:.0f} MB")
    yield Figure("sweep", "programs compiled during the sweep", float(len(traces)), "")


def _accurate(network: Any, images: np.ndarray) -> tuple[Any, np.ndarray]:
    """Weights and labels that agree: a scan of a model near chance costs more, it looks for other preprocessings."""
    inputs = images.astype(np.float32) / 255
    variables = jax.device_get(jax.jit(network.init)(jax.random.key(0), inputs[:1]))
    logits = np.asarray(jax.jit(network.apply)(variables, inputs))
    variables["params"]["linear"]["bias"] = variables["params"]["linear"]["bias"] - logits.mean(0)
    return variables, (logits - logits.mean(0)).argmax(1)


@contextlib.contextmanager
def _count_traces() -> Iterator[list[str]]:
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
