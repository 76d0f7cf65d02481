"""What every row of a batch scan notes of the calibrations that its detectors are judged by."""

from collections.abc import Sequence

from xray_jax.detectors.detection import Detector
from xray_jax.detectors.planes.detector import Planes
from xray_jax.detectors.probe.detector import Probe
from xray_jax.verdict import calibration as calibrations
from xray_jax.verdict.calibration import Calibration


def notes(detectors: Sequence[Detector], calibration: Calibration | None, samples: str) -> tuple[str, ...]:
    """Settings that differ from those of the planes' thresholds, and a probe that asks more than its null's searches.

    Args:
      detectors: of the scan.
      calibration: thresholds of the planes; None where there are none.
      samples: hash of the scan's.

    Raises:
      CalibrationError: the thresholds were made with settings that move the scores.
    """
    found: list[str] = []
    for detector in detectors:
        if isinstance(detector, Planes) and calibration is not None:
            found += calibrations.check(calibration, detector.options, samples)
        if isinstance(detector, Probe):
            found += detector.null.weaker_than(detector.options.queries, detector.options.search_images)
    return tuple(found)
