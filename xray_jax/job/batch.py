"""One whole run: what to scan, rows to a file, maps and pictures to folders, a table for people, an exit code."""

import contextlib
import functools
import os
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from xray_jax.classifier import Access
from xray_jax.detectors import registry
from xray_jax.detectors.detection import Detector
from xray_jax.detectors.mntd import meta_classifier
from xray_jax.detectors.mntd.detector import Mntd
from xray_jax.detectors.neural_cleanse.detector import NeuralCleanse
from xray_jax.detectors.neural_cleanse.options import NeuralCleanseOptions
from xray_jax.detectors.planes.detector import Planes
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.detectors.probe.detector import Probe
from xray_jax.detectors.probe.options import ProbeOptions
from xray_jax.inference.compile_cache import enable_compile_cache
from xray_jax.inference.cores import use_all_cores
from xray_jax.inference.options import InferenceOptions
from xray_jax.report import console
from xray_jax.report.terminal_text import printable
from xray_jax.rows import file as row_file
from xray_jax.rows.row import OK, SKIPPED, EarlierRow, Row, is_flagged
from xray_jax.rows.stored import StoredRows
from xray_jax.samples import read as read_samples
from xray_jax.sweep import isolated, ray_backend
from xray_jax.sweep.batch_scan import BatchScan, Finished
from xray_jax.sweep.checkpoint_list import Entry, collect, networks, unsearched
from xray_jax.sweep.isolated import IsolationOptions
from xray_jax.sweep.options import BatchScanOptions
from xray_jax.sweep.progress import OnStage
from xray_jax.sweep.ray_backend import RayOptions
from xray_jax.sweep.shards import Shard
from xray_jax.sweep.signals import exit_on_signals
from xray_jax.verdict.calibration import load_calibration, load_null, null_of
from xray_jax.verdict.references import load as load_references
from xray_jax.verdict.summary import summarise

PLOTS = ("flagged", "all", "none")
JOURNAL = ".attempts"
"""What the name of an isolated run's journal has behind that of its row file."""
EXIT_CLEAN, EXIT_FLAGGED, EXIT_ERRORS, EXIT_NOTHING, EXIT_USAGE = range(5)


@dataclass(frozen=True)
class Job:
    """A run of the scanner.

    Attributes:
      checkpoints: folder, glob, one checkpoint, manifest or address.
      samples: `.npz` or folder.
      out: row file, "-" for stdout; None keeps no rows.
      detectors: names of those that run, in order; None takes those of the references, or else the default ones.
      access: what may be used of a model; detectors that need more are left out.
      planes: options of the planes.
      probe: options of the probe.
      neural_cleanse: options of Neural Cleanse.
      meta_classifier: file of MNTD, see `detectors.mntd.meta_classifier.load`; without it there is no MNTD.
      scan: of the batch scan; its calibration comes from `calibration`.
      inference: how queries run.
      calibration: see `verdict.calibration.load_calibration`; None leaves the planes' verdict open.
      references: file of reference models, see `verdict.references`; None compares with none.
      null: file with the probe's null, see `verdict.calibration.load_null`; None: the calibration's, or the default.
      plot: which checkpoints to draw.
      plots: folder for pictures.
      report: folder for the rows as pages (`report.html.build`); None for none.
      strict: a checkpoint without a verdict ends the run as one that could not be scanned does.
      shard: which part of the checkpoints, into its own row file.
      ray: scan on a Ray cluster, not in this process.
      isolation: scan in worker processes of this machine, not in this process.
    """

    checkpoints: str
    samples: str
    out: str | None = None
    detectors: tuple[str, ...] | None = None
    access: Access = Access.WEIGHTS
    planes: PlanesOptions = field(default_factory=PlanesOptions)
    probe: ProbeOptions = field(default_factory=ProbeOptions)
    neural_cleanse: NeuralCleanseOptions = field(default_factory=NeuralCleanseOptions)
    meta_classifier: str | None = None
    scan: BatchScanOptions = field(default_factory=BatchScanOptions)
    inference: InferenceOptions = field(default_factory=InferenceOptions)
    calibration: str | None = None
    references: str | None = None
    null: str | None = None
    plot: str = "none"
    plots: Path | None = None
    report: Path | None = None
    strict: bool = False
    shard: Shard = field(default_factory=Shard)
    ray: RayOptions | None = None
    isolation: IsolationOptions | None = None

    def __post_init__(self) -> None:
        if self.ray is not None and self.isolation is not None:
            raise ValueError("--isolate is for this machine: leave it out with --backend=ray")
        if self.plot not in PLOTS:
            raise ValueError(f"plot must be one of {PLOTS}, got {self.plot!r}")
        if self.plot != "none" and self.plots is None:
            raise ValueError("--plot needs --plots, the folder to put the pictures in")
        if self.plot == "none" and self.plots is not None and self.report is None:
            raise ValueError("--plots needs --plot, which checkpoints to draw, or --report, to show what lies there")


