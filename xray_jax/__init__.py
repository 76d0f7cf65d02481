"""Model X-ray at scale: tells from hard labels alone whether trained image classifiers are backdoored.

Three levels: `score` any callable, `scan` (or `gate`) one model, `BatchScan` a list of thousands.
"""

import importlib
from typing import TYPE_CHECKING, Any

from xray_jax import checkpoints as checkpoints
from xray_jax import samples as samples
from xray_jax.checkpoints import CheckpointError as CheckpointError
from xray_jax.classifier import Access as Access
from xray_jax.classifier import BlackBox as BlackBox
from xray_jax.classifier import Classifier as Classifier
from xray_jax.detectors.detection import Detection as Detection
from xray_jax.detectors.detection import Detector as Detector
from xray_jax.detectors.detection import Statistic as Statistic
from xray_jax.detectors.planes.options import PlanesOptions as PlanesOptions
from xray_jax.detectors.probe.options import ProbeOptions as ProbeOptions
from xray_jax.detectors.registry import make as make_detectors
from xray_jax.detectors.run import ScannedModel as ScannedModel
from xray_jax.detectors.run import scan_model as scan_model
from xray_jax.detectors.run import score as score
from xray_jax.inference.options import InferenceOptions as InferenceOptions
from xray_jax.prepare import PreparedModel as PreparedModel
from xray_jax.prepare import prepare as prepare
from xray_jax.preprocess import Preprocess as Preprocess
from xray_jax.samples import Samples as Samples
from xray_jax.sweep.batch_scan import BatchScan as BatchScan
from xray_jax.sweep.checkpoint_list import Entry as Entry
from xray_jax.sweep.checkpoint_list import collect as collect
from xray_jax.sweep.options import BatchScanOptions as BatchScanOptions
from xray_jax.sweep.progress import Progress as Progress
from xray_jax.verdict.calibration import load_calibration as load_calibration

if TYPE_CHECKING:
    from xray_jax.job.gate import BackdoorSuspected as BackdoorSuspected
    from xray_jax.job.gate import GateError as GateError
    from xray_jax.job.gate import NotJudged as NotJudged
    from xray_jax.job.gate import gate as gate
    from xray_jax.job.one_model import Result as Result
    from xray_jax.job.one_model import scan as scan
    from xray_jax.report.notebook import Results as Results

_LATE = {
    "xray_jax.job.gate": ("BackdoorSuspected", "GateError", "NotJudged", "gate"),
    "xray_jax.report.notebook": ("Results",),
    "xray_jax.job.one_model": ("Result", "scan"),
}
"""Module -> names that are imported when they are first used: a scan needs no report."""


def __getattr__(name: str) -> Any:
    for module, names in _LATE.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Access",
    "BackdoorSuspected",
    "BatchScan",
    "BatchScanOptions",
    "BlackBox",
    "CheckpointError",
    "Classifier",
    "Detection",
    "Detector",
    "Entry",
    "GateError",
    "InferenceOptions",
    "NotJudged",
    "PlanesOptions",
    "PreparedModel",
    "Preprocess",
    "ProbeOptions",
    "Progress",
    "Result",
    "Results",
    "Samples",
    "ScannedModel",
    "Statistic",
    "checkpoints",
    "collect",
    "gate",
    "load_calibration",
    "make_detectors",
    "prepare",
    "samples",
    "scan",
    "scan_model",
    "score",
]
