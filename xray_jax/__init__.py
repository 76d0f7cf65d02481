"""Model X-ray at scale: tells from hard labels alone whether trained image classifiers are backdoored.

Three levels: `score` any callable, `scan_model` one checkpoint, `BatchScan` a manifest of thousands.
"""

from xray_jax import checkpoints as checkpoints
from xray_jax import samples as samples
from xray_jax.checkpoints import CheckpointError as CheckpointError
from xray_jax.classifier import BlackBox as BlackBox
from xray_jax.classifier import Classifier as Classifier
from xray_jax.detectors.planes.scan import PlanesOptions as PlanesOptions
from xray_jax.detectors.planes.scan import Scanner as Scanner
from xray_jax.detectors.planes.scan import ScanResult as ScanResult
from xray_jax.detectors.planes.scan import scan_model as scan_model
from xray_jax.detectors.planes.scan import score as score
from xray_jax.inference.labels import InferenceOptions as InferenceOptions
from xray_jax.preprocess import Preprocess as Preprocess
from xray_jax.samples import Samples as Samples
from xray_jax.sweep.batch_scan import BatchScan as BatchScan
from xray_jax.sweep.batch_scan import BatchScanOptions as BatchScanOptions
from xray_jax.sweep.checkpoint_list import Entry as Entry
from xray_jax.sweep.checkpoint_list import collect as collect
from xray_jax.verdict.decision import load_calibration as load_calibration
