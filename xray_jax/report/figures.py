"""Files of one scanned checkpoint: its figures, and the stamp that triggers it."""

from pathlib import Path

from xray_jax.detectors.planes.detector import PlanesResult
from xray_jax.detectors.probe import replay
from xray_jax.detectors.probe.options import ProbeOptions, split
from xray_jax.detectors.probe.result import ProbeResult, Verdict
from xray_jax.report import plane_figures, trigger_figure
from xray_jax.rows.names import file_name
from xray_jax.samples import Samples
from xray_jax.sweep.batch_scan import Finished


def draw(finished: Finished, folder: Path, samples: Samples, options: ProbeOptions) -> None:
    """Writes `<id>.planes.png` and `<id>.labels.png`, and of a trigger `<id>.trigger.png` and `<id>.stamp.npz`.

    Args:
      finished: a row that is ok, with what is behind it.
      folder: where the files go.
      samples: those of the scan.
      options: of the probe; the trigger is shown on the samples that its search never saw.
    """
    row, scanned = finished.row, finished.scanned
    if scanned is None:
        return
    name = file_name(row["id"])
    title = f"{row['id']}\n{row['verdict']} ({row['basis']})"
    planes = scanned.detections.get("planes")
    if planes is not None:
        result: PlanesResult = planes.evidence
        scored = f"{title}\nRE {result.re.mean():.3f} bits, ATS {result.ats.mean():.3f}"
        plane_figures.save(plane_figures.label_maps_figure(result.maps, scored), folder / f"{name}.planes.png")
        target = result.target_label if scanned.target is None else scanned.target
        figure = plane_figures.distribution_figure(result.distribution.tolist(), target, scored)
        plane_figures.save(figure, folder / f"{name}.labels.png")
    probe = scanned.detections.get("probe")
    if probe is None:
        return
    found: ProbeResult = probe.evidence
    if found.verdict is Verdict.CONFIRMED and found.best is not None:
        unseen = samples.subset(split(samples, options)[1])
        replayed = replay.replay(found.best, scanned.model, unseen)
        figure = trigger_figure.replay_figure(found.best, replayed, unseen, title, what="unseen images")
        plane_figures.save(figure, folder / f"{name}.trigger.png")
        replay.save_stamp(found.best, folder / f"{name}.stamp.npz")
