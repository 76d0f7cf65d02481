"""Figures of one scanned checkpoint, and the stamp of its confirmed trigger, as files."""

from pathlib import Path

from xray_jax.detectors.probe import detector, replay
from xray_jax.detectors.probe.detector import ProbeOptions
from xray_jax.detectors.probe.result import Verdict
from xray_jax.inference.labels import InferenceOptions
from xray_jax.report import plane_figures, trigger_figure
from xray_jax.rows.fields import file_name
from xray_jax.samples import Samples
from xray_jax.sweep.batch_scan import Finished


def draw(finished: Finished, folder: Path, samples: Samples, probe: ProbeOptions, engine: InferenceOptions) -> None:
    """Writes `<id>.planes.png` and `<id>.labels.png`, and for a confirmed trigger
    `<id>.trigger.png` and `<id>.stamp.npz`.

    Args:
      finished: a row that is ok, with what is behind it. samples: those of the scan.
      probe: its settings; the trigger is shown on the samples that its search never saw.
    """
    row, result, probed = finished.row, finished.result, finished.probed
    name = file_name(row["id"])
    title = f"{row['id']}: {row['verdict']} ({row['ground']})"
    if result is not None:
        scored = f"{title}, RE {result.re.mean():.3f} bits, ATS {result.ats.mean():.3f}"
        plane_figures.save(plane_figures.label_maps_figure(result.maps, scored), folder / f"{name}.planes.png")
        figure = plane_figures.distribution_figure(result.distribution.tolist(), result.target_label, scored)
        plane_figures.save(figure, folder / f"{name}.labels.png")
    best = probed.best if probed is not None and probed.verdict is Verdict.CONFIRMED else None
    if best is not None and finished.model is not None:
        unseen = samples.subset(detector.split(samples, probe)[1])
        replayed = replay.replay(best, finished.model, unseen, engine)
        figure = trigger_figure.replay_figure(best, replayed, unseen, title, what="unseen images")
        plane_figures.save(figure, folder / f"{name}.trigger.png")
        replay.save_stamp(best, folder / f"{name}.stamp.npz")
