"""Scaling: one model on 1, 2, 4 and 8 devices, and one on each; on a CPU devices are simulated and share its cores."""

import functools
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from xray_jax.bench.harness import Figure, Timing, measure, rate
from xray_jax.bench.options import Options
from xray_jax.bench.subjects import classifier, plane_grid, spread
from xray_jax.detectors.planes.queries import label_points
from xray_jax.inference.labels import to_device
from xray_jax.inference.options import InferenceOptions

COUNTS = (1, 2, 4, 8)
ARCHITECTURE = "preactresnet-small"

_CHILD = """
import json, sys
from xray_jax.bench import devices
print(json.dumps(devices.measure_here(*json.loads(sys.argv[1]))))
"""


def measure_here(count: int, points: int, repeats: int, precision: str) -> dict[str, Any]:
    """Queries of a model on the first local devices, timed.

    Args:
      count: devices that are used.
      points: queries of a model.
      repeats: measured runs.
      precision: see `InferenceOptions`.

    Returns:
      "split": seconds (wall, CPU) of one model's queries over all devices; "spread": of one model's on each device,
      `count` times the queries; "labels": a digest of what was answered.
    """
    model = classifier(ARCHITECTURE)
    planes, index, coordinates, _ = plane_grid(model.input_shape, 4, 100)
    chosen = spread(points, len(index))

    def asker(devices: tuple[jax.Device, ...]) -> functools.partial[np.ndarray]:
        inference = InferenceOptions(precision=precision, devices=devices)
        placed = to_device(model, inference)
        return functools.partial(label_points, placed, planes, index[chosen], coordinates[chosen], inference)

    devices = tuple(jax.local_devices()[:count])
    split, each = asker(devices), [asker((device,)) for device in devices]
    with ThreadPoolExecutor(count) as pool:
        timings = measure({"split": split, "spread": lambda: list(pool.map(lambda ask: ask(), each))}, repeats)
    answers = {hashlib.sha256(ask().tobytes()).hexdigest() for ask in (split, *each)}
    return {name: (timing.wall, timing.cpu) for name, timing in timings.items()} | {"labels": sorted(answers)}


def run(options: Options) -> Iterator[Figure]:
    """Queries a second on each number of devices that there are, or that a CPU can simulate.

    Raises:
      RuntimeError: a child process failed, or labels depend on the number of devices.
    """
    here = jax.local_devices()
    answers: set[str] = set()
    for count in COUNTS:
        arguments = (count, options.points, options.repeats, options.precision)
        if here[0].platform == "cpu":
            found, note = _simulated(arguments), "simulated"
        elif count <= len(here):
            found, note = measure_here(*arguments), here[0].device_kind
        else:
            return
        answers |= set(found["labels"])
        if len(answers) != 1:
            raise RuntimeError(f"labels on {count} devices are not those on fewer")
        for name, models in (("split", 1), ("spread", count)):
            timing = Timing(*map(tuple, found[name]))
            what = f"{ARCHITECTURE}, {count} devices, {'one model over all' if name == 'split' else 'a model on each'}"
            yield rate("devices", what, timing, models * options.points, "queries", f"{note}, labels equal")


def _simulated(arguments: tuple[Any, ...]) -> dict[str, Any]:
    # The number of simulated devices is fixed when JAX starts, so each has its own process.
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={arguments[0]}"
    command = [sys.executable, "-c", _CHILD, json.dumps(arguments)]
    child = subprocess.run(command, env={**os.environ, "XLA_FLAGS": flags}, capture_output=True, text=True, check=False)
    if child.returncode:
        raise RuntimeError(f"{arguments[0]} simulated devices: {child.stderr[-500:]}")
    return json.loads(child.stdout.splitlines()[-1])
