"""Many checkpoints -> many rows: loaded ahead, prepared, scanned, judged; every fault is a row, restarts go on."""

import dataclasses
import queue
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xray_jax import checkpoints
from xray_jax.checkpoints.snapshot import Snapshot
from xray_jax.classifier import Model
from xray_jax.detectors.detection import Detector
from xray_jax.detectors.run import ScannedModel, check_names, run_detectors
from xray_jax.inference.options import InferenceOptions
from xray_jax.prepare import prepare
from xray_jax.rows.file import identity, json_form, settings_hash
from xray_jax.rows.names import file_name
from xray_jax.rows.row import ERROR, OK, SCHEMA, SKIPPED, EarlierRow, Row
from xray_jax.samples import Samples
from xray_jax.sweep import calibration_notes, fields, provenance
from xray_jax.sweep.checkpoint_list import Entry
from xray_jax.sweep.fetching import Fetching
from xray_jax.sweep.in_flight import InFlight
from xray_jax.sweep.options import BatchScanOptions
from xray_jax.sweep.progress import OnProgress, OnStage, ProgressCount, all_told
from xray_jax.sweep.stages import chain
from xray_jax.verdict import calibration as calibrations
from xray_jax.verdict.decision import decide

IN_MEMORY = "memory"
"""The format of a model that comes from no file."""


@dataclass(frozen=True)
class Finished:
    """A new row, with what is behind it.

    Attributes:
      row: of one checkpoint.
      scanned: what the detectors found, for pictures; None where nothing was scanned.
    """

    row: Row
    scanned: ScannedModel | None = None


