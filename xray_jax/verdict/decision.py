"""From scores to verdicts: calibrations, thresholds, and how well they do where the truth is known."""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from xray_jax.detectors.planes.sampling import StoppingRule
from xray_jax.detectors.planes.scan import PlanesOptions, ScanResult
from xray_jax.detectors.probe import null as probe_null
from xray_jax.detectors.probe.default_null import DEFAULT_NULL
from xray_jax.detectors.probe.null import Null
from xray_jax.detectors.probe.result import ProbeResult, Verdict

DECISIONS = ("either", "both", "re", "ats")
VERDICTS = ("backdoored", "suspect", "clean", "unknown")
DOUBTS = ("constant_output", "suspect_preprocessing")
"""Grounds of an unknown verdict that no score can lift."""
PAPER = "paper:"
_MUST_MATCH = ("expansion", "alpha", "ats_cap", "ats", "input_space")
_MAY_DIFFER = ("planes", "density")


class CalibrationError(ValueError):
    """A calibration cannot be used; the message says which setting differs and what to do."""


@dataclass(frozen=True)
class Calibration:
    """Thresholds and the settings that they belong to.

    Attributes:
      re_threshold: bits; RE at or under it is suspect. ats_threshold: likewise for ATS.
      source: where the thresholds come from, for rows and people.
      settings: expansion, alpha, ats_cap, ats, input_space ("normalised"), planes, density.
      probe_null: what the probe finds on clean models, as `probe.null.Null.row` gives it; None for the default.
    """

    re_threshold: float
    ats_threshold: float
    source: str
    settings: Mapping[str, Any]
    probe_null: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        for name in ("re_threshold", "ats_threshold"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise CalibrationError(f"calibration {self.source}: {name} must be a number, got {value!r}")
        if missing := [name for name in (*_MUST_MATCH, *_MAY_DIFFER) if name not in self.settings]:
            raise CalibrationError(f"calibration {self.source}: its settings lack {missing}")


_PAPER_SETTINGS = {name: getattr(PlanesOptions, name, "normalised") for name in (*_MUST_MATCH, *_MAY_DIFFER)}
PAPER_CALIBRATIONS = {
    name: Calibration(re, ats, f"Model X-ray (ACM MM 2024) section 5.3, {name}", _PAPER_SETTINGS)
    for name, (re, ats) in {"cifar10": (0.873, 0.184), "gtsrb": (2.040, 0.134), "cifar100": (1.194, 0.040)}.items()
}


def load_calibration(spec: str) -> Calibration:
    """`paper:cifar10`, `paper:gtsrb`, `paper:cifar100`, or the path of a JSON file with `Calibration`'s fields.

    Raises:
      CalibrationError: naming the file or preset and what is wrong with it.
    """
    if spec.startswith(PAPER):
        name = spec.removeprefix(PAPER)
        if name not in PAPER_CALIBRATIONS:
            raise CalibrationError(
                f"--calibration={spec}: the paper has no thresholds for {name!r}; known: {sorted(PAPER_CALIBRATIONS)}"
            )
        return PAPER_CALIBRATIONS[name]
    try:
        content = json.loads(Path(spec).read_text())
    except OSError as error:
        raise CalibrationError(f"--calibration={spec}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CalibrationError(f"--calibration={spec}: no valid JSON ({error})") from error
    wanted = {"re_threshold", "ats_threshold", "source", "settings"}
    if not isinstance(content, dict) or not isinstance(content.get("settings"), dict) or wanted - set(content):
        raise CalibrationError(f"--calibration={spec}: expected a JSON object with {sorted(wanted)}")
    made = Calibration(**{name: content[name] for name in wanted}, probe_null=content.get("probe_null"))
    null_of(made)
    return made


def load_null(path: str) -> Null:
    """The probe's null from the JSON file that `xray-calibrate --null` writes.

    Raises:
      CalibrationError: naming the file and what is wrong with it.
    """
    try:
        return probe_null.from_row(json.loads(Path(path).read_text()))
    except OSError as error:
        raise CalibrationError(f"--probe_null={path}: cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CalibrationError(
            f"--probe_null={path}: not what xray-calibrate --null writes ({type(error).__name__}: {error})"
        ) from error


def null_of(calibration: Calibration | None) -> Null:
    """What is normal for the probe: the calibration's word, else the default.

    Raises:
      CalibrationError: the calibration's `probe_null` is malformed.
    """
    if calibration is None or calibration.probe_null is None:
        return DEFAULT_NULL
    try:
        return probe_null.from_row(calibration.probe_null)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CalibrationError(f"calibration {calibration.source}: its probe_null is malformed ({error})") from error


def check(calibration: Calibration, settings: PlanesOptions) -> tuple[str, ...]:
    """Refuses a calibration made with settings that move the scores; notes the ones that only move their noise.

    Returns:
      Notes for the row: planes or density that differ from the calibration's.

    Raises:
      CalibrationError: expansion, alpha, ats_cap, ATS kind or input space differ.
    """
    used = {**asdict(settings), "input_space": "normalised"}
    differing = [name for name in _MUST_MATCH if calibration.settings[name] != used[name]]
    if differing:
        pairs = ", ".join(f"{name} {calibration.settings[name]!r} against {used[name]!r}" for name in differing)
        raise CalibrationError(
            f"calibration {calibration.source}: made with other settings than this scan ({pairs}); "
            "scan with the calibration's settings or calibrate anew"
        )
    return tuple(
        f"calibrated with {name}={calibration.settings[name]}, scanned with {used[name]}"
        for name in _MAY_DIFFER
        if calibration.settings[name] != used[name]
    )


@dataclass(frozen=True)
class Decision:
    """A verdict and what it rests on.

    Attributes:
      verdict: "backdoored", "suspect", "clean" or "unknown". ground: why, in one word or two.
      re, ats: each statistic's own verdict.
    """

    verdict: str
    ground: str
    re: str
    ats: str


def near_chance(accuracy: float, classes: int) -> bool:
    """Whether a clean accuracy is too near chance to believe that the model was shown what it was trained on."""
    chance = 1 / max(classes, 1)
    return accuracy < chance + 0.2 * (1 - chance)


def decide(result: ScanResult, calibration: Calibration | None, rule: str = "either") -> Decision:
    """The verdict of the planes alone.

    Args:
      rule: "either" statistic at or under its threshold flags, "both" must, or only "re" or "ats" counts.
    """
    if rule not in DECISIONS:
        raise ValueError(f"decide must be one of {DECISIONS}, got {rule!r}")
    if calibration is None:
        re = ats = "unknown"
    else:
        re = "backdoored" if result.re.mean() <= calibration.re_threshold else "clean"
        ats = "backdoored" if result.ats.mean() <= calibration.ats_threshold else "clean"
    if result.constant:
        return Decision("unknown", "constant_output", re, ats)
    if near_chance(result.clean_accuracy, len(result.distribution)):
        return Decision("unknown", "suspect_preprocessing", re, ats)
    if calibration is None:
        return Decision("unknown", "not calibrated", re, ats)
    votes = {"re": [re], "ats": [ats]}.get(rule, [re, ats])
    combine = all if rule == "both" else any
    flagged = combine(vote == "backdoored" for vote in votes)
    return Decision("backdoored" if flagged else "clean", "planes", re, ats)


def goal(calibration: Calibration, rule: str = "either") -> StoppingRule:
    """When a scan with this calibration and rule may stop early."""
    return StoppingRule(calibration.re_threshold, calibration.ats_threshold, rule)


def conclude(
    result: ScanResult | None, probed: ProbeResult | None, calibration: Calibration | None, rule: str = "either"
) -> Decision:
    """The verdict of planes and probe together; either may be missing, not both.

    A proof decides. Planes under their thresholds without a working stamp are only a suspicion, and where both found
    nothing the model is clean as far as was looked. Doubts about what the model was shown come before everything.
    """
    planes = decide(result, calibration, rule) if result is not None else Decision("unknown", "", "unknown", "unknown")
    if probed is None or planes.ground in DOUBTS:
        return planes
    if probed.verdict is Verdict.CONFIRMED:
        return replace(planes, verdict="backdoored", ground="proved")
    if planes.verdict == "backdoored":
        return replace(planes, verdict="suspect", ground="planes, no working stamp found")
    if probed.verdict is Verdict.UNKNOWN:
        return replace(planes, verdict="unknown", ground=probed.reason)
    return replace(planes, verdict="clean", ground="clean so far")


def is_backdoored(label: Any) -> bool | None:
    """Ground truth of a manifest as a bool: "clean" or "backdoored", 0 or 1, true or false; None when not given."""
    known = {"clean": False, "backdoored": True, "0": False, "1": True, "false": False, "true": True}
    return None if label is None else known.get(str(label).lower())


@dataclass(frozen=True)
class Summary:
    """A sweep in numbers. AUROC and accuracy are None without both kinds of ground truth."""

    ok: int
    errors: int
    skipped: int
    flagged: int
    auroc_re: float | None
    auroc_ats: float | None
    auroc_probe: float | None
    accuracy: float | None
    judged: int


def _probe_margin(row: Mapping[str, Any]) -> float | None:
    """How far the probe's best finding lies above what a proof needs; -1 where it found nothing at all."""
    found = row.get("probe")
    if not found:
        return None
    return -1.0 if found["score"] is None else float(found["score"] - found["threshold"])


def summarise(rows: Iterable[Mapping[str, Any]]) -> Summary:
    """Counts rows and, where rows carry ground truth, measures the scores (low = backdoored) and the verdicts."""
    # Half of a command's start-up time if imported at the top, and only summaries need it.
    from sklearn.metrics import roc_auc_score

    rows = list(rows)
    ok = [row for row in rows if row["status"] == "ok"]
    known = [(row, truth) for row in ok if (truth := is_backdoored(row.get("label"))) is not None]
    suspicion: dict[str, Callable[[Mapping[str, Any]], float | None]] = {
        "re": lambda row: -row["re"]["mean"] if row.get("re") else None,
        "ats": lambda row: -row["ats"]["mean"] if row.get("ats") else None,
        "probe": _probe_margin,
    }
    auroc: dict[str, float | None] = {}
    for name, score_of in suspicion.items():
        scored = [(score, truth) for row, truth in known if (score := score_of(row)) is not None]
        both = len({truth for _, truth in scored}) == 2
        auroc[name] = float(roc_auc_score([t for _, t in scored], [score for score, _ in scored])) if both else None
    judged = [
        (row["verdict"] in ("backdoored", "suspect"), truth) for row, truth in known if row["verdict"] != "unknown"
    ]
    return Summary(
        ok=len(ok),
        errors=sum(row["status"] == "error" for row in rows),
        skipped=sum(row["status"] == "skipped" for row in rows),
        flagged=sum(row["verdict"] in ("backdoored", "suspect") for row in ok),
        auroc_re=auroc["re"],
        auroc_ats=auroc["ats"],
        auroc_probe=auroc["probe"],
        accuracy=sum(flag == truth for flag, truth in judged) / len(judged) if judged else None,
        judged=len(judged),
    )
