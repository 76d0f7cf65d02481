"""The probe: finds a stamp that works as a trigger, with hard labels alone, and confirms it on images it never saw."""

from xray_jax.detectors.probe.detector import ProbeOptions as ProbeOptions
from xray_jax.detectors.probe.detector import probe as probe
from xray_jax.detectors.probe.detector import split as split
from xray_jax.detectors.probe.result import Finding as Finding
from xray_jax.detectors.probe.result import ProbeResult as ProbeResult
from xray_jax.detectors.probe.result import Verdict as Verdict
