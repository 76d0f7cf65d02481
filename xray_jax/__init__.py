"""Model X-ray at scale: tells from hard labels alone whether trained image classifiers are backdoored.

Three levels: `score` any callable, `scan_model` one checkpoint, `BatchScan` a list of thousands.
"""

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
from xray_jax.verdict.calibration import load_calibration as load_calibration

__all__ = [
    "Access",
    "BatchScan",
    "BatchScanOptions",
    "BlackBox",
    "CheckpointError",
    "Classifier",
    "Detection",
    "Detector",
    "Entry",
    "InferenceOptions",
    "PlanesOptions",
    "PreparedModel",
    "Preprocess",
    "ProbeOptions",
    "Samples",
    "ScannedModel",
    "Statistic",
    "checkpoints",
    "collect",
    "load_calibration",
    "make_detectors",
    "prepare",
    "samples",
    "scan_model",
    "score",
]