class Worker:
    """What one process of a job keeps from checkpoint to checkpoint: samples, planes, compiled programs."""

    def __init__(self, job: Job) -> None:
        """Reads samples and calibration, and makes the detectors.

        Raises:
          ValueError: they cannot be used, with these options or at all.
        """
        self.job = job
        calibration = None if job.calibration is None else load_calibration(job.calibration)
        null = null_of(calibration) if job.null is None else load_null(job.null)
        references = None if job.references is None else load_references(job.references)
        names = job.detectors or (registry.DEFAULT if references is None else tuple(references.settings))
        configured: dict[str, registry.Factory] = {
            "planes": lambda _: Planes(job.planes),
            "probe": lambda _: Probe(job.probe, null),
            "neural_cleanse": lambda _: NeuralCleanse(job.neural_cleanse),
        }
        if job.meta_classifier is not None:
            meta = meta_classifier.load(job.meta_classifier)
            configured["mntd"] = lambda _: Mntd(meta)
        detectors = registry.make(names, seed=job.scan.seed, access=job.access, configured=configured)
        options = replace(
            job.scan,
            calibration=calibration,
            references=references,
            left_out=_left_out(names, job.access, detectors),
        )
        self.scan = BatchScan(read_samples(job.samples), detectors, options, job.inference)

    def rows(
        self, entries: Sequence[Entry], done: Mapping[tuple[Any, ...], EarlierRow], on_stage: OnStage | None = None
    ) -> Iterator[Row]:
        """New rows of these entries, in order; pictures are drawn on the way."""
        for finished in self.scan.run(entries, done, on_stage):
            self._draw(finished)
            yield finished.row

    def _draw(self, finished: Finished) -> None:
        """A picture that cannot be drawn costs a note, never the row."""
        job = self.job
        if job.plots is None or finished.row["status"] != OK:
            return
        if job.plot == "all" or (job.plot == "flagged" and is_flagged(finished.row)):
            # Pictures are asked for seldom, and their libraries are a fifth of a command's start-up time.
            from xray_jax.report import figures

            try:
                figures.draw(finished, job.plots, self.scan.samples, job.probe)
            except Exception as error:
                note = f"pictures could not be drawn: {type(error).__name__}: {error}"
                finished.row["notes"] = [*finished.row["notes"], note]

    def failed(self, entry: Entry, reason: str) -> Row:
        """The row of an entry that no process could scan."""
        return self.scan.failed(entry, reason)


def _left_out(names: Sequence[str], access: Access, detectors: Sequence[Detector]) -> dict[str, str]:
    """Detectors that were asked for and that the access does not allow, and why."""
    allowed = {detector.name for detector in detectors}
    reason = f"it needs more than --access={access.name.lower()} allows"
    return {name: reason for name in names if name not in allowed}


def _in_process(job: Job) -> Worker:
    """The worker of an actor, or of a process of its own."""
    enable_compile_cache()
    return Worker(job)


@exit_on_signals()
def run(job: Job) -> int:
    """Runs the job and returns its exit code: 0 nothing flagged, 1 flagged, 2 errors, flagged or not, 3 nothing to
    scan.

    Raises:
      SystemExit: SIGTERM or SIGHUP came; everything is put away.
      ValueError: samples, calibration, manifest or settings cannot be used; the message says which flag and why.
      rows.file.ResultsError: rows cannot be written.
    """
    listed = collect(job.checkpoints, sources=job.scan.sources)
    for link in unsearched(job.checkpoints):
        said = f"{printable(str(link))} is a link to a folder, which is not searched; name it to scan it"
        print(f"xray-scan: {said}", file=sys.stderr)
    if job.report is not None:
        _check_report(job.report)
    if len(listed) == 1 and job.ray is None and job.isolation is None:
        use_all_cores()
    # Made here even where others do the work: what cannot be used is found before they are started.
    worker = Worker(job)
    entries = job.shard.of(listed)
    for folder in (job.plots, job.scan.maps):
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    with row_file.RowWriter(_row_file(job)) as writer:
        entries = _work(worker, entries, writer, {entry.id for entry in listed})
        # The newest row of an entry under these settings is the one that counts.
        return _close(job, listed, entries, writer.newest(map(worker.scan.key, entries)))


