"""One model on 1, 2, 4 and 8 devices; on a CPU they are simulated and share its cores."""

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator

import jax

from xray_jax import labels
from xray_jax.bench.harness import Figure, Timing, measure, rate
from xray_jax.bench.options import Options
from xray_jax.bench.subjects import classifier, plane_grid

COUNTS = (1, 2, 4, 8)
ARCHITECTURE = "preactresnet-small"

_CHILD = """
import json, sys
from xray_jax.bench import devices
print(json.dumps(devices.measure_here(*json.loads(sys.argv[1]))))
"""


def measure_here(count: int, points: int, repeats: int, precision: str) -> list[list[float]]:
    """Seconds (wall, CPU) of `points` queries on the first `count` local devices."""
    model = classifier(ARCHITECTURE)
    engine = labels.Engine(precision=precision, devices=tuple(jax.local_devices()[:count]))
    planes, index, coordinates, _ = plane_grid(model.input_shape, 4, 100)
    placed = labels.place(model, engine)
    ask = functools.partial(labels.label_points, placed, planes, index[:points], coordinates[:points], engine)
    timing = measure({"": ask}, repeats)[""]
    return [list(timing.wall), list(timing.cpu)]


def run(options: Options) -> Iterator[Figure]:
    """Queries a second on each number of devices that there are, or that a CPU can simulate."""
    here = jax.local_devices()
    for count in COUNTS:
        arguments = (count, options.points, options.repeats, options.precision)
        if here[0].platform == "cpu":
            # The number of simulated devices is fixed when JAX starts, so each has its own process.
            flag = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
            command = [sys.executable, "-c", _CHILD, json.dumps(arguments)]
            child = subprocess.run(
                command, env={**os.environ, "XLA_FLAGS": flag}, capture_output=True, text=True, check=False
            )
            if child.returncode:
                raise RuntimeError(f"{count} simulated devices: {child.stderr[-500:]}")
            wall, cpu = json.loads(child.stdout.splitlines()[-1])
            note = "simulated"
        elif count <= len(here):
            wall, cpu = measure_here(*arguments)
            note = here[0].device_kind
        else:
            return
        yield rate(
            "devices", f"{ARCHITECTURE}, {count}", Timing(tuple(wall), tuple(cpu)), options.points, "queries", note
        )