class BatchScan:
    """Scans entries over one set of samples.

    Rows come in the order of the entries. A checkpoint's row depends on its content, the samples and the settings
    alone: not on the other checkpoints, the number of devices, or where an earlier run was cut off.

    Attributes:
      samples: clean images with labels, the same for all models.
      detectors: in the order in which they run.
      options: how the batch scan goes about it.
      inference: how queries run.
    """

    def __init__(
        self,
        samples: Samples,
        detectors: Sequence[Detector],
        options: BatchScanOptions | None = None,
        inference: InferenceOptions | None = None,
    ) -> None:
        """Checks the samples with every detector, and the calibration against the planes' options.

        Raises:
          ValueError: two detectors have one name.
          CalibrationError: the calibration was made with other options.
          SamplesError: the samples are of fewer than two classes, or a detector cannot work with them.
        """
        self.samples = samples
        self.detectors = tuple(detectors)
        self.options = options or BatchScanOptions()
        self.inference = inference or InferenceOptions()
        calibration = self.options.calibration
        digest = provenance.samples_hash(samples)
        self._notes = calibration_notes.notes(self.detectors, calibration, digest)
        check_names(self.detectors)
        samples.check_classes()
        for detector in self.detectors:
            # Now, so that samples that cannot be used are a usage error, not a thousand rows.
            detector.check(samples)
        if (references := self.options.references) is not None:
            asked = {detector.name: json_form(detector.settings()) for detector in self.detectors}
            references.check(digest, asked, self.options.fpr)
        self._shares: queue.SimpleQueue[InferenceOptions] = queue.SimpleQueue()
        for share in _shares(self.inference, self.options):
            self._shares.put(share)
        self._common = {
            "precision": self.inference.precision,
            "samples": digest,
            "seed": self.options.seed,
            "decide": self.options.decide,
            "calibration": None if calibration is None else dataclasses.asdict(calibration),
            "detectors": {
                **{detector.name: dict(detector.settings()) for detector in self.detectors},
                **dict.fromkeys(self.options.left_out),
            },
        }
        if references is not None:
            self._common["references"] = {"digest": references.digest, "fpr": self.options.fpr}

    def run(
        self,
        entries: Iterable[Entry],
        done: Mapping[tuple[Any, ...], EarlierRow] | None = None,
        on_stage: OnStage | None = None,
        progress: OnProgress | None = None,
    ) -> Iterator[Finished]:
        """Scans what is not in `done` (by `rows.file.identity`) and yields new rows as they finish, in order.

        Args:
          entries: to scan.
          done: what earlier runs have rows of.
          on_stage: told each stage of each checkpoint; what it raises is the checkpoint's fault.
          progress: told each stage and each row; what it raises ends the scan. Rows do not depend on it.
        """
        total = len(entries) if isinstance(entries, Sized) else None
        count = None if progress is None else ProgressCount(progress, total)
        done, told = done or {}, all_told(on_stage, count)
        fetching = self.fetching(done)
        stages: list[tuple[ThreadPoolExecutor, Callable[[Any], Any]]] = [
            (ThreadPoolExecutor(self.options.loaders, "load"), lambda each: self._load(each, fetching, done, told)),
            (ThreadPoolExecutor(self._shares.qsize(), "scan"), self._scan),
            (ThreadPoolExecutor(1, "finish"), self._finish),
        ]
        pending: deque[tuple[str, Future[Finished | None]]] = deque()

        def next_row() -> Iterator[Finished]:
            checkpoint_id, future = pending.popleft()
            finished = future.result()
            if count is not None:
                count.finished(checkpoint_id, None if finished is None else finished.row)
            return _new(finished, done)

        try:
            for entry in entries:
                pending.append((entry.id, chain(stages, (entry, fetching.turn(entry)))))
                if len(pending) >= self.options.prefetch:
                    yield from next_row()
            while pending:
                yield from next_row()
        finally:
            for pool, _ in stages:
                pool.shutdown(wait=False, cancel_futures=True)
            fetching.close()

    def fetching(self, done: Mapping[tuple[Any, ...], EarlierRow]) -> Fetching:
        """What fetches those of a run's entries that lie elsewhere and have no row in `done`."""
        return Fetching(self.options.sources, done, self.key, self.failed)

    def _load(
        self,
        asked: tuple[Entry, int | None],
        fetching: Fetching,
        done: Mapping[tuple[Any, ...], EarlierRow],
        on_stage: OnStage,
    ) -> InFlight | None:
        """Copy, hash, resume check, weights. None when the row is there already."""
        started = time.perf_counter()
        fetched = fetching.fetch(*asked, lambda: on_stage("fetch", self._new_row(asked[0])))
        if fetched.has_row:
            return None
        entry, row = fetched.entry, self._new_row(fetched.entry)
        job = InFlight(entry, row, on_stage, release=fetched.release)
        if fetched.reason is not None:
            return job.fail(ERROR, fetched.reason)
        try:
            on_stage("hash", row)
            job.snapshot = Snapshot.of(entry.path)
            row["sha256"] = checkpoints.sha256(entry.path)
            if identity(row) in done:
                job.release()
                return None
            on_stage("load", row)
            row["format"] = checkpoints.format_of(entry.path).NAME
        except checkpoints.CheckpointError as error:
            # A file in a folder that is no checkpoint by name or content was never meant to be one.
            if entry.listed or checkpoints.is_checkpoint(entry.path):
                return job.fail(ERROR, str(error))
            # Nor is it of interest whether somebody writes to it.
            job.snapshot = None
            return job.fail(SKIPPED, str(error))
        except Exception as error:
            return job.fault(error)
        try:
            job.model = checkpoints.load(entry.path, **self._overrides(entry))
            job.check()
        except checkpoints.SeveralNetworksError as error:
            row["parts"] = list(error.parts)
            return job.fail(SKIPPED, str(error))
        except Exception as error:
            return job.fault(error)
        fields.fill_model_fields(row, job.model, self._notes)
        job.seconds["load"] = time.perf_counter() - started
        return job

    def _scan(self, job: InFlight | None) -> InFlight | None:
        """Everything that asks the model."""
        if job is None or job.model is None:
            return job
        share = self._shares.get()
        try:
            job.on_stage("prepare", job.row)
            prepared = prepare(job.model, self.samples, share, self.options.seed)
            job.check()
            # From here on only the device's copy is asked.
            job.snapshot = None
            fields.fill_prepared_fields(job.row, prepared, self._notes)
            job.seconds["prepare"] = prepared.seconds
            job.scanned = run_detectors(
                prepared, self.samples, self.detectors, lambda name: job.on_stage(f"detector {name}", job.row)
            )
            for name, found in job.scanned.detections.items():
                job.seconds[name] = sum(found.seconds.values())
        except Exception as error:
            return job.fault(error)
        finally:
            self._shares.put(share)
        return job

    def _finish(self, job: InFlight | None) -> Finished | None:
        """Everything that is said about the answers; nobody reads the checkpoint any more."""
        if job is None:
            return None
        job.release()
        row, scanned = job.row, job.scanned
        if scanned is None:
            return Finished(row)
        try:
            fields.fill_detections(row, scanned)
            compared = fields.fill_comparison(row, self.options.references, self.options.fpr)
            decision = decide(
                scanned.model, scanned.detections, self.options.calibration, self.options.decide, compared
            )
            fields.fill_verdict(row, decision)
            if self.options.calibration is not None and "planes" in scanned.detections:
                unfit = calibrations.other_networks(self.options.calibration, scanned.model.model)
                row["notes"] += [unfit] if unfit else []
            row["seconds"] = {name: round(value, 4) for name, value in job.seconds.items()}
            planes = scanned.detections.get("planes")
            if self.options.maps is not None and planes is not None:
                planes.evidence.maps.save(self.options.maps / f"{file_name(job.entry.id)}.npz")
        except Exception as error:
            return Finished(job.fault(error).row)
        return Finished(row, scanned)

    def of_model(self, model: Model, name: str, progress: OnProgress | None = None) -> Finished:
        """Scans one model that is in memory; its row is called `name` and has no path and no hash."""
        count, entry = None if progress is None else ProgressCount(progress, 1), Entry(name, Path())
        job = InFlight(entry, self._new_row(entry), all_told(None, count), model=model)
        job.row["path"], job.row["format"] = "", IN_MEMORY
        fields.fill_model_fields(job.row, model, self._notes)
        made = self._finish(self._scan(job))
        # Without a row only where an earlier run has one.
        assert made is not None
        if count is not None:
            count.finished(name, made.row)
        return made

    def failed(self, entry: Entry, reason: str) -> Row:
        """The error row of an entry that this process may not touch: it has killed others."""
        return InFlight(entry, self._new_row(entry)).fail(ERROR, reason).row

    def key(self, entry: Entry) -> tuple[str, str, str]:
        """(id, settings hash, version): what finds this entry's rows whatever its content was."""
        return entry.id, settings_hash(self._settings(entry)), provenance.VERSION

    def _settings(self, entry: Entry) -> dict[str, Any]:
        return {**self._common, **self._overrides(entry)}

    def _overrides(self, entry: Entry) -> dict[str, Any]:
        """What the user says of a checkpoint: the entry's own word, else the batch scan's."""

        def first(name: str) -> Any:
            own = getattr(entry, name)
            return getattr(self.options, name) if own is None else own

        part = {} if entry.part is None else {"part": entry.part}
        return {name: first(name) for name in ("architecture", "num_classes", "preprocess")} | part

    def _new_row(self, entry: Entry) -> Row:
        settings = self._settings(entry)
        return {
            "id": entry.id,
            "schema": SCHEMA,
            "path": entry.where,
            "part": entry.part,
            "source": None if entry.remote is None else entry.where,
            "revision": None if entry.remote is None else entry.remote.revision,
            "declared": None if entry.remote is None else entry.remote.declared,
            "sha256": None,
            "format": None,
            "architecture": None,
            "status": OK,
            "reason": None,
            "verdict": None,
            "detectors": {},
            "not_run": dict(self.options.left_out),
            "label": entry.label,
            "target": entry.target,
            "manifest": dict(entry.extra),
            "settings": settings,
            "settings_hash": settings_hash(settings),
            "notes": list(self._notes),
            "samples": self.samples.source,
            "scanned_at": provenance.now(),
            "device": provenance.device_name(self.inference.resolve().devices),
            "versions": provenance.versions(),
            "version": provenance.VERSION,
        }


def _shares(inference: InferenceOptions, options: BatchScanOptions) -> list[InferenceOptions]:
    """How queries run for each checkpoint that may be on the devices at once."""
    if not options.spread:
        return [dataclasses.replace(inference, sharers=options.scanners)] * options.scanners
    devices = inference.resolve().devices
    # The devices of a CPU have one memory.
    sharers = len(devices) if devices[0].platform == "cpu" else 1
    return [dataclasses.replace(inference, devices=(device,), sharers=sharers) for device in devices]


def _new(finished: Finished | None, done: Mapping[tuple[Any, ...], EarlierRow]) -> Iterator[Finished]:
    """What is worth appending: a file that could not be read last time and cannot now has its row already."""
    if finished is not None:
        before = done.get(identity(finished.row))
        if before is None or before.get("reason") != finished.row["reason"]:
            yield finished
