"""Measuring: warm-up, interleaved repeats, spread; and the manifest without which a figure means nothing."""

import dataclasses
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import jax
import numpy as np

from xray_jax.bench.options import Options

_PACKAGES = ("xray-jax", "jax", "jaxlib", "flax", "numpy", "torch", "onnxruntime")


@dataclass(frozen=True)
class Timing:
    """Seconds of each repeat.

    Attributes:
      wall: by the wall clock.
      cpu: by the process's CPU clock, all threads together.
    """

    wall: tuple[float, ...]
    cpu: tuple[float, ...]

    @property
    def median(self) -> float:
        """Of the wall clock's seconds."""
        return float(np.median(self.wall))

    @property
    def spread(self) -> float:
        """Half the range between the quartiles, as a share of the median."""
        low, high = np.percentile(self.wall, [25, 75])
        return float((high - low) / 2 / self.median)


def measure(functions: Mapping[str, Callable[[], Any]], repeats: int, warm_up: int = 1) -> dict[str, Timing]:
    """Runs each function `warm_up` times unmeasured, then all in turn, `repeats` times.

    Taking turns, a slow spell of the machine hits all alike, and their ratios stay.

    Args:
      functions: name -> what is timed.
      repeats: measured runs of each, at least 1.
      warm_up: runs of each before anything is measured.

    Returns:
      Name -> seconds of its repeats.
    """
    for function in functions.values():
        for _ in range(warm_up):
            function()
    clocks: dict[str, list[tuple[float, float]]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            wall, cpu = time.perf_counter(), time.process_time()
            function()
            clocks[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {name: Timing(*(tuple(column) for column in zip(*rows, strict=True))) for name, rows in clocks.items()}


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes:
      case: benchmark case that measured it.
      name: what was measured.
      value: of the median repeat, in `unit`.
      unit: of the value; empty for a plain number.
      spread: half the range between the quartiles of the repeats, as a share of the median; None for counts.
      note: what else the reader needs.
    """

    case: str
    name: str
    value: float
    unit: str
    spread: float | None = None
    note: str = ""


def rate(case: str, name: str, timing: Timing, amount: float, unit: str, note: str = "") -> Figure:
    """Throughput: things a second.

    Args:
      case: of the figure.
      name: of the figure.
      timing: of the repeats.
      amount: things done in each repeat.
      unit: of the amount.
      note: of the figure.
    """
    return Figure(case, name, amount / timing.median, f"{unit}/s", timing.spread, note)


def ratio(case: str, name: str, timing: Timing, baseline: Timing, note: str = "") -> Figure:
    """How many times the baseline's time: the median over repeats of the two taken in the same turn.

    Args:
      case: of the figure.
      name: of the figure.
      timing: of the thing that is compared.
      baseline: of what it is compared with, as many repeats.
      note: of the figure; the ratio of CPU times is added.
    """
    turns = [mine / other for mine, other in zip(timing.wall, baseline.wall, strict=True)]
    cpu = np.median([mine / other for mine, other in zip(timing.cpu, baseline.cpu, strict=True)])
    low, median, high = np.percentile(turns, [25, 50, 75])
    note = f"{note}; " if note else ""
    return Figure(case, name, float(median), "x time", float((high - low) / 2 / median), f"{note}CPU time {cpu:.3g} x")


def manifest(options: Options) -> dict[str, Any]:
    """Versions, device, flags, load and options of this run, without which its figures mean nothing."""
    device = jax.local_devices()[0]
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "device": f"{len(jax.local_devices())} x {device.device_kind}",
        "platform": device.platform,
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "load_before": round(os.getloadavg()[0], 2),
        "flags": {name: os.environ[name] for name in ("XLA_FLAGS", "NPROC", "OMP_NUM_THREADS") if name in os.environ},
        "python": platform.python_version(),
        "versions": versions,
        "options": dataclasses.asdict(options),
    }


def table(figures: Iterable[Figure]) -> str:
    """A table in Markdown, one line a figure."""
    lines = ["| case | what | figure | spread | note |", "|---|---|---|---|---|"]
    for figure in figures:
        spread = "" if figure.spread is None else f"± {100 * figure.spread:.0f} %"
        value = f"{figure.value:.4g} {figure.unit}"
        lines.append(f"| {figure.case} | {figure.name} | {value} | {spread} | {figure.note} |")
    return "\n".join(lines)
