"""One whole run: what to scan, rows to a file, maps and pictures to folders, a table for people, an exit code."""

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from xray_jax import checkpoints, console, decision, plots, results
from xray_jax.labels import Engine
from xray_jax.manifest import Entry, collect
from xray_jax.samples import read as read_samples
from xray_jax.scan import Scanner, ScanSettings
from xray_jax.sweep import Finished, Sweep, SweepSettings, file_name

PLOTS = ("flagged", "all", "none")
EXIT_CLEAN, EXIT_FLAGGED, EXIT_ERRORS, EXIT_NOTHING, EXIT_USAGE = range(5)


@dataclass(frozen=True)
class Job:
    """A run of the scanner.

    Attributes:
      checkpoints: folder, glob, one checkpoint or manifest. samples: `.npz` or folder. out: row file, "-" for stdout.
      scan, sweep, engine: see there. calibration: see `decision.load_calibration`; None leaves verdicts unknown.
      plot: which checkpoints to draw. plots: folder for pictures.
    """

    checkpoints: str
    samples: str
    out: str
    scan: ScanSettings = field(default_factory=ScanSettings)
    sweep: SweepSettings = field(default_factory=SweepSettings)
    engine: Engine = field(default_factory=Engine)
    calibration: str | None = None
    plot: str = "none"
    plots: Path | None = None

    def __post_init__(self) -> None:
        if self.plot not in PLOTS:
            raise ValueError(f"plot must be one of {PLOTS}, got {self.plot!r}")
        if self.plot != "none" and self.plots is None:
            raise ValueError("--plot needs --plots, the folder to put the pictures in")


def run(job: Job) -> int:
    """Runs the job and returns its exit code: 0 nothing flagged, 1 flagged, 2 errors, 3 nothing to scan.

    Raises:
      ValueError: samples, calibration, manifest or settings cannot be used; the message says which flag and why.
      results.ResultsError: rows cannot be written.
    """
    calibration = None if job.calibration is None else decision.load_calibration(job.calibration)
    entries = collect(job.checkpoints, is_checkpoint_folder)
    if not entries:
        print(f"xray-scan: nothing to scan: no checkpoint in {job.checkpoints}", file=sys.stderr)
        return EXIT_NOTHING
    scanner = Scanner(read_samples(job.samples), job.scan, job.engine)
    sweep = Sweep(scanner, replace(job.sweep, calibration=calibration))
    for folder in (job.plots, job.sweep.maps):
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    with results.RowWriter(job.out) as writer:
        rows = _work(job, sweep, entries, writer)
    if all(row["status"] == "skipped" for row in rows):
        print(f"xray-scan: nothing to scan: no file in {job.checkpoints} is a checkpoint", file=sys.stderr)
        return EXIT_NOTHING
    summary = decision.summarise(rows)
    console.print_table(rows, summary)
    if summary.errors:
        return EXIT_ERRORS
    return EXIT_FLAGGED if summary.flagged else EXIT_CLEAN


def is_checkpoint_folder(path: Path) -> bool:
    """Whether a folder is itself one checkpoint (orbax, Hugging Face), rather than a folder of them."""
    try:
        checkpoints.format_of(path)
    except checkpoints.CheckpointError:
        return False
    return True


def _work(job: Job, sweep: Sweep, entries: list[Entry], writer: results.RowWriter) -> list[results.Row]:
    """Rows of this run's entries, in their order: those that were there already and the new ones."""
    with console.ProgressReport(len(entries)) as progress:
        for finished in sweep.run(entries, writer.done):
            _draw(job, finished)
            writer.write(finished.row)
            progress.advance(finished.row)
    # The newest row of an entry under these settings is the one that counts.
    newest = {(row["id"], row["settings_hash"], row["version"]): row for row in writer.rows}
    keys = [sweep.key(entry) for entry in entries]
    return [newest[key] for key in keys if key in newest]


def _draw(job: Job, finished: Finished) -> None:
    row, result = finished.row, finished.result
    if result is None or job.plots is None or job.plot == "none":
        return
    if job.plot == "flagged" and row["verdict"] not in ("backdoored", "suspect"):
        return
    name = file_name(row["id"])
    scores = f"RE {row['re']['mean']:.3f} bits, ATS {row['ats']['mean']:.3f}"
    title = f"{row['id']}: {row['verdict']} ({row['ground']}), {scores}"
    plots.save(plots.label_maps_figure(result.maps, title), job.plots / f"{name}.planes.png")
    figure = plots.distribution_figure(result.distribution.tolist(), result.target_label, title)
    plots.save(figure, job.plots / f"{name}.labels.png")
