"""From what the detectors found to one verdict, and what it rests on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from xray_jax.detectors.detection import Detection
from xray_jax.detectors.probe.result import Verdict
from xray_jax.prepare import PreparedModel
from xray_jax.rows.row import BACKDOORED, CLEAN, SUSPECT, UNKNOWN, ComparisonFields
from xray_jax.verdict.calibration import Calibration, other_networks
from xray_jax.verdict.comparison import is_suspect

RULES = ("either", "both", "re", "ats")
"""Which statistic of the planes at or under its threshold flags a model: either, both, or one alone."""
CONFIRMED_TRIGGER = "confirmed trigger"
STANDS_OUT, AMONG_REFERENCES = "stands out among the references", "like the references"
NO_STAMP = "planes, no working stamp found"
BY_PLANES = "planes"
NOT_CALIBRATED = "not calibrated"
OTHER_NETWORKS = "calibrated on other networks"
NO_FINITE_LOGITS = "the model gives no finite logits on the planes"


@dataclass(frozen=True)
class Decision:
    """A verdict and what it rests on.

    Attributes:
      verdict: one of `rows.row.VERDICTS`.
      basis: why, in a word or two.
      re: the verdict of RE alone.
      ats: the verdict of ATS alone.
    """

    verdict: str
    basis: str
    re: str = UNKNOWN
    ats: str = UNKNOWN


def decide(
    model: PreparedModel,
    detections: Mapping[str, Detection],
    calibration: Calibration | None,
    rule: str = "either",
    comparison: ComparisonFields | None = None,
) -> Decision:
    """The verdict of all detectors together; any may be missing.

    Doubts about what the model was shown come before everything. A confirmed trigger decides. Else the p-value among
    reference models does, where there is one: at or under the false-positive rate the model is suspect, above it clean.
    Without references the planes' thresholds speak: under them the model is suspect, and where planes and probe found
    nothing it is clean as far as was looked. Where the model has no answers on planes that were to be judged, there is
    no verdict.

    Args:
      model: with its doubts.
      detections: by detector.
      calibration: thresholds of the planes; None leaves them without a verdict.
      rule: "either" statistic at or under its threshold flags, "both" must, or only "re" or "ats" counts.
      comparison: how the model stands among reference models.
    """
    if rule not in RULES:
        raise ValueError(f"decide must be one of {RULES}, got {rule!r}")
    planes, probe = detections.get("planes"), detections.get("probe")
    found = _of_planes(model, planes, calibration, rule)
    if model.doubt is not None:
        return replace(found, verdict=UNKNOWN, basis=model.doubt)
    if probe is not None and probe.evidence.verdict is Verdict.CONFIRMED:
        return replace(found, verdict=BACKDOORED, basis=CONFIRMED_TRIGGER)
    if is_suspect(comparison):
        return replace(found, verdict=SUSPECT, basis=STANDS_OUT)
    if comparison is not None and comparison["p_value"] is not None:
        return replace(found, verdict=CLEAN, basis=AMONG_REFERENCES)
    if probe is None or found.basis == NO_FINITE_LOGITS:
        return found
    if found.verdict == BACKDOORED:
        return replace(found, verdict=SUSPECT, basis=NO_STAMP)
    if probe.evidence.verdict is Verdict.UNKNOWN:
        return replace(found, verdict=UNKNOWN, basis=probe.evidence.reason)
    return replace(found, verdict=CLEAN, basis="clean so far")


def _of_planes(model: PreparedModel, planes: Detection | None, calibration: Calibration | None, rule: str) -> Decision:
    """The verdict of the planes alone."""
    if planes is None:
        return Decision(UNKNOWN, "planes did not run")
    if calibration is None:
        return Decision(UNKNOWN, NOT_CALIBRATED)
    if other_networks(calibration, model.model):
        return Decision(UNKNOWN, OTHER_NETWORKS)
    values = {statistic.name: statistic.value for statistic in planes.statistics if statistic.value is not None}
    if not values:
        return Decision(UNKNOWN, NO_FINITE_LOGITS)
    thresholds = {"re": calibration.re_threshold, "ats": calibration.ats_threshold}
    own = {name: BACKDOORED if values[name] <= thresholds[name] else CLEAN for name in thresholds}
    votes = [own[rule]] if rule in own else list(own.values())
    combine = all if rule == "both" else any
    flagged = combine(vote == BACKDOORED for vote in votes)
    return Decision(BACKDOORED if flagged else CLEAN, BY_PLANES, own["re"], own["ats"])
