"""Calibrations: thresholds of RE and ATS with the settings that they belong to, and what clean models do."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from xray_jax.classifier import BlackBox, Model
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.detectors.probe import null as probe_null
from xray_jax.detectors.probe.default_null import DEFAULT_NULL
from xray_jax.detectors.probe.null import Null
from xray_jax.prepare.prepared import CONSTANT_OUTPUT, SUSPECT_PREPROCESSING
from xray_jax.rows.row import Row, network

PAPER = "paper:"
_MUST_MATCH = ("expansion", "alpha", "ats_cap", "ats", "input_space")
_MAY_DIFFER = ("planes", "density")


class CalibrationError(ValueError):
    """A calibration cannot be used; the message says which setting differs and what to do."""


@dataclass(frozen=True)
class Calibration:
    """Thresholds and the settings that they belong to.

    Attributes:
      re_threshold: bits; RE at or under it is suspect.
      ats_threshold: ATS at or under it is suspect.
      source: where the thresholds come from, for rows and people.
      settings: expansion, alpha, ats_cap, ats, input_space ("normalised"), planes, density; also sampling, in those
        that were made since rows tell it.
      probe_null: what the probe finds on clean models, as `probe.null.Null.row` gives it; None for the default.
      networks: architectures whose scores the thresholds are of; empty where nobody says, and then they decide for any.
      num_classes: of those networks, which bounds RE; None where nobody says, as in older files.
      samples: hash of the samples that they were scanned with (`sweep.provenance.samples_hash`); None likewise.
    """

    re_threshold: float
    ats_threshold: float
    source: str
    settings: Mapping[str, Any]
    probe_null: Mapping[str, Any] | None = None
    networks: tuple[str, ...] = ()
    num_classes: int | None = None
    samples: str | None = None

    def __post_init__(self) -> None:
        for name in ("re_threshold", "ats_threshold"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise CalibrationError(f"calibration {self.source}: {name} must be a number, got {value!r}")
        for name, kind in (("num_classes", int), ("samples", str)):
            value = getattr(self, name)
            if value is not None and not isinstance(value, kind):
                raise CalibrationError(f"calibration {self.source}: {name} must be {kind.__name__}, got {value!r}")
        if missing := [name for name in (*_MUST_MATCH, *_MAY_DIFFER) if name not in self.settings]:
            raise CalibrationError(f"calibration {self.source}: its settings lack {missing}")


_PAPER_SETTINGS = {name: getattr(PlanesOptions, name, "normalised") for name in (*_MUST_MATCH, *_MAY_DIFFER)}
PAPER_CALIBRATIONS = {
    name: Calibration(
        re,
        ats,
        f"Model X-ray (ACM MM 2024) section 5.3, {name}",
        _PAPER_SETTINGS,
        networks=("preactresnet18",),
        num_classes=classes,
    )
    for name, classes, re, ats in (
        ("cifar10", 10, 0.873, 0.184),
        ("gtsrb", 43, 2.040, 0.134),
        ("cifar100", 100, 1.194, 0.040),
    )
}
"""Section 5.3 judges networks of one architecture, PreActResNet-18, on all three data sets."""


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
    networks = content.get("networks", [])
    if not isinstance(networks, list) or not all(isinstance(name, str) for name in networks):
        raise CalibrationError(f"--calibration={spec}: networks must be a list of names, got {networks!r}")
    known = {name: content[name] for name in wanted}
    known |= {name: content.get(name) for name in ("probe_null", "num_classes", "samples")}
    made = Calibration(**known, networks=tuple(networks))
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


def is_doubtful(row: Row) -> bool:
    """Whether a row says of itself that nothing can be concluded from it: it teaches nothing about clean models."""
    return row.get("basis") in (CONSTANT_OUTPUT, SUSPECT_PREPROCESSING)


def is_estimate(sampling: str) -> bool:
    """Whether scores are estimates from a few nodes of each plane, which are compared with such estimates alone."""
    return sampling == "sketch"


def other_networks(calibration: Calibration, model: Model) -> str | None:
    """Why the thresholds say nothing of a model; None where they do. Nobody knows what network a black box is."""
    own = network(model.architecture)
    if calibration.num_classes not in (None, model.num_classes):
        theirs, own = f"{calibration.num_classes} classes", f"{model.num_classes}"
    elif calibration.networks and own not in calibration.networks and not isinstance(model, BlackBox):
        theirs = " and ".join(calibration.networks)
    else:
        return None
    return (
        f"thresholds of {theirs} (RE {calibration.re_threshold:g}, ATS {calibration.ats_threshold:g}) are no verdict "
        f"on {own}: compare with clean models (--references)"
    )


def check(calibration: Calibration, options: PlanesOptions, samples: str | None = None) -> tuple[str, ...]:
    """Refuses a calibration made with settings that move the scores; notes the ones that only move their noise.

    Args:
      calibration: thresholds. options: of this scan.
      samples: hash of this scan's; None where they do not matter.

    Returns:
      Notes for the row: planes, density or samples that differ from the calibration's.

    Raises:
      CalibrationError: expansion, alpha, ats_cap, ATS kind or input space differ, or one is of estimates ("sketch").
    """
    used = {**asdict(options), "input_space": "normalised"}
    differing = [name for name in _MUST_MATCH if calibration.settings[name] != used[name]]
    # Older files do not say it.
    theirs = calibration.settings.get("sampling", used["sampling"])
    if is_estimate(theirs) != is_estimate(used["sampling"]):
        differing.append("sampling")
    if differing:
        pairs = ", ".join(f"{name} {calibration.settings[name]!r} against {used[name]!r}" for name in differing)
        raise CalibrationError(
            f"calibration {calibration.source}: made with other settings than this scan ({pairs}); "
            "scan with the calibration's settings or calibrate anew"
        )
    theirs_and_ours = {name: (calibration.settings[name], used[name]) for name in _MAY_DIFFER}
    if calibration.samples is not None and samples is not None:
        theirs_and_ours["samples"] = (calibration.samples, samples)
    return tuple(
        f"calibrated with {name}={theirs}, scanned with {ours}"
        for name, (theirs, ours) in theirs_and_ours.items()
        if theirs != ours
    )