def _close(job: Job, listed: list[Entry], entries: list[Entry], rows: StoredRows) -> int:
    """What is said and made of all rows of a run, the new ones and those that were there; its exit code.

    Args:
      listed: checkpoints of the whole batch scan.
      entries: those of this shard.
      rows: of these.
    """
    if job.out is None:
        print("xray-scan: rows were not kept: give --out=FILE", file=sys.stderr)
    summary = summarise(rows)
    console.print_table(rows, summary)
    if job.report is not None:
        _write_report(rows, job, job.report)
    if (entries or not listed) and all(row["status"] == SKIPPED for row in rows):
        print(f"xray-scan: nothing to scan: no checkpoint in {job.checkpoints}", file=sys.stderr)
        return EXIT_NOTHING
    if summary.errors or (job.strict and summary.unknown):
        return EXIT_ERRORS
    return EXIT_FLAGGED if summary.flagged else EXIT_CLEAN


def _row_file(job: Job) -> str | Path:
    """Where rows are appended: the shard's own file, stdout ("-"), or nowhere."""
    if job.out is None:
        return os.devnull
    return job.out if job.out == "-" else job.shard.file(job.out)


def _check_report(folder: Path) -> None:
    """A library that is missing, or a folder that cannot be made, is found before anything is scanned."""
    from xray_jax.report.html import pages

    pages.check()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--report={folder}: no folder can be made there ({error.strerror}); name another") from error


def _write_report(rows: StoredRows, job: Job, folder: Path) -> None:
    # Asked for seldom, like pictures, and with the same libraries.
    from xray_jax.report.html.build import build
    from xray_jax.report.html.pictures import PictureSource

    files = [] if job.out in (None, "-") else [Path(_row_file(job))]
    index = build(rows, folder, files, PictureSource(job.plots, job.scan.maps))
    print(f"xray-scan: report: {index.resolve().as_uri()}", file=sys.stderr)


def _work(worker: Worker, entries: list[Entry], writer: row_file.RowWriter, taken: set[str]) -> list[Entry]:
    """Scans entries, then the networks of those files that turned out to hold several; returns all of them.

    Args:
      taken: ids of the whole batch scan.
    """
    _write_new(worker, entries, writer)
    inside = {entry.id: networks(entry, writer.parts(worker.scan.key(entry)), taken) for entry in entries}
    if found := [each for several in inside.values() for each in several]:
        _write_new(worker, found, writer)
    return [each for entry in entries for each in (entry, *inside[entry.id])]


def _write_new(worker: Worker, entries: list[Entry], writer: row_file.RowWriter) -> None:
    """Scans what has no row yet; new rows are written as they come."""
    with contextlib.ExitStack() as stack:
        new = stack.enter_context(contextlib.closing(_new_rows(worker, entries, writer)))
        progress = stack.enter_context(console.ProgressReport(len(entries)))
        for row in new:
            writer.write(row)
            progress.advance(row)


def _new_rows(worker: Worker, entries: list[Entry], writer: row_file.RowWriter) -> Generator[Row, None, None]:
    """Rows as this process, a cluster or worker processes make them."""
    job = worker.job
    # What is to be scanned they are told entry by entry; its address may hold a password.
    make = functools.partial(_in_process, replace(job, checkpoints=""))
    if job.ray is not None:
        yield from ray_backend.scatter(make, worker.failed, entries, writer.done, job.ray)
    elif job.isolation is not None:
        journal = None if writer.path is None or job.out is None else Path(f"{writer.path}{JOURNAL}")
        with contextlib.closing(worker.scan.fetching(writer.done)) as fetching:
            yield from isolated.scatter(make, entries, writer.done, job.isolation, journal, fetching)
    else:
        yield from worker.rows(entries, writer.done)
