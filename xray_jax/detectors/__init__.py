"""Detectors: one file or folder each, behind one protocol; they take a `PreparedModel` and nothing else of a model."""

from xray_jax.detectors.detection import Detection as Detection
from xray_jax.detectors.detection import Detector as Detector
from xray_jax.detectors.detection import Statistic as Statistic
