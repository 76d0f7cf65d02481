"""Calibrations: the paper's, files, the settings that they belong to, and the probe's null."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import factory
from xray_jax.classifier import BlackBox, Classifier
from xray_jax.detectors.planes.options import PlanesOptions
from xray_jax.detectors.probe.default_null import DEFAULT_NULL
from xray_jax.verdict.calibration import (
    PAPER_CALIBRATIONS,
    CalibrationError,
    check,
    load_calibration,
    load_null,
    null_of,
    other_networks,
)

PAPER = load_calibration("paper:cifar10")


def black_box(num_classes: int) -> BlackBox:
    return BlackBox(lambda images: np.zeros(len(images), int), num_classes, (32, 32, 3), "callable")


def classifier(architecture: str, num_classes: int) -> Classifier:
    named = f"{architecture} (naming: torchvision)"
    return dataclasses.replace(factory.tiny_classifier(), architecture=named, num_classes=num_classes)


def test_paper_presets() -> None:
    thresholds = {name: (c.re_threshold, c.ats_threshold) for name, c in PAPER_CALIBRATIONS.items()}
    assert thresholds == {"cifar10": (0.873, 0.184), "gtsrb": (2.040, 0.134), "cifar100": (1.194, 0.040)}
    with pytest.raises(CalibrationError, match="no thresholds for 'mnist'"):
        load_calibration("paper:mnist")


@pytest.mark.parametrize("changed", [{"expansion": 1.0}, {"alpha": 2.0}, {"ats_cap": 0.4}, {"ats": "label"}])
def test_calibrations_of_other_scores_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(CalibrationError, match=next(iter(changed))):
        check(PAPER, dataclasses.replace(PlanesOptions(), **changed))


def test_other_planes_and_density_are_noted() -> None:
    assert check(PAPER, PlanesOptions()) == ()
    notes = check(PAPER, PlanesOptions(planes=5, density=50))
    assert notes == ("calibrated with planes=20, scanned with 5", "calibrated with density=100, scanned with 50")


def test_calibration_files(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(dataclasses.asdict(PAPER)))
    assert load_calibration(str(path)) == PAPER
    for content in ("[]", "{", '{"re_threshold": 1}', json.dumps({**dataclasses.asdict(PAPER), "re_threshold": "x"})):
        path.write_text(content)
        with pytest.raises(CalibrationError, match="calibration"):
            load_calibration(str(path))
    older = {k: v for k, v in dataclasses.asdict(PAPER).items() if k not in ("num_classes", "samples", "networks")}
    path.write_text(json.dumps(older))
    assert load_calibration(str(path)).num_classes is None
    for name, value in (("num_classes", "ten"), ("samples", 5)):
        path.write_text(json.dumps(older | {name: value}))
        with pytest.raises(CalibrationError, match=f"{name} must be"):
            load_calibration(str(path))
    with pytest.raises(CalibrationError, match="cannot be read"):
        load_calibration(str(tmp_path / "none.json"))


def test_a_calibration_says_what_is_normal_for_the_probe() -> None:
    assert null_of(None) is DEFAULT_NULL
    assert null_of(PAPER_CALIBRATIONS["gtsrb"]) is DEFAULT_NULL
    own = dataclasses.replace(PAPER, probe_null={"ceilings": {"patch": [0.5] * 9}, "models": 7, "source": "mine"})
    assert null_of(own).ceiling("patch", 0.01) == 0.5
    with pytest.raises(CalibrationError, match="probe_null is malformed"):
        null_of(dataclasses.replace(PAPER, probe_null={"models": 7}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("{", "JSON"),
        ("[]", "TypeError"),
        ('{"models": 1}', "ceilings"),
        ('{"ceilings": {"patch": [0.1]}, "models": 1, "source": ""}', "patch"),
    ],
)
def test_a_file_that_is_no_null_is_refused_by_name(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "null.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CalibrationError, match=f"--probe_null=.*null.json.*{message}"):
        load_null(str(path))


@pytest.mark.parametrize("name", PAPER_CALIBRATIONS)
def test_thresholds_decide_for_their_networks_and_number_of_classes_alone(name: str) -> None:
    """The paper's of all three data sets are of one architecture; RE goes up to the logarithm of the classes."""
    calibration = PAPER_CALIBRATIONS[name]
    assert calibration.num_classes is not None
    assert other_networks(calibration, classifier("preactresnet18", calibration.num_classes)) is None
    other = other_networks(calibration, classifier("preactresnet18", 7))
    assert other is not None
    assert re.search(rf"thresholds of {calibration.num_classes} classes .* are no verdict on 7: compare", other)
    assert "preactresnet18" in str(other_networks(calibration, classifier("vgg16", calibration.num_classes)))
    # Nobody knows what network a black box is, but how many classes it has.
    assert other_networks(calibration, black_box(calibration.num_classes)) is None
    assert "no verdict on 7" in str(other_networks(calibration, black_box(7)))
    # Older files say neither.
    silent = dataclasses.replace(calibration, networks=(), num_classes=None)
    assert other_networks(silent, classifier("vgg16", 7)) is None


def test_a_calibration_on_other_samples_is_noted() -> None:
    own = dataclasses.replace(PAPER, samples="abc")
    assert check(own, PlanesOptions(), "abc") == check(PAPER, PlanesOptions(), "xyz") == ()
    assert check(own, PlanesOptions(), "xyz") == ("calibrated with samples=abc, scanned with xyz",)
