r"""Scans checkpoints for backdoors.

  xray-scan --checkpoints=model.pth --samples=cifar10.npz
  xray-scan --checkpoints=hf://owner/name --samples=cifar10 --out=rows.jsonl
  xray-scan --checkpoints=zoo/ --samples=cifar10 --calibration=paper:cifar10 --out=rows.jsonl

Progress and the table of verdicts go to stderr, rows (JSON lines) to --out, or to stdout with --out=-; without --out
only the table is left. Interrupted, the same command goes on from the rows in --out.

Exit codes: 0 nothing flagged, 1 something flagged, 2 a checkpoint could not be scanned (whether or not others are
flagged: the rows say), 3 nothing to scan, 4 usage.
"""

from pathlib import Path

from absl import flags

from xray_jax import samples
from xray_jax.inference.compile_cache import enable_compile_cache
from xray_jax.inference.options import PRECISIONS, InferenceOptions
from xray_jax.job import batch
from xray_jax.scripts import (
    baseline_flags,
    command,
    command_help,
    detector_flags,
    planes_flags,
    probe_flags,
    sweep_flags,
    unused_flags,
)
from xray_jax.sweep.options import BatchScanOptions
from xray_jax.verdict.decision import RULES
from xray_jax.verdict.references import SHIPPED

AUTO = "auto"

F, SETS = flags, ", ".join(samples.SHIPPED)
with command_help.group("What to scan"):
    CHECKPOINTS = F.DEFINE_string(
        "checkpoints",
        None,
        "Folder, glob, checkpoint, manifest (.jsonl), or an address: hf://, s3://, gs://, https://.",
        required=True,
    )
    SAMPLES = F.DEFINE_string(
        "samples",
        None,
        f"Clean labelled images: .npz (images, labels), a folder of class folders, or a set of the package: {SETS}.",
        required=True,
    )
    ARCHITECTURE = F.DEFINE_string("architecture", None, "For checkpoints that do not say; default: recognise.")
    NUM_CLASSES = F.DEFINE_integer("num_classes", None, "For checkpoints that do not say; default: read off.")
    PREPROCESS = F.DEFINE_string(
        "preprocess",
        AUTO,
        "auto: what file or manifest says, else what fits the samples; or cifar10, imagenet, 0-1 ...",
    )
with command_help.group("Verdict"):
    CALIBRATION = F.DEFINE_string("calibration", None, "paper:cifar10|gtsrb|cifar100, or a calibration file (JSON).")
    REFERENCES = F.DEFINE_string(
        "references", None, f"Clean models to compare with: a file of xray-calibrate, or {SHIPPED[0]}."
    )
    FPR = F.DEFINE_float("fpr", 0.05, "False-positive rate of the verdict against the references.")
    DECIDE = F.DEFINE_enum("decide", "either", RULES, "Which statistic of the planes must be suspect.")
with command_help.group("Output"):
    OUT = F.DEFINE_string("out", None, "File to append rows to; - streams them to stdout; default: only the table.")
    SAVE_MAPS = F.DEFINE_string("save_maps", None, "Folder for label maps (<id>.npz).")
    PLOT = F.DEFINE_enum("plot", "none", batch.PLOTS, "Which checkpoints to draw.")
    PLOTS = F.DEFINE_string("plots", None, "Folder for pictures.")
    REPORT = F.DEFINE_string("report", None, "Folder for a report in HTML; open its index.html.")
    STRICT = F.DEFINE_bool("strict", False, "For gates: exit code 2 for checkpoints without a verdict, too.")
with command_help.group("Speed"):
    PRECISION = F.DEFINE_enum("precision", "float32", PRECISIONS, "Arithmetic of the networks.")
    BATCH_SIZE = F.DEFINE_integer("batch_size", None, "Images a device evaluates at once; default: by backend.")
    FAST_CONVOLUTIONS = F.DEFINE_bool(
        "fast_convolutions", True, "Convolutions in the form that is fastest on CPU, in float32."
    )


def main() -> int:
    """Flags to one `batch.Job`."""
    if not REFERENCES.value:
        unused_flags.refuse([FPR], "is of the comparison with references: give --references too")
    if not CALIBRATION.value:
        unused_flags.refuse([DECIDE], "is of the thresholds of the planes: give --calibration too")
    if "neural_cleanse" not in (detector_flags.detectors() or ()) and not REFERENCES.value:
        unused_flags.refuse([baseline_flags.NEURAL_CLEANSE], "is of the detector neural_cleanse: add it to --detectors")
    enable_compile_cache()
    return batch.run(
        batch.Job(
            checkpoints=CHECKPOINTS.value,
            samples=SAMPLES.value,
            out=OUT.value,
            detectors=detector_flags.detectors(),
            access=detector_flags.access(),
            planes=planes_flags.options(),
            probe=probe_flags.options(planes_flags.SEED.value),
            neural_cleanse=baseline_flags.neural_cleanse(planes_flags.SEED.value),
            meta_classifier=baseline_flags.META_CLASSIFIER.value,
            scan=BatchScanOptions(
                fpr=FPR.value,
                decide=DECIDE.value,
                architecture=ARCHITECTURE.value,
                num_classes=NUM_CLASSES.value,
                preprocess=None if PREPROCESS.value == AUTO else PREPROCESS.value,
                maps=Path(SAVE_MAPS.value) if SAVE_MAPS.value else None,
                spread=sweep_flags.SPREAD.value,
                seed=planes_flags.SEED.value,
                sources=sweep_flags.sources(),
            ),
            inference=InferenceOptions(
                BATCH_SIZE.value, precision=PRECISION.value, fast_convolutions=FAST_CONVOLUTIONS.value
            ),
            calibration=CALIBRATION.value,
            references=REFERENCES.value,
            null=probe_flags.NULL.value,
            plot=PLOT.value,
            plots=Path(PLOTS.value) if PLOTS.value else None,
            report=Path(REPORT.value) if REPORT.value else None,
            strict=STRICT.value,
            shard=sweep_flags.shard(),
            ray=sweep_flags.ray(),
            isolation=sweep_flags.isolation(),
        )
    )


def run() -> None:
    """Console entry point."""
    command.run(main)


if __name__ == "__main__":
    run()
