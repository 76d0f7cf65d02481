"""Many checkpoints -> many rows: loaded ahead, scanned, judged; every fault is a row, every restart a continuation."""

import dataclasses
import queue
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xray_jax import checkpoints
from xray_jax.classifier import Model
from xray_jax.detectors.planes import sampling
from xray_jax.detectors.planes.scan import Scanner, ScanResult, settings_row
from xray_jax.detectors.probe import ProbeOptions, probe
from xray_jax.detectors.probe.null import Null
from xray_jax.detectors.probe.result import ProbeResult
from xray_jax.inference.labels import InferenceOptions
from xray_jax.prepare import preprocessing
from xray_jax.rows import fields
from xray_jax.rows.file import Row, identity, settings_hash
from xray_jax.sweep import checkpoint_list
from xray_jax.sweep.checkpoint_list import Entry
from xray_jax.verdict import decision
from xray_jax.verdict.decision import Calibration

PROBES = ("on", "off", "only")


@dataclass(frozen=True)
class BatchScanOptions:
    """How a sweep goes about it.

    Attributes:
      calibration: thresholds; None leaves every verdict unknown. decide: see `decision.decide`.
      architecture, num_classes, preprocess: for entries that do not say it themselves.
      loaders: threads that read checkpoints. prefetch: checkpoints in flight at most; bounds memory.
      scanners: checkpoints whose queries are on the devices at once, so that the host's share of one (decisions
        between refinement levels, scores) never leaves them idle.
      spread: one checkpoint per device, as many at once as there are devices: for networks too small to fill several.
      maps: folder for label maps (`<id>.npz`), or None.
      probe: "off" is the paper's method alone, "on" looks for a working trigger after the planes, "only" instead.
      probe_settings: the probe's budget and images. null: what is normal for it; None takes the calibration's word.
    """

    calibration: Calibration | None = None
    decide: str = "either"
    architecture: str | None = None
    num_classes: int | None = None
    preprocess: str | Mapping[str, Any] | None = None
    loaders: int = 2
    scanners: int = 2
    prefetch: int = 6
    spread: bool = False
    maps: Path | None = None
    probe: str = "off"
    probe_settings: ProbeOptions = field(default_factory=ProbeOptions)
    null: Null | None = None

    def __post_init__(self) -> None:
        if self.decide not in decision.DECISIONS:
            raise ValueError(f"decide must be one of {decision.DECISIONS}, got {self.decide!r}")
        if self.probe not in PROBES:
            raise ValueError(f"probe must be one of {PROBES}, got {self.probe!r}")
        for name in ("loaders", "scanners", "prefetch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class Finished:
    """A new row, with what is behind it where there is something (for pictures)."""

    row: Row
    result: ScanResult | None = None
    probed: ProbeResult | None = None
    model: Model | None = None


@dataclass
class _Job:
    """One checkpoint on its way through the stages."""

    entry: Entry
    row: Row
    model: Model | None = None
    result: ScanResult | None = None
    probed: ProbeResult | None = None
    settling: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


class BatchScan:
    """Scans entries over one set of samples.

    Rows come in the order of the entries. A checkpoint's row depends on its content, the samples and the settings
    alone: not on the other checkpoints, the number of devices, or where an earlier run was cut off.
    """

    def __init__(self, scanner: Scanner, settings: BatchScanOptions | None = None) -> None:
        """Checks the calibration against the scan's settings.

        Raises:
          decision.CalibrationError: the calibration was made with other settings.
          ValueError: the scan's settings need thresholds to stop at, and there is no calibration.
        """
        self.scanner = scanner
        self.settings = settings or BatchScanOptions()
        calibration = self.settings.calibration
        self._notes = () if calibration is None else decision.check(calibration, scanner.settings)
        self._goal = None if calibration is None else decision.goal(calibration, self.settings.decide)
        sampling.check(scanner.settings.sampling, scanner.settings.max_queries, self._goal)
        self._engines: queue.SimpleQueue[InferenceOptions] = queue.SimpleQueue()
        for engine in _engines(scanner.engine, self.settings):
            self._engines.put(engine)
        self._null = self.settings.null or decision.null_of(calibration)
        self._common = {
            **settings_row(scanner.settings, scanner.engine),
            "samples": fields.samples_hash(scanner.samples),
            "decide": self.settings.decide,
            "calibration": None if calibration is None else dataclasses.asdict(calibration),
            "probe": self._probe_row(),
        }
        if self.settings.probe != "only":
            # Drawn now, so that samples no plane can be laid through are a usage error, not a thousand rows.
            scanner.triplets  # noqa: B018

    def run(self, entries: Iterable[Entry], done: Mapping[tuple[Any, ...], Row] | None = None) -> Iterator[Finished]:
        """Scans what is not in `done` (rows by `results.identity`) and yields new rows as they finish, in order."""
        done = done or {}
        stages: list[tuple[ThreadPoolExecutor, Callable[[Any], Any]]] = [
            (ThreadPoolExecutor(self.settings.loaders, "load"), lambda job: self._load(job, done)),
            (ThreadPoolExecutor(self._engines.qsize(), "scan"), self._scan),
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
            expected = entry.listed or entry.path.suffix.lower() in checkpoint_list.CHECKPOINT_SUFFIXES
            return _fail(job, "error" if expected else "skipped", str(error))
        except Exception as error:
            return _fail(job, "error", _describe(error))
        try:
            model = checkpoints.load(entry.path, **self._overrides(entry))
            model = self.scanner.fit(model)
        except Exception as error:
            return _fail(job, "error", _describe(error))
        job.model = model
        _tell(row, model, self._notes)
        job.seconds["load"] = time.perf_counter() - started
        return job

    def _scan(self, job: _Job | None) -> _Job | None:
        """Everything that asks the model."""
        if job is None or job.model is None:
            return job
        settings, engine = self.settings, self._engines.get()
        try:
            job.model, job.settling = self.scanner.settle(job.model, engine)
            _tell(job.row, job.model, self._notes)
            if settings.probe != "only":
                job.result = self.scanner.scan(job.model, self._goal, engine)
                job.seconds |= job.result.seconds
                self._advise(job.row, job.model, job.result, engine)
            if settings.probe != "off":
                started = time.perf_counter()
                samples = self.scanner.samples
                job.probed = probe(job.model, samples, settings.probe_settings, engine, self._null)
                job.seconds["probe"] = time.perf_counter() - started
        except Exception as error:
            return _fail(job, "error", _describe(error))
        finally:
            self._engines.put(engine)
        return job

    def _advise(self, row: Row, model: Model, result: ScanResult, engine: InferenceOptions) -> None:
        """A note on other preprocessing where the accuracy says that this one is wrong, or may be."""
        accuracy = result.clean_accuracy
        near_chance = decision.near_chance(accuracy, model.num_classes)
        if result.constant or not (near_chance or accuracy < preprocessing.LOW_ACCURACY):
            return
        tried = preprocessing.advise(model, self.scanner.samples, engine=engine)
        if not near_chance and not preprocessing.better(tried, accuracy):
            return
        row["notes"] = [*row["notes"], preprocessing.sentence(tried, result.clean_accuracy)]

    def _finish(self, job: _Job | None) -> Finished | None:
        """Everything that is said about the answers."""
        if job is None:
            return None
        row, result, probed = job.row, job.result, job.probed
        if job.model is None:
            return Finished(row)
        try:
            if result is not None:
                row.update(fields.scan_fields(result))
            if probed is not None:
                row.update(fields.probe_fields(probed, 0 if result is None else result.queries))
            row["queries"] += job.settling
            judged = decision.conclude(result, probed, self.settings.calibration, self.settings.decide)
            row.update(fields.verdict_fields(judged))
            row["seconds"] = {name: round(value, 4) for name, value in job.seconds.items()}
            if self.settings.maps is not None and result is not None:
                result.maps.save(self.settings.maps / f"{fields.file_name(job.entry.id)}.npz")
        except Exception as error:
            return Finished(_fail(job, "error", _describe(error)).row)
        return Finished(row, result, probed, job.model)

    def _probe_row(self) -> dict[str, Any] | None:
        settings = self.settings
        if settings.probe == "off":
            return None
        null = self._null.row()
        return {"mode": settings.probe, **dataclasses.asdict(settings.probe_settings), "null": settings_hash(null)}

    def failed(self, entry: Entry, reason: str) -> Row:
        """The error row of an entry that this process may not touch: it has killed others."""
        return _fail(_Job(entry, self._new_row(entry)), "error", reason).row

    def key(self, entry: Entry) -> tuple[str, str, str]:
        """(id, settings hash, version): what finds this entry's rows whatever its content was."""
        return entry.id, settings_hash(self._settings(entry)), fields.VERSION

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
            "device": fields.device_name(self.scanner.engine.resolve().devices),
            "versions": fields.versions(),
            "version": fields.VERSION,
        }


def _engines(engine: InferenceOptions, settings: BatchScanOptions) -> list[InferenceOptions]:
    """One engine for each checkpoint that may be on the devices at once."""
    if not settings.spread:
        return [engine] * settings.scanners
    return [dataclasses.replace(engine, devices=(device,)) for device in engine.resolve().devices]


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


def _tell(row: Row, model: Model, notes: Iterable[str]) -> None:
    """What the row says of the model itself."""
    row.update(architecture=model.architecture, num_classes=model.num_classes, preprocess=model.preprocess.settings())
    row["notes"] = [*notes, *model.notes]


def _fail(job: _Job, status: str, reason: str) -> _Job:
    job.row.update(status=status, reason=reason)
    job.model = None
    return job


def _describe(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:2000] if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text[:2000]}"
