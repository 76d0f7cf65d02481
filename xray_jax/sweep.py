"""Many checkpoints -> many rows: loaded ahead, scanned, judged; every fault is a row, every restart a continuation."""

import dataclasses
import hashlib
import platform
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

from xray_jax import checkpoints, decision, manifest, sampling
from xray_jax.classifier import Model
from xray_jax.decision import Calibration, Decision
from xray_jax.manifest import Entry
from xray_jax.results import Row, identity, settings_hash
from xray_jax.samples import Samples
from xray_jax.scan import Scanner, ScanResult, settings_row

VERSION = metadata.version("xray-jax")
_PACKAGES = ("jax", "jaxlib", "flax", "numpy", "scipy")


@dataclass(frozen=True)
class SweepSettings:
    """How a sweep goes about it.

    Attributes:
      calibration: thresholds; None leaves every verdict unknown. decide: see `decision.decide`.
      architecture, num_classes, preprocess: for entries that do not say it themselves.
      loaders: threads that read checkpoints. prefetch: checkpoints in flight at most; bounds memory.
      scanners: checkpoints whose queries are on the devices at once, so that the host's share of one (decisions
        between refinement levels, scores) never leaves them idle.
      maps: folder for label maps (`<id>.npz`), or None.
    """

    calibration: Calibration | None = None
    decide: str = "either"
    architecture: str | None = None
    num_classes: int | None = None
    preprocess: str | Mapping[str, Any] | None = None
    loaders: int = 2
    scanners: int = 2
    prefetch: int = 6
    maps: Path | None = None

    def __post_init__(self) -> None:
        if self.decide not in decision.DECISIONS:
            raise ValueError(f"decide must be one of {decision.DECISIONS}, got {self.decide!r}")
        for name in ("loaders", "scanners", "prefetch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class Finished:
    """A new row, with the scan behind it where there was one (for pictures)."""

    row: Row
    result: ScanResult | None = None
    model: Model | None = None


@dataclass
class _Job:
    """One checkpoint on its way through the stages."""

    entry: Entry
    row: Row
    model: Model | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        return self.row["status"] == "ok"


class Sweep:
    """Scans entries over one set of samples.

    Rows come in the order of the entries. A checkpoint's row depends on its content, the samples and the settings
    alone: not on the other checkpoints, the number of devices, or where an earlier run was cut off.
    """

    def __init__(self, scanner: Scanner, settings: SweepSettings | None = None) -> None:
        """Checks the calibration against the scan's settings.

        Raises:
          decision.CalibrationError: the calibration was made with other settings.
          ValueError: the scan's settings need thresholds to stop at, and there is no calibration.
        """
        self.scanner = scanner
        self.settings = settings or SweepSettings()
        calibration = self.settings.calibration
        self._notes = () if calibration is None else decision.check(calibration, scanner.settings)
        self._goal = None if calibration is None else decision.goal(calibration, self.settings.decide)
        sampling.check(scanner.settings.sampling, scanner.settings.max_queries, self._goal)
        self._common = {
            **settings_row(scanner.settings, scanner.engine),
            "samples": samples_hash(scanner.samples),
            "decide": self.settings.decide,
            "calibration": None if calibration is None else dataclasses.asdict(calibration),
        }

    def run(self, entries: Iterable[Entry], done: Mapping[tuple[Any, ...], Row] | None = None) -> Iterator[Finished]:
        """Scans what is not in `done` (rows by `results.identity`) and yields new rows as they finish, in order."""
        done = done or {}
        stages: list[tuple[ThreadPoolExecutor, Callable[[Any], Any]]] = [
            (ThreadPoolExecutor(self.settings.loaders, "load"), lambda job: self._load(job, done)),
            (ThreadPoolExecutor(self.settings.scanners, "scan"), self._scan),
            (ThreadPoolExecutor(1, "finish"), self._finish),
        ]
        pending: deque[Future[Finished | None]] = deque()
        try:
            for entry in entries:
                pending.append(_chain(stages, entry))
                if len(pending) >= self.settings.prefetch:
                    yield from _new(pending.popleft().result(), done)
            while pending:
                yield from _new(pending.popleft().result(), done)
        finally:
            for pool, _ in stages:
                pool.shutdown(wait=False, cancel_futures=True)

    def _load(self, entry: Entry, done: Mapping[tuple[Any, ...], Row]) -> _Job | None:
        """Hash, resume check, weights. None when the row is there already."""
        started = time.perf_counter()
        row = self._new_row(entry)
        job = _Job(entry, row)
        try:
            row["sha256"] = checkpoints.sha256(entry.path)
            if identity(row) in done:
                return None
            row["format"] = checkpoints.format_of(entry.path).NAME
        except checkpoints.CheckpointError as error:
            # A file in a folder that is no checkpoint by name or content was never meant to be one.
            expected = entry.listed or entry.path.suffix.lower() in manifest.CHECKPOINT_SUFFIXES
            return _fail(job, "error" if expected else "skipped", str(error))
        except Exception as error:
            return _fail(job, "error", _describe(error))
        try:
            model = checkpoints.load(entry.path, **self._overrides(entry))
            model = self.scanner.fit(model)
        except Exception as error:
            return _fail(job, "error", _describe(error))
        job.model = model
        row.update(
            architecture=model.architecture,
            num_classes=model.num_classes,
            preprocess=model.preprocess.settings(),
            notes=[*row["notes"], *model.notes],
        )
        job.seconds["load"] = time.perf_counter() - started
        return job

    def _scan(self, job: _Job | None) -> tuple[_Job, ScanResult | None] | None:
        if job is None or job.model is None:
            return None if job is None else (job, None)
        try:
            return job, self.scanner.scan(job.model, self._goal)
        except Exception as error:
            return _fail(job, "error", _describe(error)), None

    def _finish(self, scanned: tuple[_Job, ScanResult | None] | None) -> Finished | None:
        if scanned is None:
            return None
        job, result = scanned
        row = job.row
        if result is None:
            return Finished(row)
        try:
            judged = decision.decide(result, self.settings.calibration, self.settings.decide)
            row.update(result_row(result, judged))
            row["seconds"] = {name: round(value, 4) for name, value in (job.seconds | result.seconds).items()}
            if self.settings.maps is not None:
                result.maps.save(self.settings.maps / f"{file_name(job.entry.id)}.npz")
        except Exception as error:
            return Finished(_fail(job, "error", _describe(error)).row)
        return Finished(row, result, job.model)

    def failed(self, entry: Entry, reason: str) -> Row:
        """The error row of an entry that this process may not touch: it has killed others."""
        return _fail(_Job(entry, self._new_row(entry)), "error", reason).row

    def key(self, entry: Entry) -> tuple[str, str, str]:
        """(id, settings hash, version): what finds this entry's rows whatever its content was."""
        return entry.id, settings_hash(self._settings(entry)), VERSION

    def _settings(self, entry: Entry) -> dict[str, Any]:
        return {**self._common, **self._overrides(entry)}

    def _overrides(self, entry: Entry) -> dict[str, Any]:
        """What the user says of a checkpoint: the entry's own word, else the sweep's."""

        def first(name: str) -> Any:
            own = getattr(entry, name)
            return getattr(self.settings, name) if own is None else own

        return {name: first(name) for name in ("architecture", "num_classes", "preprocess")}

    def _new_row(self, entry: Entry) -> Row:
        settings = self._settings(entry)
        return {
            "id": entry.id,
            "path": str(entry.path),
            "sha256": None,
            "format": None,
            "architecture": None,
            "status": "ok",
            "reason": None,
            "verdict": None,
            "label": entry.label,
            "target": entry.target,
            "manifest": dict(entry.extra),
            "settings": settings,
            "settings_hash": settings_hash(settings),
            "notes": list(self._notes),
            "device": _device(self.scanner.engine.resolve().devices),
            "versions": _versions(),
            "version": VERSION,
        }


def result_row(result: ScanResult, judged: Decision) -> Row:
    """The part of a row that a scan and its decision fill."""
    return {
        "verdict": judged.verdict,
        "ground": judged.ground,
        "verdict_re": judged.re,
        "verdict_ats": judged.ats,
        "re": _statistic(result.re),
        "ats": _statistic(result.ats),
        "label_distribution": [round(float(share), 6) for share in result.distribution],
        "target_label": result.target_label,
        "clean_accuracy": result.clean_accuracy,
        "accuracy_images": result.accuracy_images,
        "queries": result.queries,
        "planes": len(result.re),
        "sampling": result.sampling,
        "stopped": result.stopped,
    }


def file_name(checkpoint_id: str) -> str:
    """A checkpoint's id as the name of one file: separators and what some file systems refuse become "%XX"."""
    safe = "".join(c if c.isalnum() or c in "-_. " else "".join(f"%{b:02X}" for b in _bytes(c)) for c in checkpoint_id)
    if safe.startswith("."):
        safe = "%2E" + safe[1:]
    # File names end at 255 bytes on common file systems; a hash keeps long ids apart.
    if len(_bytes(safe)) <= 200:
        return safe
    return safe[:60] + "-" + hashlib.sha256(_bytes(checkpoint_id)).hexdigest()[:16]


def samples_hash(samples: Samples) -> str:
    """First 16 hex digits of SHA-256 over images and labels."""
    total = hashlib.sha256(repr(samples.images.shape).encode())
    total.update(np.ascontiguousarray(samples.images).tobytes())
    total.update(np.ascontiguousarray(samples.labels).tobytes())
    return total.hexdigest()[:16]


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _statistic(values: np.ndarray) -> dict[str, Any]:
    return {
        "mean": float(values.mean()),
        "std": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
        "per_plane": [float(value) for value in values],
    }


def _chain(stages: list[tuple[ThreadPoolExecutor, Callable[[Any], Any]]], first: Any) -> "Future[Any]":
    """Sends one item through the stages, each in its own pool."""
    (pool, work), *rest = stages
    future: Future[Any] = pool.submit(work, first)
    for pool, work in rest:
        # Stages only ever wait for earlier ones, so the pools cannot lock each other.
        future = pool.submit(lambda work, before: work(before.result()), work, future)
    return future


def _new(finished: Finished | None, done: Mapping[tuple[Any, ...], Row]) -> Iterator[Finished]:
    """What is worth appending: a file that could not be read last time and cannot now has its row already."""
    if finished is not None:
        before = done.get(identity(finished.row))
        if before is None or before.get("reason") != finished.row["reason"]:
            yield finished


def _fail(job: _Job, status: str, reason: str) -> _Job:
    job.row.update(status=status, reason=reason)
    job.model = None
    return job


def _describe(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:2000] if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text[:2000]}"


def _device(devices: tuple[jax.Device, ...]) -> str:
    return f"{len(devices)} x {devices[0].device_kind} ({platform.machine()})"


def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in _PACKAGES} | {"python": platform.python_version()}
